"""Loading scenes: every source, every image mode, and an error that helps for every bad input."""

import os
import re
import subprocess
import sys
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
    save_turned,
    small_model,
    small_processor,
    small_profile,
    write_ade_folder,
)

from helpers.data import _load_first, check_scenes, load_scenes, warn_of_unseen_classes
from helpers.evaluation import evaluate
from helpers.inference import segment
from helpers.labels import ADE20K, Labels
from helpers.profiles import REPOSITORY, Profile, get_profile
from helpers.transforms import make_eval_transform

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
    assert {name: split.column_names for name, split in scenes.items()} == {
        "train": COLUMNS,
        "test": COLUMNS,
    }
    expected = np.asarray(draw_blocks(3)[1])
    assert (np.asarray(scenes["test"][0]["annotation"]) == expected).all()


def test_the_bundled_data_set_loads() -> None:
    scenes = load_scenes(get_profile("tiny"))
    assert {name: len(split) for name, split in scenes.items()} == {"train": 160, "test": 40}
    assert scenes["train"].column_names == COLUMNS
    assert scenes["train"][0]["image"].mode == "RGB"
    assert scenes["train"][0]["annotation"].mode == "L"


def test_real_photographs_load(ade20k_dir: Path) -> None:
    scenes = load_scenes(profile_for(ade20k_dir))
    assert {name: len(split) for name, split in scenes.items()} == {"train": 6, "test": 6}
    category = scenes["train"].features["scene_category"]
    assert "unknown" not in category.names
    for split in scenes.values():
        for scene in split:
            assert scene["image"].size == scene["annotation"].size


HUB_SCRIPT = """
import os
from dataclasses import replace
from helpers.data import load_scenes
from helpers.inference import load_model
from helpers.profiles import get_profile
from helpers.training import build_model
from helpers.transforms import load_image_processor

def told(function, *arguments):
    try:
        function(*arguments)
    except ConnectionError as error:
        print(error)

sample = get_profile("sample")
told(load_scenes, sample)
told(load_scenes, get_profile("full"))
told(load_image_processor, sample)
told(build_model, sample)
told(load_model, sample.finetuned_model)
os.environ["SEG_DATA"] = "nielsr/ade20k-demo"
told(load_scenes, get_profile("tiny"))
"""


@pytest.mark.slow
def test_without_a_network_one_sentence_names_the_profile_that_works(tmp_path: Path) -> None:
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
        "SEG_DATA": "",
    }
    # A process of its own, because the libraries read their variables when they are imported.
    done = subprocess.run(
        [sys.executable, "-c", HUB_SCRIPT],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    reason = (
        "is loaded from the Hugging Face Hub, which cannot be reached: connect to a network, or"
    )
    way_out = 'use profile "tiny", which works offline.'
    assert done.stdout.splitlines() == [
        f"merve/scene_parse_150 {reason} {way_out}",
        f"merve/scene_parse_150 {reason} {way_out}",
        f"nvidia/mit-b0 {reason} {way_out}",
        f"nvidia/mit-b0 {reason} {way_out}",
        f"nvidia/segformer-b0-finetuned-ade-512-512 {reason} {way_out}",
        f"nielsr/ade20k-demo {reason} unset SEG_DATA and {way_out}",
    ]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "nowhere"))):
        load_scenes(profile_for(tmp_path / "nowhere"))


def test_a_missing_part_of_the_layout_is_named(folder: Path) -> None:
    (folder / "annotations" / "validation").rename(folder / "annotations" / "val")
    with pytest.raises(FileNotFoundError, match="expected images/training") as error:
        load_scenes(profile_for(folder))
    assert str(folder / "annotations" / "validation") in str(error.value)


@pytest.mark.parametrize("files", [[], ["readme.txt"]])
def test_a_folder_of_another_layout_says_what_was_expected(
    tmp_path: Path, files: list[str]
) -> None:
    for name in files:
        (tmp_path / name).write_text("nothing here")
    with pytest.raises(ValueError, match="A data folder holds either images/") as error:
        load_scenes(profile_for(tmp_path))
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("kind", ["images", "annotations"])
def test_a_missing_partner_is_named(folder: Path, kind: str) -> None:
    victim = next((folder / kind / "training").glob("scene_0002.*"))
    victim.unlink()
    with pytest.raises(FileNotFoundError, match="has no partner named scene_0002") as error:
        load_scenes(profile_for(folder))
    assert str(victim.parent) in str(error.value)


