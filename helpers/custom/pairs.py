"""Images and their masks as files: paired by name, and each pair checked before it is used."""

from __future__ import annotations

import io
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
"""Of the files that count as images, in lower case; masks may have any but the lossy `.jpg`."""

_ORIENTATION = 0x0112  # EXIF tag: how the camera was held
_LOSSY = {".jpg", ".jpeg"}


@dataclass(frozen=True)
class Pairs:
    """What lies in a folder of images and a folder of masks, in the order of the names."""

    pairs: list[tuple[Path, Path]]
    """(image, mask)."""
    images_alone: list[Path]
    masks_alone: list[Path]


def find_pairs(images: Path, masks: Path, mask_suffix: str = "") -> Pairs:
    """Pair each image with the mask of the same name.

    Case and file extension do not count, so that `IMG_1.JPG` and `img_1.png` belong together, as
    they would on Windows and macOS; files whose names begin with a dot are passed over.

    Args:
        images: folder of images.
        masks: folder of masks; it may be the same one, where `mask_suffix` tells them apart.
        mask_suffix: what masks have at the end of their names, as "_mask" in `cat_mask.png`.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: two files of a folder would have the same partner.
    """
    for folder in (images, masks):
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
    found = _by_name(images, SUFFIXES)
    annotations = _by_name(masks, SUFFIXES - _LOSSY, mask_suffix)
    if images.resolve() == masks.resolve():
        if not mask_suffix:
            raise ValueError(
                f"images and masks are both in {images}: name the ending that tells masks from "
                'images, as in mask_suffix="_mask"'
            )
        found = {k: f for k, f in found.items() if not f.stem.endswith(mask_suffix)}
    lossy = [file for file in sorted(masks.iterdir()) if file.suffix.lower() in _LOSSY]
    if lossy and not annotations:
        raise ValueError(
            f"{lossy[0]} is a JPEG file, which changes the values it stores a little, and with "
            "them the classes: export the masks again, as PNG"
        )
    return Pairs(
        [(found[key], annotations[key]) for key in sorted(found.keys() & annotations.keys())],
        [found[key] for key in sorted(found.keys() - annotations.keys())],
        [annotations[key] for key in sorted(annotations.keys() - found.keys())],
    )


def check_pair(
    image: Any,
    mask: Any,
    names: tuple[str, str],
    num_labels: int,
    reduces: bool,
) -> tuple[Image.Image, Image.Image]:
    """Decode a pair and make sure that it can be trained on.

    Args:
        image: a path, a cell of an undecoded `datasets.Image` column, or a decoded image.
        mask: likewise.
        names: of both, for messages.
        num_labels: how many classes the model has.
        reduces: whether 0 stands for "no class" and classes begin at 1 (`do_reduce_labels`);
            if not, classes begin at 0 and 255 stands for "no class".

    Returns:
        The decoded image and mask, as they are stored.

    Raises:
        ValueError: what is wrong with which file, what was expected, and what to do.
    """
    opened = decode(image, names[0])
    size = opened.size
    if opened.getexif().get(_ORIENTATION, 1) >= 5:  # 5-8: turned by a quarter
        size = size[::-1]
    if opened.mode == "F" or (opened.mode == "I" and opened.getextrema()[1] > 65535):
        raise ValueError(
            f"{names[0]} has mode {opened.mode}, expected 8 or 16 bits a channel: which number is "
            "white cannot be told. Scale it to 0-255 and save it again."
        )
    return opened, _check_mask(decode(mask, names[1]), names[1], size, num_labels, reduces)


def decode(source: Any, name: str) -> Image.Image:
    """Open and fully decode a file, or one undecoded `datasets.Image` cell.

    Raises:
        ValueError: naming the file, why it cannot be read, and what to do.
    """
    if isinstance(source, Image.Image):
        return source
    if not source:
        raise ValueError(f"{name} is missing: each image needs an annotation")
    if isinstance(source, dict):
        source = io.BytesIO(source["bytes"]) if source["bytes"] else source["path"]
    try:
        image = Image.open(source)
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow names a file that it cannot identify; we name it in any case, and once.
        reason = "no image format" if "cannot identify" in str(error) else error
        raise ValueError(
            f"{name} cannot be read ({reason}). The file is damaged or incomplete: fetch it "
            "again, or remove it together with its partner."
        ) from error
    return image


def _check_mask(
    mask: Image.Image, name: str, size: tuple[int, int], num_labels: int, reduces: bool
) -> Image.Image:
    allowed = f"0-{num_labels} (0 = other)" if reduces else f"0-{num_labels - 1} or 255 (no class)"
    if mask.mode not in ("L", "P"):
        raise ValueError(
            f"{name} has mode {mask.mode}, expected one 8-bit channel (mode L or P) whose values "
            f"are classes, {allowed}. Convert colour-coded, one-bit or 16-bit masks first: "
            "helpers.custom.labels_from_colors and labels_from_values do it."
        )
    if mask.size != size:
        raise ValueError(
            f"{name} is {mask.size[0]} x {mask.size[1]} pixels, its image {size[0]} x "
            f"{size[1]}: expected equal sizes. Resize annotations by nearest neighbour."
        )
    areas = np.array(mask.histogram()[:256])
    areas[: num_labels + reduces] = 0
    if not reduces:
        areas[255] = 0
    if len(wrong := np.flatnonzero(areas)):
        raise ValueError(
            f"{name} holds the value {wrong[-1]}, expected {allowed}. "
            + (
                "A 255 there often means that the labels were reduced already."
                if reduces
                else "Each value needs a class in id2label, or has to become 255."
            )
        )
    return mask


def _by_name(folder: Path, suffixes: set[str], ending: str = "") -> dict[str, Path]:
    """The files of a folder by what makes two names equal."""
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        stem = file.stem
        if file.suffix.lower() not in suffixes or stem.startswith("."):
            continue
        if not stem.endswith(ending):
            continue
        # macOS writes é as e and an accent, most others as one letter.
        key = unicodedata.normalize("NFC", stem.removesuffix(ending)).casefold()
        if (twin := found.setdefault(key, file)) != file:
            raise ValueError(
                f"{twin} and {file.name} would share one partner: images and annotations are "
                "paired by name, whatever its case and extension, so give one of them another"
            )
    return found
