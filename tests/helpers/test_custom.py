"""A folder of one's own: the report, masks made into labels, the data set."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image
from pyarrow import parquet
from samples import FRUIT, STORED, contents, draw_blocks, edit, save_turned, with_value

from helpers import custom
from helpers.custom import (
    find_pairs,
    labels_from_colors,
    labels_from_values,
    report_pairs,
    resize_labels,
    split_pairs,
    write_dataset,
)
from helpers.data import load_scenes
from helpers.images import load_image, load_mask
from helpers.labels import Labels
from helpers.profiles import get_profile

SIZE = (24, 18)
COLORS = {(0, 0, 0): 0, (200, 30, 30): 1, (40, 180, 60): 2}


def draw(seed: int, size: tuple[int, int] = SIZE) -> tuple[Image.Image, Image.Image]:
    """An image and a mask of values 0-2."""
    random = np.random.default_rng(seed)
    values = random.integers(0, 3, (size[1] // 3, size[0] // 3))
    values[0, :3] = 0, 1, 2
    mask = np.kron(values, np.ones((3, 3), dtype=np.uint8)).astype(np.uint8)
    image = np.kron(random.integers(0, 256, (*values.shape, 3)), np.ones((3, 3, 1)))
    return Image.fromarray(image.astype(np.uint8)), Image.fromarray(mask)


def painted(mask: Image.Image) -> Image.Image:
    return Image.fromarray(np.array(list(COLORS), dtype=np.uint8)[np.asarray(mask)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four sound pairs."""
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for seed in range(4):
        image, mask = draw(seed)
        image.save(tmp_path / "images" / f"cat_{seed}.jpg")
        mask.save(tmp_path / "masks" / f"cat_{seed}.png")
    return tmp_path


def pairs_in(folder: Path) -> custom.Pairs:
    return find_pairs(folder / "images", folder / "masks")


def report(folder: Path, labels: Labels = FRUIT, convert: Any = None) -> custom.Report:
    return report_pairs(pairs_in(folder), labels, convert)


def gradient(file: Path) -> None:
    Image.fromarray(np.arange(144, dtype=np.uint8).repeat(3).reshape(SIZE[::-1])).save(file)


binary = edit(lambda mask: mask.point(lambda value: 255 * (value > 0)))


# --- the report -----------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [FRUIT, Labels(["apple", "pear"], reduce=True)], ids=str)
def test_the_report_counts_what_is_there(folder: Path, labels: Labels) -> None:
    told = report(folder, labels)
    assert told.problems == told.notices == []
    masks = np.stack([np.asarray(draw(seed)[1]) for seed in range(4)])
    pixels = np.bincount(masks.ravel(), minlength=3)[labels.reduce :]
    assert told.areas.sum(axis=0).tolist() == pixels.tolist()
    np.testing.assert_allclose(told.classes["pixels"], pixels / pixels.sum())
    assert told.classes["images"].tolist() == [1] * labels.num_labels
    assert told.classes["name"].tolist() == list(labels.names)
    shown = ["cat_0.jpg", "24 x 18", "RGB", "cat_0.png", "24 x 18", "L", "0 1 2", ""]
    assert told.files.iloc[0].tolist() == shown
    assert [*told.files][::3] == ["image", "mask", "values"]


