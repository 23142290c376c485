"""Checks of notebook 05, training."""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers.language import say
from notebooks.exercises.core import NotYet, answers, as_array, describe, judge

_LOGITS = (8, 19, 96, 128)  # of 8 images of 384 rows and 512 columns, 19 classes


@answers(
    "one score per class on a grid of a quarter of each side, so a post of four pixels has one "
    "column of logits to itself. If num_labels were wrong you would see it here, before training."
)
def check_logits_shape(shape: Any) -> None:
    """Predict the shape of SegFormer's logits."""
    found = as_array(shape)
    if found is None or found.ndim != 1:
        text = "the answer is {found}, expected the four numbers alone, as in (4, 150, 32, 32)"
        raise NotYet(text, describe(shape))
    batch, labels, rows, columns = _LOGITS
    found = tuple(found.tolist())
    told = str(tuple(int(side) if side == side and side % 1 == 0 else side for side in found))
    if len(found) != 4:
        text = (
            "{shape} has {count} numbers, expected 4: a model sees a batch, so (batch, class, "
            "row, column)"
        )
        raise NotYet(text, told, len(found))
    if found[0] != batch:
        raise NotYet("in {shape} the first number is not the number of images", told)
    if found[1] != labels:
        hint = say("how many scores does each position get?")
        if found[1] == 3:
            hint = say("three is the number of colour channels that go in")
        elif found[1] == 150:
            hint = say("these are ADE20K's")
        raise NotYet(
            "in {shape} the second number is not the number of classes: {hint}", told, hint
        )
    if found[2:] == (4 * rows, 4 * columns):
        raise NotYet("{shape} is the labels' size: SegFormer predicts on a coarser grid", told)
    if found[2:] in ((columns, rows), (4 * columns, 4 * rows)):
        raise NotYet(
            "in {shape} rows and columns are exchanged: PIL says width first, arrays do not", told
        )
    if found != _LOGITS:
        raise NotYet("in {shape} the grid is wrong: each side is a quarter of the image's", told)


def _batch_loss(losses: np.ndarray, counts: np.ndarray) -> float:
    return _sum(losses, counts) / max(1, counts.sum())


def _sum(losses: np.ndarray, counts: np.ndarray) -> float:
    return (losses * counts)[counts > 0].sum()


_LOSS_MISTAKES = {  # mean losses, numbers of pixels
    "NaN times 0 is NaN: leave out parts without labels first": (
        lambda m, n: (m * n).sum() / n.sum()
    ),
    "the mean of the means gives a part with one labelled pixel as much weight as one with nine": (
        lambda m, n: m.mean()
    ),
    "that is the sum of the means": lambda m, n: m.sum(),
    "that is the sum over all pixels; divide by their number": _sum,
    "divide by the number of labelled pixels, not of parts": lambda m, n: _sum(m, n) / len(n),
    "that is the mean of the means: nanmean leaves the empty part out, but still gives each part "
    "the same weight": lambda m, n: np.nanmean(m),
}


@answers(
    "every labelled pixel has the same say however a batch is cut into parts, and a part without "
    "labels neither counts nor turns the sum into NaN.",
    _LOSS_MISTAKES,
)
def check_batch_loss(batch_loss: Any) -> None:
    """Write the loss of a batch from the mean losses of its parts."""
    nan = float("nan")
    cases = {
        say("parts with 1 and 9 labelled pixels"): ([6.0, 1.0], [1, 9]),
        say("three parts"): ([2.0, 0.5, 4.0], [100, 300, 0]),
        say("a part without labelled pixels, whose mean is NaN"): ([3.0, nan, 1.0], [2, 0, 6]),
    }
    cases = {given: tuple(map(np.array, parts)) for given, parts in cases.items()}
    hint = say("weight each part's mean by its labelled pixels, and divide by the number of all")
    judge(batch_loss, _batch_loss, cases, hint, _LOSS_MISTAKES)
    empty = np.array([nan, nan]), np.array([0, 0])
    hint = say("nothing to learn from, so 0.0: a NaN would spread to every average it enters")
    judge(batch_loss, _batch_loss, {say("two parts without a single labelled pixel"): empty}, hint)


def _rate(step: int, peak: float, warmup: int, total: int) -> float:
    if step < warmup:
        return peak * step / warmup
    return peak * (total - step) / (total - warmup)


_RATE_MISTAKES = {  # step, peak, steps of warm-up, all steps
    "there is no warm-up yet: at first the rate rises from 0 in a straight line": (
        lambda s, p, w, t: p * (1 - s / t)
    ),
    "the fall is counted from step 0: it begins after the warm-up, at the peak": (
        lambda s, p, w, t: p * min(s / w, 1 - s / t)
    ),
    "the rate stays at its peak: after the warm-up it falls in a straight line to 0": (
        lambda s, p, w, t: p * min(s / w, 1)
    ),
    "steps since the warm-up are divided by all steps; the fall takes total - warm-up": (
        lambda s, p, w, t: p * min(s / w, 1 - (s - w) / t)
    ),
    "you count from 1; step 0 is the one before the first update, at rate 0": (
        lambda s, p, w, t: p * (s + 1) / w
    ),
    "that is the share of the peak; multiply by it": lambda s, p, w, t: _rate(s, 1, w, t),
}


@answers(
    "the steps start small, so that a random head's large gradients do not wreck the encoder, and "
    "end small, so that the last ones settle instead of jumping about.",
    _RATE_MISTAKES,
)
def check_learning_rate(learning_rate: Any) -> None:
    """Write the schedule: up in a straight line over the warm-up, then down to 0."""

    def cases(steps: tuple[int, ...], peak: float, warmup: int, total: int) -> dict[str, tuple]:
        settings = say(
            "{total} with a peak of {peak} and {warmup} steps of warm-up", total, peak, warmup
        )
        return {
            say("step {step} of {settings}", step, settings): (
                step,
                peak,
                warmup,
                total,
            )
            for step in steps
        }

    usual = cases((0, 5, 10, 20, 45, 70, 119, 120), 6e-5, 20, 120)
    hint = say("it rises as peak * step / warm-up, then falls by equal steps and is 0 at the end")
    judge(learning_rate, _rate, usual, hint, _RATE_MISTAKES)
    hint = say("without a warm-up nothing rises: the first step has the peak")
    judge(learning_rate, _rate, cases((0, 5), 1.0, 0, 10), hint)
