"""How a row is measured: equal results first, then both sides in turns, then medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]

KEYS = ("row", "other", "ours", "theirs", "ratio", "unit")
"""What `build/benchmarks.json` holds of each row. Rows may also carry

* `goal`: what the row is to show, such as "30 ×", for the table;
* `skipped`: why there is nothing measured (then `row` is the only other key);
* `curve`: {"x": [...], "y": [...], "label": ..., "panel": ...} for the plot.
"""

REPOSITORY = Path(__file__).resolve().parents[2]


class Unequal(AssertionError):
    """The two sides of a row do not do the same: there is nothing to time."""


def compare(
    row: str,
    ours: Callable[[], Any],
    others: Mapping[str, Callable[[], Any]],
    check: Callable[[Any, Any], None],
    *,
    rounds: int,
    unit: str = "s",
    per: float = 1.0,
    goals: Mapping[str, str] | None = None,
) -> list[Row]:
    """Time our way and others' by turns, so that a busy machine is busy for all of them.

    Args:
        row: what is done.
        ours, others: functions without arguments; others by name.
        check: called with our result and each other's; raises AssertionError if they differ.
            That first call is the warm-up of both.
        rounds: timed calls of each; the medians are reported.
        unit: of the times reported: "s" or "ms", with what they are for ("ms a map").
        per: how many of these a call does.
        goals: by name of the other, such as "30 ×".

    Returns:
        One row for each other.

    Raises:
        Unequal: results differ; nothing has been timed.
    """
    expected = ours()
    for name, other in others.items():
        try:
            check(expected, other())
        except AssertionError as error:
            raise Unequal(f"{row}: ours and {name} do not give the same: {error}") from error
    mine, *theirs = medians_by_turns([ours, *others.values()], rounds)
    scale = (1000 if unit.startswith("ms") else 1) / per
    return [
        faster(row, name, mine * scale, other * scale, unit, (goals or {}).get(name, ""))
        for name, other in zip(others, theirs, strict=True)
    ]


def faster(row: str, other: str, ours: float, theirs: float, unit: str, goal: str = "") -> Row:
    """A row of two costs (seconds, bytes): the ratio says how many times less ours is."""
    return Row(
        row=row, other=other, ours=ours, theirs=theirs, ratio=theirs / ours, unit=unit, goal=goal
    )


def alone(row: str, ours: float, unit: str, goal: str = "") -> Row:
    """A row without another side."""
    return Row(row=row, other=None, ours=ours, theirs=None, ratio=None, unit=unit, goal=goal)


def skipped(row: str, reason: str) -> Row:
    """A row that this machine cannot measure, and why."""
    return Row(row=row, skipped=reason)


def medians_by_turns(ways: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Median seconds of a call of each, taken in turns: all meet the same disturbances."""
    times = [[timed(way) for way in ways] for _ in range(rounds)]
    return [statistics.median(one) for one in zip(*times, strict=True)]


def timed(way: Callable[[], Any]) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    way()
    return time.perf_counter() - begin


def in_child(code: str, **variables: str) -> tuple[float, Any]:
    """Run Python code in a fresh process, from the repository's root.

    Args:
        code: the last line that it prints, if any, is read as JSON.
        variables: of the environment, beside our own.

    Returns:
        Seconds from start to end, and what it printed.

    Raises:
        RuntimeError: the code failed.
    """
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(f"a benchmark's process failed:\n{done.stderr[-3000:]}")
    *_, last = ["null", *done.stdout.splitlines()]
    return seconds, json.loads(last)


def peak_memory() -> float:
    """The most memory that this process has held so far, MB."""
    status = Path("/proc/self/status")
    if status.is_file():  # `getrusage` would count what the parent held when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def photographs() -> Path | None:
    """The folder of real photographs in ADEChallengeData2016 layout, if this machine has one."""
    given = os.environ.get("SEG_TEST_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "ade20k"
    return folder.resolve() if (folder / "images" / "training").is_dir() else None
