"""How fast a model.onnx segments images, beside the same model in PyTorch and in `pipeline`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from transformers import pipeline

from helpers.data import load_scenes
from helpers.inference import load_model, segment_batch
from helpers.profiles import get_profile
from scripts.export import main as export
from scripts.onnx_segmenter import OnnxSegmenter
from tests.benchmarks.bench_inference import SIZE, draw_images, label_map_of, random_b0
from tests.benchmarks.measuring import Row, compare


def rows(quick: bool) -> Iterator[Row]:
    count, rounds = (2, 1) if quick else (8, 5)
    profile = get_profile("tiny")
    toy = load_model(profile.finetuned_model)
    scenes = list(load_scenes(profile, check=False)["test"].select(range(2 * count))["image"])
    yield from exported("segformer-toy, scenes of 256 x 192", *toy, scenes, rounds, "4 ×")
    name = f"SegFormer-B0 at 512 x 512, random, {SIZE[0]} x {SIZE[1]}"
    yield from exported(name, *random_b0(), draw_images(count), rounds, "3 ×")


def exported(
    name: str, model: Any, image_processor: Any, images: Sequence, rounds: int, goal: str
) -> Iterator[Row]:
    """Images per second, as `scripts.segment` asks for them; the goal is beside `pipeline`."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        image_processor.save_pretrained(folder)
        with redirect_stdout(None):
            failed = export(["--model", folder])
        if failed:
            raise RuntimeError(f"{name} cannot be exported")
        segmenter = OnnxSegmenter(Path(folder) / "model.onnx")
    pipe = pipeline("image-segmentation", model=model, image_processor=image_processor)

    def by_pipeline() -> list:
        return [pipe(image, subtask="semantic") for image in images]

    def by_torch() -> list[np.ndarray]:
        starts = range(0, len(images), 8)
        parts = (segment_batch(images[k : k + 8], model, image_processor) for k in starts)
        return [one for part in parts for one in part]

    def same(ours: list[np.ndarray], theirs: list) -> None:
        if isinstance(theirs[0], list):  # of masks
            theirs = [label_map_of(masks, model.config.label2id) for masks in theirs]
        differing = sum((a != b).sum() for a, b in zip(ours, theirs, strict=True))
        assert differing <= 1e-4 * sum(one.size for one in ours), f"{differing} pixels differ"

    settings = {"rounds": rounds, "per": len(images), "unit": "images/s"}
    for other, theirs, reached in (
        ("the same in PyTorch, batches of 8", by_torch, ""),
        ('pipeline("image-segmentation"), one at a time', by_pipeline, goal),
    ):
        what = f"model.onnx of {name}"
        yield from compare(
            what, lambda: segmenter.segment(images), {other: theirs}, same, goal=reached, **settings
        )
