"""What the JSON files of COCO, Labelme and Segments.ai say of each image."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np

from helpers.images import FileFault, load_mask, size_of
from helpers.labels import Color
from scripts.foreign import Finder, files_below, foreign, read_json, split_of
from scripts.layers import (
    BACKGROUND,
    Annotated,
    Layer,
    Shape,
    Sheet,
    class_name,
    layers_of_ids,
    pixels_of_polygons,
    pixels_of_runs,
    positions,
    pycocotools,
    understood,
)

_IGNORE = "__ignore__"  # Labelme's own name for pixels without a class
_OTHER_TASKS = ("captions_", "person_keypoints_", "image_info_")  # files beside COCO's instances

Entry = Mapping[str, Any]  # an object of a JSON file


def coco_files(folder: Path) -> dict[Path, str | None]:
    """The COCO files of a folder, and the split that each holds by its name or its folder's.

    Raises:
        FileFault: there are files of another tool only.
        ValueError: there is none.
    """
    files = [f for f in files_below(folder, {".json"}) if not f.name.startswith(_OTHER_TASKS)]
    if not files:
        for file in files_below(folder, {".xml", ".txt"}):
            if fault := foreign(file):
                raise fault
        raise ValueError(f"there is no JSON file in {folder}, expected one of COCO")
    return {file: split_of(file.stem) or split_of(file.parent.name) for file in files}


def read_coco(folder: Path, files: Mapping[Path, str | None]) -> Annotated:
    """What COCO files say: outlines and run lengths of objects, or panoptic PNGs of object ids.

    Args:
        folder: where the panoptic PNGs are.
        files: JSON files, and the split that each holds.

    Raises:
        FileFault: a file has another form, or an object has no outline.
        ValueError: there are files of both kinds, or `pycocotools` is missing.
    """
    pngs = Finder(files_below(folder, {".png"}))
    parts = [_read_coco(file, split, pngs) for file, split in files.items()]
    kinds = {bool(part.masks): file for part, file in zip(parts, files, strict=True)}
    if len(kinds) > 1:
        raise ValueError(
            f"{kinds[True]} is panoptic, and {kinds[False]} is not: move the files of one kind out "
            "of the folder"
        )
    colors: dict[str, Color | None] = {}
    for part in parts:
        for name, color in zip(part.names, part.colors, strict=True):
            colors.setdefault(name, color)
    return Annotated(
        [*colors],
        [*colors.values()],
        [sheet for part in parts for sheet in part.sheets],
        None if any(part.rest is None for part in parts) else BACKGROUND,
        {mask for part in parts for mask in part.masks},
        notices=[notice for part in parts for notice in part.notices],
    )


def _read_coco(file: Path, split: str | None, pngs: Finder) -> Annotated:
    content = read_json(file, "images", "annotations", "categories")
    notices: list[str] = []
    with understood(file):
        annotations, images = content["annotations"], content["images"]
        panoptic = any("segments_info" in each for each in annotations)
        names, colors = _categories(content["categories"], annotations, file, notices)
        of_image: dict[Any, list[Entry]] = {image["id"]: [] for image in images}
        for each in annotations:
            of_image.setdefault(each["image_id"], []).append(each)
        sheets, masks, silent = [], set(), []
        for image in images:
            objects, name = of_image[image["id"]], str(Path(image["file_name"]))
            draw: Callable | None = partial(_draw_objects, image, objects, names, file)
            if panoptic:
                png = _panoptic_png(objects, file, pngs)
                masks |= {png} if png else set()
                draw = png and partial(_draw_ids, png, objects[0]["segments_info"], names, file)
            sheets.append(Sheet((name,), file, draw, split))
            if not objects or draw is None:
                silent.append(name)
        strange = of_image.keys() - {image["id"] for image in images}
        segments = [part for each in annotations for part in each.get("segments_info", [])]
        shown = {names.get(part["category_id"]) for part in segments}
        if not panoptic:
            _refuse_boxes(annotations, file)
    if silent:
        what = "or their PNG files are missing: they are left out"
        notices.append(
            f"{file.name} has no object in {len(silent)} of its images ({silent[0]}, say)"
            f"{f', {what}' if panoptic else ': their masks are all background'}"
        )
    if strange:
        notices.append(
            f"{file.name} has objects of {len(strange)} images that it does not list "
            f"({next(iter(strange))}, say): they are left out"
        )
    if panoptic:
        rest = BACKGROUND if BACKGROUND in {*names.values()} - shown else None
        if rest:
            notices.append(f"{file.name} shows background by no object: its id 0 is background")
        return Annotated([*names.values()], colors, sheets, rest, masks, notices=notices)
    pycocotools()
    own = {BACKGROUND: (0, 0, 0)} | dict(zip(names.values(), colors, strict=True))
    return Annotated([*own], [*own.values()], sheets, notices=notices)


def _categories(
    categories: Sequence[Entry], annotations: Sequence[Entry], file: Path, notices: list[str]
) -> tuple[dict[Any, str], list[Color | None]]:
    """Category id to name, in the order of the ids, and their colors."""
    used = {each.get("category_id") for each in annotations}
    names: dict[Any, str] = {}
    colors: list[Color | None] = []
    for category in sorted(categories, key=lambda category: category["id"]):
        number, name = category["id"], class_name(category["name"])
        if number == 0 and category.get("supercategory") == "none" and 0 not in used:
            notices.append(
                f'{file.name}: the category 0 ("{name}") is left out, because no object uses it: '
                "Roboflow names the project there"
            )
            continue
        if name in names.values():
            other = next(known for known, taken in names.items() if taken == name)
            raise FileFault(
                str(file),
                f'names the categories {other} and {number} "{name}", expected a name of its own '
                "for each",
                "rename one of them and export again",
            )
        names[number] = name
        color = category.get("color")
        colors.append(tuple(color[:3]) if isinstance(color, list) else None)
    return names, colors


def _refuse_boxes(annotations: Sequence[Entry], file: Path) -> None:
    if boxes := [each["id"] for each in annotations if not each.get("segmentation")]:
        raise FileFault(
            str(file),
            f"has {len(boxes)} objects without an outline, perhaps with a box only "
            f"(annotations {', '.join(map(str, boxes[:3]))})",
            "draw outlines or masks for them, or delete them, and export again",
        )


def _draw_objects(
    image: Entry, objects: Sequence[Entry], names: Mapping[Any, str], file: Path, _: Path
) -> tuple[Shape, list[Layer]]:
    shape = _size(image["height"], image["width"], file)
    layers = []
    for each in objects:
        what, drawn = f"annotation {each['id']}", each["segmentation"]
        with understood(file, what):
            draw = pixels_of_polygons if isinstance(drawn, list) else pixels_of_runs
            layers.append((_class_of(each, names, what, file), draw(drawn, shape)))
    return shape, layers


def _panoptic_png(objects: Sequence[Entry], file: Path, pngs: Finder) -> Path | None:
    """The PNG file of an image, in the folder that is named as the JSON file is, or elsewhere."""
    if not objects:
        return None
    beside = file.with_suffix("") / objects[0]["file_name"]
    return beside if beside.is_file() else pngs.find(objects[0]["file_name"], file)


def _draw_ids(
    png: Path, objects: Sequence[Entry], names: Mapping[Any, str], file: Path, image: Path
) -> tuple[Shape, list[Layer]]:
    class_of = {}
    with understood(file, png.name):
        for each in objects:
            what = f"object {each['id']} of {png.name}"
            class_of[each["id"]] = _class_of(each, names, what, file)
    return layers_of_ids(png, class_of, image)


def _size(height: Any, width: Any, file: Path) -> Shape:
    with understood(file):
        if min(int(height), int(width)) < 1:
            raise ValueError(f"an image of {width} x {height} pixels")
        return int(height), int(width)


def _class_of(drawn: Entry, names: Mapping[Any, str], what: str, file: Path) -> str:
    if (category := drawn["category_id"]) not in names:
        raise FileFault(
            str(file),
            f"gives {what} the category {category}, expected one of {shortened([*names])}",
            "export it again, with all categories",
        )
    return names[category]


def read_labelme(folder: Path, listed: Sequence[str] | None) -> Annotated:
    """What Labelme's files say, a file an image: polygons, rectangles, circles and masks.

    Labelme has two names of its own, `_background_`, and `__ignore__` for pixels without a class.

    Args:
        folder: JSON files, also in its sub-folders.
        listed: the names of a labels.txt, in the order of the label ids; None: by alphabet.

    Raises:
        FileFault: a file has another form, or a shape has a name that is not listed.
        ValueError: there is no such file, or `pycocotools` is missing.
    """
    files = files_below(folder, {".json"})
    if not files:
        raise ValueError(f"there is no JSON file in {folder}, expected those of Labelme")
    pycocotools()
    names = None if listed is None else [class_name(name) for name in listed]
    used, sheets = set(), []
    for file in files:
        content = read_json(file, "shapes", "imagePath")
        content.pop("imageData", None)  # the image once more, in base64
        with understood(file):
            own = {class_name(each["label"]) for each in content["shapes"]}
            called = str(Path(content["imagePath"])), f"{file.stem}.jpg"
        if names is not None and (unknown := own - {*names, BACKGROUND, _IGNORE}):
            raise FileFault(
                str(file),
                f'has a shape named "{min(unknown)}", expected one of {", ".join(names)}',
                "add the name to labels.txt, or correct the shape",
            )
        used |= own
        sheets.append(Sheet(called, file, partial(_draw_shapes, content, file)))
    classes = sorted(used) if names is None else names
    classes = [name for name in classes if name not in (BACKGROUND, _IGNORE)]
    return Annotated([BACKGROUND, *classes], [None] * (len(classes) + 1), sheets)


def _draw_shapes(content: Entry, file: Path, image: Path) -> tuple[Shape, list[Layer]]:
    # Labelme turns an image upright before it is drawn on; its first versions left out the size.
    width, height = size_of(image)
    shape = _size(content.get("imageHeight", height), content.get("imageWidth", width), file)
    layers = []
    for number, each in enumerate(content["shapes"]):
        name = class_name(each["label"])
        with understood(file, f'shape {number}, "{name}"'):
            layers.append((None if name == _IGNORE else name, _pixels_of_shape(each, shape, file)))
    return shape, layers


def _pixels_of_shape(drawn: Entry, shape: Shape, file: Path) -> np.ndarray:
    kind = drawn.get("shape_type") or "polygon"  # Labelme's first versions had no other
    points = np.asarray(drawn["points"], dtype=float).reshape(-1, 2)
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    elif kind == "circle":
        center, edge = points
        y, x = np.ogrid[: shape[0], : shape[1]]
        away = np.hypot(x + 0.5 - center[0], y + 0.5 - center[1])
        return positions(away < np.hypot(*(edge - center)))
    elif kind == "mask":
        found = np.zeros(shape, dtype=bool)
        inside = load_mask(base64.b64decode(drawn["mask"]), name="its mask") > 0
        left, top = points[0].astype(int)
        inside = inside[max(0, -top) :, max(0, -left) :]  # it may reach beyond the image
        place = found[max(0, top) :, max(0, left) :][: inside.shape[0], : inside.shape[1]]
        place[:] = inside[: place.shape[0], : place.shape[1]]
        return positions(found)
    elif kind not in ("polygon", "rectangle", "oriented_rectangle"):
        raise FileFault(
            str(file),
            f'has a shape "{drawn["label"]}" of type {kind}, which has no area',
            "draw it as a polygon, rectangle, circle or mask",
        )
    return pixels_of_polygons([points.ravel()], shape)


def read_segments(folder: Path) -> Annotated:
    """What a release of Segments.ai says: a JSON file, and PNG files of object ids as its Python
    client saves them, `NAME_label_ground-truth.png`.

    Raises:
        FileFault: the release has another form.
        ValueError: there is no release, or more than one.
    """
    files = files_below(folder, {".json"})
    if len(files) != 1:
        raise ValueError(
            f"there are {len(files)} release files (JSON) of Segments.ai in {folder}, expected "
            "one: download a release, and its images and bitmaps with the package segments-ai"
        )
    file, pngs = files[0], Finder(files_below(folder, {".png"}))
    sheets, masks = [], set()
    notices: list[str] = []
    with understood(file):
        dataset = read_json(file, "dataset")["dataset"]
        names, colors = _categories(dataset["task_attributes"]["categories"], [], file, notices)
        for sample in dataset["samples"]:
            labels = {kind: label for kind, label in sample["labels"].items() if label}
            kind = "ground-truth" if "ground-truth" in labels else next(iter(labels), None)
            stem = str(Path(sample["name"]).with_suffix(""))
            png = kind and pngs.find(f"{stem}_label_{kind}.png", file)
            draw = None
            if png:
                masks.add(png)
                objects = labels[kind]["attributes"]["annotations"]
                draw = partial(_draw_ids, png, objects, names, file)
            sheets.append(Sheet((sample["name"],), file, draw))
    if without := [sheet.names[0] for sheet in sheets if sheet.draw is None]:
        notices.append(
            f"{len(without)} images have no label in {file.name}, or no bitmap "
            f"NAME_label_ground-truth.png ({without[0]}, say): they are left out"
        )
    notices.append(
        "pixels of no object count as background. If they are only not labeled yet, choose the "
        "classes without background: then such pixels have no class"
    )
    own = {BACKGROUND: (0, 0, 0)} | dict(zip(names.values(), colors, strict=True))
    return Annotated([*own], [*own.values()], sheets, BACKGROUND, masks, notices=notices)
