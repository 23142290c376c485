"""From an image to its label map at the image's own size.

An image is a PIL image of any size and mode, the model one for semantic segmentation on any
device, and the image processor the one that it was trained with. A label map is (height, width)
label ids: uint8, or int64 where the model has more than 256 labels. Logits are (num_labels, h, w)
float, of one image and on the model's coarse grid; sizes are (height, width).

PyTorch is imported where a model of it is at hand: ONNX Runtime does without. From a shell, for
many images and videos: `python -m scripts.segment --help`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.hub import SAFE_WEIGHTS, explained, optional_file
from helpers.images import load_image
from helpers.labels import RULES_FILE, Labels, label_names, label_set, read_rules
from helpers.processes import progress

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from transformers import BaseImageProcessor, PreTrainedModel

SMALLEST_SIDE = 32
"""Below this, SegFormer's first stage has fewer positions than its attention pools into one."""


def load_model(source: str | Path) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """Load a fine-tuned model, ready to predict, and its image processor, as they were saved.

    The source is a folder written by `save_pretrained`, or a Hub id. The image processor reduces
    labels as the model's training did: see `load_labels`.
    """
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    with explained(source):
        model = AutoModelForSemanticSegmentation.from_pretrained(source, **SAFE_WEIGHTS)
    reduce, _ = _rules(source)
    if reduce is None:
        reduce = label_set(label_names(model.config)).reduce
    with explained(source):
        image_processor = AutoImageProcessor.from_pretrained(
            source, do_reduce_labels=reduce, trust_remote_code=False
        )
    return model.eval(), image_processor


def load_labels(source: str | Path) -> Labels:
    """What a saved model's label ids mean: names, colors, and how its annotations were read.

    Is value 0 no class? `labels.json` says so for a model trained here. For others, the image
    processor's configuration does (also an old one, which spells it `reduce_labels`, a key that
    the library does not read). Where neither says it, the names decide: see `label_set`.

    Raises:
        ValueError: the model has one label only, or more than 255.
    """
    from transformers import AutoConfig

    with explained(source):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    return label_set(label_names(config), *_rules(source))


def _rules(source: str | Path) -> tuple[bool | None, Any]:
    """Whether a saved model's annotations are reduced, and its colors; None: no file says it."""
    if file := optional_file(source, RULES_FILE):
        return read_rules(file)
    if file := optional_file(source, "preprocessor_config.json"):
        saved = json.loads(file.read_text(encoding="utf-8"))
        for key in ("do_reduce_labels", "reduce_labels"):
            if saved.get(key) is not None:
                return bool(saved[key]), None
    return None, None


def segment(
    image: Image.Image,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    window: int | None = None,
) -> np.ndarray:
    """Predict the class of every pixel: a label map, at the size of the (upright) image.

    Args:
        window: look at the image at its own resolution, through overlapping windows of so many
            pixels a side (see `segment_windows`); None: at the image processor's size, in one pass.
    """
    if window is not None:
        return segment_windows(image, model, image_processor, window)
    return segment_batch([image], model, image_processor)[0]


def segment_batch(
    images: Sequence[Image.Image], model: PreTrainedModel, image_processor: BaseImageProcessor
) -> list[np.ndarray]:
    """`segment` of several images, in order, those of one input size together in memory.

    The two agree except where two classes are as good as tied.
    """
    import torch

    images = [load_image(image) for image in images]
    inputs = [pixel_values_of(image, image_processor) for image in images]
    found: dict[int, np.ndarray] = {}
    for shape in {one.shape for one in inputs}:
        alike = [index for index, one in enumerate(inputs) if one.shape == shape]
        batch = torch.cat([inputs[index] for index in alike])
        with predicting(model):
            logits = model(batch.to(model.device, model.dtype)).logits
        maps = label_maps(logits, [images[index].size[::-1] for index in alike])
        found.update(zip(alike, (one.cpu().numpy() for one in maps), strict=True))
    return [found[index] for index in range(len(images))]


def segment_windows(
    image: Image.Image,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    window: int = 512,
    stride: int | None = None,
) -> np.ndarray:
    """Predict the class of every pixel of an image of any size, window by window.

    Each window is shown to the model at the image's own resolution. Where windows overlap, each
    pixel is taken from the one in whose middle it lies: near its edge, a window sees only half of
    what there is. Memory grows with the image and its label map, not with logits.

    Args:
        image_processor: only its normalization is used.
        window: side of a window, pixels, at least 32.
        stride: from one window to the next, no more than `window`; None: three quarters of it.

    Raises:
        ValueError: `window` or `stride` is not as described.
    """
    stride = stride_of(window, stride)
    image = load_image(image)
    # A smaller image is shown on black.
    width, height = (max(SMALLEST_SIDE, min(window, side)) for side in image.size)
    label_map = np.empty(image.size[::-1], np.uint8 if model.config.num_labels <= 256 else np.int64)
    down, across = (_decided(side, window, stride) for side in (image.height, image.width))
    for top, rows, seen_rows in progress(down, "Windows", delay=2):
        for left, columns, seen_columns in across:
            part = image.crop((left, top, left + width, top + height))
            pixel_values = pixel_values_of(part, image_processor, do_resize=False)
            with predicting(model):
                (logits,) = model(pixel_values.to(model.device, model.dtype)).logits
            found = upsampled_argmax(logits, (height, width)).cpu().numpy()
            label_map[rows, columns] = found[seen_rows, seen_columns]
    return label_map


