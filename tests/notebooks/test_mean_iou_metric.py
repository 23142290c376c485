"""Our `mean_iou` module, through `evaluate.load`, against the published one's definition.

At the end: what notebooks 00 and 04 hand to `Trainer`, and what they say that it costs.
"""

import json
import re
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import evaluate
import nbformat
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import KEYS
from reference import mean_iou as reference_mean_iou
from samples import small_model, small_processor
from torch.nn.functional import interpolate
from transformers import (
    Trainer,
    TrainingArguments,
)

from helpers.data import load_scenes
from helpers.labels import ADE20K
from helpers.profiles import REPOSITORY, get_profile

QUICKSTART, MEAN_IOU = (
    {
        cell.id: cell.source
        for cell in nbformat.read(REPOSITORY / "notebooks" / name, as_version=4).cells
    }
    for name in ("00_quickstart.ipynb", "04_mean_iou.ipynb")
)


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> evaluate.Metric:
    """`evaluate.load("mean_iou")` from the notebooks' folder, offline (see the root's conftest).

    The folder of modules is the whole process's: Python looks for a second metric where it found
    the first, so a folder of this test's own would hide later ones.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY / "notebooks")
        return evaluate.load("mean_iou", cache_dir=str(tmp_path_factory.mktemp("evaluate")))


def assert_equal_scores(scores: dict[str, Any], expected: dict[str, Any]) -> None:
    """All scores to 1e-12, NaN where NaN is expected."""
    assert list(scores) == KEYS
    for key in KEYS:
        np.testing.assert_allclose(scores[key], expected[key], rtol=0, atol=1e-12, err_msg=key)


def published_example() -> dict[str, Any]:
    """The published module's docstring example."""
    predictions = [
        [[1, 2], [3, 4], [5, 255]],
        [[2, 7], [9, 2], [3, 6]],
        [[2, 2, 3], [8, 2, 4], [3, 255, 2]],
    ]
    references = [
        [[0, 3], [5, 4], [6, 255]],
        [[1, 7], [9, 2], [3, 6]],
        [[1, 2, 2], [8, 2, 1], [3, 255, 1]],
    ]
    return {
        "predictions": [np.array(one) for one in predictions],
        "references": [np.array(one) for one in references],
        "num_labels": 10,
        "ignore_index": 255,
        "reduce_labels": False,
    }


