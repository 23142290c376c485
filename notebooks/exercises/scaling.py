"""Checks of notebook 09, scaling and sharing."""

from __future__ import annotations

import math
from typing import Any

from notebooks.exercises.core import answers, call, expect, expect_refusal


@answers(
    "this is the number that the learning rate was tuned for. Write it into every report: it "
    "tells others more than the number of GPUs."
)
def check_effective_batch_size(effective_batch_size: Any) -> None:
    """Write how many images one step of the optimiser learns from."""
    for numbers in ((4, 2, 3), (4, 2, 2), (16, 1, 1), (3, 1, 5)):
        images, processes, parts = numbers
        given = f"{images} images at a time, {processes} processes and {parts} parts"
        expect(
            call(effective_batch_size, *numbers, given=given),
            images * processes * parts,
            given,
            hint="each process works through so many images, so many times, before one step",
            mistakes={
                "that is what one process has in memory at a time": images,
                "the gradients of all processes are averaged before the step: they count": (
                    images * parts
                ),
                "the parts are added up before the optimiser steps: they count": (
                    images * processes
                ),
                "the numbers are added; each process works through each part, so multiply": (
                    images + processes + parts
                ),
                "accumulation makes the batch larger: per_device is what fits into memory at "
                "once, the size of one part": images * processes / parts,
                "that shares a batch out; per_device is each process's own share already": (
                    images / processes / parts
                ),
                "the processes share nothing: each has per_device images of its own": (
                    images / processes * parts
                ),
            },
        )
    given = "3 images at a time and nothing else"
    hint = "the defaults are one process and one part"
    expect(call(effective_batch_size, 3, given=given, hint=hint), 3, given, hint)
    for numbers in ((0, 2, 2), (4, 0, 1), (4, 2, -1), (-4, -2, 1)):
        positive = math.prod(numbers) > 0
        expect_refusal(
            effective_batch_size,
            *numbers,
            given=f"{numbers}",
            hint="two negative numbers have a positive product: ask each of the three"
            if positive
            else "each of the three is at least 1",
        )


@answers(
    "parts of equal size keep the batch, and with it the learning rate, what they were; more "
    "steps than needed would only cost time."
)
def check_accumulation_steps(accumulation_steps: Any) -> None:
    """Find the fewest accumulation steps with which a batch fits into memory."""
    for numbers in ((12, 1, 6), (16, 1, 6), (16, 2, 3), (24, 2, 5), (7, 1, 3), (16, 1, 16)):
        batch, processes, fits = numbers
        given = f"a batch of {batch}, {processes} processes and room for {fits} images"
        share = batch // processes
        expect(
            call(accumulation_steps, *numbers, given=given),
            _fewest_steps(share, fits),
            given,
            hint="try 1, 2, 3, ... steps until each process's share of the batch divides evenly "
            "and a part fits",
            mistakes={
                "the parts must be equal: a share that does not divide evenly needs more steps": (
                    math.ceil(share / fits)
                ),
                "that is too few: round up, or a part would be larger than what fits": (
                    share // fits
                ),
                "the processes share the batch before it is cut into steps": _fewest_steps(
                    batch, fits
                ),
                "the number of steps need not be a power of two": next(
                    2**k for k in range(9) if share <= fits * 2**k
                ),
                "those are the images of one part; the steps are the share divided by it": (
                    share // _fewest_steps(share, fits)
                ),
                "one image at a time always fits, but fewer steps are faster": share,
            },
        )
    for numbers in ((16, 3, 4), (10, 4, 2)):
        expect_refusal(
            accumulation_steps,
            *numbers,
            given=f"{numbers}",
            hint="the processes' shares would not be equal",
        )


def _fewest_steps(share: int, fits: int) -> int:
    return next(
        steps for steps in range(1, share + 1) if share % steps == 0 and share // steps <= fits
    )


@answers(
    "whichever takes longer decides, because workers prepare the next batch while the GPU "
    "computes. Ask for the number of cores before you pay for a faster GPU."
)
def check_training_hours(training_hours: Any) -> None:
    """Estimate the hours of a training from its arithmetic and its images."""
    recipe = 2_560_000, 75e9
    for machine in ((2e12, 0.016, 2), (20e12, 0.016, 4), (20e12, 0.016, 16), (100e12, 0.05, 8)):
        images, flop, (speed, prepare, cores) = *recipe, machine
        given = (
            f"{images:,} images of {flop:.3g} FLOP, {speed:.3g} FLOP/s, {prepare} s to prepare "
            f"an image, {cores} cores"
        )
        computing, preparing = images * flop / speed / 3600, images * prepare / cores / 3600
        longer = max(computing, preparing)
        expect(
            call(training_hours, images, flop, *machine, given=given),
            longer,
            given,
            hint="the arithmetic and the preparation in seconds, the longer of them, over 3600",
            mistakes={
                "those are seconds; an hour has 3600": longer * 3600,
                "those are minutes; divide by 60 once more": longer * 60,
                "the two happen at the same time: take the longer one, not the sum": (
                    computing + preparing
                ),
                "images must be prepared too, and here that takes longer": computing,
                "the arithmetic takes time too, and here it takes longer": preparing,
                "the cores share the work: divide by their number": max(
                    computing, preparing * cores
                ),
                "more cores are faster, not slower": max(computing, preparing * cores**2),
            },
            tolerance=1e-6 * longer,
        )
