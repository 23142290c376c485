"""Checks of notebook 05, training."""

from __future__ import annotations

from typing import Any

import numpy as np

from notebooks.exercises.core import NotYet, answers, as_array, call, compare, describe, expect

_LOGITS = (8, 19, 96, 128)  # of 8 images of 384 rows and 512 columns, 19 classes


@answers(
    "one score per class on a grid of a quarter of each side, so a post of four pixels has one "
    "column of logits to itself. If num_labels were wrong you would see it here, before training."
)
def check_logits_shape(shape: Any) -> None:
    """Predict the shape of SegFormer's logits."""
    found = as_array(shape)
    if found is not None and found.ndim == 2 and len(found) == 1:
        raise NotYet(
            f"the answer is {describe(shape)} that holds the numbers: the shape is the four "
            "numbers alone, as in (4, 150, 32, 32)"
        )
    if found is None or found.ndim != 1:
        raise NotYet(
            f"the answer is {describe(shape)}, expected four numbers such as (4, 150, 32, 32)"
        )
    batch, labels, rows, columns = _LOGITS
    found = tuple(found.tolist())
    text = str(tuple(int(side) if side == side and side % 1 == 0 else side for side in found))
    if len(found) == 3:
        raise NotYet(
            f"{text} has three numbers: a model sees a batch, so (batch, class, row, column)"
        )
    if len(found) != 4:
        raise NotYet(f"{text} has {len(found)} numbers, expected (batch, class, row, column)")
    if found[0] != batch:
        raise NotYet(f"in {text} the first number is not the number of images")
    if found[1] != labels:
        likely = {
            3: "three is the number of colour channels that go in",
            150: "these are not ADE20K's",
        }
        hint = likely.get(found[1], "how many scores does each position get?")
        raise NotYet(f"in {text} the second number is not the number of classes: {hint}")
    if found[2:] == (4 * rows, 4 * columns):
        raise NotYet(f"{text} is the labels' size: SegFormer predicts on a coarser grid")
    if found[2:] in ((columns, rows), (4 * columns, 4 * rows)):
        raise NotYet(
            f"in {text} rows and columns are exchanged: PIL says width first, arrays do not"
        )
    if found != _LOGITS:
        raise NotYet(f"in {text} the grid is wrong: each side is a quarter of the image's")


@answers(
    "every labelled pixel has the same say however a batch is cut into parts, and a part without "
    "labels neither counts nor turns the sum into NaN."
)
def check_batch_loss(batch_loss: Any) -> None:
    """Write the loss of a batch from the mean losses of its parts."""
    nan = float("nan")
    cases = {
        "parts with 1 and 9 labelled pixels": ([6.0, 1.0], [1, 9]),
        "three parts": ([2.0, 0.5, 4.0], [100, 300, 0]),
        "a part without labelled pixels, whose mean is NaN": ([3.0, nan, 1.0], [2, 0, 6]),
        "two parts without a single labelled pixel": ([nan, nan], [0, 0]),
    }
    for given, (losses, counts) in cases.items():
        losses, counts = np.array(losses), np.array(counts)
        sums = np.where(counts > 0, losses * counts, 0.0)
        expected = sums.sum() / max(1, counts.sum())
        with np.errstate(all="ignore"):
            mistakes = {
                "NaN times 0 is NaN: leave parts without labels out before you multiply": nan
            }
            mistakes |= {
                "the mean of the means gives a part with one labelled pixel as much weight as one "
                "with nine": losses.mean(),
                "that is the sum of the means": losses.sum(),
                "that is the sum over all pixels; divide by their number": sums.sum(),
                "divide by the number of labelled pixels, not of parts": sums.sum() / len(counts),
                "nanmean leaves the empty part out, but still gives each part the same weight": (
                    np.nan if np.isnan(losses).all() else np.nanmean(losses)
                ),
            }
        hint = "weight each part's mean by its labelled pixels, and divide by the number of all"
        if not counts.any():
            hint = "nothing to learn from, so 0.0: a NaN would spread to every average it enters"
            mistakes = {}
        answer = call(batch_loss, losses, counts, given=given, hint="" if counts.any() else hint)
        expect(answer, expected, given, hint, mistakes, 1e-6)


@answers(
    "the steps start small, so that a random head's large gradients do not wreck the encoder, and "
    "end small, so that the last ones settle instead of jumping about."
)
def check_learning_rate(learning_rate: Any) -> None:
    """Write the schedule: up in a straight line over the warm-up, then down to 0."""
    peak, warmup, total = 6e-5, 20, 120
    ups = [(step, peak * step / warmup) for step in (0, 5, 10)]
    downs = [(step, peak * (total - step) / (total - warmup)) for step in (20, 45, 70, 119, 120)]
    cases = [(step, peak, warmup, total, rate) for step, rate in ups + downs]
    cases += [(0, 1.0, 0, 10, 1.0), (5, 1.0, 0, 10, 0.5)]
    for step, top, rise, end, rate in cases:
        given = f"step {step} of {end} with a peak of {top} and {rise} steps of warm-up"
        edge = "" if rise else "without a warm-up nothing rises: the first step has the peak"
        answer = call(learning_rate, step, top, rise, end, given=given, hint=edge)
        if not compare(answer, rate, tolerance=2e-3 * top):
            continue
        mistakes = {
            "there is no warm-up yet: at first the rate rises from 0 in a straight line": (
                top * (1 - step / end) if step < rise else -1
            ),
            "the fall is counted from step 0: it begins after the warm-up, at the peak": (
                top * (1 - step / end)
            ),
            "the rate stays at its peak: after the warm-up it falls in a straight line to 0": top,
            "steps since the warm-up are divided by all steps; the fall takes total - warm-up": (
                top * (1 - (step - rise) / end)
            ),
            "that is the share of the peak; multiply by it": rate / top,
        }
        hint = "up to the warm-up peak * step / warm-up, then down by equal steps, 0 at the end"
        expect(answer, rate, given, hint, mistakes, tolerance=2e-3 * top)
