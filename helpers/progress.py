"""Progress bars on long work, that headless runs can switch off."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")


def bars_disabled() -> bool:
    """Whether `TQDM_DISABLE` asks for silence: tqdm's notebook bars do not look at it."""
    return os.environ.get("TQDM_DISABLE", "") not in ("", "0")


def progress(
    items: Iterable[Item], description: str, total: int | None = None, delay: float = 0
) -> Iterable[Item]:
    """Iterate with a bar that disappears at the end; `delay`: only after so many seconds."""
    return tqdm(items, description, total=total, delay=delay, leave=False, disable=bars_disabled())
