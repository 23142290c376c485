"""Files become upright RGB images or masks of whole numbers, or an error names what is wrong."""

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from samples import STORED, draw_blocks, save_turned

from helpers.images import is_turned, load_image, load_mask, orientation, size_of
from helpers.profiles import get_profile

VALUES = np.arange(48, dtype=np.uint8).reshape(6, 8)
few = settings(max_examples=40, deadline=None)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(image: Image.Image, note: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    exact = {"lossless": True} if kind == "WEBP" else {}
    save_turned(image, buffer, note, format=kind, **exact)
    return buffer.getvalue()


# --- images ---------------------------------------------------------------------------------------


def test_a_source_is_a_path_bytes_a_cell_or_an_image(tmp_path: Path) -> None:
    image, file = draw_blocks(1)[0], tmp_path / "image.png"
    image.save(file)
    content = file.read_bytes()
    cells = [{"path": None, "bytes": content}, {"path": str(file), "bytes": None}]
    for source in (file, str(file), content, *cells, Image.open(file)):
        found = load_image(source)
        assert found.mode == "RGB"
        assert (np.asarray(found) == np.asarray(image)).all()
        assert (load_mask(source) == np.asarray(image)).all()
    file.unlink()  # on Windows it could not be removed if it were still open


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_an_image_of_any_mode_becomes_rgb(mode: str) -> None:
    grey = Image.fromarray(VALUES * 5)
    source = grey.convert("RGB").convert("P" if mode == "PA" else mode) if mode != "LA" else grey
    source = source.convert(mode)
    found = load_image(source)
    assert (found.mode, found.size) == ("RGB", (8, 6))
    assert (np.asarray(found) == np.asarray(source.convert("RGB"))).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_of_16_bits_the_upper_8_are_kept(kind: str) -> None:
    """Pillow's own conversion makes all above 255 of 65,535 white."""
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    content = encoded(Image.fromarray(grey * 256 + 7), kind)
    assert (np.asarray(load_image(content)) == grey[..., None]).all()
    if kind == "PNG":
        stored = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        assert (stored[1:] == 255).all()


def test_floats_from_0_to_1_are_scaled() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    content = encoded(Image.fromarray((grey / 255).astype(np.float32)), "TIFF")
    assert (np.asarray(load_image(content)) == grey[..., None]).all()


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (VALUES.astype(np.float32), "mode F and values from 0 to 47"),
        (VALUES.astype(np.float32) / 47 - 0.5, "mode F and values from -0.5 to 0.5"),
        (np.full((2, 2), np.nan, dtype=np.float32), "mode F and values from nan to nan"),
        (VALUES.astype(np.int32), "mode I and values from 0 to 47"),  # 8, 12 or 16 bits in 32?
        (VALUES.astype(np.int32) * 100_000, r"mode I and values from 0 to 4\.7e\+06"),
    ],
    ids=["0-47", "-0.5-0.5", "nan", "int32", "large"],
)
def test_an_image_whose_white_is_not_known_is_refused(values: np.ndarray, found: str) -> None:
    content = encoded(Image.fromarray(values), "TIFF")
    with pytest.raises(ValueError, match=f"image here has {found}: which number is white"):
        load_image(content, "image here")


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG"])
def test_of_several_pages_images_have_the_first_and_masks_are_refused(kind: str) -> None:
    pages = [Image.new("L", (4, 3), value) for value in (10, 90)]
    content = encoded(pages[0], kind, save_all=True, append_images=pages[1:])
    assert load_image(content).getpixel((0, 0)) == (10, 10, 10)
    with pytest.raises(ValueError, match="mask here has 2 pages or frames, expected one"):
        load_mask(content, name="mask here")
    assert load_mask(encoded(pages[0], kind)).shape == (3, 4)


# --- orientation ----------------------------------------------------------------------------------


