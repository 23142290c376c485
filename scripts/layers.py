"""An image's mask as layers, a class and its pixels each, and how they are drawn.

Outlines and run lengths are drawn by `pycocotools`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from helpers.images import FileFault, header, load_mask
from helpers.labels import IGNORE_INDEX, Color

BACKGROUND = "background"  # the class of what no layer covers
_FAR = 100  # times the image's size: an outline that reaches further is not in its pixels

Shape = tuple[int, int]  # (height, width)
# A class, or None for no class, and the positions of its pixels, counted column by column as COCO
# counts them: they take less memory than a hundred masks of the whole image.
Layer = tuple[str | None, np.ndarray]


@dataclass(frozen=True)
class Sheet:
    """What a tool says of one image."""

    names: tuple[str, ...]
    """What the image may be called: paths or names, the likeliest first."""
    file: Path
    """The tool's file; images near it are preferred."""
    draw: Callable[[Path], tuple[Shape, Sequence[Layer]]] | None
    """From the image's file to the size of its mask, and its layers; None: it is not annotated."""
    split: str | None = None


@dataclass(frozen=True)
class Annotated:
    """What a tool says of all images."""

    names: list[str]
    """Of the classes, in the order of their label ids."""
    colors: list[Color] | None
    sheets: list[Sheet]
    rest: str | None = BACKGROUND
    """The class of pixels that no layer covers; None: they have none."""
    masks: set[Path] = field(default_factory=set)
    """Files that are masks, and no images."""
    masks_alone: list[Path] = field(default_factory=list)
    """Those among them that belong to no image."""
    tell_overlaps: bool = False
    notices: list[str] = field(default_factory=list)


def class_name(name: Any) -> str:
    """A class's name, as tools write it; the background's is always `BACKGROUND`."""
    name = str(name).strip()
    return BACKGROUND if name.strip("_").lower() == BACKGROUND else name


def paint(
    shape: Shape, layers: Sequence[Layer], values: Mapping[str, int], rest: int
) -> np.ndarray:
    """Draw layers, the larger first, so that the smaller lie on top.

    Args:
        shape: (height, width).
        layers: see `Layer`.
        values: class to what its pixels become; those without a class become 255.
        rest: what pixels become that no layer covers.

    Returns:
        (height, width) uint8.
    """
    mask = np.full(shape[::-1], rest, dtype=np.uint8)
    for name, pixels in sorted(layers, key=lambda layer: -len(layer[1])):
        mask.flat[pixels] = IGNORE_INDEX if name is None else values[name]
    return np.ascontiguousarray(mask.T)


def positions(inside: np.ndarray) -> np.ndarray:
    """Where a mask (height, width) is not zero, as a `Layer` counts."""
    return np.flatnonzero(inside.T)


def overlaps(layers: Sequence[Layer]) -> Counter[tuple[str, str]]:
    """How many pixels two classes share, by (the one below, the one on top) of `paint`."""
    found: Counter[tuple[str, str]] = Counter()
    ordered = sorted(layers, key=lambda layer: -len(layer[1]))
    for (below, pixels), (top, others) in combinations(ordered, 2):
        if below != top:
            found[below, top] += len(np.intersect1d(pixels, others, assume_unique=True))
    return +found  # without zeros


def pixels_of_polygons(polygons: Sequence[Sequence[float]], shape: Shape) -> np.ndarray:
    """The positions of the pixels inside the union of polygons, each [x, y, x, y, ...].

    Raises:
        ValueError: they are no polygons in the image's pixels, or `pycocotools` is missing.
    """
    codec = pycocotools()
    outlines = [np.asarray(points, dtype=float).ravel() for points in polygons]
    if any(len(points) % 2 for points in outlines):
        raise ValueError("an odd number of coordinates")
    if any(not np.all(np.abs(points) < _FAR * max(shape)) for points in outlines):
        raise ValueError(f"points far outside its image of {shape[1]} x {shape[0]}")
    # One point and two have no area, and pycocotools would take two for a box.
    outlines = [points.tolist() for points in outlines if len(points) >= 6]
    if not outlines:
        return np.zeros(0, dtype=int)
    inside = codec.decode(codec.merge(codec.frPyObjects(outlines, *shape)))
    return positions(inside.view(bool))


def pixels_of_runs(code: Mapping[str, Any], shape: Shape) -> np.ndarray:
    """The positions of the pixels that COCO's run lengths name, compressed or a list.

    Raises:
        ValueError: they are for another size, or damaged, or `pycocotools` is missing.
    """
    codec = pycocotools()
    size, counts = tuple(code["size"]), code["counts"]
    if size != shape or (isinstance(counts, list) and sum(counts) != size[0] * size[1]):
        raise ValueError(f"run lengths for another size than its image's, {shape[1]} x {shape[0]}")
    plain = {"size": [*size], "counts": counts}
    plain = codec.frPyObjects(plain, *shape) if isinstance(counts, list) else plain
    inside = codec.decode(plain)
    if codec.area(plain) != inside.sum():  # what is behind the last run is not even zero
        raise ValueError("run lengths that end before the image does")
    return positions(inside.view(bool))


def layers_of_ids(
    bitmap: Path, class_of: Mapping[int, str], image: Path
) -> tuple[Shape, list[Layer]]:
    """The objects of a PNG of object ids: grey, or red + 256 green + 65,536 blue; 0 is no object.

    Raises:
        FileFault: an object has no class.
    """
    ids = load_mask(bitmap, image)
    if header(bitmap).mode in ("RGB", "RGBA"):  # a grey color is an id of three bytes, too
        ids = load_mask(bitmap, image, in_colors=True) @ np.array([1, 256, 65536], dtype=np.uint32)
    present, where = np.unique(ids, return_inverse=True)
    where = where.reshape(ids.shape)
    layers = []
    for number, each in enumerate(present.tolist()):
        if each and each not in class_of:
            raise FileFault(
                str(bitmap),
                f"holds the object {each}, which the JSON file does not list for it",
                "export both together",
            )
        if each:
            layers.append((class_of[each], positions(where == number)))
    return ids.shape, layers


def pycocotools() -> Any:
    """Its module `mask`; ValueError where it is not installed."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ValueError(
            "outlines and run lengths are drawn by the package pycocotools, which is not "
            "installed: pip install pycocotools"
        ) from error
    return mask


@contextmanager
def understood(file: Path, what: str = "") -> Iterator[None]:
    """A FileFault where a part of a file is not as it should be, in place of Python's errors."""
    try:
        yield
    except FileFault:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, OverflowError) as error:
        cause = f"is not written as expected{f' in {what}' if what else ''} ({error})"
        raise FileFault(str(file), cause, "correct it in the tool, and export again") from error
