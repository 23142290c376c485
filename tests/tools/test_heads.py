"""What notebook 10 shows of frozen features was measured, and its live numbers are as it says."""

import ast

import nbformat
import pytest
import torch

from helpers.profiles import BUNDLED, REPOSITORY
from tools.photos import heads

NOTEBOOK = nbformat.read(REPOSITORY / "notebooks" / "10_few_images.ipynb", as_version=4)
CELLS = {cell.id: cell.source for cell in NOTEBOOK.cells}
TEXT = "\n".join(CELLS.values())
STORED = heads.stored()
NAMES = {
    "ImageNet, squashed": "ImageNet, squashed to a square",
    "ImageNet, other padding": "ImageNet, padded on all sides",
    "toy scenes": "our toy encoder",
}


@pytest.mark.parametrize("experiment", ["features", "decays"])
def test_the_notebook_shows_the_tables_that_were_measured(experiment: str) -> None:
    for row in STORED[experiment]:
        first, campus, elsewhere = row.values()
        name = NAMES.get(first, str(first).replace("color", "colour").removesuffix(".0"))
        assert f"| {name} | {heads.told(campus)} | {heads.told(elsewhere)} |" in TEXT


def test_the_notebook_draws_the_curve_that_was_measured() -> None:
    shown = ast.literal_eval(CELLS["curve-data"].partition("curve = ")[2])
    columns = {"campus": "validation", "elsewhere": "test"}
    for place, column in columns.items():
        rows = {row["photographs"]: row[column] for row in STORED["photographs"]}
        assert shown[place] == {count: [round(one, 2) for one in rows[count]] for count in rows}


def test_the_notebook_tells_the_scores_of_other_splits() -> None:
    (scores,) = (row["validation"] for row in STORED["splits"] if row["split"] == "at random")
    for score in scores:
        assert f"{score:.2f}" in CELLS["place-why"]


@pytest.mark.slow
def test_a_linear_layer_on_twelve_photographs_finds_the_classes_elsewhere() -> None:
    photographs = heads.Photographs(str(BUNDLED / "photos"), "ImageNet")
    torch.manual_seed(0)
    scores = photographs.scores(photographs.linear())
    assert scores["validation"] >= 0.75
    assert scores["test"] >= 0.65


@pytest.mark.parametrize(("encoder", "channels"), [("ImageNet", 496), ("toy scenes", 416)])
def test_features_come_in_the_same_form_from_both_families(encoder: str, channels: int) -> None:
    features, _ = heads.load_encoder(encoder)
    maps = features(torch.zeros(1, 3, 64, 96))
    assert heads.joined(maps).shape == (1, channels, 8, 12)
