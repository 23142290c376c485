"""How fast mean IoU is counted: `ConfusionMatrix`, `torchmetrics` and `evaluate`'s way.

    python tests/benchmarks/bench_mean_iou.py

All count the same label maps, in turns; the results are checked to be equal before any time is
shown. Times are the best of several rounds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torchmetrics.classification import MulticlassJaccardIndex

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from helpers.ade20k import IGNORE_INDEX
from helpers.metrics import ConfusionMatrix, scores_from_areas


def draw_maps(count: int, side: int, num_labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and references, (count, side, side) uint8: regions, mistakes, ignored pixels."""
    rng = np.random.default_rng(seed)
    regions = rng.integers(0, num_labels, (count, side // 16, side // 16))
    references = regions.repeat(16, axis=1).repeat(16, axis=2).astype(np.uint8)
    wrong = rng.random(references.shape) < 0.2
    other = rng.integers(0, num_labels, references.shape).astype(np.uint8)
    predictions = np.where(wrong, other, references)
    references[rng.random(references.shape) < 0.05] = IGNORE_INDEX
    return predictions, references


def histogram_iou(predictions: np.ndarray, references: np.ndarray, num_labels: int) -> np.ndarray:
    """IoU of each class from three histograms a picture, as the published metric counts."""
    areas = np.zeros((3, num_labels))
    for prediction, reference in zip(predictions, references, strict=True):
        kept = reference != IGNORE_INDEX
        prediction, reference = prediction[kept], reference[kept]
        parts = (prediction[prediction == reference], prediction, reference)
        for area, values in zip(areas, parts, strict=True):
            area += np.histogram(values, bins=num_labels, range=(0, num_labels - 1))[0]
    return scores_from_areas(*areas)["per_category_iou"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=20)
    parser.add_argument("--side", type=int, default=512, help="pixels; a multiple of 16")
    parser.add_argument("--num-labels", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch; NumPy counts on one")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    num_labels = options.num_labels
    predictions, references = draw_maps(options.maps, options.side, num_labels, seed=0)
    # Each gets the type that suits it: bytes for us, int64 for torchmetrics, converted in advance.
    tensors = torch.from_numpy(predictions).long(), torch.from_numpy(references).long()

    def ours() -> np.ndarray:
        matrix = ConfusionMatrix(num_labels, IGNORE_INDEX)
        for pair in zip(predictions, references, strict=True):
            matrix.update(*pair)
        return matrix.compute()["per_category_iou"]

    def torchmetrics_jaccard() -> np.ndarray:
        jaccard = MulticlassJaccardIndex(num_labels, average="none", ignore_index=IGNORE_INDEX)
        for pair in zip(*tensors, strict=True):
            jaccard.update(*pair)
        return jaccard.compute().numpy()

    ways: dict[str, Callable[[], np.ndarray]] = {
        "ConfusionMatrix": ours,
        "torchmetrics Jaccard index": torchmetrics_jaccard,
        "three histograms, as evaluate": lambda: histogram_iou(predictions, references, num_labels),
    }
    expected = ours()
    for name, way in ways.items():
        np.testing.assert_allclose(way(), expected, rtol=1e-5, err_msg=name)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(options.rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - begin)

    print(
        f"{options.maps} maps of {options.side} x {options.side}, {num_labels} labels, "
        f"torch threads: {options.threads}, best of {options.rounds}; results are equal"
    )
    print(f"{'':32}{'ms a map':>10}{'of ours':>10}")
    for name, seconds in best.items():
        times = seconds / best["ConfusionMatrix"]
        print(f"{name:32}{1000 * seconds / options.maps:10.2f}{times:9.1f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