@given(note=st.sampled_from([*STORED]), kind=st.sampled_from(["PNG", "TIFF", "WEBP"]))
@few
def test_images_and_masks_with_a_note_of_their_own_come_upright(note: int, kind: str) -> None:
    upright = Image.fromarray(VALUES).convert("RGB" if kind == "WEBP" else "L")
    content = turned(upright, note, kind)
    assert size_of(content) == upright.size
    assert orientation(content) == note
    assert (np.asarray(load_image(content)) == VALUES[..., None]).all()
    assert (load_mask(content) == VALUES).all()
    # Its own note counts, whatever its image's says.
    other = turned(Image.new("RGB", upright.size), 9 - note, "JPEG")
    assert (load_mask(content, other) == load_mask(content)).all()


@given(note=st.sampled_from([*STORED]), kind=st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP"]))
@few
def test_a_mask_without_note_is_turned_where_its_size_is_that_of_the_stored_image(
    note: int, kind: str
) -> None:
    upright = Image.fromarray(VALUES)
    image = turned(Image.new("RGB", upright.size), note, kind)
    assert (load_mask(upright, image) == VALUES).all()
    stored = STORED[note](upright)
    before = stored.copy()
    expected = VALUES if note >= 5 else np.asarray(stored)  # of 2, 3 and 4 no size can tell
    assert (load_mask(encoded(stored), image) == expected).all()
    assert is_turned(stored, image) == (note >= 5)
    for _ in range(2):  # and what the caller has opened stays as it was
        assert (load_mask(stored, image) == expected).all()
    assert (np.asarray(stored) == np.asarray(before)).all()
    assert orientation(stored) == 1


def test_a_square_mask_and_one_of_another_size_are_left_alone() -> None:
    for size in [(6, 6), (5, 4)]:
        mask = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[::-1])
        image = turned(Image.new("RGB", (6, 6) if size == (6, 6) else (8, 6)), 6, "JPEG")
        assert (load_mask(encoded(Image.fromarray(mask)), image) == mask).all()


@pytest.mark.parametrize("note", [0, 9])
def test_a_note_that_means_nothing_is_passed_over(note: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = note
    content = encoded(Image.fromarray(VALUES), exif=exif)
    assert orientation(content) == 1
    assert (load_mask(content) == VALUES).all()
    assert load_image(content).size == (8, 6)


# --- masks ----------------------------------------------------------------------------------------

HOLDS = {
    "1": lambda v: Image.fromarray(v > 20),
    "L": Image.fromarray,
    "P": lambda v: _with_palette(Image.fromarray(v)),
    "LA": lambda v: Image.fromarray(v).convert("LA"),
    "RGB": lambda v: Image.fromarray(v).convert("RGB"),
    "RGBA": lambda v: Image.fromarray(v).convert("RGBA"),
    "I;16": lambda v: Image.fromarray(v.astype(np.uint16) * 1000),
    "I": lambda v: Image.fromarray(v.astype(np.int32) * 100_000 - 1),
    "F": lambda v: Image.fromarray(v.astype(np.float32) - 3),
}


def _with_palette(mask: Image.Image) -> Image.Image:
    mask.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    return mask


@pytest.mark.parametrize("mode", HOLDS)
def test_a_mask_of_any_mode_gives_the_numbers_that_it_stores(mode: str) -> None:
    expected = {"1": VALUES > 20, "I;16": VALUES * 1000.0, "I": VALUES * 100_000.0 - 1}
    expected |= {"F": VALUES - 3.0}
    values = load_mask(encoded(HOLDS[mode](VALUES), "TIFF" if mode in ("I", "F") else "PNG"))
    assert values.dtype.kind in "uib"
    assert (values == expected.get(mode, VALUES)).all()


@pytest.mark.parametrize("wrong", [0.5, float("nan"), 3e9])
def test_a_mask_with_a_number_that_is_not_whole_is_refused(wrong: float) -> None:
    values = VALUES.astype(np.float32)
    values[2, 3] = wrong
    with pytest.raises(ValueError, match=re.escape(f"holds the number {wrong:g}, expected whole")):
        load_mask(encoded(Image.fromarray(values), "TIFF"))


def test_colors_come_as_colors_and_whatever_means_none_is_refused() -> None:
    grey, colored = Image.fromarray(VALUES), np.stack([VALUES, VALUES, 47 - VALUES], axis=-1)
    assert (load_mask(encoded(Image.fromarray(colored))) == colored).all()
    indexed = _with_palette(grey.copy())
    for mask in (grey, indexed, indexed.convert("RGBA")):
        expected = np.asarray(mask.convert("RGB"))
        assert (load_mask(encoded(mask), in_colors=True) == expected).all()
    for mode in ("CMYK", "YCbCr", "HSV"):
        for in_colors in (False, True):
            with pytest.raises(ValueError, match=f"has mode {mode}, expected .*colors"):
                load_mask(Image.new(mode, (2, 2)), in_colors=in_colors)
    for mode in ("I;16", "F"):  # `convert` would make all above 255 white
        with pytest.raises(ValueError, match=f"has mode {mode}, expected colors"):
            load_mask(Image.new(mode, (2, 2)), in_colors=True)


# --- what cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize("load", [load_image, load_mask])
def test_what_is_not_there_is_named(tmp_path: Path, load: Callable) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.jpg"):
        load(tmp_path / "nowhere.jpg")
    for cell in (None, {"path": None, "bytes": None}):
        with pytest.raises(ValueError, match="mask 7 is missing: each image needs its mask"):
            load(cell, name="mask 7")
    with pytest.raises(ValueError, match=r"lost\.png cannot be read as an image"):
        load({"path": "lost.png", "bytes": b""})
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "pipe.png")


