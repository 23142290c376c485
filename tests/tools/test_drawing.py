"""Drawing of scenes, streets and fruit, and the training of the bundled checkpoints on them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    AutoModelForSemanticSegmentation,
    Mask2FormerForUniversalSegmentation,
    SegformerModel,
)

from helpers.labels import ADE20K
from helpers.profiles import BUNDLED
from tools.drawing import classes, fruit, train_panoptic, train_semantic
from tools.drawing.dataset import SPLIT_SEEDS, STREETS
from tools.drawing.scenes import HELD_OUT_SEEDS, PRETRAINING_SEEDS_START, draw_scene

CHECKPOINTS = BUNDLED / "checkpoints"
CLASS_NAMES = {
    name.lower().replace("_", " "): value
    for name, value in vars(classes).items()
    if name.isupper() and isinstance(value, int)
}

# --- scenes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5, 1000, 12345])
def test_same_seed_draws_the_same_scene(seed: int) -> None:
    first, second = draw_scene(seed), draw_scene(seed)
    assert first.scene_category == second.scene_category
    for name in ("image", "annotation", "instances"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    other = draw_scene(seed + 20, kind=first.scene_category)
    assert other.scene_category == first.scene_category
    assert other.annotation.tobytes() != first.annotation.tobytes()


def test_seeds_with_different_purposes_never_meet() -> None:
    ranges = [set(seeds) for seeds in (*SPLIT_SEEDS.values(), HELD_OUT_SEEDS)]
    assert sum(map(len, ranges)) == len(set.union(*ranges)) == 400
    assert max(map(max, ranges)) < PRETRAINING_SEEDS_START


@pytest.mark.parametrize(("name", "seed"), STREETS.items())
def test_the_streets_of_notebook_01_can_be_drawn_again(name: str, seed: int) -> None:
    scene = draw_scene(seed, kind="street")
    for part in ("image", "annotation", "instances"):
        stored = np.asarray(Image.open(BUNDLED / "street" / name / f"{part}.png"))
        assert np.array_equal(stored, np.asarray(getattr(scene, part))), part


def test_constants_are_named_as_ade20k_names_them() -> None:
    official = {"other": 0} | {name.strip(): label + 1 for label, name in ADE20K.id2label.items()}
    official["television"] = official["television receiver"]
    assert CLASS_NAMES.keys() <= official.keys()
    assert {name: official[name] for name in CLASS_NAMES} == CLASS_NAMES


def test_drawing_the_fruit_folder_again_deletes_no_image_of_somebody_else(tmp_path: Path) -> None:
    fruit.write_fruit_folder(tmp_path, 40)
    (tmp_path / "images" / ".DS_Store").touch()  # what file managers leave is no image
    fruit.write_fruit_folder(tmp_path, 40)
    photograph = tmp_path / "images" / "IMG_0001.jpg"
    photograph.write_bytes(b"mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"IMG_0001\.jpg.*name it in FOLDER"):
        fruit.write_fruit_folder(tmp_path, 40)
    assert sorted(tmp_path.rglob("*")) == before


# --- training on them -----------------------------------------------------------------------------


@pytest.mark.slow
def test_pretraining_runs_from_random_weights(tmp_path: Path) -> None:
    options = ["--scenes", "4", "--steps", "2", "--batch-size", "2", "--evaluate-on", "2"]
    made = tmp_path / "made"
    train_semantic.main([*options, "--work-dir", str(tmp_path / "work"), "--output", str(made)])
    for name in ("mit-toy", "segformer-toy"):
        files = {file.name for file in (made / name).iterdir()}
        assert files == {file.name for file in (CHECKPOINTS / name).iterdir()}
    # Named as the published one's: else older versions of transformers, such as Colab's, load
    # none of the encoder's weights into a segmenter.
    stored = load_file(made / "mit-toy" / "model.safetensors")
    assert all(name.startswith("segformer.encoder.") for name in stored)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    encoder, model = (
        AutoModelForSemanticSegmentation.from_pretrained(made / name)
        for name in ("mit-toy", "segformer-toy")
    )
    for name, tensor in model.segformer.state_dict().items():
        same = encoder.segformer.state_dict()[name]  # NaN after two steps on four scenes
        torch.testing.assert_close(tensor, same, rtol=0, atol=0, equal_nan=True)
    biases = dict(zip(ADE20K.id2label.values(), model.decode_head.classifier.bias, strict=True))
    never_drawn = {name for name, bias in biases.items() if bias < -50}
    assert "airplane" in never_drawn
    assert not {"wall", "car", "lamp"} & never_drawn


def test_the_backbone_computes_what_the_encoder_does() -> None:
    encoder = SegformerModel.from_pretrained(CHECKPOINTS / "mit-toy").eval()
    model = train_panoptic.build_network(CHECKPOINTS / "mit-toy", seed=0).eval()
    pixel_values = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = encoder(pixel_values, output_hidden_states=True).hidden_states
        features = train_panoptic.backbone_of(model)(pixel_values).feature_maps
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_training_runs_from_the_encoder_and_goes_on_with_things(tmp_path: Path) -> None:
    options = ["--scenes", "4", "--steps", "2", "--batch-size", "2", "--evaluate-on", "1"]
    options += ["--evaluate-every", "100", "--output", str(tmp_path / "made")]
    train_panoptic.main([*options, "--work-dir", str(tmp_path / "all")])
    train_panoptic.main([*options, "--work-dir", str(tmp_path / "things"), "--things-only"])
    for name in ("mask2former-toy", "mask2former-toy-instance"):
        made = {file.name for file in (tmp_path / "made" / name).iterdir()}
        assert made == {file.name for file in (CHECKPOINTS / name).iterdir()}
        Mask2FormerForUniversalSegmentation.from_pretrained(tmp_path / "made" / name)
