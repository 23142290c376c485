"""What the commands share: data, the number of processes, numbers, errors in one sentence.

In no command anything heavy is imported before the options are known: `--help` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import psutil

from helpers.processes import has_accelerator, is_first_process, processes

if TYPE_CHECKING:
    from helpers.profiles import Profile

Result = TypeVar("Result")

FORMATS = ("coco", "labelme", "voc", "roboflow", "objects", "per-class")
"""The exports of annotation tools that are read."""

_STATUSES = (
    "Exit status: 0 done, 1 data or an input is refused or failed, and is named, 2 wrong use, "
)
_STATUSES += "such as a folder that holds something else, 130 interrupted."
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WrongUse(ValueError):
    """What is asked for cannot be: exit status 2, where a fault of the data is 1."""


def refuse(message: str, status: int) -> int:
    """Say why in a sentence, below what was said before, and return the exit status.

    Of several processes the first one says it, and the others exit with 0: a launcher ends all as
    soon as one has failed, and that must not be before it is said.
    """
    if not is_first_process():
        return 0
    sys.stdout.flush()
    print("error:", " ".join(message.split()), file=sys.stderr)
    return status


def status_of(work: Callable[[], int | None], interrupted: str = "interrupted") -> int:
    """Do the work of a command; its exit status, once what stopped it is said."""
    try:
        return work() or 0
    except KeyboardInterrupt:
        return refuse(interrupted, 130)
    except (ValueError, OSError, ImportError) as error:
        return refuse(str(error), 2 if isinstance(error, WrongUse) else 1)


class Parser(argparse.ArgumentParser):
    """Says what the exit statuses are, and in one sentence what is wrong with the options."""

    def __init__(self, epilog: str = "", **settings: Any) -> None:
        super().__init__(epilog=f"{epilog} {_STATUSES}", **settings)

    def error(self, message: str) -> NoReturn:
        sys.exit(refuse(f"{message} (--help lists what there is)", status=2))


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """`--profile` and `--data`, for `chosen_profile`."""
    parser.add_argument("--profile", help="tiny, sample or full (default: SEG_PROFILE, else tiny)")
    parser.add_argument(
        "--data",
        help="a folder (as scripts.prepare writes it, or in ADEChallengeData2016 layout) or a Hub "
        "id, instead of the profile's data (default: SEG_DATA)",
    )


def chosen_profile(options: argparse.Namespace) -> Profile:
    """The profile of `--profile`, on the data of `--data`."""
    from helpers.profiles import get_profile

    try:
        return get_profile(options.profile, options.data)
    except ValueError as error:
        raise WrongUse(str(error)) from error


def processes_wanted() -> int:
    """The N of `accelerate launch --num_processes N` where only one process was started; else 1.

    Without GPUs it leaves starting the others to MPI, and if there is none, it starts one and
    says nothing. It tells that one process a port to meet the others at, but not how many.
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
    numbers = [after for word, after in pairwise(words) if word == "__num_processes"]
    return int(numbers[0]) if numbers and numbers[0].isdecimal() else 1


def start_processes(count: int, module: str, arguments: list[str]) -> int:
    """Run `python -m module arguments` in so many processes on this machine; the exit status."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    print(f"accelerate launch starts one process without GPUs: torchrun starts the {count}")
    sys.stdout.flush()
    command = [*torchrun, f"--nproc_per_node={count}", "-m", module, *arguments]
    return subprocess.call(command)


def together(step: Callable[[], Result]) -> Result:
    """Take a step in every process; a ValueError or an OSError of one is raised in all."""
    from accelerate.utils import gather_object

    state = processes()
    result = fault = None
    try:
        result = step()
    except (ValueError, OSError) as error:
        kind = WrongUse if isinstance(error, WrongUse) else ValueError
        fault = kind(when_disk_is_full(error) or str(error) or type(error).__name__)
    for found in gather_object([fault]):
        if found is not None:
            state.destroy_process_group()  # or a process may abort on its way out
            raise found
    return result


def when_disk_is_full(error: BaseException) -> str | None:
    """What to tell where a write has failed for want of space; None: it was something else.

    Some libraries pass on the operating system's number in their text alone, or as a cause, and
    PyTorch's writer of .pt files says only that it could not write.
    """
    text, signs = sentence(error), [f"os error {number})" for number in _FULL]
    signs += ["PytorchStreamWriter", "inline_container"]
    if getattr(error, "errno", None) in _FULL or any(sign in text for sign in signs):
        return (
            f"the disk is full ({text}): make room, and the same command with --resume continues "
            "from the last complete checkpoint"
        )
    cause = error.__cause__ or error.__context__
    return None if cause is None else when_disk_is_full(cause)


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


def a_number(allowed: Callable[[float], bool], expected: str) -> Callable[[str], float]:
    """A `type` for argparse: a number that is allowed, as no comparison with NaN says."""

    def read(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not allowed(found):
            raise argparse.ArgumentTypeError(f"it is {text}, expected {expected}")
        return found

    return read
