"""The losses that `--loss` of `scripts.train` names; all are exact under gradient accumulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from helpers.labels import IGNORE_INDEX

if TYPE_CHECKING:
    import torch

LOSSES = ("cross-entropy", "weighted", "focal", "dice", "dice+cross-entropy")


def loss_of_name(name: str, areas: Sequence[int]) -> Callable[..., torch.Tensor]:
    """One of `LOSSES`, for `compute_loss_func` of a `Trainer`; `areas`: pixels of each class."""
    from helpers import training

    if name == "weighted":
        total = partial(weighted_cross_entropy, class_weights(areas))
        return partial(training.mean_over_pixels, total)
    return {
        "cross-entropy": training.pixel_cross_entropy,
        "focal": partial(training.mean_over_pixels, focal_loss),
        "dice": training.dice_loss,
        "dice+cross-entropy": dice_and_cross_entropy,
    }[name]


def weighted_cross_entropy(
    weights: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The sum of an image's cross-entropy, each pixel's times the weight of its class.

    It will be divided by the number of labelled pixels, not as in torch by the sum of their
    weights, which no part of a batch knows: these have to be 1 on average over all pixels.
    """
    from torch.nn.functional import cross_entropy

    weights = weights.to(logits.device)
    return cross_entropy(logits, labels, weights, ignore_index=IGNORE_INDEX, reduction="sum")


def focal_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The sum of an image's cross-entropy, in which pixels that are sure, and right, hardly count.

    Each pixel's is multiplied by (1 - p) ** 2, p being the probability of its class (Lin et al.,
    "Focal loss for dense object detection", arXiv 1708.02002, without class weights).
    """
    from torch.nn.functional import cross_entropy

    losses = cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none")
    return ((1 - (-losses).exp()) ** 2 * losses).sum()


def dice_and_cross_entropy(*given: Any, **named: Any) -> torch.Tensor:
    """The sum of both, as nnU-Net trains (arXiv 1809.10486), of what they are given alike."""
    from helpers.training import dice_loss, pixel_cross_entropy

    return dice_loss(*given, **named) + pixel_cross_entropy(*given, **named)


def class_weights(areas: Sequence[int]) -> torch.Tensor:
    """1 / sqrt(a class's share of all pixels), scaled so that their average over pixels is 1.

    A class without a pixel gets the weight of the rarest that has some.
    """
    import torch

    areas = torch.as_tensor(areas, dtype=torch.float64)
    gentle = areas.clamp(min=areas[areas > 0].min()).rsqrt()
    return (gentle * areas.sum() / (areas * gentle).sum()).float()
