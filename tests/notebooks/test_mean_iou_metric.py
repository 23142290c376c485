"""Our `mean_iou` module, through `evaluate.load`, against the published one's definition.

At the end: what notebooks 00 and 04 hand to `Trainer`, and what they say that it costs.
"""

import ast
import gc
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
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import KEYS, assert_equal_scores
from reference import mean_iou as reference_mean_iou
from samples import small_model, small_processor
from torch.nn.functional import interpolate
from torchmetrics import JaccardIndex
from torchmetrics.segmentation import MeanIoU
from transformers import Trainer, TrainingArguments

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


TORCHMETRICS = MEAN_IOU["nb04-041"]


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> evaluate.Metric:
    """`evaluate.load("mean_iou")` from the notebooks' folder, offline (see the root's conftest).

    The folder of modules is the whole process's: Python looks for a second metric where it found
    the first, so a folder of this test's own would hide later ones.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY / "notebooks")
        return evaluate.load("mean_iou", cache_dir=str(tmp_path_factory.mktemp("evaluate")))


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


def published_pairs() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Its predictions and references as tensors."""
    example = published_example()
    pairs = zip(example["predictions"], example["references"], strict=True)
    return [(torch.from_numpy(one), torch.from_numpy(other)) for one, other in pairs]


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
def test_maps_pass_through_the_metric_s_files_unchanged(metric, dtype: type) -> None:
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

PLAIN: dict[str, Any] = {"remove_unused_columns": False, "report_to": "none", "use_cpu": True}


def toy_scenes(count: int) -> Dataset:
    """Test scenes, as a small model reads them."""
    processor, scenes = small_processor(), load_scenes(get_profile("tiny"))["test"]
    return scenes.select(range(count)).with_transform(
        lambda rows: processor(rows["image"], rows["annotation"])
    )


def test_what_notebook_04_offers_to_copy_serves_a_trainer_that_saves(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(REPOSITORY / "notebooks")
    copied: dict[str, Any] = {}
    exec(re.search(r"```python\n(.+?)```", MEAN_IOU["nb04-compute-metrics"], re.DOTALL)[1], copied)

    scenes = toy_scenes(4)
    trainer = Trainer(
        small_model(),
        TrainingArguments(
            output_dir=str(tmp_path),
            max_steps=2,
            eval_strategy="steps",
            eval_steps=1,
            save_steps=1,
            **PLAIN,
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


@pytest.mark.parametrize("line", re.findall(r"^\| .*0\.\d{4}.*$", TORCHMETRICS, re.MULTILINE))
def test_torchmetrics_gives_what_the_table_of_notebook_04_says(line: str) -> None:
    """The whole table but for the refusal: what is written in its first column, on the example."""
    settings_ = {"task": "multiclass", "num_classes": 10, "ignore_index": 255}
    pairs = published_pairs()
    if "without the ignored pixels" in line:
        metric = MeanIoU(num_classes=10, input_format="index")
        pairs = [(p[r != 255], r[r != 255]) for p, r in pairs]
    else:
        for name, value in re.findall(r"`(average|num_classes)=([^`]+)`", line):
            settings_[name] = ast.literal_eval(value)
        metric = JaccardIndex(**settings_)
    for prediction, reference in pairs:
        metric.update(prediction[None], reference[None])
    told = float(re.search(r"\| (0\.\d{4}) \|", line)[1])
    assert metric.compute().mean().item() == pytest.approx(told, abs=5e-5)


def test_torchmetrics_mean_iou_refuses_255_as_notebook_04_says() -> None:
    assert '| `MeanIoU(num_classes=10, input_format="index")` | `RuntimeError` |' in TORCHMETRICS
    ((prediction, reference), *_) = published_pairs()
    with pytest.raises(RuntimeError, match="smaller than num_classes"):
        MeanIoU(num_classes=10, input_format="index").update(prediction[None], reference[None])


def test_what_add_batch_stores_takes_the_memory_that_notebook_04_says(metric, monkeypatch) -> None:
    """`compute` decodes all maps that were added, and has them in memory at once."""
    taken = []

    def measured(predictions: list, references: list, **settings: Any) -> dict[str, Any]:
        taken.append(sum(np.asarray(one).nbytes for one in (*predictions, *references)))
        return {}

    monkeypatch.setattr(metric, "_compute", measured)
    maps = np.zeros((2, 512, 512), dtype=np.uint8)
    for batches in (1, 3):
        for _ in range(batches):
            metric.add_batch(predictions=maps, references=maps)
        metric.compute()
    assert taken[1] == 3 * taken[0], "it grows with the number of images"
    assert 2000 * taken[0] / len(maps) / 1e9 == pytest.approx(1, rel=0.1)
    assert "with their annotations in the end: about 1 GB" in MEAN_IOU["nb04-058"]


# --- what notebook 00 offers to copy --------------------------------------------------------------


def quickstart_metric() -> dict[str, Any]:
    """The names of the quickstart's cell, as its reader has them."""
    names = {"torch": torch, "interpolate": interpolate}
    names["id2label"] = dict(enumerate(ADE20K.names))
    exec(QUICKSTART["metric"], names)
    exec(QUICKSTART["count"], names)
    return names


def test_what_notebook_00_offers_to_copy_serves_a_trainer(tmp_path: Path) -> None:
    """Evaluated twice, the last batch smaller: the scores of all images at once."""
    copied = quickstart_metric()
    scenes = toy_scenes(5)
    trainer = Trainer(
        small_model(),
        TrainingArguments(
            output_dir=str(tmp_path), per_device_eval_batch_size=2, batch_eval_metrics=True, **PLAIN
        ),
        eval_dataset=scenes,
        compute_metrics=copied["compute_metrics"],
        preprocess_logits_for_metrics=copied["to_label_maps"],
    )
    first, again = trainer.evaluate(), trainer.evaluate()
    trainer.compute_metrics = trainer.preprocess_logits_for_metrics = None
    trainer.args.batch_eval_metrics = False
    logits, labels, _ = trainer.predict(scenes)
    maps = interpolate(torch.from_numpy(logits), labels.shape[-2:], mode="bilinear").argmax(dim=1)
    expected = reference_mean_iou(maps.numpy(), labels, ADE20K.num_labels, 255)
    for name, key in (("eval_mean_iou", "mean_iou"), ("eval_accuracy", "overall_accuracy")):
        assert first[name] == pytest.approx(expected[key]), name
        assert again[name] == first[name], "counts of the first evaluation are left"


def test_the_metric_of_notebook_00_keeps_nothing_but_counts() -> None:
    """After 40 batches it holds no more tensors, and no larger ones, than after the first."""
    compute_metrics = quickstart_metric()["compute_metrics"]

    def held() -> int:
        gc.collect()
        tensors = {id(one): one for one in gc.get_objects() if isinstance(one, torch.Tensor)}
        return sum(one.nbytes for one in tensors.values())

    maps = torch.zeros(2, 64, 64, dtype=torch.long)
    batch = SimpleNamespace(predictions=maps.byte(), label_ids=maps)
    sizes = []
    for batches in (1, 39):
        for _ in range(batches):
            assert compute_metrics(batch, compute_result=False) == {}
        sizes.append(held())
    assert sizes[0] == sizes[1]
    assert compute_metrics(batch, compute_result=True)["mean_iou"] == 1
    assert "180 kB" in QUICKSTART["evaluate"]
    assert ADE20K.num_labels**2 * 8 == 180_000