def garbled_note(image: bytes) -> bytes:
    return encoded(Image.open(io.BytesIO(image)), exif=b"Exif\0\0neither II nor MM")


@pytest.mark.parametrize("load", [load_image, load_mask])
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda whole: whole[: len(whole) // 2], "damaged or incomplete"),
        (lambda whole: b"no image at all", "in no format that Pillow knows, or damaged"),
        (lambda whole: b"", "in no format that Pillow knows, or damaged"),
        (garbled_note, "damaged or incomplete"),
    ],
    ids=["cut", "text", "empty", "note"],
)
def test_a_damaged_file_is_named(tmp_path: Path, load: Callable, damage: Callable, told: str):
    file = tmp_path / "broken.png"
    file.write_bytes(damage(encoded(draw_blocks(1, (300, 200))[0])))
    with pytest.raises(ValueError, match=f"cannot be read as an image.*{told}") as error:
        load(file)
    assert str(file) in str(error.value)


@given(
    position=st.integers(0, 10**6), flip=st.integers(1, 255), kind=st.sampled_from([".png", ".jpg"])
)
@few
def test_a_flipped_byte_is_told_or_harmless(position: int, flip: int, kind: str) -> None:
    content = bytearray(encoded(draw_blocks(2)[0], {".png": "PNG", ".jpg": "JPEG"}[kind]))
    content[position % len(content)] ^= flip
    for load in (load_image, load_mask):
        told = ""
        try:
            load(bytes(content), name="this one")
        except ValueError as error:
            told = str(error)
        assert not told or "this one" in told


@pytest.mark.parametrize("load", [load_image, load_mask])
def test_a_huge_image_is_told_apart_from_a_damaged_one(
    tmp_path: Path, load: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_blocks(1, (300, 200))[0].save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses twice as many
    with pytest.raises(ValueError, match=r"huge\.png is larger than .*MAX_IMAGE_PIXELS = None"):
        load(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    load(tmp_path / "huge.png")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="Windows has no such permissions")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    file = tmp_path / "secret.png"
    draw_blocks(1)[0].save(file)
    file.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # who may read all
            os.seteuid(65534)
        with pytest.raises(ValueError, match=r"secret\.png cannot be read: .* permission"):
            load_image(file)
    finally:
        os.seteuid(user)


def test_an_image_on_the_hub_without_a_network() -> None:
    with pytest.raises(ConnectionError, match='use profile "tiny"'):
        load_image(get_profile("sample").street_image)
