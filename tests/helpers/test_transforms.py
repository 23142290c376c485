"""Preprocessing and both augmentations: image and labels stay together, classes stay classes."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image, ImageDraw
from samples import FRUIT, draw_blocks, save_encoder, small_processor, small_profile
from torchvision import tv_tensors
from torchvision.transforms import v2

from helpers.labels import ADE20K, Labels
from helpers.profiles import get_profile
from helpers.transforms import (
    annotation_tensor,
    augmentation,
    load_image_processor,
    make_eval_transform,
    make_train_transform,
    recipe_augmentation,
    train_augmentation,
)
from tools.drawing.scenes import draw_scene

SIDE = 96


def geometry(scale: tuple[float, float] = (0.5, 2.0), labels: Labels = ADE20K) -> v2.Compose:
    """The recipe's scale, crop and flip alone, so that colors still tell the classes."""
    return v2.Compose(recipe_augmentation(SIDE, scale, labels).transforms[:3])


BOTH = {"guide": augmentation(SIDE), "recipe": recipe_augmentation(SIDE)}
both = pytest.mark.parametrize("augment", BOTH.values(), ids=BOTH)


def apply(augment: v2.Transform | None, image: Image.Image, annotation: Image.Image) -> dict:
    """One pair as the model sees it: (3, side, side) pixel values, (side, side) labels."""
    transform = make_train_transform(small_processor(SIDE), augment)
    tensors = transform({"image": [image], "annotation": [annotation]})
    return {name: tensor[0] for name, tensor in tensors.items()}


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


# --- augmentation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("augment", [BOTH["guide"], geometry()], ids=BOTH)
def test_markers_lie_on_the_same_pixels_to_a_fraction_of_one(augment: v2.Transform) -> None:
    """A marker's centre, as the image and as its labels have it, differ by far less than 1."""
    offsets = []
    for seed in range(80):
        torch.manual_seed(seed)
        tensors = apply(augment, *draw_markers(seed))
        seen, labels = seen_labels(tensors["pixel_values"]), tensors["labels"].numpy()
        for label in (20, 75, 149):
            here, there = np.argwhere(labels == label), np.argwhere(seen == label)
            if min(len(here), len(there)) > 30:
                offsets.append(here.mean(axis=0) - there.mean(axis=0))
    assert len(offsets) > 60
    assert np.quantile(np.abs(offsets), 0.9) < 0.5
    # And no shift that is always there: plain `RandomResizedCrop` has one of 0.3 pixels in rows.
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.1


@both
@pytest.mark.parametrize("size", [(1, 1), (3, 200), (400, 20), (95, 97), (96, 96), None])
def test_the_result_has_one_size_and_no_new_classes(
    augment: v2.Transform, size: tuple[int, int] | None
) -> None:
    """Values of a bilinearly resized annotation would lie between those of neighbours."""
    scene = draw_scene(3)
    image, annotation = scene.image, scene.annotation
    if size:
        image = image.resize(size)
        annotation = annotation.resize(size, Image.Resampling.NEAREST)
    allowed = {255, *(int(value) - 1 for value in np.unique(np.asarray(annotation)) if value)}
    assert size or len(allowed) > 5
    for seed in range(10):
        torch.manual_seed(seed)
        tensors = apply(augment, image, annotation)
        assert tensors["pixel_values"].shape == (3, SIDE, SIDE)
        assert tensors["labels"].shape == (SIDE, SIDE)
        assert [one.dtype for one in tensors.values()] == [torch.float32, torch.int64]
        assert set(tensors["labels"].unique().tolist()) <= allowed


@pytest.mark.parametrize("labels", [ADE20K, FRUIT], ids=str)
def test_a_small_image_is_padded_with_what_nobody_learns_from(labels: Labels) -> None:
    """At scale 0.5 a 120 x 90 image becomes 64 x 48: the rest is 255, of the mean color."""
    image, annotation = Image.new("RGB", (120, 90), (250, 250, 250)), Image.new("L", (120, 90), 1)
    processor = small_processor(SIDE)
    processor.do_reduce_labels = labels.reduce
    for scale, pixels in (((0.5, 0.5), 64 * 48), ((2.0, 2.0), SIDE * SIDE)):
        transform = make_train_transform(processor, geometry(scale, labels))
        batch = transform({"image": [image], "annotation": [annotation]})
        label_map, values = batch["labels"][0], batch["pixel_values"][0]
        labelled = label_map == (0 if labels.reduce else 1)
        assert labelled.sum() == pixels
        assert (label_map[~labelled] == 255).all()
        assert (values[:, ~labelled].abs() < 0.02).all()
        assert values[:, labelled].min() > 1.5


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


