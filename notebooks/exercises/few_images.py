"""Checks of notebook 10, few images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from helpers.language import say
from notebooks.exercises.core import NotYet, answers, as_array, call, describe, judge, wrong_for


def _grown(size_of: int, **how: Any) -> Callable[[Sequence[torch.Tensor]], torch.Tensor]:
    """Join maps at the size of one of them."""

    def join(maps: Sequence[torch.Tensor]) -> torch.Tensor:
        size = maps[size_of].shape[-2:]
        return torch.cat([interpolate(one, size=size, **how) for one in maps], dim=1)

    return join


_SMOOTH = {"mode": "bilinear", "align_corners": False}
_joined = _grown(0, **_SMOOTH)

_JOIN_MISTAKES = {
    "that is the size of the coarsest map, where a twig is lost: take the first one's": (
        _grown(-1, **_SMOOTH)
    ),
    'that is nearest-neighbour upsampling, the default: say mode="bilinear"': _grown(0),
    "leave `align_corners` at False: with True, the outermost positions of a grid are put on the "
    "image's edge": _grown(0, mode="bilinear", align_corners=True),
    "the channels are in reverse order: keep the order of the maps": (
        lambda maps: torch.cat(_joined(maps).split([m.shape[1] for m in maps], 1)[::-1], 1)
    ),
    "only the first map is there: join all of them along the channels, dim=1": (
        lambda maps: maps[0]
    ),
}


@answers(
    "each position now has the numbers of all strides: fine ones that say where an edge is, and "
    "coarse ones that say what is around it.",
    _JOIN_MISTAKES,
)
def check_join_features(join_features: Any) -> None:
    """Join feature maps of several strides at the size of the finest."""
    dice, cases = np.random.default_rng(10), {}
    for batch, sizes in ((1, ((6, 8), (3, 4))), (2, ((8, 12), (4, 6), (2, 3)))):
        shapes = [(batch, 2 + k, *size) for k, size in enumerate(sizes)]
        maps = [torch.from_numpy(dice.standard_normal(shape)).float() for shape in shapes]
        cases[say("maps of shapes {shapes}", shapes)] = (maps,)
    hint = say("upsample each map to the rows and columns of the first, then torch.cat(..., dim=1)")
    judge(join_features, _joined, cases, hint, _JOIN_MISTAKES)


def _place_out(places: Sequence[str]) -> list[tuple[list[int], list[int]]]:
    everywhere = range(len(places))
    return [
        ([k for k in everywhere if places[k] != out], [k for k in everywhere if places[k] == out])
        for out in dict.fromkeys(places)
    ]


def _image_out(places: Sequence[str]) -> list[tuple[list[int], list[int]]]:
    return _place_out([str(k) for k in range(len(places))])


_PLACE_MISTAKES = {
    "each image has a turn of its own, so other images of its place stay in training": _image_out,
    "training and test images are exchanged": (
        lambda places: [(test, train) for train, test in _place_out(places)]
    ),
    "the test images are among the training images, too": (
        lambda places: [([*range(len(places))], test) for _, test in _place_out(places)]
    ),
    "the first place is never left out": lambda places: _place_out(places)[1:],
    "there is a turn for each image, not for each place": (
        lambda places: [
            turn for place in places for turn in _place_out(places) if places[turn[1][0]] == place
        ]
    ),
    "the places come in the order in which they first occur": (
        lambda places: sorted(_place_out(places), key=lambda turn: places[turn[1][0]])
    ),
}


@answers(
    "no image is judged by a model that has seen its place, and every image is judged once. Report "
    "the spread over places beside the mean.",
    _PLACE_MISTAKES,
)
def check_leave_one_place_out(leave_one_place_out: Any) -> None:
    """List training and test indices, with another place left out each time."""
    hint = say(
        "a pair of lists for each place, in the order in which the places first occur: the images "
        "of all other places, and those of this one"
    )
    for places in (["park", "campus", "park", "harbour", "campus"], ["b", "a", "b"]):
        given = say("the places {places}", places)
        answer = call(leave_one_place_out, places, given=given, hint=hint)
        found, expected = _turns(answer, given, hint), _place_out(places)
        if found != expected:
            for likely, mistake in _PLACE_MISTAKES.items():
                if found == mistake(places):
                    raise NotYet("for {given}: {hint}", given, say(likely))
            raise wrong_for(
                given, "the result is {found}, expected {expected}: {hint}", found, expected, hint
            )


def _turns(answer: Any, given: str, hint: str) -> list[tuple[list[int], list[int]]]:
    """A learner's pairs of indices as lists, whatever kind of sequence they are."""
    try:
        return [tuple([int(k) for k in part] for part in turn) for turn in answer]
    except (TypeError, ValueError):
        raise wrong_for(
            given, "the result is {found}, expected {hint}", describe(answer), hint
        ) from None


