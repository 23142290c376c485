"""Checks of notebook 03, preprocessing and augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from notebooks.exercises.core import NotYet, answers, as_array, call, describe, expect, seeded

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OTHER = ((0.5, 0.5, 0.5), (0.25, 0.5, 0.125))


@answers(
    "with this you can look at what the model sees, and an image that looks wrong in a figure is "
    "no longer taken for broken data."
)
def check_to_image(to_image: Any) -> None:
    """Write the way back from normalised tensors to an image."""
    import torch

    # Values that an interpolation has carried past black and white come back as those.
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.float64)
    pixels[0, 0], pixels[0, 1] = (259.4, 262.0, 256.8), (-3.2, -0.8, -6.0)
    expected = pixels.clip(0, 255).astype(np.uint8)
    for name, statistics in {"ImageNet's": _IMAGENET, "other": _OTHER}.items():
        mean, deviation = (
            torch.tensor(values, dtype=torch.float32).reshape(3, 1, 1) for values in statistics
        )
        scaled = torch.tensor(pixels / 255, dtype=torch.float32).permute(2, 0, 1)
        normalized = (scaled - mean) / deviation
        given = f"a tensor of shape (3, 4, 5) normalised with {name} mean and deviation"
        exact = ((normalized * deviation + mean) * 255).permute(1, 2, 0)
        swapped = ((normalized + mean) * deviation * 255).permute(1, 2, 0)
        with_imagenet = pixels if statistics is _IMAGENET else _restored(normalized, _IMAGENET)
        expect(
            _channels_checked(call(to_image, normalized, mean, deviation, given=given), given),
            expected,
            given,
            hint="multiply by the deviation, add the mean, times 255, round, limit to 0-255, and "
            "channels last",
            mistakes={
                "undo in the opposite order: first multiply by the deviation, then add the mean": (
                    swapped.round().clamp(0, 255).numpy()
                ),
                "the values still run from 0 to 1: multiply by 255": (exact / 255).numpy(),
                "they were cut to whole numbers between 0 and 1: multiply by 255 first": (
                    exact / 255
                )
                .clamp(0, 1)
                .to(torch.uint8)
                .numpy(),
                "values past 0 and 255 wrap round in uint8: limit them first, `.clamp(0, 255)`": (
                    exact.round().long().numpy() % 256
                ),
                "the digits after the point were cut off: round before `uint8`": (
                    exact.clamp(0, 255).to(torch.uint8).numpy()
                ),
                "they are not whole numbers yet: round, limit to 0-255 and convert to uint8": (
                    exact.numpy()
                ),
                "use the mean and deviation that the function is given, not the notebook's": (
                    np.clip(np.round(with_imagenet), 0, 255)
                ),
            },
            tolerance=1e-3,
        )


def _restored(normalized: Any, statistics: tuple) -> np.ndarray:
    mean, deviation = (np.reshape(values, (3, 1, 1)) for values in statistics)
    return ((normalized.numpy() * deviation + mean) * 255).transpose(1, 2, 0)


def _channels_checked(answer: Any, given: str) -> Any:
    found = as_array(answer)
    if found is not None and found.shape == (3, 4, 5):
        raise NotYet(
            f"for {given}, the shape is (3, 4, 5), expected (4, 5, 3): an image has its channels "
            "last, `.permute(1, 2, 0)`"
        )
    return answer


def _pair(width: int = 6, height: int = 4) -> tuple[Image.Image, Image.Image]:
    """An image and an annotation in which no two pixels are alike."""
    values = np.arange(1, width * height + 1, dtype=np.uint8).reshape(height, width)
    return Image.fromarray(np.dstack([values * 5, values, 255 - values])), Image.fromarray(values)


def _two(answer: Any, given: str) -> tuple[np.ndarray, np.ndarray]:
    """The learner's pair as arrays; a mask may have one channel in front, as torchvision's do."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise NotYet(f"for {given} the result is {describe(answer)}, expected image, annotation")
    image, annotation = (as_array(one) for one in answer)
    if image is None or annotation is None:
        wrong = answer[0] if image is None else answer[1]
        raise NotYet(f"for {given} one of the two results is {describe(wrong)}")
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        image = image.transpose(1, 2, 0)
    if annotation.ndim == 3 and annotation.shape[0] == 1:
        annotation = annotation[0]
    return image, annotation


