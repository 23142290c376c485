"""What annotation tools export, as pairs of images and masks.

`read_export` draws masks where a tool has outlines, objects or a file for each class, and takes
them as they are where it has masks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as shortened

import numpy as np
from PIL import Image

from helpers.images import SUFFIXES, FileFault, header, load_mask
from helpers.labels import IGNORE_INDEX, Color, Labels
from helpers.pairs import Pair, Pairs, files_below, find_pairs, name_key
from scripts import outlines
from scripts.class_names import BACKGROUND, Choice, choose, class_name, read_names, voc_colors
from scripts.cli import FORMATS
from scripts.outlines import Annotated, Sheet
from scripts.tool_files import read_json, understood

_VOC_BORDER = (224, 224, 192)  # around each object of PASCAL VOC: a line without a class
_NAMES = ("labelmap.txt", "class_names.txt", "labels.txt", "codes.txt", "class_dict.csv")
_LISTS = {"train": "train", "val": "validation", "test": "test"}
# As Label Studio's converter names the PNG of a brush stroke; the name of the control ("tag") comes
# before the class.
_STROKE = re.compile(r"task-(\d+)-annotation-(\d+)-by-[^-]*-[^-]+-(.+)-\d+")


@dataclass(frozen=True)
class Export:
    """Images and masks of an annotation tool, and what the masks' values or colors mean."""

    pairs: list[Pair]  # (image, mask file)
    labels: Labels
    splits: dict[str, list[Pair]] | None
    """"train", "validation" and "test" as far as the tool made them; None: it made none."""
    colors: dict[Color, int] | None = None
    """Where masks are in colors: what a color means, a label id or 255."""
    values: dict[int, int] | None = None
    """Where masks hold the tool's numbers: what each means. With neither, they hold label ids."""
    images_alone: list[Path] = field(default_factory=list)
    masks_alone: list[Path] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)  # what was left out or decided, in sentences


def read_export(
    format: str,
    folder: Path,
    scratch: Path,
    images: Path | None = None,
    names: Sequence[str] | None = None,
) -> Export:
    """Read what an annotation tool exported.

    Args:
        format: one of `FORMATS`.
        folder: what the tool wrote.
        scratch: a folder for the masks that are drawn: PNG, mode L, label ids and 255.
        images: the folder of the images; None: where the tool puts them.
        names: of the classes to keep, in the order of their label ids. Pixels of others become
            background where that is kept, else they have no class (255). None: the tool's own.
    """
    if format not in FORMATS:
        raise ValueError(f"the format is {format!r}, expected one of {', '.join(FORMATS)}")
    for each in (folder, images or folder):
        if not each.is_dir():
            raise ValueError(f"there is no folder {each}")
    if format == "voc":
        return _voc(folder, images, names)
    if format == "roboflow" and any(file.name == "_classes.csv" for file in files_below(folder)):
        return _roboflow(folder, images, names)
    if format == "labelme":
        table = _names_file(folder)
        found = outlines.read_labelme(folder, table and read_names(table).names)
    elif format == "objects":
        found = outlines.read_segments(folder)
    elif format == "per-class":
        found = _per_class(folder, images, names)
    else:
        found = outlines.read_coco(folder)
    classes, colors = [*found.classes], [*found.classes.values()]
    choice = choose(classes, colors, names, f"the export in {folder}")
    return _drawn(found, choice, images or folder, scratch)


def _names_file(folder: Path) -> Path | None:
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def _images_below(folder: Path) -> list[Path]:
    return [file for file in files_below(folder) if file.suffix.lower() in SUFFIXES]


def _in_splits(of_pair: Mapping[Pair, str | None]) -> dict[str, list[Pair]] | None:
    """The pairs by split, if each has one, and some are for training."""
    splits: dict[str | None, list[Pair]] = {}
    for pair, split in of_pair.items():
        splits.setdefault(split, []).append(pair)
    return splits if len(splits) > 1 and "train" in splits and None not in splits else None


# --- masks that are drawn -------------------------------------------------------------------------


