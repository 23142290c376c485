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


def test_a_local_parquet_data_set_gives_its_validation_split_as_test(tmp_path: Path) -> None:
    train = columns_of(*zip(*(draw_blocks(seed) for seed in range(3)), strict=True))
    validation = columns_of(*zip(*(draw_blocks(seed) for seed in range(3, 5)), strict=True))
    source = write_parquet(
        tmp_path / "own", train=train.add_column("more", [1, 2, 3]), validation=validation
    )
    scenes = load_scenes(profile_for(source))
    assert scenes.column_names == {"train": COLUMNS, "test": COLUMNS}
    expected = np.asarray(draw_blocks(3)[1])
    assert (np.asarray(scenes["test"][0]["annotation"]) == expected).all()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "nowhere"))):
        load_scenes(profile_for(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("lost", "named", "told"),
    [
        ("annotations/validation", "annotations/validation", "expected images/training"),
        ("images/training/*_0002.*", "images/training", "has no partner named scene_0002"),
        ("annotations/training/*_0002.*", "annotations/training", "no partner named scene_0002"),
        ("*/training/*", "", '"train" split of .* is empty: expected at least one'),
        ("*/validation/*", "", '"test" split of .* is empty: expected at least one'),
    ],
)
def test_what_a_folder_lacks_is_named(folder: Path, lost: str, named: str, told: str) -> None:
    for place in [*folder.glob(lost)]:
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    with pytest.raises((FileNotFoundError, ValueError), match=told) as error:
        load_scenes(profile_for(folder))
    assert str(folder / named) in str(error.value)


@pytest.mark.parametrize("files", [[], ["readme.txt"]])
def test_a_folder_of_another_layout_says_what_was_expected(
    tmp_path: Path, files: list[str]
) -> None:
    for name in files:
        (tmp_path / name).write_text("nothing here")
    with pytest.raises(ValueError, match="A data folder holds either images/") as error:
        load_scenes(profile_for(tmp_path))
    assert str(tmp_path) in str(error.value)


def test_two_images_with_one_annotation_are_named(folder: Path) -> None:
    twin = folder / "images" / "training" / "scene_0002.png"
    draw_blocks(2)[0].save(twin)
    with pytest.raises(ValueError, match="scene_0002") as error:
        load_scenes(profile_for(folder))
    assert str(twin.parent) in str(error.value)


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


def test_a_third_split_is_loaded_where_it_is_asked_for(tmp_path: Path) -> None:
    splits = {
        name: columns_of(*zip(draw_blocks(seed), strict=True))
        for seed, name in enumerate(("train", "validation", "test"))
    }
    source = write_parquet(tmp_path / "own", **splits)
    third = load_scenes(profile_for(source), splits=["third"])
    assert {name: len(split) for name, split in third.items()} == {"third": 1}
    assert (np.asarray(third["third"][0]["annotation"]) == np.asarray(draw_blocks(2)[1])).all()
    (source / "data" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(ValueError, match='has no split "test" beside train and validation'):
        load_scenes(profile_for(source), splits=["third"])


def test_a_folder_of_plain_images_is_told_how_to_become_a_data_set(tmp_path: Path) -> None:
    for part in ("train", "validation"):
        for kind in ("a", "b"):
            (tmp_path / part / kind).mkdir(parents=True)
            draw_blocks(0)[0].save(tmp_path / part / kind / "1.png")
    with pytest.raises(ValueError, match=r"'label'.*`python -m scripts\.prepare FOLDER` makes one"):
        load_scenes(profile_for(tmp_path))


shrunk = edit(lambda mask: mask.resize((20, 30), Image.Resampling.NEAREST))
in_colors = edit(lambda mask: draw_blocks(5, mask.size)[0])


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("kind", "spoil", "told"),
    [
        ("annotation", shrunk, "is 20 x 30 pixels, its image 36 x 48, .*: `python -m"),
        ("annotation", with_value(151), r"holds the value 151, expected 0-150 \(0 = other\)"),
        ("annotation", with_value(255), "holds the value 255, expected 0-150.*reduced already"),
        ("annotation", with_value(256), "holds the value 256, expected 0-150"),
        ("annotation", in_colors, "is in colors, expected one number for each pixel"),
        ("annotation", cut, "cannot be read as an image"),
        ("image", cut, "cannot be read as an image"),
    ],
)
@pytest.mark.parametrize("part", ["training", "validation"])
def test_a_bad_file_is_named_before_any_training(
    folder: Path, kind: str, part: str, spoil: Callable[[Path], None], told: str
) -> None:
    top = {"annotation": "annotations", "image": "images"}[kind]
    stem = {"training": "scene_0002", "validation": "scene_1000"}[part]
    file = next((folder / top / part).glob(f"{stem}.*"))
    spoil(file)
    with pytest.raises(ValueError, match=told) as error:
        load_scenes(profile_for(folder))
    assert f"{kind} {file}" in str(error.value)
    assert len(load_scenes(profile_for(folder), check=False)["train"]) == 4


# --- images that lie on their side ----------------------------------------------------------------


def write_turned(folder: Path, note: int, how: str) -> None:
    """A folder in ADE20K's layout whose images carry the note; masks upright, stored or noted."""
    write_ade_folder(folder)
    for seed in (*range(4), 1000, 1001):
        image, annotation = draw_blocks(seed)
        name = f"{'training' if seed < 1000 else 'validation'}/scene_{seed:04}.png"
        (folder / "images" / name).with_suffix(".jpg").unlink()
        save_turned(image, folder / "images" / name, note)
        if how == "noted":
            save_turned(annotation, folder / "annotations" / name, note)
        else:
            stored = STORED[note](annotation) if how == "stored" else annotation
            stored.save(folder / "annotations" / name)


@pytest.mark.parametrize("source", ["folder", "parquet"])
@pytest.mark.parametrize(
    ("how", "note"),
    [("upright", 3), ("upright", 6), ("noted", 6), ("noted", 2)]
    + [("stored", note) for note in (5, 6, 7, 8)],
)
def test_images_are_upright_and_a_mask_that_is_not_is_refused(
    tmp_path: Path, source: str, how: str, note: int
) -> None:
    folder = tmp_path / "scenes"
    write_turned(folder, note, how)
    if source == "parquet":
        splits = {}
        for split, part in (("train", "training"), ("validation", "validation")):
            columns = [
                sorted(map(str, (folder / kind / part).iterdir()))
                for kind in ("images", "annotations")
            ]
            splits[split] = embedded(columns_of(*columns))
        folder = write_parquet(tmp_path / "own", **splits)
    if how == "stored":
        with pytest.raises(ValueError, match=r"expected equal sizes: `python -m scripts\.prepare`"):
            load_scenes(profile_for(folder))
        return
    scenes = load_scenes(profile_for(folder))
    for split, first in (("train", 0), ("test", 1000)):
        for seed, scene in enumerate(scenes[split], start=first):
            image, annotation = draw_blocks(seed)
            assert (np.asarray(scene["image"]) == np.asarray(image)).all()
            assert (np.asarray(scene["annotation"]) == np.asarray(annotation)).all()


def embedded(split: datasets.Dataset) -> datasets.Dataset:
    """With the files' bytes in its rows, as data sets on the Hub have them."""
    table = split.with_format("arrow").map(datasets.table.embed_table_storage, batched=True)
    return table.with_format(None)


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


def test_a_class_that_training_never_saw_is_named_in_one_sentence(
    recwarn: pytest.WarningsRecorder, fruit: Path
) -> None:
    Labels([*FRUIT.names, "plum"]).save(fruit)  # which nobody sees
    load_scenes(profile_for(fruit))
    assert not recwarn.list
    change_masks(fruit, "training", lambda value: min(value, 1))
    with pytest.warns(UserWarning, match="no training image shows pear, but the val") as told:
        load_scenes(profile_for(fruit))
    (sentence,) = [str(one.message) for one in told if "no training image" in str(one.message)]
    assert "\n" not in sentence


def test_an_empty_class_is_refused_where_the_data_name_it(fruit: Path) -> None:
    assert len(load_scenes(profile_for(fruit), allow_empty=False)["train"]) == 6
    change_masks(fruit, "training", lambda value: min(value, 1))
    told = f"no training image of {re.escape(str(fruit))} shows pear, .*--allow-empty"
    with pytest.raises(ValueError, match=told):
        load_scenes(profile_for(fruit), allow_empty=False)
    many = Labels([*FRUIT.names, *map(str, range(3, 9))])
    many.save(fruit)
    with pytest.raises(ValueError, match="shows pear, 3, 4, 5, 6 and 2 more, and a model"):
        load_scenes(profile_for(fruit), allow_empty=False)
    ADE20K.save(fruit)  # of its 150, hardly a folder shows all
    assert len(load_scenes(profile_for(fruit), allow_empty=False)["train"]) == 6


def test_validation_images_of_one_class_are_told_by_the_first_process(
    fruit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_masks(fruit, "validation", lambda value: 255 if value == 2 else 1)
    with pytest.warns(UserWarning, match="the validation images show only apple"):
        load_scenes(profile_for(fruit))
    monkeypatch.setenv("RANK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load_scenes(profile_for(fruit))


def test_a_split_without_one_labelled_pixel_is_refused(fruit: Path) -> None:
    change_masks(fruit, "training", lambda value: 255)
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
