"""The tables of trainings in the notebooks: measured with the present settings, and as stored."""

import re
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from helpers.profiles import get_profile
from tools import sweeps

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
SHOWN_IN = {"heads": "05_training", "rates": "05_training"}
"""The notebook that shows each sweep's table."""


@pytest.mark.parametrize("name", sweeps.SWEEPS)
def test_a_sweep_was_measured_with_the_profile_s_present_settings(name: str):
    present = sweeps.settings(get_profile("tiny"))
    measured = sweeps.stored()[name]["settings"]
    assert measured.items() >= present.items(), f"run `python -m tools.sweeps {name}`"


@pytest.mark.parametrize("name", sweeps.SWEEPS)
def test_the_notebook_shows_what_was_measured(name: str):
    notebook = nbformat.read(NOTEBOOKS / f"{SHOWN_IN[name]}.ipynb", as_version=4)
    table = sweeps.markdown(sweeps.stored()[name]["rows"])
    assert any(table in cell.source for cell in notebook.cells), f"expected there:\n{table}"


def stored_number(cell_id: str, pattern: str) -> float:
    """The last number that follows a pattern in the stored output of a cell of notebook 05."""
    notebook = nbformat.read(NOTEBOOKS / "05_training.ipynb", as_version=4)
    (cell,) = (cell for cell in notebook.cells if cell.id == cell_id)
    text = "".join(output.get("text", "") for output in cell.outputs)
    return float(re.findall(rf"{pattern}\s*≈ ([0-9.]+)", text, flags=re.MULTILINE)[-1])


BOUNDS = {
    ("first-loss", "loss"): (4.5, 5.5),
    ("log-table", "^60 .*"): (0.18, 0.28),
    ("train-run", "^120 .*"): (0.60, 0.68),
    ("spoil-left", "in the log:"): (0.5, 0.7),
    ("spoil-left", "is left:"): (0.0, 0.3),
    ("resume-score", "`Trainer`:"): (0.60, 0.636),
}
"""Cell, what precedes the number, and within which bounds the text of notebook 05 is true."""


@pytest.mark.parametrize(("cell", "pattern"), BOUNDS)
def test_a_number_of_notebook_05_is_as_its_text_says(cell: str, pattern: str):
    low, high = BOUNDS[cell, pattern]
    assert low <= stored_number(cell, pattern) <= high


@pytest.mark.slow
def test_a_faster_head_makes_the_difference_of_notebook_05():
    """Two points of its table, once more: one rate for all, and the rate that it trains with."""
    profile = get_profile("tiny")
    assert 0.20 < sweeps.train(replace(profile, head_learning_rate_factor=1.0))["mean IoU"] < 0.30
    assert 0.60 < sweeps.train(profile)["mean IoU"] < 0.68
