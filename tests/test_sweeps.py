"""The tables of trainings in the notebooks: measured with the present settings, and as stored."""

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
