"""The confusion matrix against a plain reference, `torchmetrics`, and wrong input."""

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from reference import KEYS, assert_equal_scores, mean_iou
from transformers import EvalPrediction

from helpers.metrics import ConfusionMatrix, StreamingMeanIoU

DTYPES = [np.uint8, np.int16, np.int32, np.int64]
Pair = tuple[np.ndarray, np.ndarray]


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, int | None, list[Pair]]:
    """num_labels, ignore_index and some pairs of maps: few labels occur, some are ignored."""
    num_labels = draw(st.one_of(st.integers(1, 12), st.sampled_from([150, 255, 256, 257, 300])))
    beyond = [value for value in (255, 300, 65535) if value >= num_labels]
    ignore_index = draw(st.sampled_from([*beyond, None, -1, -100]))
    labels = draw(st.lists(st.integers(0, num_labels - 1), min_size=1, max_size=6, unique=True))
    marked = labels if ignore_index is None else [*labels, ignore_index]
    pairs = []
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6))
        pair = []
        for values in (labels, marked):
            kinds = [
                d
                for d in DTYPES
                if np.iinfo(d).min <= min(values) <= max(values) <= np.iinfo(d).max
            ]
            dtype = draw(st.sampled_from(kinds))
            pair.append(draw(hnp.arrays(dtype, shape, elements=st.sampled_from(values))))
        pairs.append(tuple(pair))
    return num_labels, ignore_index, pairs


@settings(max_examples=100, deadline=None)
@given(cases(), st.booleans())
def test_scores_and_counts_equal_the_reference_however_they_are_added_up(
    case: tuple[int, int | None, list[Pair]], as_torch: bool
) -> None:
    num_labels, ignore_index, pairs = case
    matrix, merged = (ConfusionMatrix(num_labels, ignore_index) for _ in range(2))
    counts = np.zeros((num_labels, num_labels), dtype=np.int64)
    for prediction, reference in pairs:
        kind = torch.from_numpy if as_torch else np.asarray
        matrix.update(kind(prediction), kind(reference))
        part = ConfusionMatrix(num_labels, ignore_index)
        part.update(prediction, reference)
        assert merged.merge(part) is merged
        for predicted, labelled in zip(prediction.flat, reference.flat, strict=True):
            if labelled != ignore_index:
                counts[labelled, predicted] += 1
    assert matrix.counts.dtype == np.int64
    assert (matrix.counts == counts).all()
    assert (merged.counts == counts).all()
    predictions, references = zip(*pairs, strict=True)
    expected = mean_iou(predictions, references, num_labels, ignore_index)
    assert_equal_scores(matrix.compute(), expected)


