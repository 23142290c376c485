"""Checks of notebook 03, preprocessing and augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from helpers.language import say
from notebooks.exercises.core import (
    NotYet,
    answers,
    as_array,
    call,
    compare,
    describe,
    expect,
    judge,
    seeded,
    wrong_for,
)

# Mean and deviation.
_IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).reshape(2, 3, 1, 1)
_OTHER = torch.tensor([[0.5, 0.5, 0.5], [0.25, 0.5, 0.125]]).reshape(2, 3, 1, 1)


def _exact(pixel_values: Any, mean: Any, deviation: Any) -> Any:
    """Back to 0-255 with channels last, not rounded."""
    return 255 * (pixel_values * deviation + mean).permute(1, 2, 0)


def _whole(exact: Any) -> Any:
    return exact.round().clamp(0, 255).byte()


_IMAGE_MISTAKES = {  # tensor, mean, deviation
    "undo in the opposite order: first multiply by the deviation, then add the mean": (
        lambda x, m, d: _whole(255 * ((x + m) * d).permute(1, 2, 0))
    ),
    "that normalises once more; the way back multiplies by the deviation and adds the mean": (
        lambda x, m, d: _whole(255 * ((x - m) / d).permute(1, 2, 0))
    ),
    "the values still run from 0 to 1: multiply by 255": lambda *x: _exact(*x) / 255,
    "they were cut to whole numbers between 0 and 1: multiply by 255 first": (
        lambda *x: (_exact(*x) / 255).clamp(0, 1).byte()
    ),
    "values past 0 and 255 wrap round in uint8: limit them first, `.clamp(0, 255)`": (
        lambda *x: _exact(*x).round().long() % 256
    ),
    "digits after the point were cut off: round first": lambda *x: _exact(*x).clamp(0, 255).byte(),
    "they are not whole numbers yet: round, limit to 0-255 and convert to uint8": _exact,
    "use the mean and deviation that the function is given, not the notebook's": (
        lambda x, m, d: _whole(_exact(x, *_IMAGENET))
    ),
    "`reshape` and `view` cut the row of numbers anew, and pixels are scrambled: move the axes, "
    "`.permute(1, 2, 0)`": lambda *x: _whole(_exact(*x)).permute(2, 0, 1).reshape(4, 5, 3),
}


@answers(
    "with this you can look at what the model sees, and an image that looks wrong in a figure is "
    "no longer taken for broken data.",
    _IMAGE_MISTAKES,
)
def check_to_image(to_image: Any) -> None:
    """Write the way back from normalised tensors to an image."""
    # Values that an interpolation has carried past black and white come back as those.
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3)).astype(np.float32)
    pixels[0, 0], pixels[0, 1] = (259.4, 262.0, 256.8), (-3.2, -0.8, -6.0)
    cases = {}
    names = (
        say("a tensor of shape (3, 4, 5) normalised with ImageNet's mean and deviation"),
        say("a tensor of shape (3, 4, 5) normalised with other mean and deviation"),
    )
    for given, (mean, deviation) in zip(names, (_IMAGENET, _OTHER), strict=True):
        scaled = torch.from_numpy(pixels / 255).permute(2, 0, 1).contiguous()
        cases[given] = ((scaled - mean) / deviation, mean, deviation)
    hint = say(
        "multiply by the deviation, add the mean, times 255, round, limit to 0-255, channels last"
    )
    given, arguments = next(iter(cases.items()))
    found = as_array(call(to_image, *arguments, given=given, hint=hint))
    if found is not None and found.shape == (3, 4, 5):
        raise NotYet(
            "for {given}, the shape is (3, 4, 5), expected (4, 5, 3): an image has its channels "
            "last, `.permute(1, 2, 0)`",
            given,
        )
    judge(to_image, lambda *given: _whole(_exact(*given)), cases, hint, _IMAGE_MISTAKES)


def _pair(width: int = 6, height: int = 4) -> tuple[Image.Image, Image.Image]:
    """An image and an annotation in which no two pixels are alike."""
    values = np.arange(1, width * height + 1, dtype=np.uint8).reshape(height, width)
    return Image.fromarray(np.dstack([values * 5, values, 255 - values])), Image.fromarray(values)


def _two(answer: Any, given: str) -> tuple[np.ndarray, np.ndarray]:
    """The learner's pair as arrays; a mask may have one channel in front, as torchvision's do."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise wrong_for(
            given, "the result is {found}, expected image, annotation", describe(answer)
        )
    image, annotation = (as_array(one) for one in answer)
    if image is None or annotation is None:
        wrong = answer[0] if image is None else answer[1]
        raise wrong_for(given, "one of the two results is {found}", describe(wrong))
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
    flips, seeds = 0, 100
    for seed in range(seeds):
        given = say("call {number} of {all}", seed + 1, seeds)
        with seeded(seed):
            answer = call(random_flip, image, annotation, given=given)
        mirrored = []
        names = say("image"), say("annotation")
        pair = zip(names, _two(answer, given), (image, annotation), strict=True)
        for part, found, original in pair:
            mirrored.append(not np.array_equal(found, original))
            if mirrored[-1] and not np.array_equal(found, np.asarray(original)[:, ::-1]):
                text = (
                    "in {given} the {part}, {found}, is neither as it was nor mirrored from left "
                    "to right. Flipped upside down, perhaps? A sky below is no believable scene"
                )
                raise NotYet(text, given, part, describe(found))
        if mirrored[0] != mirrored[1]:
            moves = [say("mirrored" if one else "as it was") for one in mirrored]
            text = (
                "in {given} the image is {image} and the annotation {annotation}: throw the dice "
                "once, and move both by it (v2 does not move a plain tensor beside an image)"
            )
            raise NotYet(text, given, *moves)
        flips += mirrored[0]
    if not seeds // 4 <= flips <= 3 * seeds // 4:
        hint = say("about half of the calls should flip")
        if flips in (0, seeds):
            dice = say("where are the dice, and are they thrown again in each call?")
            hint = say("{hint}; {dice}", hint, dice)
        raise NotYet("{flips} of {all} calls flip the pair: {hint}", flips, seeds, hint)


