"""An image with sliders that is a still image wherever no kernel runs.

An `Explorer` draws into a `widgets.Image` whenever a control moves. Shown in a notebook it is one
output that carries the live view, a PNG and a sentence: GitHub, a page made by nbconvert and a
notebook without a kernel show the PNG. It needs only what ipywidgets 7.7 and 8 have in common.
"""

from __future__ import annotations

import base64
import html
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
from PIL import Image

from helpers.widgets.sheet import png, with_lines


class Explorer:
    """Controls above an image that follows them, with what it shows in words below.

    Args:
        controls: widgets with a `value`, by name; each change draws the image again.
        draw: called with the controls' values by name; returns the image and one or two
            sentences on what it shows now.
        sentence: what there is to see, for whoever has neither the widgets nor the image.

    Attributes:
        view: the widget to put on a page; `controls`, `image` and `told` are its parts.
    """

    def __init__(
        self,
        controls: Mapping[str, ipywidgets.ValueWidget],
        draw: Callable[..., tuple[Image.Image, str]],
        sentence: str,
    ) -> None:
        self.controls, self.sentence, self._draw = dict(controls), sentence, draw
        self.image = ipywidgets.Image(format="png", layout={"max_width": "100%"})
        self.told = ipywidgets.HTML()
        row = ipywidgets.HBox(list(controls.values()), layout={"flex_flow": "row wrap"})
        self.view = ipywidgets.VBox([row, self.image, self.told])
        for control in controls.values():
            control.observe(self._follow, names="value")
        self._follow()

    def still(self) -> Image.Image:
        """The image as it is now, with its sentence and where to find the controls."""
        names = ", ".join(control.description.lower() for control in self.controls.values())
        note = f"Still image. Run this cell in Jupyter to change: {names}."
        return with_lines(self._shown, [*textwrap.wrap(self._says, 140), note])

    def _follow(self, change: Any = None) -> None:
        values = {name: control.value for name, control in self.controls.items()}
        self._shown, self._says = self._draw(**values)
        self.image.value = png(self._shown)
        # A status is read aloud by a screen reader whenever it changes.
        self.told.value = f'<p role="status">{html.escape(self._says)}</p>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        # From the model's id, since widgets of ipywidgets 7 have no bundle of their own to extend.
        view = {"version_major": 2, "version_minor": 0, "model_id": self.view.model_id}
        return {
            "text/plain": self.sentence,
            "image/png": base64.b64encode(png(self.still())).decode(),
            "application/vnd.jupyter.widget-view+json": view,
        }


def slider(
    name: str, low: float, high: float, value: float, step: float
) -> ipywidgets.FloatSlider | ipywidgets.IntSlider:
    """A slider with its name and value in text; whole numbers where all arguments are whole.

    Args:
        name: written before it.

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
        readout_format="d" if whole else ".2f",
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
