"""An image too large for one pass: overlapping windows, blended where they meet.

Each window is shown to the model at the image's own resolution. Their logits are averaged on the
coarse grid on which the model gives them, a row of windows at a time, so that memory grows with
the image's width and not with its area.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from helpers.images import load_image
from helpers.processes import progress
from helpers.upsampling import upsampled_argmax

if TYPE_CHECKING:
    from PIL import Image
    from transformers import BaseImageProcessor, PreTrainedModel

_CELL = 4  # SegFormer gives logits for squares of 4 x 4 pixels
_ROWS = 16  # of the grid that are upsampled at a time


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin along a side of so many pixels; the last one ends with the side.

    One window where the side is no longer than that; `slide_inference` of mmsegmentation.
    """
    count = max(0, math.ceil((length - window) / stride)) + 1
    return [max(0, min(index * stride, length - window)) for index in range(count)]


def stride_of(window: int, stride: int | None = None) -> int:
    """The stride of `segment_windows`, which raises ValueError as described there."""
    stride = 3 * window // (4 * _CELL) * _CELL if stride is None else stride
    if window < 32 or window % _CELL or stride % _CELL or not 0 < stride <= window:
        raise ValueError(
            f"window is {window} and stride {stride}: expected multiples of {_CELL}, a window of "
            "at least 32 pixels and a stride no larger than it"
        )
    return stride


@torch.inference_mode()
def segment_windows(
    image: Image.Image,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    window: int = 512,
    stride: int | None = None,
) -> np.ndarray:
    """Predict the class of every pixel of an image of any size, window by window.

    The nearer a window's logits lie to its edge, the less they count, so that there is no seam
    where one window ends. Where one window covers the image, this is a single pass over it.

    Args:
        image: PIL image of any size and mode.
        model: SegFormer, on any device.
        image_processor: the model's, of which only the normalization is used.
        window: side of a window, pixels, a multiple of 4.
        stride: from one window to the next, a multiple of 4 and no more than `window`; None: three
            quarters of it.

    Returns:
        (height, width) label ids, as `helpers.inference.segment`.

    Raises:
        ValueError: `window` or `stride` is not as described.
    """
    stride = stride_of(window, stride)
    image, training = load_image(image), model.training
    model.eval()
    windows = _Windows(image, model, image_processor)
    if max(image.size) <= window:
        logits = windows.logits((0, 0, *image.size))
        label_map = upsampled_argmax(logits, image.size[::-1]).cpu().numpy()
    else:
        label_map = windows.label_map(window, stride)
    model.train(training)
    return label_map


class _Windows:
    """An image and the model that looks at it through windows."""

    def __init__(
        self, image: Image.Image, model: PreTrainedModel, image_processor: BaseImageProcessor
    ) -> None:
        self.image, self.model, self.image_processor = image, model, image_processor

    def logits(self, box: tuple[int, int, int, int]) -> torch.Tensor:
        """(num_labels, h, w) of a box (left, top, right, bottom); black lies beyond the image."""
        inputs = self.image_processor(self.image.crop(box), do_resize=False, return_tensors="pt")
        pixel_values = inputs["pixel_values"].to(self.model.device, self.model.dtype)
        return self.model(pixel_values=pixel_values).logits[0].float()

    def label_map(self, window: int, stride: int) -> np.ndarray:
        width, height = self.image.size
        columns, rows = -(-width // _CELL), -(-height // _CELL)  # of the coarse grid
        across, down = min(window // _CELL, columns), min(window // _CELL, rows)
        lefts = window_starts(columns, across, stride // _CELL)
        tops = window_starts(rows, down, stride // _CELL)
        weights = _ramp(down, window - stride)[:, None] * _ramp(across, window - stride)
        weights = weights.to(self.model.device)
        num_labels = self.model.config.num_labels
        band = torch.zeros(num_labels, down, columns, device=self.model.device)
        weight = torch.zeros(down, columns, device=self.model.device)
        label_map = np.empty((height, width), dtype=np.uint8 if num_labels <= 256 else np.int64)
        above = band[:, :0]  # the last row of the grid that is finished
        for top, below in progress([*pairwise([*tops, rows])], "Windows", delay=2):
            for left in lefts:
                box = (left, top, left + across, top + down)
                logits = self.logits(tuple(_CELL * place for place in box))
                band[:, :, left : left + across] += weights * logits
                weight[:, left : left + across] += weights
            finished = below - top  # rows that no later window touches
            band[:, :finished] /= weight[:finished]
            row = top
            for part in band[:, :finished].split(_ROWS, dim=1):
                block = torch.cat([above, part], dim=1)
                _write(label_map, block, first=row - above.shape[1])
                above, row = block[:, -1:].clone(), row + part.shape[1]
            for sums in (band, weight[None]):
                sums[:, : down - finished] = sums[:, finished:].clone()
                sums[:, down - finished :] = 0
        return label_map


def _ramp(cells: int, overlap: int) -> torch.Tensor:
    """(cells,) weights that rise from either edge over the width of the overlap, pixels."""
    place = torch.arange(1, cells + 1)
    steps = max(1, overlap // _CELL)
    return torch.minimum(place, place.flip(0)).clamp(max=steps) / steps


def _write(label_map: np.ndarray, block: torch.Tensor, first: int) -> None:
    """Write the best classes of some rows of the grid, of which `first` is the uppermost.

    Half a cell at either end has to wait for its neighbour, unless the image ends there.
    """
    best = upsampled_argmax(block, (_CELL * block.shape[1], _CELL * block.shape[2])).cpu().numpy()
    begin = 0 if first == 0 else _CELL // 2
    if _CELL * first + len(best) < len(label_map):
        best = best[: -_CELL // 2]
    target = label_map[_CELL * first + begin : _CELL * first + len(best)]
    target[:] = best[begin : begin + len(target), : label_map.shape[1]]
