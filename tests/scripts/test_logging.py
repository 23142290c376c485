"""`--report-to tensorboard`: event files hold the curves; a clear word without the package."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from samples import save_encoder, small_profile, write_ade_folder
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from helpers import profiles
from scripts import train
from scripts.cli import draw_bars_where_somebody_looks


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of a run of four steps of a small model."""
    encoder, folder = save_encoder(tmp_path / "encoder"), write_ade_folder(tmp_path / "scenes")
    profile = replace(small_profile(encoder, folder), run_name="")
    monkeypatch.setitem(profiles._PROFILES, "tiny", profile)
    for name in ("SEG_DATA", "SEG_MAX_STEPS", "TENSORBOARD_LOGGING_DIR"):
        monkeypatch.setenv(name, "")  # so that whatever the run sets is undone
        monkeypatch.delenv(name)
    return ["--profile", "tiny", "--output-dir", str(tmp_path / "out")]


def test_event_files_hold_losses_and_scores(command: list[str], tmp_path: Path) -> None:
    assert train.main([*command, "--report-to", "tensorboard"]) == 0
    events = EventAccumulator(str(tmp_path / "out" / "logs"))
    events.Reload()
    state = tmp_path / "out" / "checkpoints" / "checkpoint-4" / "trainer_state.json"
    history = json.loads(state.read_text(encoding="utf-8"))["log_history"]
    for logged, shown in (("loss", "train/loss"), ("eval_mean_iou", "eval/mean_iou")):
        expected = {entry["step"]: entry[logged] for entry in history if logged in entry}
        curve = {event.step: event.value for event in events.Scalars(shown)}
        assert len(expected) >= 3
        assert curve == pytest.approx(expected, rel=1e-6)


def test_nothing_is_written_unless_asked(command: list[str], tmp_path: Path) -> None:
    assert train.main([*command, "--max-steps", "1", "--save-steps", "1"]) == 0
    assert not (tmp_path / "out" / "logs").exists()
    assert not list(tmp_path.rglob("events.out*"))
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ


def test_lines_say_the_scores_where_no_bar_does(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where a notebook calls the command."""
    monkeypatch.setenv("TQDM_DISABLE", "")
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    draw_bars_where_somebody_looks()
    assert train.main([*command, "--max-steps", "2", "--save-steps", "1"]) == 0
    told, errors = capsys.readouterr()
    scores = re.findall(r"^step (\d) of 2: mIoU 0\.\d{4}$", told, flags=re.MULTILINE)
    assert scores == ["0", "1", "2"]
    assert "it/s" not in errors
