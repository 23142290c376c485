"""Notebook 08's own functions: areas of rims against a slow way, and what its text says."""

import re
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import nbformat
import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from helpers.profiles import REPOSITORY

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


def slow_rim(mask: np.ndarray, distance: int) -> np.ndarray:
    """A binary mask without what erosion leaves, as the authors' own code has it."""
    return mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=distance)


@pytest.mark.parametrize("shape", [(60, 80), (33, 50), (12, 12)])
def test_areas_of_rims_are_those_of_one_class_after_the_other(shape: tuple[int, int]) -> None:
    class Four:
        num_labels = 4

    rim_areas: Callable = run("rim", labels=Four)["rim_areas"]
    random = np.random.default_rng(shape[0])
    coarse = random.integers(0, 5, (2, 4, 4)).repeat(20, axis=1).repeat(20, axis=2)
    prediction, reference = np.where(coarse == 4, [[[0]], [[255]]], coarse)[
        :, : shape[0], : shape[1]
    ]
    distance = max(1, round(0.02 * np.hypot(*shape)))
    seen = np.where(reference == 255, 255, prediction)
    expected = []
    for label in range(4):
        p, r = (slow_rim(labels == label, distance) for labels in (seen, reference))
        expected.append([(p & r).sum(), p.sum(), r.sum()])
    assert rim_areas(prediction, reference).T.tolist() == expected


def test_a_perfect_prediction_has_perfect_rims_whatever_is_ignored() -> None:
    class Two:
        num_labels = 2

    reference = np.zeros((40, 40), dtype=int)
    reference[10:30, 10:30] = 1
    reference[:, 20:] = 255
    prediction = np.where(reference == 255, 1, reference)
    areas = run("rim", labels=Two)["rim_areas"](prediction, reference)
    assert (areas[0] == areas[1]).all()
    assert (areas[0] == areas[2]).all()
    assert areas.all()


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    """What the notebook has defined by its last score, with the bundled model."""
    names = (
        *("model", "areas", "protocol-areas", "mean-iou", "subsets", "bootstrap"),
        *("intervals-figure", "paired", "paired-table", "rim", "two-ways", "rim-scores"),
    )
    from helpers.profiles import get_profile

    return run(*names, profile=get_profile("tiny"))


def bootstrap(areas: np.ndarray, mean_iou: Callable) -> tuple[np.ndarray, tuple[float, float]]:
    """The resampled scores and the interval, as the cell `bootstrap` has them."""
    space = {"np": np, "areas": {"squashed": areas}, "scenes": areas, "mean_iou": mean_iou}
    with redirect_stdout(None):
        exec(BOOTSTRAP, space)
    return space["scores"], (space["low"], space["high"])


@pytest.mark.slow
def test_the_interval_holds_the_true_score_more_often_than_the_resampled_scores(
    notebook: dict[str, Any],
) -> None:
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


def test_the_interval_of_a_nearly_perfect_score_ends_at_1() -> None:
    mean_iou = run("mean-iou")["mean_iou"]
    areas = np.full((5, 3, 2), 100)
    areas[0, 0] = 80
    scores, (_, end) = bootstrap(areas, mean_iou)
    assert 2 * mean_iou(areas.sum(axis=0)) - np.percentile(scores, 2.5) > 1
    assert end == 1


@pytest.mark.slow
def test_what_the_text_says_about_few_images_and_rims_is_so(notebook: dict[str, Any]) -> None:
    areas, mean_iou = notebook["areas"], notebook["mean_iou"]
    figure = notebook["axis"]
    for bar, dot in zip(figure.collections, figure.lines, strict=True):
        (left, _), (right, _) = bar.get_segments()[0]
        assert left < dot.get_xdata()[0] < (left + right) / 2, "left of the middle"
    first = areas["squashed"][:16].sum(axis=0)
    absent = first[2] == 0
    assert (first[1][absent] > 0).sum() == 1, "one class is predicted and in none of the images"
    assert 0.015 < mean_iou(first[:, ~absent]) - mean_iou(first) < 0.03
    plain, rims = (
        notebook["iou_of"](areas["argmax last", kind].sum(axis=0))
        for kind in ("IoU", "boundary IoU")
    )
    assert (rims[~np.isnan(rims)] <= plain[~np.isnan(rims)] + 0.01).all()


@pytest.mark.slow
def test_what_the_notebook_offers_to_type_runs(notebook: dict[str, Any]) -> None:
    score, compare = re.findall(r"`(areas\[.+?\)\)|difference\(.+?\))`", CELLS["further"])
    exec(score, notebook)
    change, low, high = eval(compare, notebook)
    assert low < change < high
