"""Checks of notebook 06, inference and overlays."""

from __future__ import annotations

from typing import Any

import numpy as np

from helpers.ade20k import IGNORE_INDEX
from helpers.exercises.core import NotYet, answers, as_array, call, describe, expect


@answers(
    "height first, as arrays have it; `image.size[::-1]` turns PIL's order round. With the two "
    "exchanged no line fails, and a landscape comes out as a portrait."
)
def check_target_size(size: Any) -> None:
    """Name the target size for an image whose PIL size is (640, 480)."""
    found = as_array(size)
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
    "the model sees each scene twice and its chance errors partly cancel out. Test-time "
    "augmentation, as this is called, costs twice the time and often gives a point of mean IoU."
)
def check_mirror_average(mirror_average: Any) -> None:
    """Write the average of an image's logits and those of its mirror image, flipped back."""
    import torch

    dice = np.random.default_rng(0)
    for shape in ((1, 3, 2, 4), (2, 5, 3, 3)):
        straight, mirrored = torch.from_numpy(dice.standard_normal((2, *shape))).float()
        given = f"logits of shape {shape}"
        both = straight + mirrored.flip(-1)
        expect(
            call(mirror_average, straight, mirrored, given=given),
            (both / 2).numpy(),
            given,
            hint="flip the second along its columns, the last axis, add the first, divide by two",
            mistakes={
                "the mirrored logits were not flipped back, so left and right are averaged": (
                    (straight + mirrored) / 2
                ).numpy(),
                "they were flipped upside down: columns are the last axis": (
                    (straight + mirrored.flip(-2)) / 2
                ).numpy(),
                "the classes were flipped: axis 1 holds the classes": (
                    (straight + mirrored.flip(1)) / 2
                ).numpy(),
                "the wrong one was flipped: the result should lie as the image does": (
                    (straight.flip(-1) + mirrored) / 2
                ).numpy(),
                "that is the sum; the argmax is the same, but probabilities are not": both.numpy(),
            },
            tolerance=1e-5,
        )


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
