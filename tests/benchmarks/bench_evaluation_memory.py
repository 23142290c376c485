"""How much memory an evaluation takes: batch by batch, or with every logit, as the guide does.

    python tests/benchmarks/bench_evaluation_memory.py

Each number of images is evaluated in a process of its own, whose peak is reported. The guide's
way is measured on as many images as fit anywhere, and a straight line through them prolonged.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
NUM_LABELS = 150


def rows(quick: bool) -> Iterator[dict[str, Any]]:
    """The benchmark as rows; megabytes. `quick`: tiny sizes, to see that it works."""
    side, few, many, guide = (64, 4, 40, (2, 4, 8)) if quick else (512, 200, 2000, (5, 10, 20))
    small, large = (measure("ours", count, side) for count in (few, many))
    pieces = f"images of {side} x {side}, {NUM_LABELS} classes"
    yield {
        "row": f"growth of memory, evaluating {many:,} {pieces}, over {few:,}",
        "other": None,
        "ours": large["peak"] / small["peak"],
        "theirs": None,
        "ratio": None,
        "unit": "×",
        "goal": "≤ 1.1",
    }
    theirs = extrapolate([(count, measure("guide", count, side)["peak"]) for count in guide], many)
    told = ", ".join(map(str, guide[:-1]))
    yield {
        "row": f"memory, evaluating {many:,} {pieces}",
        "other": f"every logit at once, extrapolated from {told} and {guide[-1]} images",
        "ours": large["peak"],
        "theirs": theirs,
        "ratio": theirs / large["peak"],
        "unit": "MB",
    }


def extrapolate(points: list[tuple[int, float]], count: int) -> float:
    """The value at `count` of the straight line that fits (count, value) points best."""
    import numpy as np

    slope, start = np.polyfit(*zip(*points, strict=True), deg=1)
    return float(start + slope * count)


def measure(way: str, images: int, side: int) -> dict[str, float]:
    """Evaluate in a fresh process: its peak memory in MB, and the scores, to compare ways."""
    command = [sys.executable, __file__, "--measure", way, str(images), str(side)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"TQDM_DISABLE": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"evaluating {images} images {way}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def evaluate(way: str, images: int, side: int, folder: str) -> dict[str, float]:
    """One evaluation in this process, through `Trainer`: "ours", or "guide"."""
    import torch
    from transformers import (
        EvalPrediction,
        SegformerConfig,
        SegformerForSemanticSegmentation,
        Trainer,
        TrainingArguments,
    )

    from helpers.inference import predicted_labels
    from helpers.metrics import ConfusionMatrix, StreamingMeanIoU
    from helpers.training import SegmentationTrainer
    from tests.benchmarks.measuring import peak_memory

    class Images(torch.utils.data.Dataset):
        """Random blocks, the same for the same index; nothing is kept."""

        def __len__(self) -> int:
            return images

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            generator = torch.Generator().manual_seed(index)
            blocks = torch.randint(0, NUM_LABELS, (side // 16, side // 16), generator=generator)
            labels = blocks.repeat_interleave(16, 0).repeat_interleave(16, 1)
            return {"pixel_values": (labels / NUM_LABELS).expand(3, -1, -1), "labels": labels}

    def mean_iou_of_all(prediction: EvalPrediction) -> dict[str, float]:
        # As Hugging Face's guide: all logits upsampled together, then the best of each pixel.
        logits = torch.from_numpy(prediction.predictions)
        size = prediction.label_ids.shape[-2:]
        upsampled = torch.nn.functional.interpolate(logits, size, mode="bilinear")
        matrix = ConfusionMatrix(NUM_LABELS)
        matrix.update(upsampled.argmax(dim=1).numpy(), prediction.label_ids)
        return {"mean_iou": matrix.compute()["mean_iou"]}

    torch.manual_seed(0)
    model = SegformerForSemanticSegmentation(
        SegformerConfig(
            num_labels=NUM_LABELS,
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 2, 3, 4],
            mlp_ratios=[2, 2, 2, 2],
            decoder_hidden_size=16,
        )
    )
    settings = {
        "output_dir": folder,
        "per_device_eval_batch_size": 4,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
    }
    if way == "ours":
        trainer = SegmentationTrainer(
            model=model,
            args=TrainingArguments(**settings, batch_eval_metrics=True),
            eval_dataset=Images(),
            compute_metrics=StreamingMeanIoU(NUM_LABELS),
            preprocess_logits_for_metrics=predicted_labels,
        )
    else:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(**settings),
            eval_dataset=Images(),
            compute_metrics=mean_iou_of_all,
        )
    metrics = trainer.evaluate()
    scores = {name: metrics[f"eval_{name}"] for name in ("mean_iou", "loss")}
    return scores | {"peak": peak_memory()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes; no real figures")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)  # in a process of its own
    options = parser.parse_args()
    if options.measure:
        sys.path.insert(0, str(REPOSITORY))
        way, images, side = options.measure
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(evaluate(way, int(images), int(side), folder)))
        return 0
    for row in rows(options.quick):
        theirs = "" if row["theirs"] is None else f", {row['other']}: {row['theirs']:,.0f}"
        digits = 0 if row["unit"] == "MB" else 3
        print(f"{row['row']}: {row['ours']:,.{digits}f}{theirs} {row['unit']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
