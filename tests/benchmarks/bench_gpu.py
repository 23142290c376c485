"""On a GPU: training, inference, evaluation, and whether its results are the CPU's.

`make bench-gpu` runs only this group and writes build/benchmarks.json, which `make bench
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
from datasets import DatasetDict
from PIL import Image
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    SegformerModel,
    Trainer,
    TrainerCallback,
    default_data_collator,
    set_seed,
)

from helpers.data import load_scenes
from helpers.evaluation import evaluate
from helpers.labels import ADE20K, IGNORE_INDEX
from helpers.metrics import ConfusionMatrix
from helpers.profiles import Profile, get_profile
from helpers.training import build_trainer
from tests.benchmarks import guide
from tests.benchmarks.bench_inference import draw_images, pipeline_row
from tests.benchmarks.bench_mean_iou import draw_maps, jaccard, same_scores
from tests.benchmarks.bench_pixels import on_device, waited_for
from tests.benchmarks.measuring import Row, alone, compare, faster, skipped

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
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
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        yield from training(Path(scratch), device, 64 if quick else 512, 3 if quick else 60)
        yield from agreement(Path(scratch), device, 2 if quick else 20)
    yield from inference(device, 2 if quick else 64, 1 if quick else 5)
    yield from on_device(device, (64,) if quick else (128, 512), 2 if quick else 16, 3)
    yield from mean_iou(device, 8 if quick else 200)


# --- training -------------------------------------------------------------------------------------


def training(scratch: Path, device: str, side: int, steps: int) -> Iterator[Row]:
    """Images a second in each precision, by the recipe's augmentation, beside the guide's."""
    card = _name(device)
    profile = random_data(scratch / "data", side)
    scenes = load_scenes(profile, check=False)
    files = len(scenes["train"])  # few, read again and again: epochs long enough for workers
    scenes["train"] = scenes["train"].select([i % files for i in range(4 * steps * 16)])
    theirs = guide_trainer(profile, scenes, scratch, 4 * steps)
    batch = default_data_collator([theirs.train_dataset[i] for i in range(2)])
    first = build_trainer(profile, scenes, scratch / "first", **SILENT)
    losses = [loss_of(trainer, batch) for trainer in (first, theirs)]
    assert abs(losses[0] - losses[1]) < 0.01 * losses[1], f"one batch's loss: {losses}"
    guides = images_a_second(theirs)

    quickest = 0.0
    forward = flops(first.model, side)
    for precision, dtype in PRECISIONS.items() if device == "cuda" else [("fp32", torch.float32)]:
        for batch_size in (2, 16):
            sized = replace(profile, batch_size=batch_size)
            bits = {"bf16": precision == "bf16", "fp16": precision == "fp16"}
            settings = {"max_steps": steps, **SILENT, **bits}
            rate = images_a_second(build_trainer(sized, scenes, scratch / "run", **settings))
            name = f"training, B0 at {side} × {side}, {precision}, batch {batch_size}, {card}"
            yield faster_rate(name, "the guide's settings (fp32, batch 2)", rate, guides)
            # The backward pass takes twice the operations of the forward pass.
            share = 100 * 3 * forward * rate / peak_rate(device, dtype)
            yield alone(f"{name}, of the measured peak of matrix products", share, "%")
            if batch_size == 16 and rate > quickest:
                quickest, settings_of_it, sized_of_it = rate, settings, sized
    ready = build_trainer(sized_of_it, scenes, scratch / "ready", **settings_of_it)
    ready.train_dataset = _Repeated(
        [ready.train_dataset[i] for i in range(16)], len(scenes["train"])
    )
    ready.args.dataloader_num_workers = 0
    waiting = 100 * max(0.0, 1 - quickest / images_a_second(ready))
    yield alone(
        f"training, the quickest of these, share of time waiting for data, {card}", waiting, "%"
    )


class _Repeated(Dataset):
    """Examples that are ready, so that nothing but the arithmetic takes time."""

    def __init__(self, examples: list[Any], length: int) -> None:
        self.examples, self.length = examples, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.examples[index % len(self.examples)]


class _Clock(TrainerCallback):
    """Seconds of the steps after a warm-up of a third."""

    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        warm_up = max(1, state.max_steps // 3)
        if state.global_step in (warm_up, state.max_steps):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if state.global_step == warm_up:
                self.begin = time.perf_counter()
            else:
                self.seconds = time.perf_counter() - self.begin
                self.steps = state.global_step - warm_up


def images_a_second(trainer: Trainer) -> float:
    clock = _Clock()
    trainer.add_callback(clock)
    with redirect_stdout(None):
        trainer.train()
    return clock.steps * trainer.args.per_device_train_batch_size / clock.seconds


def guide_trainer(profile: Profile, scenes: DatasetDict, scratch: Path, steps: int) -> Trainer:
    train, _ = guide.transforms(profile.encoder, profile.image_size)
    set_seed(profile.seed)
    settings = {"max_steps": steps, **SILENT}
    return Trainer(
        model=guide.model(profile.encoder),
        args=guide.arguments(scratch / "theirs", **settings),
        train_dataset=scenes["train"].with_transform(train),
    )


def loss_of(trainer: Trainer, batch: dict[str, torch.Tensor]) -> float:
    """The loss of a batch, dropout off, in the arithmetic that the trainer uses."""
    trainer.model.eval()
    with torch.no_grad():
        inputs = trainer._prepare_inputs(dict(batch))
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(trainer.model, inputs)
    trainer.model.train()
    return float(loss)


def flops(model: torch.nn.Module, side: int) -> int:
    """Counted floating-point operations of a forward pass over one image."""
    image = torch.zeros(1, 3, side, side, device=model.device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    return counter.get_total_flops()


def peak_rate(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product on this device."""
    side = 8192 if device == "cuda" else 256
    left, right = torch.randn(2, side, side, device=device).to(dtype)
    seconds = []
    for _ in range(10):
        waited_for(left)
        begin = time.perf_counter()
        waited_for(left @ right)
        seconds.append(time.perf_counter() - begin)
    return 2 * side**3 / float(np.median(seconds))


