"""The bundled checkpoints: real, complete, small, and as good as their cards say."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

from helpers.evaluation import evaluate
from helpers.inference import load_model
from helpers.labels import ADE20K
from helpers.profiles import BUNDLED, get_profile
from tools.drawing.train_semantic import held_out_scenes
from tools.drawing.train_semantic import main as pretrain

CHECKPOINTS = BUNDLED / "checkpoints"


def test_bundled_files_are_small() -> None:
    files = [file for part in ("scenes", "checkpoints") for file in (BUNDLED / part).rglob("*.*")]
    files += list(BUNDLED.glob("*.png"))
    assert sum(file.stat().st_size for file in files) <= 15e6


@pytest.mark.parametrize(("name", "new"), [("segformer-toy", set()), ("mit-toy", {"decode_head"})])
def test_loads_completely(name: str, new: set[str]) -> None:
    model, report = AutoModelForSemanticSegmentation.from_pretrained(
        CHECKPOINTS / name, num_labels=ADE20K.num_labels, output_loading_info=True
    )
    assert {key.split(".")[0] for key in report["missing_keys"]} == new
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert 0.5e6 <= sum(p.numel() for p in model.segformer.parameters()) <= 4e6
    stored = load_file(CHECKPOINTS / name / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {
        torch.float16
    }
    assert AutoImageProcessor.from_pretrained(CHECKPOINTS / name).do_reduce_labels


def test_encoder_s_weights_are_named_as_the_published_one_s() -> None:
    """Else older versions of transformers, such as Colab's, load none of them into a segmenter."""
    names = load_file(CHECKPOINTS / "mit-toy" / "model.safetensors")
    assert all(name.startswith("segformer.encoder.") for name in names)


def test_encoder_is_that_of_the_segmenter() -> None:
    encoder = AutoModelForSemanticSegmentation.from_pretrained(CHECKPOINTS / "mit-toy")
    whole = AutoModelForSemanticSegmentation.from_pretrained(CHECKPOINTS / "segformer-toy")
    for name, tensor in whole.segformer.state_dict().items():
        assert torch.equal(tensor, encoder.segformer.state_dict()[name]), name


def test_segmenter_keeps_what_its_card_promises() -> None:
    card = (CHECKPOINTS / "segformer-toy" / "README.md").read_text(encoding="utf-8")
    promised = float(re.search(r"^\| (0\.\d{4}) \| 0\.\d{4} \|$", card, re.MULTILINE).group(1))
    model, image_processor = load_model(get_profile("tiny").finetuned_model)
    assert model.config.id2label == ADE20K.id2label
    assert promised >= 0.75
    scores = evaluate(held_out_scenes(30), model, image_processor).compute()
    # Thirty of the two hundred scenes: the rest is chance, and a damaged file scores near 0.
    assert scores["mean_iou"] > promised - 0.08


@pytest.mark.slow
def test_pretraining_runs_from_random_weights(tmp_path: Path) -> None:
    options = ["--scenes", "4", "--steps", "2", "--batch-size", "2", "--evaluate-on", "2"]
    where = ["--work-dir", str(tmp_path / "work"), "--output", str(tmp_path / "made")]
    pretrain([*options, *where])
    for name in ("mit-toy", "segformer-toy"):
        made = {file.name for file in (tmp_path / "made" / name).iterdir()}
        assert made == {file.name for file in (CHECKPOINTS / name).iterdir()}
    model, _ = load_model(tmp_path / "made" / "segformer-toy")
    drawn = {ADE20K.id2label[label] for label in range(ADE20K.num_labels)} - {
        name
        for name, bias in zip(
            ADE20K.id2label.values(), model.decode_head.classifier.bias, strict=True
        )
        if bias < -50
    }
    assert {"wall", "car", "lamp"} <= drawn
    assert "airplane" not in drawn
