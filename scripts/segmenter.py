"""Many images and videos through a model: decode, predict and write side by side."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from helpers.images import load_image, size_of
from helpers.inference import segment, segment_batch, stride_of
from helpers.labels import Labels
from helpers.visualize import overlay
from scripts.cli import sentence
from scripts.results import Results
from scripts.sources import Input

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import BaseImageProcessor, PreTrainedModel

DONE, FAILED = "done", "failed"
_MOST_PIXELS = 2**25  # decoded in a batch: 100 MB of RGB; a larger image is a batch of its own


class Segmenter:
    """A model, and all that its results depend on.

    Args:
        model: semantic segmentation model of at most 255 labels, on any device.
        image_processor: the one that the model was trained with.
        labels: names and colours of its classes.
        alpha: share of colour in overlays; None: no overlays.
        batch_size: images or frames that go through the model together.
        window: look at each at its own resolution, through windows of so many pixels a side; None:
            at the image processor's size.

    Raises:
        ValueError: there can be no such window.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        image_processor: BaseImageProcessor,
        labels: Labels,
        alpha: float | None = 0.5,
        batch_size: int = 8,
        window: int | None = None,
    ) -> None:
        if window is not None:
            stride_of(window)
        self.model, self.image_processor, self.labels = model, image_processor, labels
        self.alpha, self.batch_size, self.window = alpha, batch_size, window

    def settings(self) -> dict[str, Any]:
        """All that the results depend on, as JSON."""
        labels = [self.labels.names, self.labels.palette.tolist()]
        digest = hashlib.sha256(json.dumps(labels).encode())
        preprocessing = self.image_processor.to_dict()
        digest.update(json.dumps(preprocessing, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return {"alpha": self.alpha, "window": self.window, "weights": digest.hexdigest()[:16]}

    def segment(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        """The label map of each image, at its own size."""
        if self.window is not None:
            model, image_processor = self.model, self.image_processor
            return [segment(image, model, image_processor, self.window) for image in images]
        return segment_batch(images, self.model, self.image_processor)

    def shares(self, areas: np.ndarray) -> dict[str, float]:
        """Areas of all labels as shares of their sum by class name, the largest first."""
        total = int(areas.sum())
        found = {self.labels.names[label]: int(areas[label]) for label in np.flatnonzero(areas)}
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        return {name: round(area / total, 6) for name, area in ordered}


def segment_images(
    images: Sequence[tuple[Input, PurePath]], results: Results, segmenter: Segmenter
) -> Iterator[tuple[Input, str, str]]:
    """Decode, predict and write images side by side, in constant memory.

    Args:
        images: each with the name of its results.
        results: opened with the segmenter's settings.

    Yields:
        For each image, when it is through: itself, "done" or "failed", and why it failed.

    Raises:
        OSError: a result cannot be written, as on a full disk.
    """
    batches = _batches(images, segmenter.batch_size)
    with ThreadPoolExecutor() as pool:

        def decode(batch: list[tuple[Input, PurePath]]) -> list[tuple]:
            return [(*one, pool.submit(load_image, one[0].path)) for one in batch]

        coming, writing = decode(next(batches, [])), []
        while coming:
            current, coming = coming, decode(next(batches, []))
            readable = []
            for source, name, future in current:
                try:
                    readable.append((source, name, future.result()))
                except Exception as error:
                    yield source, FAILED, sentence(error)
            label_maps = segmenter.segment([image for _, _, image in readable])
            yield from _written(writing)  # the batch before: so many images wait, not more
            writing = [
                (one[0], pool.submit(_write_image, results, segmenter, *one, label_map))
                for one, label_map in zip(readable, label_maps, strict=True)
            ]
        yield from _written(writing)


def _batches(
    images: Sequence[tuple[Input, PurePath]], size: int
) -> Iterator[list[tuple[Input, PurePath]]]:
    """At most `size` images at a time, and fewer of huge ones."""
    batch, pixels = [], 0
    for one in images:
        area = _pixels(one[0].path)
        if batch and (len(batch) == size or pixels + area > _MOST_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(one)
        pixels += area
    if batch:
        yield batch


def _pixels(file: Path) -> int:
    """Of an image, read from the beginning of its file; 0 where that is impossible."""
    try:
        return math.prod(size_of(file))
    except Exception:  # said when it is decoded
        return 0


def _write_image(
    results: Results,
    segmenter: Segmenter,
    source: Input,
    name: PurePath,
    image: Image.Image,
    label_map: np.ndarray,
) -> None:
    indexed = Image.fromarray(label_map)
    indexed.putpalette(segmenter.labels.palette.tobytes())
    results.write(name, "labels", ".png", indexed.save)
    if segmenter.alpha is not None:
        shown = overlay(image, label_map, segmenter.alpha, segmenter.labels)
        shown.thumbnail((65_500, 65_500))  # JPEG has no longer ones
        # JPEG: a PNG of a photograph takes longer to write than to predict. Full colour
        # resolution, or the borders between classes would blur.
        results.write(
            name, "overlays", ".jpg", lambda file: shown.save(file, quality=90, subsampling=0)
        )
    areas = np.array(indexed.histogram()[: segmenter.labels.num_labels])
    results.finish(
        source, name, width=image.width, height=image.height, shares=segmenter.shares(areas)
    )


def _written(writing: list[tuple[Input, Future]]) -> Iterator[tuple[Input, str, str]]:
    for source, future in writing:
        future.result()
        yield source, DONE, ""
