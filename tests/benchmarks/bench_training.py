"""Training: seconds to a score on toy scenes, and images a second on a GPU."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    SegformerConfig,
    SegformerImageProcessor,
    SegformerModel,
    Trainer,
    TrainerCallback,
    default_data_collator,
    set_seed,
)

from helpers.ade20k import NUM_LABELS
from helpers.data import load_scenes
from helpers.profiles import Profile, get_profile
from helpers.training.recipe import build_trainer
from tests.benchmarks import guide
from tests.benchmarks.bench_mean_iou import load_mean_iou
from tests.benchmarks.measuring import Row, faster, skipped

GUIDE = "the guide's settings (fp32, batch 2, rate 6e-5)"
FORWARD = 16.8e9
"""Floating-point operations of SegFormer-B0's forward pass over 512 × 512 pixels."""


def rows(quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        yield seconds_to_score(Path(scratch), quick)
        if quick:
            yield from images_a_second(Path(scratch), side=64, steps=2, batch_size=2)
        elif torch.cuda.is_available():
            yield from images_a_second(Path(scratch), side=512, steps=60, batch_size=16)
        else:
            yield skipped("training, images/s, B0 at 512 × 512", "this machine has no GPU")


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
        compute_metrics=guide.compute_metrics(metric, NUM_LABELS),
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


def images_a_second(scratch: Path, side: int, steps: int, batch_size: int) -> Iterator[Row]:
    """B0 with random weights on random images: our recipe and the guide's, through `Trainer`."""
    profile = random_data(scratch / "data", side, batch_size)
    scenes = load_scenes(profile, check=False)
    files = len(scenes["train"])  # few, read again and again: epochs long enough for workers
    scenes["train"] = scenes["train"].select(i % files for i in range(4 * steps * batch_size))
    common = {"eval_strategy": "no", "save_strategy": "no", "logging_steps": 1000}
    ours = build_trainer(
        profile,
        scenes,
        scratch / "gpu-ours",
        max_steps=steps,
        load_best_model_at_end=False,
        eval_on_start=False,
        **common,
    )
    train, _ = guide.transforms(profile.encoder, side)
    set_seed(profile.seed)
    arguments = guide.arguments(scratch / "gpu-theirs", max_steps=4 * steps, **common)
    theirs = Trainer(
        model=guide.model(profile.encoder),
        args=arguments,
        train_dataset=scenes["train"].with_transform(train),
    )
    batch = default_data_collator([scenes["train"].with_transform(train)[i] for i in range(2)])
    first, second = (loss_of(trainer, batch) for trainer in (ours, theirs))
    assert abs(first - second) < 0.01 * second, f"one batch's loss: {first} and {second}"

    device = ours.args.device
    name = torch.cuda.get_device_name() if device.type == "cuda" else "processor"
    rates = {}
    for label, trainer in (("ours", ours), ("theirs", theirs)):
        clock = _Clock(warm_up=trainer.args.max_steps // 3)
        trainer.add_callback(clock)
        with redirect_stdout(None):
            trainer.train()
        size = trainer.args.per_device_train_batch_size
        rates[label] = clock.steps * size / clock.seconds
    yield Row(
        row=f"training, B0 at {side} × {side}, {name}",
        other=GUIDE + ", no workers",
        ours=rates["ours"],
        theirs=rates["theirs"],
        ratio=rates["ours"] / rates["theirs"],
        unit="images/s",
        goal="6 ×",
    )
    if device.type == "cuda":
        # Forward and backward pass: three times the forward's operations.
        share = rates["ours"] * 3 * FORWARD * (side / 512) ** 2 / peak_rate(device)
        yield Row(
            row=f"training, B0 at {side} × {side}, {name}, of its bf16 matrix rate",
            other=None,
            ours=100 * share,
            theirs=None,
            ratio=None,
            unit="%",
        )


class _Clock(TrainerCallback):
    """Seconds of the steps after a warm-up."""

    def __init__(self, warm_up: int) -> None:
        self.warm_up, self.steps, self.seconds = max(1, warm_up), 0, float("nan")

    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        if state.global_step in (self.warm_up, state.max_steps):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if state.global_step == self.warm_up:
                self.begin = time.perf_counter()
            else:
                self.steps = state.global_step - self.warm_up
                self.seconds = time.perf_counter() - self.begin


def loss_of(trainer: Trainer, batch: dict[str, torch.Tensor]) -> float:
    """The loss of a batch, dropout off, in the arithmetic that the trainer uses."""
    trainer.model.eval()
    with torch.no_grad():
        inputs = trainer._prepare_inputs(dict(batch))
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(trainer.model, inputs)
    trainer.model.train()
    return float(loss)


def peak_rate(device: torch.device, side: int = 8192) -> float:
    """Floating-point operations a second of a large bf16 matrix product on this card."""
    left, right = torch.randn(2, side, side, device=device, dtype=torch.bfloat16)
    seconds = []
    for _ in range(10):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        left @ right
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return 2 * side**3 / float(np.median(seconds))


def random_data(folder: Path, side: int, batch_size: int) -> Profile:
    """Random images, 683 × 512 as ADE20K's often are, and an encoder with random weights."""
    rng = np.random.default_rng(0)
    for part, count in (("training", 64 if side > 64 else 4), ("validation", 2)):
        for kind in ("images", "annotations"):
            (folder / kind / part).mkdir(parents=True)
        for number in range(count):
            small = Image.fromarray(rng.integers(0, 256, (16, 21, 3), dtype=np.uint8))
            image = small.resize((683, 512), Image.Resampling.BICUBIC)
            image.save(folder / "images" / part / f"{number:03}.jpg", quality=90)
            labels = Image.fromarray(rng.integers(0, 151, (16, 21), dtype=np.uint8))
            labels = labels.resize((683, 512), Image.Resampling.NEAREST)
            labels.save(folder / "annotations" / part / f"{number:03}.png")
    encoder = folder / "encoder"
    torch.manual_seed(0)
    SegformerModel(SegformerConfig()).save_pretrained(encoder)  # the defaults are B0's
    size = {"height": side, "width": side}
    SegformerImageProcessor(do_reduce_labels=True, size=size).save_pretrained(encoder)
    return replace(
        get_profile("full"),
        dataset=str(folder),
        encoder=str(encoder),
        image_size=side,
        batch_size=batch_size,
        warmup_steps=0,
        num_workers=8 if side > 64 else 0,
    )
