"""Images and their masks as files: paired by name, and each pair checked before it is used."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.images import SUFFIXES, Source, header, load_image, load_mask
from helpers.labels import Labels

_LOSSY = {".jpg", ".jpeg", ".jfif", ".jpe"}
# What lies where a mask should is paired where there is nothing better: `check_pair` says what is
# wrong with it, and "there is no mask" would be untrue.
_NO_MASKS = {*_LOSSY, ".npy", ".json"}


@dataclass(frozen=True)
class Pairs:
    """What is in a folder of images and a folder of masks, in the order of the names."""

    pairs: list[tuple[Path, Path]]
    """(image, mask)."""
    images_alone: list[Path]
    masks_alone: list[Path]


def find_pairs(
    images: Path,
    masks: Path,
    mask_suffix: str = "",
    image_name: str = "*",
    mask_name: str = "*",
) -> Pairs:
    """Pair each image with the mask of the same name.

    Case and file extension do not count, so `IMG_1.JPG` and `img_1.png` belong together, as they
    would on Windows and macOS; files whose names begin with a dot are skipped. Where a folder holds
    no files itself, its sub-folders are searched; they must have the same names on both sides.

    Args:
        images: folder of images.
        masks: folder of masks; it may be the same folder, if names tell them apart.
        mask_suffix: what the names of masks end in, as "_mask" in `cat_mask.png`; the
            same as `mask_name="*_mask"`.
        image_name: how images are named: a star stands for what a pair shares, as in "*_sat" or
            "image_*", or in "*.jpg", where the extension counts.
        mask_name: how masks are named, as in "*_gtFine_labelIds". In a folder of both, a file that
            fits both patterns is what the longer one says.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: two files of a folder would have the same partner, or no file fits a pattern.
    """
    mask_name += mask_suffix
    for folder in (images, masks):
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
    keys = _named(images, image_name, SUFFIXES)
    mask_keys = _named(masks, mask_name, SUFFIXES | _NO_MASKS)
    if images.resolve() == masks.resolve():
        if image_name == mask_name:
            raise ValueError(
                f"images and masks are both in {images}: say what tells masks from images, as in "
                'mask_suffix="_mask", mask_name="mask_*" or mask_name="*.png"'
            )
        taken_from = keys if len(image_name) < len(mask_name) else mask_keys
        for file in keys.keys() & mask_keys.keys():
            del taken_from[file]
    found = _by_key(keys)
    no_masks = {file: key for file, key in mask_keys.items() if file.suffix.lower() in _NO_MASKS}
    annotations = _by_key({f: key for f, key in mask_keys.items() if f not in no_masks})
    for file, key in no_masks.items():
        if key in found:
            annotations.setdefault(key, file)
    return Pairs(
        [(found[key], annotations[key]) for key in sorted(found.keys() & annotations.keys())],
        [found[key] for key in sorted(found.keys() - annotations.keys())],
        [annotations[key] for key in sorted(annotations.keys() - found.keys())],
    )


def name_key(name: str) -> str:
    """What makes two names equal, whatever their case and whoever wrote their accents."""
    # macOS writes é as e and an accent, most others as one letter.
    return unicodedata.normalize("NFC", name).casefold()


def check_pair(image: Source, mask: Source, names: tuple[str, str], labels: Labels) -> np.ndarray:
    """Decode an image and its mask, and make sure that a model can train on them.

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
    refuse_lossy(mask, names[1])
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
        way_out = "Their shapes differ, so this may be the mask of another image."
        if have_one_shape(values.shape, size[::-1]):
            way_out = "Resize the mask by nearest neighbour."
        raise ValueError(
            f"{name} is {values.shape[1]} x {values.shape[0]} pixels, its image {size[0]} x "
            f"{size[1]}: expected equal sizes. {way_out}"
        )
    try:
        labels.to_label_map(values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def refuse_lossy(mask: Source, name: str) -> None:
    """Raise ValueError for a mask that is a JPEG file, whatever its name says."""
    if header(mask).format == "JPEG":
        raise ValueError(
            f"{name} is a JPEG file, which changes the values it stores a little, and with them "
            "the classes: export the mask again, as PNG"
        )


def have_one_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether one size is a multiple of the other, give or take a rounded pixel."""
    larger, smaller = max(first, second), min(first, second)
    factor = larger[0] / smaller[0]
    return abs(larger[1] - factor * smaller[1]) <= factor


def _named(folder: Path, pattern: str, suffixes: set[str]) -> dict[Path, str]:
    """The files of such a name, and of each what it shares with its partner."""
    before, star, after = name_key(pattern).partition("*")
    if not star or "*" in after:
        raise ValueError(
            f'"{pattern}" does not say how files are named: expected one star, as in "*_mask"'
        )
    shared = re.compile(f"{re.escape(before)}(.*){re.escape(after)}")
    found: dict[Path, str] = {}
    for files in (folder.iterdir(), folder.rglob("*")):
        candidates = [file for file in sorted(files) if file.suffix.lower() in suffixes]
        candidates = [f for f in candidates if not _is_hidden(f.relative_to(folder))]
        for file in candidates:
            fits = shared.fullmatch(name_key(file.stem)) or shared.fullmatch(name_key(file.name))
            if fits:
                found[file] = name_key(f"{file.parent.relative_to(folder).as_posix()}/{fits[1]}")
        if any(file.suffix.lower() in SUFFIXES for file in found):
            break
    if candidates and not found:
        such_as = ", ".join(file.name for file in candidates[:3])
        raise ValueError(
            f'none of the {len(candidates)} files in {folder} is named "{pattern}": there are '
            f"{such_as}{', ...' if candidates[3:] else ''}"
        )
    return found


def _is_hidden(file: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in file.parts)


def _by_key(keys: dict[Path, str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file, key in keys.items():
        if (twin := found.setdefault(key, file)) != file:
            raise ValueError(
                f"{twin} and {file.name} would share one partner: images and annotations are "
                "paired by name, whatever its case and extension. Rename one of them, or "
                f'say which to take, as in "*{file.suffix}" (see image_name and mask_name)'
            )
    return found