@answers(
    "one throw of the dice moves both, so each pixel keeps its label. Two throws would agree half "
    "of the time: a bug that comes and goes."
)
def check_random_flip(random_flip: Any) -> None:
    """Write an augmentation that mirrors image and annotation together, half of the time."""
    image, annotation = _pair()
    pixels, labels = np.asarray(image), np.asarray(annotation)
    flips, seeds = 0, 100
    for seed in range(seeds):
        given = f"call {seed + 1} of {seeds}"
        with seeded(seed):
            answer = call(random_flip, image, annotation, given=given)
        moved, mask = _two(answer, given)
        moves = [_movement(moved, pixels), _movement(mask, labels)]
        if "neither" in moves:
            part, found = ("image", moved) if moves[0] == "neither" else ("annotation", mask)
            was = pixels if part == "image" else labels
            shapes = "" if found.shape == was.shape else f" ({describe(found)}, not {was.shape})"
            raise NotYet(
                f"in {given} the {part} is neither as it was nor mirrored from left to "
                f"right{shapes}. Flipped upside down, perhaps? A sky below is no believable scene"
            )
        if moves[0] != moves[1]:
            raise NotYet(
                f"in {given} the image is {moves[0]} and the annotation {moves[1]}: throw the "
                "dice once, and move both by it (v2 does not move a plain tensor beside an image)"
            )
        flips += moves[0] == "mirrored"
    if not seeds // 4 <= flips <= 3 * seeds // 4:
        hint = "about half of the calls should flip"
        if flips in (0, seeds):
            hint += "; where are the dice, and are they thrown again in each call?"
        raise NotYet(f"{flips} of {seeds} calls flip the pair: {hint}")


def _movement(found: np.ndarray, original: np.ndarray) -> str:
    if found.shape == original.shape:
        if (found == original).all():
            return "as it was"
        if (found == original[:, ::-1]).all():
            return "mirrored"
    return "neither"


@answers(
    "shapes stay as they are, and the padding becomes 255 in the reduction, so the model is "
    "neither praised nor blamed for it."
)
def check_pad_to_square(pad_to_square: Any) -> None:
    """Write a padding to a square that loss and metric ignore."""
    for width, height in ((6, 4), (3, 5), (4, 4)):
        image, annotation = _pair(width, height)
        given = f"an image of {width} x {height} pixels"
        padded, mask = _two(call(pad_to_square, image, annotation, given=given), given)
        side, pixels, labels = max(width, height), np.asarray(image), np.asarray(annotation)
        right = ((0, side - height), (0, side - width))
        centerd = tuple(((total // 2), total - total // 2) for _, total in right)
        for name, found, was in (("image", padded, pixels), ("annotation", mask, labels)):
            if width != height and found.shape[:2] == (height, width):
                raise NotYet(f"for {given} the {name} keeps its size")
            extra = ((0, 0),) * (was.ndim - 2)
            stretched = np.asarray(Image.fromarray(was).resize((side, side), Image.NEAREST))
            mistakes = {
                "the new pixels lie around it: keep the upper left corner in place, so that a "
                "prediction is cut back easily": np.pad(was, (*centerd, *extra)),
                "it was stretched, and the circle is an ellipse again; add pixels": stretched,
            }
            if name == "annotation":
                mistakes |= {
                    "the padding comes before the reduction, where 255 is no annotation value; "
                    "which value becomes 255?": np.pad(was, right, constant_values=255),
                    "padding with 1 says that there is wall": np.pad(was, right, constant_values=1),
                    "edge pixels were repeated: the model would be judged on classes that nobody "
                    "saw there": np.pad(was, right, mode="edge"),
                }
            else:
                mistakes["the padding should be black"] = np.pad(
                    was, (*right, *extra), constant_values=255
                )
            expect(
                found,
                np.pad(was, (*right, *extra)),
                f"the {name} of a pair of {width} x {height} pixels",
                hint="new pixels, all 0, to the right or below, until both sides are equal",
                mistakes=mistakes,
            )
