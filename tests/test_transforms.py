"""Augmentation and preprocessing: image and labels stay together, classes stay classes."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from samples import draw_blocks, save_encoder, small_processor, small_profile
from torchvision import tv_tensors

from helpers.toy.scenes import draw_scene
from helpers.transforms import (
    annotation_tensor,
    augmentation,
    load_image_processor,
    make_eval_transform,
    make_train_transform,
)

SIDE = 96
RED, FIRST_RED = 0, 10


@pytest.fixture(scope="module")
def scene() -> tuple[Image.Image, Image.Image]:
    """A toy scene, drawn once: 256 x 192 pixels."""
    drawn = draw_scene(3)
    return drawn.image, drawn.annotation


def draw_markers(seed: int) -> tuple[Image.Image, Image.Image]:
    """Three discs of unlike shape and colour on grey, annotation values 21, 76 and 150 on 4."""
    rng = np.random.default_rng(seed)
    image, annotation = Image.new("RGB", (240, 180), (90, 90, 90)), Image.new("L", (240, 180), 4)
    for value, color in ((21, (255, 0, 0)), (76, (0, 255, 0)), (150, (0, 0, 255))):
        x, y = rng.integers(15, 225), rng.integers(15, 165)
        radius_x, radius_y = rng.integers(12, 40, 2)
        box = (x - radius_x, y - radius_y, x + radius_x, y + radius_y)
        ImageDraw.Draw(image).ellipse(box, fill=color)
        ImageDraw.Draw(annotation).ellipse(box, fill=value)
    return image, annotation


def seen_labels(pixel_values: torch.Tensor) -> np.ndarray:
    """Which marker the image shows at each pixel, read off its colours: label ids."""
    processor = small_processor()
    mean, std = torch.tensor(processor.image_mean), torch.tensor(processor.image_std)
    rgb = pixel_values.permute(1, 2, 0) * std + mean
    # The grey is darker than half of any marker, whatever ColorJitter does to brightness.
    spread = rgb.amax(dim=2) - rgb.amin(dim=2)
    labels = torch.tensor([20, 75, 149])[rgb.argmax(dim=2)]
    return torch.where(spread > 0.35, labels, 3).numpy()


def inner(labels: np.ndarray) -> np.ndarray:
    """True where the 3 x 3 neighbourhood has one label: off the blurred borders."""
    same = np.ones(labels.shape, dtype=bool)
    for rows in (-1, 0, 1):
        for columns in (-1, 0, 1):
            same &= np.roll(labels, (rows, columns), (0, 1)) == labels
    same[[0, -1]] = same[:, [0, -1]] = False
    return same


def augmented(count: int) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    """Augmented markers of many seeds: (3, side, side) pixel values and (side, side) labels."""
    transform = make_train_transform(small_processor(SIDE), augmentation(SIDE))
    for seed in range(count):
        torch.manual_seed(seed)
        image, annotation = draw_markers(seed)
        tensors = transform({"image": [image], "annotation": [annotation]})
        yield tensors["pixel_values"][0], tensors["labels"][0].numpy()


def test_markers_lie_on_the_same_pixels_in_image_and_labels() -> None:
    """Away from borders, where colours blend, the image shows what the labels say."""
    compared = 0
    for pixel_values, labels in augmented(60):
        seen = seen_labels(pixel_values)
        sure = inner(labels)
        wrong = (seen != labels)[sure]
        assert wrong.sum() <= 3, f"{wrong.sum()} of {wrong.size} pixels disagree"
        compared += int((sure & (labels != 3)).sum())
    assert compared > 50_000  # the markers were not cropped away


def test_markers_lie_on_the_same_pixels_to_a_fraction_of_one() -> None:
    """A marker's centre, as the labels and as the image have it, differ by far less than 1."""
    offsets = []
    for pixel_values, labels in augmented(60):
        seen = seen_labels(pixel_values)
        for label in (20, 75, 149):
            here, there = np.argwhere(labels == label), np.argwhere(seen == label)
            if min(len(here), len(there)) > 30:
                offsets.append(here.mean(axis=0) - there.mean(axis=0))
    assert len(offsets) > 60
    assert np.quantile(np.abs(offsets), 0.9) < 0.5
    # And no shift that is always there: plain `RandomResizedCrop` has one of 0.3 pixels in rows.
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.1


def test_augmentation_invents_no_classes(scene: tuple[Image.Image, Image.Image]) -> None:
    """Values of a bilinearly resized annotation would lie between those of neighbours."""
    image, annotation = scene
    values = np.unique(np.asarray(annotation))
    allowed = {255 if value == 0 else int(value) - 1 for value in values}
    assert len(allowed) > 5
    transform = make_train_transform(small_processor(SIDE), augmentation(SIDE))
    for seed in range(20):
        torch.manual_seed(seed)
        labels = transform({"image": [image], "annotation": [annotation]})["labels"]
        assert set(labels.unique().tolist()) <= allowed


