"""Loading scenes: every source, every image mode, and an error that helps for every bad input."""

import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from samples import (
    FRUIT,
    STORED,
    draw_blocks,
    edit,
    save_turned,
    small_profile,
    with_value,
    write_ade_folder,
    write_fruit,
)

from helpers.data import _load_first, load_scenes
from helpers.labels import ADE20K, Labels
from helpers.profiles import Profile, get_profile

COLUMNS = ["image", "annotation", "scene_category"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound folder in ADEChallengeData2016 layout."""
    return write_ade_folder(tmp_path / "scenes")


def profile_for(source: Path) -> Profile:
    """Profile tiny on other data; its encoder is not looked at."""
    return small_profile(source, source)


def columns_of(
    images: list[Image.Image], annotations: list[Image.Image | None]
) -> datasets.Dataset:
    """An in-memory split with our columns."""
    features = datasets.Features(
        image=datasets.Image(),
        annotation=datasets.Image(),
        scene_category=datasets.ClassLabel(names=["somewhere"]),
    )
    rows = {"image": images, "annotation": annotations, "scene_category": [0] * len(images)}
    return datasets.Dataset.from_dict(rows, features=features)


def write_parquet(folder: Path, **splits: datasets.Dataset) -> Path:
    """A local data set such as the bundled one."""
    (folder / "data").mkdir(parents=True)
    for name, split in splits.items():
        split.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return folder


def test_a_folder_in_ade20k_layout_gives_both_splits_and_the_three_columns(folder: Path) -> None:
    (folder / "sceneCategories.txt").write_text("scene_0000 street\nscene_1000 kitchen\n")
    scenes = load_scenes(profile_for(folder))
    assert {name: len(split) for name, split in scenes.items()} == {"train": 4, "test": 2}
    for split in scenes.values():
        assert split.column_names == COLUMNS
    category = scenes["train"].features["scene_category"]
    assert category.int2str(scenes["train"]["scene_category"][:2]) == ["street", "unknown"]
    # Pairs stay pairs, in the order of the file names.
    for index, scene in enumerate(scenes["train"]):
        image, annotation = draw_blocks(index, (48, 36) if index % 2 else (36, 48))
        assert (np.asarray(scene["annotation"]) == np.asarray(annotation)).all()
        difference = np.asarray(scene["image"]).astype(int) - np.asarray(image)
        assert abs(difference).mean() < 8  # JPEG


def test_a_local_data_set_gives_its_validation_split_as_test_and_test_where_it_is_asked_for(
    tmp_path: Path,
) -> None:
    splits = {
        name: columns_of(*zip(draw_blocks(seed), strict=True)).add_column("more", [seed])
        for seed, name in enumerate(("train", "validation", "test"))
    }
    source = write_parquet(tmp_path / "own", **splits)
    scenes = load_scenes(profile_for(source), check=False)
    assert scenes.column_names == {"train": COLUMNS, "test": COLUMNS}
    scenes |= load_scenes(profile_for(source), splits=["third"])
    for seed, split in enumerate(("train", "test", "third")):
        expected = np.asarray(draw_blocks(seed)[1])
        assert (np.asarray(scenes[split][0]["annotation"]) == expected).all()
    (source / "data" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(ValueError, match='has no split "test" beside train and validation'):
        load_scenes(profile_for(source), splits=["third"])


@pytest.mark.parametrize(
    ("lost", "named", "told"),
    [
        ("annotations/validation", "annotations/validation", "expected images/training"),
        ("images/training/*_0002.*", "images/training", "has no partner named scene_0002"),
        ("annotations/training/*_0002.*", "annotations/training", "no partner named scene_0002"),
        ("*/training/*", "", '"train" split of .* is empty: expected at least one'),
        ("images", "", "expected images/training"),
    ],
)
def test_what_a_folder_lacks_is_named(folder: Path, lost: str, named: str, told: str) -> None:
    for place in [*folder.glob(lost)]:
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises((FileNotFoundError, ValueError), match=told) as error:
        load_scenes(profile_for(folder))
    assert str(folder / named) in str(error.value)


@pytest.mark.parametrize("files", [[], ["readme.txt"], ["train/a/1.png", "validation/b/1.png"]])
def test_a_folder_of_another_layout_says_what_was_expected(
    tmp_path: Path, files: list[str]
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        draw_blocks(0)[0].save(tmp_path / name, "PNG")
    told = r"A data folder holds either images/.*`python -m scripts\.prepare FOLDER` makes one"
    with pytest.raises(ValueError, match=told) as error:
        load_scenes(profile_for(tmp_path))
    assert str(tmp_path) in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"no data folder .*nowhere: check SEG_DATA"):
        load_scenes(profile_for(tmp_path / "nowhere"))


def test_two_images_with_one_annotation_are_named(folder: Path) -> None:
    draw_blocks(2)[0].save(folder / "images" / "training" / "Scene_0002.png")
    with pytest.raises(ValueError, match=r"images/training/Scene_0002\.png and scene_0002\.jpg"):
        load_scenes(profile_for(folder))


ONE = columns_of(*zip(draw_blocks(0), strict=True))
NO_ANNOTATION = ONE.rename_column("annotation", "label")


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        ({"train": ONE}, r"splits \['train'\], expected train and validation"),
        ({"train": ONE, "validation": ONE.select([])}, "validation.*neither of them empty"),
        (dict.fromkeys(["train", "validation"], NO_ANNOTATION), "'label'.*rename_column"),
    ],
)
def test_what_a_parquet_data_set_lacks_is_named(
    tmp_path: Path, splits: dict[str, datasets.Dataset], told: str
) -> None:
    source = write_parquet(tmp_path / "own", **splits)
    with pytest.raises(ValueError, match=told) as error:
        load_scenes(profile_for(source))
    assert str(source) in str(error.value)


shrunk = edit(lambda mask: mask.resize((20, 30), Image.Resampling.NEAREST))
in_colors = edit(lambda mask: draw_blocks(5, mask.size)[0])


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("kind", "file", "spoil", "told"),
    [
        ("annotation", "training/scene_0002.png", shrunk, "is 20 x 30 pixels, its image 36 x 48, "),
        ("annotation", "training/scene_0002.png", with_value(151), "the value 151, expected 0-150"),
        ("annotation", "validation/scene_1000.png", with_value(255), "255, .*reduced already"),
        ("annotation", "validation/scene_1000.png", in_colors, "is in colors, expected one number"),
        ("image", "validation/scene_1000.jpg", cut, "cannot be read as an image"),
    ],
)
def test_a_bad_file_is_named_before_any_training(
    folder: Path, kind: str, file: str, spoil: Callable[[Path], None], told: str
) -> None:
    place = folder / f"{kind}s" / file
    spoil(place)
    with pytest.raises(ValueError, match=told) as error:
        load_scenes(profile_for(folder))
    assert f"{kind} {place}" in str(error.value)
    assert len(load_scenes(profile_for(folder), check=False)["train"]) == 4


@pytest.mark.parametrize(
    ("note", "how"), [(3, "upright"), (6, "upright"), (6, "noted"), (6, "stored")]
)
def test_images_are_upright_and_a_mask_that_is_not_is_refused(
    folder: Path, note: int, how: str
) -> None:
    image, annotation = draw_blocks(0)
    (folder / "images/training/scene_0000.jpg").unlink()
    save_turned(image, folder / "images/training/scene_0000.png", note)
    file = folder / "annotations/training/scene_0000.png"
    if how == "noted":
        save_turned(annotation, file, note)
    else:
        (STORED[note](annotation) if how == "stored" else annotation).save(file)
    if how == "stored":
        with pytest.raises(ValueError, match=r"expected equal sizes: `python -m scripts\.prepare`"):
            load_scenes(profile_for(folder))
        return
    scene = load_scenes(profile_for(folder))["train"][0]
    assert (np.asarray(scene["image"]) == np.asarray(image)).all()
    assert (np.asarray(scene["annotation"]) == np.asarray(annotation)).all()


# --- labels of one's own --------------------------------------------------------------------------


@pytest.fixture
def fruit(tmp_path: Path) -> Path:
    """ADE20K's layout, other classes."""
    return write_fruit(tmp_path / "fruit")


def change_masks(folder: Path, part: str, change: Callable[[int], int]) -> None:
    """Give the values of a split's annotations others."""
    for file in (folder / "annotations" / part).iterdir():
        Image.open(file).point(change).save(file)


def test_a_folder_with_id2label_brings_its_own_labels(
    fruit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = profile_for(fruit)
    scenes = load_scenes(profile)
    assert profile.labels.names == FRUIT.names
    assert profile.labels.reduce is False
    assert capsys.readouterr().out == ""
    areas = np.bincount(np.ravel(scenes["train"]["annotation"][:]))
    assert scenes.areas["train"].tolist() == areas.tolist()
    Labels(["apple", "pear"], reduce=True).save(fruit)  # value 0 is not a class now
    assert load_scenes(profile_for(fruit)).areas["train"].tolist() == areas[1:].tolist()
    Labels(["background", "apple"]).save(fruit)
    with pytest.raises(ValueError, match="holds the value 2, expected 0-1, or 255"):
        load_scenes(profile_for(fruit))


def test_without_id2label_the_run_says_that_it_assumes_ade20ks(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = profile_for(folder)
    load_scenes(profile)
    told = f"{folder} has no id2label.json. It is read as ADE20K is: 150 labels (wall, "
    assert capsys.readouterr().out.startswith(told)
    assert profile.labels is ADE20K
    monkeypatch.setenv("RANK", "1")  # of several processes, the first one says it
    load_scenes(profile_for(folder))
    assert capsys.readouterr().out == ""


def test_classes_that_hardly_are_ade20ks_are_refused_where_no_names_lie(fruit: Path) -> None:
    for file in fruit.glob("*.json"):
        file.unlink()
    with pytest.raises(ValueError, match=r"hold 0 to 2 and nothing else.*id2label\.json"):
        load_scenes(profile_for(fruit))
    ADE20K.save(fruit)  # the way out where they are
    assert len(load_scenes(profile_for(fruit))["train"]) == 6


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("training", lambda value: min(value, 1), "no training image shows pear, but the val"),
        ("validation", lambda value: 255 if value == 2 else 1, "images show only apple"),
    ],
)
def test_classes_that_a_model_cannot_learn_are_told_once_by_the_first_process(
    fruit: Path, monkeypatch: pytest.MonkeyPatch, part: str, change: Callable, told: str
) -> None:
    change_masks(fruit, part, change)
    Labels([*FRUIT.names, "plum"]).save(fruit)  # of what nobody sees, nothing is told
    with pytest.warns(UserWarning, match=f"{told}[^\n]*$") as warned:
        load_scenes(profile_for(fruit))
    assert len(warned) == 1
    monkeypatch.setenv("RANK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load_scenes(profile_for(fruit))


def test_an_empty_class_is_refused_where_the_data_name_it(fruit: Path) -> None:
    assert len(load_scenes(profile_for(fruit), allow_empty=False)["train"]) == 6
    many = Labels([*FRUIT.names, *map(str, range(3, 9))])
    many.save(fruit)
    told = f"no training image of {re.escape(str(fruit))} shows 3, 4, 5, 6, 7 and 1 more, .*--allow"
    with pytest.raises(ValueError, match=told):
        load_scenes(profile_for(fruit), allow_empty=False)
    ADE20K.save(fruit)  # of its 150, hardly a folder shows all
    assert len(load_scenes(profile_for(fruit), allow_empty=False)["train"]) == 6
    change_masks(fruit, "training", lambda value: 0)
    with pytest.raises(ValueError, match='no pixel of the "train" split has a class'):
        load_scenes(profile_for(fruit))


def test_the_first_images_are_split_the_same_way_each_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`max_images`, as profile sample has it, on a data set that stands in for the Hub's."""
    full = columns_of(*zip(*(draw_blocks(seed) for seed in range(12)), strict=True))
    write_parquet(tmp_path / "own" / "set", train=full)
    monkeypatch.chdir(tmp_path)  # `load_dataset` looks "owner/name" up here before the Hub
    profile = replace(get_profile("sample"), dataset="own/set", max_images=10)
    first, second = _load_first(profile), _load_first(profile)
    assert {name: len(split) for name, split in first.items()} == {"train": 8, "test": 2}
    pixels = [[np.asarray(s["image"]).tobytes() for s in one["test"]] for one in (first, second)]
    assert pixels[0] == pixels[1]
    taken = {np.asarray(s["image"]).tobytes() for split in first.values() for s in split}
    assert taken == {np.asarray(draw_blocks(seed)[0]).tobytes() for seed in range(10)}