def test_two_images_with_one_annotation_are_named(folder: Path) -> None:
    twin = folder / "images" / "training" / "scene_0002.png"
    draw_blocks(2)[0].save(twin)
    with pytest.raises(ValueError, match="scene_0002") as error:
        load_scenes(profile_for(folder))
    assert str(twin.parent) in str(error.value)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_an_empty_split_is_named(folder: Path, part: str) -> None:
    for file in [*(folder / "images" / part).iterdir(), *(folder / "annotations" / part).iterdir()]:
        file.unlink()
    name = {"training": "train", "validation": "test"}[part]
    with pytest.raises(ValueError, match=f'"{name}" split of .* is empty: expected at least one'):
        load_scenes(profile_for(folder))


def test_an_empty_split_of_a_parquet_data_set_is_named(tmp_path: Path) -> None:
    image, annotation = draw_blocks(0)
    full = columns_of([image], [annotation])
    source = write_parquet(tmp_path / "own", train=full, validation=full.select([]))
    with pytest.raises(ValueError, match=r"validation.*neither of them empty") as error:
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


@pytest.mark.parametrize("name", ["a [b] c", "x*y?", "Ünïcode 日本", "100%{1}"])
def test_any_name_of_a_folder_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    split = columns_of(*zip(draw_blocks(0), strict=True))
    source = write_parquet(tmp_path / name, train=split, validation=split)
    assert len(load_scenes(profile_for(source))["test"]) == 1


def test_missing_splits_are_named(tmp_path: Path) -> None:
    image, annotation = draw_blocks(0)
    source = write_parquet(tmp_path / "own", train=columns_of([image], [annotation]))
    with pytest.raises(ValueError, match=r"splits \['train'\], expected train and validation"):
        load_scenes(profile_for(source))


def test_missing_columns_are_named(tmp_path: Path) -> None:
    image, annotation = draw_blocks(0)
    wrong = columns_of([image], [annotation]).rename_column("annotation", "label")
    source = write_parquet(tmp_path / "own", train=wrong, validation=wrong)
    with pytest.raises(ValueError, match=r"expected .*annotation.*rename_column") as error:
        load_scenes(profile_for(source))
    assert "'label'" in str(error.value)


def with_value(value: int) -> Callable[[Path], None]:
    def spoil(file: Path) -> None:
        values = np.array(Image.open(file), dtype=np.uint16 if value > 255 else np.uint8)
        values[3, 5] = value
        Image.fromarray(values).save(file)

    return spoil


def shrunk(file: Path) -> None:
    Image.open(file).resize((20, 30), Image.Resampling.NEAREST).save(file)


