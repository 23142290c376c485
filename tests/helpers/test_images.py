"""Files become upright RGB images or masks of whole numbers, or an error names what is wrong."""

import io
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from samples import STORED, draw_blocks, encoded, png_file, save_turned, tiff_file

from helpers.images import FileFault, load_image, load_mask, orientation, size_of

VALUES = np.arange(48, dtype=np.uint8).reshape(6, 8)
SHADES = np.arange(256, dtype=np.uint8).reshape(16, 16)
few = settings(max_examples=40, deadline=None)


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


SIXTEEN = Image.fromarray(SHADES.astype(np.uint16) * 256 + 7)
FLOATS = Image.fromarray((SHADES / 255).astype(np.float32))


@pytest.mark.parametrize(
    "content",
    [encoded(SIXTEEN, kind) for kind in ("PNG", "TIFF", "PPM")] + [encoded(FLOATS, "TIFF")],
)
def test_of_16_bits_the_upper_8_are_kept_and_floats_from_0_to_1_are_scaled(content: bytes) -> None:
    """Pillow's own conversion makes all above 255 of 65,535 white."""
    assert (np.asarray(load_image(content)) == SHADES[..., None]).all()


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (VALUES.astype(np.float32) / 47 - 0.5, "mode F and values from -0.5 to 0.5"),
        (np.full((2, 2), np.nan, dtype=np.float32), "mode F and values from nan to nan"),
        (VALUES.astype(np.int32), "mode I and values from 0 to 47"),  # 8, 12 or 16 bits in 32?
    ],
    ids=["floats", "nan", "int32"],
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


def test_a_tiff_file_with_white_as_zero_is_no_negative() -> None:
    shades = SHADES[..., None].astype(int)
    for bits, photometric in ((8, 0), (12, 1), (16, 0)):
        content = tiff_file((255 - shades) << bits - 8, bits, photometric)
        assert (np.asarray(load_image(content)) == (255 - shades if photometric else shades)).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_a_fourth_band_leaves_the_colors_as_they_are(bits: int) -> None:
    """Near infrared is often called premultiplied alpha, by which Pillow divides the colors."""
    samples = np.random.default_rng(0).integers(20, 256, (6, 8, 5)) << bits - 8
    for extra in ([1], [1, 0]) if bits == 8 else ([1],):
        stored = tiff_file(samples[..., : 3 + len(extra)], bits, 2, extra)
        assert (np.asarray(load_image(stored)) == samples[..., :3] >> bits - 8).all()


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
    expected = VALUES if note >= 5 else np.asarray(stored)  # of 2, 3 and 4 no size can tell
    assert (load_mask(encoded(stored), image) == expected).all()
    for _ in range(2):  # and what the caller has opened stays as it was
        assert (load_mask(stored, image) == expected).all()
    assert (np.asarray(stored) == np.asarray(STORED[note](upright))).all()
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


def _with_palette(mask: Image.Image) -> Image.Image:
    mask.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    return mask


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16", "I", "F"])
def test_a_mask_of_any_mode_gives_the_numbers_that_it_stores(mode: str) -> None:
    expected = {"1": VALUES > 20, "F": VALUES.astype(np.float32) - 3}
    expected |= {"I;16": VALUES.astype(np.uint16) * 1000, "I": VALUES.astype(np.int32) * -100_000}
    mask = Image.fromarray(expected.get(mode, VALUES))
    mask = _with_palette(mask) if mode == "P" else mask.convert(mode)
    values = load_mask(encoded(mask, "TIFF" if mode in ("I", "F") else "PNG"))
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


GREY = VALUES[..., None] % 4
COLOR = np.repeat(GREY, 3, axis=-1)


@pytest.mark.parametrize("bits", [2, 4])
def test_of_few_bits_the_samples_count_and_of_colors_what_is_seen(bits: int) -> None:
    scale = 255 // (2**bits - 1)
    for content in (png_file(GREY, bits), tiff_file(GREY, bits, photometric=1)):
        assert (load_mask(content) == GREY[..., 0]).all()
        assert (load_mask(content, in_colors=True) == GREY * scale).all()
        opened = Image.open(io.BytesIO(content))
        assert all((load_mask(opened) == GREY[..., 0]).all() for _ in range(2))


