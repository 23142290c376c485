"""A file that is no image, or a damaged one, is named with what is wrong and what to do."""

import contextlib
import io
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from samples import draw_blocks, encoded, tiff_file

from helpers.images import FileFault, load_image, load_mask, size_of
from helpers.profiles import get_profile

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8, 1)


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
        (garbled_note, "damaged or incomplete"),
    ],
    ids=["cut", "text", "note"],
)
def test_a_damaged_file_is_named(tmp_path: Path, load: Callable, damage: Callable, told: str):
    file = tmp_path / "broken.png"
    file.write_bytes(damage(encoded(draw_blocks(1, (300, 200))[0])))
    with pytest.raises(ValueError, match=f"cannot be read as an image.*{told}") as error:
        load(file)
    assert str(file) in str(error.value)


WHOLE = encoded(draw_blocks(1)[0])
BANDS = np.repeat(GREY, 13, axis=-1)


@pytest.mark.parametrize(
    ("name", "content", "cause", "remedy"),
    [
        ("a.npy", b"\x93NUMPY", "array", r"numpy\.load\(FILE\)"),
        ("a.NII.GZ", b"\x1f\x8b", "array", r"nibabel\.load"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "array", r"h5py\.File"),  # Pillow knows it by name alone
        ("a.xml", b"<annotation>", "outlines, .* no pixels", "scripts.prepare.*--format coco"),
        ("a.heic", b"\0\0\0\x1cftypheic", "HEIC file", "PNG or JPEG"),
        ("a.png", WHOLE.replace(b"\r\n", b"\n"), "PNG file whose line ends .* git", "original"),
        ("a.png", WHOLE.replace(b"\n", b"\r\n"), "PNG file whose line ends .* git", "original"),
        ("a.jpg", b"version https://git-lfs.github.com/spec/v1\n", "git LFS", "git lfs pull"),
        ("a.jpg", b"<!DOCTYPE html>", "page of the web", "download"),
        ("a.tif", tiff_file(BANDS, 16, 1), r"\(13, of 16 bits", "gdal_translate.*notebook 07"),
        ("a.tif", tiff_file(BANDS[..., :3], 8, 1), r"\(3, of 8 bits", "gdal_translate"),
        ("a.tif", tiff_file(BANDS[..., :3], 16, 2, t284=2), r"\(3, of 16 bits", "gdal_translate"),
        ("a.tif", tiff_file(BANDS, 16, 1, [0] * 12, t284=2, t259=8), r"\(13, of 16", "notebook 07"),
        ("a.tif", tiff_file(BANDS[..., :1], 64, 1, t339=3), r"\(1, of 64 bits", "gdal_translate"),
        ("a.tif", tiff_file(GREY, 8, 1, t259=34887), "TIFF compression 34887", "gdal_translate"),
    ],
)
@pytest.mark.parametrize("load", [load_image, load_mask])
def test_what_lies_in_place_of_an_image_is_named_with_a_way_out(
    tmp_path: Path, load: Callable, name: str, content: bytes, cause: str, remedy: str, capfd: Any
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFault, match=re.escape(str(tmp_path / name))) as error:
        load(tmp_path / name)
    assert re.search(f"cannot be read as an image: it .*{cause}", error.value.cause)
    assert re.search(remedy, error.value.remedy)
    assert "damaged" not in str(error.value)
    assert capfd.readouterr().err == ""  # nor does Pillow print anything


@pytest.mark.filterwarnings("ignore")  # it does warn of what is refused
def test_a_size_that_is_read_anyway_is_read_without_a_warning(monkeypatch) -> None:
    content = encoded(Image.new("1", (10_000, 10_000)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_mask(content).shape == (10_000, 10_000)
    with pytest.raises(FileFault, match=r"is larger than Pillow reads by itself .*cut it"):
        size_of(encoded(Image.new("1", (20_000, 9_000))))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # the way out
    assert size_of(encoded(Image.new("1", (20_000, 9_000)))) == (20_000, 9_000)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_flipped_byte_is_told_or_harmless(kind: str) -> None:
    whole = encoded(draw_blocks(2)[0], kind)
    for position in range(0, len(whole), 7):
        content = bytearray(whole)
        content[position] ^= 1 + position % 255
        for load in (load_image, load_mask):
            with contextlib.suppress(FileFault):
                load(bytes(content), name="this one")


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
