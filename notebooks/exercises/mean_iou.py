"""Checks of notebook 04, mean IoU."""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers.labels import IGNORE_INDEX
from notebooks.exercises.core import NotYet, answers, as_array, call, compare, describe, expect

_REFERENCE = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 1], [2, 2, 2, 2]])
_PREDICTION = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [0, 2, 1, 1], [2, 2, 2, 1]])


@answers(
    "both mistakes cost, a claim too many and a pixel too few; and where there is nothing to find "
    "and nothing was claimed, NaN says that the question was not asked."
)
def check_iou(iou: Any) -> None:
    """Write the IoU of two boolean masks."""
    rows = {
        "masks of 6 and 4 pixels that share 3": (range(0, 6), range(3, 7)),
        "masks that share no pixel": (range(0, 3), range(5, 9)),
        "two equal masks": (range(2, 8), range(2, 8)),
        "an empty prediction": (range(0), range(4, 8)),
        "two empty masks": (range(0), range(0)),
    }
    for given, pixels in rows.items():
        prediction, reference = (np.isin(np.arange(12).reshape(3, 4), list(one)) for one in pixels)
        both, either = (prediction & reference).sum(), (prediction | reference).sum()
        areas = prediction.sum(), reference.sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = np.divide(both, either)
            mistakes = {
                "you divide by the sum of the areas, in which shared pixels count twice; the union "
                "counts each pixel once": both / sum(areas),
                "that is the Dice score, 2 * intersection / (sum of the areas)": 2
                * both
                / sum(areas),
                "you divide by the reference alone: a mask that claims everything would get 1": (
                    np.divide(both, areas[1])
                ),
                "you divide by the prediction alone: a mask of one sure pixel would get 1": (
                    np.divide(both, areas[0])
                ),
                "that is the share of all pixels that agree, background included": (
                    (prediction == reference).mean()
                ),
            }
        hint = "intersection (`&`) over union (`|`), in pixels"
        if not either:
            mistakes = {}
            hint = "0 / 0 is neither 0 (a failure) nor 1 (a success): return NaN, and leave it out"
        edge = "" if either else hint
        answer = call(iou, prediction, reference, given=given, hint=edge)
        expect(answer, expected, given, hint, mistakes, tolerance=1e-6)


@answers(
    "the accuracy counts pixels and does not care which; mean IoU asks what each class loses, so "
    "the same number of wrong pixels can cost more or less."
)
def check_two_pixels(prediction: Any) -> None:
    """Change two pixels: the pixel accuracy stays, the mean IoU rises."""
    found = as_array(prediction)
    if found is None or found.shape != (4, 4):
        got = describe(prediction if found is None else found)
        raise NotYet(f"expected an array of shape (4, 4), got {got}")
    if not np.isin(found, (0, 1, 2)).all():
        raise NotYet(
            f"label {describe(found[~np.isin(found, (0, 1, 2))][0])} is none of 0, 1 and 2"
        )
    changed = int((found != _PREDICTION).sum())
    if changed != 2:
        raise NotYet(f"{changed} pixels are changed, expected 2")
    right = int((found == _REFERENCE).sum())
    if right != 13:
        raise NotYet(
            f"{right} pixels are right, and 13 should stay right: fix one pixel, spoil another"
        )
    before, after = _mean_iou(_PREDICTION, _REFERENCE, 3), _mean_iou(found, _REFERENCE, 3)
    if after <= before + 1e-9:
        verb = "falls" if after < before - 1e-9 else "stays"
        raise NotYet(
            f"13 pixels are right as before, but the mean IoU {verb} ({before:.3f}, then "
            f"{after:.3f}): which class is the weakest, and what would help it?"
        )


def _mean_iou(prediction: np.ndarray, reference: np.ndarray, num_labels: int) -> float:
    ious = _ious(prediction, reference, num_labels)
    return float(np.nanmean(ious)) if np.isfinite(ious).any() else float("nan")


def _ious(prediction: np.ndarray, reference: np.ndarray, num_labels: int) -> np.ndarray:
    labelled = reference != IGNORE_INDEX
    masks = [((prediction == k)[labelled], (reference == k)[labelled]) for k in range(num_labels)]
    with np.errstate(invalid="ignore"):
        return np.array([np.divide((p & r).sum(), (p | r).sum()) for p, r in masks])


@answers(
    "ignored pixels do not count, absent classes are left out, and a class that was claimed though "
    "it is not there costs a 0: the three rules on which published scores agree."
)
def check_mean_iou(mean_iou: Any) -> None:
    """Write mean IoU with its three rules."""
    ignored = np.array([[0, 0, 1, 255], [0, 0, 1, 255]])
    predicted = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])
    invented = np.where(np.eye(4, dtype=bool), 3, _PREDICTION)
    many = np.array([12, 20, 140])  # 150 * 12 does not fit into uint8
    cases = {
        "three classes that all occur": (_PREDICTION, _REFERENCE, 3),
        "the same maps and num_labels = 5": (_PREDICTION, _REFERENCE, 5),
        "a reference with 255 in it": (predicted, ignored, 2),
        "a predicted class that the reference lacks": (invented, _REFERENCE, 4),
        "a reference that is all 255": (predicted, np.full((2, 4), 255), 2),
        "labels 12, 20 and 140 of num_labels = 150": (many[_PREDICTION], many[_REFERENCE], 150),
    }
    for given, (prediction, reference, num_labels) in cases.items():
        prediction, reference = prediction.astype(np.uint8), reference.astype(np.uint8)
        ious, labelled = _ious(prediction, reference, num_labels), reference != IGNORE_INDEX
        everywhere = np.where(labelled, reference, num_labels)  # 255 as a label of its own
        present = np.isin(np.arange(num_labels), reference)
        mistakes = {}
        if labelled.any():
            mistakes = {
                "classes that occur in neither map are 0/0, not 0: leave them out of the mean": (
                    np.nan_to_num(ious).mean()
                ),
                "pixels whose reference is 255 still count; leave them out of both maps": (
                    _mean_iou(prediction, everywhere, num_labels)
                ),
                "a class that is predicted but absent from the reference scores 0 and takes part": (
                    ious[present].mean()
                ),
                "that is the pixel accuracy": (prediction == reference)[labelled].mean(),
                "that is the mean of the accuracies: divide by the union, not by the reference": (
                    _mean_accuracy(prediction, reference, num_labels)
                ),
            }
        edge = ""
        if num_labels > 16:
            edge = "label maps are uint8, and `num_labels * reference` wraps at 256: cast to int64"
        answer = call(mean_iou, prediction, reference, num_labels, given=given, hint=edge)
        expected = _mean_iou(prediction, reference, num_labels)
        if not np.isfinite(expected) and compare(answer, expected):
            raise NotYet(
                f"for {given} the result is {describe(answer)}, expected nan: no class has a score"
            )
        hint = "one IoU for each class, over the pixels whose reference is not 255, then their mean"
        expect(answer, expected, given, edge or hint, mistakes, tolerance=1e-6)


def _mean_accuracy(prediction: np.ndarray, reference: np.ndarray, num_labels: int) -> float:
    parts = [
        (prediction == label)[reference == label].mean()
        for label in range(num_labels)
        if (reference == label).any()
    ]
    return float(np.mean(parts))
