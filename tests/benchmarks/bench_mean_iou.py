"""Mean IoU: `ConfusionMatrix` beside `evaluate` and torchmetrics, on the same maps.

The predictions are the annotations themselves, three pixels further down and to the right: most
pixels are right and borders are wrong, as with a trained model. What a map costs depends on that:
on noise everything takes longer.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import evaluate
import numpy as np
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from helpers.data import load_scenes
from helpers.labels import ADE20K, IGNORE_INDEX
from helpers.metrics import ConfusionMatrix
from helpers.profiles import Profile, get_profile
from tests.benchmarks.measuring import REPOSITORY, Row, compare, skipped

DESCRIBED = Path(__file__).parent / "mean_iou"
SHIFT = 3

Pairs = list[tuple[np.ndarray, np.ndarray]]


def rows(quick: bool) -> Iterator[Row]:
    rounds = 1 if quick else 3
    toy = get_profile("tiny")
    yield from beside_others("toy maps, 256 × 192", maps_of(toy, 4 if quick else 160), rounds)
    folder = Path(os.environ.get("SEG_TEST_DATA", REPOSITORY.parent / "shared" / "ade20k"))
    if (folder / "images" / "training").is_dir():
        real = maps_of(replace(toy, dataset=str(folder.resolve())), 2 if quick else 48)
        yield from beside_others("real maps of 0.3 megapixels", real, rounds)
    else:
        missing = "set SEG_TEST_DATA to a folder of photographs in ADEChallengeData2016 layout"
        yield skipped("mIoU of real maps", missing)


def maps_of(profile: Profile, count: int) -> Pairs:
    """Predictions and references, (height, width) uint8 each, from a profile's training images."""
    annotations = load_scenes(profile, check=False)["train"]["annotation"]
    label_maps = [ADE20K.to_label_map(np.asarray(one)) for one in annotations[:count]]
    moved = [np.pad(one, ((SHIFT, 0), (SHIFT, 0)), "edge") for one in label_maps]
    predictions = [np.where(one == IGNORE_INDEX, 0, one)[:-SHIFT, :-SHIFT] for one in moved]
    pairs = list(zip(predictions, label_maps, strict=True))
    return [pairs[index % len(pairs)] for index in range(count)]


def load_mean_iou() -> tuple[evaluate.Metric, str]:
    """The published metric where it can be had, else the one from its description; its name."""
    if os.environ.get("HF_EVALUATE_OFFLINE") != "1":
        with suppress(Exception):  # no network, and whatever that does to a library
            return evaluate.load("evaluate-metric/mean_iou"), "evaluate mean_iou"
    return evaluate.load(str(DESCRIBED)), "evaluate mean_iou, as described"


def beside_others(what: str, pairs: Pairs, rounds: int) -> list[Row]:
    """Milliseconds a map: NumPy maps, whole data sets at once, ours on one thread."""
    metric, name = load_mean_iou()
    maps = {"predictions": [one for one, _ in pairs], "references": [one for _, one in pairs]}
    options = {"num_labels": ADE20K.num_labels, "ignore_index": IGNORE_INDEX}
    # int64 is what torchmetrics counts in: converted in advance, so that this is not timed.
    tensors = [tuple(torch.from_numpy(one).long() for one in pair) for pair in pairs]
    threads = torch.get_num_threads()

    def ours() -> np.ndarray:
        matrix = ConfusionMatrix(ADE20K.num_labels, IGNORE_INDEX)
        for pair in pairs:
            matrix.update(*pair)
        return matrix.compute()["per_category_iou"]

    def torchmetrics_on(count: int) -> np.ndarray:
        torch.set_num_threads(count)
        try:
            return jaccard(tensors, ADE20K.num_labels)
        finally:
            torch.set_num_threads(threads)

    ways = {
        f"{name}, compute": lambda: metric.compute(**maps, **options)["per_category_iou"],
        f"{name}, _compute": lambda: metric._compute(**maps, **options)["per_category_iou"],
    }
    for count in sorted({1, threads}):
        with_threads = f"torchmetrics Jaccard index, {count} thread{'s' if count > 1 else ''}"
        ways[with_threads] = partial(torchmetrics_on, count)
    # The Arrow file of `compute` is gone at the end.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        metric.data_dir = metric._data_dir_root = scratch
        row = f"mIoU of {len(pairs)} {what}, {ADE20K.num_labels} classes, one thread"
        per_map = {"unit": "ms a map", "per": len(pairs)}
        return compare(row, ours, ways, same_scores, rounds=rounds, **per_map)


def jaccard(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]], num_labels: int) -> np.ndarray:
    metric = MulticlassJaccardIndex(num_labels, average="none", ignore_index=IGNORE_INDEX)
    metric.to(pairs[0][0].device)
    for prediction, reference in pairs:
        metric.update(prediction, reference)
    return metric.compute().cpu().numpy()


def same_scores(ours: np.ndarray, theirs: np.ndarray) -> None:
    """torchmetrics says 0 where a class occurs nowhere, the others NaN."""
    np.testing.assert_allclose(np.nan_to_num(theirs), np.nan_to_num(ours), rtol=1e-5)


def draw_maps(count: int, side: int, num_labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and references, (count, side, side) uint8, for any number of classes.

    Regions of 32 × 32 pixels; a fifth of all blocks of 8 × 8 is predicted wrongly, a twentieth
    ignored.
    """
    rng = np.random.default_rng(seed)

    def blocks(size: int, high: int = num_labels) -> np.ndarray:
        drawn = rng.integers(0, high, (count, side // size, side // size), dtype=np.uint8)
        return drawn.repeat(size, axis=1).repeat(size, axis=2)

    references = blocks(32)
    predictions = np.where(blocks(8, 5) == 0, blocks(8), references)
    references[blocks(8, 20) == 0] = IGNORE_INDEX
    return predictions, references
