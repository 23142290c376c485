"""Checks of notebook 08, scores."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion

from helpers.language import say
from notebooks.exercises.core import answers, judge


def _rectangle(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((14, 16), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def _iou(prediction: np.ndarray, reference: np.ndarray) -> float:
    return (prediction & reference).sum() / (prediction | reference).sum()


def _eroded(mask: np.ndarray, distance: int, beyond: int = 0) -> np.ndarray:
    return binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=beyond)


def _rim(mask: np.ndarray, distance: int, beyond: int = 0) -> np.ndarray:
    return mask & ~_eroded(mask, distance, beyond)


def _outside(mask: np.ndarray, distance: int) -> np.ndarray:
    return _rim(~mask, distance, beyond=1)


def _iou_of(rim: Callable[[np.ndarray, int], np.ndarray]) -> Callable[..., float]:
    return lambda p, r, distance: _iou(rim(p, distance), rim(r, distance))


_RIM_MISTAKES = {
    "that is the IoU of the whole masks; take their rims first": _iou_of(lambda mask, d: mask),
    "that is the IoU of what erosion leaves; the rim is what it takes away": _iou_of(_eroded),
    "erode in all eight directions: the structure is 3 x 3 ones, not the default cross": (
        _iou_of(lambda mask, d: mask & ~binary_erosion(mask, iterations=d))
    ),
    "a mask cut off by the image's edge ends there: border_value=0": (
        _iou_of(partial(_rim, beyond=1))
    ),
    "erode `distance` times, not once": _iou_of(lambda mask, d: _rim(mask, 1)),
    "the rim lies inside of the mask; that one lies outside": _iou_of(_outside),
    "the rim lies inside of the mask; that one lies on both sides of the outline": (
        _iou_of(lambda mask, d: _rim(mask, d) | _outside(mask, d))
    ),
    "that is the IoU of the outlines' common pixels over all of both masks": (
        lambda p, r, d: (_rim(p, d) & _rim(r, d)).sum() / max(1, (p | r).sum())
    ),
}


@answers(
    "the rim of a large mask is a small part of it, and so a shifted outline costs much more of "
    "the boundary IoU than of the IoU.",
    _RIM_MISTAKES,
)
def check_boundary_iou(boundary_iou: Any) -> None:
    """Compute the IoU of the rims of two masks."""
    empty, ring = np.zeros((14, 16), dtype=bool), np.zeros((14, 16), dtype=bool)
    ring[1:13, 4:15] = True
    ring[6:8, 9:11] = False
    masks = {
        say("two rectangles"): (_rectangle(2, 11, 2, 13), _rectangle(3, 12, 3, 14)),
        say("a mask at the edge of the image"): (
            _rectangle(0, 10, 0, 12),
            _rectangle(0, 11, 2, 12),
        ),
        say("a mask with a hole"): (ring, _rectangle(1, 12, 3, 15)),
        say("a thin mask and a broad one"): (_rectangle(5, 7, 1, 15), _rectangle(4, 12, 1, 15)),
        say("a mask and an empty one"): (_rectangle(2, 8, 2, 8), empty),
    }
    cases = {
        say("{masks} at distance {distance}", name, distance): (*pair, distance)
        for name, pair in masks.items()
        for distance in (1, 2)
    }
    hint = say("erode each mask, take away what is left of it, and compute the IoU of the two rims")
    judge(boundary_iou, _iou_of(_rim), cases, hint, _RIM_MISTAKES)
    hint = say("0 / 0 is no score: return NaN")
    judge(boundary_iou, _iou_of(_rim), {say("two empty masks"): (empty, empty, 1)}, hint)


def _sums(areas: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Intersection, predicted and labelled area, each (repeats, labels)."""
    return np.moveaxis(np.tensordot(draws, areas, axes=1), 1, 0)


def _ious(intersection: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    return intersection / (predicted + labelled - intersection)


def _mean_of(score: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """From areas and draws to the mean of a score of I, P and L over the classes that occur."""
    return lambda areas, draws: np.nanmean(score(*_sums(areas, draws)), axis=-1)


_resampled = _mean_of(_ious)

_BOOTSTRAP_MISTAKES = {  # areas, draws
    "those are averages of the images' own scores: add up the areas first, then divide": (
        lambda a, d: d @ _resampled(a, np.eye(len(a))) / d.sum(axis=1)
    ),
    "an image that was drawn twice counts twice": lambda a, d: _resampled(a, d > 0),
    "draws says how often each image occurs; its numbers are not positions": lambda a, d: (
        _resampled(a, np.eye(len(a))[d.clip(0, 4)].sum(axis=1))
    ),
    "a class that is nowhere in a test set is left out of its mean, not counted as 0": (
        lambda a, d: np.nan_to_num(_ious(*_sums(a, d))).mean(axis=-1)
    ),
    "the classes were added up before dividing; the mean runs over the classes' IoUs": (
        lambda a, d: _ious(*_sums(a, d).sum(axis=-1))
    ),
    "every test set has the score of all images: weigh the images by draws": (
        lambda a, d: _resampled(a, np.ones_like(d))
    ),
    "mean accuracy is I / L; an IoU divides by P + L - I": _mean_of(lambda i, p, t: i / t),
    "dice is 2 I / (P + L); an IoU divides by P + L - I": _mean_of(lambda i, p, t: 2 * i / (p + t)),
    "P + L has the intersection twice: divide by P + L - I": _mean_of(lambda i, p, t: i / (p + t)),
}


@answers(
    "areas add up, scores do not. With a thousand draws, the 2.5th and the 97.5th percentile of "
    "what you return, reflected at the score, are a 95 % confidence interval.",
    _BOOTSTRAP_MISTAKES,
)
def check_bootstrap_mean_iou(bootstrap_mean_iou: Any) -> None:
    """Compute the mean IoU of each resampled test set from the areas of single images."""
    random = np.random.default_rng(8)
    areas = random.integers(5, 90, size=(5, 3, 4))
    areas[:, 1:] += areas[:, :1]  # both areas hold the intersection
    areas[:3, :, 2] = 0  # a class of two images only
    areas[:, :, 3] = 0  # and one of none
    draws = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 0, 2], [3, 1, 1, 0, 0], [0, 0, 0, 0, 5]])
    cases = {say("5 images, 4 classes and 4 resampled test sets"): (areas, draws)}
    hint = say(
        "add up the areas of each test set's images, as often as they were drawn; then "
        "I / (P + L - I) for each class, then the mean over the classes that occur"
    )
    judge(bootstrap_mean_iou, _resampled, cases, hint, _BOOTSTRAP_MISTAKES)


