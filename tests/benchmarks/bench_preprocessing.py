"""Images ready for training: our transform beside the guide's, and how long a step waits for them.

Ours crops and flips at random, and then jitters the colours of what is left; the guide's jitters
the whole image and squashes it. Files are decoded and batches put together on both sides. Toy
scenes come in batches of profile "tiny", photographs in those of profile "sample".
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import default_data_collator

from helpers.data import load_scenes
from helpers.profiles import Profile, get_profile
from helpers.training.loss import pixel_cross_entropy
from helpers.training.recipe import build_model
from helpers.transforms import (
    augmentation,
    load_image_processor,
    make_eval_transform,
    make_train_transform,
)
from tests.benchmarks import guide
from tests.benchmarks.measuring import Row, alone, medians_by_turns, photographs, skipped


def rows(quick: bool) -> Iterator[Row]:
    toy = get_profile("tiny")
    yield rate(toy, "toy scenes 256 × 192 to 128 × 128", 16 if quick else 320, quick)
    for workers in (0, 2):
        yield waiting(toy, workers, 3 if quick else 30)
    folder = photographs()
    if folder is None:
        yield skipped(
            "training-set preprocessing, real photographs",
            "no folder of them: set SEG_TEST_DATA to one in ADEChallengeData2016 layout",
        )
        return
    sample = get_profile("sample")
    real = replace(
        toy,
        dataset=str(folder),
        batch_size=sample.batch_size,
        image_size=64 if quick else sample.image_size,
    )
    side = real.image_size
    yield rate(real, f"real photographs to {side} × {side}", 16 if quick else 96, quick)


def rate(profile: Profile, images: str, count: int, quick: bool) -> Row:
    """Images a second of both transforms, on one thread of one process."""
    plain = repeated(profile, count)
    processor = load_image_processor(profile)
    train, evaluate = guide.transforms(profile.encoder, profile.image_size)
    augment = augmentation(profile.image_size)
    same_steps = make_train_transform(processor, augment.transforms[-1])
    for one, theirs in ((make_eval_transform(processor), evaluate), (same_steps, train)):
        same_batches(first_batch(plain, one), first_batch(plain, theirs))
    ways = [
        partial(whole_pass, loader(plain.with_transform(way), profile))
        for way in (make_train_transform(processor, augment), train)
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for way in ways:
            way()
        ours, theirs = medians_by_turns(ways, 2 if quick else 5)
    finally:
        torch.set_num_threads(threads)
    return Row(
        row=f"training-set preprocessing with crop and flip, {images}",
        other="the guide's transform",
        ours=count / ours,
        theirs=count / theirs,
        ratio=theirs / ours,
        unit="images/s",
        goal="",
    )


def waiting(profile: Profile, workers: int, steps: int) -> Row:
    """The share of a training step's time that passes before its batch is there."""
    model = build_model(profile)
    optimizer = torch.optim.AdamW(model.parameters(), lr=profile.learning_rate)
    transform = make_train_transform(
        load_image_processor(profile), augmentation(profile.image_size)
    )
    warm_up = 3  # workers start, memory is taken
    plain = repeated(profile, (warm_up + steps) * profile.batch_size)
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


def whole_pass(batches: DataLoader) -> None:
    for _ in batches:
        pass


def first_batch(plain: Dataset, transform: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    rows = plain.with_transform(transform)[:4]
    return {name: torch.stack([torch.as_tensor(one) for one in rows[name]]) for name in rows}


def same_batches(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), f"{name} differ"