@pytest.mark.parametrize("highest", [3, 100, 255, 1000, 65535])
def test_a_netpbm_mask_gives_its_samples_whatever_white_is(highest: int) -> None:
    as_text = " ".join(map(str, GREY.ravel())).encode()
    as_bytes = GREY.astype(">u2" if highest > 255 else "u1").tobytes()
    for kind, samples in (("P2", as_text), ("P5", as_bytes)):
        assert (load_mask(f"{kind} 8 6 {highest}\n".encode() + samples) == GREY[..., 0]).all()


def with_palette(greys: list[int], more: tuple[int, ...] = ()) -> Image.Image:
    mask = Image.fromarray(VALUES % 4)
    mask.putpalette([value for grey in greys for value in (grey,) * 3] + [*more])
    return mask


def test_a_palette_of_greys_is_refused_where_it_is_ambiguous() -> None:
    for greys, more in [([0, 2, 3, 4], ()), ([255, 170, 85, 0], ()), ([0, 2, 3, 4], (255, 0, 0))]:
        for kind in ("PNG", "TIFF", "BMP"):
            mask = encoded(with_palette(greys, more), kind)
            with pytest.raises(FileFault, match=r"index .* grey .* be told: .*--colors FILE"):
                load_mask(mask)
            expected = np.array(greys)[GREY]
            assert (load_mask(mask, in_colors=True) == expected).all()
    same, black = with_palette([0, 1, 2, 3]), with_palette([0, 0, 0, 0])
    car = _with_palette(Image.fromarray(VALUES % 2 * 7))  # a color map, whose used colors are grey
    palette = car.getpalette()
    palette[:3], palette[21:24] = [0] * 3, [128] * 3
    car.putpalette(palette)
    for mask in (same, black, car):
        assert (load_mask(encoded(mask)) == np.asarray(mask)).all()


def test_of_a_gif_file_the_colors_count() -> None:
    for greys in ([0, 2, 3, 4], [0, 1, 2, 255], [0, 255, 0, 255]):
        drawn = np.array(greys, dtype=np.uint8)[GREY[..., 0]]
        assert (load_mask(encoded(Image.fromarray(drawn), "GIF")) == drawn).all()
    mask = _with_palette(Image.fromarray(VALUES))
    assert (load_mask(encoded(mask, "GIF")) == np.asarray(mask.convert("RGB"))).all()


def lossy(kind: str, **options: Any) -> bytes:
    return encoded(draw_blocks(1)[1].convert("RGB"), kind, **options)


TRANSPARENT = np.concatenate([COLOR * 0, GREY], axis=-1)
HIDDEN = np.concatenate([COLOR, 255 * (VALUES[..., None] > 20)], axis=-1)
FIVE_BITS = b"BM" + struct.pack("<IIIIiiHHIIiiII", 66, 0, 54, 40, 3, 2, 1, 16, 0, 12, 0, 0, 0, 0)
FIVE_BITS += b"\1\0\2\0\3\0\0\0" * 2  # each row is filled up to a multiple of four bytes
ALTERED = {
    "JPEG": (lossy("JPEG"), "is stored as JPEG, which may change .* again, as PNG"),
    "WebP": (lossy("WEBP"), "is stored as WEBP, which may"),
    "AVIF": (lossy("AVIF"), "is stored as AVIF, which may"),
    "TIFF": (lossy("TIFF", compression="jpeg"), r"is stored as TIFF \(JPEG\), which may"),
    "16 bits": (png_file(COLOR, 16), "stores 16 bits a channel, .* 8 bits a channel"),
    "16 bits in PPM": (b"P6 8 6 999\n" + COLOR.astype(">u2").tobytes(), "stores 16 bits a"),
    "5 bits in BMP": (FIVE_BITS, "stores 5 bits a channel"),
    "one class in alpha": (png_file(TRANSPARENT[:, 1:2], 8), "tells pixels of one color apart"),
    "grey and alpha": (png_file(TRANSPARENT[..., 2:], 8), "tells pixels of one color apart"),
    "erased": (png_file(HIDDEN, 8), "tells pixels of one color apart by its alpha channel"),
    "white is 0": (tiff_file(GREY, 8, photometric=0), r"stores white as 0 \(tag 262"),
}


