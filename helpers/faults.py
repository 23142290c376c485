"""What is wrong with a file that should be an image or a mask, in a sentence and its parts."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

_ARRAYS = {  # what reads them, by the endings of their files
    (".h5", ".hdf5"): "h5py.File(FILE)['KEY'][()]",
    (".npy",): "numpy.load(FILE)",
    (".npz",): "numpy.load(FILE)['KEY']",
    (".mat",): "scipy.io.loadmat(FILE)['KEY']",
    (".nii", ".nii.gz"): "nibabel.load(FILE).get_fdata()[..., SLICE]",
    (".dcm",): "pydicom.dcmread(FILE).pixel_array",
}
_AS_PNG = "PIL.Image.fromarray({}.astype('uint8')).save('NAME.png') makes a PNG of whole numbers"
_NOT_IMAGES = {  # what else lies where an image or a mask should: what it is, and the way out
    **{ends: ("holds an array, no image", _AS_PNG.format(read)) for ends, read in _ARRAYS.items()},
    (".csv", ".json", ".txt", ".xml"): (
        "holds outlines, boxes or other text, no pixels",
        "`python -m scripts.prepare` draws outlines of COCO and Labelme (--format coco, --format "
        "labelme): export others as COCO, or as masks (PNG)",
    ),
    (".heic", ".heif"): ("is a HEIC file, which Pillow does not read", "convert it to PNG or JPEG"),
}
_DROP = "or leave it out: `python -m scripts.prepare --drop FILE`"
_BEGINNINGS = {  # of files that are not what their names say
    b"\x89PNG": (
        "is a PNG file whose line ends were changed, as git does to files that it takes for text",
        f"get the original by another way, {_DROP}",
    ),
    b"version https://git-lfs": (
        "is a pointer of git LFS, in place of the file itself",
        "`git lfs pull` fetches the files",
    ),
    b"<": ("is a page of the web or other text, no pixels", f"download the file again, {_DROP}"),
}
_BITS, _STRIPS, _TILES = 258, 273, 324  # TIFF tags

# What it logs is raised as well, and would be printed beside the error.
logging.getLogger(TiffImagePlugin.__name__).setLevel(logging.CRITICAL)


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


@contextmanager
def explained_damage(name: str, source: Any = None) -> Iterator[None]:
    """An error that names the file and says what is wrong, in place of Pillow's own; `source`: the
    path or bytes that are being opened, None once they are."""
    try:
        yield
    except (FileFault, FileNotFoundError):
        raise
    except Exception as error:  # of damaged files, Pillow's decoders raise all sorts
        cause = f"cannot be read as an image ({error}): the file is damaged or incomplete"
        remedy = f"get it again, {_DROP}"
        if isinstance(error, PermissionError):
            cause, remedy = "cannot be read: it does not grant you permission", "ask its owner"
        elif isinstance(error, Image.DecompressionBombError):
            cause = f"is larger than Pillow reads by itself ({error})"
            remedy = "cut it into pieces; or, if you trust it, set "
            remedy += "PIL.Image.MAX_IMAGE_PIXELS = None"
        elif source is not None and (found := _no_image(source, name)):
            cause, remedy = found
        elif isinstance(error, UnidentifiedImageError):
            cause = "cannot be read as an image: it is in no format that Pillow knows, or damaged"
        raise FileFault(name, cause, remedy) from error


def unread_bands(tags: Mapping[int, Any]) -> tuple[str, str]:
    """What is wrong with a sound TIFF file, with these tags, that Pillow does not read, and the way
    out."""
    bits, compression, bands = tags.get(_BITS, (1,))[0], tags.get(259, 1), tags.get(277, 1)
    return (
        f"cannot be read as an image: it has bands ({bands}, of {bits} bits each, TIFF compression "
        f"{compression}) in an arrangement that Pillow does not know, expected grey, or red, green "
        "and blue",
        "choose bands: `gdal_translate -b 4 -b 3 -b 2 -ot Byte -scale FILE NAME.png` makes an RGB "
        "image of three, `-b 1 -ot Byte` a mask of one. How a model takes more bands stands in "
        "notebook 07",
    )


def _no_image(source: Any, name: str) -> tuple[str, str] | None:
    """What lies there in place of an image that Pillow reads, and the way out; None: not known."""
    where = name if isinstance(source, bytes) else str(source)
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        start = file.read(64)
        kinds = [kind for ends, kind in _NOT_IMAGES.items() if where.lower().endswith(ends)]
        kinds += [kind for begin, kind in _BEGINNINGS.items() if start.startswith(begin)]
        for cause, remedy in kinds:
            return f"cannot be read as an image: it {cause}", remedy
        if start[:4] in TiffImagePlugin.PREFIXES:
            with suppress(Exception):  # a damaged one
                tags = TiffImagePlugin.ImageFileDirectory_v2(start[: 16 if start[2] == 43 else 8])
                file.seek(tags.next)
                tags.load(file)
                return unread_bands(tags) if {_STRIPS, _TILES} & {*tags} else None
    return None
