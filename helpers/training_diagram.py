"""SegFormer as a diagram: encoder, four maps of features, decode head."""

from __future__ import annotations

from itertools import accumulate, pairwise
from operator import mul
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from transformers import SegformerConfig

_GREY, _ENCODER, _HEAD = "0.9", "#a9c8e8", "#f5c78e"
_SIDES = (1.7, 1.25, 0.85, 0.55)  # of the drawn maps; true proportions would hide the last


def draw_segformer(config: SegformerConfig, image_size: int) -> Figure:
    """Draw the way of a square image through SegFormer, with the sizes of this very model.

    Args:
        config: of a SegFormer, with four stages.
        image_size: side of the image that goes in, pixels.

    Returns:
        The figure. It is closed already, so that a notebook shows it once: as the cell's value.
    """
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(12, 4.6), layout="constrained")
    axis.set(xlim=(0, 12), ylim=(0, 4.4), aspect="equal")
    axis.set_axis_off()
    axis.set_title("SegFormer looks at four scales, and its head puts them together")
    sides = [image_size // stride for stride in accumulate(config.strides, mul)]
    coarse, full = f"{sides[0]} × {sides[0]}", f"{image_size} × {image_size}"
    _box(axis, 0.1, 2.1, 1.7, 1.7, _GREY, f"image\n{full}\nRGB")
    centers = [2.95, 4.95, 6.5, 7.7]
    stages = zip(centers, _SIDES, sides, config.hidden_sizes, strict=True)
    for stage, (center, drawn, side, channels) in enumerate(stages, start=1):
        _box(axis, center - drawn / 2, 2.95 - drawn / 2, drawn, drawn, _ENCODER, f"{stage}")
        size = f"{side} × {side}\n{channels} channels"
        axis.text(center, 3.85, size, ha="center", fontsize=9)
        _arrow(axis, (center, 2.95 - drawn / 2), (center, 1.3))
    _arrow(axis, (1.8, 2.95), (centers[0] - _SIDES[0] / 2, 2.95))
    for (left, right), (wide, narrow) in zip(pairwise(centers), pairwise(_SIDES), strict=True):
        _arrow(axis, (left + wide / 2, 2.95), (right - narrow / 2, 2.95))
    channels = config.decoder_hidden_size
    head = f"each map to {coarse}, {channels} channels; stacked; mixed by one layer"
    _box(axis, 2.1, 0.6, 5.95, 0.7, _HEAD, head)
    axis.text(8.3, 2.95, "encoder: four stages,\npretrained", color="#2b5f93", va="center")
    axis.text(5.05, 0.25, "decode head: small and new", color="#a35d00", ha="center")
    _arrow(axis, (8.05, 0.95), (8.5, 0.95))
    _box(axis, 8.5, 0.3, 1.3, 1.3, _HEAD, f"logits\n{coarse}\n{config.num_labels} classes")
    _arrow(axis, (9.8, 0.95), (10.25, 0.95))
    _box(axis, 10.25, 0.1, 1.7, 1.7, _GREY, f"label map\n{full}\nupsampled,\nbest class")
    plt.close(figure)
    return figure


def _box(
    axis: Axes, x: float, y: float, width: float, height: float, color: str, text: str
) -> None:
    from matplotlib.patches import Rectangle

    axis.add_patch(Rectangle((x, y), width, height, facecolor=color, edgecolor="0.4"))
    axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=10)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    arrow = {"arrowstyle": "->", "color": "0.3", "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", xy=end, xytext=start, arrowprops=arrow)
