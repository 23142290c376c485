"""Images and their masks as files: paired by name, and each pair checked before it is used."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.images import Source, load_image, load_mask
from helpers.labels import Labels

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
"""Of the files that count as images, in lower case; masks may have any but the lossy `.jpg`."""

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


def check_pair(image: Source, mask: Source, names: tuple[str, str], labels: Labels) -> np.ndarray:
    """Decode an image and its mask, and make sure that they can be trained on.

    Args:
        image: see `helpers.images`.
        mask: likewise.
        names: of both, for messages.
        labels: what the mask's values mean.

    Returns:
        The mask, (height, width) whole numbers, at the size of the upright image.

    Raises:
        ValueError: what is wrong with which file, what was expected, and what to do.
    """
    size = load_image(image, names[0]).size
    values = load_mask(mask, image, names[1])
    check_mask(values, size, names[1], labels)
    return values


def check_mask(values: np.ndarray, size: tuple[int, int], name: str, labels: Labels) -> None:
    """Make sure that a mask fits its image and that its values have a meaning.

    Args:
        values: as `load_mask` gives them.
        size: (width, height) of the upright image.
        name: of the mask, for messages.
        labels: what the values mean.

    Raises:
        ValueError: what is wrong with it, what was expected, and what to do.
    """
    if values.ndim == 3:
        raise ValueError(
            f"{name} is in colors, expected one number for each pixel, {labels.expected_values}"
            ": helpers.custom.labels_from_colors turns colors into labels"
        )
    if values.shape != size[::-1]:
        raise ValueError(
            f"{name} is {values.shape[1]} x {values.shape[0]} pixels, its image {size[0]} x "
            f"{size[1]}: expected equal sizes. {_way_out(values.shape, size[::-1])}"
        )
    try:
        labels.to_label_map(values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _way_out(mask: tuple[int, int], image: tuple[int, int]) -> str:
    """What to do about a mask of another size; (height, width) of both."""
    down, across = image[0] / mask[0], image[1] / mask[1]
    if abs(down - across) * min(mask) < 1:  # of one shape, but for a rounded pixel
        return "Resize the mask by nearest neighbour."
    return "Their shapes differ, so this may be the mask of another image; do not stretch it."


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
