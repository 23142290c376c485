"""How cost grows with images, classes and size: times, and the slope of their logarithms.

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
        yield growth(name, "number of images", images, lambda n, m=make: m(n, few, side))
        # A palette has room for 255 labels.
        most = 255 if name in ("colorize", "overlay") else max(classes)
        some = [c for c in classes if c <= most]
        yield growth(name, "number of classes", some, lambda c, m=make: m(1, c, side))
        yield growth(
            name,
            "pixels of an image",
            [s * s for s in sides],
            lambda p, m=make: m(1, few, round(p**0.5)),
        )


def growth(name: str, panel: str, sizes: list[int], make: Callable[[int], Work]) -> Row:
    """Time the work at each size; the row's value is the fitted slope."""
    seconds = []
    for size in sizes:
        work = make(size)
        work()
        seconds.append(statistics.median(timed(work) for _ in range(3)))
    half = len(sizes) // 2
    slope = np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)[0]
    # A table of n × n counts is the confusion matrix's own: that grows as it must.
    goal = "" if panel == "number of classes" else "about 1: linear"
    row = alone(f"growth of {name} with the {panel}", float(slope), "slope", goal)
    return row | {"curve": {"x": sizes, "y": seconds, "label": name, "panel": panel}}


def counting(images: int, classes: int, side: int) -> Work:
    rng = np.random.default_rng(0)
    if classes <= 256:
        predictions, references = draw_maps(images, side, min(classes, 250), seed=0)
    else:  # ids beyond a byte
        predictions, references = rng.integers(0, classes, (2, images, side, side))

    def work() -> None:
        matrix = ConfusionMatrix(classes)
        for pair in zip(predictions, references, strict=True):
            matrix.update(*pair)
        matrix.compute()

    return work


def loss(images: int, classes: int, side: int) -> Work:
    torch.manual_seed(0)
    logits = torch.randn(images, classes, side // 4, side // 4, requires_grad=True)
    labels = torch.randint(0, classes, (images, side, side))

    def work() -> None:
        # The class 255 of a thousand is "ignore" here as everywhere.
        pixel_cross_entropy(SimpleNamespace(logits=logits), labels).backward()

    return work


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
