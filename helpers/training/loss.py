"""Losses over labelled pixels, exact however a batch is cut into parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy, interpolate, one_hot

from helpers.inference import upsampling_matrix
from helpers.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from transformers.modeling_outputs import SemanticSegmenterOutput

_ROWS_AT_A_TIME = 32


def pixel_cross_entropy(
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
    *,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean cross-entropy over the labelled pixels, logits upsampled to the labels' size.

    For one whole batch this is the loss that SegFormer's own `forward` returns (bilinear
    upsampling, `ignore_index` 255; "SegFormer", arXiv 2105.15203). It is written for
    `Trainer(compute_loss_func=...)`: a part of a batch is divided by the labelled pixels of
    *all* parts, so that the parts add up to the loss of the whole batch, even if one has more
    ignored pixels than another. Where no pixel is labelled the loss is 0, not 0 / 0.

    Args:
        outputs: of the model, with `logits` (batch, num_labels, height / 4, width / 4) float.
        labels: (batch, height, width) integer, 0 ... num_labels - 1 or 255 for "ignore".
        num_items_in_batch: labelled pixels of the whole batch, over all accumulation steps and
            processes; None counts those of `labels`.
        weights: (num_labels,) float, at least 0: each pixel's loss is multiplied by that of its
            class; bind them with `functools.partial`. The sum is still divided by the number of
            labelled pixels and not, as torch does it, by the sum of their weights, which no part
            of a batch knows of the others. So let them be 1 on average over the pixels of the
            training images, or a larger loss means a larger learning rate. None: all are 1.

    Returns:
        A scalar tensor, in nats a pixel.

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
    *,
    gamma: float = 2.0,
) -> torch.Tensor:
    """`pixel_cross_entropy` in which pixels that the model is sure of, and right, hardly count.

    Each pixel's loss is multiplied by (1 - p) ** gamma, p being the probability of its class (Lin
    et al., "Focal loss for dense object detection", arXiv 1708.02002, without class weights).

    Args:
        gamma: 0 gives `pixel_cross_entropy`.
        Everything else, and what is returned, as `pixel_cross_entropy`.
    """

    def total(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none")
        return ((1 - torch.exp(-losses)) ** gamma * losses).sum()

    return _mean_over_pixels(total, outputs, labels, num_items_in_batch)


def dice_loss(
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """1 - the Dice score, with probabilities in place of predicted pixels.

    For each class that an image shows, Dice is 2 * sum(p * t) / (sum(p) + sum(t)), with the
    probabilities p and t 1 where the class is and else 0 (Drozdzal et al., arXiv 1608.04117); an
    image's is the mean over its classes. An image counts as much as it has labelled pixels, so
    that parts of a batch add up. All upsampled probabilities are in memory at once.

    Args:
        As `pixel_cross_entropy`.

    Returns:
        A scalar tensor, from 0 to 1.
    """
    with torch.autocast(labels.device.type, enabled=False):
        logits = interpolate(outputs.logits.float(), size=labels.shape[-2:], mode="bilinear")
        labelled = labels != IGNORE_INDEX
        truth = one_hot(labels.where(labelled, 0), logits.shape[1]).movedim(-1, 1)
        truth = truth * labelled[:, None]
        probabilities = logits.softmax(dim=1) * labelled[:, None]
        common = (probabilities * truth).sum(dim=(2, 3))  # (batch, num_labels)
        pixels = truth.sum(dim=(2, 3))
        dice = 2 * common / (probabilities.sum(dim=(2, 3)) + pixels).clamp(min=1e-6)
        shown = pixels > 0
        of_image = 1 - (dice * shown).sum(dim=1) / shown.sum(dim=1).clamp(min=1)
        total = (of_image * labelled.sum(dim=(1, 2))).sum()
    return total / _count(labels, num_items_in_batch)


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
    # 16-bit arithmetic under autocast would round the upsampled logits to three digits.
    with torch.autocast(labels.device.type, enabled=False):
        logits = outputs.logits.float()
        rows, columns = (
            upsampling_matrix(size, upsampled).to(logits.device)
            for size, upsampled in zip(logits.shape[-2:], labels.shape[-2:], strict=True)
        )
        # Upsampled logits are large (157 MB an image at 150 classes and 512 x 512 pixels), and
        # several copies of them are needed: so take a few rows at a time.
        strips = (rows @ logits).split(_ROWS_AT_A_TIME, dim=-2)
        labels_of_strips = labels.split(_ROWS_AT_A_TIME, dim=-2)
        total = sum(
            total_of(strip @ columns.T, label)
            for strip, label in zip(strips, labels_of_strips, strict=True)
        )
    return total / _count(labels, num_items_in_batch)


def _count(
    labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None
) -> torch.Tensor | int:
    """The labelled pixels of the whole batch, at least 1."""
    return max(labelled_pixels(labels) if num_items_in_batch is None else num_items_in_batch, 1)
