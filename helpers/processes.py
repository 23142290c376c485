"""Progress bars, and which of several processes this is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate import PartialState


def bars_disabled() -> bool:
    """Whether `TQDM_DISABLE` asks for silence: tqdm's notebook bars do not look at it."""
    return os.environ.get("TQDM_DISABLE", "") not in ("", "0")


def progress(
    items: Iterable[Any], description: str, total: int | None = None, delay: float = 0
) -> Iterable[Any]:
    """Iterate with a bar that disappears at the end; `delay`: only after so many seconds."""
    from tqdm.auto import tqdm  # it reads `TQDM_DISABLE` when it is imported

    return tqdm(items, description, total=total, delay=delay, leave=False, disable=bars_disabled())


def processes() -> PartialState:
    """This process's place among all; without GPUs, accelerate looks for others only if told."""
    from accelerate import PartialState

    return PartialState(cpu=not has_accelerator())


def has_accelerator() -> bool:
    """Whether there is a GPU, or another device that PyTorch trains on."""
    import torch

    return torch.accelerator.is_available()


def is_first_process() -> bool:
    """Whether this is the only process, or the first of several that `torchrun` has started."""
    return os.environ.get("RANK", "0") == "0"
