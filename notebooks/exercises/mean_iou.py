"""Checks of notebook 04, mean IoU."""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers.labels import IGNORE_INDEX
from helpers.language import say
from notebooks.exercises.core import NotYet, answers, as_array, describe, judge

_REFERENCE = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 1], [2, 2, 2, 2]], np.uint8)
_PREDICTION = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [0, 2, 1, 1], [2, 2, 2, 1]], np.uint8)


def _iou(prediction: np.ndarray, reference: np.ndarray) -> float:
    return (prediction & reference).sum() / (prediction | reference).sum()


_IOU_MISTAKES = {
    "you divide by the sum of the areas, in which shared pixels count twice; the union counts "
    "each pixel once": lambda p, r: (p & r).sum() / (p.sum() + r.sum()),
    "that is the Dice score, 2 * intersection / (sum of the areas)": (
        lambda p, r: 2 * (p & r).sum() / (p.sum() + r.sum())
    ),
    "you divide by the reference alone: a mask that claims everything would get 1": (
        lambda p, r: (p & r).sum() / r.sum()
    ),
    "you divide by the prediction alone: a mask of one sure pixel would get 1": (
        lambda p, r: (p & r).sum() / p.sum()
    ),
    "`^` leaves shared pixels out; the union is `|`": lambda p, r: (p & r).sum() / (p ^ r).sum(),
    "that is the share of all pixels that agree, background included": lambda p, r: (p == r).mean(),
}


@answers(
    "both mistakes cost, a claim too many and a pixel too few; and where there is nothing to find "
    "and nothing was claimed, NaN says that the question was not asked.",
    _IOU_MISTAKES,
)
def check_iou(iou: Any) -> None:
    """Write the IoU of two boolean masks."""
    rows = {
        say("masks of 6 and 4 pixels that share 3"): (range(0, 6), range(3, 7)),
        say("masks that share no pixel"): (range(0, 3), range(5, 9)),
        say("two equal masks"): (range(2, 8), range(2, 8)),
        say("an empty prediction"): (range(0), range(4, 8)),
    }
    cases = {
        given: tuple(np.isin(np.arange(12).reshape(3, 4), list(pixels)) for pixels in pair)
        for given, pair in rows.items()
    }
    hint = say("intersection (`&`) over union (`|`), in pixels")
    judge(iou, _iou, cases, hint, _IOU_MISTAKES)
    empty = np.zeros((3, 4), dtype=bool)
    hint = say("0 / 0 is neither 0 (a failure) nor 1 (a success): return NaN, and leave it out")
    judge(iou, _iou, {say("two empty masks"): (empty, empty)}, hint)


@answers(
    "the accuracy counts pixels and does not care which; mean IoU asks what each class loses, so "
    "the same number of wrong pixels can cost more or less."
)
def check_two_pixels(prediction: Any) -> None:
    """Change two pixels: the pixel accuracy stays, the mean IoU rises."""
    found = as_array(prediction)
    if found is None or found.shape != (4, 4):
        got = describe(prediction if found is None else found)
        raise NotYet("expected an array of shape (4, 4), got {found}", got)
    if (others := found[~np.isin(found, (0, 1, 2))]).size:
        raise NotYet("label {label} is none of 0, 1 and 2", describe(others[0]))
    changed = int((found != _PREDICTION).sum())
    if changed == 1:
        raise NotYet("1 pixel is changed, expected 2")
    if changed != 2:
        raise NotYet("{changed} pixels are changed, expected 2", changed)
    right = int((found == _REFERENCE).sum())
    if right != 13:
        text = "{right} pixels are right, and 13 should stay right: fix one pixel, spoil another"
        raise NotYet(text, right)
    before, after = _mean_iou(_PREDICTION, _REFERENCE, 3), _mean_iou(found, _REFERENCE, 3)
    if after <= before + 1e-9:
        text = (
            "13 pixels are right as before, but the mean IoU {verb} ({before:.3f}, then "
            "{after:.3f}): which class is the weakest, and what would help it?"
        )
        raise NotYet(text, say("falls" if after < before - 1e-9 else "stays"), before, after)


def _ious(prediction: np.ndarray, reference: np.ndarray, num_labels: int) -> np.ndarray:
    labelled = reference != IGNORE_INDEX
    prediction, reference = prediction[labelled], reference[labelled]
    return np.array([_iou(prediction == k, reference == k) for k in range(num_labels)])


def _mean_iou(prediction: np.ndarray, reference: np.ndarray, num_labels: int) -> float:
    return float(np.nanmean(_ious(prediction, reference, num_labels)))


_MEAN_IOU_MISTAKES = {
    "classes that occur in neither map are 0/0, not 0: leave them out of the mean": (
        lambda p, r, n: np.nan_to_num(_ious(p, r, n)).mean()
    ),
    "pixels whose reference is 255 still count; leave them out of both maps": (
        lambda p, r, n: np.nanmean([_iou(p == k, r == k) for k in range(n)])
    ),
    "a class that is predicted but absent from the reference scores 0 and takes part": (
        lambda p, r, n: _ious(p, r, n)[np.isin(np.arange(n), r)].mean()
    ),
    "that is the pixel accuracy": lambda p, r, n: (p == r)[r != IGNORE_INDEX].mean(),
    "that is the mean of the accuracies: divide by the union, not by the reference": (
        lambda p, r, n: np.mean([(p == k)[r == k].mean() for k in range(n) if k in r])
    ),
}


@answers(
    "ignored pixels do not count, absent classes are left out, and a class that was claimed though "
    "it is not there costs a 0: the three rules on which published scores agree.",
    _MEAN_IOU_MISTAKES,
)
def check_mean_iou(mean_iou: Any) -> None:
    """Write mean IoU with its three rules."""
    predicted = np.array([[0, 0, 1, 1], [0, 1, 1, 1]], np.uint8)
    ignored = np.array([[0, 0, 1, 255], [0, 0, 1, 255]], np.uint8)
    invented = np.where(np.eye(4, dtype=bool), 3, _PREDICTION).astype(np.uint8)
    hint = say(
        "one IoU for each class, over the pixels whose reference is not 255, then their mean"
    )
    cases = {
        say("three classes that all occur"): (_PREDICTION, _REFERENCE, 3),
        say("the same maps and num_labels = 5"): (_PREDICTION, _REFERENCE, 5),
        say("a reference with 255 in it"): (predicted, ignored, 2),
        say("a predicted class that the reference lacks"): (invented, _REFERENCE, 4),
    }
    judge(mean_iou, _mean_iou, cases, hint, _MEAN_IOU_MISTAKES)
    nothing = predicted, np.full((2, 4), 255, np.uint8), 2
    hint = say("no class has a score: return NaN")
    judge(mean_iou, _mean_iou, {say("a reference that is all 255"): nothing}, hint)
    many = np.array([12, 20, 140], np.uint8)  # 150 * 12 does not fit into uint8
    maps = many[_PREDICTION], many[_REFERENCE], 150
    cases = {say("labels 12, 20 and 140 of num_labels = 150"): maps}
    hint = say("label maps are uint8, and `num_labels * reference` wraps at 256: cast to int64")
    judge(mean_iou, _mean_iou, cases, hint)
