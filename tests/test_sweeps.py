"""The tables of trainings in the notebooks: measured with the present settings, and as stored."""

import re
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from helpers.profiles import get_profile
from tools.course import sweeps

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
SHOWN_IN = {"heads": "05_training", "rates": "05_training", "losses": "07_custom_dataset"}
"""The notebook that shows each sweep's table."""


@pytest.mark.parametrize("name", sweeps.SWEEPS)
def test_a_sweep_was_measured_with_the_profile_s_present_settings(name: str):
    present = sweeps.settings(get_profile("tiny"))
    measured = sweeps.stored()[name]["settings"]
    assert measured.items() >= present.items(), f"run `python -m tools.course sweeps {name}`"


@pytest.mark.parametrize("name", sweeps.SWEEPS)
def test_the_notebook_shows_what_was_measured(name: str):
    notebook = nbformat.read(NOTEBOOKS / f"{SHOWN_IN[name]}.ipynb", as_version=4)
    table = sweeps.markdown(sweeps.stored()[name]["rows"])
    assert any(table in cell.source for cell in notebook.cells), f"expected there:\n{table}"


def stored_number(notebook: str, cell_id: str, pattern: str) -> float:
    """The last number that follows a pattern in the stored output of a notebook's cell."""
    cells = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    (cell,) = (cell for cell in cells if cell.id == cell_id)
    text = "".join(output.get("text", "") for output in cell.outputs)
    return float(re.findall(rf"{pattern}\s*≈ (\d+(?:\.\d+)?)", text, flags=re.MULTILINE)[-1])


BOUNDS = {
    ("05_training", "first-loss", "loss"): (4.5, 5.5),
    ("05_training", "log-table", "^60 .*"): (0.18, 0.28),
    ("05_training", "train-run", "^120 .*"): (0.60, 0.68),
    ("05_training", "spoil-left", "in the log:"): (0.5, 0.7),
    ("05_training", "spoil-left", "is left:"): (0.0, 0.3),
    ("05_training", "resume-score", "`Trainer`:"): (0.60, 0.636),
    ("07_custom_dataset", "custom-50", "accuracy"): (0.90, 0.94),
    ("07_custom_dataset", "custom-53", "plain loss:"): (0.54, 0.60),
    ("07_custom_dataset", "custom-53", "class weights:"): (0.60, 0.66),
    ("07_custom_dataset", "worst-class", "worst: pear, IoU"): (0.13, 0.24),
    ("07_custom_dataset", "worst-class", "  apple"): (60, 72),
    ("07_custom_dataset", "custom-55", "a class:"): (3, 12),
    ("07_custom_dataset", "custom-55", "ignored:"): (99, 100),
}
"""Notebook, cell, what precedes the number, and within which bounds the notebook's text is true."""


@pytest.mark.parametrize(("notebook", "cell", "pattern"), BOUNDS)
def test_a_number_of_a_notebook_is_as_its_text_says(notebook: str, cell: str, pattern: str):
    low, high = BOUNDS[notebook, cell, pattern]
    assert low <= stored_number(notebook, cell, pattern) <= high


def loss_scores() -> dict[tuple[int, str, str], list[float]]:
    """Steps, loss and column to the score of each seed."""
    rows = sweeps.stored()["losses"]["rows"]
    return {
        (row["steps"], row["loss"], column): row[column]
        for row in rows
        for column in ("IoU of the pear", "IoU of the cherry", "mean IoU")
    }


def test_the_table_of_losses_is_as_the_text_of_notebook_07_reads_it():
    found, remedies = loss_scores(), ("class weights", "focal", "dice")

    def above(column: str, steps: int, better: str, worse: str) -> bool:
        return min(found[steps, better, column]) > max(found[steps, worse, column])

    for loss in remedies:
        for column in ("IoU of the pear", "mean IoU"):
            assert above(column, 60, loss, "cross-entropy")
        assert not above("IoU of the pear", 120, loss, "cross-entropy")
        assert not above("IoU of the pear", 120, "cross-entropy", loss)
        assert loss == "dice" or above("mean IoU", 60, "dice", loss)
        assert loss == "dice" or above("IoU of the cherry", 60, "dice", loss)
        assert loss == "dice" or above("IoU of the cherry", 120, "dice", loss)
    assert above("IoU of the cherry", 120, "dice", "cross-entropy")
    assert above("IoU of the cherry", 120, "cross-entropy", "class weights")


def test_notebook_07_trains_seed_0_of_the_table_of_losses():
    found = loss_scores()
    for title, loss in (("plain loss:", "cross-entropy"), ("class weights:", "class weights")):
        shown = stored_number("07_custom_dataset", "custom-53", title)
        assert shown == pytest.approx(found[60, loss, "mean IoU"][0], abs=0.03)


@pytest.mark.slow
def test_a_faster_head_makes_the_difference_of_notebook_05():
    """Two points of its table, once more: one rate for all, and the rate that it trains with."""
    profile = get_profile("tiny")
    assert 0.20 < sweeps.train(replace(profile, head_learning_rate_factor=1.0))["mean IoU"] < 0.30
    assert 0.60 < sweeps.train(profile)["mean IoU"] < 0.68
