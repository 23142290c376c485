"""Checks of notebook 06, inference and overlays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from helpers.labels import IGNORE_INDEX
from helpers.language import say
from notebooks.exercises.core import NotYet, answers, as_array, describe, judge

_SIZE_MISTAKES = {
    "PIL says width first; arrays and `target_sizes` say height first": (640, 480),
    "that is what the model sees, not the image's own size": (512, 512),
    "that is the grid of the logits for an input of 512 x 512": (128, 128),
    "the map should have the image's own size, not a quarter of it": (120, 160),
}


@answers(
    "height first, as arrays have it; `image.size[::-1]` turns PIL's order round. With the two "
    "exchanged nothing fails, and a wide image comes out tall.",
    _SIZE_MISTAKES,
)
def check_target_size(size: Any) -> None:
    """Name the target size for an image whose PIL size is (640, 480)."""
    found = as_array(size)
    if found is not None and found.shape == (1, 2):  # a list with one size, as the method takes it
        found = found[0]
    if found is None or found.shape != (2,):
        raise NotYet(
            "the answer is {found}, expected two numbers, as in (512, 512)", describe(size)
        )
    pair = tuple(found.tolist())
    if pair != (480, 640):
        hints = {wrong: hint for hint, wrong in _SIZE_MISTAKES.items()}
        hint = say(hints.get(pair, "the rows come first, and nothing is rescaled"))
        raise NotYet("{pair}: {hint}", f"({', '.join(map(describe, found))})", hint)


def _large(logits: torch.Tensor, size: tuple[int, int], corners: bool = False) -> torch.Tensor:
    return interpolate(logits, size, mode="bilinear", align_corners=corners)


def _averaged(
    answer: Callable[[torch.Tensor, tuple[int, int]], torch.Tensor],
) -> Callable[..., Any]:
    return lambda small, large, size: (answer(small, size) + answer(large, size)) / 2


_average = _averaged(lambda logits, size: _large(logits, size).softmax(1))

_AVERAGE_MISTAKES = {
    "that is the average of logits, which chooses about as well, but its values are no "
    "probabilities: softmax each answer first": _averaged(_large),
    "the logits were averaged before softmax. It scores about as well, but asked for is the "
    "average of probabilities: softmax each answer first": (
        lambda a, b, size: _averaged(_large)(a, b, size).softmax(1)
    ),
    "upsample the logits, not probabilities": _averaged(lambda x, size: _large(x.softmax(1), size)),
    "leave `align_corners` at False: with True, the outermost positions of the grid are put on the "
    "image's edge": _averaged(lambda x, size: _large(x, size, corners=True).softmax(1)),
    'that is nearest-neighbour upsampling, the default: say mode="bilinear"': (
        _averaged(lambda x, size: interpolate(x, size).softmax(1))
    ),
    "softmax over the classes, dim=1": _averaged(lambda x, size: _large(x, size).softmax(-1)),
    "only the first answer was used": lambda a, b, size: _average(a, a, size),
    "only the second answer was used": lambda a, b, size: _average(b, b, size),
    "that is the sum: probabilities add up to 1": lambda a, b, size: 2 * _average(a, b, size),
}


@answers(
    "both answers have grown to one size, and their average is still a probability: it sums to 1. "
    "A second look, as all test-time augmentation, costs the time of a second pass.",
    _AVERAGE_MISTAKES,
)
def check_average_of_sizes(average_of_sizes: Any) -> None:
    """Write the average of an image's probabilities from logits on two grids, at one size."""
    dice, cases = np.random.default_rng(0), {}
    for batch, size in ((1, (6, 10)), (2, (9, 12))):
        small, large = (
            torch.from_numpy(2 * dice.standard_normal((batch, 4, *grid))).float()
            for grid in ((2, 3), (3, 5))
        )
        given = say(
            "logits of shapes {small} and {large} and size {size}",
            tuple(small.shape),
            tuple(large.shape),
            size,
        )
        cases[given] = (small, large, size)
    hint = say(
        "upsample both to `size`, softmax each over the classes (dim=1), add the two and divide by "
        "two"
    )
    judge(average_of_sizes, _average, cases, hint, _AVERAGE_MISTAKES)


def _kept(
    best: torch.Tensor, labels: torch.Tensor, threshold: float, below: Any = torch.lt
) -> np.ndarray:
    """The label map as floats, so that any dtype of the learner's is right."""
    return np.where(below(best, threshold), IGNORE_INDEX, labels)[0].astype(float)


def _doubtful(logits: torch.Tensor, size: tuple[int, int], threshold: float) -> np.ndarray:
    return _kept(*_large(logits, size).softmax(1).max(1), threshold)


_DOUBT_MISTAKES = {  # logits, size, threshold
    "nothing is left out where it is below the threshold": lambda x, size, t: _doubtful(x, size, 0),
    "the threshold was compared with logits, which are no probabilities: softmax first": (
        lambda x, size, t: _kept(*_large(x, size).max(1), t)
    ),
    "softmax over the classes, dim=1": lambda x, size, t: _kept(
        _large(x, size).softmax(-1).amax(1), _large(x, size).argmax(1), t
    ),
    "classes were chosen on the coarse grid: upsample first": lambda x, size, t: _kept(
        _large(x, size).softmax(1).amax(1), interpolate(x.argmax(1)[None] / 1, size=size)[0], t
    ),
    "upsample the logits, not probabilities": (
        lambda x, size, t: _kept(*_large(x.softmax(1), size).max(1), t)
    ),
    "the sure pixels were left out and the doubtful ones kept": lambda x, size, t: np.where(
        _doubtful(x, size, t) == IGNORE_INDEX, _doubtful(x, size, 0), IGNORE_INDEX
    ),
    "doubtful pixels became 0, wall: use 255": lambda x, size, t: _doubtful(x, size, t) % 255,
    "the batch is still there: `[0]` takes its one image, which leaves (height, width)": (
        lambda x, size, t: _doubtful(x, size, t)[None]
    ),
    "a probability that equals the threshold is not below it: use <, not <=": (
        lambda x, size, t: _kept(*_large(x, size).softmax(1).max(1), t, torch.le)
    ),
}


@answers(
    "the map now says where it does not know. A robot that must not hit anyone wants a high "
    "threshold and a driver who takes over; a statistics bureau may live with a low one.",
    _DOUBT_MISTAKES,
)
def check_doubtful_pixels(doubtful_pixels: Any) -> None:
    """Write a segmentation that leaves pixels below a threshold of probability to 255."""
    logits = torch.from_numpy(2 * np.random.default_rng(1).standard_normal((1, 4, 3, 5))).float()
    cases = {}
    for size, threshold in (((9, 20), 0.0), ((9, 20), 0.6), ((6, 10), 0.9), ((3, 5), 0.99)):
        given = say(
            "logits of shape (1, 4, 3, 5), size {size} and threshold {threshold}", size, threshold
        )
        cases[given] = (logits, size, threshold)
    sure = torch.zeros_like(logits)
    sure[:, 2] = 60  # its probability is exactly 1 in float32
    given = say("logits of 60 for class 2 and 0 for the others, size (6, 10) and threshold 1.0")
    cases[given] = (sure, (6, 10), 1.0)
    hint = say(
        "upsample the logits, softmax over the classes (dim=1), argmax, and 255 where the largest "
        "probability is below the threshold"
    )
    judge(doubtful_pixels, _doubtful, cases, hint, _DOUBT_MISTAKES)
