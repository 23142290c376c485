"""Checks of notebook 08, scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from notebooks.exercises.core import answers, call, expect


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


@answers(
    "the rim of a large mask is a small part of it, and so a shifted outline costs much more of "
    "the boundary IoU than of the IoU."
)
def check_boundary_iou(boundary_iou: Any) -> None:
    """Compute the IoU of the rims of two masks."""
    empty, ring = np.zeros((14, 16), dtype=bool), np.zeros((14, 16), dtype=bool)
    ring[1:13, 4:15] = True
    ring[6:8, 9:11] = False
    cases = {
        "two rectangles": (_rectangle(2, 11, 2, 13), _rectangle(3, 12, 3, 14)),
        "a mask at the edge of the image": (_rectangle(0, 10, 0, 12), _rectangle(0, 11, 2, 12)),
        "a mask with a hole": (ring, _rectangle(1, 12, 3, 15)),
        "a thin mask and a broad one": (_rectangle(5, 7, 1, 15), _rectangle(4, 12, 1, 15)),
        "a mask and an empty one": (_rectangle(2, 8, 2, 8), empty),
    }
    for name, masks in cases.items():
        for distance in (1, 2):
            given = f"{name} at distance {distance}"
            expect(
                call(boundary_iou, *masks, distance, given=given),
                _rim_iou(*masks, distance),
                given,
                hint="erode each mask, take away what is left of it, and compute the IoU of the "
                "two rims",
                mistakes=_rim_mistakes(*masks, distance),
                tolerance=1e-6,
            )
    given, hint = "two empty masks", "0 / 0 is no score: return NaN"
    expect(call(boundary_iou, empty, empty, 1, given=given, hint=hint), np.nan, given, hint)


def _rectangle(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((14, 16), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def _eroded(mask: np.ndarray, distance: int, full: bool = True, beyond: int = 0) -> np.ndarray:
    from scipy.ndimage import binary_erosion, generate_binary_structure

    structure = generate_binary_structure(2, 2 if full else 1)
    return binary_erosion(mask, structure, iterations=distance, border_value=beyond)


def _iou(prediction: np.ndarray, reference: np.ndarray) -> float:
    union = (prediction | reference).sum()
    return float((prediction & reference).sum() / union) if union else math.nan


def _rim_iou(prediction: np.ndarray, reference: np.ndarray, distance: int, **how: Any) -> float:
    return _iou(*(mask & ~_eroded(mask, distance, **how) for mask in (prediction, reference)))


def _rim_mistakes(prediction: np.ndarray, reference: np.ndarray, distance: int) -> dict[str, Any]:
    outer = [~mask & ~_eroded(~mask, distance, beyond=1) for mask in (prediction, reference)]
    inner = [mask & ~_eroded(mask, distance) for mask in (prediction, reference)]
    band = [one | other for one, other in zip(outer, inner, strict=True)]
    eroded = [_eroded(mask, distance) for mask in (prediction, reference)]
    return {
        "that is the IoU of the whole masks; take their rims first": _iou(prediction, reference),
        "that is the IoU of what erosion leaves; the rim is what it takes away": _iou(*eroded),
        "erode in all eight directions: the structure is 3 x 3 ones, not the default cross": (
            _rim_iou(prediction, reference, distance, full=False)
        ),
        "a mask that is cut off by the edge of the image ends there: border_value=0": (
            _rim_iou(prediction, reference, distance, beyond=1)
        ),
        "erode `distance` times, not once": _rim_iou(prediction, reference, 1),
        "the rim lies inside of the mask; that one lies outside": _iou(*outer),
        "the rim lies inside of the mask; that one lies on both sides of the outline": _iou(*band),
        "that is the IoU of the outlines' common pixels over all of both masks": float(
            (inner[0] & inner[1]).sum() / max(1, (prediction | reference).sum())
        ),
    }


@answers(
    "areas add up, scores do not. With a thousand draws, the 2.5th and the 97.5th percentile of "
    "what you return, reflected at the score, are a 95 % confidence interval."
)
def check_bootstrap_mean_iou(bootstrap_mean_iou: Any) -> None:
    """Compute the mean IoU of each resampled test set from the areas of single images."""
    random = np.random.default_rng(8)
    areas = random.integers(5, 90, size=(5, 3, 4))
    areas[:, 1:] += areas[:, :1]  # both areas hold the intersection
    areas[:3, :, 2] = 0  # a class of two images only
    areas[:, :, 3] = 0  # and one of none
    draws = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 0, 2], [3, 1, 1, 0, 0], [0, 0, 0, 0, 5]])
    given = "5 images, 4 classes and 4 resampled test sets"
    expect(
        call(bootstrap_mean_iou, areas, draws, given=given),
        _bootstrapped(areas, draws),
        given,
        hint="add up the areas of each test set's images, as often as they were drawn; then "
        "I / (P + L - I) for each class, then the mean over the classes that occur",
        mistakes=_bootstrap_mistakes(areas, draws),
        tolerance=1e-6,
    )


def _ious(sums: np.ndarray) -> np.ndarray:
    """(..., 3, labels) areas to (..., labels)."""
    intersection, predicted, labelled = np.moveaxis(sums, -2, 0).astype(float)
    with np.errstate(all="ignore"):
        return intersection / (predicted + labelled - intersection)


def _bootstrapped(areas: np.ndarray, draws: np.ndarray) -> np.ndarray:
    return np.nanmean(_ious(np.tensordot(draws, areas, axes=1)), axis=-1)


def _bootstrap_mistakes(areas: np.ndarray, draws: np.ndarray) -> dict[str, Any]:
    sums = np.tensordot(draws, areas, axes=1).astype(float)
    intersection, predicted, labelled = np.moveaxis(sums, -2, 0)
    single = np.nanmean(_ious(areas), axis=-1)
    with np.errstate(all="ignore"):
        accuracy = np.nanmean(
            np.where(labelled > 0, intersection / labelled, np.nan)[:, :3], axis=-1
        )
        dice = np.nanmean((2 * intersection / (predicted + labelled))[:, :3], axis=-1)
        halved = np.nanmean((intersection / (predicted + labelled))[:, :3], axis=-1)
    return {
        "those are averages of the images' own scores: add up the areas first, then divide": (
            draws @ single / draws.sum(axis=1)
        ),
        "an image that was drawn twice counts twice": _bootstrapped(areas, draws > 0),
        "draws says how often each image occurs; its numbers are not positions": np.nanmean(
            _ious(areas[draws.clip(0, 4)].sum(axis=1)), axis=-1
        ),
        "a class that is nowhere in a test set is left out of its mean, not counted as 0": (
            np.nan_to_num(_ious(sums)).mean(axis=-1)
        ),
        "the classes were added up before dividing; the mean runs over the classes' IoUs": (
            intersection.sum(axis=-1) / (predicted + labelled - intersection).sum(axis=-1)
        ),
        "every test set has the score of all images: weigh the images by draws": np.full(
            len(draws), np.nanmean(_ious(areas.sum(axis=0)))
        ),
        "that is the mean accuracy, I / L; an IoU divides by P + L - I": accuracy,
        "that is dice, 2 I / (P + L); an IoU divides by P + L - I": dice,
        "P + L counts the intersection twice: divide by P + L - I": halved,
    }
