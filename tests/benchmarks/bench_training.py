"""Training: seconds to a score on toy scenes, beside the guide's settings."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, set_seed

from helpers.data import load_scenes
from helpers.labels import ADE20K
from helpers.profiles import get_profile
from helpers.training import build_trainer
from tests.benchmarks import guide
from tests.benchmarks.bench_mean_iou import load_mean_iou
from tests.benchmarks.measuring import Row, faster

GUIDE = "the guide's settings (fp32, batch 2, rate 6e-5)"


def rows(quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        yield seconds_to_score(Path(scratch), quick)


class _Until(TrainerCallback):
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
        if self.reached or self.seconds > self.limit:
            control.should_training_stop = True


def seconds_to_score(scratch: Path, quick: bool) -> Row:
    """Ours on profile tiny, evaluating every 20 steps as the guide does, until mIoU 0.60.

    The guide's run may take very long: it is stopped after 2.5 times our seconds, and then the
    ratio is a lower bound.
    """
    profile = get_profile("tiny")
    score = 0.0 if quick else 0.60
    scenes = load_scenes(profile)
    if quick:
        scenes["test"] = scenes["test"].select(range(4))
    trainer = build_trainer(profile, scenes, scratch / "ours", eval_steps=20, save_steps=20)
    trainer.args.load_best_model_at_end = False  # belongs to neither side's time
    ours = _Until(score, limit=600)
    trainer.add_callback(ours)
    ours_first = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    assert ours.reached, f"mIoU {score} was not reached: {ours.best:.3f} after {ours.seconds:.0f} s"

    train, evaluate = guide.transforms(profile.encoder, profile.image_size)
    metric, _ = load_mean_iou()
    set_seed(profile.seed)
    model = guide.model(profile.encoder)
    for name, value in model.state_dict().items():
        assert torch.equal(value, ours_first[name]), f"the two runs start from different {name}"
    theirs = _Until(score, limit=2.5 * ours.seconds)
    trainer = Trainer(
        model=model,
        args=guide.arguments(scratch / "theirs", eval_on_start=True),
        train_dataset=scenes["train"].with_transform(train),
        eval_dataset=scenes["test"].with_transform(evaluate),
        compute_metrics=guide.compute_metrics(metric, ADE20K.num_labels),
        callbacks=[theirs],
    )
    with redirect_stdout(None):  # the loss of each step
        trainer.train()
    bound = "" if theirs.reached else f"; stopped at mIoU {theirs.best:.2f}, a lower bound"
    return faster(
        f"training, profile tiny, seconds to mIoU {score:.2f}, {torch.get_num_threads()} threads",
        GUIDE + bound,
        ours.seconds,
        theirs.seconds,
        "s",
        "2 ×",
    )
