"""Pairs by name, the report on masks, and masks of any origin made into labels."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import draw_blocks

from helpers.custom.masks import labels_from_colors, labels_from_values, report_pairs
from helpers.custom.pairs import check_pair, find_pairs
from helpers.data import to_rgb
from helpers.toy import fruit

ID2LABEL = {0: "background", 1: "apple", 2: "pear"}
SIZE = (24, 18)


def draw(seed: int) -> tuple[Image.Image, Image.Image]:
    """An image and a mask of values 0-2."""
    values = np.random.default_rng(seed).integers(0, 3, (SIZE[1] // 3, SIZE[0] // 3))
    mask = np.kron(values, np.ones((3, 3), dtype=np.uint8)).astype(np.uint8)
    return draw_blocks(seed, SIZE)[0], Image.fromarray(mask)


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


def names(folder: Path, **options: str) -> list[tuple[str, str]]:
    found = find_pairs(folder / "images", folder / "masks", **options)
    return [(image.name, mask.name) for image, mask in found.pairs]


def report(folder: Path, **options):
    return report_pairs(find_pairs(folder / "images", folder / "masks"), ID2LABEL, **options)


# --- pairs ----------------------------------------------------------------------------------------


def test_pairs_are_found_by_name(folder: Path) -> None:
    assert names(folder) == [(f"cat_{k}.jpg", f"cat_{k}.png") for k in range(4)]


def test_a_missing_mask_shifts_two_sorts_but_no_pair(folder: Path) -> None:
    (folder / "masks" / "cat_1.png").unlink()
    (folder / "images" / "cat_3.jpg").unlink()  # as many files on both sides again
    by_two_sorts = zip(
        sorted(p.stem for p in (folder / "images").iterdir()),
        sorted(m.stem for m in (folder / "masks").iterdir()),
        strict=True,
    )
    assert list(by_two_sorts) == [("cat_0", "cat_0"), ("cat_1", "cat_2"), ("cat_2", "cat_3")]
    found = find_pairs(folder / "images", folder / "masks")
    assert (
        [p.stem for p, _ in found.pairs] == [m.stem for _, m in found.pairs] == ["cat_0", "cat_2"]
    )
    assert [file.name for file in found.images_alone] == ["cat_1.jpg"]
    assert [file.name for file in found.masks_alone] == ["cat_3.png"]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("cat_0.JPG", "cat_0.png"),
        ("cat_0.jpeg", "cat_0.PNG"),
        ("Cat_0.jpg", "cat_0.png"),
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
    assert (image, mask) in names(folder)
    assert len(names(folder)) == 4


@pytest.mark.parametrize(
    ("part", "file", "twin"),
    [
        ("images", "cat_0.jpg", "Cat_0.jpg"),
        ("images", "cat_0.jpg", "cat_0.png"),
        ("masks", "cat_0.png", "CAT_0.png"),
        ("masks", "cat_0.png", "cat_0.tif"),
    ],
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


def test_a_missing_folder_and_jpeg_masks_are_named(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(folder / "labels"))):
        find_pairs(folder / "images", folder / "labels")
    for mask in list((folder / "masks").iterdir()):
        Image.open(mask).save(mask.with_suffix(".jpg"))
        mask.unlink()
    with pytest.raises(ValueError, match=r"cat_0\.jpg is a JPEG file.*as PNG"):
        find_pairs(folder / "images", folder / "masks")


# --- the report -----------------------------------------------------------------------------------


def test_the_report_counts_what_is_there(folder: Path) -> None:
    found = report(folder)
    assert found.problems == []
    masks = [np.asarray(draw(seed)[1]) for seed in range(4)]
    shares = np.bincount(np.stack(masks).ravel(), minlength=3) / (4 * SIZE[0] * SIZE[1])
    np.testing.assert_allclose(found.classes["pixels"], shares)
    present = [np.mean([(mask == label).any() for mask in masks]) for label in range(3)]
    np.testing.assert_allclose(found.classes["images"], present)
    assert found.classes["name"].tolist() == list(ID2LABEL.values())
    first = found.files.iloc[0].to_dict()
    assert first == {
        "image": "cat_0.jpg",
        "image_size": "24 x 18",
        "image_mode": "RGB",
        "mask": "cat_0.png",
        "mask_size": "24 x 18",
        "mask_mode": "L",
        "values": "0 1 2",
        "problem": "",
    }


def test_with_reduced_labels_the_report_counts_from_value_1(folder: Path) -> None:
    names = {0: "apple", 1: "pear"}
    found = report_pairs(find_pairs(folder / "images", folder / "masks"), names, True)
    assert found.problems == []
    masks = np.stack([np.asarray(draw(seed)[1]) for seed in range(4)])
    apples = (masks == 1).sum() / (masks > 0).sum()
    np.testing.assert_allclose(found.classes["pixels"], [apples, 1 - apples])


def edit(change: Callable[[Image.Image], Image.Image]) -> Callable[[Path], None]:
    def spoil(file: Path) -> None:
        with Image.open(file) as image:
            image.load()
            changed = change(image)
        changed.save(file)

    return spoil


def with_value(value: int) -> Callable[[Path], None]:
    def change(mask: Image.Image) -> Image.Image:
        values = np.array(mask)
        values[2, 3] = value
        return Image.fromarray(values)

    return edit(change)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


MASK_FLAWS = [
    (with_value(3), "holds the value 3, expected 0-2 or 255"),
    (with_value(254), "holds the value 254, expected 0-2 or 255"),
    (edit(lambda m: m.resize((12, 9), Image.Resampling.NEAREST)), "is 12 x 9 pixels, its pic"),
    (edit(lambda m: m.transpose(Image.Transpose.ROTATE_90)), "is 18 x 24 pixels, its image"),
    (edit(lambda m: m.convert("RGB")), "has mode RGB, expected one 8-bit channel"),
    (edit(lambda m: m.convert("RGBA")), "has mode RGBA, expected one 8-bit channel"),
    (edit(lambda m: m.point(lambda v: 255 * (v > 0), "1")), "has mode 1, expected one 8-bit"),
    (
        edit(lambda m: Image.fromarray(np.asarray(m).astype(np.uint16))),
        "has mode I;16, expected one 8-bit channel",
    ),
    (edit(lambda m: Image.new("L", m.size, 255)), "has no class in any pixel"),
    (cut, "cannot be read .* fetch it again, or remove it"),
    (lambda file: file.write_bytes(b""), "cannot be read"),
]


@pytest.mark.parametrize(("spoil", "told"), MASK_FLAWS)
def test_a_flaw_of_a_mask_is_told_and_the_rest_goes_on(
    folder: Path, spoil: Callable[[Path], None], told: str
) -> None:
    file = folder / "masks" / "cat_2.png"
    spoil(file)
    found = report(folder)
    assert len(found.files) == 4
    assert len(found.problems) == 1
    assert re.search(f"mask {re.escape(str(file))} {told}", found.problems[0])
    assert found.files["problem"].ne("").tolist() == [False, False, True, False]
    assert found.classes["pixels"].sum() == pytest.approx(1)


@pytest.mark.parametrize("spoil", [cut, lambda file: file.write_bytes(b"<html>404</html>")])
def test_an_image_that_cannot_be_read_is_told(folder: Path, spoil: Callable[[Path], None]) -> None:
    file = folder / "images" / "cat_1.jpg"
    spoil(file)
    found = report(folder)
    assert len(found.problems) == 1
    assert f"image {file} cannot be read" in found.problems[0]
    assert found.files["image_mode"].tolist() == ["RGB", "-", "RGB", "RGB"]


def test_files_without_partner_are_in_the_report(folder: Path) -> None:
    (folder / "masks" / "cat_1.png").rename(folder / "masks" / "dog_1.png")
    assert report(folder).problems == [
        f"image {folder / 'images' / 'cat_1.jpg'} has no mask of its name",
        f"mask {folder / 'masks' / 'dog_1.png'} has no image of its name",
    ]


def test_classes_that_no_mask_shows_are_named(folder: Path) -> None:
    """As where the foreground of a binary task is 255, which means "no class"."""
    for mask in (folder / "masks").iterdir():
        edit(lambda m: m.point(lambda v: 255 * (v > 0)))(mask)
    told = report_pairs(find_pairs(folder / "images", folder / "masks"), {0: "table", 1: "fruit"})
    assert told.problems == ["no mask shows fruit: there is nothing to learn it from"]
    assert told.classes["pixels"].tolist() == [1, 0]


@pytest.mark.parametrize("part", ["images", "masks", "both"])
def test_empty_folders_are_told(folder: Path, part: str) -> None:
    for file in list(folder.glob("*/*")):
        if part in (file.parent.name, "both"):
            file.unlink()
    with pytest.raises(ValueError, match="not one image has a mask of the same name"):
        report(folder)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA", "I;16", "turned"])
def test_images_of_any_mode_are_fine(folder: Path, mode: str) -> None:
    file = folder / "images" / "cat_0.jpg"
    image, _ = draw(0)
    if mode == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.transpose(Image.Transpose.ROTATE_90).save(file, exif=exif)
    else:
        file.unlink()
        file = file.with_suffix(".tif")
        if mode == "I;16":
            Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(file)
        else:
            image.convert(mode).save(file)
    found = report(folder)
    assert found.problems == []
    with Image.open(file) as stored:
        upright = to_rgb(stored)
    assert (upright.mode, upright.size) == ("RGB", SIZE)


def test_of_16_bits_the_upper_8_are_kept_and_not_cut_off() -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    sixteen = Image.fromarray(grey * 257)
    assert sixteen.mode == "I;16"
    assert (np.asarray(to_rgb(sixteen))[..., 0] == grey).all()
    # What Pillow does by itself: white, but for the darkest pixels.
    assert (np.asarray(sixteen.convert("RGB"))[1:] == 255).all()


def test_floating_point_images_are_refused(folder: Path) -> None:
    file = folder / "images" / "cat_0.tif"
    (folder / "images" / "cat_0.jpg").unlink()
    Image.fromarray(np.linspace(0, 1, SIZE[0] * SIZE[1], dtype=np.float32).reshape(18, 24)).save(
        file
    )
    (problem,) = report(folder).problems
    assert f"image {file} has mode F, expected 8 or 16 bits a channel" in problem


@pytest.mark.parametrize("mode", ["L", "P"])
def test_check_pair_accepts_255_only_where_it_means_no_class(mode: str) -> None:
    image, mask = draw(0)
    values = np.array(mask)
    values[0, 0] = 255
    mask = Image.fromarray(values)
    if mode == "P":
        mask.putpalette(list(range(256)) * 3)
    assert check_pair(image, mask, ("p", "m"), 3, reduces=False) == (image, mask)
    with pytest.raises(ValueError, match="m holds the value 255, expected 0-3"):
        check_pair(image, mask, ("p", "m"), 3, reduces=True)


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
            link = folder / part / f"{number:05}{Path(source).suffix}"
            os.link(folder / source, link)
    broken = folder / "masks" / "07777.png"
    data = broken.read_bytes()
    broken.unlink()
    broken.write_bytes(data[: len(data) // 2])
    return folder


def test_one_broken_file_of_10_000_is_found_in_seconds(
    ten_thousand: Path, record_property: Callable[[str, object], None]
) -> None:
    begin = time.perf_counter()
    found = find_pairs(ten_thousand / "images", ten_thousand / "masks")
    told = report_pairs(found, dict(enumerate(fruit.CLASSES)))
    seconds = time.perf_counter() - begin
    record_property("seconds", seconds)
    print(f"10,000 pairs looked at in {seconds:.1f} s")
    assert len(told.files) == 10_000
    (problem,) = told.problems
    assert f"mask {ten_thousand / 'masks' / '07777.png'} cannot be read" in problem
    assert seconds < 60  # some 5 s on two idle cores; the machine may be busy


# --- masks into labels ----------------------------------------------------------------------------


COLORS = {(0, 0, 0): 0, (200, 30, 30): 1, (40, 180, 60): 2}


def painted(mask: Image.Image) -> Image.Image:
    return Image.fromarray(np.array(list(COLORS), dtype=np.uint8)[np.asarray(mask)])


def test_a_palette_png_keeps_its_indices_and_convert_l_destroys_them() -> None:
    _, mask = draw(0)
    palette = mask.copy()
    palette.putpalette([band for color in COLORS for band in color])
    assert palette.mode == "P"
    assert (np.asarray(labels_from_values(palette)) == np.asarray(mask)).all()
    assert (np.asarray(palette.convert("L")) != np.asarray(mask)).any()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colors_become_labels(mode: str) -> None:
    _, mask = draw(1)
    coded = painted(mask)
    # Where a tool sorts its palette in another way, the indices say nothing, and the colours do.
    coded = coded.quantize(8) if mode == "P" else coded.convert(mode)
    labels = labels_from_colors(coded, COLORS)
    assert labels.mode == "L"
    assert (np.asarray(labels) == np.asarray(mask)).all()


def test_an_unknown_color_is_named_or_becomes_the_label_asked_for(tmp_path: Path) -> None:
    coded = painted(draw(1)[1])
    coded.putpixel((5, 7), (1, 2, 3))
    coded.save(tmp_path / "coded.png")
    with Image.open(tmp_path / "coded.png") as mask:
        with pytest.raises(ValueError, match=r"coded\.png holds the colour \(1, 2, 3\) in 1 pixel"):
            labels_from_colors(mask, COLORS)
        labels = np.asarray(labels_from_colors(mask, COLORS, unknown=255))
    assert labels[7, 5] == 255
    assert (labels == 255).sum() == 1


def test_jpeg_masks_are_told_by_their_many_colors(tmp_path: Path) -> None:
    painted(draw(1)[1]).save(tmp_path / "coded.jpg")
    with (
        Image.open(tmp_path / "coded.jpg") as mask,
        pytest.raises(ValueError, match=r"\d+ such colours.*JPEG compression"),
    ):
        labels_from_colors(mask, COLORS)


@pytest.mark.parametrize(
    "stored",
    [
        lambda v: Image.fromarray(v.astype(np.uint8)),
        lambda v: Image.fromarray(v.astype(np.uint16)),
        lambda v: Image.fromarray(v.astype(np.int32)),
        lambda v: Image.fromarray(v.astype(np.uint8)).convert("RGB"),
        lambda v: Image.fromarray(v.astype(np.uint8)).convert("RGBA"),
        lambda v: Image.fromarray(v.astype(np.uint8)).convert("LA"),
    ],
    ids=["L", "I;16", "I", "RGB", "RGBA", "LA"],
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
    assert np.asarray(labels_from_values(wide, {0: 0, 1000: 1, 40_000: 2})).tolist() == [
        [0, 1],
        [2, 1],
    ]
    bits = Image.fromarray(np.array([[False, True]]))
    assert bits.mode == "1"
    assert np.asarray(labels_from_values(bits)).tolist() == [[0, 1]]


def test_a_value_without_label_is_named() -> None:
    mask = Image.fromarray(np.array([[0, 255], [128, 255]], dtype=np.uint8))
    with pytest.raises(ValueError, match="holds the value 128 in 1 pixels, expected 0, 255"):
        labels_from_values(mask, {0: 0, 255: 1})
    wide = Image.fromarray(np.array([[0, 256]], dtype=np.uint16))
    with pytest.raises(ValueError, match="holds the value 256 in 1 pixels, expected 0-255"):
        labels_from_values(wide)
    with pytest.raises(ValueError, match=r"in colour \(mode RGB\).*labels_from_colors"):
        labels_from_values(painted(draw(0)[1]))
