"""How fast images are segmented and painted: batches against `pipeline`, overlays against a loop.

Both sides run in turns in one process; their label maps are compared before any time is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    pipeline,
)

from helpers.data import load_scenes
from helpers.inference import load_model, segment_batch
from helpers.labels import ADE20K
from helpers.profiles import get_profile
from helpers.visualize import colorize, overlay
from tests.benchmarks.measuring import Row, medians_by_turns

SIZE = (683, 512)


def draw_images(count: int, size: tuple[int, int] = SIZE) -> list[Image.Image]:
    """Smooth coloured clouds: the random model sees many classes in them."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (count, 8, 10, 3), dtype=np.uint8)
    return [Image.fromarray(one).resize(size, Image.Resampling.BICUBIC) for one in small]


def pipeline_row(
    name: str, model: Any, image_processor: Any, images: list, batch_size: int, rounds: int
) -> Row:
    """Images per second: batches of ours against one at a time through `pipeline`."""
    segmenter = pipeline("image-segmentation", model=model, image_processor=image_processor)
    label2id = {label: index for index, label in model.config.id2label.items()}

    def one_at_a_time() -> list:
        return [segmenter(image, subtask="semantic") for image in images]

    def batches() -> list[np.ndarray]:
        starts = range(0, len(images), batch_size)
        parts = (images[start : start + batch_size] for start in starts)
        return [one for part in parts for one in segment_batch(part, model, image_processor)]

    differing = total = 0
    for masks, label_map in zip(one_at_a_time(), batches(), strict=True):
        expected = np.full(label_map.shape, 255)
        for mask in masks:
            expected[np.asarray(mask["mask"]) > 0] = label2id[mask["label"]]
        differing += int((expected != label_map).sum())
        total += label_map.size
    # Sums taken in another order differ in the last digit, which decides between equal classes.
    if differing > 1e-4 * total:
        raise AssertionError(f"{name}: {differing} of {total} pixels differ")
    theirs, ours = medians_by_turns([one_at_a_time, batches], rounds)
    return {
        "row": f"{name}, batches of {batch_size} ({differing} of {total} pixels differ)",
        "other": 'pipeline("image-segmentation"), one at a time',
        "ours": len(images) / ours,
        "theirs": len(images) / theirs,
        "ratio": theirs / ours,
        "unit": "images/s",
        "goal": "1.5 ×",
    }


def overlay_rows(rounds: int) -> list[Row]:
    """Milliseconds to paint a label map of 683 x 512: ours against the guide's loop."""
    (image,) = draw_images(1)
    regions = np.random.default_rng(0).integers(0, len(ADE20K.palette), (32, 43), dtype=np.uint8)
    label_map = regions.repeat(16, axis=0).repeat(16, axis=1)[: SIZE[1], : SIZE[0]].copy()

    def loop_colors() -> np.ndarray:
        color_seg = np.zeros((*label_map.shape, 3), dtype=np.uint8)
        for label, color in enumerate(ADE20K.palette):
            color_seg[label_map == label] = color
        return color_seg

    def loop_overlay() -> np.ndarray:
        return (np.array(image) * 0.5 + loop_colors() * 0.5).astype(np.uint8)

    rows = []
    for name, theirs, ours, off in (
        ("label map to colours", loop_colors, lambda: colorize(label_map), 0),
        ("label map to overlay", loop_overlay, lambda: overlay(image, label_map), 1),
    ):
        difference = np.abs(np.asarray(ours()).astype(int) - theirs())
        if difference.max() > off:  # of 255: halves are rounded one way or the other
            raise AssertionError(f"{name}: results differ by {difference.max()}")
        their_seconds, our_seconds = medians_by_turns([theirs, ours], rounds)
        rows.append(
            {
                "row": f"{name}, {SIZE[0]} x {SIZE[1]}",
                "other": "the guide's loop over the palette",
                "ours": 1000 * our_seconds,
                "theirs": 1000 * their_seconds,
                "ratio": their_seconds / our_seconds,
                "unit": "ms",
                "goal": "50 ×",
            }
        )
    return rows


def rows(quick: bool) -> Iterator[Row]:
    count, batch_size, rounds = (2, 2, 1) if quick else (8, 8, 5)
    profile = get_profile("tiny")
    toy = load_model(profile.finetuned_model)
    scenes = load_scenes(profile, check=False)["test"].select(range(2 * count))
    images = [scene["image"] for scene in scenes]
    yield pipeline_row("segformer-toy, scenes of 256 x 192", *toy, images, batch_size, rounds)
    torch.manual_seed(0)
    # The default configuration is SegFormer-B0's.
    config = SegformerConfig(
        num_labels=len(ADE20K.id2label), id2label=ADE20K.id2label, label2id=ADE20K.label2id
    )
    b0 = SegformerForSemanticSegmentation(config).eval()
    name = f"SegFormer-B0 at 512 x 512, random, {SIZE[0]} x {SIZE[1]}"
    processor = SegformerImageProcessor()
    yield pipeline_row(name, b0, processor, draw_images(count), batch_size, rounds)
    yield from overlay_rows(3 * rounds)
