"""A file becomes an upright RGB image, or a mask of whole numbers: one reading for everybody.

A source is a path, hf://datasets/OWNER/NAME/PATH for a file of a data set on the Hub, the bytes of
a file, an undecoded cell `{"path": ..., "bytes": ...}` of a `datasets.Image` column, or an image
that Pillow has opened.
"""

from __future__ import annotations

import io
import math
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from helpers.faults import FileFault, explained_damage, unread_bands
from helpers.hub import explained

Source = str | Path | bytes | Mapping[str, Any] | Image.Image

# Pillow may lack a decoder (.heic): then the image is reported, not silently left out.
SUFFIXES = {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
SUFFIXES |= {".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
"""Endings of the files that count as images, in lower case."""

_HUB = "hf://datasets/"
_ORIENTATION = 0x0112  # EXIF tag: how the camera was held; 1 is upright
_BITS, _PHOTOMETRIC, _BANDS, _PLANES = 258, 262, 277, 284  # TIFF tags
_LYING = range(5, 9)  # values of that tag: the image lies on its side
_SIXTEEN_BITS = {"PNG", "PPM"}  # formats of which Pillow may read 16 bits into mode I, of 32
_HIGHEST = "highest sample"  # what we note in `Image.info`
_COLORS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")  # modes that are seen as RGB
_LOSSY = ("AVIF", "HEIF", "JPEG", "JPEG2000", "MPO", "TIFF (JPEG)")  # or they can be

# Pillow reads twice as many pixels as this says, and above it warns of an attack. An orthophoto is
# none, so what is read anyway is read without a warning.
if Image.MAX_IMAGE_PIXELS == 89_478_485:
    Image.MAX_IMAGE_PIXELS *= 2


def load_image(source: Source, name: str | None = None) -> Image.Image:
    """Read an image as the models expect it: RGB, upright as its EXIF note says.

    ADE20K holds some greyscale images, on which the image processor raises, and photographs from
    phones are often stored lying on their side. Of 16 bits a channel the upper 8 are kept, and
    floating-point numbers from 0 to 1 are scaled to 0-255. Alpha is left out, and so is what a TIFF
    file calls premultiplied alpha, often near infrared: colors are those that are stored.

    Args:
        source: see this module's first lines.
        name: what messages call it; None: its path.

    Raises:
        FileNotFoundError: there is no such file.
        FileFault: it is no image, a damaged one or one of more bands, or its white is not known.
        ConnectionError: the file is on the Hub, and the Hub cannot be reached.
    """
    name = name or name_of(source, "image")
    opened = header(source, name)
    _decode(opened, name)
    with explained_damage(name):
        image = ImageOps.exif_transpose(opened)
    if image.mode == "La":
        image = image.getchannel("L")
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image, opened, name)
    return image if image.mode == "RGB" else image.convert("RGB")


def load_mask(
    source: Source,
    image: Source | None = None,
    name: str | None = None,
    in_colors: bool = False,
) -> np.ndarray:
    """Read a mask as the whole numbers that it stores; of a palette PNG these are the indices.

    Of 2 or 4 bits a pixel, and of a PGM file with a white other than 255, these are the samples,
    which viewers scale. Of a GIF file the colors count: programs renumber its palette.

    Args:
        source, name: as of `load_image`.
        image: the source of its image. Cameras note how they were held, and a mask may have been
            drawn on the pixels as they are stored: where its size is that of the stored image and
            not that of the upright one, it is turned as its image is. A mask with a note of its
            own is turned by that one.
        in_colors: the colors are wanted: of a palette PNG and of grey ones as well.

    Returns:
        (height, width) bool, uint8, uint16 or int32; or (height, width, 3) uint8 RGB of a mask in
        colors, which only `helpers.custom.labels_from_colors` takes.

    Raises:
        FileFault: as `load_image`, or it has several pages, or holds numbers that are not whole or
            may not be those that were drawn: lossy formats, 16 bits in colors, classes in the alpha
            channel, a palette of greys, white stored as 0.
    """
    name = name or name_of(source, "mask")
    mask = header(source, name)
    if _HIGHEST not in mask.info:  # when it is decoded, Pillow forgets
        mask.info[_HIGHEST] = _highest_sample(mask, name)
    _decode(mask, name)
    if (pages := getattr(mask, "n_frames", 1)) > 1:
        raise FileFault(name, f"has {pages} pages or frames, expected one", "save each as a file")
    by_colors = in_colors or (mask.format == "GIF" and mask.mode == "P")
    if mask.mode in ("LA", "PA", "RGBA"):
        _refuse_classes_in_alpha(mask, name)
    if mask.mode in ("P", "PA") and not by_colors:
        _refuse_palette_of_greys(mask, name)
    if image is not None and orientation(mask) == 1 and orientation(image) in _LYING:
        width, height = size_of(image)
        if mask.size == (height, width) != (width, height):
            mask = mask.copy()  # what the caller has opened stays as it is
            mask.getexif()[_ORIENTATION] = orientation(image)
    mask = ImageOps.exif_transpose(mask)
    has_numbers = mask.mode == "F" or mask.mode.startswith("I")
    if mask.mode not in _COLORS and (in_colors or not has_numbers):
        numbers = "" if in_colors else "whole numbers (mode L, P, 1 or I;16) or "
        cause = f"has mode {mask.mode}, expected {numbers}colors (RGB)"
        raise FileFault(name, cause, "save it again as PNG")
    values = np.asarray(mask.convert("RGB") if by_colors else mask)
    if in_colors:
        return values
    if mask.mode == "F":
        return _whole_numbers(values, name)
    if values.ndim == 3:
        has_colors = mask.mode in ("P", "RGB", "RGBA")
        if has_colors and (values[..., :3] != values[..., :1]).any():
            return values[..., :3]
        values = values[..., 0]  # grey stored as color, or without its alpha channel
    if highest := mask.info.get(_HIGHEST):
        scale = highest / (65535 if mask.mode == "I" else 255)
        values = np.rint(values * scale).astype(values.dtype)
    return values


def size_of(source: Source) -> tuple[int, int]:
    """(width, height) of an image when it is upright, read from the beginning of its file."""
    opened = header(source)
    # Of a TIFF file, Pillow gives the size that it has when it is upright.
    lies = orientation(opened) in _LYING and opened.format != "TIFF"
    return opened.size[::-1] if lies else opened.size


def orientation(source: Source) -> int:
    """The EXIF note of how the camera was held, 1 to 8: 1 is upright, 5 to 8 lie on their side."""
    found = header(source).getexif().get(_ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def name_of(source: Source, kind: str) -> str:
    """What messages call a source: its kind, and its path where it has one."""
    if isinstance(source, Mapping):
        source = source.get("path") or ""
    if isinstance(source, Image.Image):
        source = getattr(source, "filename", "")
    path = "" if isinstance(source, bytes) else str(source)
    return f"{kind} {path}".rstrip()


def name_key(name: str) -> str:
    """What makes two names equal, whatever their case and whoever wrote their accents."""
    # macOS writes é as e and an accent, most others as one letter.
    return unicodedata.normalize("NFC", name).casefold()


def header(source: Source, name: str | None = None) -> Image.Image:
    """The opened image, with its size, mode and notes, or what `load_image` raises; its pixels are
    decoded when they are asked for."""
    if isinstance(source, Image.Image):
        return source
    name = name or name_of(source, "image")
    if isinstance(source, Mapping):
        content = source.get("bytes")
        source = source.get("path") if content is None else content
    if source is None:
        raise FileFault(name, "is missing", "each image needs its mask, and each mask its image")
    if str(source).startswith(_HUB):
        from huggingface_hub import hf_hub_download

        owner, dataset, file = str(source).removeprefix(_HUB).split("/", maxsplit=2)
        with explained(f"{owner}/{dataset}", "dataset"):
            source = hf_hub_download(f"{owner}/{dataset}", file, repo_type="dataset")
    with explained_damage(name, source):
        if isinstance(source, bytes):
            opened = Image.open(io.BytesIO(source))
        elif not Path(source).is_file():  # reading a pipe would wait for ever
            raise FileNotFoundError(f"there is no file {source}")
        else:
            opened = Image.open(source)
        if isinstance(opened, ImageFile.StubImageFile):  # known by name alone
            raise UnidentifiedImageError(opened.format)
        if Image.MAX_IMAGE_PIXELS and math.prod(opened.size) > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError("{} x {} pixels".format(*opened.size))
    return opened


def _decode(image: Image.Image, name: str) -> None:
    """Decode pixels and note; Pillow would divide the colors by premultiplied alpha."""
    with explained_damage(name):
        if image.format == "TIFF" and image.tile:
            tags, rawmode = image.tag_v2, image.tile[-1].args[0]
            mixed = {*tags.get(_BITS, ())} != {8} or tags.get(_PHOTOMETRIC) == 0 or rawmode == "X"
            mixed = (mixed or image.mode in ("LA", "PA")) and image.tile[0].codec_name == "raw"
            mixed = mixed or len(image.getbands()) == 1 < tags.get(_BANDS, 1)
            if tags.get(_PLANES) == 2 and (mixed or re.search("a|[AX]X", rawmode)):
                # Pillow mixes these planes up, or takes one alone.
                raise FileFault(name, *unread_bands(tags))
            if rawmode.startswith("RGBa"):
                args = (rawmode.replace("RGBa", "RGBA"), *image.tile[-1].args[1:])
                image.tile = [tile._replace(args=args) for tile in image.tile]
        image.load()
        image.getexif()


def _highest_sample(mask: Image.Image, name: str) -> int | None:
    """The sample that Pillow scales to white, or None; refuses what changes the samples."""
    kind = mask.format
    if mask.info.get("compression") in ("jpeg", "tiff_jpeg"):
        kind = "TIFF (JPEG)"
    if kind in _LOSSY or (kind == "WEBP" and not _is_lossless(mask)):
        cause = f"is stored as {kind}, which may change the values a little, and with them the "
        raise FileFault(name, f"{cause}classes", "export the mask again, as PNG")
    if getattr(mask, "tag_v2", {}).get(_PHOTOMETRIC) == 0 and mask.mode != "1":
        cause = "stores white as 0 (tag 262 of TIFF), so that its numbers are not what is seen: "
        cause += "which of both means classes cannot be told"
        raise FileFault(name, cause, "export the mask again, as PNG")
    if not getattr(mask, "tile", None):  # decoded by somebody else
        return None
    codec, _, _, args = mask.tile[0]
    rawmode = str(args[0]) if isinstance(args, tuple) else str(args)
    highest = args[1] if codec.startswith("ppm") and mask.mode != "1" else None
    loses = re.search(";1[56]", rawmode) or (mask.mode == "RGB" and (highest or 0) > 255)
    if loses and not mask.mode.startswith("I"):
        cause = f"stores {5 if 'BGR' in rawmode else 16} bits a channel, which Pillow turns into 8,"
        cause += " so that its numbers change"
        raise FileFault(name, cause, "export the mask again, as PNG with 8 bits a channel")
    few_bits = re.match("L;([24])", rawmode)
    return 2 ** int(few_bits[1]) - 1 if few_bits else highest


def _is_lossless(webp: Image.Image) -> bool:
    """Whether its pixels are in a chunk VP8L, not VP8; False where its file is closed."""
    if webp.fp is None or webp.fp.closed:
        return False
    webp.fp.seek(0)
    return re.findall(b"VP8[ L]", webp.fp.read())[:1] == [b"VP8L"]


def _refuse_classes_in_alpha(mask: Image.Image, name: str) -> None:
    if mask.getextrema()[-1][0] == 255:
        return
    seen = [pixel for _, pixel in mask.getcolors(mask.width * mask.height)]
    if len({pixel[:-1] for pixel in seen}) < max(len(seen), 2):
        raise FileFault(
            name,
            "tells pixels of one color apart by its alpha channel, which is not read",
            "save it without: PIL.Image.open(FILE).getchannel('A').save(FILE) keeps the alpha "
            "channel, and convert('RGB') in its place the colors",
        )


def _refuse_palette_of_greys(mask: Image.Image, name: str) -> None:
    colors = np.zeros((256, 3), dtype=int)
    palette = np.reshape(mask.getpalette(), (-1, 3))
    colors[: len(palette)] = palette
    used = np.flatnonzero(mask.histogram()[:256])
    is_grey = (colors == colors[:, :1]).all(axis=1)
    # A color map of classes has a grey or two (VOC's cars); one that is all black means nothing.
    drawn = np.ptp(palette) and is_grey[used].all() and (is_grey.all() or len(used) > 2)
    if drawn and (differ := used[colors[used, 0] != used]).size:
        raise FileFault(
            name,
            f"holds the index {differ[0]}, shown as the grey {colors[differ[0], 0]}, and no color: "
            "which of both means a class cannot be told",
            "if the greys do, `python -m scripts.prepare --colors FILE` reads them; if the indices "
            "do, PIL.Image.fromarray(numpy.array(PIL.Image.open(FILE))).save('NAME.png') saves "
            "them without the palette",
        )


def _eight_bits(image: Image.Image, opened: Image.Image, name: str) -> Image.Image:
    """Grey of more than 8 bits as mode L; `convert` would make all above 255 white."""
    values, tags = np.asarray(image), getattr(opened, "tag_v2", {})
    low, high = values.min(), values.max()
    if image.mode == "F" and low >= 0 and high <= 1:
        grey = (255 * values).round().astype(np.uint8)
    elif image.mode.startswith("I;16") or (image.mode == "I" and opened.format in _SIXTEEN_BITS):
        grey = (values >> (tags.get(_BITS, (16,))[0] - 8)).astype(np.uint8)
    else:
        raise FileFault(
            name,
            f"has mode {image.mode} and values from {low:g} to {high:g}: which number is white "
            "cannot be told. Expected 8 or 16 bits a channel, or 0 to 1",
            "scale it to 0-255",
        )
    return Image.fromarray(255 - grey if tags.get(_PHOTOMETRIC) == 0 else grey)


def _whole_numbers(values: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # NaN and what is too large become something else, too
        whole = values.astype(np.int32)
    if (wrong := whole != values).any():
        cause = f"holds the number {values[wrong][0]:g}, expected whole numbers"
        remedy = "a mask names a class for each pixel: export it again, neither scaled nor smoothed"
        raise FileFault(name, cause, remedy)
    return whole
