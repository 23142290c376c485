"""The training command: its options on data of one's own, early stopping, a full disk."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from samples import (
    FRUIT,
    WorseEachTime,
    contents,
    fruit_scenes,
    save_encoder,
    save_family,
    small_model,
    write_ade_folder,
    write_fruit,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from helpers import training
from helpers.labels import Labels
from helpers.profiles import REPOSITORY
from helpers.runs import ExactTrainer
from scripts import evaluate, train
from scripts.cli import draw_bars_where_somebody_looks, when_disk_is_full
from scripts.losses import LOSSES


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options for fruit, a small encoder and four steps, each of them saved."""
    folder = tmp_path_factory.mktemp("given")
    data, encoder = write_fruit(folder / "fruit"), save_encoder(folder / "encoder")
    options = ["--data", str(data), "--start-from", str(encoder), "--image-size", "32"]
    return [*options, "--batch-size", "4", "--max-steps", "4", "--save-steps", "1"]


def run(output: Path, *options: str) -> int:
    return train.main(["--output-dir", str(output), *options])


def history(output: Path, step: int) -> list[dict[str, float]]:
    file = output / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json"
    return json.loads(file.read_text(encoding="utf-8"))["log_history"]


def checkpoints(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "checkpoints").iterdir())


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on the error stream."""
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error: ")]
    return line


def test_options_win_over_the_profile_and_data_over_the_variable(
    given, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("SEG_DATA", "no/such/folder")
    assert run(tmp_path, *given, "--learning-rate", "3e-5", "--max-steps", "1") == 0
    assert "validation mIoU 0." in capsys.readouterr().out
    arguments = torch.load(tmp_path / "training_args.bin", weights_only=False)
    assert (arguments.learning_rate, arguments.per_device_train_batch_size) == (3e-5, 4)
    size = json.loads((tmp_path / "preprocessor_config.json").read_text())["size"]
    assert size == {"height": 32, "width": 32}
    config = json.loads((tmp_path / "config.json").read_text())
    assert list(config["id2label"].values()) == list(FRUIT.names)
    assert not list(tmp_path.rglob("events.out*"))  # unless asked
    assert run(tmp_path / "other", *given, "--data", "./no/data") == 1
    assert "--data is './no/data', and there is no folder" in told(capsys)


def test_each_loss_trains_and_is_exact_in_parts(given, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SEG_MAX_STEPS", "1")  # and each step is logged
    plain = [*given, "--no-augmentation", "--no-dropout", "--max-steps", "1"]
    first = {}
    for name in LOSSES:
        assert run(tmp_path / name, *plain, "--loss", name) == 0
        first[name] = history(tmp_path / name, 1)[1]["loss"]
    assert len({round(loss, 4) for loss in first.values()}) == len(LOSSES)
    both = "dice+cross-entropy"
    assert first[both] == pytest.approx(first["dice"] + first["cross-entropy"], rel=1e-5)
    parts = ["--loss", both, "--gradient-accumulation-steps", "2"]
    assert run(tmp_path / "parts", *plain, *parts) == 0
    in_parts = history(tmp_path / "parts", 1)[1]["loss"]
    assert in_parts == pytest.approx(first[both], rel=0.1)  # batch norm sees smaller batches


def test_patience_stops_early_keeps_the_best_and_counts_on_after_a_resume(
    given, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(training, "StreamingMeanIoU", WorseEachTime)
    patient = [*given, "--max-steps", "9", "--patience", "2"]
    assert run(tmp_path, *patient) == 0
    assert checkpoints(tmp_path) == ["checkpoint-1", "checkpoint-3"]  # the best, and the last
    best = load_file(tmp_path / "checkpoints" / "checkpoint-1" / "model.safetensors")
    saved = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(best[name], saved[name]) for name in best)

    before = contents(tmp_path / "checkpoints")
    assert run(tmp_path, *patient, "--resume") == 0
    assert "at step 3 of 3: nothing is left to train" in capsys.readouterr().out
    assert contents(tmp_path / "checkpoints") == before

    # More patience: the two evaluations before the resume count.
    monkeypatch.setattr(WorseEachTime, "calls", 9)
    assert run(tmp_path, *patient, "--patience", "3", "--resume") == 0
    assert checkpoints(tmp_path) == ["checkpoint-1", "checkpoint-4"]


def test_a_folder_with_a_run_is_wrong_use_without_resume(given, tmp_path, capsys) -> None:
    assert run(tmp_path, *given, "--max-steps", "1") == 0
    before = contents(tmp_path)
    assert run(tmp_path, *given) == 2
    assert "continue that run with --resume, or choose another --output-dir" in told(capsys)
    assert contents(tmp_path) == before


def test_a_model_of_another_family_is_trained_and_scored(given, tmp_path, capsys) -> None:
    save_family("mobilevit", tmp_path / "start", num_labels=5)
    assert evaluate.main(["--model", str(tmp_path / "start"), *given[:2]]) == 1
    assert "3 labels in the data and 5 in the model" in told(capsys)
    options = ["--start-from", str(tmp_path / "start"), "--image-size", "64", "--max-steps", "1"]
    assert run(tmp_path / "out", *given, *options) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path / 'start'} predicts 5 labels (LABEL_0, LABEL_1, LABEL_2, ...)" in out
    assert "the last layer is new" in out
    assert evaluate.main(["--model", str(tmp_path / "out"), *given[:2]]) == 0
    assert "on 2 validation images of" in capsys.readouterr().out


# --- curves and lines -----------------------------------------------------------------------------


def test_event_files_hold_losses_and_scores(given, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")  # so that what the run sets is undone
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR")
    monkeypatch.setenv("SEG_MAX_STEPS", "1")  # so that each of the four steps is logged
    assert run(tmp_path, *given, "--report-to", "tensorboard") == 0
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    for logged, shown in (("loss", "train/loss"), ("eval_mean_iou", "eval/mean_iou")):
        entries = [entry for entry in history(tmp_path, 4) if logged in entry]
        expected = {entry["step"]: entry[logged] for entry in entries}
        # The last step's again, with the best model's score, comes when all is saved.
        curve = {event.step: event.value for event in reversed(events.Scalars(shown))}
        assert len(expected) >= 3
        assert curve == pytest.approx(expected, rel=1e-6)


def test_lines_say_the_scores_where_no_bar_does(given, tmp_path, monkeypatch, capsys) -> None:
    """As where a notebook calls the command."""
    monkeypatch.setenv("TQDM_DISABLE", "")
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    draw_bars_where_somebody_looks()
    assert run(tmp_path, *given, "--max-steps", "2") == 0
    out, errors = capsys.readouterr()
    scores = re.findall(r"^step (\d) of 2: mIoU 0\.\d{4}$", out, flags=re.MULTILINE)
    assert scores == ["0", "1", "2"]
    assert "it/s" not in errors


# --- a full disk ----------------------------------------------------------------------------------


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """As on a full disk: what a file has beyond so many bytes cannot be written."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def whole(given: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never short of space."""
    output = tmp_path_factory.mktemp("whole")
    assert run(output, *given) == 0
    return output