def _drawn(found: Annotated, choice: Choice, images: Path, scratch: Path) -> Export:
    """The masks of all images below a folder, drawn."""
    files = [file for file in _images_below(images) if file not in found.masks]
    by_stem = outlines.by_stem(files)
    seen: dict[Path, Sheet] = {}
    drawn: dict[Pair, str | None] = {}
    missing, hidden = [], 0
    for sheet in found.sheets:
        if (image := outlines.find(sheet.name, sheet.file, by_stem)) is None:
            missing.append(sheet.name)
            continue
        if (other := seen.setdefault(image, sheet)) is not sheet:
            raise ValueError(
                f'{other.file} and {sheet.file} both say what is in {image}, as "{other.name}" and '
                f'"{sheet.name}", expected one of them: move the other away'
            )
        if sheet.shape is None:
            continue
        mask, below = _paint(sheet, choice, found.rest)
        hidden += below
        file = scratch / f"{image.relative_to(images)}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(file)
        drawn[image, file] = sheet.split
    notices = [*choice.notices, *found.notices]
    if missing:
        notices.append(
            f"{len(missing)} of {len(found.sheets)} images that the export names are not in "
            f"{images} ({', '.join(missing[:3])}): they are left out"
        )
    if hidden:
        notices.append(f"objects of two classes share {hidden} pixels: the smaller lies on top")
    if not drawn:
        what = f"no image in {images} is annotated: say with --images where the images are"
        raise ValueError(". ".join([what, *notices]))
    alone = [file for file in files if file not in seen], found.masks_alone
    return Export([*drawn], choice.labels, _in_splits(drawn), None, None, *alone, notices)


def _paint(sheet: Sheet, choice: Choice, rest: str | None) -> tuple[np.ndarray, int]:
    """The mask of an image, (height, width) uint8, on which the smaller objects lie on top; and in
    how many pixels they hide an object of another class."""
    codec, hidden = outlines.pycocotools(), 0
    ground = choice.values[rest] if rest else IGNORE_INDEX
    mask = np.full(sheet.shape, ground, dtype=np.uint8)
    for name, runs in sorted(sheet.layers, key=lambda layer: codec.area(layer[1]), reverse=True):
        inside = codec.decode(runs).view(bool)
        value = choice.values[name] if name else IGNORE_INDEX
        hidden += np.count_nonzero(inside & (mask != ground) & (mask != value))
        mask[inside] = value
    return mask, hidden


# --- a file for each class ------------------------------------------------------------------------


def _per_class(folder: Path, images: Path | None, names: Sequence[str] | None) -> Annotated:
    """Black-and-white files: Label Studio's brush strokes, or a folder for each class or image.

    Where none names a wanted class, they are objects of the only one that is wanted.
    """
    files = _images_below(folder)
    pictures = [file for file in files if "images" in file.relative_to(folder).parts[:-1]]
    pictures = _images_below(images) if images else pictures
    taken = {file.resolve() for file in pictures}
    masks = [file for file in files if file.resolve() not in taken]
    named = _strokes(masks, folder) or _folders(masks, pictures, folder)
    if not named:
        raise ValueError(
            f"none of the {len(masks)} masks in {folder} belongs to one of the {len(pictures)} "
            "images (say where they are with --images), expected them as CLASS/IMAGE.png or "
            "IMAGE/CLASS.png, or as Label Studio names them: there are "
            f"{', '.join(str(mask.relative_to(folder)) for mask in masks[:3])}"
        )
    classes = {name for _, name in named.values()} - {BACKGROUND}
    chosen = {class_name(name) for name in names or []} - {BACKGROUND}
    if len(chosen) == 1 and not chosen & classes:  # a file for each object of one class
        classes = chosen
        named = {mask: (image, *chosen) for mask, (image, _) in named.items()}
    parts: dict[str, list[tuple[str, Path]]] = {}
    for mask, (image, name) in named.items():
        parts.setdefault(image, []).append((name, mask))
    found = Annotated(dict.fromkeys([BACKGROUND, *sorted(classes)]), masks={*masks})
    found.masks_alone = [mask for mask in masks if mask not in named]
    for image, part in parts.items():
        layers = [(name, outlines.runs_of_mask(_is_class(mask))) for name, mask in part]
        shape, *others = {tuple(runs["size"]) for _, runs in layers}
        if others:
            cause = f"has masks of different sizes, {shape} and {others[0]} (height, width)"
            raise FileFault(f"image {image}", cause, "export them at one size")
        found.sheets.append(Sheet(image, part[0][1], shape, layers))
    return found


