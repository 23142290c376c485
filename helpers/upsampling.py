"""What surrounds a model: a whole image goes in, and small logits become a label map of its size.

PyTorch is imported only where a model of it is there: ONNX Runtime does without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from transformers import BaseImageProcessor, PreTrainedModel


def pixel_values_of(
    image: Image.Image, image_processor: BaseImageProcessor, **options: Any
) -> torch.Tensor:
    """What the model sees of an image: (1, 3, height, width) float32, and all of the image.

    Without what some processors crop (MobileViT's) or pad (DPT's): the logits of that, upsampled,
    would not lie where the image's pixels are. `options` are those of the processor's call.
    """
    steps = ("do_center_crop", "do_pad")
    options |= {step: False for step in steps if getattr(image_processor, step, None)}
    return image_processor(image, return_tensors="pt", **options)["pixel_values"]


@contextmanager
def predicting(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode without gradients; then each part of the model is in its mode again."""
    import torch

    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def quick_argmax(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`interpolate(..., mode="bilinear")` and `argmax`, some ten times as fast on one core.

    A pixel's logits are a weighted mean of the four around it. Where those four agree on the best
    class, so does every pixel between them: nothing to compute, and that is most of an image. The
    others are computed a few rows at a time, which stay in the CPU's cache, with the classes of a
    pixel side by side, as NumPy's `argmax` likes them.

    Args:
        logits: (num_labels, h, w) float32.
        size: (height, width) of the label map: uint8, or int64 of more than 256 labels.
    """
    dtype = np.uint8 if len(logits) <= 256 else np.int64
    logits = np.ascontiguousarray(logits.transpose(1, 2, 0))
    best = logits.argmax(axis=-1).astype(dtype)
    above, below, down = _neighbours(logits.shape[0], size[0])
    left, right, along = _neighbours(logits.shape[1], size[1])
    label_map = np.empty(size, dtype=dtype)
    starts = np.flatnonzero(np.diff(above, prepend=-1))  # rows between the same two of the grid
    for start, stop in pairwise([*starts.tolist(), size[0]]):
        upper, lower = logits[above[start]], logits[below[start]]
        upper_best, lower_best = best[above[start]], best[below[start]]
        label_map[start:stop] = label = upper_best[left]
        agreed = (label == upper_best[right]) & (label == lower_best[left])
        (open_,) = np.nonzero(~agreed | (label != lower_best[right]))
        if not len(open_):
            continue
        before, after, share = left[open_], right[open_], along[open_, None]
        upper = upper[before] * (1 - share) + upper[after] * share
        lower = lower[before] * (1 - share) + lower[after] * share
        for row in range(start, stop):
            values = upper * (1 - down[row]) + lower * down[row]
            label_map[row, open_] = values.argmax(axis=-1)
    return label_map


def _neighbours(size: int, upsampled: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each upsampled position the two original ones around it, and the share of the second."""
    position = (np.arange(upsampled, dtype=np.float32) + 0.5) * np.float32(size / upsampled) - 0.5
    position = position.clip(0, size - 1)  # the centres of the outermost pixels lie further out
    first = position.astype(np.int64)
    return first, np.minimum(first + 1, size - 1), position - first.astype(np.float32)
