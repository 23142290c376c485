"""How cost grows with images, classes and size, as the slope of the times' logarithms.

A slope of 1 is linear. Small inputs cost mostly what a call costs, which flattens a slope, so it
is fitted to the upper half of the range.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from helpers.inference import upsampled_argmax
from helpers.labels import Labels
from helpers.metrics import ConfusionMatrix
from helpers.training import pixel_cross_entropy
from helpers.visualize import colorize, overlay
from tests.benchmarks.bench_mean_iou import draw_maps
from tests.benchmarks.measuring import Row, alone, timed

Work = Callable[[], object]


def rows(quick: bool) -> Iterator[Row]:
    images = [1, 2, 4] if quick else [1, 4, 16, 64]
    classes = [2, 8, 32] if quick else [2, 10, 50, 150, 250, 500, 1000]
    sides = [32, 64, 128] if quick else [128, 256, 512, 1024, 2048]
    side, few = (64, 4) if quick else (256, 20)
    makers = {
        "ConfusionMatrix": counting,
        "loss and gradient": loss,
        "upsampled_argmax": upsampling,
        "colorize": painting,
        "overlay": blending,
    }
    for name, make in makers.items():
        # A palette has room for 255 labels.
        some = [n for n in classes if n <= 255 or make not in (painting, blending)]
        for what, sizes, works in (
            ("number of images", images, [make(n, few, side) for n in images]),
            ("number of classes", some, [make(1, n, side) for n in some]),
            ("pixels of an image", [n * n for n in sides], [make(1, few, n) for n in sides]),
        ):
            yield alone(f"growth of {name} with the {what}", slope(sizes, works), "slope")


def slope(sizes: list[int], works: list[Work]) -> float:
    """The slope of the logarithm of the time, over that of the size."""
    seconds = []
    for work in works:
        work()
        seconds.append(statistics.median(timed(work) for _ in range(3)))
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)[0])


def counting(images: int, classes: int, side: int) -> Work:
    ignored: int | None = 255
    if classes <= ignored:
        predictions, references = draw_maps(images, side, min(classes, 250), seed=0)
    else:  # ids beyond a byte, and 255 is one of them
        ignored = None
        shape = (2, images, side, side)
        predictions, references = np.random.default_rng(0).integers(0, classes, shape)

    def work() -> None:
        matrix = ConfusionMatrix(classes, ignored)
        for pair in zip(predictions, references, strict=True):
            matrix.update(*pair)
        matrix.compute()

    return work


def loss(images: int, classes: int, side: int) -> Work:
    torch.manual_seed(0)
    logits = torch.randn(images, classes, side // 4, side // 4, requires_grad=True)
    # The class 255 of a thousand is "ignore" here as everywhere.
    labels = torch.randint(0, classes, (images, side, side))
    return lambda: pixel_cross_entropy(SimpleNamespace(logits=logits), labels).backward()


def upsampling(images: int, classes: int, side: int) -> Work:
    torch.manual_seed(0)
    logits = torch.randn(images, classes, side // 4, side // 4)
    return lambda: [upsampled_argmax(one, (side, side)) for one in logits]


def painting(images: int, classes: int, side: int) -> Work:
    label_maps, labels = maps_and_labels(images, classes, side)
    return lambda: [colorize(one, labels) for one in label_maps]


def blending(images: int, classes: int, side: int) -> Work:
    label_maps, labels = maps_and_labels(images, classes, side)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))
    return lambda: [overlay(image, one, labels=labels) for one in label_maps]


def maps_and_labels(images: int, classes: int, side: int) -> tuple[np.ndarray, Labels]:
    _, label_maps = draw_maps(images, side, min(classes, 250), seed=0)
    return label_maps, Labels([f"class {label}" for label in range(classes)])