def _strokes(masks: Sequence[Path], folder: Path) -> dict[Path, tuple[str, str]]:
    """Of each of Label Studio's masks the image and the class; its JSON names the tasks' images."""
    strokes = {mask: match for mask in masks if (match := _STROKE.fullmatch(mask.stem))}
    hands = Counter(task for task, _ in {match.group(1, 2) for match in strokes.values()})
    if twice := [task for task, count in hands.items() if count > 1]:
        raise ValueError(
            f"task {twice[0]} has {hands[twice[0]]} annotations: merged, they would contradict "
            f"each other. Keep the files of one of them in {folder}"
        )
    called: dict[str, str] = {}
    for file in files_below(folder) if strokes else []:
        if file.suffix.lower() == ".json":
            with understood(file):
                for task in read_json(file):
                    for source in map(str, task.get("data", task).values()):
                        if Path(source).suffix.lower() in SUFFIXES:
                            name = re.split(r"[\\/=]", source)[-1]
                            # Label Studio puts eight digits before the names of uploaded files.
                            called[str(task["id"])] = re.sub(r"^[0-9a-f]{8}-", "", name)
    if lost := hands.keys() - called.keys():
        raise ValueError(
            f"no JSON file in {folder} says which image task {min(lost)} is about: export the "
            "project from Label Studio as JSON, too, into that folder"
        )
    return {mask: (called[match[1]], class_name(match[3])) for mask, match in strokes.items()}


def _folders(
    masks: Sequence[Path], pictures: Sequence[Path], folder: Path
) -> dict[Path, tuple[str, str]]:
    """Of each mask the image and the class: CLASS/IMAGE.png or IMAGE/CLASS.png."""
    images = {name_key(file.stem): file.name for file in pictures}
    named = {}
    for mask in masks:
        above = mask.relative_to(folder).parts[:-1]
        own = [images[name_key(part)] for part in above if name_key(part) in images]
        if own:
            named[mask] = own[0], class_name(re.sub(r"[-_. ]\d+$", "", mask.stem))
        elif above and name_key(mask.stem) in images:
            named[mask] = images[name_key(mask.stem)], class_name(above[-1])
    return named


def _is_class(mask: Path) -> np.ndarray:
    """Where the mask of one class is not 0; of soft edges, up to 255, the brighter half counts."""
    values = load_mask(mask)
    present = np.unique(values)
    soft = present[-1] == 255 and ((present > 127) & (present < 255)).any()
    if values.ndim == 3 or (len(present) > 2 and not soft):
        found = "colors" if values.ndim == 3 else f"the values {shortened(present.tolist())}"
        cause = f"holds {found}, expected 0 and one other value, as the mask of one class"
        remedy = "read masks of several classes without --format per-class"
        raise FileFault(f"mask {mask}", cause, remedy)
    return values > values.max() / 2


# --- masks that are taken as they are -------------------------------------------------------------


