"""Black-and-white masks, a file for each class or object, as layers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from reprlib import repr as shortened

import numpy as np

from helpers.images import SUFFIXES, FileFault, load_mask
from helpers.labels import IGNORE_INDEX
from scripts.foreign import files_below, name_key, read_json
from scripts.layers import (
    BACKGROUND,
    Annotated,
    Layer,
    Shape,
    Sheet,
    class_name,
    positions,
    understood,
)

# As Label Studio's converter names the PNG of a brush stroke; the name of the control ("tag") comes
# before the class.
_STROKE = re.compile(r"task-(\d+)-annotation-(\d+)-by-([^-]*)-[^-]+-(.+)-\d+")

Part = list[tuple[str, Path]]  # of one image: a class and its mask


def read_per_class(folder: Path, images: Path | None, names: Sequence[str] | None) -> Annotated:
    """Black-and-white files: Label Studio's brush strokes, or a folder for each class or image.

    Args:
        folder: masks, and the images in a folder `images` (or a folder of that name for each).
        images: another folder of images.
        names: the classes that are wanted; files that name none of them are objects of the only
            one, beside the background.

    Raises:
        FileFault: a JSON file of Label Studio has another form.
        ValueError: there are no images or no masks of theirs, or two annotators' of one image.
    """
    files = files_below(folder, SUFFIXES)
    pictures = [file for file in files if "images" in file.relative_to(folder).parts[:-1]]
    pictures = files_below(images, SUFFIXES) if images else pictures
    if not pictures:
        raise ValueError(
            f"there is no image in {images or folder / 'images'}: say where they are with --images"
        )
    taken = {file.resolve() for file in pictures}
    masks = [file for file in files if file.resolve() not in taken]
    strokes = {mask: found for mask in masks if (found := _STROKE.fullmatch(mask.stem))}
    if strokes:
        parts = _strokes(strokes, pictures, folder)
    else:
        parts = _folders(masks, pictures, folder, names)
    if not parts:
        raise ValueError(
            f"none of the {len(masks)} masks in {folder} belongs to one of the {len(pictures)} "
            "images, expected them as CLASS/IMAGE.png or IMAGE/CLASS.png, or named as Label Studio "
            f"names them: there are {', '.join(str(m.relative_to(folder)) for m in masks[:3])}"
        )
    classes = sorted({name for part in parts.values() for name, _ in part} - {BACKGROUND})
    if len(classes) >= IGNORE_INDEX and names is None:
        raise ValueError(
            f"the masks in {folder} name {len(classes)} classes, such as {', '.join(classes[:3])}: "
            "if each is an object of one class, name it, as in --classes background,cell"
        )
    sheets = [
        Sheet(called, part[0][1], partial(_draw_classes, part)) for called, part in parts.items()
    ]
    return Annotated(
        [BACKGROUND, *classes],
        [None] * (len(classes) + 1),
        sheets,
        masks={*masks},
        masks_alone=sorted({*masks} - {mask for part in parts.values() for _, mask in part}),
        tell_overlaps=True,
        notices=[f"the names of files and folders give the classes {', '.join(classes[:12])}"],
    )


def _strokes(
    strokes: Mapping[Path, re.Match[str]],
    pictures: Sequence[Path],
    folder: Path,
) -> dict[tuple[str, ...], Part]:
    """Of each task, the classes and files; a JSON export of the tasks names their images."""
    hands: dict[str, set[tuple[str, str]]] = {}
    for found in strokes.values():
        hands.setdefault(found[1], set()).add((found[2], found[3]))
    if several := {task: hand for task, hand in hands.items() if len(hand) > 1}:
        task, hand = next(iter(several.items()))
        by = " and ".join(f"annotation {number} by {who}" for number, who in sorted(hand))
        raise ValueError(
            f"{len(several)} tasks were annotated more than once, such as task {task}, {by}: "
            "merged, they would contradict each other. Keep the files of one of them in the folder"
        )
    called = {task: (f"task-{task}.jpg", f"{task}.jpg") for task in hands}
    known = {name_key(file.stem) for file in pictures}
    tasks = files_below(folder, {".json"})
    if not tasks and not any(name_key(f"task-{task}") in known or task in known for task in hands):
        raise ValueError(
            f"the masks in {folder} name tasks and not images: export the project from Label "
            "Studio as JSON, too, into that folder, or name the images task-1.jpg and so on"
        )
    for file in tasks:
        content = read_json(file)
        with understood(file):
            for task in content:
                sources = [str(value) for value in task.get("data", task).values()]
                images = [each for each in sources if Path(each).suffix.lower() in SUFFIXES]
                name = re.split(r"[\\/=]", images[0])[-1]
                # Label Studio puts eight digits before the names of uploaded files.
                called[str(task["id"])] = name, re.sub(r"^[0-9a-f]{8}-", "", name)
    parts: dict[tuple[str, ...], Part] = {}
    for mask, found in strokes.items():
        parts.setdefault(called[found[1]], []).append((class_name(found[4]), mask))
    return parts


def _folders(
    masks: Sequence[Path], pictures: Sequence[Path], folder: Path, names: Sequence[str] | None
) -> dict[tuple[str, ...], Part]:
    """Of each image, the classes and files: CLASS/IMAGE.png or IMAGE/CLASS.png."""
    of_stem = {name_key(file.stem): file.name for file in pictures}
    chosen = {class_name(name) for name in names or []} - {BACKGROUND}
    parts: dict[tuple[str, ...], Part] = {}
    for mask in masks:
        above = mask.relative_to(folder).parts[:-1]
        image = next((of_stem[name_key(p)] for p in above if name_key(p) in of_stem), None)
        name = mask.stem if mask.stem in chosen else re.sub(r"[-_. ]\d+$", "", mask.stem)
        if image is None and above:
            image, name = of_stem.get(name_key(mask.stem)), above[-1]
        if image:
            parts.setdefault((image,), []).append((class_name(name), mask))
    found = {name for part in parts.values() for name, _ in part}
    if len(chosen) == 1 and not chosen & found:  # a file for each object of one class
        parts = {key: [(*chosen, mask) for _, mask in part] for key, part in parts.items()}
    return parts


def _draw_classes(part: Sequence[tuple[str, Path]], image: Path) -> tuple[Shape, list[Layer]]:
    """Masks of one class each: 0 and one other value; of soft edges, up to 255, the brighter half
    belongs to the class."""
    shape, layers = None, []
    for name, mask in part:
        values = load_mask(mask, image)
        present = np.unique(values)
        soft = present[-1] == 255 and ((present > 127) & (present < 255)).any()
        if values.ndim == 3 or (len(present) > 2 and not soft):
            found = "colors" if values.ndim == 3 else f"the values {shortened(present.tolist())}"
            raise FileFault(
                f"mask {mask}",
                f"holds {found}, expected 0 and one other value, as the mask of one class",
                "read masks of several classes without --format per-class",
            )
        if values.shape != (shape or values.shape):
            raise FileFault(
                f"mask {mask}",
                f"is {values.shape[1]} x {values.shape[0]} pixels, that of another class of its "
                f"image {shape[1]} x {shape[0]}",
                "export them at one size",
            )
        shape = values.shape
        layers.append((name, positions(values > values.max() / 2)))
    return shape, layers
