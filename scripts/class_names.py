"""Lists of classes, as annotation tools and data sets write them: names, and perhaps colors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.images import FileFault
from helpers.labels import IGNORE_INDEX, Color, Labels
from scripts.layers import BACKGROUND, class_name

_RGB = r"(?P<r>\d{1,3})[\s,]\s*(?P<g>\d{1,3})[\s,]\s*(?P<b>\d{1,3})"
_LINES = (  # forms that a line may have, the last of which fits every line
    rf"(?P<name>[^:]*):(?:{_RGB})?:[^:]*:[^:]*",
    rf"(?P<name>.+?),\s*{_RGB}",
    rf"{_RGB}[\s,]\s*(?P<name>.+)",
    r"(?P<value>\d+),\s*(?P<name>.+)",
    r"(?P<name>.+)",
)


class Names(NamedTuple):
    """Classes in the order of their label ids."""

    names: list[str]
    colors: list[Color] | None
    """(red, green, blue), 0-255, of each, where the file has them."""


@dataclass(frozen=True)
class Choice:
    """The classes to keep, and what becomes of each class of the tool."""

    labels: Labels
    values: dict[str, int]  # of the tool's classes, background among them: a label id or 255
    notices: list[str]


def read_names(file: Path) -> Names:
    """The names of classes, and their colors, from a file.

    Args:
        file: one name a line; `name:red,green,blue:parts:actions` (labelmap.txt of VOC and CVAT);
            `name,r,g,b` (class_dict.csv) or `r g b name` (label_colors.txt); or `value, name`
            (_classes.csv of Roboflow). A line above that names the columns is passed over.

    Raises:
        FileFault: a line has another form, or there is no class.
        ValueError: there is no such file.
    """
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    for pattern in _LINES:
        found = [re.fullmatch(pattern, line) for line in lines]
        if any(found):
            break
    if lines and found[0] is None and re.fullmatch(r"[^\d,]+(,[^\d,]+)+", lines[0]):
        del lines[0], found[0]  # the names of the columns
    if not lines or None in found:
        wrong = f'has the line "{lines[found.index(None)]}"' if lines else "names no class"
        remedy = "expected the same on each line: name, or name,red,green,blue, or value,name"
        raise FileFault(str(file), wrong, remedy)
    parts = [match.groupdict() for match in found]
    names = [part["name"].strip(' "') for part in parts]
    values = [int(part.get("value", number)) for number, part in enumerate(parts)]
    if sorted(values) != list(range(len(names))):
        cause = f"names the values {sorted(values)}, expected 0 to {len(names) - 1}"
        raise FileFault(str(file), cause, "name all, background among them")
    names = [name for _, name in sorted(zip(values, names, strict=True))]
    if "r" not in parts[0]:
        return Names(names, None)
    if not any(part["r"] for part in parts):  # a tool whose classes have no colors paints VOC's
        return Names(names, voc_colors(len(names)))
    if without := [name for name, part in zip(names, parts, strict=True) if not part["r"]]:
        raise FileFault(str(file), f"has no color for {', '.join(without)}", "give it one")
    return Names(names, [(int(part["r"]), int(part["g"]), int(part["b"])) for part in parts])


def read_colors(file: Path) -> tuple[list[str], dict[Color, int]]:
    """The names of classes, and what label id a color means, from a file of `read_names`.

    Raises:
        FileFault: it has no colors, or one color for two classes.
    """
    names, colors = read_names(file)
    if colors is None:
        raise FileFault(
            str(file),
            "has names and no colors",
            "write lines such as apple:128,0,0:: (labelmap.txt) or a table name,r,g,b (.csv)",
        )
    return names, by_color(file, names, colors, range(len(names)))


def by_color(
    file: Path, names: Sequence[str], colors: Sequence[Color], values: Sequence[int]
) -> dict[Color, int]:
    """Color to value; FileFault where two classes share a color."""
    if len(set(colors)) < len(colors):
        twice = next(color for color in colors if colors.count(color) > 1)
        same = [name for name, color in zip(names, colors, strict=True) if color == twice]
        cause = f"gives {' and '.join(same)} one color, {twice}"
        raise FileFault(str(file), cause, "a mask in colors cannot tell them apart: change one")
    return dict(zip(colors, values, strict=True))


def voc_colors(count: int) -> list[Color]:
    """VOC's colors by number: three bits of the number for each bit of red, green and blue."""
    numbers = np.arange(count)
    colors = np.zeros((count, 3), dtype=int)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= ((numbers >> (3 * bit + channel)) & 1) << (7 - bit)
    return [tuple(color) for color in colors.tolist()]


def choose(
    known: Sequence[str],
    colors: Sequence[Color | None],
    names: Sequence[str] | None,
    where: str,
) -> Choice:
    """The classes that an export keeps.

    Args:
        known: the tool's classes, in the order of their label ids.
        colors: theirs, where they have some.
        names: see `scripts.exports.read_export`.
        where: what messages call the export.

    Raises:
        ValueError: a name is unknown, or there are too many classes or too few.
    """
    wanted = [class_name(name) for name in (known if names is None else names)]
    if unknown := [name for name in wanted if name not in {*known, BACKGROUND}]:
        raise ValueError(
            f"{where} has no class {', '.join(map(repr, unknown))}: --classes may name "
            f"{', '.join(known)}"
        )
    rest = wanted.index(BACKGROUND) if BACKGROUND in wanted else IGNORE_INDEX
    values = {BACKGROUND: rest}
    values |= {name: wanted.index(name) if name in wanted else rest for name in known}
    of_name = {BACKGROUND: (0, 0, 0)} | dict(zip(known, colors, strict=True))
    kept = [of_name[name] for name in wanted]
    try:
        labels = Labels(known if names is None else names, None if None in kept else kept)
    except ValueError as error:
        raise ValueError(f"{where}: {error}. --classes chooses among them") from error
    left_out = [name for name in known if name not in wanted]
    what = "are background" if BACKGROUND in wanted else f"have no class ({IGNORE_INDEX})"
    notices = [f"left out: {', '.join(left_out)}; their pixels {what}"] if left_out else []
    return Choice(labels, values, notices)
