"""The losses that `--loss` of `scripts.train` names; all are exact under gradient accumulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LOSSES = ("cross-entropy", "weighted", "focal", "dice", "dice+cross-entropy")


def loss_of_name(name: str, areas: Sequence[int]) -> Callable[..., torch.Tensor]:
    """One of `LOSSES`, for `compute_loss_func` of a `Trainer`; `areas`: pixels of each class."""
    from helpers import training

    if name == "weighted":
        return partial(training.pixel_cross_entropy, weights=class_weights(areas))
    return {
        "cross-entropy": training.pixel_cross_entropy,
        "focal": training.focal_loss,
        "dice": training.dice_loss,
        "dice+cross-entropy": dice_and_cross_entropy,
    }[name]


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
