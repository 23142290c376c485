"""From a model's small logits to the pixels of the image: upsampling, and the best class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import interpolate


def upsampling_matrix(size: int, upsampled: int) -> torch.Tensor:
    """(upsampled, size) weights that resize a column as `interpolate(mode="bilinear")` does.

    Bilinear resizing is linear and works on rows and columns apart, so it is a matrix product
    from either side. The backward pass of `interpolate` is slow on a CPU and, on a GPU, not
    reproducible: at 150 classes, two matrix products take half to three quarters of the time of
    `interpolate` on a CPU, loss and gradient included.
    """
    identity = torch.eye(size)[None]
    return interpolate(identity, size=upsampled, mode="linear", align_corners=False)[0].T


def upsampled_strips(
    logits: torch.Tensor, sizes: Sequence[tuple[int, int]], most_values: int
) -> Iterator[torch.Tensor]:
    """Logits resized to one size after the other, some rows of the result at a time.

    150 classes at 8,000 x 6,000 pixels would be 29 GB. Bilinear resizing treats rows and columns
    apart, so the rows of the result can be made from the few that they come from.

    Args:
        logits: (num_labels, height, width) float, of one image.
        sizes: (height, width) of each resizing; the last is that of the result.
        most_values: of the result that are in memory at a time.

    Yields:
        (num_labels, rows, width) float, from the top down.
    """
    rows = torch.eye(logits.shape[1])
    for height, _ in sizes:
        rows = upsampling_matrix(len(rows), height) @ rows
    rows_at_a_time = max(1, most_values // (len(logits) * sizes[-1][1]))
    for strip in rows.to(logits.device).split(rows_at_a_time):
        used = strip.any(dim=0).nonzero()
        band = slice(int(used.min()), int(used.max()) + 1)
        block = (strip[:, band] @ logits[:, band])[None]
        for _, width in sizes:
            size = (len(strip), width)
            block = interpolate(block, size=size, mode="bilinear", align_corners=False)
        yield block[0]


def upsampled_argmax(
    logits: torch.Tensor, size: tuple[int, int], most_values: int = 2**27
) -> torch.Tensor:
    """The best class of every pixel, as `post_process_semantic_segmentation` finds it.

    Equal to `interpolate` and `argmax`, up to the last digit of two classes that are as good as
    equal, and in little memory.

    Args:
        logits: (num_labels, height, width) float, of one image.
        size: (height, width) of the result.
        most_values: upsampled logits in memory at a time, on a GPU.

    Returns:
        (height, width) label ids on the device of the logits: uint8, or int64 where there are
        more than 256 labels.
    """
    if _is_on_cpu(logits):
        return torch.from_numpy(_upsampled_argmax_on_cpu(logits, size))
    dtype = torch.uint8 if len(logits) <= 256 else torch.int64
    strips = upsampled_strips(logits.float(), [size], most_values)
    return torch.cat([strip.argmax(dim=0).to(dtype) for strip in strips])


def label_maps(logits: torch.Tensor, sizes: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
    """`upsampled_argmax` of each image of a batch; on a CPU as many at a time as it has cores.

    Args:
        logits: (batch, num_labels, height, width) float.
        sizes: (height, width) of each result.
    """
    if not len(logits) or not _is_on_cpu(logits):
        return [upsampled_argmax(one, size) for one, size in zip(logits, sizes, strict=True)]
    # An image a thread: the work on a CPU is NumPy's, which uses one core.
    with ThreadPoolExecutor(min(len(logits), torch.get_num_threads())) as pool:
        return list(pool.map(upsampled_argmax, logits, sizes))


def _is_on_cpu(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu"


def _upsampled_argmax_on_cpu(logits: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """`interpolate(..., mode="bilinear")` and `argmax`, some ten times as fast on one core.

    A pixel's logits are a mean, weighted, of the four around it. Where those four agree on the
    best class, so does every pixel between them: nothing to compute, and that is most of a
    image. The others are computed a few rows at a time, which stay in the CPU's cache, with
    the classes of a pixel side by side, as NumPy's `argmax` likes them.

    Args:
        logits: (num_labels, height, width), on the CPU.
        size: (height, width) of the result: uint8, or int64 for more than 256 classes.
    """
    dtype = np.uint8 if len(logits) <= 256 else np.int64
    logits = logits.detach().float().permute(1, 2, 0).contiguous().numpy()
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


def predicted_labels(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Logits to label maps at the labels' size, image by image, so that memory stays small.

    Meant for `Trainer(preprocess_logits_for_metrics=...)`: what is kept and gathered is one
    byte a pixel, not the 150 floats a pixel of upsampled logits (157 MB at 512 x 512).

    Args:
        logits: (batch, num_labels, height / 4, width / 4) float.
        labels: (batch, height, width) integer; only the size is used.

    Returns:
        (batch, height, width) uint8 label ids (int64 where there are more than 256 labels).
    """
    return torch.stack(label_maps(logits, [tuple(labels.shape[-2:])] * len(logits)))
