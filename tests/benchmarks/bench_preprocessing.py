"""Images ready for training: how much of a training step passes before its batch is there."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import default_data_collator

from helpers.data import load_scenes
from helpers.profiles import Profile, get_profile
from helpers.training import build_model, pixel_cross_entropy
from helpers.transforms import augmentation, load_image_processor, make_train_transform
from tests.benchmarks.measuring import Row, alone


def rows(quick: bool) -> Iterator[Row]:
    for workers in (0, 2, 4):
        yield waiting(get_profile("tiny"), workers, 3 if quick else 30)


def waiting(profile: Profile, workers: int, steps: int) -> Row:
    """The share of a training step's time that passes before its batch is there."""
    model = build_model(profile)
    optimizer = torch.optim.AdamW(model.parameters(), lr=profile.learning_rate)
    transform = make_train_transform(
        load_image_processor(profile), augmentation(profile.image_size)
    )
    warm_up = 3  # workers start, memory is taken
    plain = repeated(profile, (warm_up + steps) * profile.batch_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # four workers on two cores are what is to be measured
        batches = iter(loader(plain.with_transform(transform), profile, workers))
    waited = total = 0.0
    for step in range(warm_up + steps):
        begin = time.perf_counter()
        batch = next(batches)
        ready = time.perf_counter()
        pixel_cross_entropy(model(batch["pixel_values"]), batch["labels"]).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step >= warm_up:
            waited += ready - begin
            total += time.perf_counter() - begin
    return alone(
        f"training step, profile {profile.name}, {workers} workers: share spent waiting for data",
        100 * waited / total,
        "%",
    )


def repeated(profile: Profile, count: int) -> Dataset:
    """So many training images, in order, from the first again after the last."""
    plain = load_scenes(profile, check=False)["train"]
    return plain.select([index % len(plain) for index in range(count)])


def loader(scenes: Dataset, profile: Profile, workers: int = 0) -> DataLoader:
    return DataLoader(
        scenes,
        batch_size=profile.batch_size,
        shuffle=True,
        num_workers=workers,
        collate_fn=default_data_collator,  # the one that `Trainer` takes
    )
