"""Label maps as images: color, overlay, legend, side by side; segments; a model as a diagram.

A label map is (height, width) integers: label ids, or 255 for ignored pixels. Their names and
colors are those of `labels`. An image is a PIL image, or (height, width, 3) uint8 RGB. A figure
is closed already, so that a notebook shows it once: as the cell's value.
"""

from __future__ import annotations

import colorsys
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from helpers.images import load_image
from helpers.labels import ADE20K, IGNORE_INDEX, Labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from transformers import SegformerConfig


def colorize(label_map: np.ndarray, labels: Labels = ADE20K) -> np.ndarray:
    """Paint each label id in its palette color; 255 (ignored) becomes black.

    Returns (height, width, 3) uint8 RGB; raises ValueError where a label id has no color.
    """
    return np.array(_colored(np.asarray(label_map), labels.palette))


def overlay(
    image: Image.Image, label_map: np.ndarray, alpha: float = 0.5, labels: Labels = ADE20K
) -> Image.Image:
    """Blend a label map's colors over its image; ignored pixels stay as they are.

    Args:
        image: is turned upright by its EXIF orientation, and has the label map's size then.
        alpha: 0 shows the image alone, 1 the colors alone.

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
        raise ValueError(f"alpha is {alpha}: expected 0 (image) to 1 (colors)")
    blended = Image.blend(image, _colored(label_map, labels.palette), alpha)
    if (ignored := label_map == IGNORE_INDEX).any():
        blended.paste(image, mask=Image.fromarray(ignored))
    return blended


def _colored(label_map: np.ndarray, palette: np.ndarray) -> Image.Image:
    """A label map as RGB image; Pillow looks colors up some fifteen times as fast as NumPy."""
    outside = (label_map >= len(palette)) & (label_map != IGNORE_INDEX) | (label_map < 0)
    if outside.any():
        raise ValueError(
            f"label id {label_map[outside][0]} has no color: expected 0-{len(palette) - 1}, or "
            f"{IGNORE_INDEX} for ignored pixels. Raw annotations go through to_label_map first."
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
        images: title to image.
        legend: label ids; none: no legend. 255 stands for ignored pixels.
        columns: images in a row.
        width: of the figure, inches; the height follows from the images.
        named: title to label map, for images whose segments get outlines and names.

    Raises:
        ValueError: `named` holds a title that no image has.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

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
            _draw_names(axis, named[title], labels)
    patches = []
    for label in legend:
        name, color = "ignored", "black"
        if label != IGNORE_INDEX:
            name, color = labels.short_names[label], labels.palette[label] / 255
        patches.append(Patch(facecolor=color, edgecolor="0.4", linewidth=0.5, label=name))
    if patches:
        figure.legend(
            handles=patches, loc="outside lower center", ncols=legend_columns, frameon=False
        )
    plt.close(figure)
    return figure


def segments_of(label_map: np.ndarray, instances: np.ndarray) -> list[dict[str, Any]]:
    """List the segments of a panoptic map, the smallest label id first; 255 (ignored) has none.

    Of ADE20K's label ids and the number of the thing that each pixel shows (0: stuff), returns
    {"label": name, "instance": number, "mask": (height, width) bool} for each pair of the two.
    """
    pairs = np.unique(np.stack([label_map, instances], axis=-1).reshape(-1, 2), axis=0).tolist()
    return [
        {
            "label": ADE20K.names[label],
            "instance": number,
            "mask": (label_map == label) & (instances == number),
        }
        for label, number in pairs
        if label != IGNORE_INDEX
    ]


def color_of_name(name: str) -> tuple[int, int, int]:
    """Find a class's RGB color, 0-255, by its name.

    A name that ADE20K lacks, as of a model trained on other data, borrows one of its colors. It is
    the same in every run, but it may be another class's too.
    """
    borrowed = zlib.crc32(name.encode()) % ADE20K.num_labels
    return tuple(ADE20K.palette[ADE20K.label2id.get(name, borrowed)].tolist())


def paint_segments(segments: Sequence[Mapping[str, Any]], shape: tuple[int, int]) -> np.ndarray:
    """Paint segments on black: a class has one hue, and its segments differ in shade.

    A class's segments are numbered from left to right, and a segment's shade depends on its number
    alone; the first has the class's own color. Where two overlap, the one further right is seen.

    Args:
        segments: as `pipeline` returns them: {"label": name, "mask": (height, width) bool array, or
            PIL image of mode L}, among other keys.
        shape: (height, width) of the result, uint8 RGB.
    """
    painted, numbers = np.zeros((*shape, 3), dtype=np.uint8), Counter()
    masks = [(segment["label"], np.asarray(segment["mask"]) > 0) for segment in segments]
    for name, mask in sorted(masks, key=lambda named: named[1].any(axis=0).argmax()):
        painted[mask] = _shade(color_of_name(name), numbers[name])
        numbers[name] += 1
    return painted


def outline(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """A copy of the image with the outermost pixels of a mask, (height, width) bool, in white."""
    copy, white = image.copy(), Image.fromarray(mask.astype(np.uint8) * 255)
    copy.paste("white", mask=ImageChops.subtract(white, white.filter(ImageFilter.MinFilter(3))))
    return copy


def cross(image: Image.Image, row: int, column: int) -> Image.Image:
    """A copy of the image with a cross through one pixel: white edged black, seen on anything."""
    copy = image.copy()
    pen = ImageDraw.Draw(copy)
    for color, width in (("black", 3), ("white", 1)):
        pen.line((0, row, image.width, row), color, width)
        pen.line((column, 0, column, image.height), color, width)
    return copy


def write_on(image: Image.Image, text: str, mask: np.ndarray) -> None:
    """Write on the pixel of a mask, which may be smaller, that lies nearest to its center."""
    rows, columns = np.nonzero(mask)
    middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    scale, font = image.width / mask.shape[1], ImageFont.load_default(12)
    half = font.getlength(text) / 2 + 3  # all of it inside the image
    x = min(max(scale * columns[middle], half), image.width - half)
    style = {"anchor": "mm", "stroke_width": 2, "stroke_fill": "white"}
    ImageDraw.Draw(image).text((x, scale * rows[middle]), text, "black", font, **style)


def draw_segformer(config: SegformerConfig, image_size: int) -> Figure:
    """Draw the way of a square image of so many pixels a side through a SegFormer's four stages."""
    import matplotlib.pyplot as plt

    sides = [image_size // stride for stride in accumulate(config.strides, mul)]
    coarse, full = f"{sides[0]} × {sides[0]}", f"{image_size} × {image_size}"
    head = (
        f"each map to {coarse}, {config.decoder_hidden_size} channels; stacked; mixed by one layer"
    )
    grey, blue, orange = "0.9", "#a9c8e8", "#f5c78e"
    boxes = [  # left, bottom, width, height
        (0.1, 2.1, 1.7, 1.7, grey, f"image\n{full}\nRGB"),
        (2.1, 0.6, 5.95, 0.7, orange, head),
        (8.5, 0.3, 1.3, 1.3, orange, f"logits\n{coarse}\n{config.num_labels} classes"),
        (10.25, 0.1, 1.7, 1.7, grey, f"label map\n{full}\nupsampled,\nbest class"),
    ]
    arrows = [((8.05, 0.95), (8.5, 0.95)), ((9.8, 0.95), (10.25, 0.95))]
    figure, axis = plt.subplots(figsize=(12, 4.6), layout="constrained")
    axis.set(xlim=(0, 12), ylim=(0, 4.4), aspect="equal")
    axis.set_axis_off()
    axis.set_title("SegFormer looks at four scales, and its head puts them together")
    axis.text(8.3, 2.95, "encoder: four stages,\npretrained", color="#2b5f93", va="center")
    axis.text(5.05, 0.25, "decode head: small and new", color="#a35d00", ha="center")
    before = 1.8  # where the image ends
    drawn = (1.7, 1.25, 0.85, 0.55)  # true proportions would hide the last map
    stages = zip((2.95, 4.95, 6.5, 7.7), drawn, sides, config.hidden_sizes, strict=True)
    for stage, (center, width, side, channels) in enumerate(stages, start=1):
        boxes.append((center - width / 2, 2.95 - width / 2, width, width, blue, f"{stage}"))
        arrows.append(((before, 2.95), (center - width / 2, 2.95)))
        arrows.append(((center, 2.95 - width / 2), (center, 1.3)))
        before = center + width / 2
        size = f"{side} × {side}\n{channels} channels"
        axis.text(center, 3.85, size, ha="center", fontsize=9)
    for left, bottom, width, height, color, text in boxes:
        axis.add_patch(plt.Rectangle((left, bottom), width, height, fc=color, ec="0.4"))
        axis.text(left + width / 2, bottom + height / 2, text, ha="center", va="center")
    for start, end in arrows:
        style = {"arrowstyle": "->", "color": "0.3", "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", end, start, arrowprops=style)
    plt.close(figure)
    return figure


def _segment_centers(label_map: np.ndarray) -> list[tuple[int, tuple[int, int]]]:
    """(label id, (row, column)) of the pixel deepest inside each area that is not tiny."""
    from scipy import ndimage

    label_map, centers = np.asarray(label_map), []
    for label in largest_labels(label_map, most=256):
        areas, _ = ndimage.label(label_map == label)
        for number, window in enumerate(ndimage.find_objects(areas), start=1):
            inside = np.pad(areas[window] == number, 1)
            if inside.sum() >= 0.005 * label_map.size:
                depth = ndimage.distance_transform_edt(inside)
                row, column = np.unravel_index(depth.argmax(), depth.shape)
                top, left = window[0].start - 1, window[1].start - 1
                centers.append((label, (int(top + row), int(left + column))))
    return centers


def _draw_names(axis: Axes, label_map: np.ndarray, labels: Labels) -> None:
    """Outline every class and write its name inside, for eyes that colors do not help."""
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
    for label, (row, column) in _segment_centers(label_map):
        name = labels.short_names[label]
        place = column / label_map.shape[1]  # a name at the edge begins or ends there
        side = "left" if place < 0.1 else "right" if place > 0.9 else "center"
        axis.text(column, row, name, ha=side, va="center", fontsize=8, bbox=box, clip_on=True)


def _shade(color: tuple[int, int, int], number: int) -> np.ndarray:
    """The color itself as number 0; others are duller, at a lightness far from those before."""
    if number == 0:
        return np.array(color, dtype=np.uint8)
    hue, lightness, saturation = colorsys.rgb_to_hls(*(value / 255 for value in color))
    place = (lightness - 0.3) / 0.5 + number * 0.618  # the golden ratio leaves no two places close
    # Duller, as a lighter tree would look like grass: some classes share a hue.
    rgb = colorsys.hls_to_rgb(hue, 0.3 + 0.5 * (place % 1), 0.55 * saturation)
    return np.round(np.multiply(255, rgb)).astype(np.uint8)
