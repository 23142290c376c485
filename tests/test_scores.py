"""Notebook 08's own functions: areas of rims against a slow way, and what its text says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from scipy.ndimage import binary_erosion

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "08_scores.ipynb"
CELLS = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells}


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


def test_what_the_text_says_about_noise_and_outlines_is_so() -> None:
    names = (
        *("model", "areas", "protocol-areas", "mean-iou", "subsets", "bootstrap", "paired"),
        *("paired-table", "rim", "two-ways", "rim-scores"),
    )
    from helpers.profiles import get_profile

    space = run(*names, profile=get_profile("tiny"))
    areas, mean_iou = space["areas"], space["mean_iou"]
    score = mean_iou(areas["squashed"].sum(axis=0))
    assert 0.76 < score < 0.80
    low, high = np.percentile(space["scores"], [2.5, 97.5])
    assert 0.74 < low < score < high < 0.81
    assert 0 < score - space["scores"].mean() < 0.006, "rare classes are missing from some draws"
    first = areas["squashed"][:16].sum(axis=0)
    absent = first[2] == 0
    assert (first[1][absent] > 0).sum() == 1, "one class is predicted and in none of the images"
    assert 0.015 < mean_iou(first[:, ~absent]) - mean_iou(first) < 0.03
    squashed, flip = space["changes"].values()
    assert all(low < 0 < high for _, low, high in squashed.values()), "noise"
    assert squashed["first 16"][0] < -0.8
    assert abs(squashed["last 16"][0]) < 0.5
    assert -0.8 < squashed["all 40"][0] < 0.2
    assert flip["first 16"][1] < 0 < flip["last 16"][1]
    assert flip["all 40"][1] > 0.4, "a real gain"
    assert all(0.7 < change < 1.8 for change, _, _ in flip.values())
    change = {
        kind: space["difference"](("argmax first", kind), ("argmax last", kind))[0]
        for kind in ("IoU", "boundary IoU")
    }
    assert 3.5 < change["IoU"] < 5.5 < change["boundary IoU"] < 8.5
    rims = space["iou_of"](areas["argmax last", "boundary IoU"].sum(axis=0))
    plain = space["iou_of"](areas["argmax last", "IoU"].sum(axis=0))
    assert (rims[~np.isnan(rims)] <= plain[~np.isnan(rims)] + 0.01).all()
