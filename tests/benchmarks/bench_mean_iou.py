"""Mean IoU: `ConfusionMatrix` beside `evaluate` and torchmetrics, on the same maps."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from helpers.ade20k import IGNORE_INDEX
from helpers.metrics import ConfusionMatrix
from tests.benchmarks.measuring import Row, compare, skipped

BATCH = 8
DESCRIBED = Path(__file__).parent / "mean_iou"


def rows(quick: bool) -> Iterator[Row]:
    count, side, num_labels, rounds = (4, 64, 8, 2) if quick else (200, 512, 150, 3)
    maps = draw_maps(count, side, num_labels, seed=0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)  # NumPy counts on one
        yield from on_arrays(*maps, num_labels, rounds)
        yield from on_tensors(*maps, num_labels, rounds, "cpu")
        torch.set_num_threads(threads)
        if threads > 1:
            yield from on_tensors(*maps, num_labels, rounds, "cpu")
    finally:
        torch.set_num_threads(threads)
    if torch.cuda.is_available():
        yield from on_tensors(*maps, num_labels, 3 * rounds, "cuda")
    else:
        yield skipped("mIoU of tensors, GPU", "this machine has no GPU")


def draw_maps(count: int, side: int, num_labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and references, (count, side, side) uint8.

    Regions of 32 × 32 pixels; a fifth of all blocks of 8 × 8 is predicted wrongly, a twentieth
    ignored. Runs of equal pixels are 14 long on average; in ADE20K they are 35 long when the
    prediction is the annotation, moved by three pixels.
    """
    rng = np.random.default_rng(seed)

    def blocks(size: int, high: int = num_labels) -> np.ndarray:
        drawn = rng.integers(0, high, (count, side // size, side // size), dtype=np.uint8)
        return drawn.repeat(size, axis=1).repeat(size, axis=2)

    references = blocks(32)
    predictions = np.where(blocks(8, 5) == 0, blocks(8), references)
    references[blocks(8, 20) == 0] = IGNORE_INDEX
    return predictions, references


def load_mean_iou() -> tuple[evaluate.Metric, str]:
    """The published metric where it can be had, else the one from its description; its name."""
    if os.environ.get("HF_EVALUATE_OFFLINE") != "1":
        with suppress(Exception):  # no network, and whatever that does to a library
            return evaluate.load("evaluate-metric/mean_iou"), "evaluate mean_iou"
    return evaluate.load(str(DESCRIBED)), "evaluate mean_iou, as described"


def on_arrays(
    predictions: np.ndarray, references: np.ndarray, num_labels: int, rounds: int
) -> list[Row]:
    """Lists of NumPy maps, whole data sets at once; each way on one thread."""
    metric, name = load_mean_iou()
    maps = {"predictions": list(predictions), "references": list(references)}
    options = {"num_labels": num_labels, "ignore_index": IGNORE_INDEX}
    # int64 is what torchmetrics counts in: converted in advance, so that this is not timed.
    tensors = torch.from_numpy(predictions).long(), torch.from_numpy(references).long()

    def ours() -> np.ndarray:
        matrix = ConfusionMatrix(num_labels, IGNORE_INDEX)
        for pair in zip(predictions, references, strict=True):
            matrix.update(*pair)
        return matrix.compute()["per_category_iou"]

    ways = {
        f"{name}, compute": lambda: metric.compute(**maps, **options)["per_category_iou"],
        f"{name}, _compute": lambda: metric._compute(**maps, **options)["per_category_iou"],
        "torchmetrics Jaccard index": lambda: jaccard(zip(*tensors, strict=True), num_labels),
    }
    count, side = predictions.shape[:2]
    # The Arrow file of `compute` is gone at the end.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        metric.data_dir = metric._data_dir_root = scratch
        return compare(
            f"mIoU of {count} maps {side} × {side}, {num_labels} classes, one thread",
            ours,
            ways,
            same_scores,
            rounds=rounds,
            goals=dict(zip(ways, ("30 ×", "15 ×", "20 ×"), strict=True)),
        )


def on_tensors(
    predictions: np.ndarray, references: np.ndarray, num_labels: int, rounds: int, device: str
) -> list[Row]:
    """Batches of int64 tensors, as `argmax` and the data loader leave them in a training loop."""
    batches = [
        tuple(
            torch.from_numpy(maps[start : start + BATCH]).long().to(device)
            for maps in (predictions, references)
        )
        for start in range(0, len(predictions), BATCH)
    ]

    def ours() -> np.ndarray:
        matrix = ConfusionMatrix(num_labels, IGNORE_INDEX)
        for batch in batches:
            matrix.update(*batch)
        return matrix.compute()["per_category_iou"]

    threads = torch.get_num_threads()
    where = f"{threads} thread{'s' * (threads > 1)}"
    return compare(
        "mIoU of int64 tensors in the training loop, "
        + (where if device == "cpu" else torch.cuda.get_device_name()),
        ours,
        {"torchmetrics Jaccard index": lambda: jaccard(batches, num_labels)},
        same_scores,
        rounds=rounds,
        goals={"torchmetrics Jaccard index": "5 ×"},
    )


def jaccard(batches: Any, num_labels: int) -> np.ndarray:
    metric = None
    for prediction, reference in batches:
        if metric is None:
            metric = MulticlassJaccardIndex(
                num_labels, average="none", ignore_index=IGNORE_INDEX
            ).to(prediction.device)
        metric.update(prediction, reference)
    return metric.compute().cpu().numpy()


def same_scores(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)
