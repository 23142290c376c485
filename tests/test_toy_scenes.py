"""The toy scenes: reproducible, consistent with their labels, and not solvable by colour alone."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
from datasets import ClassLabel, DatasetDict, load_dataset
from datasets import Image as ImageFeature
from PIL import Image

from helpers.labels import ADE20K
from helpers.profiles import BUNDLED
from tools.drawing import classes
from tools.drawing.canvas import SMALLEST_INSTANCE
from tools.drawing.dataset import SPLIT_SEEDS, STREETS
from tools.drawing.scenes import (
    CLASS_VALUES,
    HELD_OUT_SEEDS,
    PRETRAINING_SEEDS_START,
    SCENE_CATEGORIES,
    STUFF_VALUES,
    THING_VALUES,
    draw_scene,
)

CLASS_NAMES = {
    name.lower().replace("_", " "): value
    for name, value in vars(classes).items()
    if name.isupper() and isinstance(value, int)
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> DatasetDict:
    """The bundled dataset, read as the course reads it."""
    cache = tmp_path_factory.mktemp("datasets")
    return load_dataset(str(BUNDLED / "scenes"), cache_dir=str(cache))


@pytest.fixture(scope="module")
def arrays(dataset: DatasetDict) -> dict[str, dict[str, np.ndarray]]:
    """Per split: image (n, h, w, 3), annotation (n, h, w) and instances (n, h, w), all uint8."""
    return {
        split: {
            column: np.stack([np.asarray(image) for image in rows[column]])
            for column in ("image", "annotation", "instances")
        }
        for split, rows in dataset.items()
    }


def test_bundled_dataset_has_the_promised_splits_and_features(dataset: DatasetDict) -> None:
    assert {split: len(rows) for split, rows in dataset.items()} == {"train": 160, "validation": 40}
    for rows in dataset.values():
        features = rows.features
        assert list(features) == ["image", "annotation", "instances", "scene_category"]
        assert all(isinstance(features[c], ImageFeature) for c in list(features)[:3])
        assert isinstance(features["scene_category"], ClassLabel)
        assert features["scene_category"].names == list(SCENE_CATEGORIES)
        row = rows[0]
        assert [row[c].mode for c in list(features)[:3]] == ["RGB", "L", "L"]
        assert {row[c].size for c in list(features)[:3]} == {(256, 192)}
        assert set(rows["scene_category"]) == set(range(len(SCENE_CATEGORIES)))


def test_bundled_files_are_small() -> None:
    files = list((BUNDLED / "scenes").rglob("*.parquet"))
    assert len(files) == 2
    assert sum(file.stat().st_size for file in files) <= 6_000_000


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5, 1000, 12345])
def test_same_seed_draws_the_same_scene(seed: int) -> None:
    first, second = draw_scene(seed), draw_scene(seed)
    assert first.scene_category == second.scene_category
    for name in ("image", "annotation", "instances"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    other = draw_scene(seed + 20)  # the same category: categories take turns of twenty
    assert other.annotation.tobytes() != first.annotation.tobytes()


def test_seeds_with_different_purposes_never_meet() -> None:
    ranges = [set(seeds) for seeds in (*SPLIT_SEEDS.values(), HELD_OUT_SEEDS)]
    assert sum(map(len, ranges)) == len(set.union(*ranges)) == 400
    assert max(map(max, ranges)) < PRETRAINING_SEEDS_START


@pytest.mark.parametrize("split", ["train", "validation"])
def test_bundled_scenes_can_be_drawn_again(
    split: str, dataset: DatasetDict, arrays: dict[str, dict[str, np.ndarray]]
) -> None:
    categories = dataset[split]["scene_category"]
    for row, seed in enumerate(SPLIT_SEEDS[split]):
        scene = draw_scene(seed)
        stored = {column: arrays[split][column][row] for column in arrays[split]}
        assert scene.scene_category == SCENE_CATEGORIES[categories[row]], seed
        assert np.array_equal(np.asarray(scene.annotation), stored["annotation"]), seed
        assert np.array_equal(np.asarray(scene.instances), stored["instances"]), seed
        # JPEG loses a little, mostly at coloured edges.
        difference = np.asarray(scene.image, dtype=np.float32) - stored["image"]
        assert np.abs(difference).mean() < 4, seed


@pytest.mark.parametrize(("name", "seed"), STREETS.items())
def test_the_streets_of_notebook_01_can_be_drawn_again(name: str, seed: int) -> None:
    scene = draw_scene(seed, kind="street")
    for part in ("image", "annotation", "instances"):
        stored = np.asarray(Image.open(BUNDLED / "street" / name / f"{part}.png"))
        assert np.array_equal(stored, np.asarray(getattr(scene, part))), part


def test_constants_are_named_as_ade20k_names_them() -> None:
    official = {"other": 0} | {name.strip(): label + 1 for label, name in ADE20K.id2label.items()}
    official["television"] = official["television receiver"]
    assert CLASS_NAMES.keys() <= official.keys()
    assert {name: official[name] for name in CLASS_NAMES} == CLASS_NAMES


def test_every_class_occurs_in_both_splits(arrays: dict[str, dict[str, np.ndarray]]) -> None:
    assert len(CLASS_VALUES) >= 20
    assert not set(STUFF_VALUES) & set(THING_VALUES)
    for split in arrays.values():
        assert set(np.unique(split["annotation"])) == {0, *CLASS_VALUES}


def test_no_class_is_rare(arrays: dict[str, dict[str, np.ndarray]]) -> None:
    annotations = np.concatenate([split["annotation"] for split in arrays.values()])
    for value in CLASS_VALUES:
        shares = (annotations == value).mean(axis=(1, 2))
        assert (shares > 0).mean() >= 0.08, ADE20K.id2label[value - 1]
        assert np.median(shares[shares > 0]) > 0.004, ADE20K.id2label[value - 1]


def test_instances_are_things_and_things_are_instances(
    arrays: dict[str, dict[str, np.ndarray]],
) -> None:
    kinds: set[int] = set()
    for split in arrays.values():
        for annotation, instances in zip(split["annotation"], split["instances"], strict=True):
            assert np.array_equal(np.isin(annotation, THING_VALUES), instances > 0)
            ids, areas = np.unique(instances[instances > 0], return_counts=True)
            assert ids.tolist() == list(range(1, len(ids) + 1))
            assert areas.size == 0 or areas.min() >= SMALLEST_INSTANCE
            pairs = np.unique(np.stack([instances, annotation], -1)[instances > 0], axis=0)
            assert len(pairs) == len(ids), "an instance must have exactly one annotation value"
            kinds |= set(pairs[:, 1].tolist())
    assert len(kinds) >= 6
    assert kinds == set(THING_VALUES)


def test_some_kinds_occur_several_times_in_an_image(
    arrays: dict[str, dict[str, np.ndarray]],
) -> None:
    train = arrays["train"]
    for value in (classes.CAR, classes.PERSON, classes.CHAIR, classes.TREE, classes.CUSHION):
        counts = [
            len(np.unique(instances[annotation == value]))
            for annotation, instances in zip(train["annotation"], train["instances"], strict=True)
        ]
        assert max(counts) >= 2, ADE20K.id2label[value - 1]


def _color_lookup_miou(train: tuple, validation: tuple) -> float:
    """Return the mean IoU of giving each 16 x 16 x 16 colour bin its most frequent class."""

    def bins(image: np.ndarray) -> np.ndarray:
        red, green, blue = np.moveaxis(image.astype(np.int64) // 16, -1, 0)
        return (red * 16 + green) * 16 + blue

    counts = np.bincount((bins(train[0]) * 151 + train[1]).ravel(), minlength=4096 * 151).reshape(
        4096, 151
    )
    counts[:, 0] = 0  # "other" is ignored, as in every score of the course
    reference = validation[1]
    predicted = counts.argmax(axis=1)[bins(validation[0])]
    known = reference > 0
    ious = []
    for value in CLASS_VALUES:
        is_value, said_value = (reference == value) & known, (predicted == value) & known
        ious.append((is_value & said_value).sum() / (is_value | said_value).sum())
    return float(np.mean(ious))


def test_color_alone_does_not_give_the_class_away(
    arrays: dict[str, dict[str, np.ndarray]],
) -> None:
    splits = [(arrays[s]["image"], arrays[s]["annotation"]) for s in ("train", "validation")]
    assert _color_lookup_miou(*splits) < 0.2

    # The same scenes with one colour a class, and generous noise, would not pass.
    rng = np.random.default_rng(0)
    class_colors = rng.integers(40, 216, (151, 3))
    colored = [
        (np.clip(class_colors[a] + rng.integers(-20, 21, (*a.shape, 3)), 0, 255), a)
        for _, a in splits
    ]
    assert _color_lookup_miou(*colored) > 0.35


def test_a_category_can_be_forced_and_a_wrong_one_is_named() -> None:
    for category in SCENE_CATEGORIES:
        assert draw_scene(3, kind=category).scene_category == category
    with pytest.raises(ValueError, match=r"'kitchen'.*living_room"):
        draw_scene(3, kind="kitchen")


def test_size_is_free() -> None:
    scene = draw_scene(4, size=(320, 240))
    assert scene.image.size == scene.annotation.size == scene.instances.size == (320, 240)