@pytest.mark.parametrize("labels", [ADE20K, FRUIT], ids=str)
def test_crops_of_one_class_are_drawn_again(labels: Labels) -> None:
    """Of an image whose upper 70 % are one class, plain crops hold little else."""
    most = 3 if labels.reduce else 0
    annotation = Image.new("L", (400, 400), most)
    annotation.paste(1, (0, 280, 400, 400))
    recipe = geometry((1.5, 2.0), labels)
    plain, varied = v2.Compose([recipe.transforms[0], v2.RandomCrop(SIDE)]), {}
    for name, augment in {"recipe": recipe, "plain": plain}.items():
        shares = []
        for seed in range(60):
            torch.manual_seed(seed)
            _, mask = augment(annotation.convert("RGB"), annotation_tensor(annotation))
            shares.append((mask == most).float().mean().item())
        varied[name] = np.mean(np.array(shares) < 0.75)
    assert varied["recipe"] > max(0.8, varied["plain"] + 0.3), varied


def test_each_profile_has_its_augmentation() -> None:
    full, tiny = get_profile("full"), get_profile("tiny")
    assert full.random_scale == (0.5, 2.0)
    assert repr(train_augmentation(full)) == repr(recipe_augmentation(512, (0.5, 2.0)))
    assert repr(train_augmentation(tiny)) == repr(augmentation(tiny.image_size))
    crop = train_augmentation(replace(full, own=FRUIT)).transforms[1]
    assert crop.ignored == 255
    assert train_augmentation(full).transforms[1].ignored == 0


# --- preprocessing --------------------------------------------------------------------------------


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


def test_an_annotation_becomes_a_mask_of_bytes_or_is_refused() -> None:
    _, annotation = draw_blocks(0)
    mask = annotation_tensor(annotation)
    assert isinstance(mask, tv_tensors.Mask)  # v2 resizes those by nearest neighbour
    assert mask.dtype == torch.uint8
    assert (mask.numpy() == np.asarray(annotation)).all()
    for value in (256, -1, 0.5):  # cut to a byte they would be another class
        with pytest.raises(ValueError, match=f"holds the value {value}, expected 0-255"):
            annotation_tensor(np.array([[0, value]]))


def test_no_annotation_is_stretched_to_an_image_of_another_size() -> None:
    image, annotation = draw_blocks(0, (48, 36))
    for wrong in (annotation.resize((36, 48)), annotation.convert("RGB")):
        with pytest.raises(ValueError, match=r"is 48 x 36 pixels, its annotation of shape"):
            apply(None, image, wrong)


@pytest.mark.parametrize("as_old", [True, False, None])
@pytest.mark.parametrize("labels", [ADE20K, FRUIT], ids=["ADE20K", "fruit"])
def test_label_reduction_is_as_the_labels_say_whatever_the_configuration_says(
    tmp_path: Path, as_old: bool | None, labels: Labels
) -> None:
    """nvidia/mit-b0's configuration says `reduce_labels`, which newer versions read as False."""
    encoder = save_encoder(tmp_path)
    file = encoder / "preprocessor_config.json"
    config = json.loads(file.read_text())
    del config["do_reduce_labels"]
    file.write_text(json.dumps(config | ({} if as_old is None else {"reduce_labels": as_old})))
    processor = load_image_processor(small_profile(encoder, tmp_path, image_size=40, own=labels))
    assert processor.do_reduce_labels is (labels != FRUIT)
    assert (processor.size["height"], processor.size["width"]) == (40, 40)
    annotation = Image.fromarray(np.full((40, 40), 2, dtype=np.uint8))
    batch = {"image": [annotation.convert("RGB")], "annotation": [annotation]}
    expected = 2 if labels == FRUIT else 1
    assert make_eval_transform(processor)(batch)["labels"].unique().tolist() == [expected]


@pytest.mark.parametrize("name", ["tiny", "full"])
def test_a_training_set_can_be_sent_to_workers_that_start_afresh(name: str) -> None:
    """On Windows and macOS, a worker is a new process and receives the data set as a pickle."""
    augment = train_augmentation(replace(get_profile(name), image_size=SIDE))
    image, annotation = draw_blocks(1)
    data = Dataset.from_dict({"image": [image] * 2, "annotation": [annotation] * 2})
    data = data.with_transform(make_train_transform(small_processor(SIDE), augment))
    received = pickle.loads(pickle.dumps(data))
    torch.manual_seed(0)
    one, other = data[:2]["pixel_values"]
    assert not torch.equal(one, other)  # each image gets a crop of its own
    torch.manual_seed(0)
    assert torch.equal(received[:2]["pixel_values"], torch.stack([one, other]))
