"""What a notebook writes out in full does the same as the helper that stands for it ever after,
and what its text names exists."""

import ast
import pydoc
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import nbformat
import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from scipy.ndimage import binary_erosion, maximum_filter, minimum_filter
from torch.nn.functional import cross_entropy, interpolate
from torchvision import tv_tensors

from helpers.custom import labels_from_colors
from helpers.inference import load_model
from helpers.labels import ADE20K, IGNORE_INDEX
from helpers.metrics import ConfusionMatrix
from helpers.profiles import REPOSITORY, get_profile
from helpers.training import build_arguments, build_trainer, mean_over_pixels
from helpers.transforms import (
    augmentation,
    load_image_processor,
    make_eval_transform,
    make_train_transform,
)
from scripts.losses import weighted_cross_entropy
from scripts.onnx_graph import Graph

NOTEBOOKS = REPOSITORY / "notebooks"


def shown(notebook: str, name: str, **namespace: Any) -> Any:
    """The function or value `name` as the notebook's own code defines it, and nothing else run."""
    for cell in nbformat.read(NOTEBOOKS / notebook, as_version=4).cells:
        commands = re.search(r"^ *[!%]", cell.source, flags=re.MULTILINE)  # as the set-up cell has
        if cell.cell_type != "code" or commands:
            continue
        for statement in ast.parse(cell.source).body:
            targets = [getattr(target, "id", None) for target in getattr(statement, "targets", [])]
            if getattr(statement, "name", None) == name or name in targets:
                module = ast.Module(body=[statement], type_ignores=[])
                exec(compile(module, f"{notebook}: {name}", "exec"), namespace)
                return namespace[name]
    pytest.fail(f"{notebook} does not define {name}")


def text_of(number: str) -> str:
    """The Markdown of the notebook with this number."""
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_reduce_by_hand() -> None:
    by_hand = shown("02_dataset_and_labels.ipynb", "reduce_by_hand", np=np)
    annotation = np.random.default_rng(0).integers(0, 151, (64, 48)).astype(np.uint8)
    np.testing.assert_array_equal(by_hand(annotation), ADE20K.to_label_map(annotation))
    np.testing.assert_array_equal(by_hand(np.arange(151)), ADE20K.to_label_map(np.arange(151)))


def test_confusion_matrix() -> None:
    by_hand = shown("04_mean_iou.ipynb", "confusion_matrix", np=np, IGNORE_INDEX=IGNORE_INDEX)
    iou_of = shown("04_mean_iou.ipynb", "iou_of")
    random = np.random.default_rng(0)
    prediction, reference = random.integers(0, ADE20K.num_labels, (2, 96, 96)).astype(np.uint8)
    reference[random.random(reference.shape) < 0.1] = IGNORE_INDEX
    matrix = ConfusionMatrix(ADE20K.num_labels)
    matrix.update(prediction, reference)
    counts = by_hand(prediction, reference, ADE20K.num_labels)
    np.testing.assert_array_equal(counts, matrix.counts)
    np.testing.assert_allclose(iou_of(counts), matrix.compute()["per_category_iou"], atol=1e-12)


def test_transforms() -> None:
    profile = get_profile("tiny")
    notebook = "03_preprocessing_and_augmentation.ipynb"
    image_processor = load_image_processor(profile)
    augment = augmentation(profile.image_size)
    names = {"np": np, "torch": torch, "tv_tensors": tv_tensors}
    random = np.random.default_rng(0)
    batch = {
        "image": [Image.fromarray(random.integers(0, 256, (96, 120, 3)).astype(np.uint8))] * 3,
        "annotation": [Image.fromarray(random.integers(0, 151, (96, 120)).astype(np.uint8))] * 3,
    }
    for name, ours in (
        (
            "train_transform",
            make_train_transform(image_processor, augmentation(profile.image_size)),
        ),
        ("eval_transform", make_eval_transform(image_processor)),
    ):
        by_hand = shown(notebook, name, augment=augment, image_processor=image_processor, **names)
        torch.manual_seed(3)
        expected = by_hand(batch)
        torch.manual_seed(3)
        got = ours(batch)
        assert expected.keys() == got.keys()
        for key in expected:
            assert torch.equal(expected[key], got[key]), (name, key)