def test_the_published_docstring_example(metric: evaluate.Metric) -> None:
    scores = metric.compute(**published_example())
    assert list(scores) == KEYS
    assert scores["mean_iou"] == pytest.approx(0.4775, abs=1e-12)
    assert scores["mean_accuracy"] == pytest.approx(0.5916666666666667, abs=1e-12)
    assert scores["overall_accuracy"] == pytest.approx(0.5263157894736842, abs=1e-12)
    expected_iou = [0, 0, 0.375, 0.4, 0.5, 0, 0.5, 1, 1, 1]
    expected_accuracy = [0, 0, 0.75, 2 / 3, 1, 0, 0.5, 1, 1, 1]
    np.testing.assert_allclose(scores["per_category_iou"], expected_iou, atol=1e-12)
    np.testing.assert_allclose(scores["per_category_accuracy"], expected_accuracy, atol=1e-12)
    for argument in ("num_labels", "ignore_index", "nan_to_num", "label_map", "reduce_labels"):
        assert argument in metric.inputs_description


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_maps_pass_through_the_metric_s_files_unchanged(
    metric: evaluate.Metric, dtype: type
) -> None:
    """At once, or in batches that are added one by one."""
    rng = np.random.default_rng(0)
    maps = {
        "predictions": [rng.integers(0, 10, (5, 7)).astype(dtype) for _ in range(3)],
        "references": [rng.integers(0, 12, (5, 7)).astype(dtype) for _ in range(3)],
    }
    labels = {"num_labels": 12, "ignore_index": 11}
    expected = reference_mean_iou(**maps, **labels)
    assert_equal_scores(metric.compute(**maps, **labels), expected)
    for pair in zip(*maps.values(), strict=True):
        metric.add_batch(**{name: [one] for name, one in zip(maps, pair, strict=True)})
    assert_equal_scores(metric.compute(**labels), expected)


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Small maps with values beyond the labels, and any of the optional arguments."""
    num_labels = draw(st.one_of(st.integers(1, 8), st.sampled_from([150, 255, 256, 300])))
    ignore_index = draw(st.sampled_from([255, None, 0, -1]))
    values = [0, 1, 2, num_labels - 1, num_labels, num_labels + 3, 255, 254]
    dtype = draw(st.sampled_from([np.int32, np.int64]))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=5))
    maps = hnp.arrays(dtype, shape, elements=st.sampled_from(values))
    count = draw(st.integers(1, 3))
    return {
        "predictions": [draw(maps) for _ in range(count)],
        "references": [draw(maps) for _ in range(count)],
        "num_labels": num_labels,
        "ignore_index": ignore_index,
        "nan_to_num": draw(st.sampled_from([None, 0, -1])),
        "label_map": draw(st.sampled_from([None, {1: 2}, {1: 2, 2: 0}, {0: 255}])),
        "reduce_labels": draw(st.booleans()),
    }


@settings(max_examples=150, deadline=None)
@given(arguments())
def test_scores_equal_the_reference(metric: evaluate.Metric, case: dict[str, Any]) -> None:
    """`_compute` alone: `compute` would write every map to a file first."""
    expected, before = reference_mean_iou(**case), deepcopy(case)
    assert_equal_scores(metric._compute(**case), expected)
    np.testing.assert_equal(case, before)  # what it is given stays as it is


def test_maps_of_unlike_shape_are_refused(metric: evaluate.Metric) -> None:
    maps = {"predictions": [np.zeros((4, 2), np.uint8)], "references": [np.zeros((2, 3), np.uint8)]}
    told = re.escape("has shape (4, 2), its reference (2, 3): expected equal shapes")
    with pytest.raises(ValueError, match=told):
        metric.compute(**maps, num_labels=3, ignore_index=255)


# --- what the notebooks hand to `Trainer` ---------------------------------------------------------


def test_what_notebook_04_offers_to_copy_serves_a_trainer_that_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY / "notebooks")
    copied: dict[str, Any] = {}
    exec(re.search(r"```python\n(.+?)```", MEAN_IOU["nb04-compute-metrics"], re.DOTALL)[1], copied)

    image_processor = small_processor()
    scenes = load_scenes(get_profile("tiny"))["test"].select(range(4))
    scenes = scenes.with_transform(lambda rows: image_processor(rows["image"], rows["annotation"]))
    trainer = Trainer(
        small_model(),
        TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=2,
            eval_strategy="steps",
            eval_steps=1,
            save_steps=1,
            remove_unused_columns=False,
            report_to="none",
            use_cpu=True,
        ),
        train_dataset=scenes,
        eval_dataset=scenes,
        compute_metrics=copied["compute_metrics"],
    )
    trainer.train()
    state = json.loads((tmp_path / "checkpoint-2" / "trainer_state.json").read_text())
    logits, labels, _ = trainer.predict(scenes)
    predictions = interpolate(torch.from_numpy(logits), labels.shape[-2:], mode="bilinear")
    expected = reference_mean_iou(predictions.argmax(dim=1).numpy(), labels, ADE20K.num_labels, 255)
    for name in ("mean_iou", "mean_accuracy", "overall_accuracy"):
        assert state["log_history"][-1][f"eval_{name}"] == pytest.approx(expected[name])


@pytest.mark.parametrize("text", [QUICKSTART["evaluate"], MEAN_IOU["nb04-compute-metrics"]])
def test_the_metric_of_notebook_00_takes_the_memory_that_the_notebooks_say(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`compute` decodes all maps that were added, and has them in memory at once."""
    monkeypatch.chdir(REPOSITORY / "notebooks")
    notebook = {
        "evaluate": evaluate,
        "interpolate": interpolate,
        "id2label": range(ADE20K.num_labels),
    }
    exec(QUICKSTART["metric"], notebook)
    taken, compute = [], notebook["metric"]._compute

    def measured(predictions: list, references: list, **settings: Any) -> dict[str, Any]:
        taken.append(sum(np.asarray(one).nbytes for one in (*predictions, *references)))
        return compute(predictions, references, **settings)

    monkeypatch.setattr(notebook["metric"], "_compute", measured)
    maps = torch.zeros(2, 512, 512, dtype=torch.long)
    batch = SimpleNamespace(predictions=maps.byte(), label_ids=maps)
    for batches in (1, 3):
        for number in range(batches):
            notebook["compute_metrics"](batch, compute_result=number + 1 == batches)
    assert taken[1] == 3 * taken[0], "it grows with the number of images"
    told = re.search(r"about ([\d.]+) GB for 2,000 images of 512 × 512", text)
    assert float(told[1]) == pytest.approx(2000 * taken[0] / len(maps) / 1e9, rel=0.1)
