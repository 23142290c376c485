"""The published recipe: its augmentation, schedule and optimiser, as profile `full` uses them."""

import pickle
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from samples import draw_blocks, save_encoder, small_processor, write_ade_folder
from test_transforms import draw_markers, inner, seen_labels
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from helpers.profiles import get_profile
from helpers.training.recipe import build_trainer
from helpers.transforms import (
    augmentation,
    make_train_transform,
    recipe_augmentation,
    train_augmentation,
)

SIDE = 96
COLORS = 3
"""The index of the first step that changes colours: those before it are geometry."""


def geometry(scale: tuple[float, float] = (0.5, 2.0)) -> v2.Compose:
    """Scale, crop and flip alone, so that an image's colours still tell its classes."""
    return v2.Compose(recipe_augmentation(SIDE, scale).transforms[:COLORS])


def apply(augment: v2.Transform, image: Image.Image, annotation: Image.Image) -> dict:
    """One pair as the model sees it: (3, side, side) pixel values, (side, side) labels."""
    transform = make_train_transform(small_processor(SIDE), augment)
    tensors = transform({"image": [image], "annotation": [annotation]})
    return {name: tensor[0] for name, tensor in tensors.items()}


def augmented(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Markers of many seeds: what the image shows at each pixel, and what the labels say."""
    for seed in range(count):
        torch.manual_seed(seed)
        tensors = apply(geometry(), *draw_markers(seed))
        yield seen_labels(tensors["pixel_values"]), tensors["labels"].numpy()


def test_markers_lie_on_the_same_pixels_in_image_and_labels() -> None:
    compared = 0
    for seen, labels in augmented(60):
        sure = inner(labels) & (labels != 255)
        wrong = (seen != labels)[sure]
        assert wrong.sum() <= 3, f"{wrong.sum()} of {wrong.size} pixels disagree"
        compared += int((sure & (labels != 3)).sum())
    assert compared > 30_000  # the markers were not cropped away


def test_markers_lie_on_the_same_pixels_to_a_fraction_of_one() -> None:
    offsets = []
    for seen, labels in augmented(80):
        for label in (20, 75, 149):
            here, there = np.argwhere(labels == label), np.argwhere(seen == label)
            if min(len(here), len(there)) > 30:
                offsets.append(here.mean(axis=0) - there.mean(axis=0))
    assert len(offsets) > 60
    assert np.quantile(np.abs(offsets), 0.9) < 0.5
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.1  # nor a shift that is always there


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (400, 20), (95, 97), (96, 96), (240, 180)])
def test_the_result_has_one_size_and_no_new_classes(size: tuple[int, int]) -> None:
    image, annotation = draw_blocks(1, (90, 90))
    image, annotation = image.resize(size), annotation.resize(size, Image.Resampling.NEAREST)
    allowed = {255, *(int(value) - 1 for value in np.unique(np.asarray(annotation)) if value)}
    for seed in range(10):
        torch.manual_seed(seed)
        tensors = apply(recipe_augmentation(SIDE), image, annotation)
        assert tensors["pixel_values"].shape == (3, SIDE, SIDE)
        assert tensors["labels"].shape == (SIDE, SIDE)
        assert set(tensors["labels"].unique().tolist()) <= allowed


def test_a_small_image_is_padded_with_what_nobody_learns_from() -> None:
    """At scale 0.5 a 120 x 90 image becomes 64 x 48: the rest is 255, of the mean colour."""
    image = Image.new("RGB", (120, 90), (250, 250, 250))
    tensors = apply(geometry((0.5, 0.5)), image, Image.new("L", (120, 90), 4))
    labelled = tensors["labels"] == 3
    assert labelled.sum() == 64 * 48
    assert (tensors["labels"][~labelled] == 255).all()
    assert tensors["pixel_values"][:, ~labelled].abs().max() < 0.02
    assert tensors["pixel_values"][:, labelled].min() > 1.5
    tensors = apply(geometry((2.0, 2.0)), image, Image.new("L", (120, 90), 4))
    assert (tensors["labels"] == 3).all()


def test_scales_are_drawn_from_the_whole_range() -> None:
    """A marker 40 pixels wide is seen at half to twice its size, relative to the short side."""
    annotation = Image.new("L", (90, 90), 4)
    annotation.paste(21, (25, 25, 65, 65))
    widths = []
    for seed in range(200):
        torch.manual_seed(seed)
        columns = (apply(geometry(), annotation.convert("RGB"), annotation)["labels"] == 20).any(0)
        widths.append(int(columns.sum()) * 90 / (40 * SIDE))
    assert 0.47 < min(widths) < 0.6
    assert 1.0 < np.median(widths) < 1.5
    assert max(widths) > 1.9


def test_crops_of_one_class_are_drawn_anew() -> None:
    """An image whose upper 70 % are sky: plain crops often hold little else."""
    annotation = Image.new("L", (400, 400), 3)
    annotation.paste(5, (0, 280, 400, 400))
    varied = {}
    for name, augment in {
        "recipe": geometry((1.5, 2.0)),
        "plain": v2.Compose([geometry((1.5, 2.0)).transforms[0], v2.RandomCrop(SIDE)]),
    }.items():
        shares = []
        for seed in range(60):
            torch.manual_seed(seed)
            labels = apply(augment, annotation.convert("RGB"), annotation)["labels"]
            shares.append((labels == 2).float().mean().item())
        varied[name] = np.mean(np.array(shares) < 0.75)
    assert varied["recipe"] > varied["plain"] + 0.3, varied


def test_flips_go_both_ways_and_colors_leave_the_labels() -> None:
    values = np.full((96, 96), 5, dtype=np.uint8)
    values[:, 48:] = 9
    annotation = Image.fromarray(values)
    left, colors = set(), []
    for seed in range(20):
        torch.manual_seed(seed)
        tensors = apply(
            recipe_augmentation(SIDE, (1.0, 1.0)),
            Image.new("RGB", (96, 96), (200, 90, 40)),
            annotation,
        )
        left.add(int(tensors["labels"][0, 0]))
        colors.append(tensors["pixel_values"][:, 50, 50])
        assert sorted(tensors["labels"].unique().tolist()) == [4, 8]
    assert left == {4, 8}
    assert torch.stack(colors).std(dim=0).min() > 0.1


def test_the_seed_repeats_it() -> None:
    image, annotation = draw_blocks(1, (150, 120))
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(apply(recipe_augmentation(SIDE), image, annotation))
    assert torch.equal(results[0]["pixel_values"], results[1]["pixel_values"])
    assert torch.equal(results[0]["labels"], results[1]["labels"])
    assert not torch.equal(results[0]["pixel_values"], results[2]["pixel_values"])


def test_each_profile_has_its_augmentation() -> None:
    full, tiny = get_profile("full"), get_profile("tiny")
    assert full.random_scale == (0.5, 2.0)
    assert repr(train_augmentation(full)) == repr(recipe_augmentation(512, (0.5, 2.0)))
    assert repr(train_augmentation(tiny)) == repr(augmentation(tiny.image_size))


# --- data-loader workers ------------------------------------------------------------------------


def same_image(count: int) -> Dataset:
    """A data set of one image over and over, cropped again for each row."""
    image, annotation = draw_blocks(1, (150, 120))
    batch = {"image": [image] * count, "annotation": [annotation] * count}
    transform = make_train_transform(small_processor(SIDE), recipe_augmentation(SIDE))
    data = Dataset.from_dict({"index": list(range(count))})
    return data.with_transform(
        lambda rows: transform({name: cells[: len(rows["index"])] for name, cells in batch.items()})
    )


def test_workers_draw_other_numbers_and_the_seed_repeats_them() -> None:
    def load(seed: int, epochs: int = 1) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        loader = DataLoader(same_image(8), batch_size=2, num_workers=2)
        return [
            image
            for _ in range(epochs)
            for batch in loader  # batches 0 and 2 from one worker, 1 and 3 from the other
            for image in batch["pixel_values"]
        ]

    images = load(seed=0, epochs=2)
    assert len(images) == 16
    for index, one in enumerate(images):
        assert not any(torch.equal(one, other) for other in images[:index])
    again = load(seed=0, epochs=2)
    assert all(torch.equal(one, other) for one, other in zip(images, again, strict=True))
    assert not torch.equal(images[0], load(seed=1)[0])


@pytest.mark.parametrize("name", ["tiny", "full"])
def test_a_training_set_can_be_sent_to_workers_that_start_afresh(name: str) -> None:
    """On Windows and macOS, a worker is a new process and receives the data set as a pickle."""
    augment = train_augmentation(replace(get_profile(name), image_size=SIDE))
    image, annotation = draw_blocks(1)
    data = Dataset.from_dict({"image": [image] * 2, "annotation": [annotation] * 2})
    data = data.with_transform(make_train_transform(small_processor(SIDE), augment))
    received = pickle.loads(pickle.dumps(data))
    torch.manual_seed(0)
    expected = data[:2]
    torch.manual_seed(0)
    assert torch.equal(received[:2]["pixel_values"], expected["pixel_values"])


# --- optimiser and schedule ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory):
    """Profile `full` over a small encoder and a few images, ready for its first step."""
    folder = tmp_path_factory.mktemp("recipe")
    profile = replace(
        get_profile("full"),
        encoder=str(save_encoder(folder / "encoder")),
        dataset=str(write_ade_folder(folder / "scenes")),
        image_size=32,
    )
    trainer = build_trainer(profile, output_dir=folder / "out", eval_on_start=False)
    trainer.create_optimizer_and_scheduler(trainer.args.max_steps)
    return trainer


def test_full_is_the_published_schedule(trainer) -> None:
    arguments = trainer.args
    assert arguments.max_steps == 160_000
    assert arguments.per_device_train_batch_size == 16
    assert isinstance(trainer.optimizer, torch.optim.AdamW)
    assert trainer.optimizer.defaults["betas"] == (0.9, 0.999)
    factors = [trainer.lr_scheduler.lr_lambdas[0](step) for step in (0, 750, 1500, 80_750, 160_000)]
    np.testing.assert_allclose(factors, [0, 0.5, 1, 0.5, 0], atol=2e-3)


def test_the_head_learns_ten_times_as_fast_and_norms_do_not_decay(trainer) -> None:
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    seen = set()
    for group in trainer.optimizer.param_groups:
        for parameter in group["params"]:
            name = names[parameter]
            head = name.startswith("decode_head.")
            assert group["initial_lr"] == pytest.approx(6e-4 if head else 6e-5), name
            one_dimensional = parameter.ndim == 1  # biases and the scales of normalisations
            assert group["weight_decay"] == (0.0 if one_dimensional else 0.01), name
            seen.add(name)
    assert seen == set(names.values())