@pytest.mark.parametrize("case", ALTERED)
def test_numbers_that_may_not_be_those_that_were_drawn_are_refused(case: str) -> None:
    content, told = ALTERED[case]
    for in_colors in (False, True):
        with pytest.raises(FileFault, match=f"^mask 7 {told}") as error:
            load_mask(content, name="mask 7", in_colors=in_colors)
        fault = pickle.loads(pickle.dumps(error.value))
        assert (fault.name, str(fault)) == ("mask 7", f"mask 7 {fault.cause}: {fault.remedy}")
    load_image(content)


def test_lossless_webp_and_alpha_that_repeats_the_colors_are_read() -> None:
    more = {"lossless": True, "icc_profile": b"profile", "exif": Image.Exif()}
    assert (load_mask(encoded(Image.fromarray(COLOR), "WEBP", **more)) == GREY[..., 0]).all()
    repeated = np.concatenate([COLOR, 255 * (GREY > 0)], axis=-1)
    assert (load_mask(png_file(repeated, 8)) == GREY[..., 0]).all()


@st.composite
def files(draw: Callable) -> tuple[bytes, np.ndarray, int]:
    """A file, what it stores (height, width, bands) upright, and its number of bits."""
    note, kind = draw(st.sampled_from([*STORED])), draw(st.sampled_from(["PNG", "palette", "TIFF"]))
    bits = draw(st.sampled_from([1, 2, 4, 8, 16] if kind == "PNG" else [1, 2, 4, 8]))
    bits = draw(st.sampled_from([1, 2, 4, 8, 12, 16, 64])) if kind == "TIFF" else bits
    bands = draw(st.integers(1, 4 if bits >= 8 and kind == "PNG" else 1))
    bands = draw(st.integers(1, 7)) if kind == "TIFF" else bands
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    most = min(2 ** min(bits, 16), draw(st.sampled_from([2, 4, 65536])))
    upright = rng.integers(0, most, (5, 7, bands))
    if draw(st.booleans()):
        upright[...] = upright[..., :1]  # grey as color, and alpha that says the same
    stored = [STORED[note](Image.fromarray(upright[..., k].astype(np.int32))) for k in range(bands)]
    samples = np.stack([np.asarray(band) for band in stored], axis=-1)
    if kind == "TIFF":
        extra = [draw(st.integers(0, 2)), *[0] * 9][: bands - 3 if bands > 3 else bands - 1]
        photometric = draw(st.integers(0, 1)) if bands < 3 else draw(st.integers(1, 2))
        tags = {"t284": draw(st.integers(1, 2)), "t259": draw(st.sampled_from([1, 8]))}
        return tiff_file(samples, bits, photometric, extra, t274=note, **tags), upright, bits
    colors = draw(st.sampled_from([1, 3]))  # greys, or any
    palette = np.repeat(rng.integers(0, 256, (2 ** min(bits, 8), colors)), 3 // colors, axis=1)
    palette = palette.ravel().tolist() if kind == "palette" else ()
    return png_file(samples, bits, palette, note), upright, bits


def loaded(load: Callable, content: bytes) -> np.ndarray | None:
    try:
        return np.asarray(load(content))
    except FileFault as fault:
        told = str(fault)
    assert "damaged" not in told  # the file is sound


@given(file=files())
@settings(max_examples=400, deadline=None)
def test_a_file_of_any_mode_bits_turn_and_palette_is_right_or_refused(file: tuple) -> None:
    content, stored, bits = file
    if (found := loaded(load_mask, content)) is not None:
        expected = stored[..., :3] if found.ndim == 3 else stored[..., 0]
        white_is_0 = content.startswith(b"II") and bits == 1  # TIFF
        assert (found == expected).all() or (white_is_0 and (found == 1 - expected).all())
    if (found := loaded(load_image, content)) is None:
        return
    opened = Image.open(io.BytesIO(content))
    tags, white = getattr(opened, "tag_v2", {}), 2**bits - 1
    if opened.mode == "P":
        expected = np.reshape(opened.getpalette(), (-1, 3))[stored[..., 0]]
    else:
        expected = stored >> bits - 8 if bits > 8 else stored * 255 // white
        expected = expected[..., : 3 if stored.shape[-1] > 2 else 1]
        expected = 255 - expected if tags.get(262) == 0 else expected
    assert (found == expected).all()
