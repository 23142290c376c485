"""Checks of notebook 01, types of segmentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from helpers.labels import ADE20K, IGNORE_INDEX
from helpers.language import say
from notebooks.exercises.core import (
    NotYet,
    answers,
    as_array,
    call,
    describe,
    judge,
    number,
    wrong_for,
)

_COUNTS = {"areas": 3, "cars": 3, "segments": 7}
_COUNT_MISTAKES = {  # areas, cars, segments; the last of each is told to any other number
    "the lamp post cuts the visible part of one car in two": (2, 3, 7),
    "pixels of one class that touch are one area, whichever cars they belong to, and a cut makes "
    "two areas of one car": (4, 3, 7),
    "an instance list has one entry per object, and both parts of a car behind a post belong to "
    "one mask": (3, 4, 7),
    "the balloon's pixels need a segment too, since each pixel is covered: that is void": (3, 3, 6),
    "the post is a thing, and void is a segment of its own": (3, 3, 5),
    "things count, and so do road, sky and void: stuff has one segment per class": (3, 3, 4),
    "a car in two parts is still one segment": (3, 3, 8),
    "add the things, one segment for each class of stuff, and one for void": (3, 3, 9),
}


@answers(
    "three areas and three cars, and yet no area is a car where two cars melted into one and one "
    "fell apart. That the numbers agree proves nothing; the panoptic map has an id for each car.",
    _COUNT_MISTAKES,
)
def check_areas_and_cars(areas: Any, cars: Any, segments: Any) -> None:
    """Predict three counts for a street that is told in words."""
    found = [number(one, name) for name, one in zip(_COUNTS, (areas, cars, segments), strict=True)]
    for k, (name, right) in enumerate(_COUNTS.items()):
        if found[k] == right:
            continue
        hints = {wrong[k]: hint for hint, wrong in _COUNT_MISTAKES.items() if wrong[k] != right}
        *_, other = hints.values()
        hint = say(hints.get(found[k], other))
        raise NotYet("{name} is {found}: {hint}", name, describe(found[k]), hint)


_BRIDGE, _FAR_CAR = 0.71, 0.83  # probability where the near cars touch, and the far car's best


def car_probability() -> np.ndarray:
    """How likely each pixel is a car, (6, 16) float: two near cars that touch, and a far one."""
    probability = np.full((6, 16), 0.03)
    probability[1, 13:15] = 0.80, _FAR_CAR
    probability[2:6, 0:12] = 0.55
    probability[3:5, 1:5] = 0.95
    probability[3:5, 7:11] = 0.91
    probability[3:5, 5:7] = (_BRIDGE, 0.68), (0.66, 0.70)
    probability[4, 5] = _BRIDGE
    probability[3, 6] = _BRIDGE
    return probability


@answers(
    "from 0.71 on the near cars part, and below 0.83 the far one stays. That fits this image "
    "only: no threshold is right for all, so instance models predict a mask for each car instead."
)
def check_splitting_threshold(threshold: Any) -> None:
    """Choose the threshold that parts two touching cars and keeps a third."""
    threshold = number(threshold, "threshold")
    if not 0 <= threshold <= 1:
        text = "threshold is {found}; probabilities lie between 0 and 1: 50 % is 0.5"
        raise NotYet(text, describe(threshold))
    probability = car_probability()
    _, areas = ndimage.label(probability > threshold)
    found = say("with {threshold:.6g} there are {areas} areas", threshold, areas)
    if areas == 1:
        found = say("with {threshold:.6g} there is 1 area", threshold)
    if threshold < probability.min():
        raise NotYet("{found}, the whole image: everything is more likely than that", found)
    if threshold < _BRIDGE:
        text = (
            "{found}: the two near cars are still one, as the pixels between them reach "
            "{reached:.2f}; raise it until those are left out"
        )
        raise NotYet(text, found, _BRIDGE)
    if threshold >= _FAR_CAR:
        gone = say("the far one, nowhere above {reached:.2f}, is gone", _FAR_CAR)
        gone = say(
            "the near cars are parted, but {gone}" if areas == 2 else "{gone}, near ones too", gone
        )
        raise NotYet("{found}: {gone}; lower it", found, gone)


def _count_things(
    panoptic: np.ndarray, count: Callable[[list[int]], int] = lambda ids: len(set(ids))
) -> dict[str, int]:
    """Name of each class with things to a count, from the ids of its pixels."""
    pixels = [(label, thing) for label, thing in panoptic.reshape(-1, 2).tolist() if thing]
    return {
        ADE20K.id2label[label]: count([thing for other, thing in pixels if other == label])
        for label in dict.fromkeys(label for label, _ in pixels)
    }


def _areas(panoptic: np.ndarray) -> dict[str, int]:
    label_map = panoptic[..., 0]
    return {
        name: ndimage.label(label_map == ADE20K.label2id[name])[1]
        for name in _count_things(panoptic)
    }


def _ids_once(panoptic: np.ndarray) -> dict[str, int]:
    """Each id belongs to the first class that has it."""
    first = np.unique(panoptic[..., 1], return_index=True)[1]
    return _count_things(panoptic.reshape(-1, 2)[first])


_THING_MISTAKES = {
    "this is the number of its pixels; count different ids": lambda p: _count_things(p, len),
    "each class is counted once; cars that touch are one area but have ids of their own": (
        lambda p: _count_things(p, lambda ids: 1)
    ),
    "these are areas; cars that touch are one area but have ids of their own, and two parts with "
    "one id are one thing": _areas,
    "an id is a name: how many different ids has each class?": lambda p: _count_things(p, max),
    "two things may have one id if their classes differ, so look at the pairs": _ids_once,
}


def _street(*pairs: tuple[str, int]) -> np.ndarray:
    rows = [[(ADE20K.label2id.get(name, IGNORE_INDEX), number) for name, number in pairs]]
    return np.array(rows * 2, dtype=np.int64)


@answers(
    "it is the pair that names a thing, so neither touching cars nor a car cut in two confuse you, "
    "and it works for data sets that number each class from 1.",
    _THING_MISTAKES,
)
def check_count_things(count_things: Any) -> None:
    """Write a function from a panoptic map to the number of things of each class."""
    car, road, first = ("car", 1), ("road", 0), say("a street with two cars that touch")
    streets = {
        first: _street(road, car, car, ("car", 2), ("person", 3), road, ("(no class)", 0)),
        say("one car that a lamp post cuts in two"): (
            _street(road, car, ("streetlight", 2), car, road)
        ),
        say("ids that start at 1 in every class"): (
            _street(car, ("person", 1), ("person", 2), road)
        ),
        say("an image without things"): _street(road, ("sky", 0)),
    }
    hint = say(
        "count the different pairs of class and id; 255 is void and has no name, and its id is 0"
    )
    answer = call(count_things, streets[first], given=first, hint=hint)
    if not isinstance(answer, Mapping):
        text = "the result is {found}, expected a dictionary such as {example}"
        raise wrong_for(first, text, describe(answer), {"car": 2, "person": 1})
    for key, count in answer.items():
        if not isinstance(key, str):
            text = "a key is {found}: ADE20K.id2label turns a label id into its name"
            raise wrong_for(first, text, describe(key))
        if key == "road":
            raise wrong_for(first, "'road' is counted: stuff has the id 0 and is no thing")
        if as_array(count) is None:
            text = "{name!r} is {found}: how many are they? `len` tells"
            raise wrong_for(first, text, key[:40], describe(count))
    cases = {given: (street,) for given, street in streets.items()}
    judge(count_things, _count_things, cases, hint, _THING_MISTAKES)