@pytest.mark.parametrize(
    ("folder", "size"),
    [("checkpoint-3", 100_000), ("checkpoint-3", 250_000), ("out", 100_000)],
    ids=["weights", "optimizer", "the last model"],
)
def test_a_full_disk_is_one_sentence_and_loses_nothing(
    given, whole, tmp_path, monkeypatch, capsys, folder, size
) -> None:
    save_checkpoint, save_model = ExactTrainer._save_checkpoint, ExactTrainer.save_model

    def on_a_full_disk(save):
        def saved(trainer: ExactTrainer, *args: object, **kwargs: object) -> None:
            step = f"checkpoint-{trainer.state.global_step}"
            full = folder == (step if save is save_checkpoint else Path(str(args[0])).name)
            with files_no_larger_than(size) if full else contextlib.nullcontext():
                save(trainer, *args, **kwargs)

        return saved

    output = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(ExactTrainer, "_save_checkpoint", on_a_full_disk(save_checkpoint))
        patched.setattr(ExactTrainer, "save_model", on_a_full_disk(save_model))
        assert run(output, *given) == 1
    line = told(capsys)
    assert line.startswith("error: the disk is full (")
    assert line.endswith(
        "the same command with --resume continues from the last complete checkpoint"
    )
    assert run(output, *given, "--resume") == 0
    for name in ("model.safetensors", "checkpoints/checkpoint-4/model.safetensors"):
        ours, expected = load_file(output / name), load_file(whole / name)
        assert all(torch.equal(ours[key], expected[key]) for key in expected)


