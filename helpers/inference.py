"""From an image to its label map at the image's own size.

From a shell, for many images and videos: `python -m scripts.segment --help`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from helpers.hub import SAFE_WEIGHTS, explained, optional_file
from helpers.images import load_image
from helpers.labels import ADE20K, RULES_FILE, Labels, label_set, read_rules
from helpers.processes import progress

if TYPE_CHECKING:
    from PIL import Image
    from transformers import BaseImageProcessor, PretrainedConfig, PreTrainedModel

_CELL = 4  # SegFormer gives logits for squares of 4 x 4 pixels
_ROWS = 16  # of the grid that are upsampled at a time


def load_model(source: str | Path) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """Load a fine-tuned model, ready to predict, and its image processor, as they were saved.

    Does the image processor reduce labels? `labels.json` says so for a model trained here. For
    others, the image processor's configuration does (also an old one, which spells it
    `reduce_labels`, a key that the library does not read). Where neither says it, the names decide:
    ADE20K's labels are reduced, others are not.

    Args:
        source: folder written by `save_pretrained`, or a Hub id.
    """
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    with explained(source):
        model = AutoModelForSemanticSegmentation.from_pretrained(source, **SAFE_WEIGHTS)
    reduce, _ = _rules(source, model.config)
    with explained(source):
        image_processor = AutoImageProcessor.from_pretrained(
            source, do_reduce_labels=reduce, trust_remote_code=False
        )
    return model.eval(), image_processor


def load_labels(source: str | Path) -> Labels:
    """What a saved model's label ids mean: names, colors, and how its annotations were read.

    Args:
        source: folder written by `save_pretrained`, or a Hub id.

    Raises:
        ValueError: the model has one label only, or more than 255.
    """
    from transformers import AutoConfig

    with explained(source):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    return label_set(_names(config), *_rules(source, config))


def labels_of(model: PreTrainedModel, image_processor: BaseImageProcessor) -> Labels:
    """What a loaded model's label ids mean, as far as the model and its image processor know.

    Raises:
        ValueError: the model has one label only, or more than 255.
    """
    return label_set(_names(model.config), bool(image_processor.do_reduce_labels))


def segment(
    image: Image.Image,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    window: int | None = None,
) -> np.ndarray:
    """Predict the class of every pixel.

    Args:
        image: PIL image of any size and mode.
        model: semantic segmentation model, on any device.
        image_processor: the one that the model was trained with.
        window: look at the image at its own resolution, through overlapping windows of so many
            pixels a side (see `helpers.inference.segment_windows`); None: at the image
            processor's size, in one pass.

    Returns:
        (height, width) label ids, at the size of the (upright) image: uint8, or int64 where
        the model has more than 256 labels.
    """
    if window is not None:
        return segment_windows(image, model, image_processor, window)
    return segment_batch([image], model, image_processor)[0]


@torch.inference_mode()
def segment_batch(
    images: Sequence[Image.Image], model: PreTrainedModel, image_processor: BaseImageProcessor
) -> list[np.ndarray]:
    """Predict the class of every pixel of several images, those of one input size together.

    Args:
        images: PIL images of any size and mode. All go through the model together: the
            caller chooses how many fit into memory.
        model: semantic segmentation model, on any device.
        image_processor: the one that the model was trained with.

    Returns:
        As `segment` for each image, in order. The two agree except where two classes are as good
        as tied.
    """
    images = [load_image(image) for image in images]
    groups: dict[torch.Size, list[tuple[int, torch.Tensor]]] = {}
    for index, image in enumerate(images):
        pixel_values = image_processor(image, return_tensors="pt")["pixel_values"]
        groups.setdefault(pixel_values.shape, []).append((index, pixel_values))
    found: dict[int, torch.Tensor] = {}
    training = model.training
    model.eval()
    for group in groups.values():
        indices, tensors = zip(*group, strict=True)
        logits = model(torch.cat(tensors).to(model.device, model.dtype)).logits
        sizes = [images[index].size[::-1] for index in indices]
        found.update(zip(indices, label_maps(logits, sizes), strict=True))
    model.train(training)
    return [found[index].cpu().numpy() for index in range(len(images))]


def _names(config: PretrainedConfig) -> list[str]:
    """A name for each label id; one that occurs twice gets its id appended."""
    names = [str(config.id2label.get(label, label)).strip() for label in range(config.num_labels)]
    return [f"{n} ({k})" if names.count(n) > 1 else n for k, n in enumerate(names)]


def _rules(source: str | Path, config: PretrainedConfig) -> tuple[bool, Any]:
    """Whether a saved model's annotations are reduced, and its colors where they are known."""
    if file := optional_file(source, RULES_FILE):
        return read_rules(file)
    if file := optional_file(source, "preprocessor_config.json"):
        saved = json.loads(file.read_text(encoding="utf-8"))
        for key in ("do_reduce_labels", "reduce_labels"):
            if saved.get(key) is not None:
                return bool(saved[key]), None
    return tuple(_names(config)) == ADE20K.names, None


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


if __name__ == "__main__":
    print("python -m helpers.inference is python -m scripts.segment now", file=sys.stderr)
    sys.exit(2)
