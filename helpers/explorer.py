"""A picture with sliders that is a still picture wherever no kernel runs.

An `Explorer` draws into a `widgets.Image` whenever a control moves. Shown in a notebook it is one
output that carries the live view, a PNG and a sentence: GitHub, a page made by nbconvert and a
notebook without a kernel show the PNG. It needs only what ipywidgets 7.7 and 8 have in common.
"""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH = 960
"""Pixels from the left to the right edge of a sheet."""
_GAP, _LINE, _TEXT = 10, 22, 15


class Explorer:
    """Controls above a picture that follows them, with what it shows in words below.

    Args:
        controls: widgets with a `value`, by name; each change draws the picture anew.
        draw: called with the controls' values by name; returns the picture and one or two
            sentences on what it shows now.
        sentence: what there is to see, for whoever has neither the widgets nor the picture.

    Attributes:
        view: the widget to put on a page; `controls`, `picture` and `told` are its parts.
    """

    def __init__(
        self,
        controls: Mapping[str, ipywidgets.ValueWidget],
        draw: Callable[..., tuple[Image.Image, str]],
        sentence: str,
    ) -> None:
        self.controls, self.sentence, self._draw = dict(controls), sentence, draw
        self.picture = ipywidgets.Image(format="png", layout={"max_width": "100%"})
        self.told = ipywidgets.HTML()
        row = ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
        self.view = ipywidgets.VBox([row, self.picture, self.told])
        for control in controls.values():
            control.observe(self._follow, names="value")
        self._follow()

    def still(self) -> Image.Image:
        """The picture as it is now, with its sentence and where to find the controls."""
        names = ", ".join(control.description.lower() for control in self.controls.values())
        note = f"Still picture. Run this cell in Jupyter to change: {names}."
        return _with_lines(self._shown, [*textwrap.wrap(self._says, 140), note])

    def _follow(self, change: Any = None) -> None:
        values = {name: control.value for name, control in self.controls.items()}
        self._shown, self._says = self._draw(**values)
        self.picture.value = _png(self._shown)
        # A status is read aloud by a screen reader whenever it changes.
        self.told.value = f'<p role="status">{html.escape(self._says)}</p>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        # From the model's id, since widgets of ipywidgets 7 have no bundle of their own to extend.
        view = {"version_major": 2, "version_minor": 0, "model_id": self.view.model_id}
        return {
            "text/plain": self.sentence,
            "image/png": base64.b64encode(_png(self.still())).decode(),
            "application/vnd.jupyter.widget-view+json": view,
        }


def slider(
    name: str, low: float, high: float, value: float, step: float, fmt: str | None = None
) -> ipywidgets.FloatSlider | ipywidgets.IntSlider:
    """A slider with its name and value in text; whole numbers where all arguments are whole.

    Args:
        name: written before it.
        fmt: of the value, as in ".2f".

    Raises:
        ValueError: the value lies outside low ... high.
    """
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}: expected {low} to {high}")
    whole = all(isinstance(number, int) for number in (low, high, value, step))
    kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    return kind(
        min=low,
        max=high,
        value=value,
        step=step,
        description=name,
        readout_format=fmt or ("d" if whole else ".2f"),
        style={"description_width": "initial"},
    )


def picker(name: str, options: Mapping[str, Any], value: Any) -> ipywidgets.Dropdown:
    """A list to choose one from: what is written, and the value that it stands for."""
    return ipywidgets.Dropdown(
        options=list(options.items()),
        value=value,
        description=name,
        style={"description_width": "initial"},
        layout={"width": "260px"},
    )


def lay_out(
    pictures: Mapping[str, Image.Image | np.ndarray],
    legend: Mapping[str, Sequence[int]] | None = None,
    marks: Mapping[str, Sequence[tuple[float, float, str]]] | None = None,
) -> Image.Image:
    """Pictures side by side on white: title above each, one legend below.

    Matplotlib would take ten times as long, and a slider should not lag behind the hand.

    Args:
        pictures: title to picture (PIL, or array (height, width, 3) uint8), all of one shape
            or not; each is enlarged or shrunk to its column, without smoothing when enlarged.
        legend: name to colour, RGB 0-255.
        marks: title to (column, row, text), in pixels of that picture: text to write on it.

    Returns:
        RGB picture, 960 pixels wide.
    """
    column = (WIDTH - _GAP * (len(pictures) - 1)) // len(pictures)
    panels = {}
    for title, picture in pictures.items():
        panel = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        size = (column, round(column * panel.height / panel.width))
        enlarged = panel.width <= column
        how = Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX
        panels[title] = (panel.resize(size, how), column / panel.width)
    sheet = Image.new("RGB", (WIDTH, _LINE + max(p.height for p, _ in panels.values())), "white")
    draw, font, small = ImageDraw.Draw(sheet), _font(_TEXT), _font(_TEXT - 3)
    for index, (title, (panel, scale)) in enumerate(panels.items()):
        left = index * (column + _GAP)
        draw.text((left + column / 2, _LINE / 2), title, "black", font, anchor="mm")
        sheet.paste(panel, (left, _LINE))
        for x, y, text in (marks or {}).get(title, ()):
            half = min(small.getlength(text) / 2 + 3, column / 2)
            middle = min(max((x + 0.5) * scale, half), column - half)  # all of it on its picture
            place = (left + middle, _LINE + (y + 0.5) * scale)
            box = draw.textbbox(place, text, small, anchor="mm")
            draw.rectangle((box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2), "white")
            draw.text(place, text, "black", small, anchor="mm")
    return _with_legend(sheet, legend or {})


def fit(picture: Image.Image, longest: int = 480) -> Image.Image:
    """The picture itself, or a smaller copy whose longer side has `longest` pixels."""
    copy = picture.copy()
    copy.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return copy


def outline(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask that touch its outside: (height, width) bool in and out."""
    mask = np.asarray(mask, dtype=bool)
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


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
    for (name, colour), (x, number) in zip(legend.items(), places, strict=True):
        middle = sheet.height + 6 + (number + 0.5) * _LINE
        draw.rectangle((x, middle - 7, x + 14, middle + 7), tuple(map(int, colour)), "gray")
        draw.text((x + 20, middle), name, "black", font, anchor="lm")
    return grown


def _with_lines(sheet: Image.Image, lines: Sequence[str]) -> Image.Image:
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


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()