def test_a_full_disk_is_told_by_any_cause_and_other_errors_are_not() -> None:
    full = ValueError("the data cannot be loaded")
    full.__cause__ = OSError(28, "No space left on device")
    assert "No space left on device" in when_disk_is_full(full)
    for error in (OSError(13, "Permission denied"), RuntimeError("shapes differ"), ValueError()):
        assert when_disk_is_full(error) is None


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--profile", "huge"], "unknown profile 'huge': expected one of tiny, sample, full"),
        (["--image-size", "8"], "takes no images of 8 x 8 pixels (Calculated padded input size"),
        (["--batch-size", "3", "--gradient-accumulation-steps", "2"], "a batch of 3 images cannot"),
        (["--output-dir", __file__], "test_train.py is a file, expected a folder"),
        (["--output-dir", f"{__file__}/run"], "test_train.py is a file, expected a folder"),
        (["--max-steps", "0"], "--max-steps: it is 0, expected a whole number >= 1"),
        (["--max-steps", "many"], "--max-steps: it is many, expected a whole number"),
        (["--seed", "-1"], "--seed: it is -1, expected 0 to 4294967295"),
        (["--seed", str(2**32)], "--seed: it is 4294967296, expected 0 to 4294967295"),
        (["--huge"], "unrecognized arguments: --huge"),
        (["--learning-rate", "0"], "--learning-rate: it is 0, expected a number above 0"),
        (["--learning-rate", "nan"], "--learning-rate: it is nan, expected a number above 0"),
        (["--loss", "iou"], "--loss: invalid choice: 'iou'"),
        (["--patience", "0"], "--patience: it is 0, expected a whole number >= 1"),
        (["--report-to", "paper"], "--report-to: invalid choice: 'paper'"),
        (["--report-to", "tensorboard"], "pip install tensorboard"),
        (["--num-workers", "-1"], "--num-workers: it is -1, expected a whole number >= 0"),
    ],
)
def test_wrong_use_is_one_sentence_and_writes_nothing(
    given, tmp_path, monkeypatch, capsys, options, sentence
) -> None:
    monkeypatch.setattr(train, "find_spec", lambda name: None)  # no package is installed
    try:
        status = run(tmp_path / "out", *given, *options)
    except SystemExit as stop:  # argparse's
        status = stop.code
    assert status == 2
    assert sentence in told(capsys)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_folder_that_cannot_be_written_is_refused(given, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert run(tmp_path / "out", *given) == 2
    assert f"cannot write in {tmp_path}" in told(capsys)
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_another_model_is_refused_with_a_sentence(
    given, whole, tmp_path, capsys
) -> None:
    shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
    checkpoint = tmp_path / "checkpoints" / "checkpoint-4"
    small_model(3, patch_sizes=[5, 3, 3, 3]).save_pretrained(checkpoint)
    before = contents(tmp_path)
    capsys.readouterr()
    assert run(tmp_path, *given, "--resume") == 1
    assert f"{checkpoint} belongs to another model" in (line := told(capsys))
    assert "start from a checkpoint of the same run" in line
    assert contents(tmp_path) == before


def test_an_interrupted_command_says_how_to_go_on(given, tmp_path, monkeypatch, capsys) -> None:
    def press_stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.SegmentationTrainer, "training_step", press_stop)
    assert run(tmp_path / "out", *given) == 130
    assert "the same command with --resume continues" in told(capsys)


