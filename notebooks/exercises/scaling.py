"""Checks of notebook 09, scaling and sharing."""

from __future__ import annotations

import math
from typing import Any

from notebooks.exercises.core import answers, expect_refusal, judge


def _batch_size(images: int, processes: int = 1, parts: int = 1) -> int:
    return images * processes * parts


_BATCH_MISTAKES = {  # images, processes, parts
    "that is what one process has in memory at a time": lambda i, p, n: i,
    "gradients of all processes are averaged before the step: they count": lambda i, p, n: i * n,
    "the parts are added up before the optimiser steps: they count": lambda i, p, n: i * p,
    "these are added; each process works through each part, so multiply": lambda i, p, n: i + p + n,
    "accumulation makes the batch larger: per_device is what fits into memory at once, the size "
    "of one part": lambda i, p, n: i * p / n,
    "that shares a batch out; per_device is one process's share already": lambda i, p, n: i / p / n,
    "the processes share nothing: each has per_device images of its own": lambda i, p, n: i / p * n,
}


@answers(
    "this is the number that the learning rate was tuned for. Write it into every report: it "
    "tells others more than the number of GPUs.",
    _BATCH_MISTAKES,
)
def check_effective_batch_size(effective_batch_size: Any) -> None:
    """Write how many images one step of the optimiser learns from."""
    text = "{} images at a time, {} processes and {} parts"
    sizes = (4, 2, 3), (4, 2, 2), (16, 1, 1), (3, 1, 5)
    cases = {text.format(*numbers): numbers for numbers in sizes}
    hint = "each process works through so many images, so many times, before one step"
    judge(effective_batch_size, _batch_size, cases, hint, _BATCH_MISTAKES)
    hint = "the defaults are one process and one part"
    judge(effective_batch_size, _batch_size, {"3 images at a time and nothing else": (3,)}, hint)
    for numbers in ((0, 2, 2), (4, 0, 1), (4, 2, -1)):
        hint = "each of the three is at least 1"
        expect_refusal(effective_batch_size, *numbers, given=f"{numbers}", hint=hint)
    hint = "two negative numbers have a positive product: ask each of the three"
    expect_refusal(effective_batch_size, -4, -2, 1, given="(-4, -2, 1)", hint=hint)


def _steps(batch: int, processes: int, fits: int) -> int:
    share = batch // processes
    return next(
        steps for steps in range(1, share + 1) if share % steps == 0 and share // steps <= fits
    )


_STEP_MISTAKES = {  # batch, processes, what fits
    "the parts must be equal: a share that does not divide evenly needs more steps": (
        lambda b, p, fits: math.ceil(b // p / fits)
    ),
    "too few: round up, or a part is larger than what fits": lambda b, p, fits: b // p // fits,
    "processes share the batch before it is cut into steps": lambda b, p, fits: _steps(b, 1, fits),
    "the number of steps need not be a power of two": (
        lambda b, p, fits: 2 ** math.ceil(math.log2(b // p / fits))
    ),
    "those are the images of one part; the steps are the share divided by it": (
        lambda b, p, fits: b // p // _steps(b, p, fits)
    ),
    "one image at a time always fits, but fewer steps are faster": lambda b, p, fits: b // p,
}


@answers(
    "parts of equal size keep the batch, and with it the learning rate, what they were; more "
    "steps than needed would only cost time.",
    _STEP_MISTAKES,
)
def check_accumulation_steps(accumulation_steps: Any) -> None:
    """Find the fewest accumulation steps with which a batch fits into memory."""
    batches = (12, 1, 6), (16, 1, 6), (16, 2, 3), (24, 2, 5), (7, 1, 3), (16, 1, 16)
    text = "a batch of {}, {} processes and room for {} images"
    cases = {text.format(*numbers): numbers for numbers in batches}
    hint = "try 1, 2, 3, ... steps until each process's share divides evenly and a part fits"
    judge(accumulation_steps, _steps, cases, hint, _STEP_MISTAKES)
    for numbers in ((16, 3, 4), (10, 4, 2)):
        hint = "the processes' shares would not be equal"
        expect_refusal(accumulation_steps, *numbers, given=f"{numbers}", hint=hint)


def _hours(
    images: int, flop: float, speed: float, prepare_seconds: float, cores: float
) -> tuple[float, float]:
    """Of the arithmetic, and of preparing the images."""
    return images * flop / speed / 3600, images * prepare_seconds / cores / 3600


_HOUR_MISTAKES = {
    "those are seconds; an hour has 3600": lambda *n: max(_hours(*n)) * 3600,
    "those are minutes; divide by 60 once more": lambda *n: max(_hours(*n)) * 60,
    "the two happen at the same time: take the longer one, not the sum": lambda *n: sum(_hours(*n)),
    "images must be prepared too, and here that takes longer": lambda *n: _hours(*n)[0],
    "the arithmetic takes time too, and here it takes longer": lambda *n: _hours(*n)[1],
    "the cores share the work: divide by their number": lambda *n: max(_hours(*n[:4], 1)),
    "more cores are faster, not slower": lambda *n: max(_hours(*n[:4], 1 / n[4])),
}


@answers(
    "whichever takes longer decides, because workers prepare the next batch while the GPU "
    "computes. Ask for the number of cores before you pay for a faster GPU.",
    _HOUR_MISTAKES,
)
def check_training_hours(training_hours: Any) -> None:
    """Estimate the hours of a training from its arithmetic and its images."""
    machines = (2e12, 0.016, 2), (20e12, 0.016, 4), (20e12, 0.016, 16), (100e12, 0.05, 8)
    cases = {
        f"2,560,000 images of 7.5e+10 FLOP, {speed:.3g} FLOP/s, {prepare} s to prepare an image, "
        f"{cores} cores": (2_560_000, 75e9, speed, prepare, cores)
        for speed, prepare, cores in machines
    }
    hint = "the arithmetic and the preparation in seconds, the longer of them, over 3600"
    judge(training_hours, lambda *numbers: max(_hours(*numbers)), cases, hint, _HOUR_MISTAKES)
