"""A folder of one's own: pairs, the report, masks made into labels, a data set, a trained model."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import nbformat
import numpy as np
import pytest
from datasets import DatasetDict, load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from samples import (
    FRUIT,
    STORED,
    draw_blocks,
    save_encoder,
    save_turned,
    small_model,
    small_processor,
    small_profile,
)
from torchvision.datasets import OxfordIIITPet

from helpers import custom
from helpers.custom import (
    find_pairs,
    labels_from_colors,
    labels_from_values,
    make_dataset,
    report_pairs,
    write_parquet,
)
from helpers.evaluation import evaluate
from helpers.images import SUFFIXES
from helpers.inference import load_labels, load_model, segment
from helpers.labels import IGNORE_INDEX, Labels
from helpers.profiles import REPOSITORY
from helpers.training import build_model, build_trainer
from scripts.sources import find_sources
from tools import oxford_pets as pets
from tools.drawing import fruit

NOTEBOOKS = REPOSITORY / "notebooks"
SIZE = (24, 18)
FRUIT_LABELS = Labels(fruit.CLASSES)


def draw(seed: int, size: tuple[int, int] = SIZE) -> tuple[Image.Image, Image.Image]:
    """An image and a mask of values 0-2."""
    values = np.random.default_rng(seed).integers(0, 3, (size[1] // 3, size[0] // 3))
    mask = np.kron(values, np.ones((3, 3), dtype=np.uint8)).astype(np.uint8)
    return draw_blocks(seed, size)[0], Image.fromarray(mask)


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


def report(folder: Path, labels: Labels = FRUIT) -> Any:
    return report_pairs(find_pairs(folder / "images", folder / "masks"), labels)


# --- pairs ----------------------------------------------------------------------------------------


def test_a_missing_mask_shifts_two_sorts_but_no_pair(folder: Path) -> None:
    (folder / "masks" / "cat_1.png").unlink()
    (folder / "images" / "cat_3.jpg").unlink()  # as many files on both sides again
    found = find_pairs(folder / "images", folder / "masks")
    assert [(image.name, mask.name) for image, mask in found.pairs] == [
        ("cat_0.jpg", "cat_0.png"),
        ("cat_2.jpg", "cat_2.png"),
    ]
    assert [file.name for file in found.images_alone] == ["cat_1.jpg"]
    assert [file.name for file in found.masks_alone] == ["cat_3.png"]
    assert report(folder).problems == [
        f"image {folder / 'images' / 'cat_1.jpg'} has no mask of its name",
        f"mask {folder / 'masks' / 'cat_3.png'} has no image of its name",
    ]


@pytest.mark.parametrize("ending", sorted(SUFFIXES))
def test_every_image_that_is_segmented_is_paired_too(tmp_path: Path, ending: str) -> None:
    image, mask = tmp_path / "images" / f"a{ending}", tmp_path / "masks" / "a.png"
    for file in (image, mask):
        file.parent.mkdir()
        file.touch()
    assert find_pairs(image.parent, mask.parent).pairs == [(image, mask)]
    assert [source.path for source in find_sources([str(image.parent)])] == [image]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("cat_0.JPG", "cat_0.png"),
        ("Cat_0.jpeg", "cat_0.PNG"),
        ("cat_0.webp", "CAT_0.tif"),
        # é as one letter, and as macOS writes it: e and an accent.
        ("caf\u00e9.jpg", "cafe\u0301.png"),
    ],
)
def test_names_that_differ_in_case_extension_or_accents_belong_together(
    folder: Path, image: str, mask: str
) -> None:
    (folder / "images" / "cat_0.jpg").rename(folder / "images" / image)
    (folder / "masks" / "cat_0.png").rename(folder / "masks" / mask)
    found = find_pairs(folder / "images", folder / "masks").pairs
    assert (image, mask) in [(one.name, other.name) for one, other in found]
    assert len(found) == 4


@pytest.mark.parametrize(
    ("part", "file", "twin"),
    [("images", "cat_0.jpg", "Cat_0.jpg"), ("masks", "cat_0.png", "cat_0.tif")],
)
def test_two_files_with_one_partner_are_refused_by_name(
    folder: Path, part: str, file: str, twin: str
) -> None:
    other = folder / part / twin
    if other.exists():
        pytest.skip("a file system without upper and lower case cannot hold both names")
    other.write_bytes((folder / part / file).read_bytes())
    with pytest.raises(ValueError, match="would share one partner") as error:
        find_pairs(folder / "images", folder / "masks")
    assert file in str(error.value)
    assert twin in str(error.value)


def test_what_is_no_image_is_passed_over(folder: Path) -> None:
    for name in ("Thumbs.db", "notes.txt", "._cat_0.jpg", ".hidden.png"):
        (folder / "images" / name).write_bytes(b"no image")
        (folder / "masks" / name).write_bytes(b"no mask")
    found = find_pairs(folder / "images", folder / "masks")
    assert len(found.pairs) == 4
    assert found.images_alone == found.masks_alone == []


def test_masks_may_carry_an_ending_and_lie_beside_the_images(folder: Path) -> None:
    for mask in (folder / "masks").iterdir():
        mask.rename(folder / "images" / f"{mask.stem}_mask.png")
    found = find_pairs(folder / "images", folder / "images", mask_suffix="_mask")
    assert [m.name for _, m in found.pairs] == [f"cat_{k}_mask.png" for k in range(4)]
    assert found.images_alone == found.masks_alone == []
    with pytest.raises(ValueError, match='mask_suffix="_mask"'):
        find_pairs(folder / "images", folder / "images")


def test_a_missing_folder_is_named(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(folder / "labels"))):
        find_pairs(folder / "images", folder / "labels")


@pytest.mark.parametrize("part", ["images", "masks"])
def test_empty_folders_are_told(folder: Path, part: str) -> None:
    for file in (folder / part).iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="not one image has a mask of the same name"):
        report(folder)


# --- the report -----------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [FRUIT, Labels(["apple", "pear"], reduce=True)], ids=str)
def test_the_report_counts_what_is_there(folder: Path, labels: Labels) -> None:
    found = report(folder, labels)
    assert found.problems == found.notices == []
    masks = [np.asarray(draw(seed)[1]) for seed in range(4)]
    pixels = np.bincount(np.stack(masks).ravel(), minlength=3)[labels.reduce :]
    np.testing.assert_allclose(found.classes["pixels"], pixels / pixels.sum())
    values = range(labels.reduce, 3)
    present = [np.mean([(mask == value).any() for mask in masks]) for value in values]
    np.testing.assert_allclose(found.classes["images"], present)
    assert found.classes["name"].tolist() == list(labels.names)
    assert list(found.files.iloc[0].items()) == [
        ("image", "cat_0.jpg"),
        ("image_size", "24 x 18"),
        ("image_mode", "RGB"),
        ("mask", "cat_0.png"),
        ("mask_size", "24 x 18"),
        ("mask_mode", "L"),
        ("values", "0 1 2"),
        ("problem", ""),
    ]


def edit(change: Callable[[Image.Image], Image.Image]) -> Callable[[Path], None]:
    def spoil(file: Path) -> None:
        with Image.open(file) as image:
            image.load()
            changed = change(image)
        changed.save(file)

    return spoil


def with_value(value: int) -> Callable[[Path], None]:
    def change(mask: Image.Image) -> Image.Image:
        values = np.array(mask, dtype=np.uint16 if value > 255 else np.uint8)
        values[2, 3] = value
        return Image.fromarray(values)

    return edit(change)


def painted(mask: Image.Image) -> Image.Image:
    return Image.fromarray(np.array(list(COLORS), dtype=np.uint8)[np.asarray(mask)])


COLORS = {(0, 0, 0): 0, (200, 30, 30): 1, (40, 180, 60): 2}
PAGES = {"format": "TIFF", "save_all": True, "append_images": [Image.new("L", SIZE)]}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (with_value(3), ": the annotation holds the value 3, expected 0-2, or 255 for no class"),
        (with_value(256), ": the annotation holds the value 256, expected 0-2"),
        (edit(lambda m: m.resize((12, 9))), " is 12 x 9 pixels, its image 24 x 18.*nearest"),
        (
            edit(lambda m: m.resize((12, 18))),
            " is 12 x 18 pixels, .* may be the mask of another image",
        ),
        (edit(painted), " is in colors, expected one number .*labels_from_colors"),
        (edit(lambda m: Image.new("L", m.size, 255)), " has no class in any pixel"),
        (edit(lambda m: m.point(lambda v: 255 * (v > 0))), " holds 0 and 255 alone.* 255: 1}"),
        (lambda file: Image.new("L", SIZE).save(file, **PAGES), " has 2 pages or frames"),
        (lambda file: file.write_bytes(file.read_bytes()[:60]), " cannot be read as an image"),
        (lambda file: file.write_bytes(b""), " cannot be read as an image"),
    ],
)
def test_a_flaw_of_a_mask_is_told_and_the_rest_goes_on(
    folder: Path, spoil: Callable[[Path], None], told: str
) -> None:
    file = folder / "masks" / "cat_2.png"
    spoil(file)
    found = report(folder)
    (problem,) = found.problems
    assert re.match(f"mask {re.escape(str(file))}{told}", problem)
    assert found.files["problem"].tolist() == ["", "", problem, ""]
    assert (found.files["mask_mode"][2] == "-") == (file.stat().st_size == 0)
    assert found.classes["pixels"].sum() == pytest.approx(1)


def test_an_image_that_cannot_be_read_is_told_and_its_mask_is_looked_at(folder: Path) -> None:
    file = folder / "images" / "cat_1.jpg"
    file.write_bytes(b"<html>404</html>")
    found = report(folder)
    (problem,) = found.problems
    assert problem.startswith(f"image {file} cannot be read as an image")
    assert found.files["image_mode"].tolist() == ["RGB", "-", "RGB", "RGB"]
    assert found.files["values"].tolist() == ["0 1 2"] * 4


def test_all_masks_of_0_and_255_and_classes_that_no_mask_shows(folder: Path) -> None:
    for mask in (folder / "masks").iterdir():
        edit(lambda m: m.point(lambda v: 255 * (v > 0)))(mask)
    *problems, last = report(folder, Labels(["table", "fruit"])).problems
    assert ["holds 0 and 255 alone" in problem for problem in problems] == [True] * 4
    assert last == "no mask shows table, fruit: there is nothing to learn it from"
    for mask in (folder / "masks").iterdir():  # the remedy that was told
        labels_from_values(mask, {0: 0, 255: 1}).save(mask)
    assert report(folder, Labels(["table", "fruit"])).problems == []
    assert report(folder).problems == ["no mask shows pear: there is nothing to learn it from"]


def test_values_and_colors_are_listed_so_that_a_mapping_can_be_written(folder: Path) -> None:
    for number, change in enumerate([painted, lambda m: m.point(lambda v: 100 * v)]):
        edit(change)(folder / "masks" / f"cat_{number}.png")
    many = Image.fromarray(np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE[::-1]))
    many.save(folder / "masks" / "cat_2.png")
    listed = report(folder).files["values"].tolist()
    assert listed[:2] == ["(0, 0, 0) (40, 180, 60) (200, 30, 30)", "0 100 200"]
    assert listed[2] == "0 1 2 3 4 5 6 7 8 9 10 11 ..."


def test_palettes_that_differ_are_told_with_two_files_and_the_index(folder: Path) -> None:
    colors = [(0, 0, 0), (200, 30, 30), (40, 180, 60)]
    for number in range(4):
        _, mask = draw(number)
        order = colors if number != 2 else [colors[0], colors[2], colors[1]]
        mask.putpalette([band for color in order for band in color])
        mask.save(folder / "masks" / f"cat_{number}.png")
    (problem,) = report(folder).problems
    files = [re.escape(str(folder / "masks" / f"cat_{number}.png")) for number in (0, 2)]
    told = rf"{files[0]} and {files[1]} differ: index 1 is \(200, 30, 30\) .* \(40, 180, 60\)"
    assert re.search(told, problem)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ([100], ["index 100 is"]),
        # No mask uses these, and 3 * 100 in a byte is 44, which lies in the first of them.
        ([14, 15], []),
    ],
)
def test_palettes_are_compared_at_the_indices_that_masks_hold(
    folder: Path, recwarn: pytest.WarningsRecorder, changed: list[int], told: list[str]
) -> None:
    palette = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    other = palette.copy()
    other[changed] = 255 - other[changed]
    for number, colors in enumerate([palette, palette, other, palette]):
        mask = draw(number)[1].point([0, 100, 255, *[0] * 253])
        mask.putpalette(colors.tobytes())
        mask.save(folder / "masks" / f"cat_{number}.png")
    labels = Labels([f"class {k}" for k in range(101)])
    palettes = [one for one in report(folder, labels).problems if "the palettes of" in one]
    assert [part in one for part, one in zip(told, palettes, strict=True)] == [True] * len(told)
    assert not [one for one in recwarn.list if issubclass(one.category, RuntimeWarning)]


def test_the_colors_of_a_mask_are_counted_as_numbers(folder: Path) -> None:
    """`np.unique` takes fifty times as long for rows of three: 5 s a mask of two megapixels."""
    coded = painted(draw(0, (1200, 900))[1])
    draw(0, coded.size)[0].save(folder / "images" / "cat_0.jpg")
    coded.save(folder / "masks" / "cat_0.png")
    start = time.perf_counter()
    rows = np.unique(np.asarray(coded).reshape(-1, 3), axis=0)
    in_rows = time.perf_counter() - start
    start = time.perf_counter()
    values = report(folder).files["values"][0]
    reported = time.perf_counter() - start
    assert values == " ".join(str(tuple(color)) for color in rows.tolist())
    assert reported < in_rows / 2


def test_what_deserves_a_look_is_a_notice_and_no_problem(folder: Path) -> None:
    image, _ = draw(0)
    save_turned(image, folder / "images" / "cat_0.jpg", 3)  # upside down: no size can tell
    (folder / "images" / "cat_1.jpg").unlink()
    twelve = np.asarray(image.convert("L")).astype(np.uint16) * 16
    Image.fromarray(twelve).save(folder / "images" / "cat_1.png")
    (folder / "images" / "cat_2.jpg").unlink()
    image.save(folder / "images" / "cat_2.tif", save_all=True, append_images=[image])
    found = report(folder)
    assert found.problems == []
    for notice, name, told in zip(
        found.notices,
        ("cat_0.jpg", "cat_1.png", "cat_2.tif"),
        ("turned by the camera's note", "12 bits were stored in 16", "several pages or frames"),
        strict=True,
    ):
        assert notice.startswith(f"1 images (such as {folder / 'images' / name})")
        assert told in notice


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA", "I;16"])
def test_images_of_any_mode_are_fine(folder: Path, mode: str) -> None:
    file = folder / "images" / "cat_0.jpg"
    image, _ = draw(0)
    file.unlink()
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    image.save(file.with_suffix(".tif"))
    found = report(folder)
    assert (found.problems, found.notices) == ([], [])
    assert found.files["image_mode"][0] == mode


@pytest.fixture(scope="module")
def ten_thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10,000 pairs, as hard links to one file each, of which number 7,777's mask is cut short."""
    folder = tmp_path_factory.mktemp("many")
    image, mask = fruit.draw_fruit(5, (64, 48))
    assert len(np.unique(mask)) == len(fruit.CLASSES)
    image.save(folder / "image.jpg")
    mask.save(folder / "mask.png")
    for part, source in (("images", "image.jpg"), ("masks", "mask.png")):
        (folder / part).mkdir()
        for number in range(10_000):
            os.link(folder / source, folder / part / f"{number:05}{Path(source).suffix}")
    broken = folder / "masks" / "07777.png"
    data = broken.read_bytes()
    broken.unlink()
    broken.write_bytes(data[: len(data) // 2])
    return folder


@pytest.mark.slow
def test_one_broken_file_of_10_000_is_found(ten_thousand: Path) -> None:
    told = report(ten_thousand, FRUIT_LABELS)
    assert len(told.files) == 10_000
    (problem,) = told.problems
    assert f"mask {ten_thousand / 'masks' / '07777.png'} cannot be read" in problem


def test_the_short_path_of_notebook_07_stops_at_problems(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = folder / "notebooks" / "photos"
    photos.mkdir(parents=True)
    for part in ("images", "masks"):
        (folder / part).rename(photos / part)
    monkeypatch.chdir(photos.parent)
    notebook = nbformat.read(NOTEBOOKS / "07_custom_dataset.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if cell.id == "short-path"]
    (lines,) = re.findall("```python\n(.*?)```", cell.source, re.DOTALL)
    run = partial(exec, lines, {"Path": Path, "custom": custom, "Labels": Labels})
    mask = photos / "masks" / "cat_2.png"
    sound = mask.read_bytes()
    edit(lambda m: m.point(lambda v: 255 * (v > 0)))(mask)
    with pytest.raises(AssertionError, match=r"fix these first:\n.*cat_2.png holds 0 and 255"):
        run()
    assert not (folder / "outputs").exists()
    mask.write_bytes(sound)
    run()
    assert Labels.load(folder / "outputs" / "my-data").names == FRUIT.names


# --- masks into labels ----------------------------------------------------------------------------


@given(order=st.permutations(range(8)), labels=st.permutations(range(8)))
@settings(max_examples=15, deadline=None)
def test_indices_of_a_palette_count_as_values_and_its_colors_as_colors(
    order: list[int], labels: list[int]
) -> None:
    values = np.arange(64, dtype=np.uint8).reshape(8, 8) % 8
    colors = [(31 * k, 255 - 31 * k, 17 * k) for k in order]
    mask = Image.fromarray(values)
    mask.putpalette([band for color in colors for band in color])
    assert (np.asarray(labels_from_values(mask)) == values).all()
    expected = np.array(labels)[values]
    mapping = dict(zip(range(8), labels, strict=True))
    assert (np.asarray(labels_from_values(mask, mapping)) == expected).all()
    coded = dict(zip(colors, labels, strict=True))
    for mode in ("P", "RGB", "RGBA"):
        found = labels_from_colors(mask.convert(mode), coded)
        assert found.mode == "L"
        assert (np.asarray(found) == expected).all()


def test_an_unknown_color_is_named_or_becomes_the_label_asked_for(tmp_path: Path) -> None:
    coded = painted(draw(1)[1])
    coded.putpixel((5, 7), (1, 2, 3))
    coded.save(tmp_path / "coded.png")
    with pytest.raises(ValueError, match=r"coded\.png holds the color \(1, 2, 3\) in 1 pixel"):
        labels_from_colors(tmp_path / "coded.png", COLORS)
    labels = np.asarray(labels_from_colors(tmp_path / "coded.png", COLORS, unknown=255))
    assert labels[7, 5] == 255
    assert (labels == 255).sum() == 1
    coded.save(tmp_path / "coded.jpg")
    with pytest.raises(ValueError, match="is a JPEG file, which changes the values"):
        labels_from_colors(tmp_path / "coded.jpg", COLORS)
    Image.open(tmp_path / "coded.jpg").save(tmp_path / "coded.png")
    with pytest.raises(ValueError, match=r"\d+ such colors.*JPEG compression"):
        labels_from_colors(tmp_path / "coded.png", COLORS)


@pytest.mark.parametrize(
    "stored",
    [
        lambda v: Image.fromarray(v),
        lambda v: Image.fromarray(v.astype(np.uint16)),
        lambda v: Image.fromarray(v.astype(np.int32)),
        lambda v: Image.fromarray(v.astype(np.float32)),
        lambda v: Image.fromarray(v).convert("RGB"),
        lambda v: Image.fromarray(v).convert("RGBA"),
        lambda v: Image.fromarray(v).convert("LA"),
    ],
    ids=["L", "I;16", "I", "F", "RGB", "RGBA", "LA"],
)
def test_values_of_any_width_become_labels(stored: Callable[[np.ndarray], Image.Image]) -> None:
    values = np.asarray(draw(2)[1])
    labels = labels_from_values(stored(values))
    assert labels.mode == "L"
    assert (np.asarray(labels) == values).all()
    mapped = np.asarray(labels_from_values(stored(values), {0: 255, 1: 0, 2: 1}))
    assert (mapped == (values.astype(int) - 1) % 256).all()


def test_large_values_and_one_bit_masks_are_mapped() -> None:
    wide = Image.fromarray(np.array([[0, 1000], [40_000, 1000]], dtype=np.uint16))
    mapped = labels_from_values(wide, {0: 0, 1000: 1, 40_000: 2})
    assert np.asarray(mapped).tolist() == [[0, 1], [2, 1]]
    bits = Image.fromarray(np.array([[False, True]]))
    assert np.asarray(labels_from_values(bits)).tolist() == [[0, 1]]


def test_a_value_without_label_is_named() -> None:
    mask = Image.fromarray(np.array([[0, 255], [128, 255]], dtype=np.uint8))
    with pytest.raises(ValueError, match="holds the value 128 in 1 pixels, expected 0, 255"):
        labels_from_values(mask, {0: 0, 255: 1})
    wide = Image.fromarray(np.array([[0, 256]], dtype=np.uint16))
    with pytest.raises(ValueError, match="holds the value 256 in 1 pixels, expected 0-255"):
        labels_from_values(wide)
    with pytest.raises(ValueError, match=r"is in color.*labels_from_colors"):
        labels_from_values(painted(draw(0)[1]))


# --- images that lie on their side ----------------------------------------------------------------


@pytest.fixture(params=[*STORED][1:])
def sideways(request: pytest.FixtureRequest, folder: Path) -> Path:
    """Each image stored as by a camera that was held so, and each mask as it stored it."""
    for seed in range(4):
        image, mask = draw(seed)
        save_turned(image, folder / "images" / f"cat_{seed}.jpg", request.param)
        if request.param >= 5:  # of the others no size can tell
            STORED[request.param](mask).save(folder / "masks" / f"cat_{seed}.png")
    return folder


def test_masks_are_turned_as_their_images_are_all_the_way(sideways: Path) -> None:
    found = find_pairs(sideways / "images", sideways / "masks")
    told = report_pairs(found, FRUIT)
    assert told.problems == []
    assert told.notices[0].startswith("4 images (such as")
    for number, (image, mask) in enumerate(found.pairs):
        expected = np.asarray(draw(number)[1])
        assert (np.asarray(labels_from_values(mask, image=image)) == expected).all()
        painted(Image.open(mask)).save(mask.with_suffix(".tif"))
        labels = labels_from_colors(mask.with_suffix(".tif"), COLORS, image=image)
        assert (np.asarray(labels) == expected).all()
    rows = datasets.concatenate_datasets([*make_dataset(found.pairs).values()])
    got = {np.asarray(row["annotation"]).tobytes() for row in rows}
    assert got == {np.asarray(draw(number)[1]).tobytes() for number in range(4)}
    assert {row["image"].size for row in rows} == {row["annotation"].size for row in rows} == {SIZE}


# --- data set and files ---------------------------------------------------------------------------


@pytest.fixture
def pairs(tmp_path: Path) -> list[tuple[Path, Path]]:
    """Ten pairs of files, masks of values 0-2."""
    folder = tmp_path / "files"
    folder.mkdir()
    files = [(folder / f"{seed}.jpg", folder / f"{seed}.png") for seed in range(10)]
    for seed, (image, mask) in enumerate(files):
        for part, file in zip(draw(seed, (42, 30)), (image, mask), strict=True):
            part.save(file)
    return files


def test_the_same_seed_draws_the_same_split(pairs: list[tuple[Path, Path]]) -> None:
    first, again, other = (make_dataset(pairs, 0.3, seed) for seed in (1, 1, 2))
    assert {name: len(split) for name, split in first.items()} == {"train": 7, "validation": 3}
    fingerprints = [
        [np.asarray(mask).tobytes() for mask in data["validation"]["annotation"]]
        for data in (first, again, other)
    ]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert first["train"].column_names == ["image", "annotation"]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pairs_are_refused(pairs: list[tuple[Path, Path]], count: int) -> None:
    with pytest.raises(ValueError, match=f"there are {count} pairs, expected at least 2"):
        make_dataset(pairs[:count])


def test_a_parquet_data_set_outlives_the_files_it_was_made_of(
    pairs: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    dataset = make_dataset(pairs)
    expected = {name: [np.asarray(m) for m in dataset[name]["annotation"]] for name in dataset}
    dataset["train"].to_parquet(tmp_path / "paths-only.parquet")
    write_parquet(dataset, tmp_path / "own", FRUIT)
    shutil.rmtree(pairs[0][0].parent)
    back = load_dataset(str(tmp_path / "own"))
    assert {name: len(split) for name, split in back.items()} == {"train": 8, "validation": 2}
    for name, masks in expected.items():
        for mask, row in zip(masks, back[name], strict=True):
            assert (np.asarray(row["annotation"]) == mask).all()
            assert row["image"].size == (42, 30)
    assert Labels.load(tmp_path / "own").names == FRUIT.names
    for file in (tmp_path / "own" / "data").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()
    # Why `write_parquet`: the library's own call stores paths, which lead nowhere now.
    lost = load_dataset("parquet", data_files=str(tmp_path / "paths-only.parquet"), split="train")
    with pytest.raises(FileNotFoundError):
        lost[0]


def as_the_script_reads(folder: Path) -> tuple[DatasetDict, dict[int, str]]:
    """What transformers' run_semantic_segmentation.py does with a data set before it trains."""
    dataset = load_dataset(str(folder)).rename_columns({"annotation": "label"})
    with open(folder / "id2label.json") as file:  # there: hf_hub_download of the data set's own
        return dataset, {int(key): value for key, value in json.load(file).items()}


def script_reduces(labels: np.ndarray) -> np.ndarray:
    """What its `--do_reduce_labels` does to a mask: 0 becomes 255, k becomes k - 1."""
    labels = labels.copy()
    labels[labels == 0] = 255
    labels = labels - 1
    labels[labels == 254] = 255
    return labels


@pytest.mark.parametrize("labels", [FRUIT, Labels(["apple", "pear"], reduce=True)], ids=str)
def test_the_library_s_script_accepts_what_is_written(
    pairs: list[tuple[Path, Path]], tmp_path: Path, labels: Labels
) -> None:
    write_parquet(make_dataset(pairs), tmp_path / "own", labels)
    read, id2label = as_the_script_reads(tmp_path / "own")
    # With a split "validation" of its own, the script does not draw one without a seed.
    assert set(read) == {"train", "validation"}
    assert id2label == labels.id2label
    for split in read.values():
        assert {type(feature) for feature in split.features.values()} == {datasets.Image}
        for row in split:
            image, target = np.array(row["image"].convert("RGB")), np.array(row["label"])
            assert target.dtype == np.uint8
            assert target.shape == image.shape[:2]
            expected = script_reduces(target) if labels.reduce else target
            assert set(np.unique(expected)) <= {*id2label, IGNORE_INDEX}
            assert (labels.to_label_map(target) == expected).all()
            processor = small_processor()
            ours = processor(row["image"], target, do_reduce_labels=labels.reduce, do_resize=False)
            assert (np.asarray(ours["labels"][0]) == expected).all()


# --- training on other labels ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.mark.parametrize("reduce", [False, True])
def test_a_model_s_folder_gives_its_labels_back_and_is_scored_by_them(
    encoder: Path, pairs: list[tuple[Path, Path]], tmp_path: Path, reduce: bool
) -> None:
    colors = [(1, 2, 3), (200, 0, 0), (0, 200, 0)]
    labels = Labels(FRUIT.names[reduce:], colors[reduce:], reduce)
    data = make_dataset(pairs)
    trainer = build_trainer(
        small_profile(encoder, encoder, own=labels),
        DatasetDict(train=data["train"], test=data["validation"]),
        tmp_path / "checkpoints",
    )
    trainer.train()
    counts = trainer.compute_metrics.matrix.counts
    assert counts.shape == (labels.num_labels, labels.num_labels)
    assert trainer.model.config.id2label == labels.id2label
    assert trainer.model.config.label2id == labels.label2id
    # Whether background pixels are counted tells the two outcomes apart.
    labelled = np.stack([np.asarray(mask) for mask in data["validation"]["annotation"]])
    share = counts.sum() / (len(data["validation"]) * 32 * 32)
    assert share == pytest.approx((labelled > 0).mean() if reduce else 1, abs=0.05)
    trainer.save_model(str(tmp_path / "model"))
    assert load_labels(tmp_path / "model") == labels
    model, processor = load_model(tmp_path / "model")
    assert processor.do_reduce_labels is reduce
    # Scored as by hand, whether the labels are given or are the model's.
    by_hand = np.zeros_like(counts)
    for row in data["validation"]:
        truth = labels.to_label_map(np.asarray(row["annotation"]))
        kept = truth != IGNORE_INDEX
        np.add.at(by_hand, (truth[kept], segment(row["image"], model, processor)[kept]), 1)
    for given_labels in (None, labels):
        matrix = evaluate(data["validation"], model, processor, labels=given_labels)
        assert (matrix.counts == by_hand).all()
    for names, told in (
        ([*labels.names, "cherry"], f"in the data and {labels.num_labels} in the model"),
        (labels.names[::-1], f"label id 0 is '{labels.names[-1]}' in the data and"),
    ):
        with pytest.raises(ValueError, match=told):
            evaluate(data["validation"], model, processor, labels=Labels(names))


def test_a_finished_model_with_other_labels_gets_a_new_last_layer_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_model(num_labels=4).save_pretrained(tmp_path)
    model = build_model(small_profile(tmp_path, tmp_path, own=FRUIT))
    assert model.config.id2label == FRUIT.id2label
    assert model.decode_head.classifier.out_channels == 3
    told = capsys.readouterr().out
    assert "predicts 4 labels (LABEL_0, LABEL_1" in told
    assert "the data has 3 labels (background, apple, pear)" in told


def test_one_output_cannot_tell_two_classes_apart() -> None:
    """Why a binary task has two labels: the argmax over one channel is always 0."""
    model = small_model(num_labels=1)
    label_map = segment(draw_blocks(0, SIZE)[0], model, small_processor())
    assert (label_map == 0).all()


# --- Oxford-IIIT Pet ------------------------------------------------------------------------------


def draw_pet(seed: int) -> tuple[Image.Image, Image.Image]:
    """Something round with a border; a trimap of 1 (pet), 2 (background) and 3 (border)."""
    rows, columns = np.mgrid[:36, :48]
    distance = np.hypot(rows - 18, columns - 20 - seed)
    trimap = np.select([distance < 10, distance < 12], [1, 3], 2).astype(np.uint8)
    return draw_blocks(seed, (48, 36))[0], Image.fromarray(trimap)


@pytest.fixture
def pet_root(tmp_path: Path) -> Path:
    """The unpacked archives' layout, torchvision's `root`: see annotations/README there."""
    base = tmp_path / "root" / "oxford-iiit-pet"
    for part in ("images", "annotations/trimaps", "annotations/xmls"):
        (base / part).mkdir(parents=True)
    breeds = [("Abyssinian", 1, 1), ("beagle", 5, 2)]  # cats in upper case, dogs in lower
    lines = {"trainval": [], "test": []}
    for number in range(1, 7):
        for breed, breed_id, species in breeds:
            image, trimap = draw_pet(number)
            name = f"{breed}_{number}"
            image.save(base / "images" / f"{name}.jpg")
            trimap.save(base / "annotations" / "trimaps" / f"{name}.png")
            # What macOS left in the real archive.
            (base / "annotations" / "trimaps" / f"._{name}.png").write_bytes(b"\0\5\x16\7")
            lines["trainval" if number <= 4 else "test"].append(f"{name} {breed_id} {species} 1")
    for split, rows in lines.items():
        (base / "annotations" / f"{split}.txt").write_text("\n".join(sorted(rows)) + "\n")
    everything = sorted(lines["trainval"] + lines["test"])
    (base / "annotations" / "list.txt").write_text(
        "#Image CLASS-ID SPECIES BREED ID\n" + "\n".join(everything) + "\n"
    )
    return tmp_path / "root"


def test_trimaps_become_a_folder_that_the_course_reads(pet_root: Path, tmp_path: Path) -> None:
    assert len(OxfordIIITPet(pet_root, "trainval", "segmentation", download=False)) == 8
    folder = tmp_path / "pets"
    assert pets.write_pet_folder(pet_root, folder) == 8
    labels = Labels.load(folder)
    assert labels.names == ("pet", "background", "border")
    found = find_pairs(folder / "images", folder / "masks")
    told = report_pairs(found, labels)
    assert (len(found.pairs), told.problems) == (8, [])
    for _, mask in found.pairs:
        number = int(mask.stem.split("_")[1])
        with Image.open(mask) as written:
            assert (np.asarray(written) == np.asarray(draw_pet(number)[1]) - 1).all()


def test_unconverted_trimaps_are_refused(pet_root: Path) -> None:
    base = pet_root / "oxford-iiit-pet"
    found = find_pairs(base / "images", base / "annotations" / "trimaps")
    told = report_pairs(found, pets.LABELS)
    assert told.files["problem"].str.contains("holds the value 3, expected 0-2, or 255").all()
    assert told.problems[-1].startswith("no mask shows pet, background, border")


def test_the_command_writes_pets_of_all_breeds_and_says_what_to_set(
    pet_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pets"
    options = ["--output", str(folder), "--root", str(pet_root), "--no-download"]
    assert pets.main([*options, "--max-images", "4"]) == 0
    assert "4 pairs: set FOLDER = " in capsys.readouterr().out
    written = {file.name.split("_")[0] for file in (folder / "images").iterdir()}
    assert written == {"Abyssinian", "beagle"}
    assert pets.main([*options, "--split", "test"]) == 0
    assert "4 pairs" in capsys.readouterr().out


def test_missing_pets_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--output", str(tmp_path / "pets"), "--no-download"]
    assert pets.main(options) == 1
    assert "there is no data set in" in capsys.readouterr().err


def test_without_a_network_the_pets_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing listens there: the download itself is torchvision's, on a dead address.
    dead = [("http://127.0.0.1:9/images.tar.gz", "0" * 32)]
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", dead)
    assert pets.main(["--output", str(tmp_path / "pets")]) == 1
    assert "Oxford-IIIT Pet cannot be downloaded" in capsys.readouterr().err
