"""Checks of notebook 11, export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from helpers.language import say
from notebooks.exercises.core import NotYet, answers, as_array, call, describe, judge, wrong_for

_MAP, _GRID, _LARGE = 640 * 480, 19 * 128 * 128 * 4, 19 * 640 * 480 * 4

_BYTES_MISTAKES = {
    "a number of 32 bits takes four bytes": (_MAP, _GRID // 4, _LARGE // 4),
    "the grid has a quarter of the height and width of the model's input, not of the image": (
        (_MAP, 19 * 160 * 120 * 4, _LARGE)
    ),
    "that is a number for each pixel of the model's input: its grid has a quarter of the height "
    "and of the width": (_MAP, 16 * _GRID, _LARGE),
    "150 classes are ADE20K's: this model has 19": (
        (_MAP, 150 * 128 * 128 * 4, 150 * 640 * 480 * 4)
    ),
    "a label map has one number a pixel, however many classes there are": (
        (19 * _MAP, _GRID, _LARGE)
    ),
    "`argmax` gives numbers of eight bytes, but a uint8 takes one": (8 * _MAP, _GRID, _LARGE),
}


@answers(
    "the finished label map is the smallest by far. The small logits are four times as large, and "
    "whoever gets them has to upsample them correctly.",
    _BYTES_MISTAKES,
)
def check_leaving(leaving: Any) -> None:
    """Count the bytes of a label map, of small logits and of upsampled ones."""
    found = as_array(leaving)
    if found is None or found.shape != (3,):
        raise NotYet("the answer is {found}, expected three numbers of bytes", describe(leaving))
    for hint, mistake in _BYTES_MISTAKES.items():
        if tuple(found.tolist()) == mistake:
            raise NotYet("{hint}", say(hint))
    names = say("the label map"), say("the logits as they are"), say("the upsampled logits")
    for name, number, expected in zip(names, found, (_MAP, _GRID, _LARGE), strict=True):
        if number != expected:
            hint = say("multiply the numbers (classes, rows, columns) by the bytes of each")
            text = "{name}: {number} bytes are not right: {hint}"
            raise NotYet(text, name, describe(number), hint)


def _quantized(weights: np.ndarray) -> tuple[np.ndarray, float]:
    scale = float(np.abs(weights).max()) / 127
    return np.round(weights / scale).astype(np.int8), scale


def _by(
    scale_of: Callable[[np.ndarray], float], whole: Callable[[np.ndarray], np.ndarray] = np.round
) -> Callable[[np.ndarray], tuple[np.ndarray, float]]:
    """Quantize by another scale, or with another way to whole numbers; what overflows wraps."""

    def quantize(weights: np.ndarray) -> tuple[np.ndarray, float]:
        scale = float(scale_of(weights))
        return whole(weights / scale).astype(np.int64).astype(np.int8), scale

    return quantize


_QUANTIZE_MISTAKES = {
    "without a scale, all weights between -1 and 1 become 0": (
        lambda weights: (weights.astype(np.int8), 1.0)
    ),
    "int8 ends at 127, so the largest weight becomes 128 and wraps to -128": (
        _by(lambda weights: np.abs(weights).max() / 128)
    ),
    "int8 holds 127 on either side of 0: you use half of its steps": (
        _by(lambda weights: np.abs(weights).max() / 63.5)
    ),
    "`astype` cuts the digits off: np.round first": (
        _by(lambda weights: np.abs(weights).max() / 127, np.trunc)
    ),
    "the largest *absolute* weight sets the scale: a negative one may be larger, and wraps": (
        _by(lambda weights: weights.max() / 127)
    ),
    "the scale is the wrong way round: a whole number times the scale has to give the weight": (
        lambda weights: (_quantized(weights)[0], 1 / _quantized(weights)[1])
    ),
    "the whole numbers are right, but they are to be int8, of one byte each": (
        lambda weights: (_quantized(weights)[0].astype(np.int32), _quantized(weights)[1])
    ),
}


@answers(
    "a quarter of the bytes, and no weight is off by more than half a scale. One single large "
    "weight makes the steps coarse for all the others.",
    _QUANTIZE_MISTAKES,
)
def check_quantize(quantize: Any) -> None:
    """Turn weights into whole numbers of eight bits and a scale."""
    hint = say(
        "the scale is the largest absolute weight over 127: divide by it, round, make it int8"
    )
    random = np.random.default_rng(11)
    for shape, largest in (((3, 4), -0.9), ((16,), 2.5)):
        weights = random.normal(0, 0.2, shape).astype(np.float32)
        weights.flat[5] = largest
        given = say("weights of shape {shape}, of which the largest is {largest}", shape, largest)
        answer = call(quantize, weights, given=given, hint=hint)
        if not isinstance(answer, (tuple, list)) or len(answer) != 2:
            text = "the result is {found}, expected the whole numbers and the scale"
            raise wrong_for(given, text, describe(answer))
        if not _same(answer, _quantized(weights)):
            for likely, mistake in _QUANTIZE_MISTAKES.items():
                if _same(answer, mistake(weights)):
                    raise NotYet("for {given}: {hint}", given, say(likely))
            raise NotYet("for {given}, other numbers come out: {hint}", given, hint)


def _same(answer: Any, expected: tuple[np.ndarray, float]) -> bool:
    whole, scale = (as_array(one) for one in answer)
    if whole is None or scale is None or scale.ndim or whole.dtype != expected[0].dtype:
        return False
    return np.array_equal(whole, expected[0]) and np.isclose(scale, expected[1], rtol=1e-4)


def _at(logits: np.ndarray, label_map: np.ndarray) -> np.ndarray:
    """(height, width): the logit of each position's class."""
    return np.take_along_axis(logits, label_map[None], axis=0)[0]


