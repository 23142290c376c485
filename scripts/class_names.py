"""Classes as annotation tools and data sets list them: names, perhaps colors, and which to keep."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helpers.images import FileFault
from helpers.labels import IGNORE_INDEX, Color, Labels

BACKGROUND = "background"  # the class of what no object covers
_RGB = r"(?P<r>\d{1,3})[\s,]\s*(?P<g>\d{1,3})[\s,]\s*(?P<b>\d{1,3})"
_LINES = (  # forms that a line may have, the last of which fits every line
    rf"(?P<name>[^:]*):{_RGB}:[^:]*:[^:]*",
    r"(?P<name>[^:]*)(?P<voc>:):[^:]*:[^:]*",  # a tool whose classes have no colors paints VOC's
    rf"(?P<name>.+?),\s*{_RGB}",
    rf"{_RGB}[\s,]\s*(?P<name>.+)",
    r"(?P<value>\d+),\s*(?P<name>.+)",
    r"(?P<name>.+)",
)


class Names(NamedTuple):
    """Classes in the order of their label ids."""

    names: list[str]
    colors: list[Color] | None  # (red, green, blue), 0-255, of each, where the file has them


class Choice(NamedTuple):
    """The classes to keep, and what becomes of each class of the tool."""

    labels: Labels
    values: dict[str, int]  # of the tool's classes, background among them: a label id or 255
    notices: list[str]


def class_name(name: Any) -> str:
    """A class's name, as tools write it; the background's is always `BACKGROUND`."""
    name = str(name).strip()
    return BACKGROUND if name.strip("_").lower() == BACKGROUND else name


def read_names(file: Path) -> Names:
    """The names of classes, and their colors, from a file.

    A line has a name; `name:red,green,blue:parts:actions` (labelmap.txt of VOC and CVAT);
    `name,r,g,b` (class_dict.csv) or `r g b name` (label_colors.txt); or `value, name` (_classes.csv
    of Roboflow). One above that names the columns is passed over.
    """
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    tried = ([re.fullmatch(pattern, line) for line in lines] for pattern in _LINES)
    found = next((matches for matches in tried if any(matches)), [])
    if found and not found[0] and re.fullmatch(r"[^\d,]+(,[^\d,]+)+", lines[0]):
        del lines[0], found[0]  # the names of the columns
    if not all(found) or not found:
        cause = f'has the line "{lines[found.index(None)]}"' if found else "names no class"
        remedy = "expected the same on each line: name, or name,red,green,blue, or value,name"
        raise FileFault(str(file), cause, remedy)
    parts = [match.groupdict() for match in found]
    values = [int(part.get("value", number)) for number, part in enumerate(parts)]
    if sorted(values) != list(range(len(parts))):
        cause = f"names the values {sorted(values)}, expected 0 to {len(parts) - 1}"
        raise FileFault(str(file), cause, "name all, background among them")
    parts.sort(key=lambda part: int(part.get("value", 0)))
    names = [part["name"].strip(' "') for part in parts]
    colors = [tuple(int(part[channel]) for channel in "rgb") for part in parts if "r" in part]
    if twice := [color for color in colors if colors.count(color) > 1]:
        same = [name for name, color in zip(names, colors, strict=True) if color == twice[0]]
        cause = f"gives {' and '.join(same)} one color, {twice[0]}"
        raise FileFault(str(file), cause, "a mask in colors cannot tell them apart: change one")
    return Names(names, voc_colors(len(names)) if "voc" in parts[0] else colors or None)


def read_colors(file: Path) -> tuple[list[str], dict[Color, int]]:
    """The names of classes, and what label id a color means, from a file of `read_names`."""
    names, colors = read_names(file)
    if colors is None:
        remedy = "write lines such as apple:128,0,0:: (labelmap.txt) or a table name,r,g,b (.csv)"
        raise FileFault(str(file), "has names and no colors", remedy)
    return names, {color: label for label, color in enumerate(colors)}


def voc_colors(count: int) -> list[Color]:
    """VOC's colors by number: three bits of the number for each bit of red, green and blue."""
    numbers = np.arange(count)[:, None] >> np.arange(3)  # by channel
    bits = [(numbers >> (3 * bit) & 1) << (7 - bit) for bit in range(8)]
    return [tuple(color) for color in sum(bits).tolist()]


def choose(
    known: Sequence[str], colors: Sequence[Color | None], names: Sequence[str] | None, where: str
) -> Choice:
    """Of the classes that an export has, those of `names`, or all; messages call it `where`."""
    wanted = [class_name(name) for name in (known if names is None else names)]
    if unknown := [name for name in wanted if name not in {*known, BACKGROUND}]:
        raise ValueError(
            f"{where} has no class {', '.join(map(repr, unknown))}: --classes may name "
            f"{', '.join(known)}"
        )
    rest = wanted.index(BACKGROUND) if BACKGROUND in wanted else IGNORE_INDEX
    values = {name: wanted.index(name) if name in wanted else rest for name in known}
    of_name = {BACKGROUND: (0, 0, 0)} | dict(zip(known, colors, strict=True))
    kept = [of_name[name] for name in wanted]
    try:
        labels = Labels(known if names is None else names, None if None in kept else kept)
    except ValueError as error:
        raise ValueError(f"{where}: {error}. --classes chooses among them") from error
    left_out = [name for name in known if name not in wanted]
    what = "are background" if BACKGROUND in wanted else f"have no class ({IGNORE_INDEX})"
    notices = [f"left out: {', '.join(left_out)}; their pixels {what}"] if left_out else []
    return Choice(labels, {BACKGROUND: rest} | values, notices)
