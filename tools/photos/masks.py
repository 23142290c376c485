"""Polygons become masks: the outlines that were drawn by hand over the bundled photographs.

`polygons.json` holds a list of shapes for each photograph. A shape is a class and the corners of a
polygon, `["tree", [x, y, x, y, ...]]`, in pixels from the top left corner. Twigs before the sky are
told by brightness: inside of `["tree/sky", 150, [x, y, ...]]`, pixels whose blue value is above 150
are sky, and the others tree. Later shapes lie over earlier ones, and "ignore" lies over all.

`second.json` holds shapes that somebody else has drawn over four of the photographs again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from helpers.labels import ADE20K, IGNORE_INDEX, Labels
from helpers.metrics import ConfusionMatrix

NAMES = ("sky", "building", "tree", "grass", "road")
LABELS = Labels(NAMES, [ADE20K.colors[ADE20K.short_names.index(name)] for name in NAMES])
POLYGONS = Path(__file__).parent / "polygons.json"
SECOND = Path(__file__).parent / "second.json"
_IGNORE = "ignore"
_RIM = 2  # pixels on each side of a border between two classes that nobody scores

Shapes = Sequence[Sequence]
"""Of one photograph: lists of a class, a threshold if there are two classes, and a polygon."""


def read_polygons(file: Path = POLYGONS) -> dict[str, Shapes]:
    """The name of each photograph, without extension, and its shapes."""
    return json.loads(file.read_text(encoding="utf-8"))


def draw_mask(shapes: Shapes, image: Image.Image) -> np.ndarray:
    """Draw the shapes of one photograph.

    Args:
        shapes: see this module's first lines.
        image: the photograph, RGB; its size and its blue values count.

    Returns:
        (height, width) uint8, the label ids of `LABELS`, or 255 where no shape lies, or "ignore",
        or where two classes meet. Borders that a threshold drew have no such rim.
    """
    mask = np.full(image.size[::-1], IGNORE_INDEX, dtype=np.uint8)
    by_threshold = np.zeros(mask.shape, dtype=bool)
    blue = np.asarray(image)[..., 2]
    for name, *threshold, corners in shapes:
        if name == _IGNORE:
            continue
        inside = _inside(corners, image.size)
        dark, _, bright = name.partition("/")
        mask[inside] = LABELS.label2id[dark]
        if bright:
            mask[inside & (blue > threshold[0])] = LABELS.label2id[bright]
        by_threshold[inside] = bool(bright)
    mask[_borders(mask) & ~by_threshold] = IGNORE_INDEX
    for name, *_, corners in shapes:
        if name == _IGNORE:
            mask[_inside(corners, image.size)] = IGNORE_INDEX
    return mask


def agreement(
    first: Mapping[str, Shapes], second: Mapping[str, Shapes], images: Mapping[str, Image.Image]
) -> ConfusionMatrix:
    """Score the second annotator's masks against the first's, where neither says 255.

    Args:
        first: name of a photograph to its shapes.
        second: the same; photographs that it lacks do not count.
        images: name to photograph, RGB.

    Returns:
        The counts of all these photographs.
    """
    counts = ConfusionMatrix(LABELS.num_labels)
    for name in second:
        masks = [draw_mask(shapes[name], images[name]) for shapes in (first, second)]
        scored = (masks[0] != IGNORE_INDEX) & (masks[1] != IGNORE_INDEX)
        counts.update(masks[1][scored], masks[0][scored])
    return counts


def _inside(corners: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    drawn = Image.new("1", size)
    ImageDraw.Draw(drawn).polygon(list(corners), fill=1)
    return np.asarray(drawn)


def _borders(mask: np.ndarray) -> np.ndarray:
    """Where a square of 2 * _RIM + 1 pixels holds more than one label."""
    side = 2 * _RIM + 1
    padded = np.pad(mask, _RIM, mode="edge")
    squares = np.lib.stride_tricks.sliding_window_view(padded, (side, side))
    return squares.min(axis=(2, 3)) != squares.max(axis=(2, 3))
