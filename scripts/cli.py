"""What the commands share: the number of processes, whole numbers, errors in one sentence."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import psutil

from helpers.processes import has_accelerator, processes

Result = TypeVar("Result")

_OPTION = "__num_processes"


def processes_wanted() -> int:
    """The N of `accelerate launch --num_processes N`, where accelerate started only one process.

    Without GPUs it leaves starting the others to MPI, and if there is none, it starts one and
    says nothing. It tells that one process a port to meet the others at, but not how many.

    Returns:
        N, or 1 where there is nothing to fix.
    """
    alone = "MASTER_PORT" in os.environ and "WORLD_SIZE" not in os.environ
    if not alone or "ACCELERATE_MIXED_PRECISION" not in os.environ or has_accelerator():
        return 1
    try:
        words = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return 1
    if not any("accelerate" in word for word in words):
        return 1  # MPI stands between, and has started all of them
    words = [part for word in words for part in word.replace("-", "_").split("=")]
    numbers = [after for word, after in pairwise(words) if word == _OPTION]
    return int(numbers[0]) if numbers and numbers[0].isdecimal() else 1


def start_processes(count: int, module: str, arguments: list[str]) -> int:
    """Run `python -m module arguments` in so many processes on this machine; the exit status."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    print(f"accelerate launch starts one process without GPUs: torchrun starts the {count}")
    sys.stdout.flush()
    command = [*torchrun, f"--nproc_per_node={count}", "-m", module, *arguments]
    return subprocess.call(command)


def together(step: Callable[[], Result]) -> Result:
    """Take a step in every process; if it fails in one, all raise, so that none waits for it.

    Raises:
        ValueError: the step raised it, or an OSError, in some process; with the message of the
            first one. The process group is closed then.
    """
    from accelerate.utils import gather_object

    state = processes()
    result = fault = None
    try:
        result = step()
    except (ValueError, OSError) as error:
        fault = str(error) or type(error).__name__
    for message in gather_object([fault]):
        if message is not None:
            state.destroy_process_group()  # or a process may abort on its way out
            raise ValueError(message)
    return result


class WrongUse(ValueError):
    """What is asked for cannot be: exit status 2, where a fault of the data is 1."""


def sentence(error: BaseException) -> str:
    """The first line of what a library has to say."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def draw_bars_where_somebody_looks() -> None:
    """No progress bars where stderr is no terminal, or where a notebook has called the command."""
    if not sys.stderr.isatty() or "JPY_PARENT_PID" in os.environ:
        os.environ.setdefault("TQDM_DISABLE", "1")


def at_least(least: int, most: int | None = None) -> Callable[[str], int]:
    """A `type` for argparse: a whole number that is no smaller (and no larger) than this."""
    expected = f"a whole number >= {least}" if most is None else f"{least} to {most}"

    def whole(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"it is {text}, expected {expected}")
        return number

    return whole
