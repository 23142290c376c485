"""Checks of notebook 02, dataset and labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers.labels import ADE20K, IGNORE_INDEX
from notebooks.exercises.core import NotYet, answers, call, describe, expect, expect_refusal


@answers(
    "label 12, person, is painted with entry 12 of a palette that starts with black, and that is "
    "the colour of label 11, sidewalk. Someone who trusts the legend would drive over people."
)
def check_mislabelled_class(name: Any) -> None:
    """Name the class that a palette with black in front paints in sidewalk's colour."""
    if not isinstance(name, str):
        raise NotYet(f"the answer is {describe(name)}, expected the name of a class, as 'road'")
    label = ADE20K.label2id.get(name.strip().lower())
    if label is None:
        raise NotYet(f"{name[:40]!r} is none of the 150 names in ADE20K.label2id")
    believed = ADE20K.label2id["sidewalk"]
    hints = {
        believed: "that is what the legend says, and the legend has the right palette",
        believed - 1: "you went the wrong way: black in front makes every class look like the one "
        "before it, so the true class comes after",
        believed + 2: "that is one too far; the palettes differ by one entry",
    }
    if label != believed + 1:
        hint = hints.get(
            label, "in which place of the longer palette does sidewalk's colour stand?"
        )
        raise NotYet(f"not {ADE20K.id2label[label]!r}: {hint}")


@answers(
    "0 is ignored, every class keeps its name, and labels that were reduced before are refused "
    "instead of being shifted once more, which no loss curve would ever show."
)
def check_reduce_labels(reduce_labels: Any) -> None:
    """Write label reduction, for any integer dtype, that refuses what is no annotation."""
    small = np.array([[0, 1, 2], [21, 150, 0]], dtype=np.uint8)
    for annotation in (small, small.astype(np.int64), np.arange(151, dtype=np.int16)):
        expected = ADE20K.to_label_map(annotation)
        given = f"annotation values {annotation.ravel()[:3].tolist()} ... as {annotation.dtype}"
        signed = annotation.astype(np.int64)
        expect(
            call(reduce_labels, annotation, given=given),
            expected,
            given,
            hint="value 0 becomes 255 and value k becomes k - 1",
            mistakes={
                "0 - 1 is -1 here. In uint8 it wraps round to 255, which is the wanted value by "
                "coincidence: say what becomes of 0": signed - 1,
                "nothing was subtracted": signed,
                "0 became 0, which is wall: other pixels would be learnt as wall": np.maximum(
                    signed - 1, 0
                ),
                "0 was left at 0, which is wall": np.where(signed == 0, 0, signed - 1),
                "255 stands where 0 was, but the classes were not moved down": np.where(
                    signed == 0, IGNORE_INDEX, signed
                ),
                "that is reduced twice: every class has moved down by two": (
                    np.where(signed == 0, IGNORE_INDEX - 1, (signed - 2) % 256)
                ),
                "that is reduced twice, and wall is ignored now": _twice(annotation),
            },
        )
    reduced = "annotations hold 0-150, and a 255 says that the labels were reduced before"
    negative = "annotations hold 0-150: nothing below 0 has a meaning"
    for values, hint in (([255, 0, 19, 149], reduced), ([3, 151], reduced), ([-1, 7], negative)):
        given = np.array(values, dtype=np.int64)
        expect_refusal(reduce_labels, given, given=f"{values}", hint=hint)


def _twice(annotation: np.ndarray) -> np.ndarray:
    once = ADE20K.to_label_map(annotation)
    return np.where((once == 0) | (once == IGNORE_INDEX), IGNORE_INDEX, once - 1)


@answers(
    "the margin is as wide on both sides of every border and nowhere else. Small and thin classes "
    "lose most of their pixels to it: another reason why the long tail is hard."
)
def check_add_margin(add_margin: Any) -> None:
    """Write a function that sets a margin between classes to 255."""
    steps = np.zeros((6, 8), dtype=np.uint8)
    steps[:, 3:] = 6
    steps[4:, 6:] = 20
    steps[0, 7] = IGNORE_INDEX
    whole = np.full((4, 5), 12, dtype=np.uint8)
    cases = {
        "one class from edge to edge and a margin of 1": (whole, 1),
        "a map of three classes and a margin of 1": (steps, 1),
        "a map of three classes and a margin of 2": (steps, 2),
        "a map of three classes and a margin of 0": (steps, 0),
    }
    for given, (label_map, pixels) in cases.items():
        expect(
            call(add_margin, label_map, pixels, given=given),
            _margin(label_map, pixels),
            given,
            hint="a pixel becomes 255 if the window of (2 * pixels + 1)² around it holds more than "
            "one value",
            mistakes={
                "the margin runs round the edges of the image: rolling an array brings the far "
                "side in, and an image's edge is no border between classes": _margin(
                    label_map, pixels, mode="wrap"
                ),
                "the edge of the image was taken for a border": _margin(
                    label_map, pixels, mode="constant"
                ),
                "corners are missing: the window is a square, and you look along rows and columns "
                "only": _cross(label_map, pixels),
                "the margin is one pixel too wide": _margin(label_map, pixels + 1),
                "nothing became 255": label_map,
                "the margin lies on one side of each border only; both sides are uncertain": (
                    _one_sided(label_map, pixels)
                ),
            },
        )


def _margin(label_map: np.ndarray, pixels: int, mode: str = "nearest") -> np.ndarray:
    from scipy import ndimage

    size = 2 * pixels + 1
    low = ndimage.minimum_filter(label_map, size, mode=mode)
    high = ndimage.maximum_filter(label_map, size, mode=mode)
    return np.where(low != high, IGNORE_INDEX, label_map).astype(np.uint8)


def _cross(label_map: np.ndarray, pixels: int) -> np.ndarray:
    from scipy import ndimage

    border = np.zeros(label_map.shape, dtype=bool)
    for size in ((2 * pixels + 1, 1), (1, 2 * pixels + 1)):
        low = ndimage.minimum_filter(label_map, size, mode="nearest")
        border |= low != ndimage.maximum_filter(label_map, size, mode="nearest")
    return np.where(border, IGNORE_INDEX, label_map)


def _one_sided(label_map: np.ndarray, pixels: int) -> np.ndarray:
    border = np.zeros(label_map.shape, dtype=bool)
    for step in range(1, pixels + 1):
        border[:, :-step] |= label_map[:, :-step] != label_map[:, step:]
        border[:-step] |= label_map[:-step] != label_map[step:]
    return np.where(border, IGNORE_INDEX, label_map)