@pytest.fixture
def training_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict]:
    """Runs cells of notebook 05, named in a string, on the profile `tiny` cut to two steps."""
    monkeypatch.setenv("SEG_OUTPUT", str(tmp_path))
    monkeypatch.setenv("SEG_MAX_STEPS", "2")
    cells = nbformat.read(NOTEBOOKS / "05_training.ipynb", as_version=4).cells
    sources = {cell.id: cell.source for cell in cells}
    space: dict[str, Any] = {"PROFILE": "tiny", "__name__": "__main__"}

    def run(names: str) -> dict[str, Any]:
        for name in names.split():
            copied = re.findall(r"```python\n(.+?)```", sources[name], flags=re.DOTALL)
            for code in copied or [sources[name]]:
                exec(compile(code, f"05, {name}", "exec"), space)
        return space

    return run


def test_training_arguments(training_cells) -> None:
    space = training_cells("imports scenes overfit-device this-machine claim arguments-best")
    by_hand = space["arguments"].to_dict()
    ours = build_arguments(space["profile"], space["checkpoints"]).to_dict()
    in_the_optimizer, wrong_in_trainer = {"learning_rate", "weight_decay"}, "load_best_model_at_end"
    different = {name for name in ours if ours[name] != by_hand[name]}
    assert different == in_the_optimizer | {wrong_in_trainer}


def test_two_learning_rates(training_cells) -> None:
    space = training_cells("imports scenes two-rates")
    ours = build_trainer(space["profile"], space["scenes"])
    expected = rates(ours.model, ours.create_optimizer())
    assert rates(space["model"], space["optimizer"]) == expected


