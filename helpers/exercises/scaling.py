"""Checks of notebook 08, scaling and sharing."""

from __future__ import annotations

import math
from typing import Any

from helpers.exercises.core import answers, call, expect, expect_refusal


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
    "it is the recipe's schedule. A power below 1 keeps the rate high for longer, and beyond the "
    "last step nothing moves, whoever goes on counting."
)
def check_learning_rate_at(learning_rate_at: Any) -> None:
    """Write the polynomial schedule: a linear warm-up, a fall of some power, then 0."""
    recipe, curved, sudden = (6e-5, 1_500, 160_000, 1.0), (0.01, 10, 110, 0.9), (0.1, 0, 50, 2.0)
    cases = [(step, *recipe) for step in (750, 0, 1_500, 80_750, 160_000)]
    cases += [(step, *curved) for step in (5, 10, 60, 110, 130)]
    cases += [(step, *sudden) for step in (0, 25, 50, 51)]
    for case in cases:
        step, peak, rise, end, power = case
        given = (
            f"step {step} of {end} with a peak of {peak}, {rise} steps of warm-up, power {power}"
        )
        rate = _rate(*case)
        edge = "" if rise else "without a warm-up nothing rises: the first step has the peak"
        answer = call(learning_rate_at, *case, given=given, hint=edge)
        hint = "a straight line up to the warm-up, then peak * (1 - t) ** power, later 0"
        if step > end:
            hint = (
                "after the last step 1 - t is negative, and so are its powers, or no real numbers"
            )
        expect(answer, rate, given, hint, _rate_mistakes(*case), tolerance=1e-3 * peak)
    given = "step 50 of 100 with a peak of 1.0 and no warm-up"
    hint = "the default power is 1"
    expect(call(learning_rate_at, 50, 1.0, 0, 100, given=given, hint=hint), 0.5, given, hint)


def _rate(step: int, peak: float, rise: int, end: int, power: float) -> float:
    if step < rise:
        return peak * step / rise
    return peak * max(0.0, 1 - (step - rise) / (end - rise)) ** power


def _rate_mistakes(step: int, peak: float, rise: int, end: int, power: float) -> dict[str, Any]:
    rate, t = _rate(step, peak, rise, end, power), (step - rise) / (end - rise)
    first = {
        "there is no warm-up yet: the rate rises from 0 in a straight line": peak
        * max(0.0, 1 - step / end) ** power,
        "the warm-up is a straight line, whatever the power": (rate / peak) ** power * peak,
        "that is the share of the peak; multiply by it": rate / peak,
        "in the warm-up the rate rises; this is its peak": peak,
    }
    if step < rise:
        return first
    falls = min(max(t, 0.0), 1.0)
    return {
        "that is the share of the peak; multiply by it": rate / peak,
        "the power is left out": peak * (1 - falls),
        "the power belongs to 1 - t, not to t": peak * (1 - falls**power),
        "t counts from the end of the warm-up, where the rate has its peak": peak
        * max(0.0, 1 - step / end) ** power,
        "steps since the warm-up are divided by all steps; the fall takes max_steps - "
        "warmup_steps": peak * max(0.0, 1 - (step - rise) / end) ** power,
        "the peak is inside of the power": (peak * (1 - falls)) ** power,
        "after the warm-up the rate falls": peak,
        "later steps get 0, and not the line's continuation": peak * (1 - t),
    }


@answers(
    "now you know why the sliding protocol takes so long, and that it is the shape of an image "
    "and not its size in pixels that decides how often the model is asked."
)
def check_count_windows(count_windows: Any) -> None:
    """Count the windows of one image in the sliding protocol."""
    usual = "the usual short side, window and stride", (512, 512, 341)
    cases = [
        ("a short side of 256, windows of 100 and a stride of 40", (256, 100, 40), [(480, 640)]),
        (*usual, [(512, 512), (683, 512), (500, 4_000), (4_000, 500), (1_024, 2_389)]),
        ("a short side of 256, windows of 512 and a stride of 200", (256, 512, 200), [(300, 400)]),
    ]
    for settings, numbers, sizes in cases:
        for height, width in sizes:
            given = f"{height} x {width} pixels and {settings}"
            expect(
                call(count_windows, height, width, *numbers, given=given),
                _windows(height, width, *numbers),
                given,
                hint="resize first; then each side has 1 window and one more for each stride, "
                "begun or whole, that is left over; multiply the two",
                mistakes=_window_mistakes(height, width, *numbers),
            )
    given = "683 x 512 pixels and nothing else"
    hint = "the defaults are a short side and a window of 512 and a stride of 341"
    expect(call(count_windows, 683, 512, given=given, hint=hint), 2, given, hint)


def _resized(height: int, width: int, short_side: int) -> tuple[float, float]:
    scale = min(short_side / min(height, width), 4 * short_side / max(height, width))
    return height * scale, width * scale


def _grid(sides: tuple[float, float], window: int, stride: int) -> int:
    return math.prod(1 + max(0, math.ceil((side - window) / stride)) for side in sides)


def _windows(height: int, width: int, short_side: int, window: int, stride: int) -> int:
    sides = _resized(height, width, short_side)
    return _grid(tuple(math.floor(side + 0.5) for side in sides), window, stride)


def _window_mistakes(
    height: int, width: int, short_side: int, window: int, stride: int
) -> dict[str, Any]:
    sides = tuple(math.floor(side + 0.5) for side in _resized(height, width, short_side))
    unlimited = tuple(
        math.floor(side * short_side / min(height, width) + 0.5) for side in (height, width)
    )
    down = tuple(math.floor(side) for side in _resized(height, width, short_side))
    rows, columns = (1 + max(0, math.ceil((side - window) / stride)) for side in sides)
    return {
        "the long side stays within 4 * short_side: take the smaller of the two factors": _grid(
            unlimited, window, stride
        ),
        "the image is resized first": _grid((height, width), window, stride),
        "a half is rounded up, int(x + 0.5); Python's round goes to the even number": _grid(
            down, window, stride
        ),
        "where less than a stride is left over, one more window is moved back inside: round up": (
            math.prod(1 + max(0, (side - window) // stride) for side in sides)
        ),
        "windows lie in rows and columns: multiply": rows + columns,
        "those are the windows of one row; count the rows too": columns,
        "those are the windows of one column; count the columns too": rows,
        "one window covers more than a stride: count strides only beyond the first window": (
            math.prod(math.ceil(side / stride) for side in sides)
        ),
        "windows begin every stride pixels, and overlap": (
            math.prod(math.ceil(side / window) for side in sides)
        ),
        "an image smaller than the window still has one": math.prod(
            1 + math.ceil((side - window) / stride) for side in sides
        ),
    }
