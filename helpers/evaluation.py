"""Score a model as papers do: each image at its own size, by a protocol that is written down.

From a shell: `python -m scripts.evaluate --help`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from accelerate.utils import reduce
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

from helpers.images import load_image, load_mask
from helpers.inference import (
    SMALLEST_SIDE,
    argmax_of_strips,
    pixel_values_of,
    predicting,
    stride_of,
    upsampled_argmax,
    upsampled_strips,
    window_starts,
)
from helpers.labels import IGNORE_INDEX, Labels, label_names, label_set, names_differ
from helpers.metrics import ConfusionMatrix
from helpers.processes import processes, progress
from helpers.transforms import resized_size

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL import Image
    from transformers import BaseImageProcessor, PreTrainedModel


@dataclass(frozen=True)
class Protocol:
    """How an image is shown to the model; all sizes in pixels, as mmsegmentation has them.

    Raises:
        ValueError: a size that is too small, a stride without a window, or one that leaves gaps.
    """

    short_side: int | None = None
    """Images keep their proportions and are resized until their short side has this length; None:
    they are squashed to the size of the image processor, as `helpers.inference.segment` does."""
    window: int | None = None
    """Side of a square window that slides over the resized image; None: the whole at once."""
    stride: int | None = None
    """From one window to the next; None: two thirds of the window."""
    flip: bool = False
    """Average the class probabilities of the image and of its mirror image."""

    def __post_init__(self) -> None:
        if self.short_side is not None and self.short_side < SMALLEST_SIDE:
            raise ValueError(f"short_side is {self.short_side}: expected at least {SMALLEST_SIDE}")
        if self.window is not None:
            stride = 2 * self.window // 3 if self.stride is None else self.stride
            object.__setattr__(self, "stride", stride_of(self.window, stride))
        elif self.stride is not None:
            raise ValueError(f"stride is {self.stride} and there is no window: give both, or none")

    def __str__(self) -> str:
        size = f"short side {self.short_side}" if self.short_side else "the image processor's size"
        way = f"windows of {self.window}, stride {self.stride}" if self.window else "whole images"
        return f"{size}, {way}{', with flip' if self.flip else ''}"


def evaluate(
    scenes: Dataset,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    protocol: Protocol | None = None,
    labels: Labels | None = None,
    num_workers: int = 0,
) -> ConfusionMatrix:
    """Count predictions against annotations at each image's original size.

    Memory does not grow with the number of images. Under `accelerate launch` each process
    takes its share of them, and all return the sum, in which every image counts once.

    Args:
        scenes: columns `image` and `annotation`, without a transform.
        protocol: how an image is shown to the model; None: as `helpers.inference.segment` does.
        labels: what the annotations' values mean; None: what the model's own label ids mean.
        num_workers: processes that read and resize images ahead.

    Raises:
        ValueError: the model's labels are not those of the data, a value has no meaning, or an
            image and its annotation differ in size.
    """
    protocol = protocol or Protocol()
    own = label_set(label_names(model.config), bool(image_processor.do_reduce_labels))
    labels = labels or own
    if difference := names_differ(labels.names, own.names, "the model"):
        raise ValueError(
            f"{difference}: their scores would mean nothing. Take a model that was trained on "
            "these classes, or fine-tune this one"
        )
    state = processes()
    share = range(state.process_index, len(scenes), state.num_processes)
    prepare = partial(_prepared, scenes, image_processor, protocol, labels)
    loader = DataLoader(share, batch_size=None, num_workers=num_workers, collate_fn=prepare)
    matrix = ConfusionMatrix(model.config.num_labels, IGNORE_INDEX)
    for pixel_values, reference in (
        progress(loader, "Evaluating", len(loader)) if state.is_main_process else loader
    ):
        prediction = _predict(pixel_values, tuple(reference.shape), model, protocol)
        matrix.update(prediction.cpu(), reference)
    counts = torch.from_numpy(matrix.counts).to(state.device)
    matrix.counts = reduce(counts, "sum").cpu().numpy()
    return matrix


def segment_by_protocol(
    image: Image.Image,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    protocol: Protocol,
) -> torch.Tensor:
    """The label map of one image, at its (upright) size, as `evaluate` predicts it."""
    image = load_image(image)
    pixel_values = _resized(image, image_processor, protocol)
    return _predict(pixel_values, image.size[::-1], model, protocol).cpu()


def _prepared(
    scenes: Dataset,
    image_processor: BaseImageProcessor,
    protocol: Protocol,
    labels: Labels,
    index: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One scene as (pixel_values, label ids of its annotation)."""
    scene = scenes[index]
    image = load_image(scene["image"])
    reference = labels.to_label_map(load_mask(scene["annotation"], scene["image"]))
    if reference.shape != image.size[::-1]:
        raise ValueError(
            f"image {index} is {image.width} x {image.height} pixels, its annotation "
            f"{reference.shape[1]} x {reference.shape[0]}: expected equal sizes"
        )
    return _resized(image, image_processor, protocol), torch.from_numpy(reference)


def _resized(
    image: Image.Image, image_processor: BaseImageProcessor, protocol: Protocol
) -> torch.Tensor:
    """(1, 3, height, width) float32: resized by the protocol, then normalised by the processor."""
    if protocol.short_side is None:
        return pixel_values_of(image, image_processor)
    height, width = resized_size(image.size[::-1], protocol.short_side, SMALLEST_SIDE)
    return pixel_values_of(image, image_processor, size={"height": height, "width": width})


def _predict(
    pixel_values: torch.Tensor, size: tuple[int, int], model: PreTrainedModel, protocol: Protocol
) -> torch.Tensor:
    """The best class of every pixel at `size`, (height, width)."""
    pixel_values = pixel_values.to(model.device)
    with predicting(model):
        views = [_logits(pixel_values, model, protocol)]
        if protocol.flip:
            views.append(_logits(pixel_values.flip(-1), model, protocol).flip(-1))
    # The logits are upsampled to the resized image and from there to the original, as
    # mmsegmentation does; with a flip, probabilities are averaged (its `SegTTAModel`).
    sizes = [*dict.fromkeys([tuple(pixel_values.shape[-2:]), size])]
    if protocol == Protocol():
        sizes = [size]  # as `segment` does
    if len(sizes) == len(views) == 1:
        return upsampled_argmax(views[0], size)
    strips = zip(*(upsampled_strips(view, sizes) for view in views), strict=True)
    return argmax_of_strips(
        sum(view.softmax(dim=0) for view in strip) if protocol.flip else strip[0]
        for strip in strips
    )


def _logits(pixel_values: torch.Tensor, model: PreTrainedModel, protocol: Protocol) -> torch.Tensor:
    """(num_labels, h, w): the model's coarse logits, or windows averaged at the image's size."""
    if protocol.window is None:
        return model(pixel_values=pixel_values).logits[0].float()
    height, width = pixel_values.shape[-2:]
    total = torch.zeros(model.config.num_labels, height, width, device=model.device)
    seen = torch.zeros(height, width, device=model.device)
    for top in window_starts(height, protocol.window, protocol.stride):
        for left in window_starts(width, protocol.window, protocol.stride):
            rows = slice(top, min(top + protocol.window, height))
            columns = slice(left, min(left + protocol.window, width))
            part = pixel_values[..., rows, columns]
            logits = model(pixel_values=part).logits.float()
            total[:, rows, columns] += interpolate(logits, size=part.shape[-2:], mode="bilinear")[0]
            seen[rows, columns] += 1
    return total / seen


if __name__ == "__main__":
    print("python -m helpers.evaluation is python -m scripts.evaluate now", file=sys.stderr)
    sys.exit(2)
