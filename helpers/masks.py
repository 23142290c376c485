"""Masks of other conventions become label maps: by what their values or their colors mean."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from PIL import Image

from helpers.images import FileFault, Source, load_mask, name_of, size_of
from helpers.labels import Color

_UNKNOWN = 256  # no label
_LISTED = 24  # values that a message lists
_OTHER_SHAPE = "it may be the mask of another image: put the right one there, or --drop FILE"


def labels_from_values(
    mask: Source, values: Mapping[int, int], image: Source | None = None
) -> Image.Image:
    """Turn a mask whose *values* mean classes into one of mode L.

    Args:
        mask: see `helpers.images.load_mask`; of a palette PNG the indices count, not the colors.
        values: from stored value to label, for example {0: 0, 255: 1}; each value that occurs
            needs an entry.
        image: the mask's image; the mask is turned upright as it is, see
            `helpers.images.load_mask`.

    Returns:
        Mode L, labels 0-255.

    Raises:
        ValueError: a value has no label, or the mask is color-coded.
    """
    name, stored = name_of(mask, "mask"), load_mask(mask, image)
    if stored.ndim == 3:
        raise _in_colors(name)
    present = values_in(stored).tolist()
    if unknown := [value for value in present if value not in values]:
        raise FileFault(
            name,
            f"holds the value {unknown[0]} in {np.count_nonzero(stored == unknown[0])} pixels, "
            f"expected {', '.join(map(str, values))}",
            "give it a label (--values), or 255 for pixels without a class (--ignore "
            f"{','.join(map(str, unknown[:_LISTED]))})",
        )
    labels = np.zeros(stored.shape, dtype=np.uint8)
    for value in present:
        labels[stored == value] = values[value]
    return Image.fromarray(labels)


def labels_from_colors(
    mask: Source, colors: Mapping[Color, int], image: Source | None = None
) -> Image.Image:
    """Turn a mask whose *colors* mean classes into one of mode L.

    Args:
        mask: see `helpers.images.load_mask`; of a palette PNG the colors count, not the indices.
        colors: from (red, green, blue) to label.
        image: the mask's image; the mask is turned upright as it is, see
            `helpers.images.load_mask`.

    Returns:
        Mode L, labels 0-255.

    Raises:
        ValueError: a pixel has a color that is not in `colors`.
    """
    name = name_of(mask, "mask")
    numbers = as_numbers(load_mask(mask, image, in_colors=True))
    labels = _table(tuple(colors.items()))[numbers]
    if len(missing := numbers[labels == _UNKNOWN]):
        raise FileFault(
            name,
            f"holds the color {color_of(int(missing[0]))}, and {len(missing)} pixels of "
            f"{len(np.unique(missing))} unknown colors in all, expected one of "
            f"{', '.join(map(str, colors))}",
            "add a line for it to the file of --colors. Many in-between colors mean JPEG "
            "compression or soft edges: export the masks again as PNG without smoothing",
        )
    return Image.fromarray(labels.astype(np.uint8))


def resize_labels(labels: Image.Image, image: Source) -> Image.Image:
    """Resize a mask of mode L to its upright image, by nearest neighbour.

    Raises:
        ValueError: their shapes differ, so it may be the mask of another image.
    """
    size = size_of(image)
    if not _have_one_shape(labels.size, size):
        found = "has a mask of {} x {} pixels and is {} x {} itself".format(*labels.size, *size)
        raise FileFault(name_of(image, "image"), f"{found}, expected equal shapes", _OTHER_SHAPE)
    return labels.resize(size, Image.Resampling.NEAREST)


def _in_colors(name: str) -> FileFault:
    cause = "is in color, expected one value per pixel"
    return FileFault(name, cause, "labels_from_colors turns colors into labels (--colors FILE)")


def of_other_size(name: str, size: tuple[int, int], of_image: tuple[int, int]) -> FileFault:
    cause = "is {} x {} pixels, its image {} x {}, expected equal sizes".format(*size, *of_image)
    resized = "--resize-masks resizes such masks by nearest neighbour"
    return FileFault(name, cause, resized if _have_one_shape(size, of_image) else _OTHER_SHAPE)


def _have_one_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether one size is a multiple of the other, give or take a rounded pixel."""
    larger, smaller = max(first, second), min(first, second)
    factor = larger[0] / smaller[0]
    return abs(larger[1] - factor * smaller[1]) <= factor


def as_numbers(rgb: np.ndarray) -> np.ndarray:
    """Colors as one number for each pixel, (height, width) uint32: `np.unique` takes fifty times as
    long for rows of three."""
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    return red << 16 | green << 8 | blue


def values_in(mask: np.ndarray) -> np.ndarray:
    """The different values of a mask, sorted. Where its neighbour is equal, a pixel is passed over:
    areas have long rows of one value."""
    flat = mask.ravel()
    return np.unique(np.append(flat[:1], flat[1:][flat[1:] != flat[:-1]]))


@lru_cache(maxsize=1)
def _table(labels: tuple[tuple[Color, int], ...]) -> np.ndarray:
    """(2**24,) uint16: the label of each color, by its number."""
    table = np.full(1 << 24, _UNKNOWN, dtype=np.uint16)
    for (red, green, blue), label in labels:
        table[red << 16 | green << 8 | blue] = label
    return table


def color_of(number: int) -> Color:
    return tuple(number.to_bytes(3, "big"))
