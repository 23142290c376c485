"""How a row is measured: equal results first, then both sides in turns, then medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

Row = dict[str, Any]
"""What is done, the `other` side's name, `ours` and `theirs` in `unit`, and their `ratio`, which is
above 1 where ours is better; `goal` is what is to be reached. Without another side three of them
are None; a row that this machine cannot measure has the reason under `skipped`."""

KEYS = ("row", "other", "ours", "theirs", "ratio", "unit")
"""What `benchmarks.json` holds of each row."""

REPOSITORY = Path(__file__).resolve().parents[2]


def compare(
    row: str,
    ours: Callable[[], Any],
    others: Mapping[str, Callable[[], Any]],
    check: Callable[[Any, Any], None],
    *,
    rounds: int,
    unit: str = "s",
    per: float = 1.0,
    goal: str = "",
) -> list[Row]:
    """A row for each other way: ours and theirs timed by turns, as a machine may be busy.

    Args:
        row: what is done.
        ours, others: functions without arguments; others by name.
        check: called with our result and each other's, and raises AssertionError if they differ.
        rounds: timed calls of each; the medians are reported.
        unit: seconds, "ms a map" or "images/s".
        per: how many maps or images a call does.
        goal: what the ratio is to reach, such as "30 ×".

    Raises:
        AssertionError: results differ; nothing has been timed.
    """
    expected = ours()
    for name, other in others.items():
        try:
            check(expected, other())
        except AssertionError as error:
            raise AssertionError(f"{row}: {name} does not give the same: {error}") from error
    ways = [ours, *others.values()]
    times = [[timed(way) for way in ways] for _ in range(rounds)]
    medians = [statistics.median(one) / per for one in zip(*times, strict=True)]
    mine, *theirs = (
        1 / one if unit.endswith("/s") else one * (1000 if unit.startswith("ms") else 1)
        for one in medians
    )
    return [
        faster(row, name, mine, other, unit, goal)
        for name, other in zip(others, theirs, strict=True)
    ]


def faster(row: str, other: str, ours: float, theirs: float, unit: str, goal: str = "") -> Row:
    """A row of two costs, or of two rates a second: the ratio says how much better ours is."""
    ratio = ours / theirs if unit.endswith("/s") else theirs / ours
    return Row(row=row, other=other, ours=ours, theirs=theirs, ratio=ratio, unit=unit, goal=goal)


def alone(row: str, ours: float, unit: str, goal: str = "") -> Row:
    """A row without another side."""
    return Row(row=row, other=None, ours=ours, theirs=None, ratio=None, unit=unit, goal=goal)


def skipped(row: str, reason: str) -> Row:
    """A row that this machine cannot measure, and why."""
    return Row(row=row, other=None, skipped=reason)


def timed(way: Callable[[], Any]) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    way()
    return time.perf_counter() - begin


def in_child(code: str, **variables: str) -> Any:
    """Run Python code in a fresh process: the last line that it prints, read as JSON.

    Raises:
        RuntimeError: the code failed.
    """
    command, own = [sys.executable, "-c", code], os.environ | variables
    done = subprocess.run(command, cwd=REPOSITORY, env=own, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"a benchmark's process failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory() -> float:
    """The most memory that this process has held so far, MB."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 1e6
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    # `getrusage` would count what the parent held when it forked.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
