"""Notebook 08: how often its interval holds the true score, and the lines that it offers."""

import re
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import nbformat
import numpy as np
import pytest

from helpers.profiles import REPOSITORY, get_profile

NOTEBOOK = REPOSITORY / "notebooks" / "08_scores.ipynb"
CELLS = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells}
BOOTSTRAP = compile(CELLS["bootstrap"], "bootstrap", "exec")


def run(*cells: str, **names: Any) -> dict[str, Any]:
    """What the cells define, given the imports of the notebook and some names."""
    space = {"PROFILE": "tiny"}
    exec(CELLS["imports"].split("profile = ")[0], space)
    space |= names
    for cell in cells:
        exec(CELLS[cell], space)
    return space


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    """What the notebook has defined once it compares scores, with the bundled model."""
    names = ("model", "areas", "protocol-areas", "mean-iou", "bootstrap", "paired")
    return run(*names, profile=get_profile("tiny"))


def bootstrap(areas: np.ndarray, mean_iou: Callable) -> tuple[np.ndarray, tuple[float, float]]:
    """The resampled scores and the interval, as the cell `bootstrap` has them."""
    space = {"np": np, "areas": {"squashed": areas}, "scenes": areas, "mean_iou": mean_iou}
    with redirect_stdout(None):
        exec(BOOTSTRAP, space)
    return space["scores"], (space["low"], space["high"])


@pytest.mark.slow
def test_the_interval_holds_the_true_score_more_often_than_the_resampled_scores(notebook) -> None:
    """Here, the truth is the score of the 40 test images, and images are drawn from those."""
    areas, mean_iou = notebook["areas"]["squashed"], notebook["mean_iou"]
    areas = areas[..., areas.any(axis=(0, 1))]  # without the classes that are nowhere
    truth, random, tries = mean_iou(areas.sum(axis=0)), np.random.default_rng(0), 200
    told = re.search(
        r"for (\d+) % of the test sets of 16 images, (\d+) % of those of 40 and (\d+) % of those "
        r"of 160\. The reflected range does so for (\d+), (\d+) and (\d+) %",
        CELLS["bootstrap-read"],
    )
    told = np.reshape([int(number) / 100 for number in told.groups()], (2, 3)).T
    for images, expected in zip((16, 40, 160), told, strict=True):
        found = []
        for _ in range(tries):
            scores, interval = bootstrap(random.choice(areas, images), mean_iou)
            found.append([np.percentile(scores, [2.5, 97.5]), interval])
        lows, highs = np.moveaxis(found, -1, 0)  # each (tries, 2)
        held = ((lows <= truth) & (truth <= highs)).mean(axis=0)
        assert held == pytest.approx(expected, abs=0.08)  # the text's are those of 700 scenes
        if images < 160:
            assert held[0] + 0.05 < held[1]
            assert not (lows[:, 0] > truth).any(), "resampled scores lie too low"


@pytest.mark.slow
def test_what_the_notebook_offers_to_type_runs(notebook: dict[str, Any]) -> None:
    score, compare = re.findall(r"`(areas\[.+?\)\)|difference\(.+?\))`", CELLS["further"])
    exec(score, notebook)
    change, low, high = eval(compare, notebook)
    assert low < change < high