def rates(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The learning rate of each weight, by name."""
    found = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
    return {name: found[id(weight)] for name, weight in model.named_parameters()}


def test_what_notebook_05_offers_to_copy_runs_in_it(training_cells, monkeypatch, capsys) -> None:
    space = training_cells(
        "imports scenes new-head overfit-device first-loss label-maps splits metric-code "
        "this-machine two-rates claim arguments-best one-image-callback trainer curves-read"
    )
    space["trainer"].train()
    pushed = []
    monkeypatch.setattr("huggingface_hub.notebook_login", lambda: None)
    for one in (space["trainer"].model, space["image_processor"]):
        push = create_autospec(type(one).push_to_hub, side_effect=lambda *a, **k: pushed.append(k))
        monkeypatch.setattr(type(one), "push_to_hub", push)
    space = training_cells("share course-trainer")
    assert pushed == [{"private": True}] * 2
    told = capsys.readouterr().out
    assert "no checkpoint in" in told
    assert space["exact"].state.global_step == 2


def test_notebook_05_names_the_version_whose_traps_it_shows() -> None:
    cells = nbformat.read(NOTEBOOKS / "05_training.ipynb", as_version=4).cells
    (told,) = re.findall(
        r"those of transformers ([\d.]+\d)", "".join(cell.source for cell in cells)
    )
    pinned = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    assert f"\ntransformers=={told}\n" in pinned


def test_notebook_07_reads_color_coded_masks_as_the_helper_does() -> None:
    colors = {(0, 0, 0): 0, (255, 0, 0): 1, (255, 0, 255): 4}
    by_hand = shown("07_custom_dataset.ipynb", "labels_by_hand", np=np, FRUIT_COLORS=colors)
    codes = np.array([*colors, (9, 9, 9)], dtype=np.uint8)
    coded = Image.fromarray(codes[np.random.default_rng(0).integers(0, 4, (12, 16))])
    known = colors | {(9, 9, 9): IGNORE_INDEX}
    expected = np.asarray(labels_from_colors(coded, known))
    assert (by_hand(coded) == expected).all()
    assert set(np.unique(expected)) == {0, 1, 4, IGNORE_INDEX}


def test_notebook_07_weights_classes_as_the_helper_does() -> None:
    weights = torch.tensor([0.5, 2.0, 1.0])
    by_hand = shown(
        "07_custom_dataset.ipynb",
        "weighted_loss",
        cross_entropy=cross_entropy,
        interpolate=interpolate,
        weights=weights,
    )
    outputs = SimpleNamespace(logits=torch.randn(2, 3, 4, 4, generator=torch.manual_seed(0)))
    labels = torch.randint(0, 3, (2, 16, 16), generator=torch.manual_seed(1))
    labels[:, :3] = 255
    for count in (None, torch.tensor(1000)):
        total = partial(weighted_cross_entropy, weights)
        expected = mean_over_pixels(total, outputs, labels, count)
        torch.testing.assert_close(by_hand(outputs, labels, count), expected)
    assert by_hand(outputs, torch.full_like(labels, 255)) == 0


def test_notebook_07_shows_images_of_the_rare_class_three_times_as_often() -> None:
    (code,) = re.findall(r"^```python\n(rare = .+?)^```", text_of("07"), re.DOTALL | re.MULTILINE)
    masks = [np.full((4, 6), value, dtype=np.uint8) for value in (0, 2, 1)]
    masks[2][3, 5] = 2
    rows = {"annotation": [Image.fromarray(mask) for mask in masks], "number": [0, 1, 2]}
    space = {"np": np, "share": np.array([0.7, 0.2, 0.1])}
    space["dataset"] = {"train": Dataset.from_dict(rows)}
    exec(code, space)
    assert space["often"]["number"] == [0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("shape", [(60, 80), (33, 50), (12, 12)])
def test_notebook_08_counts_rims_as_eroding_one_class_after_the_other_does(shape) -> None:
    names = {"np": np, "maximum_filter": maximum_filter, "minimum_filter": minimum_filter}
    names["rim"] = shown("08_scores.ipynb", "rim", **names)
    names["labels"] = SimpleNamespace(num_labels=4)
    random, (height, width) = np.random.default_rng(shape[0]), shape
    coarse = random.integers(0, 5, (2, 4, 4)).repeat(20, axis=1).repeat(20, axis=2)
    prediction, reference = np.where(coarse == 4, [[[0]], [[255]]], coarse)[:, :height, :width]
    seen, distance = np.where(reference == 255, 255, prediction), round(0.02 * np.hypot(*shape))

    def slow_rim(mask: np.ndarray) -> np.ndarray:
        return mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=max(1, distance))

    expected = []
    for label in range(4):
        p, r = slow_rim(seen == label), slow_rim(reference == label)
        expected.append([(p & r).sum(), p.sum(), r.sum()])
    rim_areas = shown("08_scores.ipynb", "rim_areas", **names)
    assert rim_areas(prediction, reference).T.tolist() == expected


def test_notebook_11_exports_what_the_command_does() -> None:
    model, image_processor = load_model(get_profile("tiny").finetuned_model)
    names = {"torch": torch, "interpolate": interpolate}
    by_hand = shown("11_export.ipynb", "Exported", **names)(model, image_processor)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    given = torch.from_numpy(pixels), torch.tensor([70, 51])
    with torch.inference_mode():
        label_map, logits = by_hand(*given)
        expected_map, expected = Graph(model, image_processor)(*given)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    assert torch.equal(label_map, expected_map)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_what_the_text_names_exists(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    packages = "helpers|scripts|tools|torch|torchvision|transformers|datasets"
    names = re.findall(rf"`((?:{packages})\.[\w.]*\w)", text)
    assert [name for name in names if pydoc.locate(name) is None] == []
    scripts = (NOTEBOOKS.parent / "scripts").glob("*.py")
    commands = "".join(script.read_text(encoding="utf-8") for script in scripts)
    options = re.findall(r"`(--[a-z-]+)(?=[ `])", text)
    assert [option for option in options if f'"{option}"' not in commands] == []