def _decided(length: int, window: int, stride: int) -> list[tuple[int, slice, slice]]:
    """Along a side: where each window begins, and what it decides, in the image and in itself."""
    starts = window_starts(length, window, stride)
    middles = [(one + window + other) // 2 for one, other in pairwise(starts)]  # of the overlaps
    ranges = zip(starts, [0, *middles], [*middles, length], strict=True)
    return [(start, slice(a, b), slice(a - start, b - start)) for start, a, b in ranges]


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin along a side of so many pixels; the last one ends with the side.

    One window where the side is no longer than that; `slide_inference` of mmsegmentation.
    """
    count = max(0, math.ceil((length - window) / stride)) + 1
    return [max(0, min(index * stride, length - window)) for index in range(count)]


def stride_of(window: int, stride: int | None = None) -> int:
    """The stride of `segment_windows`, which raises ValueError as described there."""
    stride = 3 * window // 4 if stride is None else stride
    if window < SMALLEST_SIDE or not 0 < stride <= window:
        raise ValueError(
            f"window is {window} and stride {stride}: expected a window of at least "
            f"{SMALLEST_SIDE} pixels, and a stride of 1 to the window's size"
        )
    return stride


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


def predicted_labels(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Logits to label maps at the labels' size, image by image, so that memory stays small.

    Meant for `Trainer(preprocess_logits_for_metrics=...)`: what is kept and gathered is one byte a
    pixel, not the 150 floats a pixel of upsampled logits (157 MB at 512 x 512). Both have a batch
    dimension in front; of the labels only the size is used.
    """
    import torch

    return torch.stack(label_maps(logits, [tuple(labels.shape[-2:])] * len(logits)))


def label_maps(logits: torch.Tensor, sizes: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
    """`upsampled_argmax` of each image of a batch; on a CPU as many at a time as it has cores."""
    import torch

    threads = torch.get_num_threads() if logits.device.type == "cpu" else 1
    with ThreadPoolExecutor(threads) as pool:  # the work on a CPU is NumPy's, which uses one core
        return list(pool.map(upsampled_argmax, logits, sizes))


def upsampled_argmax(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Logits to a label map of another size, on their device and in little memory.

    Equal to `post_process_semantic_segmentation`, which is `interpolate` and `argmax`, except where
    two classes are as good as tied.
    """
    import torch

    if logits.device.type == "cpu":
        return torch.from_numpy(quick_argmax(logits.detach().float().numpy(), size))
    return argmax_of_strips(upsampled_strips(logits.float(), [size]))


def quick_argmax(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`upsampled_argmax` of a NumPy array, on one core some ten times as fast as the two steps.

    A pixel's logits are a weighted mean of the four around it. Where those four agree on the best
    class, so does every pixel between them: nothing to compute, and that is most of an image. The
    others are computed a few rows at a time, which stay in the CPU's cache, with the classes of a
    pixel side by side, as NumPy's `argmax` likes them.
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


def upsampled_strips(
    logits: torch.Tensor, sizes: Sequence[tuple[int, int]]
) -> Iterator[torch.Tensor]:
    """What `interpolate` gives for one size after the other, some rows at a time, from the top.

    150 classes at 8,000 x 6,000 pixels would be 29 GB. On a CPU, softmax and argmax of strips that
    stay in its cache take an eighth of the time, too.

    Yields:
        (num_labels, rows, width) float, of the last size: 2 MB on a CPU, 128 MB on a GPU, but at
        least a row.
    """
    import torch
    from torch.nn.functional import interpolate

    most_values = 2**19 if logits.device.type == "cpu" else 2**25
    weights = torch.eye(logits.shape[1])[None]  # each row of the result is a mean of some rows
    for height, _ in sizes:
        weights = interpolate(weights, size=height, mode="linear")
    rows = max(1, most_values // (len(logits) * sizes[-1][1]))
    for part in weights[0].T.to(logits.device).split(rows):
        used = part.any(dim=0).nonzero()
        band = slice(int(used.min()), int(used.max()) + 1)
        strip = (part[:, band] @ logits[:, band])[None]
        for _, width in sizes:
            strip = interpolate(strip, size=(len(part), width), mode="bilinear")
        yield strip[0]


def argmax_of_strips(strips: Iterable[torch.Tensor]) -> torch.Tensor:
    """The label map whose (num_labels, rows, width) scores come some rows at a time."""
    import torch

    found = []
    for strip in strips:
        dtype = torch.uint8 if len(strip) <= 256 else torch.int64
        found.append(strip.max(dim=0).indices.to(dtype))  # quicker than argmax
    return torch.cat(found)


if __name__ == "__main__":
    print("python -m helpers.inference is python -m scripts.segment now", file=sys.stderr)
    sys.exit(2)