def test_small_objects_are_told_at_the_size_that_a_model_sees(folder: Path) -> None:
    mask = np.zeros((256, 1024), dtype=np.uint8)
    mask[:64, :128], mask[100:102, :40] = 1, 2
    for seed in range(4):
        draw_blocks(seed, (1024, 256))[0].save(folder / "images" / f"cat_{seed}.jpg")
        Image.fromarray(mask).save(folder / "masks" / f"cat_{seed}.png")
    small = report(folder, Labels([*FRUIT.names, "plum"])).classes["small"]
    assert small[1] == pytest.approx((64 * 128) ** 0.5)
    assert small[2] == pytest.approx((20 * 4) ** 0.5)
    assert np.isnan(small[3])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (with_value(3), " holds the value 3, expected 0-2, or 255 for no class: name one more"),
        (with_value(256), " holds the value 256, expected 0-2"),
        (gradient, " holds 141 values without a meaning, .* come from JPEG compression or soft"),
        (edit(lambda m: m.resize((12, 18))), " is 12 x 18 pixels, .* mask of another image"),
        (binary, " holds 0 and 255 alone.*--ignore 255"),
        (lambda file: file.write_bytes(b""), " cannot be read as an image"),
        (lambda file: (file.unlink(), file.mkdir()), " has no mask of its name"),
    ],
)
def test_a_flaw_of_a_mask_is_told_and_the_rest_goes_on(
    folder: Path, spoil: Callable[[Path], None], told: str
) -> None:
    file = folder / "masks" / "cat_2.png"
    spoil(file)
    found = report(folder)
    (problem,) = found.problems
    if file.is_dir():
        assert problem.startswith(f"image {folder / 'images' / 'cat_2.jpg'}{told}")
        return
    assert re.match(f"mask {re.escape(str(file))}{told}", problem)
    assert [bool(row) for row in found.files["problem"]] == [False, False, True, False]
    assert (found.files["mask_mode"][2] == "-") == (file.stat().st_size == 0)
    assert found.classes["pixels"].sum() == pytest.approx(1)
    assert found.areas.any(axis=1).tolist() == [True, True, False, True]


def test_an_image_that_cannot_be_read_is_told_and_its_mask_is_looked_at(folder: Path) -> None:
    file = folder / "images" / "cat_1.jpg"
    file.write_bytes(b"<html>404</html>")
    found = report(folder)
    (problem,) = found.problems
    assert problem.startswith(f"image {file} cannot be read as an image")
    assert found.files["image_mode"].tolist() == ["RGB", "-", "RGB", "RGB"]
    assert found.files["values"].tolist() == ["0 1 2"] * 4


def test_objects_in_colors_of_their_own_are_not_taken_for_classes(folder: Path) -> None:
    for number in range(4):  # as COCO's panoptic PNG files: an id for each object
        ids = np.random.default_rng(number).integers(0, 256, (5, 3), dtype=np.uint8)
        objects = Image.fromarray(ids[np.resize(np.arange(5), SIZE[::-1])])
        objects.save(folder / "masks" / f"cat_{number}.png")
    (problem,) = report(folder).problems
    assert "--format objects and --format coco read such exports" in problem
    assert "--colors" not in problem


def test_values_and_colors_are_listed_so_that_a_mapping_can_be_written(folder: Path) -> None:
    for number, change in enumerate([painted, lambda m: m.point(lambda v: 100 * v)]):
        edit(change)(folder / "masks" / f"cat_{number}.png")
    many = Image.fromarray(np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE[::-1]))
    many.save(folder / "masks" / "cat_2.png")
    listed = report(folder).files["values"].tolist()
    assert listed[:2] == ["(0, 0, 0) (40, 180, 60) (200, 30, 30)", "0 100 200"]
    assert listed[2] == "0 1 2 3 4 5 6 7 8 9 10 11 ..."


# No mask uses 14, and 3 * 100 in a byte is 44, which lies in its color.
@pytest.mark.parametrize(("changed", "told"), [(100, True), (14, False)])
def test_palettes_are_compared_at_the_indices_that_masks_hold(
    folder: Path, changed: int, told: bool
) -> None:
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    other = palette.copy()
    other[changed] = 255 - other[changed]
    for number, colors in enumerate([palette, palette, other, palette]):
        mask = draw(number)[1].point([0, 100, 255, *[0] * 253])
        mask.putpalette(colors.tobytes())
        mask.save(folder / "masks" / f"cat_{number}.png")
    problems = " ".join(report(folder, Labels([f"class {k}" for k in range(101)])).problems)
    files = r"cat_2\.png and .*cat_0\.png have palettes that differ: index 100 is"
    assert bool(re.search(files, problems)) == told