def _lead(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far the new class lies below the old one, in the old logits."""
    return _at(before, before.argmax(axis=0)) - _at(before, after.argmax(axis=0))


def _changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return before.argmax(axis=0) != after.argmax(axis=0)


def _real_changes(before: np.ndarray, after: np.ndarray, tie: float) -> int:
    return int((_lead(before, after) >= tie).sum())


_CHANGES_MISTAKES = {
    "ties are counted, too: leave out where the two classes' old logits are nearly equal": (
        lambda before, after, tie: _changed(before, after).sum()
    ),
    "that counts logits that moved, and most of them leave the class as it was": (
        lambda before, after, tie: (np.abs(before - after).max(axis=0) >= tie).sum()
    ),
    "the lead is taken in the new logits, which are what is on trial: take the old ones": (
        lambda before, after, tie: (_lead(after, before) >= tie).sum()
    ),
    "those are the ties, and asked for are all the others": (
        lambda before, after, tie: (_changed(before, after) & (_lead(before, after) < tie)).sum()
    ),
    "the lead over the second best is not what is asked for: the new class may be the third": (
        lambda before, after, tie: (
            _changed(before, after) & (np.diff(np.sort(before, axis=0)[-2:], axis=0)[0] >= tie)
        ).sum()
    ),
    "that is a share, and asked for is a number of positions": (
        lambda before, after, tie: (_lead(before, after) >= tie).mean()
    ),
}


@answers(
    "a zero here means that the export is the same model: what is left are ties, which may fall "
    "either way on any machine.",
    _CHANGES_MISTAKES,
)
def check_real_changes(real_changes: Any) -> None:
    """Count the positions whose class changed though it was no tie."""
    random, cases = np.random.default_rng(11), {}
    for labels, height, width in ((4, 12, 20), (3, 30, 8)):
        before = random.normal(size=(labels, height, width)).astype(np.float32)
        after = before + random.normal(0, 0.3, before.shape).astype(np.float32)
        text = "{labels} classes on {height} x {width} positions"
        cases[say(text, labels, height, width)] = (before, after, 0.15)
    hint = say(
        "at each position, take the old logit of the old class and that of the new class, and "
        "count where the first leads by at least `tie`"
    )
    judge(real_changes, _real_changes, cases, hint, _CHANGES_MISTAKES)
