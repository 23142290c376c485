"""A file becomes an upright RGB image, or a mask of whole numbers: one reading for everybody.

A source is a path, the bytes of a file, an undecoded cell `{"path": ..., "bytes": ...}` of a
`datasets.Image` column, or an image that Pillow has opened.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from helpers.hub import explained

Source = str | Path | bytes | Mapping[str, Any] | Image.Image

# Pillow may lack a decoder (.heic): then the image is reported, not silently left out.
SUFFIXES = {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
SUFFIXES |= {".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""Endings of the files that count as images, in lower case."""

_HUB = "hf://datasets/"
_ORIENTATION = 0x0112  # EXIF tag: how the camera was held; 1 is upright
_NO_IMAGES = {
    ".npy": "it is an array. PIL.Image.fromarray(numpy.load(file).astype('uint8')).save(...) makes "
    "a PNG of it, if it holds whole numbers up to 255",
    ".json": "it holds outlines, no pixels. helpers.custom.read_labelme and read_coco draw them",
}
_UPRIGHT = {  # what to do with an image that lies on its side, by that tag
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_BITS = {"PNG", "PPM"}  # formats of which Pillow may read 16 bits into mode I, of 32


class FileFault(ValueError):
    """What is wrong with one file, in the parts by which a report groups files.

    Args:
        name: of the file, as messages call it.
        cause: what was found and what was expected, as the rest of a sentence.
        remedy: what to do; the same text for all files that the same step mends.
    """

    def __init__(self, name: str, cause: str, remedy: str = "") -> None:
        super().__init__(f"{name} {cause}: {remedy}" if remedy else f"{name} {cause}")
        self.name, self.cause, self.remedy = name, cause, remedy

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.name, self.cause, self.remedy)  # or it dies between processes


def load_image(source: Source, name: str | None = None) -> Image.Image:
    """Read an image as the models expect it: RGB, upright as its EXIF note says.

    ADE20K holds some greyscale images, on which the image processor raises, and photographs from
    phones are often stored lying on their side. Of 16 bits a pixel the upper 8 are kept, and
    floating-point numbers from 0 to 1 are scaled to 0-255.

    Args:
        source: see this module's first lines; also hf://datasets/OWNER/NAME/PATH for a file of a
            data set on the Hub.
        name: what messages call it; None: its path.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no image or a damaged one, or which number is white cannot be told.
        ConnectionError: the file is on the Hub, and the Hub cannot be reached.
    """
    name = name or name_of(source, "image")
    opened = _opened(source, name)
    image = ImageOps.exif_transpose(opened)
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image, opened.format in _SIXTEEN_BITS, name)
    return image if image.mode == "RGB" else image.convert("RGB")


def load_mask(
    source: Source,
    image: Source | None = None,
    name: str | None = None,
    in_colors: bool = False,
) -> np.ndarray:
    """Read a mask as the whole numbers that it stores; of a palette PNG these are the indices.

    Args:
        source: see this module's first lines.
        image: the source of its image. Cameras note how they were held, and a mask may have been
            drawn on the pixels as they are stored: where its size is that of the stored image and
            not that of the upright one, it is turned as its image is. A mask with a note of its
            own is turned by that one.
        name: what messages call it; None: its path.
        in_colors: the colors are wanted: of a palette PNG and of grey ones as well.

    Returns:
        (height, width) bool, uint8, uint16 or int32; or (height, width, 3) uint8 RGB of a mask in
        colors, which only `helpers.custom.labels_from_colors` takes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no image or a damaged one, has several pages, or holds numbers that
            are not whole.
    """
    name = name or name_of(source, "mask")
    mask = _opened(source, name)
    if (pages := getattr(mask, "n_frames", 1)) > 1:
        raise ValueError(f"{name} has {pages} pages or frames, expected one: save each as a file")
    if orientation(mask) != 1:
        mask = ImageOps.exif_transpose(mask)
    elif image is not None and is_turned(mask, image):
        mask = mask.transpose(_UPRIGHT[orientation(image)])
    if in_colors and mask.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        return np.asarray(mask.convert("RGB"))
    if mask.mode == "F" and not in_colors:
        return _whole_numbers(np.asarray(mask), name)
    if mask.mode in ("LA", "PA"):
        return np.asarray(mask)[..., 0]
    if mask.mode in ("RGB", "RGBA"):
        values = np.asarray(mask)[..., :3]
        grey = (values == values[..., :1]).all()  # grey stored as color
        return values[..., 0] if grey else values
    if in_colors or not (mask.mode in ("1", "L", "P") or mask.mode.startswith("I")):
        numbers = "" if in_colors else "whole numbers (mode L, P, 1 or I;16) or "
        raise ValueError(
            f"{name} has mode {mask.mode}, expected {numbers}colors (RGB): save it again as PNG"
        )
    return np.asarray(mask)


