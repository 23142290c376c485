"""Loading scenes: every source, every image mode, and an error that helps for every bad input."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from samples import draw_blocks, small_model, small_processor, small_profile, write_ade_folder

from helpers.data import COLUMNS, _load_first, check_scenes, load_scenes, to_rgb
from helpers.inference.predict import evaluate_scenes, segment
from helpers.profiles import REPOSITORY, Profile, get_profile
from helpers.transforms import make_eval_transform

ORIENTATION = 0x0112


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
from helpers.inference.predict import load_model
from helpers.profiles import get_profile
from helpers.training.recipe import build_model
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


def test_a_folder_of_another_layout_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(ValueError, match="A data folder holds either images/") as error:
        load_scenes(profile_for(tmp_path))
    assert str(tmp_path) in str(error.value)


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
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


def test_two_empty_splits_are_refused_too(folder: Path) -> None:
    for file in [*folder.glob("*/*/*.jpg"), *folder.glob("*/*/*.png")]:
        file.unlink()
    with pytest.raises(ValueError, match=r'"train" split of .* is empty'):
        load_scenes(profile_for(folder))


def test_an_empty_split_of_a_parquet_data_set_is_named(tmp_path: Path) -> None:
    image, annotation = draw_blocks(0)
    full = columns_of([image], [annotation])
    source = write_parquet(tmp_path / "own", train=full, validation=full.select([]))
    with pytest.raises(ValueError, match=r"validation.*neither of them empty") as error:
        load_scenes(profile_for(source))
    assert str(source) in str(error.value)


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


def spoil_size(file: Path) -> None:
    with Image.open(file) as annotation:
        annotation.resize((20, 30), Image.Resampling.NEAREST).save(file)


def spoil_value(file: Path) -> None:
    values = np.asarray(Image.open(file)).copy()
    values[3, 5] = 151
    Image.fromarray(values).save(file)


def spoil_reduced(file: Path) -> None:
    values = np.asarray(Image.open(file)).copy()
    values[3, 5] = 255
    Image.fromarray(values).save(file)


def spoil_rgb(file: Path) -> None:
    Image.open(file).convert("RGB").save(file)


def spoil_16_bit(file: Path) -> None:
    Image.fromarray(np.asarray(Image.open(file)).astype(np.uint16)).save(file)


def spoil_truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def spoil_empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize(
    ("kind", "spoil", "told"),
    [
        ("annotation", spoil_size, "is 20 x 30 pixels, its image 36 x 48: expected equal sizes"),
        ("annotation", spoil_value, "holds the value 151, expected 0-150"),
        ("annotation", spoil_reduced, "holds the value 255, expected 0-150.*reduced already"),
        ("annotation", spoil_rgb, "has mode RGB, expected one 8-bit channel"),
        ("annotation", spoil_16_bit, "has mode I;16, expected one 8-bit channel"),
        ("annotation", spoil_truncated, "cannot be read .* fetch it again, or remove it"),
        ("image", spoil_truncated, "cannot be read .* fetch it again, or remove it"),
        ("image", spoil_empty, "cannot be read .* fetch it again, or remove it"),
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


def told_or_sound(profile: Profile) -> str:
    """What loading says is wrong; nothing where it finds nothing wrong."""
    try:
        load_scenes(profile)
    except ValueError as error:
        return str(error)
    return ""


def test_every_truncation_is_told_or_harmless(folder: Path) -> None:
    file = folder / "annotations" / "training" / "scene_0002.png"
    sound = file.read_bytes()
    for length in range(0, len(sound), 3):
        file.write_bytes(sound[:length])
        told = told_or_sound(profile_for(folder))
        assert not told or str(file) in told, length


def test_every_flipped_byte_is_told_or_harmless(folder: Path) -> None:
    file = folder / "images" / "training" / "scene_0002.png"
    file.with_suffix(".jpg").unlink()
    draw_blocks(2, (36, 48))[0].save(file)
    sound = file.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.choice(len(sound), 60, replace=False):
        flipped = bytearray(sound)
        flipped[position] ^= int(rng.integers(1, 256))
        file.write_bytes(bytes(flipped))
        told = told_or_sound(profile_for(folder))
        assert not told or "scene_0002" in told, position


def test_a_row_without_annotation_is_named() -> None:
    image, annotation = draw_blocks(0)
    with pytest.raises(ValueError, match=r"annotation train\[1\] is missing"):
        check_scenes(columns_of([image, image], [annotation, None]), "train")


@pytest.fixture(params=["L", "P", "RGBA", "CMYK", "1", "LA", "turned"])
def odd_folder(request: pytest.FixtureRequest, folder: Path) -> Path:
    """A folder one of whose images is no plain RGB file."""
    jpeg = folder / "images" / "training" / "scene_0001.jpg"  # 48 x 36 pixels
    image, _ = draw_blocks(1)
    jpeg.unlink()
    if request.param == "turned":
        # As a phone held upright stores it: the sensor's rows, and a note to turn them.
        exif = Image.Exif()
        exif[ORIENTATION] = 6  # turn clockwise by a quarter to show
        image.transpose(Image.Transpose.ROTATE_90).save(jpeg, quality=95, exif=exif)
        with Image.open(jpeg) as stored:
            assert stored.size == (36, 48)
    elif request.param == "CMYK":
        image.convert("CMYK").save(jpeg, quality=95)
    else:
        image.convert(request.param).save(jpeg.with_suffix(".png"))
    return folder


def test_images_of_any_mode_simply_work(odd_folder: Path) -> None:
    """From the folder through check, transform and prediction to a score."""
    split = load_scenes(profile_for(odd_folder))["train"]
    image, annotation = draw_blocks(1)
    assert to_rgb(split[1]["image"]).mode == "RGB"
    assert to_rgb(split[1]["image"]).size == image.size
    processor, model = small_processor(), small_model().eval()
    tensors = make_eval_transform(processor)(split[:])
    assert tensors["pixel_values"].shape == (4, 3, 32, 32)
    assert tensors["labels"].shape == (4, 32, 32)
    assert segment(split[1]["image"], model, processor).shape == (36, 48)
    matrix = evaluate_scenes(split, model, processor)
    labelled = sum(np.count_nonzero(np.asarray(draw_blocks(seed)[1])) for seed in (1, 3))
    labelled += sum(np.count_nonzero(np.asarray(draw_blocks(s, (36, 48))[1])) for s in (0, 2))
    assert matrix.counts.sum() == labelled
    assert (np.asarray(split[1]["annotation"]) == np.asarray(annotation)).all()


def test_sixteen_bit_grey_keeps_its_shades(tmp_path: Path) -> None:
    """Pillow's own conversion makes all above 255 of 65,535 white."""
    shades = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(shades * 256 + 7).save(tmp_path / "grey.png")
    with Image.open(tmp_path / "grey.png") as image:
        assert image.mode.startswith("I")
        assert (np.asarray(image.convert("RGB"))[1:] == 255).all()
        assert (np.asarray(to_rgb(image)) == shades[..., None]).all()


def test_a_turned_image_comes_upright(tmp_path: Path) -> None:
    upright, _ = draw_blocks(1)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    file = tmp_path / "turned.png"
    upright.transpose(Image.Transpose.ROTATE_90).save(file, exif=exif)
    with Image.open(file) as stored:
        assert (np.asarray(to_rgb(stored)) == np.asarray(upright)).all()


def test_an_upright_annotation_of_the_stored_size_is_refused_for_a_turned_image(
    folder: Path,
) -> None:
    image, _ = draw_blocks(1)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image.save(folder / "images" / "training" / "scene_0001.jpg", exif=exif)
    with pytest.raises(ValueError, match="is 48 x 36 pixels, its image 36 x 48"):
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
