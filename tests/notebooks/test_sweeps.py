"""The tables of trainings in the notebooks: measured with the present settings, and as stored."""

import ast

import nbformat
import numpy as np
import pytest
from test_notebook_numbers import stored

from helpers.profiles import REPOSITORY, get_profile
from tools.course import sweeps

NOTEBOOKS = REPOSITORY / "notebooks"
SHOWN_IN = {"heads": "05_training", "rates": "05_training", "losses": "07_custom_dataset"}
"""The notebook that shows each sweep's table."""


@pytest.mark.parametrize("name", sweeps.SWEEPS)
def test_a_sweep_was_measured_with_the_profile_s_present_settings(name: str):
    present = sweeps.settings(get_profile("tiny"))
    measured = sweeps.stored()[name]["settings"]
    assert measured.items() >= present.items(), f"run `python -m tools.course sweeps {name}`"


@pytest.mark.parametrize("name", SHOWN_IN)
def test_the_notebook_shows_what_was_measured(name: str):
    notebook = nbformat.read(NOTEBOOKS / f"{SHOWN_IN[name]}.ipynb", as_version=4)
    table = sweeps.markdown(sweeps.stored()[name]["rows"])
    assert any(table in cell.source for cell in notebook.cells), f"expected there:\n{table}"


def test_notebook_08_draws_the_seeds_that_were_measured():
    notebook = nbformat.read(NOTEBOOKS / "08_scores.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if cell.id == "seeds-figure"]
    shown = ast.literal_eval(cell.source.partition("runs = ")[2].partition("\nfound")[0])
    rows = sweeps.stored()["seeds"]["rows"]
    assert shown == {row["seed"]: (row["mean IoU"], row["low"], row["high"]) for row in rows}
    scores, lows, highs = np.array([*shown.values()]).T
    assert np.ptp(scores) == pytest.approx(1), "within one point"
    assert highs - lows == pytest.approx(5, abs=0.5), "about five points long"
    from_seeds, from_images = scores.std(ddof=1), (highs - lows).mean() / 3.92
    both = np.hypot(from_seeds, from_images)
    assert (from_seeds, from_images, both) == pytest.approx((0.5, 1.3, 1.4), abs=0.05)


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
        (shown,) = stored("07", "custom-53", title)
        assert shown == pytest.approx(found[60, loss, "mean IoU"][0], abs=0.03)


def test_the_table_of_heads_is_as_the_text_of_notebook_05_reads_it():
    rows = {row["rate of the head"]: row["mean IoU"] for row in sweeps.stored()["heads"]["rows"]}
    assert 0.20 < rows["1 × 4e-4"] < 0.30
    assert 0.60 < rows["30 × 4e-4"] < 0.68