def test_what_deserves_a_look_is_a_notice_and_no_problem(folder: Path) -> None:
    images = folder / "images"
    image, _ = draw(0)
    save_turned(image, images / "cat_0.jpg", 3)  # upside down: no size can tell
    for number in (1, 2, 3):
        (images / f"cat_{number}.jpg").unlink()
    twelve = np.asarray(image.convert("L")).astype(np.uint16) * 16
    Image.fromarray(twelve).save(images / "cat_1.png")
    image.save(images / "cat_2.tif", save_all=True, append_images=[image])
    shutil.copy(images / "cat_2.tif", images / "cat_3.tif")
    (images / "notes.txt").touch()
    found = report(folder)
    assert found.problems == []
    starts = (
        f"1 of 4 images (such as {images / 'cat_0.jpg'}): turned by the camera's note",
        f"1 of 4 images (such as {images / 'cat_1.png'}): without a bright pixel",
        f"2 of 4 images (such as {images / 'cat_2.tif'}): of several pages or frames",
        "2 images are copies of others, byte for byte",
        f"files left out: 1 (such as {images / 'notes.txt'})",
    )
    for notice, told in zip(found.notices, starts, strict=True):
        assert notice.startswith(told)


# --- masks into labels ----------------------------------------------------------------------------


def test_indices_of_a_palette_count_as_values_and_its_colors_as_colors() -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8) % 8
    colors = [(31 * k, 255 - 31 * k, 17 * k) for k in (3, 0, 7, 1, 6, 2, 5, 4)]
    labels = [5, 255, 0, 2, 7, 1, 3, 6]
    mask = Image.fromarray(values)
    mask.putpalette([band for color in colors for band in color])
    found = [labels_from_values(mask, dict(enumerate(labels)))]
    coded = dict(zip(colors, labels, strict=True))
    found += [labels_from_colors(mask.convert(mode), coded) for mode in ("P", "RGB", "RGBA")]
    for label_map in found:
        assert label_map.mode == "L"
        assert (np.asarray(label_map) == np.array(labels)[values]).all()


def test_a_value_or_color_without_a_label_is_named(tmp_path: Path) -> None:
    mask = Image.fromarray(np.array([[0, 40_000], [128, 40_000]], dtype=np.uint16))
    labels = labels_from_values(mask, {0: 0, 128: 2, 40_000: 1})
    assert np.asarray(labels).tolist() == [[0, 1], [2, 1]]
    binary = Image.fromarray(np.asarray(mask) > 200)  # mode 1
    assert np.asarray(labels_from_values(binary, {0: 3, 1: 7})).tolist() == [[3, 7], [3, 7]]
    told = r"holds the value 128 in 1 pixels, expected 0, 255: .*--ignore 128,40000\)"
    with pytest.raises(ValueError, match=told):
        labels_from_values(mask, {0: 0, 255: 1})
    coded = painted(draw(1)[1])
    coded.putpixel((5, 7), (1, 2, 3))
    coded.save(tmp_path / "coded.png")
    with pytest.raises(ValueError, match=r"coded\.png holds the color \(1, 2, 3\), .* 1 pixels"):
        labels_from_colors(tmp_path / "coded.png", COLORS)
    with pytest.raises(ValueError, match=r"is in color.*labels_from_colors"):
        labels_from_values(coded, {0: 0})


def test_masks_of_another_size_but_the_same_shape_are_resized(folder: Path) -> None:
    image, values = folder / "images" / "cat_0.jpg", np.asarray(draw(0)[1])
    small = Image.fromarray(values[::3, ::3])
    assert (np.asarray(resize_labels(small, image)) == values).all()
    with pytest.raises(ValueError, match=r"cat_0\.jpg has a mask of 8 x 8 pixels and is 24 x 18"):
        resize_labels(small.resize((8, 8)), image)


