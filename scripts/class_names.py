"""Lists of classes, as annotation tools and data sets write them: names, and perhaps colors."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.images import FileFault
from helpers.labels import IGNORE_INDEX, Color, Labels
from scripts.layers import BACKGROUND, class_name


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
            `red green blue name` (label_colors.txt); or, ending in .csv, a table with a header,
            `name,r,g,b` (class_dict.csv) or `value, name` (_classes.csv of Roboflow).

    Raises:
        FileFault: a line has another form, or there is no class.
        ValueError: there is no such file.
    """
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise FileFault(str(file), "is empty", "write one name a line")
    if file.suffix.lower() == ".csv":
        return _names_of_table(file, lines)
    rgb = r"(?P<r>\d{1,3})%s(?P<g>\d{1,3})%s(?P<b>\d{1,3})"
    for pattern in (
        rf"(?P<name>[^:]*):(?:{rgb % (',', ',')})?:[^:]*:[^:]*",
        rf"{rgb % (' +', ' +')}\s+(?P<name>.+)",
    ):
        found = [re.fullmatch(pattern, line) for line in lines]
        if any(found):
            break
    else:
        return Names(lines, None)
    colored = [match is not None and match["r"] is not None for match in found]
    if None in found or (any(colored) and not all(colored)):
        wrong = (found if None in found else colored).index(None if None in found else False)
        raise FileFault(
            str(file),
            f'has the line "{lines[wrong]}", and others such as "{lines[wrong - 1]}"',
            "give each line a name and a color",
        )
    names = [match["name"].strip() for match in found]
    if not any(colored):  # a tool whose classes have no colors paints VOC's, by number
        return Names(names, voc_colors(len(names)))
    colors = [(int(match["r"]), int(match["g"]), int(match["b"])) for match in found]
    return Names(names, colors)


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


def _names_of_table(file: Path, lines: Sequence[str]) -> Names:
    head, *rows = [[cell.strip() for cell in row] for row in csv.reader(lines)] or [[]]
    keys = [key.lower() for key in head]
    try:
        if {"r", "g", "b"} <= {*keys}:
            where = [keys.index(key) for key in "rgb"]
            name = next(column for column in range(len(keys)) if column not in where)
            colors = [tuple(int(row[column]) for column in where) for row in rows]
            return Names([row[name] for row in rows], colors)
        names = {int(row[0]): row[1] for row in rows}
        if sorted(names) != list(range(len(rows))):
            raise ValueError(f"its values are {sorted(names)}, expected 0 to {len(rows) - 1}")
        return Names([names[value] for value in range(len(rows))], None)
    except (ValueError, IndexError, StopIteration) as error:
        remedy = 'expected the header "name,r,g,b", or "Pixel Value, Class" and values from 0'
        raise FileFault(str(file), f"is no table of classes ({error})", remedy) from error


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
        labels = Labels(names or known, None if None in kept else kept)
    except ValueError as error:
        raise ValueError(f"{where}: {error}. --classes chooses among them") from error
    left_out = [name for name in known if name not in wanted]
    what = "are background" if BACKGROUND in wanted else f"have no class ({IGNORE_INDEX})"
    notices = [f"left out: {', '.join(left_out)}; their pixels {what}"] if left_out else []
    return Choice(labels, values, notices)
