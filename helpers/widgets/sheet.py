"""Images, marks and a legend laid out on one sheet, which a slider can redraw quickly."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from helpers.labels import ADE20K, Labels

_GAP, _LINE, _TEXT = 10, 22, 15


WIDTH = 960
"""Pixels from the left to the right edge of a sheet."""


def lay_out(
    images: Mapping[str, Image.Image | np.ndarray],
    legend: Mapping[str, Sequence[int]] | None = None,
    marks: Mapping[str, Sequence[tuple[float, float, str]]] | None = None,
) -> Image.Image:
    """Images side by side on white: title above each, one legend below.

    Matplotlib would take ten times as long, and a slider should not lag behind the hand.

    Args:
        images: title to image (PIL, or array (height, width, 3) uint8), all of one shape
            or not; each is upsampled or shrunk to its column, without smoothing when upsampled.
        legend: name to colour, RGB 0-255.
        marks: title to (column, row, text), in pixels of that image: text to write on it.

    Returns:
        RGB image, 960 pixels wide.
    """
    column = (WIDTH - _GAP * (len(images) - 1)) // len(images)
    panels = {}
    for title, image in images.items():
        panel = image if isinstance(image, Image.Image) else Image.fromarray(image)
        size = (column, round(column * panel.height / panel.width))
        upsampled = panel.width <= column
        how = Image.Resampling.NEAREST if upsampled else Image.Resampling.BOX
        panels[title] = (panel.resize(size, how), column / panel.width)
    sheet = Image.new("RGB", (WIDTH, _LINE + max(p.height for p, _ in panels.values())), "white")
    draw, font, small = ImageDraw.Draw(sheet), _font(_TEXT), _font(_TEXT - 3)
    for index, (title, (panel, scale)) in enumerate(panels.items()):
        left = index * (column + _GAP)
        draw.text((left + column / 2, _LINE / 2), title, "black", font, anchor="mm")
        sheet.paste(panel, (left, _LINE))
        for x, y, text in (marks or {}).get(title, ()):
            half = min(small.getlength(text) / 2 + 3, column / 2)
            middle = min(max((x + 0.5) * scale, half), column - half)  # all of it on its image
            place = (left + middle, _LINE + (y + 0.5) * scale)
            box = draw.textbbox(place, text, small, anchor="mm")
            draw.rectangle((box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2), "white")
            draw.text(place, text, "black", small, anchor="mm")
    return _with_legend(sheet, legend or {})


def fit(image: Image.Image, longest: int = 480) -> Image.Image:
    """The image itself, or a smaller copy whose longer side has `longest` pixels."""
    copy = image.copy()
    copy.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return copy


def outline(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask that touch its outside: (height, width) bool in and out."""
    mask = np.asarray(mask, dtype=bool)
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def colors_by_name(classes: Sequence[int], labels: Labels = ADE20K) -> dict[str, np.ndarray]:
    """A legend for `lay_out`: class name to colour, RGB 0-255."""
    return {labels.short_names[label]: labels.palette[label] for label in classes}


def _with_legend(sheet: Image.Image, legend: Mapping[str, Sequence[int]]) -> Image.Image:
    font = _font(_TEXT - 1)
    places, left, line = [], 0.0, 0
    for name in legend:
        wide = 20 + font.getlength(name) + 18
        if left and left + wide > WIDTH:
            left, line = 0.0, line + 1
        places.append((left, line))
        left += wide
    if not places:
        return sheet
    grown = Image.new("RGB", (WIDTH, sheet.height + 6 + (line + 1) * _LINE), "white")
    grown.paste(sheet, (0, 0))
    draw = ImageDraw.Draw(grown)
    for (name, color), (x, number) in zip(legend.items(), places, strict=True):
        middle = sheet.height + 6 + (number + 0.5) * _LINE
        draw.rectangle((x, middle - 7, x + 14, middle + 7), tuple(map(int, color)), "gray")
        draw.text((x + 20, middle), name, "black", font, anchor="lm")
    return grown


def with_lines(sheet: Image.Image, lines: Sequence[str]) -> Image.Image:
    grown = Image.new("RGB", (WIDTH, sheet.height + 4 + len(lines) * _LINE), "white")
    grown.paste(sheet, (0, 0))
    draw = ImageDraw.Draw(grown)
    for number, line in enumerate(lines):
        place = (0, sheet.height + 4 + (number + 0.5) * _LINE)
        last = number == len(lines) - 1
        draw.text(place, line, "#555555" if last else "black", _font(_TEXT - 1), anchor="lm")
    return grown


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()
