"""Checks of notebook 07, custom dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from helpers.labels import IGNORE_INDEX
from notebooks.exercises.core import (
    NotYet,
    answers,
    as_array,
    call,
    describe,
    expect,
    expect_refusal,
    seeded,
)

Color = tuple[int, int, int]

_SMALL = [[0, 10, 20], [30, 30, 0]]
_RARE = 1


@answers(
    "the classes count from 0, unlabelled pixels are left out, and a value that nobody told you "
    "about stops you now instead of being learnt as something else."
)
def check_to_labels(to_labels: Any) -> None:
    """Turn masks with the values 10, 20, 30 and 0 into labels, and refuse any other value."""
    grey = Image.fromarray(np.array(_SMALL, dtype=np.uint8))
    in_color = grey.copy()
    # Red, green, blue and grey, so that the brightness of an index is never the index.
    in_color.putpalette([level for k in range(256) for level in _color_of(k)])
    unlike = Image.fromarray(np.array([[30, 20], [10, 10]], dtype=np.uint8))
    for given, mask in {
        "a mask with the values 0, 10, 20 and 30": grey,
        "a mask without 0": unlike,
        "the same mask as a palette PNG (mode P)": in_color,
    }.items():
        hint = "the indices are the values, as np.asarray reads them" if mask.mode == "P" else ""
        answer = call(to_labels, mask, given=given, hint=hint)
        if isinstance(answer, Image.Image):
            raise NotYet(
                f"for {given} the result is a PIL image, expected a NumPy array: np.asarray "
                "turns one into the other"
            )
        values = np.asarray(mask).astype(np.int64)
        expect(
            answer,
            np.where(values == 0, IGNORE_INDEX, values // 10 - 1).astype(np.uint8),
            given,
            hint="10, 20 and 30 become 0, 1 and 2, and 0 becomes 255",
            mistakes=_label_mistakes(mask),
        )
    for value, hint in {
        40: "perhaps a fourth class: ask your friend",
        15: "it is none of the four values, and a division hides that",
        1: "it is none of the four values, although it looks like a label",
        255: "255 is a label here, but none of the friend's values",
    }.items():
        mask = Image.fromarray(np.array([[0, 10], [value, 30]], dtype=np.uint8))
        expect_refusal(to_labels, mask, given=f"a mask that holds {value}", hint=hint)


def _color_of(index: int) -> tuple[int, int, int]:
    return {0: (0, 0, 0), 10: (200, 0, 0), 20: (0, 200, 0), 30: (0, 0, 200)}.get(index, (9, 9, 9))


def _label_mistakes(mask: Image.Image) -> dict[str, Any]:
    values = np.asarray(mask).astype(np.int64)
    mistakes = {
        "these are the friend's values as they were": values,
        "dividing makes 10 class 1, and 'not annotated' class 0: subtract one, and see to 0": (
            values // 10
        ),
        "the classes count from 0, so 10 becomes 0": np.where(values == 0, 255, values // 10),
        "0 became -1: say outright that it is 255": values // 10 - 1,
        "'not annotated' became label 0, which is a class: it would be learnt": np.maximum(
            values // 10 - 1, 0
        ),
        "'not annotated' became a class of its own: nobody looked there, so it is 255": np.where(
            values == 0, 3, values // 10 - 1
        ),
        "the known values became 255, and the others 0": np.where(values == 0, 0, IGNORE_INDEX),
    }
    if mask.mode == "P":
        mistakes[
            "that is the brightness of the colours, which convert('L') gives: the labels are "
            "the indices"
        ] = np.asarray(mask.convert("L")).astype(np.int64)
    return mistakes


@answers(
    "both parts show the rare class in the same proportion, so its IoU means something, and the "
    "seed brings back the same split tomorrow."
)
def check_stratified_split(stratified_split: Any) -> None:
    """Share out the images with a rare class, and those without it, in proportion."""
    # One pixel shows the class, and it is neither an image's largest label nor its corner. No
    # share ends in .5, which Python rounds to even numbers.
    cases = {
        "20 images, every fifth with the rare class": ([k % 5 == 0 for k in range(20)], 0.25),
        "30 images, the last nine with the rare class": ([k >= 21 for k in range(30)], 0.3),
        "12 images without the rare class": ([False] * 12, 0.25),
    }
    splits = []
    for given, (rare, fraction) in cases.items():
        maps = [_map_with(one, number) for number, one in enumerate(rare)]
        for seed in range(4):
            text = f"{given}, a fraction of {fraction} and seed {seed}"
            found = []
            for dice in (1, 2):
                with seeded(dice):
                    answer = call(stratified_split, maps, _RARE, fraction, seed, given=text)
                found.append(_two_parts(answer, len(maps), text))
                _expect_shares(*found[-1], rare, fraction, text)
            if found[0] != found[1]:
                raise NotYet(
                    f"for {text} two calls give two splits: draw from "
                    "`np.random.default_rng(seed)`, made inside the function"
                )
            splits.append((given, found[0]))
    for given in list(cases)[:2]:
        parts = [split for name, split in splits if name == given]
        if all(part == parts[0] for part in parts):
            raise NotYet(
                f"for {given}, the seeds 0 to 3 all give one split: which images of a group go "
                "to validation should be drawn, not the first or the last ones"
            )


def _map_with(rare: bool, number: int) -> np.ndarray:
    label_map = np.zeros((4, 5), dtype=np.uint8)
    label_map[2:, 2:] = 2 + number % 2
    label_map[3, 4] = IGNORE_INDEX
    if rare:
        label_map[1, number % 5] = _RARE
    return label_map


def _two_parts(answer: Any, count: int, given: str) -> tuple[list[int], list[int]]:
    """Training and validation as lists of numbers, each index once over both."""
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise NotYet(
            f"for {given} the result is {describe(answer)}, expected two lists: training and "
            "validation"
        )
    parts = []
    for name, part in zip(("training", "validation"), answer, strict=True):
        found = as_array(part)
        if found is None or found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
            raise NotYet(
                f"for {given} the {name} part is {describe(part)}, expected a list of indices"
            )
        parts.append(found.astype(np.int64).tolist())
        if outside := [k for k in parts[-1] if not 0 <= k < count]:
            raise NotYet(
                f"for {given} the {name} part holds {outside[0]}, expected indices from 0 to "
                f"{count - 1}"
            )
    training, validation = parts
    if both := sorted(set(training) & set(validation)):
        raise NotYet(
            f"for {given} image {both[0]} is in both parts: the model would be tested on what "
            "it has learnt by heart"
        )
    if missing := sorted(set(range(count)) - {*training, *validation}):
        raise NotYet(f"for {given} image {missing[0]} is in neither part")
    if len(training) + len(validation) > count:
        raise NotYet(f"for {given} an image is in one part twice")
    return training, validation


def _expect_shares(
    training: list[int], validation: list[int], rare: list[bool], fraction: float, given: str
) -> None:
    groups = {"with": sum(rare), "without": len(rare) - sum(rare)}
    taken = {"with": sum(rare[k] for k in validation)}
    taken["without"] = len(validation) - taken["with"]
    wanted = {name: round(fraction * count) for name, count in groups.items()}
    for name, count in groups.items():
        if taken[name] == wanted[name]:
            continue
        hint = "draw round(fraction * count) from each group, with the class and without it"
        if all(taken[k] == groups[k] - wanted[k] for k in groups):
            hint = "training comes first, and validation second"
        elif sum(taken.values()) == sum(wanted.values()):
            hint = f"the size is right, but chance decides who goes: {hint}"
        raise NotYet(
            f"for {given}, of the {count} images {name} the rare class {taken[name]} go to "
            f"validation, expected {wanted[name]}. {hint[:1].upper()}{hint[1:]}"
        )
    if training != sorted(training) or validation != sorted(validation):
        raise NotYet(f"for {given} the shares are right, but the lists are not sorted")


@answers(
    "the pixels have told you the colours, largest area first; what they mean, only people can "
    "tell. Lay one mask over its image for each colour, and name it."
)
def check_discover_colors(discover_colors: Any) -> None:
    """Find the colours of coded masks, the one with the largest area first."""
    red, blue, grey, pink = (200, 0, 0), (0, 0, 180), (90, 90, 90), (250, 120, 160)
    cases = {
        "one mask of two colours": [{grey: 8, red: 4}],
        "three masks, the first without pink": [
            {red: 7, grey: 5},
            {grey: 5, pink: 7},
            {grey: 1, blue: 2, pink: 9},
        ],
        "two colours of equal area": [{red: 3, blue: 3, grey: 6}],
    }
    for given, areas in cases.items():
        found = _colors(call(discover_colors, [_coded(one) for one in areas], given=given), given)
        total = _add_up(areas)
        expected = _numbered({color: (-area, color) for color, area in total.items()})
        if found != expected:
            hint = _color_hint(found, expected, areas, total)
            raise NotYet(f"for {given}, {_first_slip(found, expected)}. {hint}")


def _coded(areas: Mapping[Color, int]) -> Image.Image:
    pixels = [color for color, count in areas.items() for _ in range(count)]
    return Image.fromarray(np.array(pixels, dtype=np.uint8).reshape(2, -1, 3))


def _add_up(areas: list[dict[Color, int]]) -> dict[Color, int]:
    colors = dict.fromkeys(color for one in areas for color in one)  # in order of appearance
    return {color: sum(one.get(color, 0) for one in areas) for color in colors}


def _numbered(keys: Mapping[Color, Any]) -> dict[Color, int]:
    return {color: label for label, color in enumerate(sorted(keys, key=keys.__getitem__))}


def _colors(answer: Any, given: str) -> dict[tuple[int, int, int], Any]:
    """The learner's dictionary with plain numbers in its keys."""
    wanted = "expected a dictionary such as {(200, 0, 0): 0}"
    if not isinstance(answer, Mapping):
        raise NotYet(f"for {given} the result is {describe(answer)}, {wanted}")
    found = {}
    for key, label in answer.items():
        levels = as_array(key) if isinstance(key, tuple) else None
        if levels is None or levels.shape != (3,):
            hint = ""
            if isinstance(label, (tuple, list, np.ndarray)):
                hint = ": the dictionary leads from colour to label, not back"
            raise NotYet(f"for {given} a key is {describe(key)}, {wanted}{hint}")
        number = as_array(label)
        if number is None or number.ndim:
            raise NotYet(f"for {given} a label is {describe(label)}, expected 0, 1, 2 ...")
        found[tuple(levels.tolist())] = number.item()
    return found