def _voc(folder: Path, images: Path | None, names: Sequence[str] | None) -> Export:
    """PASCAL VOC's layout, as CVAT and Labelme's converter write it."""
    found = sorted(folder.rglob("SegmentationClass"))
    if len(found) != 1:
        raise ValueError(
            f"there are {len(found)} folders SegmentationClass in {folder}, expected one, beside "
            "JPEGImages"
        )
    root = found[0].parent
    images = images or root / "JPEGImages"
    if not images.is_dir():
        raise ValueError(f"there is no folder {images}: say where the images are with --images")
    files = find_pairs(images, found[0])
    notices: list[str] = []
    splits = None
    if lists := sorted((root / "ImageSets/Segmentation").glob("*.txt")):
        files, splits = _listed(lists, files, images, notices)
    table = _names_file(root)
    known, colors = read_names(table) if table else (names, None)
    if known is None:
        raise ValueError(
            f"{root} has no list of names ({', '.join(_NAMES)}): name the classes with --classes, "
            "in the order of the masks' values"
        )
    known = [class_name(name) for name in known if name != "__ignore__"]
    modes = set()
    for _, mask in files.pairs:
        with suppress(ValueError):  # whoever opens it says what is wrong with it
            modes.add(header(mask).mode)
    in_colors = modes & {"RGB", "RGBA"} or (colors and "P" in modes)
    colors = voc_colors(len(known)) if in_colors and not colors else colors
    choice = choose(known, colors or [None] * len(known), names, str(table or root))
    ids = [choice.values[name] for name in known]
    if in_colors:
        meaning, values = {_VOC_BORDER: IGNORE_INDEX} | dict(zip(colors, ids, strict=True)), None
    else:
        meaning, values = None, dict(enumerate(ids)) | {IGNORE_INDEX: IGNORE_INDEX}
    alone, notices = (files.images_alone, files.masks_alone), choice.notices + notices
    return Export(files.pairs, choice.labels, splits, meaning, values, *alone, notices)


def _listed(
    lists: Sequence[Path], files: Pairs, images: Path, notices: list[str]
) -> tuple[Pairs, dict[str, list[Pair]] | None]:
    """The pairs that VOC's lists name, and their splits."""
    of_name = {
        name_key(pair[0].relative_to(images).with_suffix("").as_posix()): pair
        for pair in files.pairs
    }
    parts: dict[str, list[Pair]] = {}
    for file in lists:
        # Names with spaces are in quotes.
        lines = [line.strip().strip('"') for line in file.read_text("utf-8-sig").splitlines()]
        names = [name for name in dict.fromkeys(map(name_key, lines)) if name]
        parts[file.stem.lower()] = [of_name[name] for name in names if name in of_name]
        if without := [name for name in names if name not in of_name]:
            notices.append(
                f"{file.name} lists {len(without)} names without an image or a mask "
                f"({', '.join(without[:3])}): they are left out"
            )
    splits = {_LISTS[name]: part for name, part in parts.items() if name in _LISTS and part}
    splits = splits if "train" in splits and len(splits) > 1 else None
    pairs = list(dict.fromkeys(pair for part in (splits or parts).values() for pair in part))
    if not pairs:
        raise ValueError(
            f"no name that {lists[0]} lists has an image in {images} and a mask: {notices[0]}"
        )
    if rest := len(files.pairs) - len(pairs) + len(files.images_alone):
        notices.append(f"{rest} images are left out, because no list names them with a mask")
    return Pairs(pairs, [], files.masks_alone), splits


def _roboflow(folder: Path, images: Path | None, names: Sequence[str] | None) -> Export:
    """Roboflow's "Semantic Segmentation Masks": images, NAME_mask.png and a table in a folder."""
    if images:
        raise ValueError("Roboflow puts images beside their masks: leave out --images")
    tables = [file for file in files_below(folder) if file.name == "_classes.csv"]
    known = read_names(tables[0]).names
    pairs: dict[Pair, str | None] = {}
    alone: tuple[list[Path], list[Path]] = ([], [])
    for table in tables:
        if (others := read_names(table).names) != known:
            raise ValueError(
                f"{tables[0]} names {', '.join(known)}, and {table} names {', '.join(others)}: "
                "expected the same in each split"
            )
        found = find_pairs(table.parent, table.parent, mask_suffix="_mask")
        pairs |= dict.fromkeys(found.pairs, outlines.split_of(table.parent.name))
        alone[0].extend(found.images_alone)
        alone[1].extend(found.masks_alone)
    choice = choose(known, [None] * len(known), names, str(tables[0]))
    ids, splits = [choice.values[name] for name in known], _in_splits(pairs)
    values = dict(enumerate(ids)) | {IGNORE_INDEX: IGNORE_INDEX}
    return Export([*pairs], choice.labels, splits, None, values, *alone, choice.notices)
