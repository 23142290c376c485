"""Checks of notebook 06, inference and overlays."""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers.labels import IGNORE_INDEX
from notebooks.exercises.core import NotYet, answers, as_array, call, describe, expect


@answers(
    "height first, as arrays have it; `image.size[::-1]` turns PIL's order round. With the two "
    "exchanged nothing fails, and a wide image comes out tall."
)
def check_target_size(size: Any) -> None:
    """Name the target size for an image whose PIL size is (640, 480)."""
    found = as_array(size)
    if found is not None and found.shape == (1, 2):  # a list with one size, as the method takes it
        found = found[0]
    if found is None or found.shape != (2,):
        raise NotYet(f"the answer is {describe(size)}, expected two numbers, as in (512, 512)")
    hints = {
        (640, 480): "PIL says width first; arrays and `target_sizes` say height first",
        (512, 512): "that is what the model sees, not the image's own size",
        (128, 128): "that is the grid of the logits for an input of 512 x 512",
        (120, 160): "the map should have the image's own size, not a quarter of it",
    }
    pair = tuple(found.tolist())
    if pair != (480, 640):
        text = f"({describe(found[0])}, {describe(found[1])})"
        raise NotYet(f"{text}: {hints.get(pair, 'the rows come first, and nothing is rescaled')}")


@answers(
    "both answers have grown to one size, and their average is still a probability: it sums to 1. "
    "A second look, as all test-time augmentation, costs the time of a second pass."
)
def check_average_of_sizes(average_of_sizes: Any) -> None:
    """Write the average of an image's probabilities from logits on two grids, at one size."""
    import torch

    dice = np.random.default_rng(0)
    for batch, size in ((1, (6, 10)), (2, (9, 12))):
        small, large = (
            torch.from_numpy(2 * dice.standard_normal((batch, 4, *grid))).float()
            for grid in ((2, 3), (3, 5))
        )
        given = f"logits of shapes {(*small.shape,)} and {(*large.shape,)} and size {size}"
        expect(
            call(average_of_sizes, small, large, size, given=given),
            _average(small, large, size),
            given,
            hint="upsample both to `size`, softmax each over the classes (dim=1), add the two and "
            "divide by two",
            mistakes=_average_mistakes(small, large, size),
            tolerance=1e-5,
        )


def _average(small: Any, large: Any, size: tuple[int, int], order: str = "right") -> np.ndarray:
    """The average of two answers, or what a likely slip makes of it."""
    from torch.nn.functional import interpolate

    how = {"mode": "bilinear", "align_corners": order == "corners"}
    if order == "nearest":
        how = {"mode": "nearest"}
    if order == "softmax first":
        first, second = (interpolate(one.softmax(1), size=size, **how) for one in (small, large))
        return ((first + second) / 2).numpy()
    first, second = (interpolate(one, size=size, **how) for one in (small, large))
    if order in ("logits", "softmax last"):
        average = (first + second) / 2
        return (average if order == "logits" else average.softmax(dim=1)).numpy()
    axis = -1 if order == "columns" else 1
    first, second = first.softmax(dim=axis), second.softmax(dim=axis)
    total = {"small": 2 * first, "large": 2 * second, "sum": 2 * (first + second)}
    return (total.get(order, first + second) / 2).numpy()


def _average_mistakes(small: Any, large: Any, size: tuple[int, int]) -> dict[str, np.ndarray]:
    mistakes = {
        "logits": "that is the average of logits, which chooses about as well, but its values "
        "are no probabilities: softmax each answer first",
        "softmax last": "the logits were averaged before softmax. It scores about as well, but "
        "asked for is the average of probabilities: softmax each answer first",
        "softmax first": "probabilities were upsampled instead of logits",
        "corners": "leave `align_corners` at False: with True, the outermost positions of the "
        "grid are put on the image's edge",
        "nearest": 'that is nearest-neighbour upsampling, the default: say mode="bilinear"',
        "columns": "softmax belongs over the classes, dim=1",
        "small": "only the first answer was used",
        "large": "only the second answer was used",
        "sum": "that is the sum; divide by two, so that the probabilities add up to 1",
    }
    return {text: _average(small, large, size, order) for order, text in mistakes.items()}


@answers(
    "the map now says where it does not know. A robot that must not hit anyone wants a high "
    "threshold and a driver who takes over; a statistics bureau may live with a low one."
)
def check_doubtful_pixels(doubtful_pixels: Any) -> None:
    """Write a segmentation that leaves pixels below a threshold of probability to 255."""
    import torch

    dice = np.random.default_rng(1)
    logits = torch.from_numpy(2 * dice.standard_normal((1, 4, 3, 5))).float()
    for size, threshold in (((9, 20), 0.0), ((9, 20), 0.6), ((6, 10), 0.9), ((3, 5), 0.99)):
        given = f"logits of shape (1, 4, 3, 5), size {size} and threshold {threshold}"
        expect(
            _flat_batch(call(doubtful_pixels, logits, size, threshold, given=given)),
            _labels(logits, size, threshold).astype(np.int64),
            given,
            hint="upsample the logits, softmax over the classes (dim=1), argmax, and 255 where the "
            "largest probability is below the threshold",
            mistakes=_doubtful_mistakes(logits, size, threshold),
        )


def _labels(logits: Any, size: tuple[int, int], threshold: float, order: str = "right") -> Any:
    """The label map, or what a likely slip makes of it."""
    from torch.nn.functional import interpolate

    if order == "argmax first":
        labels = interpolate(logits.argmax(dim=1, keepdim=True).float(), size=size)[:, 0]
        best = interpolate(logits, size=size, mode="bilinear").softmax(dim=1).amax(dim=1)
    elif order == "softmax first":
        best, labels = interpolate(logits.softmax(dim=1), size=size, mode="bilinear").max(dim=1)
    else:
        upsampled = interpolate(logits, size=size, mode="bilinear", align_corners=False)
        labels = upsampled.argmax(dim=1)
        best = {
            "right": upsampled.softmax(dim=1).amax(dim=1),
            "logits": upsampled.amax(dim=1),
            "columns": upsampled.softmax(dim=-1).amax(dim=1),
        }[order]
    return np.where(best < threshold, IGNORE_INDEX, labels)[0]


def _doubtful_mistakes(logits: Any, size: tuple[int, int], threshold: float) -> dict[str, Any]:
    labels, right = _labels(logits, size, 0.0), _labels(logits, size, threshold)
    doubtful = right == IGNORE_INDEX
    return {
        "nothing is left out: compare the largest probability with the threshold": labels,
        "the threshold was compared with logits, which are no probabilities: softmax first": (
            _labels(logits, size, threshold, "logits")
        ),
        "softmax belongs over the classes, dim=1": _labels(logits, size, threshold, "columns"),
        "classes were chosen on the coarse grid: upsample first": (
            _labels(logits, size, threshold, "argmax first")
        ),
        "probabilities were upsampled instead of logits": (
            _labels(logits, size, threshold, "softmax first")
        ),
        "the sure pixels were left out and the doubtful ones kept": (
            np.where(doubtful, labels, IGNORE_INDEX)
        ),
        "doubtful pixels became 0, which is wall: use 255": np.where(doubtful, 0, labels),
    }


def _flat_batch(answer: Any) -> Any:
    """Accept any integer dtype and a batch of one: what matters here are the labels."""
    found = as_array(answer)
    if found is None:
        return answer
    if found.ndim == 3 and len(found) == 1:
        found = found[0]
    return found.astype(np.int64) if found.dtype.kind in "iu" else found