def in_colors(file: Path) -> None:
    draw_blocks(5, Image.open(file).size)[0].save(file)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("kind", "spoil", "told"),
    [
        (
            "annotation",
            shrunk,
            "is 20 x 30 pixels, its image 36 x 48, expected equal sizes: `python -m",
        ),
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


def test_a_row_without_annotation_is_named() -> None:
    image, annotation = draw_blocks(0)
    with pytest.raises(ValueError, match=r"annotation train\[1\] is missing"):
        check_scenes(columns_of([image, image], [annotation, None]), "train", ADE20K)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA", "turned"])
def test_images_of_any_mode_simply_work(folder: Path, mode: str) -> None:
    """From the folder through check, transform and prediction to a score."""
    jpeg = folder / "images" / "training" / "scene_0001.jpg"  # 48 x 36 pixels
    image, annotation = draw_blocks(1)
    jpeg.unlink()
    if mode == "turned":
        save_turned(image, jpeg, 6, quality=95)
    elif mode == "CMYK":
        image.convert("CMYK").save(jpeg, quality=95)
    else:
        image.convert(mode).save(jpeg.with_suffix(".png"))
    split = load_scenes(profile_for(folder))["train"]
    assert (split[1]["image"].mode, split[1]["image"].size) == ("RGB", image.size)
    processor, model = small_processor(), small_model().eval()
    tensors = make_eval_transform(processor)(split[:])
    assert tensors["pixel_values"].shape == (4, 3, 32, 32)
    assert tensors["labels"].shape == (4, 32, 32)
    assert segment(split[1]["image"], model, processor).shape == (36, 48)
    matrix = evaluate(split, model, processor)
    labelled = sum(np.count_nonzero(np.asarray(draw_blocks(seed)[1])) for seed in (1, 3))
    labelled += sum(np.count_nonzero(np.asarray(draw_blocks(s, (36, 48))[1])) for s in (0, 2))
    assert matrix.counts.sum() == labelled
    assert (np.asarray(split[1]["annotation"]) == np.asarray(annotation)).all()


# --- images that lie on their side ----------------------------------------------------------------


def write_turned(
    folder: Path, note: int, how: str, kind: str
) -> dict[str, list[tuple[Path, Path]]]:
    """A folder in ADE20K's layout whose images carry the note; masks upright, stored or noted."""
    write_ade_folder(folder)
    pairs: dict[str, list[tuple[Path, Path]]] = {}
    for part, seeds in (("training", range(4)), ("validation", range(1000, 1002))):
        for seed in seeds:
            image, annotation = draw_blocks(seed)
            places = [folder / top / part / f"scene_{seed:04}" for top in ("images", "annotations")]
            places[0].with_suffix(".jpg").unlink()
            file, mask = places[0].with_suffix(kind), places[1].with_suffix(".png")
            save_turned(image, file, note)
            if how == "noted":
                save_turned(annotation, mask, note)
            else:
                (STORED[note](annotation) if how == "stored" else annotation).save(mask)
            pairs.setdefault(part, []).append((file, mask))
    return pairs


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
    pairs = write_turned(folder, note, how, ".tif" if how == "noted" else ".png")
    if source == "parquet":
        splits = {}
        for split, part in (("train", "training"), ("validation", "validation")):
            columns = [[str(pair[k]) for pair in pairs[part]] for k in (0, 1)]
            splits[split] = embedded(columns_of(*columns))
        folder = write_parquet(tmp_path / "own", **splits)
    if how == "stored":
        with pytest.raises(ValueError, match=r"expected equal sizes: `python -m scripts\.prepare`"):
            load_scenes(profile_for(folder))
        unchecked = load_scenes(profile_for(folder), check=False)["test"]
        with pytest.raises(ValueError, match=r"36 x 48|\(48, 36\)"):
            make_eval_transform(small_processor())(unchecked[:])
        return
    scenes = load_scenes(profile_for(folder))
    for split, first in (("train", 0), ("test", 1000)):
        for seed, scene in enumerate(scenes[split], start=first):
            image, annotation = draw_blocks(seed)
            assert (np.asarray(scene["image"]) == np.asarray(image)).all()
            assert (np.asarray(scene["annotation"]) == np.asarray(annotation)).all()
    processor, model = small_processor(), small_model().eval()
    expected = sum(ADE20K.count(draw_blocks(seed)[1]) for seed in (1000, 1001))
    assert (evaluate(scenes["test"], model, processor).counts.sum(axis=1) == expected).all()


def embedded(split: datasets.Dataset) -> datasets.Dataset:
    """With the files' bytes in its rows, as data sets on the Hub have them."""
    table = split.with_format("arrow").map(datasets.table.embed_table_storage, batched=True)
    return table.with_format(None)


# --- labels of one's own --------------------------------------------------------------------------


def write_fruit_folder(folder: Path, values: int = 3) -> Path:
    """ADE20K's layout, other classes: annotation values 0-2, all of them in each image."""
    for part, count in (("training", 4), ("validation", 2)):
        for kind in ("images", "annotations"):
            (folder / kind / part).mkdir(parents=True)
        for number in range(count):
            annotation = np.arange(48, dtype=np.uint8).reshape(6, 8) % values
            Image.fromarray(annotation * 80).save(folder / "images" / part / f"{number}.png")
            Image.fromarray(annotation).save(folder / "annotations" / part / f"{number}.png")
    return folder


def test_a_folder_with_id2label_brings_its_own_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_fruit_folder(tmp_path / "fruit")
    FRUIT.save(folder)
    profile = profile_for(folder)
    scenes = load_scenes(profile)
    assert profile.labels.names == FRUIT.names
    assert profile.labels.reduce is False
    assert capsys.readouterr().out == ""
    areas = check_scenes(scenes["train"], "train", profile.labels)
    assert areas.tolist() == [64, 64, 64]
    Labels(["apple", "pear"], reduce=True).save(folder)  # value 0 is no class now
    assert check_scenes(scenes["train"], "train", profile_for(folder).labels).tolist() == [
        64,
        64,
    ]
    Labels(["background", "apple"]).save(folder)
    with pytest.raises(ValueError, match="holds the value 2, expected 0-1, or 255"):
        load_scenes(profile_for(folder))


def test_without_id2label_the_run_says_that_it_assumes_ade20ks(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = profile_for(folder)
    load_scenes(profile)
    told = (
        f"{folder} has no id2label.json. It is read as ADE20K is: 150 labels (wall, building, sky"
    )
    assert capsys.readouterr().out.startswith(told)
    assert profile.labels is ADE20K
    monkeypatch.setenv("RANK", "1")  # of several processes, the first one says it
    load_scenes(profile_for(folder))
    assert capsys.readouterr().out == ""


def test_classes_that_hardly_are_ade20ks_are_refused_where_no_names_lie(tmp_path: Path) -> None:
    folder = write_fruit_folder(tmp_path / "fruit")
    with pytest.raises(ValueError, match=r"hold 0 to 2 and nothing else.*id2label\.json"):
        load_scenes(profile_for(folder))
    ADE20K.save(folder)  # the way out where they are
    assert len(load_scenes(profile_for(folder))["train"]) == 4


def test_an_own_data_set_without_categories_has_two_columns(tmp_path: Path) -> None:
    image, annotation = draw_blocks(0)
    split = columns_of([image], [annotation]).remove_columns("scene_category")
    source = write_parquet(tmp_path / "own", train=split, validation=split)
    scenes = load_scenes(profile_for(source))
    assert scenes["train"].column_names == ["image", "annotation"]


def test_a_class_that_training_never_saw_is_named_in_one_sentence(
    recwarn: pytest.WarningsRecorder, tmp_path: Path
) -> None:
    warn_of_unseen_classes(np.array([9, 1, 0]), np.array([5, 0, 0]), FRUIT)
    assert not recwarn.list
    folder = write_fruit_folder(tmp_path / "fruit")
    FRUIT.save(folder)
    for file in (folder / "annotations" / "training").iterdir():
        Image.open(file).point(lambda value: min(value, 1)).save(file)
    with pytest.warns(UserWarning, match="no training image shows pear, but the val") as told:
        load_scenes(profile_for(folder))
    (sentence,) = [str(one.message) for one in told if "no training image" in str(one.message)]
    assert "\n" not in sentence


def test_an_empty_class_is_refused_where_the_data_name_it(tmp_path: Path) -> None:
    folder = write_fruit_folder(tmp_path / "fruit")
    FRUIT.save(folder)
    assert len(load_scenes(profile_for(folder), allow_empty=False)["train"]) == 4
    for file in (folder / "annotations" / "training").iterdir():
        Image.open(file).point(lambda value: min(value, 1)).save(file)
    told = f"no training image of {re.escape(str(folder))} shows pear, .*--allow-empty"
    with pytest.raises(ValueError, match=told):
        load_scenes(profile_for(folder), allow_empty=False)
    many = Labels([*FRUIT.names, *map(str, range(3, 9))])
    many.save(folder)
    with pytest.raises(ValueError, match="shows pear, 3, 4, 5, 6 and 2 more, and a model"):
        load_scenes(profile_for(folder), allow_empty=False)
    ADE20K.save(folder)  # of its 150, hardly a folder shows all
    assert len(load_scenes(profile_for(folder), allow_empty=False)["train"]) == 4


def test_validation_images_of_one_class_are_told_by_the_first_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_fruit_folder(tmp_path / "fruit")
    FRUIT.save(folder)
    for file in (folder / "annotations" / "validation").iterdir():
        Image.open(file).point(lambda value: 255 if value == 2 else 1).save(file)
    with pytest.warns(UserWarning, match="the validation images show only apple"):
        load_scenes(profile_for(folder))
    monkeypatch.setenv("RANK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load_scenes(profile_for(folder))


def test_a_split_without_one_labelled_pixel_is_refused(tmp_path: Path) -> None:
    folder = write_fruit_folder(tmp_path / "fruit", values=1)
    with pytest.raises(ValueError, match='no pixel of the "train" split has a class'):
        load_scenes(profile_for(folder))


def test_a_palette_annotation_keeps_its_values(folder: Path) -> None:
    file = folder / "annotations" / "training" / "scene_0002.png"
    values = np.asarray(Image.open(file))
    colored = Image.fromarray(values)
    colored.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    assert colored.mode == "P"
    colored.save(file)
    split = load_scenes(profile_for(folder))["train"]
    assert (np.asarray(split[2]["annotation"]) == values).all()
    labels = make_eval_transform(small_processor(32))(split[2:3])["labels"]
    assert set(labels.unique().tolist()) == {(int(v) - 1) % 256 for v in np.unique(values)}


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
