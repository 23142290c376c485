"""Checks of notebook 07, custom dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from helpers.labels import IGNORE_INDEX
from helpers.language import say
from notebooks.exercises.core import (
    NotYet,
    answers,
    as_array,
    call,
    describe,
    expect_refusal,
    judge,
    seeded,
    wrong_for,
)


def _tens(mask: Image.Image) -> np.ndarray:
    return np.asarray(mask).astype(np.int64) // 10


def _labels(mask: Image.Image, unlabelled: int = IGNORE_INDEX) -> np.ndarray:
    return np.where(_tens(mask) == 0, unlabelled, _tens(mask) - 1).astype(np.uint8)


_LABEL_MISTAKES = {
    "these are the friend's values as they were": np.asarray,
    "dividing makes 10 class 1, and 'not annotated' class 0: subtract one, and see to 0": _tens,
    "the classes count from 0, so 10 becomes 0": lambda m: np.where(_tens(m) == 0, 255, _tens(m)),
    "0 became -1: say outright that it is 255": lambda m: _tens(m) - 1,
    "'not annotated' became label 0, which is a class: it would be learnt": lambda m: _labels(m, 0),
    "'not annotated' became a class of its own: nobody looked there, so it is 255": (
        lambda m: _labels(m, 3)
    ),
    "the known values became 255, and the others 0": lambda m: np.where(_tens(m) == 0, 0, 255),
    "that is the brightness of the colours, which convert('L') gives: the labels are the "
    "indices": lambda m: np.asarray(m.convert("L")),
}


@answers(
    "the classes count from 0, unlabelled pixels are left out, and a value that nobody told you "
    "about stops you now instead of being learnt as something else.",
    _LABEL_MISTAKES,
)
def check_to_labels(to_labels: Any) -> None:
    """Turn masks with the values 10, 20, 30 and 0 into labels, and refuse any other value."""
    grey = Image.fromarray(np.array([[0, 10, 20], [30, 30, 0]], dtype=np.uint8))
    in_color = grey.copy()
    # Red, green, blue and grey, so that the brightness of an index is never the index.
    palette = {0: (0, 0, 0), 10: (200, 0, 0), 20: (0, 200, 0), 30: (0, 0, 200)}
    in_color.putpalette([level for k in range(256) for level in palette.get(k, (9, 9, 9))])
    cases = {
        (given := say("a mask with the values 0, 10, 20 and 30")): (grey,),
        say("a mask without 0"): (Image.fromarray(np.array([[30, 20], [10, 10]], np.uint8)),),
        say("the same mask as a palette PNG (mode P)"): (in_color,),
    }
    hint = say(
        "10, 20, 30 and 0 become 0, 1, 2 and 255; in a palette PNG the indices are the values"
    )
    if isinstance(call(to_labels, grey, given=given, hint=hint), Image.Image):
        text = (
            "the result is a PIL image, expected a NumPy array: np.asarray turns one into the other"
        )
        raise wrong_for(given, text)
    judge(to_labels, _labels, cases, hint, _LABEL_MISTAKES)
    for value, hint in {
        40: say("perhaps a fourth class: ask your friend"),
        15: say("it is none of the four values, and a division hides that"),
        1: say("it is none of the four values, although it looks like a label"),
        255: say("255 is a label here, but none of the friend's values"),
    }.items():
        mask = Image.fromarray(np.array([[0, 10], [value, 30]], dtype=np.uint8))
        given = say("a mask that holds {value}", value)
        expect_refusal(to_labels, mask, given=given, hint=hint)


def _split_by(
    change: Callable[[list[int], list[int]], Any] = lambda training, validation: (
        training,
        validation,
    ),
    by_group: bool = True,
    drawn: bool = True,
    count_of: Callable[[float], int] = lambda wanted: max(1, round(wanted)),
) -> Callable[..., Any]:
    """The split, or one with a slip."""

    def split(groups: list[str], fraction: float, seed: int) -> Any:
        keys = list(groups) if by_group else list(range(len(groups)))
        names = sorted(set(keys))
        order = np.random.default_rng(seed).permutation(len(names)) if drawn else range(len(names))
        chosen = {names[k] for k in list(order)[: count_of(fraction * len(names))]}
        training = [k for k, key in enumerate(keys) if key not in chosen]
        return change(training, [k for k, key in enumerate(keys) if key in chosen])

    return split


_SPLIT_MISTAKES = {
    "draw groups, and not images": _split_by(by_group=False),
    "training comes first, and validation second": _split_by(lambda train, val: (val, train)),
    "the seeds 0 to 3 all give one split": _split_by(drawn=False),
    "the lists are not sorted": _split_by(lambda train, val: (train, val[::-1])),
    "a model is scored on at least one": _split_by(count_of=round),
}


@answers(
    "no image has a near twin on the other side, so the score is that of new afternoons, and the "
    "seed brings back the same split tomorrow.",
    _SPLIT_MISTAKES,
)
def check_group_split(group_split: Any) -> None:
    """Share out images such that no group is on both sides of the split."""
    # No share ends in .5, which Python rounds to even numbers.
    cases = {
        say("20 images of five afternoons in turn"): ([*"abcde"] * 4, 0.4),
        say("12 images of four patients, of one to six images"): ([*"ppppppqqqrrs"], 0.3),
        say("nine images of nine flights"): ([*"ihgfedcba"], 1 / 3),
        say("eight images of four walks"): ([*"wwxxyyzz"], 0.1),
    }
    for given, (groups, fraction) in cases.items():
        splits = []
        for seed in range(4):
            case = say(
                "{images}, a fraction of {fraction:.2g} and seed {seed}", given, fraction, seed
            )
            for dice in (1, 2):
                with seeded(dice):
                    answer = call(group_split, list(groups), fraction, seed, given=case)
                splits.append(_two_parts(answer, len(groups), case))
                _expect_groups(*splits[-1], groups, fraction, case)
            if splits[-1] != splits[-2]:
                raise wrong_for(
                    case,
                    "two calls give two splits: draw from `np.random.default_rng(seed)`, made "
                    "inside the function",
                )
        if all(split == splits[0] for split in splits):
            raise NotYet(
                "for {given}, the seeds 0 to 3 all give one split: which groups go to validation "
                "should be drawn, not the first or the last ones",
                given,
            )


def _two_parts(answer: Any, count: int, given: str) -> tuple[list[int], list[int]]:
    """Training and validation as lists of numbers, each index once over both."""

    def unlike_lists(what: str) -> NotYet:
        return wrong_for(
            given,
            "{what}, expected two lists, training and validation, of indices from 0 to {last}",
            what,
            count - 1,
        )

    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise unlike_lists(say("the result is {found}", describe(answer)))
    parts = []
    for name, part in zip((say("training"), say("validation")), answer, strict=True):
        found = as_array(part)
        if found is None or found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
            raise unlike_lists(say("the {part} part is {found}", name, describe(part)))
        parts.append(found.astype(np.int64).tolist())
        if outside := [index for index in parts[-1] if not 0 <= index < count]:
            raise unlike_lists(say("the {part} part holds {index}", name, outside[0]))
    training, validation = parts
    if both := sorted(set(training) & set(validation)):
        text = (
            "image {index} is in both parts: the model would be tested on what it has learnt by "
            "heart"
        )
        raise wrong_for(given, text, both[0])
    if missing := sorted(set(range(count)) - {*training, *validation}):
        raise wrong_for(given, "image {index} is in neither part", missing[0])
    if len(training) + len(validation) > count:
        raise wrong_for(given, "an image is in one part twice")
    return training, validation


def _expect_groups(
    training: list[int], validation: list[int], groups: list[str], fraction: float, given: str
) -> None:
    sides = [{groups[k] for k in part} for part in (training, validation)]
    if both := sorted(sides[0] & sides[1]):
        text = (
            "for {given}, images of group {group!r} are on both sides: draw groups, and not images"
        )
        raise NotYet(text, given, both[0])
    count = len(set(groups))
    wanted = max(1, round(fraction * count))
    if len(sides[1]) != wanted:
        hint = say("draw max(1, round(fraction * number of groups)) of them")
        if not validation:
            hint = say("a model is scored on at least one")
        elif len(sides[0]) == wanted:
            hint = say("training comes first, and validation second")
        text = "for {given}, {chosen} of {all} groups go to validation, expected {wanted}: {hint}"
        raise NotYet(text, given, len(sides[1]), count, wanted, hint)
    if training != sorted(training) or validation != sorted(validation):
        raise wrong_for(given, "the groups are right, but the lists are not sorted")


Color = tuple[int, int, int]


def _areas(masks: list[Image.Image]) -> dict[Color, list[int]]:
    """Each color's number of pixels in each mask; the colors in order of appearance."""
    pixels = [[tuple(one) for one in np.asarray(mask).reshape(-1, 3).tolist()] for mask in masks]
    colors = dict.fromkeys(color for one in pixels for color in one)
    return {color: [one.count(color) for one in pixels] for color in colors}


