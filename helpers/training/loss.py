"""Cross-entropy over labelled pixels, exact however a batch is cut into parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from helpers.labels import IGNORE_INDEX
from helpers.upsampling import upsampling_matrix

if TYPE_CHECKING:
    from transformers.modeling_outputs import SemanticSegmenterOutput

_ROWS_AT_A_TIME = 32


def pixel_cross_entropy(
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
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

    Returns:
        A scalar tensor, in nats a pixel.

    Raises:
        IndexError: a label that is neither 255 nor below num_labels.
    """
    if num_items_in_batch is None:
        num_items_in_batch = labelled_pixels(labels)
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
            cross_entropy(strip @ columns.T, label, ignore_index=IGNORE_INDEX, reduction="sum")
            for strip, label in zip(strips, labels_of_strips, strict=True)
        )
    return total / max(num_items_in_batch, 1)


def labelled_pixels(labels: torch.Tensor) -> torch.Tensor:
    """The number of pixels that have a class: a scalar int64 tensor."""
    return (labels != IGNORE_INDEX).sum()
