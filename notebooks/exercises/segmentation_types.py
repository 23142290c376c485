"""Checks of notebook 01, types of segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from helpers.labels import ADE20K, IGNORE_INDEX
from notebooks.exercises.core import NotYet, answers, as_array, call, describe, number

_BRIDGE, _FAR_CAR = 0.71, 0.83  # probability where the near cars touch, and the far car's best


@answers(
    "three areas and three cars, and yet no area is a car where two cars melted into one and one "
    "fell apart. That the numbers agree proves nothing; the panoptic map has an id for each car."
)
def check_areas_and_cars(areas: Any, cars: Any, segments: Any) -> None:
    """Predict three counts for a street that is told in words."""
    areas, cars = number(areas, "areas"), number(cars, "cars")
    segments = number(segments, "segments")
    if areas == 2:
        raise NotYet("areas is 2: the lamp post cuts the visible part of one car in two")
    if areas != 3:
        raise NotYet(
            f"areas is {describe(areas)}: pixels of one class that touch are one area, whichever "
            "cars they belong to, and a cut makes two areas of one car"
        )
    if cars != 3:
        raise NotYet(
            f"cars is {describe(cars)}: an instance list has one entry per object, and both parts "
            "of a car behind a post belong to one mask"
        )
    hints = {
        6: "the balloon's pixels need a segment too, since each pixel is covered: that is void",
        5: "the post is a thing, and void is a segment of its own",
        4: "things count, and so do road, sky and void: stuff has one segment per class",
        8: "a car in two parts is still one segment",
    }
    if segments != 7:
        hint = hints.get(int(segments) if np.isfinite(segments) else 0)
        hint = hint or "add the things, one segment for each class of stuff, and one for void"
        raise NotYet(f"segments is {describe(segments)}: {hint}")


def car_probability() -> np.ndarray:
    """How likely each pixel is a car: two near cars that touch, and a far one.

    Returns:
        (6, 16) float, 0 ... 1.
    """
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
    from scipy import ndimage

    threshold = number(threshold, "threshold")
    if not 0 <= threshold <= 1:
        raise NotYet(
            f"threshold is {describe(threshold)}; probabilities lie between 0 and 1: 50 % is 0.5"
        )
    probability = car_probability()
    _, areas = ndimage.label(probability > threshold)
    found = f"with {threshold:.6g} there {'is 1 area' if areas == 1 else f'are {areas} areas'}"
    if threshold < probability.min():
        raise NotYet(f"{found}, the whole image: everything is more likely than that")
    if threshold < _BRIDGE:
        raise NotYet(
            f"{found}: the two near cars are still one, as the pixels between them reach "
            f"{_BRIDGE:.2f}; raise it until those are left out"
        )
    if threshold >= _FAR_CAR:
        raise NotYet(
            f"{found}: the near cars are parted, but the far one, nowhere above {_FAR_CAR:.2f}, "
            "is gone; lower it"
        )


def _street(*pairs: tuple[str, int]) -> np.ndarray:
    rows = [[(ADE20K.label2id.get(name, IGNORE_INDEX), number) for name, number in pairs]]
    return np.array(rows * 2, dtype=np.int64)


@answers(
    "it is the pair that names a thing, so neither touching cars nor a car cut in two confuse you, "
    "and it works for data sets that number each class from 1."
)
def check_count_things(count_things: Any) -> None:
    """Write a function from a panoptic map to the number of things of each class."""
    car, road = ("car", 1), ("road", 0)
    cases = {
        "a street with two cars that touch": (
            _street(road, car, car, ("car", 2), ("person", 3), road, ("(no class)", 0)),
            {"car": 2, "person": 1},
        ),
        "one car that a lamp post cuts in two": (
            _street(road, car, ("streetlight", 2), car, road),
            {"car": 1, "streetlight": 1},
        ),
        "ids that start at 1 in every class": (
            _street(car, ("person", 1), ("person", 2), road),
            {"car": 1, "person": 2},
        ),
        "an image without things": (_street(road, ("sky", 0)), {}),
    }
    for given, (panoptic, expected) in cases.items():
        void = np.any(panoptic[..., 0] == IGNORE_INDEX)
        hint = "255 is void and has no name: leave out what has the id 0" if void else ""
        counts = call(count_things, panoptic, given=given, hint=hint)
        _expect_counts(counts, panoptic, expected, given)


def _expect_counts(answer: Any, panoptic: np.ndarray, expected: dict, given: str) -> None:
    if not isinstance(answer, Mapping):
        raise NotYet(
            f"for {given} the result is {describe(answer)}, expected a dictionary such as "
            "{'car': 2, 'person': 1}"
        )
    keys = list(answer)
    if any(not isinstance(key, str) for key in keys):
        raise NotYet(
            f"for {given} the keys are not all names (the first is {describe(keys[0])}): "
            "ADE20K.id2label turns a label id into its name"
        )
    wanted = f"expected {expected}"
    stuff = {
        ADE20K.id2label.get(int(label)) for label, thing in panoptic.reshape(-1, 2) if thing == 0
    }
    if extra := sorted(set(keys) & stuff - set(expected)):
        raise NotYet(
            f"for {given} {extra[0]!r} is counted, {wanted}: stuff has the id 0 and is no thing"
        )
    if extra := sorted(set(keys) - set(expected)):
        raise NotYet(f"for {given} there is a count of {extra[0][:40]!r}, {wanted}")
    if missing := sorted(set(expected) - set(keys)):
        hint = ""
        if given.startswith("ids that"):
            hint = ": two things may have one id if their classes differ, so look at the pairs"
        raise NotYet(f"for {given} there is no count of {missing[0]!r}, {wanted}{hint}")
    for name, count in expected.items():
        found = as_array(answer[name])
        if found is not None and not found.ndim and found == count:
            continue
        of_class = panoptic[panoptic[..., 0] == ADE20K.label2id[name]]
        hint = "count the different pairs of class and id"
        if found is not None and found.ndim == 0 and found == len(of_class):
            hint = "this is the number of its pixels; count different ids"
        elif given.startswith("ids that"):
            hint = "two things may have one id if their classes differ, so look at the pairs"
        elif "touch" in given:
            hint = "cars that touch are one area but have ids of their own"
        elif "cuts" in given:
            hint = "two parts with one id are one thing"
        raise NotYet(f"for {given} {name!r} is {describe(answer[name])}, {wanted}: {hint}")