def _sorted_by(key: Callable[[Color, list[int]], Any]) -> Callable[[list], dict[Color, int]]:
    """From masks to labels of colors, in the order of a key of color and areas."""

    def labels(masks: list[Image.Image]) -> dict[Color, int]:
        areas = _areas(masks)
        ordered = sorted(areas, key=lambda color: key(color, areas[color]))
        return {color: label for label, color in enumerate(ordered)}

    return labels


_labels_of_colors = _sorted_by(lambda color, areas: (-sum(areas), color))

_COLOR_MISTAKES = {
    "these are areas; the largest one gets label 0, the next one 1": (
        lambda m: {c: sum(areas) for c, areas in _areas(m).items()}
    ),
    "labels count from 0": lambda m: {c: label + 1 for c, label in _labels_of_colors(m).items()},
    "the dictionary leads from colour to label, not back": (
        lambda m: {label: c for c, label in _labels_of_colors(m).items()}
    ),
    "the channels are in the order blue, green, red": (
        lambda m: {c[::-1]: label for c, label in _labels_of_colors(m).items()}
    ),
    "the smallest area comes first here": _sorted_by(lambda c, areas: (sum(areas), c)),
    "only the first mask was read": lambda m: _labels_of_colors(m[:1]),
    "only the last mask was read": lambda m: _labels_of_colors(m[-1:]),
    "they are in order of colour; the area decides first": _sorted_by(lambda c, areas: c),
    "they are in order of appearance; sort by area": _sorted_by(lambda c, areas: 0),
    "the number of masks was counted, not that of pixels": (
        _sorted_by(lambda c, areas: (-np.count_nonzero(areas), c))
    ),
    "each colour's largest area in one mask was taken; add up the areas of all": (
        _sorted_by(lambda c, areas: (-max(areas), c))
    ),
    "equal areas come in order of colour, smaller first": _sorted_by(lambda c, areas: -sum(areas)),
}


@answers(
    "the pixels have told you the colours, largest area first; what they mean, only people can "
    "tell. Lay one mask over its image for each colour, and name it.",
    _COLOR_MISTAKES,
)
def check_discover_colors(discover_colors: Any) -> None:
    """Find the colours of coded masks, the one with the largest area first."""
    red, blue, grey, pink = (200, 0, 0), (0, 0, 180), (90, 90, 90), (250, 120, 160)
    cases = {
        say("one mask of two colours"): [{grey: 8, red: 4}],
        say("three masks, the first without pink"): [
            {red: 7, grey: 5},
            {grey: 5, pink: 7},
            {grey: 1, blue: 2, pink: 9},
        ],
        say("two colours of equal area"): [{red: 3, blue: 3, grey: 6}],
    }
    coded = {given: ([_coded(one) for one in masks],) for given, masks in cases.items()}
    hint = say("add up each colour's pixels over all masks, sort by area, and number them")
    judge(discover_colors, _labels_of_colors, coded, hint, _COLOR_MISTAKES)


def _coded(areas: dict[Color, int]) -> Image.Image:
    pixels = [color for color, count in areas.items() for _ in range(count)]
    return Image.fromarray(np.array(pixels, dtype=np.uint8).reshape(2, -1, 3))
