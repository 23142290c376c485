"""Trainings on the drawn fruit of notebook 07: more images, other splits, starts, sizes, losses.

`tools.course.sweeps` measures and stores them. Each function returns the rows of a table; where a
score is a list, it has one number of each seed. All take the profile's recipe with `BATCH_SIZE`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from helpers.profiles import BUNDLED, Profile

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from helpers.training import SegmentationTrainer

SEEDS = (0, 1, 2)
BATCH_SIZE = 4
SETTINGS = {"seeds": [*SEEDS], "batch_size of the fruit": BATCH_SIZE}
"""Beside those of the profile."""
SHORT, LONG, LONGEST = 60, 120, 240
"""Steps: as the notebook trains; until the losses hardly differ; until time is not what lacks."""
COUNTS = (6, 12, 23, 46)
"""Training images; the last is all of them."""
TABLES, FRAMES = 24, 4
"""Tables that were photographed, and photographs of each in a row."""
SIZES = (64, 96, 128, 192)
"""Pixels along a side of what the model sees."""


def images(profile: Profile) -> list[dict[str, Any]]:
    """More and more images, each set within the next; the seed draws which. As many steps for all.

    The validation images are the notebook's.
    """
    import numpy as np

    def run(count: int, own: Profile) -> dict[str, float]:
        dataset = clean_fruit(profile.seed)
        order = np.random.default_rng(own.seed).permutation(len(dataset["train"]))
        dataset["train"] = dataset["train"].select(order[:count])
        return class_scores(train(own, dataset, LONG))

    return [{"images": count} | over_seeds(profile, partial(run, count)) for count in COUNTS]


def split(profile: Profile) -> list[dict[str, Any]]:
    """Several photographs of each table, split at random or by table; both scored on new tables.

    The seed draws which tables were photographed. Scores are mean IoU at original size.
    """
    import numpy as np
    from datasets import DatasetDict, concatenate_datasets

    from helpers.evaluation import evaluate

    def run(by_table: bool, own: Profile) -> dict[str, float]:
        rng = np.random.default_rng(own.seed)
        tables = concatenate_datasets([*clean_fruit(profile.seed).values()])
        order = rng.permutation(len(tables))
        taken = photographed(tables.select(order[:TABLES]), rng)
        if by_table:
            first = len(taken) - len(taken) // 3  # the tables are in random order
            parts = {"train": taken.select(range(first))}
            parts["test"] = taken.select(range(first, len(taken)))
        else:
            parts = taken.train_test_split(1 / 3, seed=own.seed)
        trainer = train(own, DatasetDict(parts), LONGEST)
        parts["new"] = photographed(tables.select(order[TABLES:]), rng)
        told, true = (
            evaluate(scenes, trainer.model, trainer.processing_class).compute()["mean_iou"]
            for scenes in (parts["test"], parts["new"])
        )
        return {"validation": told, "new tables": true, "difference": told - true}

    ways = {"at random": False, "by table": True}
    return [
        {"split": way} | over_seeds(profile, partial(run, by_table))
        for way, by_table in ways.items()
    ]


def photographed(scenes: Dataset, rng: Any) -> Dataset:
    """`FRAMES` crops of each scene in a row, some darker: near-duplicates, as a hand makes them."""
    from datasets import Dataset
    from PIL import ImageEnhance

    rows: dict[str, list[Any]] = {"image": [], "annotation": []}
    for scene in scenes:
        width, height = scene["image"].size
        for _ in range(FRAMES):
            left, top = rng.integers(0, width // 8), rng.integers(0, height // 8)
            box = (left, top, left + 7 * width // 8, top + 7 * height // 8)
            light = ImageEnhance.Brightness(scene["image"].crop(box))
            rows["image"].append(light.enhance(rng.uniform(0.9, 1.1)))
            rows["annotation"].append(scene["annotation"].crop(box))
    return Dataset.from_dict(rows, features=scenes.features)


def start(profile: Profile) -> list[dict[str, Any]]:
    """The notebook's training from random weights, from the encoder, and from a finished model."""

    def run(source: str | None, own: Profile) -> dict[str, float]:
        given = replace(own, encoder=source, encoder_revision=None) if source else own
        return class_scores(train(given, clean_fruit(profile.seed), SHORT, random=source is None))

    starts = {
        "random weights": None,
        "pretrained encoder": profile.encoder,
        "finished model": profile.finetuned_model,
    }
    return [
        {"start": name} | over_seeds(profile, partial(run, source))
        for name, source in starts.items()
    ]


def sizes(profile: Profile) -> list[dict[str, Any]]:
    """Larger and larger images for the model; scores at the images' own size."""
    from helpers.evaluation import evaluate

    def run(size: int, own: Profile) -> dict[str, float]:
        dataset = clean_fruit(profile.seed)
        trainer = train(replace(own, image_size=size), dataset, LONG)
        counted = evaluate(dataset["test"], trainer.model, trainer.processing_class)
        return of_classes(counted.compute())

    return [{"image size": size} | over_seeds(profile, partial(run, size)) for size in SIZES]


