"""Checks of notebook 02, dataset and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from helpers.labels import ADE20K, IGNORE_INDEX
from helpers.language import say
from notebooks.exercises.core import NotYet, answers, describe, expect_refusal, judge

_NAME_MISTAKES = {
    "that is what the legend says, and the legend has the right palette": "sidewalk",
    "you went the wrong way: black in front makes every class look like the one before it, so the "
    "true class comes after": "cabinet",
    "that is one too far; the palettes differ by one entry": "earth",
}


@answers(
    "label 12, person, is painted with entry 12 of a palette that starts with black, and that is "
    "the colour of label 11, sidewalk. Someone who trusts the legend would drive over people.",
    _NAME_MISTAKES,
)
def check_mislabelled_class(name: Any) -> None:
    """Name the class that a palette with black in front paints in sidewalk's colour."""
    if not isinstance(name, str):
        raise NotYet(
            "the answer is {found}, expected the name of a class, as 'road'", describe(name)
        )
    name = name.strip().lower()
    if name not in ADE20K.label2id:
        raise NotYet("{name!r} is none of the 150 names in ADE20K.label2id", name[:40])
    if name != "person":
        hints = {wrong: hint for hint, wrong in _NAME_MISTAKES.items()}
        hint = say(
            hints.get(name, "in which place of the longer palette does sidewalk's colour stand?")
        )
        raise NotYet("not {name!r}: {hint}", name, hint)


def _subtracted(annotation: np.ndarray) -> np.ndarray:
    return annotation.astype(np.int64) - 1


_REDUCE_MISTAKES = {
    "0 - 1 is -1 here. In uint8 it wraps round to 255, which is the wanted value by coincidence: "
    "say what becomes of 0": _subtracted,
    "nothing was subtracted": lambda a: a,
    '0 became 0, and pixels of "other" would be learnt as wall': lambda a: np.maximum(
        _subtracted(a), 0
    ),
    "255 stands where 0 was, but classes were not moved down": lambda a: np.where(a == 0, 255, a),
    "subtract first; the 255 was reduced, too": lambda a: np.where(a == 0, 254, _subtracted(a)),
    "that is reduced twice: every class has moved down by two": (
        lambda a: np.where(a == 0, 254, (_subtracted(a) - 1) % 256)
    ),
    "that is reduced twice, and wall is ignored now": (
        lambda a: np.where(a < 2, 255, _subtracted(a) - 1)
    ),
}


@answers(
    "0 is ignored, every class keeps its name, and labels that were reduced before are refused "
    "instead of being shifted once more, which no loss curve would ever show.",
    _REDUCE_MISTAKES,
)
def check_reduce_labels(reduce_labels: Any) -> None:
    """Write label reduction, for any integer dtype, that refuses what is no annotation."""
    small = np.array([[0, 1, 2], [21, 150, 0]], dtype=np.uint8)
    cases = {}
    for values in (small, small.astype(np.int64), np.arange(151, dtype=np.int16)):
        first, dtype = values.ravel()[:3].tolist(), values.dtype
        given = say("annotation values {first} ... as {dtype}", first, dtype)
        cases[given] = (values,)
    hint = say("value 0 becomes 255 and value k becomes k - 1")
    judge(reduce_labels, ADE20K.to_label_map, cases, hint, _REDUCE_MISTAKES)
    reduced = say("annotations hold 0-150, and a 255 says that the labels were reduced before")
    negative = say("annotations hold 0-150: nothing below 0 has a meaning")
    for values, hint in (([255, 0, 19, 149], reduced), ([3, 151], reduced), ([-1, 7], negative)):
        given = np.array(values, dtype=np.int64)
        expect_refusal(reduce_labels, given, given=f"{values}", hint=hint)


def _margin(label_map: np.ndarray, pixels: int, **how: Any) -> np.ndarray:
    how = {"size": 2 * pixels + 1, "mode": "nearest", **how}
    low, high = ndimage.minimum_filter(label_map, **how), ndimage.maximum_filter(label_map, **how)
    return np.where(low != high, IGNORE_INDEX, label_map).astype(np.uint8)


def _along_axes(label_map: np.ndarray, pixels: int, **how: Any) -> np.ndarray:
    return np.maximum(*(_margin(label_map, pixels, axes=axis, **how) for axis in (0, 1)))


_MARGIN_MISTAKES = {  # label map, pixels
    "the margin runs round the edges of the image: rolling an array brings the far side in, and an "
    "image's edge is no border between classes": (lambda m, p: _margin(m, p, mode="wrap")),
    "the edge of the image was taken for a border": lambda m, p: _margin(m, p, mode="constant"),
    "corners are missing: the window is a square, but you look along rows and columns": _along_axes,
    "the margin is one pixel too wide": lambda m, p: _margin(m, p + 1),
    "nothing became 255": lambda m, p: m,
    "the margin lies on one side of each border only; both sides are uncertain": (
        lambda m, p: _along_axes(m, p, size=p + 1, origin=-((p + 1) // 2))
    ),
}


@answers(
    "the margin is as wide on both sides of every border and nowhere else. Small and thin classes "
    "lose most of their pixels to it: another reason why the long tail is hard.",
    _MARGIN_MISTAKES,
)
def check_add_margin(add_margin: Any) -> None:
    """Write a function that sets a margin between classes to 255."""
    steps = np.zeros((6, 8), dtype=np.uint8)
    steps[:, 3:] = 6
    steps[4:, 6:] = 20
    steps[0, 7] = IGNORE_INDEX
    one = np.full((4, 5), 12, np.uint8)
    cases = {say("one class from edge to edge and a margin of 1"): (one, 1)}
    for pixels in (1, 2, 0):
        given = say("a map of three classes and a margin of {pixels}", pixels)
        cases[given] = (steps, pixels)
    hint = say("a pixel becomes 255 if its window of (2 * pixels + 1)² holds more than one value")
    judge(add_margin, _margin, cases, hint, _MARGIN_MISTAKES)