KINDS = {
    "list": lambda x: x.tolist(),
    "pil": Image.fromarray,
    "torch": torch.from_numpy,
    "uint16": lambda x: x.astype(np.uint16),
    "strided": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("kinds", [*itertools.product(KINDS, KINDS)], ids="-".join)
def test_array_likes_of_any_kind_may_meet(kinds: tuple[str, str]) -> None:
    maps = np.random.default_rng(0).integers(0, 5, (2, 8, 9)).astype(np.uint8)
    matrix, expected = ConfusionMatrix(5), ConfusionMatrix(5)
    matrix.update(*(KINDS[kind](one) for kind, one in zip(kinds, maps, strict=True)))
    expected.update(*maps)
    assert (matrix.counts == expected.counts).all()


@pytest.mark.parametrize("num_labels", [5, 300])
@pytest.mark.parametrize(
    "empty", [[], np.zeros((0, 4), dtype=np.uint8), torch.zeros((0, 3), dtype=torch.int64)]
)
def test_nothing_counted_scores_nan_without_a_warning(num_labels: int, empty: Any) -> None:
    matrix = ConfusionMatrix(num_labels, ignore_index=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrix.update(empty, empty)
        scores = matrix.compute()
    assert list(scores) == KEYS
    assert all(np.isnan(scores[key]).all() for key in KEYS)
    assert scores["per_category_iou"].shape == (num_labels,)


def test_absent_classes_are_nan_and_wrongly_predicted_ones_zero() -> None:
    matrix = ConfusionMatrix(4)
    matrix.update([[0, 0, 1, 1]], [[0, 0, 0, 255]])
    scores = matrix.compute()
    np.testing.assert_equal(scores["per_category_iou"], [2 / 3, 0, np.nan, np.nan])
    np.testing.assert_equal(scores["per_category_accuracy"], [2 / 3, np.nan, np.nan, np.nan])
    assert scores["mean_iou"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("num_labels", "ignore_index"), [(5, 255), (5, None), (300, 65535)])
@pytest.mark.parametrize(
    ("prediction", "reference", "told"),
    [
        (999, 1, "prediction 999 and reference 1"),
        (-1, 1, "prediction -1 and reference 1"),
        (1, 999, "prediction 1 and reference 999"),
        (1, -7, "prediction 1 and reference -7"),
    ],
)
def test_a_value_that_is_no_label_is_named_and_nothing_counted(
    num_labels: int, ignore_index: int | None, prediction: int, reference: int, told: str
) -> None:
    matrix = ConfusionMatrix(num_labels, ignore_index)
    matrix.update([[1, 2]], [[1, 1]])
    before = matrix.counts.copy()
    with pytest.raises(ValueError, match=told) as error:
        matrix.update([[0, prediction]], [[0, reference]])
    assert f"expected label ids 0-{num_labels - 1}" in str(error.value)
    assert "None" not in str(error.value)
    assert (matrix.counts == before).all()


def test_a_value_under_an_ignored_pixel_may_be_anything() -> None:
    for num_labels, ignored in ((5, 255), (300, 65535)):
        matrix = ConfusionMatrix(num_labels, ignored)
        matrix.update([[200, 1, -4, 1000]], [[ignored, 1, ignored, ignored]])
        assert matrix.counts.sum() == matrix.counts[1, 1] == 1


def test_shapes_that_differ_are_named_and_nothing_counted() -> None:
    matrix = ConfusionMatrix(5)
    with pytest.raises(ValueError, match=r"\(1, 4\), references \(4, 4\)") as error:
        matrix.update(np.zeros((1, 4), int), torch.zeros((4, 4), dtype=torch.uint8))
    assert "Upsample the logits" in str(error.value)
    assert matrix.counts.sum() == 0


@pytest.mark.parametrize("wrong", [np.zeros((2, 2)), torch.zeros(2, 2), [[0.5, 1.0]]])
def test_numbers_that_are_not_whole_are_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"whole numbers, got .*float.*argmax"):
        ConfusionMatrix(5).update(wrong, np.zeros((2, 2), dtype=int))


def test_matrices_of_unlike_settings_do_not_merge_and_each_needs_a_label() -> None:
    with pytest.raises(ValueError, match=r"\(5, 255\) and \(5, None\)"):
        ConfusionMatrix(5).merge(ConfusionMatrix(5, None))
    with pytest.raises(ValueError, match="num_labels is 0: expected at least 1"):
        ConfusionMatrix(0)


@pytest.mark.parametrize(("num_labels", "ignored"), [(847, []), (256, [255]), (3, [0])])
@pytest.mark.parametrize("kind", [ConfusionMatrix, StreamingMeanIoU])
def test_a_class_is_not_ignored(kind: type, num_labels: int, ignored: list[int]) -> None:
    """Of ADE20K's 847 classes one is 255: left out, its wrong pixels would not lower a score."""
    told = f"ignore_index is {(ignored or [255])[0]}, which is one of the {num_labels} classes"
    with pytest.raises(ValueError, match=told):
        kind(num_labels, *ignored)


def test_none_counts_all_pixels_of_many_classes() -> None:
    matrix, references = ConfusionMatrix(847, None), np.arange(250, 260)
    matrix.update(np.where(references == 255, 3, references), references)
    assert matrix.counts.sum() == 10
    assert matrix.compute()["overall_accuracy"] == pytest.approx(0.9)


def test_streaming_gives_the_score_of_all_batches_and_starts_anew() -> None:
    predictions, references = np.random.default_rng(0).integers(0, 20, (2, 6, 16, 16))
    references[:, 3] = 255
    whole, streaming = ConfusionMatrix(20), StreamingMeanIoU(20)
    whole.update(predictions, references)
    for _ in range(2):  # two evaluations: nothing of the first is left in the second
        for start in (0, 2, 4):
            batch = EvalPrediction(predictions[start : start + 2], references[start : start + 2])
            result = streaming(batch, compute_result=start == 4)
            if start < 4:
                assert result == {}
        assert result == {key: whole.compute()[key] for key in KEYS[:3]}
        assert (streaming.matrix.counts == whole.counts).all()
