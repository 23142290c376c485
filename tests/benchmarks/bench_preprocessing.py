"""Images ready for training: how much of a training step passes before its batch is there."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader
from transformers import default_data_collator

from helpers.data import load_scenes
from helpers.profiles import get_profile
from helpers.training import build_model, pixel_cross_entropy
from helpers.transforms import augmentation, load_image_processor, make_train_transform
from tests.benchmarks.measuring import Row, alone

WARM_UP = 3
"""Steps in which workers start and memory is taken."""


def rows(quick: bool) -> Iterator[Row]:
    for workers in (0, 2, 4):
        share = 100 * waiting(workers, WARM_UP + (3 if quick else 30))
        what = f"training step, profile tiny, {workers} workers: share spent waiting for data"
        yield alone(what, share, "%")


def waiting(workers: int, steps: int) -> float:
    """The share of a training step's time that passes before its batch is there."""
    profile = get_profile("tiny")
    model = build_model(profile)
    optimizer = torch.optim.AdamW(model.parameters(), lr=profile.learning_rate)
    augment = augmentation(profile.image_size)
    scenes = load_scenes(profile, check=False)["train"].with_transform(
        make_train_transform(load_image_processor(profile), augment)
    )
    often = scenes.select([i % len(scenes) for i in range(steps * profile.batch_size)])
    loader = DataLoader(
        often,
        batch_size=profile.batch_size,
        shuffle=True,
        num_workers=workers,
        collate_fn=default_data_collator,  # the one that `Trainer` takes
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # four workers on two cores are what is to be measured
        batches = iter(loader)
    waited = total = 0.0
    for step in range(steps):
        begin = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        pixel_cross_entropy(model(batch["pixel_values"]), batch["labels"]).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step >= WARM_UP:
            waited += ready - begin
            total += time.perf_counter() - begin
    return waited / total