def _first_slip(found: dict, expected: dict) -> str:
    if missing := [color for color in expected if color not in found]:
        return f"colour {missing[0]} is missing"
    if extra := sorted(color for color in found if color not in expected):
        return f"there is a colour {extra[0]}, which no mask holds"
    color = next(color for color in expected if found[color] != expected[color])
    return f"the label of {color} is {describe(found[color])}, expected {expected[color]}"


def _color_hint(found: dict, expected: dict, areas: list[dict], total: dict) -> str:
    """The hint to the likely misunderstanding that gives this answer."""
    keys = {
        "The smallest area comes first here": {c: (total[c], c) for c in total},
        "Only the first mask was read": {c: (-area, c) for c, area in areas[0].items()},
        "Only the last mask was read": {c: (-area, c) for c, area in areas[-1].items()},
        "They are in order of colour; the area decides first": {c: c for c in total},
        "They are in order of appearance; sort by area": dict(zip(total, range(9), strict=False)),
        "The number of masks was counted, not that of pixels": {
            c: (-sum(c in one for one in areas), c) for c in total
        },
        "Each colour's largest area in one mask was taken; add up the areas of all": {
            c: (-max(one.get(c, 0) for one in areas), c) for c in total
        },
    }
    mistakes = {
        "These are areas; the largest one gets label 0, the next one 1": total,
        "Labels count from 0": {color: label + 1 for color, label in expected.items()},
        "The channels are in the order blue, green, red": {
            color[::-1]: label for color, label in expected.items()
        },
    }
    mistakes |= {hint: _numbered(key) for hint, key in keys.items()}
    for hint, wrong in mistakes.items():
        if found == wrong:
            return hint
    if found.keys() == total.keys() and sorted(found.values()) == sorted(expected.values()):
        ordered = [total[color] for color in sorted(found, key=found.__getitem__)]
        if ordered == sorted(ordered, reverse=True):
            return "Equal areas come in order of colour, the smaller numbers first"
    return "Add up each colour's pixels over all masks, sort by area, and number them"