def _points(areas: np.ndarray) -> np.ndarray:
    """Mean IoU in points of areas (..., 3, labels) in which each class occurs."""
    return 100 * _ious(*np.moveaxis(areas.astype(float), -2, 0)).mean(axis=-1)


def _resampled_points(areas: np.ndarray, draws: np.ndarray) -> np.ndarray:
    return _points(np.tensordot(draws, areas, axes=1))


def _compared(
    before: np.ndarray,
    after: np.ndarray,
    draws: np.ndarray,
    other_draws: Callable[[np.ndarray], np.ndarray] = lambda draws: draws,
    ends: tuple[float, float] = (2.5, 97.5),
) -> np.ndarray:
    """The change and the ends of its interval; the arguments after `draws` are for slips."""
    change = _points(after.sum(axis=0)) - _points(before.sum(axis=0))
    changes = _resampled_points(after, draws) - _resampled_points(before, other_draws(draws))
    return np.array([change, *np.percentile(changes, ends)])


def _by_images(before: np.ndarray, after: np.ndarray, draws: np.ndarray) -> list:
    gains = _points(after) - _points(before)
    return [gains.mean(), *np.percentile(draws @ gains / draws.sum(axis=1), [2.5, 97.5])]


def _single_ends(before: np.ndarray, after: np.ndarray, draws: np.ndarray) -> list:
    ends = [np.percentile(_resampled_points(one, draws), [2.5, 97.5]) for one in (before, after)]
    return [_compared(before, after, draws)[0], *(ends[1] - ends[0])]


def _extreme_ends(before: np.ndarray, after: np.ndarray, draws: np.ndarray) -> list:
    (a_low, a_high), (b_low, b_high) = (
        np.percentile(_resampled_points(one, draws), [2.5, 97.5]) for one in (before, after)
    )
    return [_compared(before, after, draws)[0], b_low - a_high, b_high - a_low]


def _changed(change: Callable[..., Any]) -> Callable[..., Any]:
    """From (change, low, high) to what a slip makes of the three."""
    return lambda *given: change(*_compared(*given))


_COMPARE_MISTAKES = {  # before, after, draws
    "those are the ends of two single intervals, subtracted: take the differences draw by draw "
    "first, then their percentiles": _single_ends,
    "that is as wide as the two single intervals together: both models meet the same draws, so "
    "take the differences draw by draw": _extreme_ends,
    "those are fractions; a point is a hundredth": _changed(lambda *three: np.array(three) / 100),
    "a gain of B has to come out positive: after less before": (lambda a, b, d: _compared(b, a, d)),
    "each model was scored on draws of its own: score both on the same": (
        partial(_compared, other_draws=lambda draws: draws[::-1])
    ),
    "add up the areas of a test set, then score it: those are averages of single images' scores": (
        _by_images
    ),
    "95 % leave 2.5 % out at each end, not 5 %": partial(_compared, ends=(5, 95)),
    "a difference is not reflected: resampling lowers both scores alike": (
        _changed(lambda change, low, high: [change, 2 * change - high, 2 * change - low])
    ),
    "the change comes first, then the ends": _changed(lambda change, *ends: [*ends, change]),
    "the first number is the change on all images as they are, not the mean of the resampled": (
        lambda a, b, d: [
            (_resampled_points(b, d) - _resampled_points(a, d)).mean(),
            *_compared(a, b, d)[1:],
        ]
    ),
}


@answers(
    "if the interval leaves zero out, the draw of images alone hardly explains the change. Of the "
    "two pairs of models asked here, this holds for one.",
    _COMPARE_MISTAKES,
)
def check_compare_models(compare_models: Any) -> None:
    """Return the change of the mean IoU between two models and its paired 95 % interval."""
    random = np.random.default_rng(3)
    labelled = random.integers(200, 900, size=(24, 4))
    hard = random.uniform(0.3, 0.9, size=(24, 4))  # how much of it model A finds
    cases = {}
    models = {say("a B that finds more"): 0.05, say("a B that differs by luck"): 0.0}
    for name, gain in models.items():
        found = [hard, np.clip(hard + gain + random.normal(0, 0.04, hard.shape), 0, 1)]
        areas = [
            np.stack([both := (labelled * part).astype(int), both + 60, labelled], axis=1)
            for part in found
        ]
        draws = random.multinomial(24, np.full(24, 1 / 24), size=200)
        given = say("24 images, 4 classes, 200 draws and {model}", name)
        cases[given] = (*areas, draws)
    hint = say(
        "score both models on each draw, subtract, and take the percentiles 2.5 and 97.5 of the "
        "differences; times 100 for points"
    )
    judge(compare_models, _compared, cases, hint, _COMPARE_MISTAKES)
