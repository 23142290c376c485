"""What is bundled: the files as they were made, and checkpoints as good as their cards say."""

import re

import pytest
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    AutoModelForUniversalSegmentation,
    pipeline,
)

from helpers.evaluation import evaluate
from helpers.images import load_image
from helpers.inference import load_model
from helpers.labels import ADE20K
from helpers.profiles import BUNDLED
from tools.drawing.checksums import LIST, checksums
from tools.drawing.scenes import HELD_OUT_SEEDS, draw_scene
from tools.drawing.train_panoptic import panoptic_quality
from tools.drawing.train_semantic import held_out_scenes

CHECKPOINTS = BUNDLED / "checkpoints"
SEMANTIC, UNIVERSAL = AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation


def test_bundled_files_are_those_of_the_list() -> None:
    listed, found = LIST.read_text(encoding="utf-8").splitlines(), checksums().splitlines()
    changed = {line.partition("  ")[2] for line in {*listed} ^ {*found}}
    assert changed == set(), "if on purpose, run `python -m tools.drawing.checksums`"


def card_figures(name: str) -> list[float]:
    """The scores in a model's card, on 200 scenes that no training saw."""
    card = (CHECKPOINTS / name / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| 0\.\d{4}.*\|$", card, re.MULTILINE)
    return [float(figure) for figure in re.findall(r"0\.\d{4}", row)]


@pytest.mark.parametrize(
    ("name", "auto_class", "new"),
    [
        ("efficientnet-lite0", SEMANTIC, {"decode_head"}),
        ("mit-toy", SEMANTIC, {"decode_head"}),
        ("segformer-toy", SEMANTIC, set()),
        ("campus-upernet", SEMANTIC, set()),
        ("mask2former-toy", UNIVERSAL, set()),
        ("mask2former-toy-instance", UNIVERSAL, set()),
    ],
)
def test_checkpoint_loads_completely(name: str, auto_class: type, new: set[str]) -> None:
    labels = {"num_labels": ADE20K.num_labels} if new else {}
    model, report = auto_class.from_pretrained(
        CHECKPOINTS / name, output_loading_info=True, **labels
    )
    assert {key.split(".")[0] for key in report["missing_keys"]} == new
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    if auto_class is SEMANTIC:
        image_processor = AutoImageProcessor.from_pretrained(CHECKPOINTS / name)
        assert image_processor.do_reduce_labels == ("toy" in name)
    if "toy" in name and not new:
        assert model.config.id2label == ADE20K.id2label


# Thirty of the two hundred scenes: the rest is chance, and a damaged file scores near 0.


@pytest.mark.slow
def test_segmenter_keeps_what_its_card_promises() -> None:
    promised, _ = card_figures("segformer-toy")
    assert promised >= 0.75
    scores = evaluate(held_out_scenes(30), *load_model(CHECKPOINTS / "segformer-toy")).compute()
    assert scores["mean_iou"] > promised - 0.08


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "subtask", "threshold", "bounds"),
    [
        ("mask2former-toy", "panoptic", 0.5, {"all": 0.08, "things": 0.1, "stuff": 0.08}),
        ("mask2former-toy-instance", "instance", 0.8, {"things": 0.1}),
    ],
)
def test_universal_model_keeps_what_its_card_promises(
    name: str, subtask: str, threshold: float, bounds: dict[str, float]
) -> None:
    promised = dict(zip(bounds, card_figures(name), strict=True))
    assert promised["things"] >= 0.50
    assert promised.get("all", 1) >= 0.65
    loaded = pipeline("image-segmentation", model=str(CHECKPOINTS / name))
    scenes = [draw_scene(seed) for seed in HELD_OUT_SEEDS[:30]]
    scores = panoptic_quality(scenes, loaded.model, loaded.image_processor, threshold, subtask)
    for part, tolerance in bounds.items():
        assert scores[part] > promised[part] - tolerance, part


@pytest.mark.parametrize("name", ["mask2former-toy", "mask2former-toy-instance"])
@pytest.mark.parametrize(
    ("mode", "size", "shown"),
    [
        ("L", (1, 1), (1, 1)),
        ("RGBA", (500, 20), (500, 20)),
        ("RGB", (8000, 6000), (1024, 768)),
    ],
)
def test_odd_images_work_as_notebook_01_reads_them(name, mode, size, shown, tmp_path) -> None:
    file = tmp_path / "image.png"
    Image.new(mode, size, 200).save(file)
    image = load_image(file)
    image.thumbnail((1024, 1024))
    segmenter = pipeline("image-segmentation", model=str(CHECKPOINTS / name))
    for subtask in ("semantic", "instance", "panoptic"):
        assert all(one["mask"].size == shown for one in segmenter(image, subtask=subtask))