def test_bad_data_ends_the_command_before_training(given, tmp_path, monkeypatch, capsys) -> None:
    folder = write_ade_folder(tmp_path / "scenes")
    image = folder / "images" / "training" / "scene_0001.jpg"
    image.write_bytes(image.read_bytes()[:300])
    options = [*given, "--data", str(folder)]
    assert run(tmp_path / "out", *options) == 1
    assert str(image) in told(capsys)
    assert not (tmp_path / "out").exists()
    # A wrong option is found before that, and before any image is decoded.
    assert run(tmp_path / "out", *options, "--gradient-accumulation-steps", "3") == 2
    assert "a batch of 4 images cannot be shared equally" in told(capsys)
    monkeypatch.setenv("SEG_DATA", str(tmp_path / "nowhere"))
    assert run(tmp_path / "out") == 1
    assert "SEG_DATA" in told(capsys)


def test_a_class_without_a_training_pixel_ends_the_command_unless_it_is_allowed(
    given, tmp_path, capsys
) -> None:
    """As where a tool stores it as 255: to find the rest everywhere scores a mean IoU of 1."""
    folder = write_ade_folder(tmp_path / "scenes")
    for file in folder.glob("annotations/*/*.png"):
        Image.open(file).point(lambda value: 0 if value < 20 else 255).save(file)
    Labels(["background", "thing"]).save(folder)
    options = [*given, "--data", str(folder), "--max-steps", "1"]
    assert run(tmp_path / "out", *options) == 1
    assert f"error: no training image of {folder} shows thing, " in (line := told(capsys))
    assert "--allow-empty" in line
    assert not (tmp_path / "out").exists()
    with pytest.warns(UserWarning, match="show only background"):
        assert run(tmp_path / "out", *options, "--allow-empty") == 0
    assert "validation mIoU 1.0000" in capsys.readouterr().out


# --- what is quick --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["train", "evaluate", "segment", "export", "prepare"])
def test_help_and_wrong_options_load_nothing_heavy(command: str) -> None:
    code = (
        f"import sys; from scripts import {command}\n"
        "for option in ('--help', '--no-such-option'):\n"
        f"    try: {command}.main([option])\n"
        "    except SystemExit as stop: print(stop.code)\n"
        "heavy = {'torch', 'transformers', 'datasets', 'accelerate', 'onnx', 'onnxruntime'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-3:][1:] == ["2", "[]"], done.stderr


# --- scoring a third split ------------------------------------------------------------------------


def test_a_third_split_is_scored_where_the_data_have_one(given, whole, tmp_path, capsys) -> None:
    model = ["--model", str(whole), "--data"]
    assert evaluate.main([*model, given[1], "--split", "test"]) == 1
    assert f'{given[1]} has no split "test"' in told(capsys)
    scenes = fruit_scenes(train=1, test=3)
    for name, split in (("train", "train"), ("validation", "train"), ("test", "test")):
        scenes[split].to_parquet(tmp_path / "data" / f"{name}-00000-of-00001.parquet")
    FRUIT.save(tmp_path)
    file = tmp_path / "scores.json"
    for split, count in (("validation", 1), ("test", 3)):
        assert evaluate.main([*model, str(tmp_path), "--split", split, "--json", str(file)]) == 0
        assert f"on {count} {split} images of {tmp_path}" in capsys.readouterr().out
        scores = json.loads(file.read_text(encoding="utf-8"))
        assert (scores["split"], scores["images"]) == (split, count)


def test_an_interrupted_evaluation_ends_with_130(given, whole, monkeypatch, capsys) -> None:
    def press_stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("helpers.evaluation.evaluate", press_stop)
    assert evaluate.main(["--model", str(whole), *given[:2]]) == 130
    assert capsys.readouterr().err == "interrupted\n"
