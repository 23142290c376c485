"""How cost grows with images, classes and size, as the slope of the times' logarithms.

A slope of 1 is linear, and 1.15 is more than the noise of a measurement. Small inputs cost mostly
what a call costs, so the slope is fitted to the upper half of the range.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image

from helpers.inference import upsampled_argmax
from helpers.labels import Labels
from helpers.metrics import ConfusionMatrix
from helpers.visualize import colorize, overlay
from tests.benchmarks.bench_mean_iou import draw_maps
from tests.benchmarks.measuring import Row, alone, timed


def rows(quick: bool) -> Iterator[Row]:
    images = [1, 2, 4] if quick else [1, 4, 16, 64]
    classes = [2, 8, 32] if quick else [2, 10, 50, 150, 250, 500, 1000]
    sides = [32, 64, 128] if quick else [128, 256, 512, 1024, 2048]
    side, few = (64, 4) if quick else (256, 20)
    for what, inputs in (
        ("number of images", {n: (n, few, side) for n in images}),
        ("number of classes", {n: (1, n, side) for n in classes}),
        ("pixels of an image", {n * n: (1, few, n) for n in sides}),
    ):
        points = defaultdict(list)
        for size, given in inputs.items():
            for name, work in works(*given).items():
                work()
                seconds = statistics.median(timed(work) for _ in range(3))
                points[name].append((size, seconds))
        for name, found in points.items():
            sizes, seconds = np.log(found[len(found) // 2 :]).T
            slope = float(np.polyfit(sizes, seconds, 1)[0])
            yield alone(f"growth of {name} with the {what}", slope, "slope", "≤ 1.15")


def works(images: int, classes: int, side: int) -> dict[str, Callable[[], object]]:
    """What is done with so many images, classes and pixels, by name."""
    rng, ignored = np.random.default_rng(0), None
    if classes <= 255:
        ignored = 255
        predictions, references = draw_maps(images, side, min(classes, 250), seed=0)
    else:  # ids beyond a byte, and 255 is one of them
        predictions, references = rng.integers(0, classes, (2, images, side, side))
    logits = torch.randn(images, classes, side // 4, side // 4, generator=torch.manual_seed(0))

    def count() -> None:
        matrix = ConfusionMatrix(classes, ignored)
        for pair in zip(predictions, references, strict=True):
            matrix.update(*pair)
        matrix.compute()

    found = {
        "ConfusionMatrix": count,
        "upsampled_argmax": lambda: [upsampled_argmax(one, (side, side)) for one in logits],
    }
    if classes <= 255:  # a palette has room for no more labels
        labels = Labels([f"class {label}" for label in range(classes)])
        image = Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8))
        found["colorize"] = lambda: [colorize(one, labels) for one in references]
        found["overlay"] = lambda: [overlay(image, one, labels=labels) for one in references]
    return found