@pytest.mark.parametrize("note", [2, 6, 7])
def test_masks_are_turned_as_their_images_are_all_the_way(folder: Path, note: int) -> None:
    for seed in range(4):  # each image as a camera that was held so stores it, and its mask as well
        image, mask = draw(seed)
        save_turned(image, folder / "images" / f"cat_{seed}.jpg", note, quality=95)
        if note >= 5:  # of the others no size can tell
            STORED[note](mask).save(folder / "masks" / f"cat_{seed}.png")
    told = write_dataset(pairs_in(folder), FRUIT, folder / "own")
    assert told.notices[0].startswith("4 of 4 images (such as")
    for name, row in rows_in(folder / "own").items():
        image, mask = draw(int(name[4]))
        file, source = folder / "masks" / f"{name[:5]}.png", folder / "images" / name
        coded = painted(Image.open(file))
        assert (np.asarray(row["annotation"]) == np.asarray(mask)).all()
        assert (np.asarray(labels_from_colors(coded, COLORS, source)) == np.asarray(mask)).all()
        # Encoded again, as nothing else turns a JPEG file, but hardly another image.
        read = np.asarray(load_image(source), dtype=int)
        assert np.abs(np.asarray(row["image"]) - read).mean() < 4
        assert row["image"].getexif().get(0x0112, 1) == 1


# --- the data set ---------------------------------------------------------------------------------


def rows_in(folder: Path) -> dict[str, dict[str, Image.Image]]:
    """The rows of all splits by the image's name, as `load_dataset` reads them."""
    data = load_dataset("parquet", data_files=str(folder / "data" / "*.parquet"), split="train")
    stored = data.cast_column("image", datasets.Image(decode=False))
    return dict(zip((row["image"]["path"] for row in stored), data, strict=True))


def test_a_data_set_holds_the_pixels_of_its_files_and_outlives_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = folder / "images"
    for number, ending in enumerate(("png", "webp", "bmp")):
        (images / f"cat_{number}.jpg").unlink()
        draw(number)[0].save(images / f"cat_{number}.{ending}")
    read = {
        image.name: (load_image(image), load_mask(mask)) for image, mask in pairs_in(folder).pairs
    }
    monkeypatch.chdir(folder)
    write_dataset(pairs_in(Path()), FRUIT, Path("own"))
    for part in ("images", "masks"):
        shutil.rmtree(folder / part)
    splits = load_dataset(str(folder / "own"))
    assert {name: len(split) for name, split in splits.items()} == {"train": 3, "validation": 1}
    rows = rows_in(folder / "own")
    assert rows.keys() == read.keys()
    for name, row in rows.items():
        image, mask = read[name]
        assert (row["image"].mode, row["annotation"].mode) == ("RGB", "L")
        assert np.array_equal(np.asarray(row["image"]), np.asarray(image))
        assert np.array_equal(np.asarray(row["annotation"]), mask)
    assert Labels.load(folder / "own") == Labels(FRUIT.names, FRUIT.palette)
    for file in (folder / "own" / "data").iterdir():
        assert str(folder).encode() not in file.read_bytes()


def test_an_older_data_set_is_replaced_whole_and_nothing_else_is(folder: Path) -> None:
    pairs = pairs_in(folder)
    three = split_pairs(pairs.pairs, 0.25, 0.25)
    write_dataset(pairs, FRUIT, folder / "own", splits=three)
    assert load_dataset(str(folder / "own")).keys() == {"train", "validation", "test"}
    write_dataset(pairs, FRUIT, folder / "own")
    assert load_dataset(str(folder / "own")).keys() == {"train", "validation"}
    assert sorted(os.listdir(folder)) == ["images", "masks", "own"]
    (folder / "own" / "data" / "photo.jpg").touch()
    with pytest.raises(FileExistsError, match=r"own holds data/photo.jpg, expected a new"):
        write_dataset(pairs, FRUIT, folder / "own")