def losses(profile: Profile) -> list[dict[str, Any]]:
    """Losses, and cross-entropy on images in which those with the rarest class come more often."""
    import numpy as np

    from helpers.data import check_scenes
    from scripts.losses import LOSSES, loss_of_name

    areas = check_scenes(clean_fruit(profile.seed)["train"], "train", fruit_labels())

    def run(name: str, steps: int, own: Profile) -> dict[str, float]:
        dataset = clean_fruit(profile.seed)
        if name == "sampling":
            rarest, masks = areas.argmin(), dataset["train"]["annotation"]
            times = [3 if (np.asarray(mask) == rarest).any() else 1 for mask in masks]
            dataset["train"] = dataset["train"].select(np.repeat(np.arange(len(times)), times))
        loss = loss_of_name("cross-entropy" if name == "sampling" else name, areas)
        return class_scores(train(own, dataset, steps, loss))

    names = {name: name for name in (*LOSSES, "sampling")} | {"weighted": "class weights"}
    return [
        {"steps": steps, "loss": shown} | over_seeds(profile, partial(run, name, steps))
        for steps in (SHORT, LONG)
        for name, shown in names.items()
    ]


def over_seeds(
    profile: Profile, run: Callable[[Profile], dict[str, float]]
) -> dict[str, list[float]]:
    """The scores of one training for each seed, as lists."""
    found = [run(replace(profile, batch_size=BATCH_SIZE, seed=seed)) for seed in SEEDS]
    return {column: [round(float(one[column]), 4) for one in found] for column in found[0]}


def class_scores(trainer: SegmentationTrainer) -> dict[str, float]:
    """Scores on the validation images, at the model's size as in the notebook."""
    trainer.evaluate()
    return of_classes(trainer.compute_metrics.matrix.compute())


def of_classes(scores: dict[str, Any]) -> dict[str, float]:
    """What the tables show: a class that is confused, the rarest, and the mean."""
    iou = dict(zip(fruit_labels().names, scores["per_category_iou"], strict=True))
    found = {f"IoU of the {name}": iou[name] for name in ("pear", "cherry")}
    return found | {"mean IoU": scores["mean_iou"]}


def train(
    profile: Profile, dataset: DatasetDict, steps: int, loss: Any = None, random: bool = False
) -> SegmentationTrainer:
    """Train on the fruit as notebook 07 does, and return the trainer with its last model.

    Args:
        dataset: splits train and test.
        loss: for `compute_loss_func`; None: cross-entropy.
        random: nothing pretrained is left; the rest is as with the profile's encoder.
    """
    from transformers import set_seed

    from helpers.training import build_trainer

    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(
            replace(profile, own=fruit_labels()),
            dataset,
            folder,
            max_steps=steps,
            warmup_steps=steps // 12,
            eval_strategy="no",
            eval_on_start=False,
            save_strategy="no",
            load_best_model_at_end=False,
        )
        trainer.compute_loss_func = loss or trainer.compute_loss_func
        if random:
            set_seed(profile.seed)
            untrained = type(trainer.model)(trainer.model.config)
            trainer.model.load_state_dict(untrained.state_dict())
        trainer.train()
    return trainer


def fruit_labels() -> Any:
    """What the fruit's masks mean."""
    from helpers.labels import Labels
    from tools.drawing import fruit

    return Labels(fruit.CLASSES)


def clean_fruit(seed: int) -> DatasetDict:
    """The drawn fruit of notebook 07 with its masks converted; splits train and test."""
    from datasets import DatasetDict

    return DatasetDict(_clean_fruit().train_test_split(0.2, seed=seed))


@cache
def _clean_fruit() -> Dataset:
    from datasets import Dataset, Features
    from datasets import Image as ImageFeature

    from helpers import custom
    from helpers.images import header, load_image
    from tools.drawing import fruit

    drawn = BUNDLED / "fruit"
    values = {label: label for label in range(len(fruit.CLASSES))} | {7: 255}
    rows: dict[str, list[Any]] = {"image": [], "annotation": []}
    for image, mask in custom.find_pairs(drawn / "images", drawn / "masks").pairs:
        try:
            rows["image"].append(load_image(image))
        except ValueError:  # it was not copied to its end
            continue
        if header(mask).mode == "RGB":
            converted = custom.labels_from_colors(mask, fruit.COLORS, image=image)
        else:
            converted = custom.labels_from_values(mask, values, image)
        rows["annotation"].append(custom.resize_labels(converted, image))
    return Dataset.from_dict(
        rows, features=Features(image=ImageFeature(), annotation=ImageFeature())
    )
