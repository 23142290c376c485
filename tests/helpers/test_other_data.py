"""Other data where a run was: nothing is resumed with it, and nothing of the first is lost."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from samples import FRUIT, contents, save_encoder, small_profile, write_fruit

from helpers.data import check_scenes, load_scenes
from helpers.labels import Labels
from helpers.runs import TrainingData
from helpers.training import build_trainer
from scripts.train import main

SWAPPED = Labels([FRUIT.names[k] for k in (0, 2, 1)])
REDUCED = replace(FRUIT, reduce=True)
OTHER = [
    ({"labels": SWAPPED}, "label id 1 is 'pear' in the data and 'apple' in checkpoint-"),
    ({"labels": REDUCED}, "value 0 is not a class in the data and a class in checkpoint-"),
    ({"images": 7}, "there are 7 training images in the data and 6 in checkpoint-"),
    ({"side": 24}, "24,274 training pixels of background in the data and 23,988 in checkpoint-"),
]
"""What differs from the fruit of a first run, and how that is told."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """The folder of a run on fruit, with checkpoint-2 and checkpoint-4 in `checkpoints`."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_fruit(folder / "fruit")
    build_trainer(small_profile(encoder, data), output_dir=folder / "checkpoints").train()
    return folder


@pytest.fixture
def output(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained / "checkpoints", tmp_path / "run" / "checkpoints")
    return tmp_path / "run"


# --- resuming -------------------------------------------------------------------------------------


def test_a_checkpoint_holds_what_its_data_can_be_told_by(trained: Path, encoder: Path) -> None:
    scenes = load_scenes(small_profile(encoder, trained / "fruit"))
    assert len(scenes["train"]) == 6
    for name in ("train", "test"):  # counted once, while each file was looked at
        counted = check_scenes(scenes[name], name, FRUIT)
        assert scenes.areas[name].tolist() == counted.tolist()
    file = trained / "checkpoints" / "checkpoint-2" / "training_data.json"
    pixels = dict(zip(FRUIT.names, scenes.areas["train"].tolist(), strict=True))
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert stored == {"images": 6, "reduce": False, "pixels": pixels}
    assert pixels["apple"] == 6 * 25 * 25


@pytest.mark.parametrize(("other", "told"), OTHER)
def test_a_run_is_not_resumed_with_other_data(
    encoder: Path, output: Path, tmp_path: Path, other: dict, told: str
) -> None:
    before, checkpoint = contents(output), output / "checkpoints" / "checkpoint-4"
    profile = small_profile(encoder, write_fruit(tmp_path / "other", **other), max_steps=6)
    for where, which in ((checkpoint.parent, True), (tmp_path / "new", str(checkpoint))):
        trainer = build_trainer(profile, output_dir=where)
        with pytest.raises(ValueError, match=told) as error:
            trainer.train(resume_from_checkpoint=which)
        assert str(checkpoint.parent) in str(error.value)
    assert contents(output) == before


def test_a_run_is_resumed_when_its_data_have_moved(
    encoder: Path, output: Path, trained: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(trained / "fruit", tmp_path / "elsewhere")
    profile = small_profile(encoder, data, max_steps=6)
    trainer = build_trainer(profile, output_dir=output / "checkpoints")
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 6


def test_a_checkpoint_left_half_written_does_not_stop_a_resume(
    encoder: Path, output: Path, trained: Path
) -> None:
    file = output / "checkpoints" / "checkpoint-4" / "training_data.json"
    file.write_text(file.read_text(encoding="utf-8")[:30], encoding="utf-8")
    (file.parent / "trainer_state.json").unlink()  # it comes last
    profile = small_profile(encoder, trained / "fruit")
    trainer = build_trainer(profile, output_dir=output / "checkpoints")
    trainer.train(resume_from_checkpoint=True)
    assert json.loads(file.read_text(encoding="utf-8"))["images"] == 6  # written again


def test_without_training_data_the_names_in_the_configuration_decide(
    encoder: Path, output: Path, tmp_path: Path
) -> None:
    profile = small_profile(encoder, write_fruit(tmp_path / "other", SWAPPED), max_steps=6)
    trainer = build_trainer(profile, output_dir=output / "checkpoints")
    trainer.training_data = None
    with pytest.raises(ValueError, match="label id 1 is 'pear' in the data and 'apple' in the ch"):
        trainer.train(resume_from_checkpoint=True)


@pytest.mark.parametrize("resume", [False, True])
def test_checkpoints_of_other_data_are_neither_rotated_away_nor_taken_for_the_best(
    encoder: Path, output: Path, tmp_path: Path, resume: bool
) -> None:
    """Only the older of two checkpoints is of other data."""
    TrainingData(SWAPPED, 6).save(output / "checkpoints" / "checkpoint-2")
    before = contents(output)
    data = write_fruit(tmp_path / "fruit")
    trainer = build_trainer(small_profile(encoder, data), output_dir=output / "checkpoints")
    with pytest.raises(ValueError, match="checkpoint-2 belongs to other data"):
        trainer.train(resume_from_checkpoint=resume)
    assert contents(output) == before


# --- the command ----------------------------------------------------------------------------------


def test_the_command_neither_resumes_with_other_data_nor_overwrites_their_model(
    encoder: Path, output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, (other, told) = contents(output), OTHER[2]
    data = write_fruit(tmp_path / "other", **other)
    command = ["--data", str(data), "--start-from", str(encoder), "--output-dir", str(output)]
    assert main([*command, "--image-size", "32", "--batch-size", "4", "--resume"]) == 1
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error")]
    for part in (told, str(output / "checkpoints" / "checkpoint-"), "--output-dir"):
        assert part in line
    assert contents(output) == before
    shutil.copytree(output / "checkpoints" / "checkpoint-4", output, dirs_exist_ok=True)
    shutil.rmtree(output / "checkpoints")  # to save space
    before = contents(output)
    assert main(command) == 2
    assert f"{output} belongs to other data" in capsys.readouterr().err
    assert contents(output) == before


# --- an output folder -----------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["model", "checkpoints/checkpoint-4", "checkpoint-4"])
def test_a_folder_of_other_data_is_refused_and_kept(
    output: Path, tmp_path: Path, place: str
) -> None:
    shutil.copytree(output / "checkpoints" / "checkpoint-4", tmp_path / "out" / place)
    before = contents(tmp_path / "out")
    with pytest.raises(ValueError, match=rf"{place} belongs to other data.*SEG_OUTPUT"):
        TrainingData(SWAPPED, 6).claim(tmp_path / "out")
    assert contents(tmp_path / "out") == before
    ours = TrainingData(FRUIT, 6)
    ours.claim(tmp_path / "out")
    ours.claim(tmp_path / "out")  # a second run
