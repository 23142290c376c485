"""Training images ready for the model, a second: our transform beside the guide's.

The guide's jitters the colours of the whole image and squashes it. Our code is timed with these
steps, which give equal tensors, and with the course's own, which also crop and flip at random,
and then jitter. Files are decoded and batches put together on both sides. Toy scenes come in
batches of profile "tiny", photographs in those of profile "sample".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import default_data_collator

from helpers.data import load_scenes
from helpers.profiles import Profile, get_profile
from helpers.transforms import (
    augmentation,
    load_image_processor,
    make_eval_transform,
    make_train_transform,
)
from tests.benchmarks import guide
from tests.benchmarks.measuring import Row, medians_by_turns, photographs, skipped


def rows(quick: bool) -> Iterator[Row]:
    toy = get_profile("tiny")
    yield from on(toy, "toy scenes 256 × 192 to 128 × 128", 16 if quick else 320, quick)
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
    yield from on(real, f"real photographs to {side} × {side}", 16 if quick else 96, quick)


def on(profile: Profile, images: str, count: int, quick: bool) -> Iterator[Row]:
    plain = load_scenes(profile, check=False)["train"]
    plain = plain.select([index % len(plain) for index in range(count)])
    processor = load_image_processor(profile)
    train, evaluate = guide.transforms(profile.encoder, profile.image_size)
    augment = augmentation(profile.image_size)
    jitter = augment.transforms[-1]
    same_steps = make_train_transform(processor, jitter)
    for one, theirs in ((make_eval_transform(processor), evaluate), (same_steps, train)):
        same_batches(first_batch(plain, one), first_batch(plain, theirs))
    ours = make_train_transform(processor, augment)

    def loader(transform: Any, workers: int = 0) -> DataLoader:
        return DataLoader(
            plain.with_transform(transform),
            batch_size=profile.batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=default_data_collator,  # the one that `Trainer` takes
        )

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rounds = 2 if quick else 5
        name = f"training-set preprocessing, {images}"
        other = "the guide's transform"
        ways = (same_steps, ours, train)
        *seconds, theirs = passes([loader(way) for way in ways], rounds)
        yield rate(f"{name}, the guide's steps, one process", other, count, seconds[0], theirs)
        yield rate(f"{name}, with crop and flip, one process", other, count, seconds[1], theirs)
        seconds = passes([loader(ours, 2), loader(ours, 1)], rounds)
        yield rate(f"{name}, two workers", "one worker", count, *seconds, goal="1.7 ×")
    finally:
        torch.set_num_threads(threads)


def rate(row: str, other: str, count: int, ours: float, theirs: float, goal: str = "1.5 ×") -> Row:
    return Row(
        row=row,
        other=other,
        ours=count / ours,
        theirs=count / theirs,
        ratio=theirs / ours,
        unit="images/s",
        goal=goal,
    )


def passes(loaders: list[DataLoader], rounds: int) -> list[float]:
    """Median seconds of a pass over each, after one that starts the workers."""

    def whole(one: DataLoader) -> None:
        for _ in one:
            pass

    ways = [partial(whole, one) for one in loaders]
    for way in ways:
        way()
    return medians_by_turns(ways, rounds)


def first_batch(plain: Any, transform: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    rows = plain.with_transform(transform)[:4]
    return {name: torch.stack([torch.as_tensor(one) for one in rows[name]]) for name in rows}


def same_batches(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), f"{name} differ"
