"""Masks whose values or colors mean classes, turned into labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from helpers.custom.pairs import have_one_shape
from helpers.images import Source, load_mask, name_of, size_of
from helpers.labels import IGNORE_INDEX, Color, Labels

_VOC_BORDER = (224, 224, 192)  # around each object of PASCAL VOC: a line without a class


def labels_from_values(
    mask: Source, values: Mapping[int, int] | None = None, image: Source | None = None
) -> Image.Image:
    """Turn a mask whose *values* mean classes into one of mode L.

    Args:
        mask: see `helpers.images.load_mask`; of a palette PNG the indices count, not the colors.
        values: from stored value to label, for example {0: 0, 255: 1}; each value that occurs
            needs an entry. None: the values are labels already.
        image: the mask's image; the mask is turned upright as it is, see
            `helpers.images.load_mask`.

    Returns:
        Mode L, labels 0-255.

    Raises:
        ValueError: a value has no label, or the mask is color-coded.
    """
    name, stored = name_of(mask, "mask"), load_mask(mask, image)
    if stored.ndim == 3:
        raise ValueError(
            f"{name} is in color, expected one value per pixel: labels_from_colors turns "
            "colors into labels"
        )
    known = range(256) if values is None else values
    present = np.unique(stored).tolist()
    if unknown := [value for value in present if value not in known]:
        expected = "0-255" if values is None else ", ".join(map(str, values))
        raise ValueError(
            f"{name} holds the value {unknown[0]} in {np.count_nonzero(stored == unknown[0])} "
            f"pixels, expected {expected}: give it a label, or 255 for pixels without a class"
        )
    labels = np.zeros(stored.shape, dtype=np.uint8)
    for value in present:
        labels[stored == value] = value if values is None else values[value]
    return Image.fromarray(labels)


def labels_from_colors(
    mask: Source,
    colors: Mapping[Color, int] | Labels,
    unknown: int | None = None,
    image: Source | None = None,
) -> Image.Image:
    """Turn a mask whose *colors* mean classes into one of mode L.

    Args:
        mask: see `helpers.images.load_mask`; of a palette PNG the colors count, not the indices.
        colors: from (red, green, blue) to label. Given `Labels`, their colors are used, and the
            border that VOC draws around objects, (224, 224, 192), has no class.
        unknown: the label of other colors, such as 255 for "no class"; None: refuse them.
        image: the mask's image; the mask is turned upright as it is, see
            `helpers.images.load_mask`.

    Returns:
        Mode L, labels 0-255.

    Raises:
        ValueError: a pixel has a color that is not in `colors`.
    """
    if isinstance(colors, Labels):
        colors = {_VOC_BORDER: 0 if colors.reduce else IGNORE_INDEX} | {
            tuple(color): value
            for value, color in enumerate(colors.palette.tolist(), start=int(colors.reduce))
        }
    name = name_of(mask, "mask")
    numbers = colors_as_numbers(load_mask(mask, image, in_colors=True))
    present, where = np.unique(numbers, return_inverse=True)
    labels = [colors.get(color_of_number(number), unknown) for number in present.tolist()]
    if None in labels:
        missing = present[labels.index(None)]
        raise ValueError(
            f"{name} holds the color {color_of_number(int(missing))} in "
            f"{np.count_nonzero(numbers == missing)} pixels ({labels.count(None)} such colors), "
            f"expected one of {', '.join(map(str, colors))}. "
            "Many in-between colors mean JPEG compression or soft edges: export the masks again as "
            "PNG without smoothing."
        )
    return Image.fromarray(np.array(labels, dtype=np.uint8)[where].reshape(numbers.shape))


def resize_labels(labels: Image.Image, image: Source) -> Image.Image:
    """Resize a mask of mode L to its upright image, by nearest neighbour.

    Raises:
        ValueError: their shapes differ, so it may be the mask of another image.
    """
    size = size_of(image)
    if not have_one_shape(labels.size, size):
        raise ValueError(
            f"the mask of {name_of(image, 'image')} is {labels.width} x {labels.height} pixels, "
            f"the image {size[0]} x {size[1]}: their shapes differ, so this may be the mask of "
            "another image, and it has not been resized"
        )
    return labels.resize(size, Image.Resampling.NEAREST)


def colors_as_numbers(rgb: np.ndarray) -> np.ndarray:
    """A mask's colors as one number for each pixel: `np.unique` takes fifty times as long for rows
    of three.

    Args:
        rgb: (height, width, 3) uint8.

    Returns:
        (height, width) uint32, 65,536 red + 256 green + blue: `color_of_number` leads back.
    """
    return rgb @ np.array([65536, 256, 1], dtype=np.uint32)


def color_of_number(number: int) -> Color:
    """(red, green, blue), 0-255, of a number that `colors_as_numbers` gives."""
    return tuple(number.to_bytes(3, "big"))