def _folded(
    weight: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, std: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    scaled = weight / std
    return scaled[..., None, None], bias - scaled @ mean


_FOLD_MISTAKES = {
    "that is the layer as it was: neither the mean nor the standard deviation is in it": (
        lambda w, b, m, s: (w[..., None, None], b)
    ),
    "the mean is missing: (x - mean) / std also moves the bias": (
        lambda w, b, m, s: ((w / s)[..., None, None], b)
    ),
    "the standard deviation is missing: divide each column of the weight by it": (
        lambda w, b, m, s: (w[..., None, None], b - w @ m)
    ),
    "the weight that meets the mean has to be divided by the standard deviation, too": (
        lambda w, b, m, s: ((w / s)[..., None, None], b - w @ m)
    ),
    "the sign of the mean is wrong: it is taken away from each feature": (
        lambda w, b, m, s: ((w / s)[..., None, None], b + (w / s) @ m)
    ),
    "the weight of a convolution has two more axes, for its one row and one column": (
        lambda w, b, m, s: (w / s, b - (w / s) @ m)
    ),
    "that multiplies by the standard deviation: features are divided by it": (
        lambda w, b, m, s: ((w * s)[..., None, None], b - (w * s) @ m)
    ),
}


@answers(
    "one convolution now does what standardising and the linear layer did, at every position, and "
    "can be saved and exported with the encoder.",
    _FOLD_MISTAKES,
)
def check_as_convolution(as_convolution: Any) -> None:
    """Fold standardisation and a linear layer into the weight and bias of a 1 x 1 convolution."""
    dice = torch.Generator().manual_seed(10)
    hint = say(
        "weight @ ((x - mean) / std) + bias is (weight / std) @ x + what does not depend on x, and "
        "the weight has the shape (labels, features, 1, 1)"
    )
    for labels, features in ((2, 3), (4, 5)):
        weight, bias = (
            torch.randn(labels, features, generator=dice),
            torch.randn(labels, generator=dice),
        )
        mean, std = (
            torch.randn(features, generator=dice),
            0.5 + torch.rand(features, generator=dice),
        )
        given = say("{labels} labels and {features} features", labels, features)
        answer = call(as_convolution, weight, bias, mean, std, given=given, hint=hint)
        if not isinstance(answer, (tuple, list)) or len(answer) != 2:
            raise wrong_for(
                given, "the result is {found}, expected a weight and a bias", describe(answer)
            )
        expected = _folded(weight, bias, mean, std)
        if not _equal(answer, expected):
            likely = [
                say(told)
                for told, mistake in _FOLD_MISTAKES.items()
                if _equal(answer, mistake(weight, bias, mean, std))
            ]
            raise NotYet(
                "for {given}, other numbers come out: {hint}", given, (likely or [hint])[0]
            )


def _equal(answer: Any, expected: tuple[torch.Tensor, torch.Tensor]) -> bool:
    pairs = [(as_array(one), other.numpy()) for one, other in zip(answer, expected, strict=True)]
    return all(
        one is not None and one.shape == other.shape and np.allclose(one, other, atol=1e-5)
        for one, other in pairs
    )
