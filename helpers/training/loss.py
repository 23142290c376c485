"""Losses over labelled pixels, exact however a batch is cut into parts.

Each takes what `Trainer(compute_loss_func=...)` gives:

* outputs: of the model, with `logits` (batch, num_labels, height / 4, width / 4) float;
* labels: (batch, height, width) integer, 0 ... num_labels - 1 or 255 for "ignore";
* num_items_in_batch: labelled pixels of the whole batch, over all accumulation steps and
  processes; None counts those of `labels`.

Each returns a scalar tensor. A part of a batch is divided by the labelled pixels of *all* parts,
so that the parts add up to the loss of the whole batch, even if one has more ignored pixels than
another. Where no pixel is labelled the loss is 0, not 0 / 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy, interpolate, one_hot

from helpers.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from transformers.modeling_outputs import SemanticSegmenterOutput


def pixel_cross_entropy(
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean cross-entropy over the labelled pixels, in nats, logits upsampled to the labels' size.

    For one whole batch this is the loss that SegFormer's own `forward` returns (bilinear
    upsampling, `ignore_index` 255; "SegFormer", arXiv 2105.15203).

    Args:
        weights: (num_labels,) float, at least 0: each pixel's loss is multiplied by that of its
            class; bind them with `functools.partial`. The sum is still divided by the number of
            labelled pixels and not, as torch does it, by the sum of their weights, which no part
            of a batch knows of the others. So let them be 1 on average over the pixels of the
            training images, or a larger loss means a larger learning rate. None: all are 1.

    Raises:
        IndexError: a label that is neither 255 nor below num_labels.
    """

    def total(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        by_class = None if weights is None else weights.to(logits.device)
        return cross_entropy(logits, labels, by_class, ignore_index=IGNORE_INDEX, reduction="sum")

    return _mean_over_pixels(total, outputs, labels, num_items_in_batch)


def focal_loss(
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """`pixel_cross_entropy` in which pixels that the model is sure of, and right, hardly count.

    Each pixel's loss is multiplied by (1 - p) ** 2, p being the probability of its class (Lin et
    al., "Focal loss for dense object detection", arXiv 1708.02002, without class weights).
    """

    def total(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none")
        return ((1 - torch.exp(-losses)) ** 2 * losses).sum()

    return _mean_over_pixels(total, outputs, labels, num_items_in_batch)


def dice_loss(
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """1 - the Dice score, from 0 to 1, with probabilities in place of predicted pixels.

    For each class that an image shows, Dice is 2 * sum(p * t) / (sum(p) + sum(t)), with the
    probabilities p and t 1 where the class is and else 0 (Drozdzal et al., arXiv 1608.04117); an
    image's is the mean over its classes. An image counts as much as it has labelled pixels.
    """

    def total(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        labelled = labels[0] != IGNORE_INDEX
        probabilities = logits[0][:, labelled].softmax(dim=0)  # (num_labels, pixels)
        truth = one_hot(labels[0][labelled], len(probabilities)).T
        shown = truth.any(dim=1)
        common = (probabilities * truth).sum(dim=1)[shown]
        dice = 2 * common / (probabilities.sum(dim=1) + truth.sum(dim=1))[shown]
        return (1 - dice).sum() / shown.sum().clamp(min=1) * labelled.sum()

    return _mean_over_pixels(total, outputs, labels, num_items_in_batch)


def labelled_pixels(labels: torch.Tensor) -> torch.Tensor:
    """The number of pixels that have a class: a scalar int64 tensor."""
    return (labels != IGNORE_INDEX).sum()


def _mean_over_pixels(
    total_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None,
) -> torch.Tensor:
    """The sum of a loss of upsampled logits and labels, over the batch's labelled pixels."""
    count = labelled_pixels(labels) if num_items_in_batch is None else num_items_in_batch
    # 16-bit arithmetic under autocast would round the upsampled logits to three digits.
    with torch.autocast(labels.device.type, enabled=False):
        # Upsampled logits are large (157 MB an image at 150 classes and 512 x 512 pixels), and
        # several copies of them are needed: so take an image at a time.
        total = sum(
            total_of(interpolate(logits, size=labels.shape[-2:], mode="bilinear"), label)
            for logits, label in zip(outputs.logits.float().split(1), labels.split(1), strict=True)
        )
    return total / max(count, 1)