def test_augmentation_changes_images_and_is_repeated_by_its_seed(
    scene: tuple[Image.Image, Image.Image],
) -> None:
    image, annotation = scene
    transform = make_train_transform(small_processor(SIDE), augmentation(SIDE))
    batch = {"image": [image] * 2, "annotation": [annotation] * 2}
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(transform(batch))
    first, again, other = results
    for name in ("pixel_values", "labels"):
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name])
        assert not torch.equal(first[name][0], first[name][1])  # each image its own crop


def test_augmentation_flips_both_ways() -> None:
    """An image whose left half is another class than its right one, seen either way round."""
    values = np.full((60, 80), 5, dtype=np.uint8)
    values[:, 40:] = 9
    annotation = Image.fromarray(values)
    transform = make_train_transform(small_processor(SIDE), augmentation(SIDE))
    left = set()
    for seed in range(40):
        torch.manual_seed(seed)
        image = annotation.convert("RGB")
        labels = transform({"image": [image], "annotation": [annotation]})["labels"][0]
        if labels[0, 0] != labels[0, -1]:
            left.add(int(labels[0, 0]))
    assert left == {4, 8}


def test_shapes_and_types() -> None:
    sizes = [(48, 36), (36, 48), (50, 50)]
    images, annotations = zip(*map(draw_blocks, range(3), sizes), strict=True)
    batch = {"image": list(images), "annotation": list(annotations)}
    for augment in (None, augmentation(32)):
        tensors = make_train_transform(small_processor(32), augment)(batch)
        assert set(tensors) == {"pixel_values", "labels"}
        assert tensors["pixel_values"].shape == (3, 3, 32, 32)
        assert tensors["pixel_values"].dtype == torch.float32
        assert tensors["labels"].shape == (3, 32, 32)
        assert tensors["labels"].dtype == torch.int64


def test_labels_are_reduced_exactly_once() -> None:
    """Every value 0-150, large enough that no resizing drops one."""
    values = np.zeros((64, 80), dtype=np.uint8)
    for value in range(151):
        row, column = divmod(value, 20)
        values[8 * row : 8 * row + 8, 4 * column : 4 * column + 4] = value
    annotation = Image.fromarray(values)
    transform = make_eval_transform(small_processor(160))
    batch = {"image": [annotation.convert("RGB")], "annotation": [annotation]}
    labels = transform(batch)["labels"][0].numpy()
    assert set(np.unique(labels)) == {*range(150), 255}
    resized = np.asarray(annotation.resize((160, 160), Image.Resampling.NEAREST)).astype(int)
    assert (labels == np.where(resized == 0, 255, resized - 1)).all()


def test_the_evaluation_transform_is_deterministic() -> None:
    image, annotation = draw_blocks(0)
    transform = make_eval_transform(small_processor())
    batch = {"image": [image], "annotation": [annotation]}
    torch.manual_seed(0)
    first = transform(batch)
    torch.manual_seed(1)
    second = transform(batch)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_evaluation_transform_shows_the_whole_image() -> None:
    """Halving the size halves the coordinates: labels and normalised colours at known places."""
    image, annotation = draw_blocks(5, (64, 64))
    tensors = make_eval_transform(small_processor(32))(
        {"image": [image], "annotation": [annotation]}
    )
    values = np.asarray(annotation).astype(int)
    colors = np.asarray(image) / 255
    processor = small_processor()
    for row, column in ((3, 5), (4, 26), (27, 6), (28, 29)):
        value = values[2 * row, 2 * column]
        assert tensors["labels"][0, row, column] == (255 if value == 0 else value - 1)
        expected = (colors[2 * row, 2 * column] - processor.image_mean) / processor.image_std
        seen = tensors["pixel_values"][0, :, row, column].numpy()
        np.testing.assert_allclose(seen, expected, atol=0.02)


def test_an_annotation_becomes_a_mask_of_bytes() -> None:
    _, annotation = draw_blocks(0)
    mask = annotation_tensor(annotation)
    assert isinstance(mask, tv_tensors.Mask)  # v2 resizes those by nearest neighbour
    assert mask.dtype == torch.uint8
    assert (mask.numpy() == np.asarray(annotation)).all()


@pytest.mark.parametrize("as_old", ["true", "false", "absent"])
def test_label_reduction_is_on_whatever_the_configuration_says(tmp_path: Path, as_old: str) -> None:
    """nvidia/mit-b0's configuration says `reduce_labels`, which newer versions read as False."""
    encoder = save_encoder(tmp_path)
    file = encoder / "preprocessor_config.json"
    config = json.loads(file.read_text())
    del config["do_reduce_labels"]
    if as_old != "absent":
        config["reduce_labels"] = as_old == "true"
    file.write_text(json.dumps(config))
    processor = load_image_processor(small_profile(encoder, tmp_path, image_size=40))
    assert processor.do_reduce_labels is True
    assert (processor.size["height"], processor.size["width"]) == (40, 40)
    annotation = Image.fromarray(np.full((40, 40), 7, dtype=np.uint8))
    batch = {"image": [annotation.convert("RGB")], "annotation": [annotation]}
    assert make_eval_transform(processor)(batch)["labels"].unique().tolist() == [6]