def is_turned(mask: Source, image: Source) -> bool:
    """Whether a mask has to be turned as its image is: `load_mask` does so."""
    mask, image = header(mask), header(image)
    width, height = size_of(image)
    lies = orientation(image) in _UPRIGHT and orientation(mask) == 1
    return lies and mask.size == (height, width) and width != height


def size_of(source: Source) -> tuple[int, int]:
    """(width, height) of an image when it is upright, read from the beginning of its file."""
    opened = header(source)
    # Of a TIFF file, Pillow gives the size that it has when it is upright.
    lies = orientation(opened) in _UPRIGHT and opened.format != "TIFF"
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


def header(source: Source, name: str | None = None) -> Image.Image:
    """The opened image: size, mode and notes; its pixels are decoded when they are asked for.

    Raises:
        As `load_image`.
    """
    if isinstance(source, Image.Image):
        return source
    name = name or name_of(source, "image")
    if isinstance(source, Mapping):
        content = source.get("bytes")
        source = source.get("path") if content is None else content
    if source is None:
        raise ValueError(f"{name} is missing: each image needs its mask, and each mask its image")
    if str(source).startswith(_HUB):
        from huggingface_hub import hf_hub_download

        owner, dataset, file = str(source).removeprefix(_HUB).split("/", maxsplit=2)
        with explained(f"{owner}/{dataset}", "dataset"):
            source = hf_hub_download(f"{owner}/{dataset}", file, repo_type="dataset")
    with _explained_damage(name):
        if isinstance(source, bytes):
            return Image.open(io.BytesIO(source))
        if not Path(source).is_file():  # reading a pipe would wait for ever
            raise FileNotFoundError(f"there is no file {source}")
        return Image.open(source)


def _opened(source: Source, name: str) -> Image.Image:
    """The image with its pixels and its note decoded."""
    image = header(source, name)
    with _explained_damage(name):
        image.load()
        image.getexif()
    return image


@contextmanager
def _explained_damage(name: str) -> Iterator[None]:
    """An error that names the file and says what is wrong, in place of Pillow's own."""
    try:
        yield
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise ValueError(f"{name} cannot be read: it does not grant you permission") from error
    except UnidentifiedImageError as error:
        why = _NO_IMAGES.get(
            Path(name).suffix.lower(), "it is in no format that Pillow knows, or damaged"
        )
        raise ValueError(f"{name} cannot be read as an image: {why}") from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{name} is larger than Pillow reads by itself ({error}): if you trust it, set "
            "PIL.Image.MAX_IMAGE_PIXELS = None, or cut it into pieces"
        ) from error
    except Exception as error:  # of damaged files, Pillow's decoders raise all sorts
        raise ValueError(
            f"{name} cannot be read as an image ({error}): the file is damaged or incomplete"
        ) from error


def _eight_bits(image: Image.Image, sixteen_bits: bool, name: str) -> Image.Image:
    """Grey of more than 8 bits as mode L; `convert` would make all above 255 white."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F" and low >= 0 and high <= 1:
        return Image.fromarray((255 * values).round().astype(np.uint8))
    if image.mode.startswith("I;16") or (image.mode == "I" and sixteen_bits):
        return Image.fromarray((values >> 8).astype(np.uint8))
    raise ValueError(
        f"{name} has mode {image.mode} and values from {low:g} to {high:g}: which number is white "
        "cannot be told. Expected 8 or 16 bits a channel, or 0 to 1; scale it to 0-255"
    )


def _whole_numbers(values: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # NaN and what is too large become something else, too
        whole = values.astype(np.int32)
    if (wrong := whole != values).any():
        raise ValueError(
            f"{name} holds the number {values[wrong].flat[0]:g}, expected whole numbers: a mask "
            "names a class for each pixel, and is neither scaled nor smoothed"
        )
    return whole
