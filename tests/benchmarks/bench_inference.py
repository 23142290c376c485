"""How fast images are segmented and painted, beside `pipeline` and the guide's loop."""

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
from helpers.labels import ADE20K, IGNORE_INDEX
from helpers.profiles import get_profile
from helpers.visualize import colorize, overlay
from tests.benchmarks.measuring import Row, compare

SIZE = (683, 512)


def rows(quick: bool) -> Iterator[Row]:
    count, batch_size, rounds = (2, 2, 1) if quick else (8, 8, 5)
    profile = get_profile("tiny")
    toy = load_model(profile.finetuned_model)
    scenes = load_scenes(profile, check=False)["test"].select(range(2 * count))
    images = list(scenes["image"])
    yield from beside_pipeline(
        "segformer-toy, scenes of 256 x 192", *toy, images, batch_size, rounds
    )
    name = f"SegFormer-B0 at 512 x 512, random, {SIZE[0]} x {SIZE[1]}"
    yield from beside_pipeline(name, *random_b0(), draw_images(count), batch_size, rounds)
    yield from painting(3 * rounds)


def random_b0() -> tuple[SegformerForSemanticSegmentation, SegformerImageProcessor]:
    """SegFormer-B0, which is what the default configuration describes, with random weights."""
    torch.manual_seed(0)
    names = {"id2label": ADE20K.id2label, "label2id": ADE20K.label2id}
    config = SegformerConfig(num_labels=ADE20K.num_labels, **names)
    return SegformerForSemanticSegmentation(config).eval(), SegformerImageProcessor()


def draw_images(count: int) -> list[Image.Image]:
    """Smooth coloured clouds: the random model sees many classes in them."""
    small = np.random.default_rng(0).integers(0, 256, (count, 8, 10, 3), dtype=np.uint8)
    return [Image.fromarray(one).resize(SIZE, Image.Resampling.BICUBIC) for one in small]


def beside_pipeline(
    name: str,
    model: Any,
    image_processor: Any,
    images: list,
    batch_size: int,
    rounds: int,
    goal: str = "1.5 ×",
) -> list[Row]:
    """Images per second: batches of ours against one at a time through `pipeline`."""
    segmenter = pipeline("image-segmentation", model=model, image_processor=image_processor)

    def one_at_a_time() -> list:
        return [segmenter(image, subtask="semantic") for image in images]

    def batches() -> list[np.ndarray]:
        starts = range(0, len(images), batch_size)
        parts = (images[start : start + batch_size] for start in starts)
        return [one for part in parts for one in segment_batch(part, model, image_processor)]

    def same(ours: list[np.ndarray], theirs: list) -> None:
        differing = sum(
            int((label_map_of(masks, model.config.label2id) != label_map).sum())
            for masks, label_map in zip(theirs, ours, strict=True)
        )
        # Sums taken in another order differ in the last digit, which decides between equals.
        assert differing <= 1e-4 * sum(one.size for one in ours), f"{differing} pixels differ"

    others = {'pipeline("image-segmentation"), one at a time': one_at_a_time}
    settings = {"rounds": rounds, "per": len(images), "unit": "images/s", "goal": goal}
    return compare(f"{name}, batches of {batch_size}", batches, others, same, **settings)


def label_map_of(masks: list[dict], label2id: dict[str, int]) -> np.ndarray:
    """(height, width) label ids of what `pipeline` returns."""
    label_map = np.full(masks[0]["mask"].size[::-1], IGNORE_INDEX)
    for mask in masks:
        label_map[np.asarray(mask["mask"]) > 0] = label2id[mask["label"]]
    return label_map


def painting(rounds: int) -> Iterator[Row]:
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

    def same(ours: Any, theirs: np.ndarray) -> None:
        difference = np.abs(np.asarray(ours).astype(int) - theirs).max()
        assert difference <= 1, f"colours differ by {difference} of 255"  # halves are rounded

    for name, ours, theirs in (
        ("colours", lambda: colorize(label_map), loop_colors),
        ("overlay", lambda: overlay(image, label_map), loop_overlay),
    ):
        what = f"label map to {name}, {SIZE[0]} x {SIZE[1]}"
        others = {"the guide's loop over the palette": theirs}
        yield from compare(what, ours, others, same, rounds=rounds, unit="ms", goal="50 ×")