def full_disk(*given: Any) -> None:
    raise OSError(28, "No space left on device")


def interrupt(*given: Any) -> None:
    raise KeyboardInterrupt


def no_place_for_new(self: Path, target: Path) -> None:
    os.rename(self, target) if self.name != "new" else full_disk()


@pytest.mark.parametrize(
    ("module", "function", "failing"),
    [(custom, "_row", full_disk), (custom, "_row", interrupt), (Path, "rename", no_place_for_new)],
)
def test_after_a_failure_the_older_data_set_is_whole_and_nothing_is_left_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, module: Any, function: str, failing: Callable
) -> None:
    write_dataset(pairs_in(folder), FRUIT, folder / "own")
    before = contents(folder / "own")
    monkeypatch.setattr(module, function, failing)
    with pytest.raises((OSError, KeyboardInterrupt)) as error:
        write_dataset(pairs_in(folder), FRUIT, folder / "own")
    assert failing is interrupt or re.search(
        "own cannot be written .*No space.*; what was there is as before", str(error.value)
    )
    assert contents(folder / "own") == before
    assert sorted(os.listdir(folder)) == ["images", "masks", "own"]


@pytest.mark.parametrize(
    ("limits", "groups"), [({}, [3]), ({"_AT_A_TIME": 2}, [2, 1]), ({"_ROW_GROUP": 999}, [1, 1, 1])]
)
def test_row_groups_stay_small_enough_for_a_column_of_arrow(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], groups: list[int]
) -> None:
    assert custom._ROW_GROUP < 2**31  # what a column holds
    for name, limit in limits.items():
        monkeypatch.setattr(custom, name, limit)
    write_dataset(pairs_in(folder), FRUIT, folder / "own")
    file = parquet.ParquetFile(next((folder / "own" / "data").glob("train*"))).metadata
    assert [file.row_group(k).num_rows for k in range(file.num_row_groups)] == groups


@pytest.mark.parametrize("name", ["[fruit] v1 日本", "a b#%20 100%{1} x*y?"])
def test_any_folder_s_name_is_read_back(folder: Path, name: str) -> None:
    write_dataset(pairs_in(folder), FRUIT, folder / name / "data set")
    scenes = load_scenes(replace(get_profile("tiny"), dataset=str(folder / name / "data set")))
    assert {split: len(rows) for split, rows in scenes.items()} == {"train": 3, "test": 1}


def test_names_that_are_not_utf_8_are_named(folder: Path) -> None:
    for part, end in ((b"images", b"jpg"), (b"masks", b"png")):
        place = os.path.join(os.fsencode(folder), part)
        os.rename(os.path.join(place, b"cat_0." + end), os.path.join(place, b"ni\xf1o." + end))
    (problem,) = report(folder).problems
    assert "ni\\udcf1o.jpg has a name that is not UTF-8" in problem
    assert problem.endswith("rename it, as convmv does for all")
    problem.encode()


@pytest.mark.parametrize(
    ("convert", "told"),
    [
        (
            lambda mask, image: np.zeros((3, 3), dtype=np.uint8),
            "is 3 x 3 pixels, its image 24 x 18",
        ),
        (lambda mask, image: load_mask(mask) / 2, "is not converted to label ids .*whole numbers"),
        (lambda mask, image: load_mask(mask) + 1, "is not converted to label ids .*the value 3"),
    ],
)
def test_what_a_function_makes_of_a_mask_is_label_ids_of_its_images_size(
    folder: Path, convert: custom.Convert, told: str
) -> None:
    (folder / "images" / "cat_3.jpg").unlink()
    with pytest.raises(
        ValueError, match=f"settled first:\nmask .*cat_0.png {told}(.|\n)*mask .*cat_3"
    ):
        write_dataset(pairs_in(folder), FRUIT, folder / "own", convert)
    assert sorted(os.listdir(folder)) == ["images", "masks"]
