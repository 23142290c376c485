"""Crash and resume: real processes, killed at the worst moments, resume where they were."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from samples import WorseEachTime, save_encoder, small_profile, write_ade_folder
from transformers import AutoModelForSemanticSegmentation, EvalPrediction

from helpers.metrics import StreamingMeanIoU
from helpers.profiles import REPOSITORY, Profile
from helpers.runs import last_complete_checkpoint
from helpers.training import build_trainer


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An encoder, and eight training and four test images."""
    folder = tmp_path_factory.mktemp("sources")
    return save_encoder(folder / "encoder"), write_ade_folder(folder / "scenes", train=8, test=4)


@pytest.fixture(scope="module")
def profile(sources: tuple[Path, Path]) -> Profile:
    return small_profile(*sources)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


# --- killed ---------------------------------------------------------------------------------------


def run(output: Path, sources: tuple[Path, Path], *event: str) -> subprocess.CompletedProcess:
    script = REPOSITORY / "tests" / "killed_run.py"
    return subprocess.run(
        [sys.executable, str(script), str(output), *map(str, sources), *event],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, sources: tuple[Path, Path]) -> dict[str, Any]:
    """What a run comes to that nobody interrupts."""
    output = tmp_path_factory.mktemp("whole")
    done = run(output, sources)
    assert done.returncode == 0, done.stderr
    return torch.load(output / "result.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "step", "passed_over"),
    [
        ("step", "1", False),  # before the first checkpoint
        ("step", "5", False),
        ("evaluate", "4", False),
        ("model.safetensors", "4", True),
        ("scheduler.pt", "6", True),
    ],
)
def test_a_killed_run_goes_on_as_if_nothing_had_been(
    event: str,
    step: str,
    passed_over: bool,
    sources: tuple[Path, Path],
    whole: dict[str, Any],
    tmp_path: Path,
) -> None:
    killed = run(tmp_path, sources, event, step)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "result.pt").exists()
    again = run(tmp_path, sources)  # the same call
    assert again.returncode == 0, again.stderr
    half = f"checkpoint-{step} is passed over"
    assert (half in again.stdout) == passed_over
    assert ("starts at step 0" in again.stdout) == (step == "1")
    result = torch.load(tmp_path / "result.pt", weights_only=True)
    for part in ("best", "optimizer", "optimizer at step 6", "best_metric", "best_step"):
        assert same(result[part], whole[part]), part


# --- incomplete -----------------------------------------------------------------------------------


def write_checkpoint(folder: Path, name: str) -> Path:
    """As far as `last_complete_checkpoint` looks at it."""
    (folder / name).mkdir(parents=True)
    (folder / name / "trainer_state.json").write_text('{"global_step": 4}', encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text('{"global_st')])
def test_an_incomplete_checkpoint_is_named_and_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Any
) -> None:
    """A checkpoint's last file is missing, or was being written; they are taken by number."""
    assert last_complete_checkpoint(tmp_path / "nowhere") is None
    (tmp_path / "checkpoint-final").mkdir()
    older, newer = (write_checkpoint(tmp_path, f"checkpoint-{step}") for step in (4, 100))
    capsys.readouterr()
    assert last_complete_checkpoint(tmp_path) == newer
    assert capsys.readouterr().out == ""
    damage(newer / "trainer_state.json")
    assert last_complete_checkpoint(tmp_path) == older
    (line,) = capsys.readouterr().out.splitlines()
    assert f"{newer} is passed over: it is incomplete" in line
    damage(older / "trainer_state.json")
    assert last_complete_checkpoint(tmp_path) is None


# --- the best, and an interrupted evaluation ------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "left"), [(2, {"checkpoint-2", "checkpoint-8"}), (1, {"checkpoint-2"})]
)
def test_the_best_checkpoint_is_kept_however_few_are(
    profile: Profile, tmp_path: Path, limit: int, left: set[str]
) -> None:
    """The first checkpoint, that of step 2, has the best score."""
    settings = {"eval_on_start": False, "max_steps": 8, "save_total_limit": limit}
    trainer = build_trainer(profile, output_dir=tmp_path, **settings)
    trainer.compute_metrics = WorseEachTime(150)
    trainer.train()
    assert trainer.state.global_step == 8
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == left
    best = AutoModelForSemanticSegmentation.from_pretrained(tmp_path / "checkpoint-2")
    assert same(trainer.model.state_dict(), best.state_dict())


class Interrupted(StreamingMeanIoU):
    """Somebody presses the stop button in the middle of an evaluation."""

    def __call__(self, prediction: EvalPrediction, compute_result: bool) -> dict[str, float]:
        super().__call__(prediction, compute_result)
        raise KeyboardInterrupt


def test_an_interrupted_evaluation_leaves_no_counts(profile: Profile, tmp_path: Path) -> None:
    trainer = build_trainer(profile, output_dir=tmp_path, per_device_eval_batch_size=1)
    expected = trainer.evaluate()["eval_mean_iou"]
    pixels = trainer.compute_metrics.matrix.counts.sum()
    trainer.compute_metrics = Interrupted(150)
    with pytest.raises(KeyboardInterrupt):
        trainer.evaluate()
    trainer.compute_metrics.__class__ = StreamingMeanIoU  # nobody presses it this time
    assert trainer.evaluate()["eval_mean_iou"] == expected
    assert trainer.compute_metrics.matrix.counts.sum() == pixels