def _square(image: Image.Image, center: bool = False, **how: Any) -> np.ndarray:
    """Padded to the right and below, or all around; `how` is for `np.pad`."""
    array = np.asarray(image)
    missing = max(array.shape[:2]) - np.array(array.shape[:2])
    before = missing // 2 if center else 0 * missing
    around = np.zeros((array.ndim, 2), dtype=int)
    around[:2] = np.stack([before, missing - before], axis=1)
    return np.pad(array, around, **how)


_PAD_MISTAKES = {
    "the new pixels lie around it: keep the upper left corner in place, so that a prediction is "
    "cut back easily": lambda i, a: (_square(i, center=True), _square(a, center=True)),
    "it was stretched, and the circle is an ellipse again; add pixels": (
        lambda i, a: [one.resize([max(i.size)] * 2, Image.NEAREST) for one in (i, a)]
    ),
    "the padding comes before the reduction, where 255 is no annotation value; which value becomes "
    "255?": lambda i, a: (_square(i), _square(a, constant_values=255)),
    "padding with 1 is padding with wall": lambda i, a: (_square(i), _square(a, constant_values=1)),
    "edge pixels were repeated: the model would be judged on classes that nobody saw there": (
        lambda i, a: (_square(i), _square(a, mode="edge"))
    ),
    "the padding should be black": lambda i, a: (_square(i, constant_values=255), _square(a)),
}


@answers(
    "shapes stay as they are, and the padding becomes 255 in the reduction, so the model is "
    "neither praised nor blamed for it.",
    _PAD_MISTAKES,
)
def check_pad_to_square(pad_to_square: Any) -> None:
    """Write a padding to a square that loss and metric ignore."""
    for width, height in ((6, 4), (3, 5), (4, 4)):
        image, annotation = _pair(width, height)
        whole = say("an image of {width} x {height} pixels", width, height)
        found = _two(call(pad_to_square, image, annotation, given=whole), whole)
        for part, name in enumerate((say("image"), say("annotation"))):
            if width != height and found[part].shape[:2] == (height, width):
                raise wrong_for(whole, "the {part} keeps its size", name)
            likely = [
                say(hint)
                for hint, mistake in _PAD_MISTAKES.items()
                if not compare(found[part], mistake(image, annotation)[part], dtypes=False)
            ]
            rule = say("new pixels, all 0, to the right or below, until both sides are equal")
            likely.append(rule)
            given = say("the {part} of a pair of {width} x {height} pixels", name, width, height)
            expect(found[part], _square((image, annotation)[part]), given, likely[0])
