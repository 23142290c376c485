"""On a GPU: training, inference, evaluation, and whether its results are the CPU's.

`make bench-gpu` runs only this group and writes build/gpu/benchmarks.json, which `make bench
BENCH_FLAGS="--add FILE"` takes into the table on another machine.
"""

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
from transformers import (
    SegformerConfig,
    SegformerImageProcessor,
    SegformerModel,
    Trainer,
    default_data_collator,
)

from helpers.data import load_scenes
from helpers.evaluation import evaluate
from helpers.labels import ADE20K, IGNORE_INDEX
from helpers.metrics import ConfusionMatrix
from helpers.profiles import Profile, get_profile
from helpers.training import build_trainer
from tests.benchmarks import guide
from tests.benchmarks.bench_inference import beside_pipeline, draw_images, random_b0
from tests.benchmarks.bench_mean_iou import draw_maps, jaccard, same_scores
from tests.benchmarks.bench_pixels import on_device
from tests.benchmarks.measuring import Row, alone, compare, faster, skipped

WHAT = (
    "training of B0 at 512 × 512",
    "batched inference",
    "evaluation",
    "agreement of a training with the CPU",
    "upsampling and mIoU",
)
SILENT: dict[str, Any] = {
    "eval_strategy": "no",
    "eval_on_start": False,
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "logging_steps": 1000,
}


def rows(quick: bool) -> Iterator[Row]:
    if not quick and not torch.cuda.is_available():
        yield from (skipped(f"GPU: {what}", "this machine has no GPU") for what in WHAT)
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"  # `quick` shows that the rows run
    card = torch.cuda.get_device_name() if device == "cuda" else "processor"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        yield from training(Path(scratch), device, card, *((64, 3) if quick else (512, 200)))
        yield agreement(Path(scratch), device, card, 2 if quick else 20)
    yield from inference(device, card, 2 if quick else 64, 1 if quick else 5)
    yield from on_device(device, (64,) if quick else (128, 512), 2 if quick else 16, 3)
    yield from mean_iou(device, card, 8 if quick else 200)


# --- training -------------------------------------------------------------------------------------


def training(scratch: Path, device: str, card: str, side: int, steps: int) -> Iterator[Row]:
    """Images a second in each precision, by the recipe's augmentation, beside the guide's."""
    profile = random_encoder(scratch, side)
    scenes = load_scenes(get_profile("tiny"), check=False)
    # Few images, read again and again: epochs long enough for workers.
    count = len(scenes["train"])
    scenes["train"] = scenes["train"].select([i % count for i in range(16 * steps)])
    theirs = guide.trainer(profile, scenes, scratch, max_steps=4 * steps, **SILENT)
    ours = build_trainer(profile, scenes, scratch, **SILENT)
    batch = default_data_collator([theirs.train_dataset[i] for i in range(2)])
    losses = [loss_of(trainer, batch) for trainer in (ours, theirs)]
    assert abs(losses[0] - losses[1]) < 0.01 * losses[1], f"one batch's loss: {losses}"
    guides = images_a_second(theirs)
    for precision in ("fp32", "bf16", "fp16") if device == "cuda" else ("fp32",):
        for batch_size in (2, 16):
            bits = {bits: precision == bits for bits in ("bf16", "fp16")}
            sized = replace(profile, batch_size=batch_size)
            trainer = build_trainer(sized, scenes, scratch, max_steps=steps, **SILENT, **bits)
            name = f"training, B0 at {side} × {side}, {precision}, batch {batch_size}, {card}"
            goal = "6 ×" if batch_size == 16 and precision != "fp32" else ""
            other = "the guide's settings (fp32, batch 2)"
            yield faster(name, other, images_a_second(trainer), guides, "images/s", goal)


def random_encoder(folder: Path, side: int) -> Profile:
    """Profile full, with B0's encoder and random weights, at this size of its input."""
    torch.manual_seed(0)
    SegformerModel(SegformerConfig()).save_pretrained(folder)  # the defaults are B0's
    size = {"height": side, "width": side}
    SegformerImageProcessor(do_reduce_labels=True, size=size).save_pretrained(folder)
    settings = {"encoder": str(folder), "encoder_revision": None, "image_size": side}
    settings |= {"warmup_steps": 0, "num_workers": 8 if side > 64 else 0}
    return replace(get_profile("full"), **settings)


def images_a_second(trainer: Trainer) -> float:
    with redirect_stdout(None):
        return trainer.train().metrics["train_samples_per_second"]


def loss_of(trainer: Trainer, batch: dict[str, torch.Tensor]) -> float:
    """The loss of a batch, dropout off, in the arithmetic that the trainer uses."""
    trainer.model.eval()
    with torch.no_grad(), trainer.compute_loss_context_manager():
        inputs = {name: value.to(trainer.args.device) for name, value in batch.items()}
        loss = trainer.compute_loss(trainer.model, inputs)
    trainer.model.train()
    return float(loss)


def agreement(scratch: Path, device: str, card: str, steps: int) -> Row:
    """The losses of one tiny training, in fp32, on the CPU and on the GPU."""
    profile = get_profile("tiny")
    scenes = load_scenes(profile, check=False)
    losses = []
    for use_cpu in (True, device == "cpu"):
        settings = SILENT | {"logging_steps": 1, "max_steps": steps, "use_cpu": use_cpu}
        off = {"augment": False, "dropout": False, "bf16": False, "fp16": False}
        trainer = build_trainer(profile, scenes, scratch / "agreement", **off, **settings)
        with redirect_stdout(None):
            trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    largest = float(np.abs(np.subtract(*losses)).max())
    assert largest <= 1e-3, f"losses on {card} and on the CPU differ by {largest}"
    name = f"{steps} training steps, profile tiny, fp32"
    name += f": largest difference of a loss from the CPU's, {card}"
    return alone(name, largest, "nats a pixel", "≤ 0.001")


# --- inference, evaluation, mIoU ------------------------------------------------------------------


def inference(device: str, card: str, count: int, rounds: int) -> Iterator[Row]:
    model, image_processor = random_b0()
    model.to(device)
    name, batch_size = f"SegFormer-B0 at 512 × 512, 683 × 512, {card}", min(count, 32)
    images = draw_images(count)
    yield from beside_pipeline(name, model, image_processor, images, batch_size, rounds, "5 ×")
    image_processor.do_reduce_labels = True
    scenes = load_scenes(get_profile("tiny"), check=False)["test"]
    scenes = scenes.select(range(min(count, len(scenes))))
    begin = time.perf_counter()
    evaluate(scenes, model, image_processor)
    rate = len(scenes) / (time.perf_counter() - begin)
    name = f"evaluation of toy scenes, SegFormer-B0 at 512 × 512, {card}"
    yield alone(name, rate, "images/s")


def mean_iou(device: str, card: str, count: int) -> list[Row]:
    """Batches of int64 tensors, as `argmax` and the data loader leave them in a training loop."""
    maps = draw_maps(count, 512, ADE20K.num_labels, seed=0)
    parts = [torch.from_numpy(one).long().to(device).split(8) for one in maps]
    batches = list(zip(*parts, strict=True))

    def ours() -> np.ndarray:
        matrix = ConfusionMatrix(ADE20K.num_labels, IGNORE_INDEX)
        for batch in batches:
            matrix.update(*batch)
        return matrix.compute()["per_category_iou"]

    others = {"torchmetrics Jaccard index": lambda: jaccard(batches, ADE20K.num_labels)}
    name, per_map = f"mIoU of int64 tensors in batches of 8, {card}", {"per": count, "rounds": 5}
    return compare(name, ours, others, same_scores, unit="ms a map", **per_map)
