"""Checks of notebook 08, scores."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion

from notebooks.exercises.core import answers, judge


def _along(side: int, window: int, stride: int) -> int:
    return 1 + max(0, math.ceil((side - window) / stride))


def _windows(
    height: int,
    width: int,
    short_side: int = 512,
    window: int = 512,
    stride: int = 341,
    *,
    limit: float = 4,
    whole: Callable[[float], int] = lambda side: math.floor(side + 0.5),
    count: Callable[[int, int, int], int] = _along,
    join: Callable[[int, int], int] = operator.mul,
) -> int:
    scale = min(short_side / min(height, width), limit * short_side / max(height, width))
    return join(*(count(whole(side * scale), window, stride) for side in (height, width)))


_WINDOW_MISTAKES = {
    "the long side stays within 4 * short_side: take the smaller of the two factors": (
        partial(_windows, limit=math.inf)
    ),
    "the image is resized first": lambda height, width, short_side, window, stride: (
        _along(height, window, stride) * _along(width, window, stride)
    ),
    "a half is rounded up, int(x + 0.5); Python's round goes to the even number": (
        partial(_windows, whole=math.floor)
    ),
    "where less than a stride is left over, one more window is moved back inside: round up": (
        partial(_windows, count=lambda side, w, s: 1 + max(0, (side - w) // s))
    ),
    "windows lie in rows and columns: multiply": partial(_windows, join=operator.add),
    "that is one row of windows; count the rows too": partial(_windows, join=lambda r, c: c),
    "that is one column of windows; count the columns too": partial(_windows, join=lambda r, c: r),
    "one window covers more than a stride: count strides only beyond the first window": (
        partial(_windows, count=lambda side, w, s: math.ceil(side / s))
    ),
    "windows begin every stride pixels, and overlap": (
        partial(_windows, count=lambda side, w, s: math.ceil(side / w))
    ),
    "an image smaller than the window still has one": (
        partial(_windows, count=lambda side, w, s: 1 + math.ceil((side - w) / s))
    ),
}


@answers(
    "now you know why the sliding protocol takes so long, and that it is the shape of an image "
    "and not its size in pixels that decides how often the model is asked.",
    _WINDOW_MISTAKES,
)
def check_count_windows(count_windows: Any) -> None:
    """Count the windows of one image in the sliding protocol."""
    text = "{} x {} pixels and a short side of {}, windows of {} and a stride of {}"
    images = [(480, 640, 256, 100, 40), (300, 400, 256, 512, 200)]
    for size in ((512, 512), (683, 512), (500, 4_000), (4_000, 500), (1_024, 2_389)):
        images.append((*size, 512, 512, 341))
    cases = {text.format(*image): image for image in images}
    hint = (
        "resize first; then each side has 1 window and one more for each stride, begun or whole, "
        "that is left over; multiply the two"
    )
    judge(count_windows, _windows, cases, hint, _WINDOW_MISTAKES)
    hint = "the defaults are a short side and a window of 512 and a stride of 341"
    judge(count_windows, _windows, {"683 x 512 pixels and nothing else": (683, 512)}, hint)


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
        "two rectangles": (_rectangle(2, 11, 2, 13), _rectangle(3, 12, 3, 14)),
        "a mask at the edge of the image": (_rectangle(0, 10, 0, 12), _rectangle(0, 11, 2, 12)),
        "a mask with a hole": (ring, _rectangle(1, 12, 3, 15)),
        "a thin mask and a broad one": (_rectangle(5, 7, 1, 15), _rectangle(4, 12, 1, 15)),
        "a mask and an empty one": (_rectangle(2, 8, 2, 8), empty),
    }
    cases = {
        f"{name} at distance {distance}": (*pair, distance)
        for name, pair in masks.items()
        for distance in (1, 2)
    }
    hint = "erode each mask, take away what is left of it, and compute the IoU of the two rims"
    judge(boundary_iou, _iou_of(_rim), cases, hint, _RIM_MISTAKES)
    hint = "0 / 0 is no score: return NaN"
    judge(boundary_iou, _iou_of(_rim), {"two empty masks": (empty, empty, 1)}, hint)


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
    cases = {"5 images, 4 classes and 4 resampled test sets": (areas, draws)}
    hint = (
        "add up the areas of each test set's images, as often as they were drawn; then "
        "I / (P + L - I) for each class, then the mean over the classes that occur"
    )
    judge(bootstrap_mean_iou, _resampled, cases, hint, _BOOTSTRAP_MISTAKES)
