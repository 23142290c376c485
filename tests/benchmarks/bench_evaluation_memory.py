"""How much memory an evaluation takes: batch by batch, or with every logit, as the guide does.

Each number of images is evaluated in a process of its own, whose peak is reported. The guide's
way is measured on as many images as fit anywhere, and a straight line through them prolonged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

from tests.benchmarks.measuring import Row, alone, faster, in_child, peak_memory

NUM_LABELS = 150
_CHILD = "import json; from tests.benchmarks.bench_evaluation_memory import evaluate; "


def rows(quick: bool) -> Iterator[Row]:
    """Megabytes."""
    side, few, many, guide = (64, 4, 40, (2, 4, 8)) if quick else (512, 200, 2000, (5, 10, 20))
    small, large = (measure("ours", count, side)["peak"] for count in (few, many))
    pieces = f"images of {side} x {side}, {NUM_LABELS} classes"
    row = f"growth of memory, evaluating {many:,} {pieces}, over {few:,}"
    yield alone(row, large / small, "×", "≤ 1.1")

    import numpy as np

    peaks = [measure("guide", count, side)["peak"] for count in guide]
    slope, start = np.polyfit(guide, peaks, deg=1)
    told = f"every logit at once, extrapolated from {guide[0]}, {guide[1]} and {guide[2]} images"
    theirs = float(start + slope * many)
    yield faster(f"memory, evaluating {many:,} {pieces}", told, large, theirs, "MB")


def measure(way: str, images: int, side: int) -> dict[str, float]:
    """Evaluate in a fresh process: its peak memory in MB, and the scores, to compare ways."""
    call = f"print(json.dumps(evaluate({way!r}, {images}, {side})))"
    return in_child(_CHILD + call, TQDM_DISABLE="1")


def evaluate(way: str, images: int, side: int) -> dict[str, float]:
    """One evaluation in this process, through `Trainer`: "ours", or "guide"."""
    import torch
    from transformers import Trainer, TrainingArguments

    from helpers.inference import predicted_labels
    from helpers.metrics import StreamingMeanIoU
    from helpers.training import SegmentationTrainer
    from tests.benchmarks import guide
    from tests.benchmarks.bench_mean_iou import load_mean_iou
    from tests.samples import small_model

    class Images(torch.utils.data.Dataset):
        """Random blocks, the same for the same index; nothing is kept."""

        def __len__(self) -> int:
            return images

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            generator = torch.Generator().manual_seed(index)
            blocks = torch.randint(0, NUM_LABELS, (side // 16, side // 16), generator=generator)
            labels = blocks.repeat_interleave(16, 0).repeat_interleave(16, 1)
            return {"pixel_values": (labels / NUM_LABELS).expand(3, -1, -1), "labels": labels}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_eval_batch_size=4,
            batch_eval_metrics=way == "ours",
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        )
        parts = {"model": small_model(NUM_LABELS), "args": arguments, "eval_dataset": Images()}
        if way == "ours":
            parts["preprocess_logits_for_metrics"] = predicted_labels
            trainer = SegmentationTrainer(**parts, compute_metrics=StreamingMeanIoU(NUM_LABELS))
        else:
            every_logit = guide.compute_metrics(load_mean_iou()[0])
            trainer = Trainer(**parts, compute_metrics=every_logit)
        metrics = trainer.evaluate()
    scores = {name: metrics[f"eval_{name}"] for name in ("mean_iou", "loss")}
    return scores | {"peak": peak_memory()}
