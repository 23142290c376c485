"""Label maps as images: colour, overlay, legend, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from helpers.images import load_image
from helpers.labels import ADE20K, IGNORE_INDEX, Labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch


def colorize(label_map: np.ndarray, labels: Labels = ADE20K) -> np.ndarray:
    """Paint each label id in its palette colour; 255 (ignored) becomes black.

    Args:
        label_map: (height, width) integers, label ids 0 ... num_labels - 1, or 255.
        labels: whose palette is used.

    Returns:
        (height, width, 3) uint8 RGB.

    Raises:
        ValueError: a label id has no colour.
    """
    return np.array(_colored(np.asarray(label_map), labels.palette))


def overlay(
    image: Image.Image,
    label_map: np.ndarray,
    alpha: float = 0.5,
    labels: Labels = ADE20K,
) -> Image.Image:
    """Blend a label map's colours over its image; ignored pixels stay as they are.

    Args:
        image: the image; turned upright by its EXIF orientation, it has the label map's size.
        label_map: (height, width) label ids or 255.
        alpha: 0 shows the image alone, 1 the colours alone.
        labels: whose palette is used.

    Returns:
        PIL image, RGB, upright, of the label map's size.

    Raises:
        ValueError: the sizes differ, or alpha is outside 0 ... 1.
    """
    label_map, image = np.asarray(label_map), load_image(image)
    if label_map.shape != image.size[::-1]:
        raise ValueError(
            f"the label map is {label_map.shape[1]} x {label_map.shape[0]} pixels, the image "
            f"{image.size[0]} x {image.size[1]}: expected equal sizes. "
            "helpers.inference.segment gives maps at the image's own size."
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}: expected 0 (image) to 1 (colours)")
    blended = Image.blend(image, _colored(label_map, labels.palette), alpha)
    if (ignored := label_map == IGNORE_INDEX).any():
        blended.paste(image, mask=Image.fromarray(ignored))
    return blended


def _colored(label_map: np.ndarray, palette: np.ndarray) -> Image.Image:
    """A label map as RGB image, checked.

    Pillow looks colours up some fifteen times as fast as NumPy's `palette[label_map]`.
    """
    outside = (label_map >= len(palette)) & (label_map != IGNORE_INDEX) | (label_map < 0)
    if outside.any():
        raise ValueError(
            f"label id {label_map[outside][0]} has no colour: expected 0-{len(palette) - 1}, or "
            f"{IGNORE_INDEX} for ignored pixels. Raw annotations go through reduce_labels first."
        )
    lookup = np.zeros((256, 3), dtype=np.uint8)
    lookup[: len(palette)] = palette
    indexed = Image.fromarray(label_map.astype(np.uint8))
    indexed.putpalette(lookup.tobytes())
    return indexed.convert("RGB")


def largest_labels(*label_maps: np.ndarray, most: int = 10) -> list[int]:
    """Label ids present in the maps (255 left out), those with the most pixels first."""
    areas = sum(np.bincount(np.asarray(one).ravel(), minlength=256) for one in label_maps)
    areas[IGNORE_INDEX] = 0
    order = np.argsort(-areas, kind="stable")[: np.count_nonzero(areas)]
    return [int(label) for label in order[:most]]


def legend_handles(classes: Sequence[int], labels: Labels = ADE20K) -> list[Patch]:
    """Legend entries for matplotlib: a coloured patch with the name of each label id."""
    from matplotlib.patches import Patch

    return [
        Patch(
            facecolor=(0, 0, 0) if label == IGNORE_INDEX else labels.palette[label] / 255,
            edgecolor="0.4",
            linewidth=0.5,
            label="ignored" if label == IGNORE_INDEX else labels.short_names[label],
        )
        for label in classes
    ]


def segment_centers(
    label_map: np.ndarray, smallest: float = 0.005
) -> list[tuple[int, tuple[int, int]]]:
    """Find a place for a name in each segment: the pixel that is deepest inside it.

    Args:
        label_map: (height, width) label ids or 255; 255 is left out.
        smallest: share of all pixels below which a connected area gets no name, 0 ... 1.

    Returns:
        (label id, (row, column)) for each connected area of a class that is large enough. The pixel
        lies in the area, as the centre of mass of a bent one may not.
    """
    from scipy import ndimage

    label_map, centers = np.asarray(label_map), []
    for label in largest_labels(label_map, most=256):
        areas, _ = ndimage.label(label_map == label)
        for number, window in enumerate(ndimage.find_objects(areas), start=1):
            inside = np.pad(areas[window] == number, 1)
            if inside.sum() >= smallest * label_map.size:
                depth = ndimage.distance_transform_edt(inside)
                row, column = np.unravel_index(depth.argmax(), depth.shape)
                top, left = window[0].start - 1, window[1].start - 1
                centers.append((label, (int(top + row), int(left + column))))
    return centers


def draw_names(
    axis: Axes,
    label_map: np.ndarray,
    labels: Labels = ADE20K,
    smallest: float = 0.005,
) -> None:
    """Outline every class and write its name inside, for eyes that colours do not help.

    Args:
        axis: shows an image of the label map's size, one unit to a pixel.
        label_map: (height, width) label ids or 255; 255 is outlined and not named.
        labels: whose names are used.
        smallest: share of all pixels below which a segment gets no name, 0 ... 1.
    """
    from matplotlib.collections import LineCollection

    label_map = np.asarray(label_map)
    lines = [
        ((column + 0.5, row - 0.5), (column + 0.5, row + 0.5))
        for row, column in np.argwhere(label_map[:, 1:] != label_map[:, :-1])
    ] + [
        ((column - 0.5, row + 0.5), (column + 0.5, row + 0.5))
        for row, column in np.argwhere(label_map[1:] != label_map[:-1])
    ]
    for color, width in (("black", 1.6), ("white", 0.6)):  # one of the two shows on any background
        axis.add_collection(LineCollection(lines, colors=color, linewidths=width), autolim=False)
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
    for label, (row, column) in segment_centers(label_map, smallest):
        name = labels.short_names[label]
        place = column / label_map.shape[1]  # a name at the edge begins or ends there
        side = "left" if place < 0.1 else "right" if place > 0.9 else "center"
        axis.text(column, row, name, ha=side, va="center", fontsize=8, bbox=box, clip_on=True)


def show_images(
    images: Mapping[str, Image.Image | np.ndarray],
    legend: Sequence[int] = (),
    columns: int = 4,
    width: float = 12.0,
    labels: Labels = ADE20K,
    named: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """Show titled images in a grid, with one legend below for the classes named.

    Args:
        images: title to image (PIL, or array (height, width, 3) uint8).
        legend: label ids; none: no legend. 255 stands for ignored pixels.
        columns: images in a row.
        width: of the figure, inches; the height follows from the images.
        labels: whose names and colours are used.
        named: title to label map, for images whose segments get outlines and names.

    Returns:
        The figure. It is closed already, so that a notebook shows it once: as the cell's value.

    Raises:
        ValueError: `named` holds a title that no image has.
    """
    import matplotlib.pyplot as plt

    if unknown := set(named or ()) - set(images):
        raise ValueError(f"no image has the title {min(unknown)!r}: expected one of {[*images]}")

    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    aspects = [np.asarray(image).shape[0] / np.asarray(image).shape[1] for image in images.values()]
    height = rows * (width / columns * max(aspects) + 0.35)
    legend_columns = min(8, max(len(legend), 1))
    legend_height = 0.3 * -(-len(legend) // legend_columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height + legend_height), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (title, image) in zip(axes.flat, images.items(), strict=False):
        axis.imshow(image, interpolation="nearest")
        axis.set_title(title, fontsize=11)
        if named and title in named:
            draw_names(axis, named[title], labels)
    if legend:
        figure.legend(
            handles=legend_handles(legend, labels),
            loc="outside lower center",
            ncols=legend_columns,
            frameon=False,
        )
    plt.close(figure)
    return figure
