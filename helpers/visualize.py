"""Label maps as pictures: colour, overlay, legend, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from helpers.ade20k import ID2LABEL, IGNORE_INDEX, PALETTE
from helpers.data import to_rgb

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch


def colorize(label_map: np.ndarray, palette: np.ndarray = PALETTE) -> np.ndarray:
    """Paint each label id in its palette colour; 255 (ignored) becomes black.

    Args:
        label_map: (height, width) integers, label ids 0 ... len(palette) - 1, or 255.
        palette: (n, 3) uint8 RGB.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        ValueError: a label id has no colour.
    """
    return np.array(_coloured(np.asarray(label_map), palette))


def overlay(
    image: Image.Image,
    label_map: np.ndarray,
    alpha: float = 0.5,
    palette: np.ndarray = PALETTE,
) -> Image.Image:
    """Blend a label map's colours over its picture; ignored pixels stay as they are.

    Args:
        image: the picture; upright, as its EXIF orientation says, it has the label map's size.
        label_map: (height, width) label ids or 255.
        alpha: 0 shows the picture alone, 1 the colours alone.

    Returns:
        PIL picture, RGB, upright, of the label map's size.

    Raises:
        ValueError: the sizes differ, or alpha is outside 0 ... 1.
    """
    label_map, image = np.asarray(label_map), to_rgb(image)
    if label_map.shape != image.size[::-1]:
        raise ValueError(
            f"the label map is {label_map.shape[1]} x {label_map.shape[0]} pixels, the picture "
            f"{image.size[0]} x {image.size[1]}: expected equal sizes. "
            "helpers.inference.segment gives maps at the picture's own size."
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}: expected 0 (picture) to 1 (colours)")
    blended = Image.blend(image, _coloured(label_map, palette), alpha)
    if (ignored := label_map == IGNORE_INDEX).any():
        blended.paste(image, mask=Image.fromarray(ignored))
    return blended


def label_colours(num_labels: int) -> np.ndarray:
    """A colour for each label: ADE20K's for 150 labels, else those of Pascal VOC.

    VOC's colour map takes the bits of a label id by turns as the highest bits of red, green and
    blue (`VOClabelcolormap` of its development kit): 256 colours, the first ones far apart, and
    black for label 0, which there is the background.

    Returns:
        (num_labels, 3) uint8 RGB; 256 rows where there are more labels.
    """
    if num_labels == len(PALETTE):
        return PALETTE
    labels = np.arange(min(num_labels, 256))
    colours = np.zeros((len(labels), 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((labels >> channel & 1) << (7 - bit)).astype(np.uint8)
        labels >>= 3
    return colours


def _coloured(label_map: np.ndarray, palette: np.ndarray) -> Image.Image:
    """A label map as RGB picture, checked.

    Pillow looks colours up some fifteen times as fast as NumPy's `palette[label_map]`.
    """
    colours = np.asarray(palette, dtype=np.uint8)[:256]
    outside = (label_map >= len(colours)) & (label_map != IGNORE_INDEX) | (label_map < 0)
    if outside.any():
        raise ValueError(
            f"label id {label_map[outside][0]} has no colour: expected 0-{len(colours) - 1}, or "
            f"{IGNORE_INDEX} for ignored pixels. Raw annotations go through reduce_labels first."
        )
    lookup = np.zeros((256, 3), dtype=np.uint8)
    lookup[: len(colours)] = colours
    lookup[IGNORE_INDEX] = 0
    indexed = Image.fromarray(label_map.astype(np.uint8))
    indexed.putpalette(lookup.tobytes())
    return indexed.convert("RGB")


def largest_labels(*label_maps: np.ndarray, most: int = 10) -> list[int]:
    """Label ids present in the maps (255 left out), those with the most pixels first."""
    areas = sum(np.bincount(np.asarray(one).ravel(), minlength=256) for one in label_maps)
    areas[IGNORE_INDEX] = 0
    order = np.argsort(-areas, kind="stable")[: np.count_nonzero(areas)]
    return [int(label) for label in order[:most]]


def legend_handles(
    labels: Sequence[int],
    id2label: Mapping[int, str] = ID2LABEL,
    palette: np.ndarray = PALETTE,
) -> list[Patch]:
    """Legend entries for matplotlib: a coloured patch with the name of each label id."""
    from matplotlib.patches import Patch

    return [
        Patch(
            facecolor=(0, 0, 0) if label == IGNORE_INDEX else palette[label] / 255,
            edgecolor="0.4",
            linewidth=0.5,
            label="ignored" if label == IGNORE_INDEX else id2label[label].split(",")[0],
        )
        for label in labels
    ]


def show_pictures(
    pictures: Mapping[str, Image.Image | np.ndarray],
    labels: Sequence[int] = (),
    columns: int = 4,
    width: float = 12.0,
    palette: np.ndarray = PALETTE,
    id2label: Mapping[int, str] = ID2LABEL,
) -> Figure:
    """Show titled pictures in a grid, with one legend below for the classes named.

    Args:
        pictures: title to picture (PIL, or array (height, width, 3) uint8).
        labels: label ids for the legend; none: no legend. 255 stands for ignored pixels.
        columns: pictures in a row.
        width: of the figure, inches; the height follows from the pictures.

    Returns:
        The figure. It is closed already, so that a notebook shows it once: as the cell's value.
    """
    import matplotlib.pyplot as plt

    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    aspects = [
        np.asarray(picture).shape[0] / np.asarray(picture).shape[1] for picture in pictures.values()
    ]
    height = rows * (width / columns * max(aspects) + 0.35)
    legend_columns = min(8, max(len(labels), 1))
    legend_height = 0.3 * -(-len(labels) // legend_columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height + legend_height), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (title, picture) in zip(axes.flat, pictures.items(), strict=False):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(title, fontsize=11)
    if labels:
        figure.legend(
            handles=legend_handles(labels, id2label, palette),
            loc="outside lower center",
            ncols=legend_columns,
            frameon=False,
        )
    plt.close(figure)
    return figure
