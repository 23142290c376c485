"""Outlines, as COCO and Labelme files hold them, drawn as masks with one value per pixel.

A pixel belongs to an outline if its center lies inside, counted by crossings (even-odd). Where
objects overlap, the larger is drawn first, so that the smaller lies on top.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from helpers.custom.objects import read_categories
from helpers.images import load_mask
from helpers.labels import IGNORE_INDEX, Labels

_BACKGROUND, _IGNORE = "_background_", "__ignore__"  # Labelme's own names

Shape = tuple[int, int]  # (height, width)
Layer = tuple[int, np.ndarray]  # a value, and (height, width) bool: where it is drawn


def read_coco(file: Path) -> tuple[Labels, Iterator[tuple[str, Image.Image]]]:
    """Draw the objects of a COCO file ("instances"), as most annotation tools export it.

    The polygons of one object are united, as in `pycocotools`. Holes come as run lengths (RLE,
    mostly for crowds), or as an outline that runs to the hole and back. Compressed run lengths
    need the package `pycocotools`.

    Args:
        file: JSON with images, annotations and categories.

    Returns:
        The labels: background, then the categories by id. And for each image, drawn one by one,
        its `file_name` and its mask (mode L, label ids); without objects a mask is all background.

    Raises:
        ValueError: the file has another format, or, while drawing, an object has no outline.
        ImportError: `pycocotools` is needed and missing.
    """
    content = _read(file, "images", "annotations", "categories")
    labels, values = read_categories(content["categories"])
    objects: dict[int, list[Mapping[str, Any]]] = {}
    for annotation in content["annotations"]:
        objects.setdefault(annotation["image_id"], []).append(annotation)

    def masks() -> Iterator[tuple[str, Image.Image]]:
        for image in content["images"]:
            shape = image["height"], image["width"]
            layers = (
                _coco_layer(each, values, shape, file) for each in objects.get(image["id"], [])
            )
            yield image["file_name"], _painted(layers, shape)

    return labels, masks()


def read_labelme(file: Path, labels: Labels) -> Image.Image:
    """Draw the shapes of a Labelme file: polygons, rectangles, circles and masks.

    Polygons have no holes; a smaller shape on top may be named `_background_`. Shapes named
    `__ignore__` get the value of pixels without a class.

    Args:
        file: JSON with shapes, imageHeight and imageWidth.
        labels: the names of the shapes; what no shape covers has value 0.

    Returns:
        Mode L, the values that `labels` explains.

    Raises:
        ValueError: the file has another format, or a shape has no area or an unknown name.
    """
    content = _read(file, "shapes", "imageHeight", "imageWidth")
    shape = content["imageHeight"], content["imageWidth"]
    values = {name: label + labels.reduce for name, label in labels.label2id.items()}
    values |= {_BACKGROUND: 0, _IGNORE: 0 if labels.reduce else IGNORE_INDEX}
    layers = (_labelme_layer(drawn, values, shape, file) for drawn in content["shapes"])
    return _painted(layers, shape)


def _read(file: Path, *keys: str) -> dict[str, Any]:
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
        missing = [key for key in keys if key not in content]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} is not a JSON file ({error})") from error
    if missing:
        raise ValueError(
            f"{file} has no {missing[0]}, expected {', '.join(keys)}: was it written by another "
            "tool, or exported for another task?"
        )
    return content


def _painted(layers: Iterable[Layer], shape: Shape) -> Image.Image:
    """Draw layers, the larger first."""
    # As positions, which take less memory than a hundred masks of the whole image.
    objects = [(value, np.flatnonzero(found)) for value, found in layers]
    mask = np.zeros(shape, dtype=np.uint8)
    for value, pixels in sorted(objects, key=lambda layer: -len(layer[1])):
        mask.flat[pixels] = value
    return Image.fromarray(mask)


def _coco_layer(
    annotation: Mapping[str, Any], values: Mapping[int, int], shape: Shape, file: Path
) -> Layer:
    name, category = f"annotation {annotation['id']} of {file}", annotation["category_id"]
    if category not in values:
        raise ValueError(f"{name} has the category {category}, expected one of {[*values]}")
    return values[category], _segment(annotation.get("segmentation"), shape, name)


def _segment(segmentation: Any, shape: Shape, name: str) -> np.ndarray:
    if not segmentation:
        raise ValueError(f"{name} has no outline, perhaps only a box: export masks or polygons")
    if isinstance(segmentation, list):
        polygons = [_inside(np.reshape(points, (-1, 2)), shape) for points in segmentation]
        return np.logical_or.reduce(polygons)
    size, counts = tuple(segmentation["size"]), segmentation["counts"]
    if size != shape or (isinstance(counts, list) and sum(counts) != size[0] * size[1]):
        raise ValueError(f"{name} has run lengths for another size than its image's, {shape}")
    if isinstance(counts, list):  # of 0 and of 1 by turns, column by column
        values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        return values.reshape(shape, order="F")
    try:
        from pycocotools.mask import decode
    except ImportError as error:
        raise ImportError(f"{name} has compressed run lengths: pip install pycocotools") from error
    return decode({"size": list(size), "counts": counts}).astype(bool)


def _labelme_layer(
    drawn: Mapping[str, Any], values: Mapping[str, int], shape: Shape, file: Path
) -> Layer:
    if drawn["label"] not in values:
        raise ValueError(
            f"{file} has a shape named {drawn['label']!r}, expected one of {', '.join(values)}"
        )
    return values[drawn["label"]], _area(drawn, shape, file)


def _area(drawn: Mapping[str, Any], shape: Shape, file: Path) -> np.ndarray:
    points, kind = np.asarray(drawn["points"], dtype=float), drawn["shape_type"]
    if kind == "rectangle":
        (left, top), (right, bottom) = points
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    elif kind == "circle":
        center, edge = points
        y, x = np.ogrid[: shape[0], : shape[1]]
        away = np.hypot(x + 0.5 - center[0], y + 0.5 - center[1])
        return away < np.hypot(*(edge - center))
    elif kind == "mask":
        found = np.zeros(shape, dtype=bool)
        inside = load_mask(base64.b64decode(drawn["mask"]), name=f"a mask of {file}") > 0
        left, top = points[0].astype(int)
        inside = inside[max(0, -top) :, max(0, -left) :]  # it may reach beyond the image
        place = found[max(0, top) :, max(0, left) :][: inside.shape[0], : inside.shape[1]]
        place[:] = inside[: place.shape[0], : place.shape[1]]
        return found
    elif kind != "polygon":
        raise ValueError(
            f"{file} has a shape {drawn['label']!r} of type {kind}, which has no area: expected "
            "polygon, rectangle, circle or mask"
        )
    return _inside(points, shape)


def _inside(points: np.ndarray, shape: Shape) -> np.ndarray:
    """Which pixels' centers lie inside a polygon of (n, 2) points (x, y): (height, width) bool."""
    height, width = shape
    crossings = np.zeros((height, width + 1), dtype=np.uint8)  # an even number may wrap round
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        first, last = np.clip(np.ceil(np.array([min(y0, y1), max(y0, y1)]) - 0.5), 0, height)
        rows = np.arange(int(first), int(last))
        if len(rows):
            x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            columns = np.clip(np.ceil(x - 0.5), 0, width).astype(int)
            crossings[rows, columns] += 1
    return np.cumsum(crossings, axis=1, dtype=np.uint8)[:, :width] % 2 == 1
