"""Training: seconds to a score on toy scenes, beside the guide's settings."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from helpers.data import load_scenes
from helpers.profiles import get_profile
from helpers.training import build_trainer
from tests.benchmarks import guide
from tests.benchmarks.bench_mean_iou import load_mean_iou
from tests.benchmarks.measuring import Row, faster


class Until(TrainerCallback):
    """Notes seconds and scores, and stops the run at a score or after a time."""

    def __init__(self, score: float, limit: float) -> None:
        self.score, self.limit = score, limit
        self.best, self.seconds, self.reached = 0.0, float("nan"), False

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.begin = time.perf_counter()

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any, **_: Any) -> None:
        self.best = max(self.best, metrics["eval_mean_iou"])
        self.seconds = time.perf_counter() - self.begin
        self.reached = self.best >= self.score
        control.should_training_stop |= self.reached or self.seconds > self.limit


def rows(quick: bool) -> Iterator[Row]:
    """Ours on profile tiny, evaluating every 20 steps as the guide does, until mIoU 0.60.

    The guide's run may take very long: it is stopped after 2.5 times our seconds, and then the
    ratio is a lower bound.
    """
    profile, score = get_profile("tiny"), 0.0 if quick else 0.60
    scenes = load_scenes(profile)
    if quick:
        scenes["test"] = scenes["test"].select(range(4))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        ours = build_trainer(profile, scenes, Path(scratch, "ours"), eval_steps=20, save_steps=20)
        ours.args.load_best_model_at_end = False  # belongs to neither side's time
        theirs = guide.trainer(
            profile, scenes, Path(scratch, "theirs"), load_mean_iou()[0], eval_on_start=True
        )
        first = theirs.model.state_dict()
        for name, value in ours.model.state_dict().items():
            assert torch.equal(value, first[name]), f"the two runs start from different {name}"
        mine = run(ours, Until(score, limit=600))
        assert mine.reached, f"mIoU {score} was not reached, but {mine.best:.3f}"
        other = run(theirs, Until(score, limit=2.5 * mine.seconds))
    name = "the guide's settings (fp32, batch 2, rate 6e-5)"
    name += "" if other.reached else f"; stopped at mIoU {other.best:.2f}, a lower bound"
    what = f"training, profile tiny, seconds to mIoU {score:.2f}, {torch.get_num_threads()} threads"
    yield faster(what, name, mine.seconds, other.seconds, "s", "2 ×")


def run(trainer: Trainer, until: Until) -> Until:
    trainer.add_callback(until)
    with redirect_stdout(None):  # the loss of each step
        trainer.train()
    return until