def agreement(scratch: Path, device: str, steps: int) -> Iterator[Row]:
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
    assert largest <= 1e-3, f"losses on {_name(device)} and on the CPU differ by {largest}"
    name = (
        f"{steps} training steps, profile tiny, fp32: largest difference of a loss from the CPU's"
    )
    yield alone(f"{name}, {_name(device)}", largest, "nats a pixel", "≤ 0.001")


# --- inference, evaluation, mIoU ------------------------------------------------------------------


def inference(device: str, count: int, rounds: int) -> Iterator[Row]:
    torch.manual_seed(0)
    config = SegformerConfig(
        num_labels=ADE20K.num_labels, id2label=ADE20K.id2label, label2id=ADE20K.label2id
    )
    model = SegformerForSemanticSegmentation(config).eval().to(device)  # the defaults are B0's
    processor = SegformerImageProcessor(do_reduce_labels=True)
    name = f"SegFormer-B0 at 512 × 512, 683 × 512, {_name(device)}"
    images = draw_images(count)
    yield pipeline_row(name, model, processor, images, min(count, 32), rounds) | {"goal": "5 ×"}
    scenes = load_scenes(get_profile("tiny"), check=False)["test"]
    begin = time.perf_counter()
    evaluate(scenes.select(range(min(count, len(scenes)))), model, processor)
    took = time.perf_counter() - begin
    name = f"evaluation of toy scenes, SegFormer-B0 at 512 × 512, {_name(device)}"
    yield alone(name, min(count, len(scenes)) / took, "images/s")


def mean_iou(device: str, count: int) -> list[Row]:
    """Batches of int64 tensors, as `argmax` and the data loader leave them in a training loop."""
    maps = [
        torch.from_numpy(one).long() for one in draw_maps(count, 512, ADE20K.num_labels, seed=0)
    ]
    parts = zip(*(one.to(device).split(8) for one in maps), strict=True)
    batches = list(parts)

    def ours() -> np.ndarray:
        matrix = ConfusionMatrix(ADE20K.num_labels, IGNORE_INDEX)
        for batch in batches:
            matrix.update(*batch)
        return matrix.compute()["per_category_iou"]

    return compare(
        f"mIoU of int64 tensors in batches of 8, {_name(device)}",
        ours,
        {"torchmetrics Jaccard index": lambda: jaccard(batches, ADE20K.num_labels)},
        same_scores,
        rounds=5,
        unit="ms a map",
        per=count,
    )


# --- what they run on -----------------------------------------------------------------------------


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "processor"


def faster_rate(row: str, other: str, ours: float, theirs: float) -> Row:
    """A row of two rates: the ratio says how many times more ours is."""
    return faster(row, other, 1 / ours, 1 / theirs, "images/s") | {
        "ours": ours,
        "theirs": theirs,
        "goal": "6 ×" if "batch 16" in row and "fp32" not in row else "",
    }


def random_data(folder: Path, side: int) -> Profile:
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
        encoder_revision=None,
        image_size=side,
        batch_size=16,
        warmup_steps=0,
        num_workers=8 if side > 64 else 0,
    )
