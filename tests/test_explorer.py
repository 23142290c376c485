"""An image that follows its controls, and the one output that it makes in a notebook."""

import base64
import io

import ipywidgets
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from helpers.widgets.explorer import Explorer, picker, slider
from helpers.widgets.sheet import WIDTH, fit, lay_out, outline
from tools.execute import WIDGET_VIEW, normalize, output_problems


@pytest.fixture
def explorer() -> Explorer:
    def draw(level: int, name: str) -> tuple[Image.Image, str]:
        return lay_out({name: Image.new("RGB", (4, 2), (level, 0, 0))}), f"<{name}> is {level}."

    controls = {
        "level": slider("Level", 0, 255, 100, 5),
        "name": picker("Name", {"first": "a", "second": "b"}, "a"),
    }
    return Explorer(controls, draw, "A red image.")


def shown(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def test_the_image_and_its_words_follow_every_control(explorer: Explorer) -> None:
    seen = [(bytes(explorer.image.value), explorer.told.value)]
    for name, value in (("level", 200), ("name", "b")):
        explorer.controls[name].value = value
        seen.append((bytes(explorer.image.value), explorer.told.value))
    assert len({image for image, _ in seen}) == len({words for _, words in seen}) == 3
    assert shown(seen[-1][0]).getpixel((WIDTH // 2, 200)) == (200, 0, 0)
    assert "&lt;b&gt; is 200." in seen[-1][1]  # escaped: names come from models and files


def test_no_value_lies_outside_its_range(explorer: Explorer) -> None:
    for far, nearest in ((1000, 255), (-3, 0)):
        explorer.controls["level"].value = far
        assert explorer.controls["level"].value == nearest
    with pytest.raises(Exception, match=r"[Ii]nvalid selection"):
        explorer.controls["name"].value = "c"
    with pytest.raises(ValueError, match="Opacity is 2: expected 0 to 1"):
        slider("Opacity", 0, 1, 2, 1)


def test_each_control_has_a_description_and_each_slider_a_readout(explorer: Explorer) -> None:
    assert [control.description for control in explorer.controls.values()] == ["Level", "Name"]
    assert explorer.controls["level"].readout
    assert isinstance(explorer.controls["level"], ipywidgets.IntSlider)
    assert isinstance(slider("Share", 0.0, 1.0, 0.5, 0.1), ipywidgets.FloatSlider)


def test_one_output_holds_view_image_and_sentence(explorer: Explorer) -> None:
    data, _ = DisplayFormatter().format(explorer)  # as a cell's last value is shown
    assert set(data) == {"text/plain", "image/png", WIDGET_VIEW}
    assert data["text/plain"] == "A red image."
    assert data[WIDGET_VIEW]["model_id"] == explorer.view.model_id
    still = shown(base64.b64decode(data["image/png"]))
    live = shown(explorer.image.value)
    assert (np.asarray(still)[: live.height] == np.asarray(live)).all()
    assert still.height > live.height  # below it, what it shows and what could be changed


def test_the_still_image_is_the_one_that_is_shown_now(explorer: Explorer) -> None:
    before = explorer._repr_mimebundle_()["image/png"]
    explorer.controls["level"].value = 200
    assert explorer._repr_mimebundle_()["image/png"] != before


def test_stored_it_keeps_image_and_sentence_and_no_view(explorer: Explorer) -> None:
    output = new_output("execute_result", explorer._repr_mimebundle_())
    notebook = new_notebook(cells=[new_code_cell("explorer", outputs=[output])])
    (problem,) = output_problems(notebook)
    assert "needs a kernel" in problem
    normalize(notebook)
    assert output_problems(notebook) == []
    assert set(notebook.cells[0].outputs[0].data) == {"text/plain", "image/png"}


def test_images_stand_side_by_side_with_legend_and_marks() -> None:
    images = {
        "left": np.full((5, 10, 3), (10, 20, 30), dtype=np.uint8),
        "right": Image.new("RGB", (2000, 500), (200, 0, 0)),
    }
    bare = lay_out(images)
    assert bare.width == WIDTH
    assert bare.getpixel((100, 100)) == (10, 20, 30)
    assert bare.getpixel((900, 100)) == (200, 0, 0)
    legend = {f"a class with a long name {number}": (0, 0, 250) for number in range(9)}
    full = np.asarray(lay_out(images, legend, {"left": [(9, 2, "marked at the edge")]}))
    assert len(full) > bare.height
    swatches = (full[bare.height :] == (0, 0, 250)).all(axis=-1)
    assert swatches.any(axis=0).sum() > 14  # more than one column of them
    written = (full[: bare.height, 475:485] != np.asarray(bare)[:, 475:485]).any()
    assert not written  # a mark stays on its own image


def test_large_images_are_made_smaller_and_small_ones_are_left() -> None:
    assert fit(Image.new("RGB", (1000, 500)), 400).size == (400, 200)
    assert fit(Image.new("RGB", (100, 50)), 400).size == (100, 50)


def test_an_outline_is_the_edge_inside_the_mask() -> None:
    mask = np.zeros((6, 6), dtype=bool)
    mask[1:5, 2:] = True
    expected = mask.copy()
    expected[2:4, 3:] = False
    assert (outline(mask) == expected).all()
    assert not outline(np.ones((3, 3), dtype=bool)).any()
