"""Cross-entropy over labelled pixels, exact however a batch is cut into parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from helpers.labels import IGNORE_INDEX
from helpers.upsampling import upsampling_matrix

if TYPE_CHECKING:
    from transformers.modeling_outputs import SemanticSegmenterOutput


def pixel_cross_entropy(
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Mean cross-entropy over the labelled pixels, logits upsampled to the labels' size.

    For one whole batch this is the loss that SegFormer's own `forward` returns (bilinear
    upsampling, `ignore_index` 255; "SegFormer", arXiv 2105.15203). It is written for
    `Trainer(compute_loss_func=...)`: a part of a batch is divided by the labelled pixels of
    *all* parts, so that the parts add up to the loss of the whole, also where one part has more
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
    height, width = labels.shape[-2:]
    # 16-bit arithmetic under autocast would round the upsampled logits to three digits.
    with torch.autocast(labels.device.type, enabled=False):
        logits = outputs.logits.float().contiguous()
        side = _side_of_tiles(logits)
        rows = _tiles(upsampling_matrix(logits.shape[-2], height), side, logits.device)
        columns = _tiles(upsampling_matrix(logits.shape[-1], width), side, logits.device)
        tops, lefts = ([original for _, original, _ in tiles] for tiles in (rows, columns))
        total = 0
        for image, label in zip(logits, labels, strict=True):
            strips = _Pieces.apply(image, 1, tops)
            for strip, (bottom, _, down) in zip(strips, rows, strict=True):
                pieces = _Pieces.apply(down @ strip, 2, lefts)
                for piece, (right, _, across) in zip(pieces, columns, strict=True):
                    total = total + cross_entropy(
                        (piece @ across.T)[None],
                        label[None, bottom, right],
                        ignore_index=IGNORE_INDEX,
                        reduction="sum",
                    )
    return total / max(num_items_in_batch, 1)


def labelled_pixels(labels: torch.Tensor) -> torch.Tensor:
    """The number of pixels that have a class: a scalar int64 tensor."""
    return (labels != IGNORE_INDEX).sum()


def _side_of_tiles(logits: torch.Tensor) -> int:
    """The side of the squares that an image is upsampled by, pixels.

    On a CPU a square's logits fit into the cache, and the memory of one serves the next: at 150
    classes and 512 x 512 pixels, loss and gradient take a third of the time that they take in one
    piece, whose 157 MB the system hands out and takes back each time. A GPU likes large pieces.
    """
    most_values = 2**20 if logits.device.type == "cpu" else 2**26
    return max(16, math.isqrt(most_values // logits.shape[1]))


def _tiles(
    matrix: torch.Tensor, side: int, device: torch.device
) -> list[tuple[slice, slice, torch.Tensor]]:
    """Cut upsampling weights into products of bounded size: [(upsampled, original, weights)].

    A pixel depends on its neighbours only. Over a whole image of side s the products would
    take s ** 3 operations, most of them times zero; in tiles time grows as the pixels do.
    """
    tiles, start = [], 0
    for strip in matrix.chunk(math.ceil(len(matrix) / side)):
        used = strip.any(dim=0).nonzero()
        original = slice(int(used[0]), int(used[-1]) + 1)
        tiles.append((slice(start, start + len(strip)), original, strip[:, original].to(device)))
        start += len(strip)
    return tiles


class _Pieces(torch.autograd.Function):
    """Slices of a tensor along one axis, which may overlap.

    Their gradients are added up in one place. Those of plain slices would each be a tensor of
    zeros as large as the whole, so that time would grow with the square of their number.
    """

    @staticmethod
    def forward(
        ctx: Any, whole: torch.Tensor, axis: int, places: Sequence[slice]
    ) -> tuple[torch.Tensor, ...]:
        ctx.shape, ctx.axis, ctx.places = whole.shape, axis, places
        return tuple(_slice(whole, axis, place) for place in places)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        total = gradients[0].new_zeros(ctx.shape)
        for gradient, place in zip(gradients, ctx.places, strict=True):
            _slice(total, ctx.axis, place).add_(gradient)
        return total, None, None


def _slice(tensor: torch.Tensor, axis: int, place: slice) -> torch.Tensor:
    return tensor.narrow(axis, place.start, place.stop - place.start)
