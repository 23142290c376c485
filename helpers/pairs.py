"""Images and their masks as files: paired by name, and shared out among splits."""

from __future__ import annotations

import glob
import hashlib
import math
import os
import re
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import numpy as np

from helpers.images import SUFFIXES, name_key

_ONE_SPLIT = "expected one split: what a model was trained on says nothing about how good it is"

Pair = tuple[Path, Path]
"""An image and its mask."""


@dataclass(frozen=True)
class Pairs:
    """What is in a folder of images and a folder of masks, in the order of the names."""

    pairs: list[Pair]
    images_alone: list[Path] = field(default_factory=list)
    masks_alone: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    """What lies there besides: no image by its extension, or named otherwise."""


def find_pairs(
    images: Path,
    masks: Path,
    mask_suffix: str = "",
    image_name: str = "*",
    mask_name: str = "*",
    drop: Collection[str] = (),
) -> Pairs:
    """Pair each image with the mask of the same name.

    Case and extension do not count, so `IMG_1.JPG` and `img_1.png` belong together, as they would
    on Windows and macOS. Sub-folders must have the same names on both sides, and links to folders
    are followed. Hidden files and the thumbnails of file servers are skipped.

    Args:
        images, masks: folders; they may be the same, if names tell images and masks apart.
        mask_suffix: "_mask", say, is the same as `mask_name="*_mask"`.
        image_name: how images are named: a star stands for what a pair shares, as in "*_sat" or
            "image_*", or in "*.jpg", where the extension counts.
        mask_name: how masks are named. In a folder of both, a file that fits both patterns is what
            the longer one says.
        drop: files and sub-folders to leave out, and the partners of such files: names or paths, in
            which stars may stand for parts.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: two files have the same partner, or none fits a pattern or one of `drop`.
    """
    mask_name += mask_suffix
    for folder in (images, masks):
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
    beside_images, beside_masks = files_below(images, masks), files_below(masks, images)
    keys = _named(images, image_name, beside_images)
    mask_keys = _named(masks, mask_name, beside_masks)
    if images.resolve() == masks.resolve():
        if image_name == mask_name:
            raise ValueError(
                f"images and masks are both in {images}: say what tells masks from images, as in "
                'mask_suffix="_mask" (--mask-suffix _mask), mask_name="mask_*" or mask_name="*.png"'
            )
        taken_from = keys if len(image_name) < len(mask_name) else mask_keys
        for file in keys.keys() & mask_keys.keys():
            del taken_from[file]
    unwanted = dropped([*beside_images, *beside_masks], (images, masks), drop)
    unwanted |= _left_alone(keys, mask_keys, unwanted) | _left_alone(mask_keys, keys, unwanted)
    found, annotations = (
        _by_key({f: k for f, k in some.items() if f not in unwanted and _is_image(f)})
        for some in (keys, mask_keys)
    )
    for file, key in mask_keys.items():
        # What lies where a mask should is paired where there is nothing better: reading it says
        # what is wrong with it, and "there is no mask" would be untrue.
        if key in found and file not in unwanted and not _is_image(file):
            annotations.setdefault(key, file)
    used = {*found.values(), *annotations.values()}
    return Pairs(
        [(found[key], annotations[key]) for key in sorted(found.keys() & annotations.keys())],
        [found[key] for key in sorted(found.keys() - annotations.keys())],
        [annotations[key] for key in sorted(annotations.keys() - found.keys())],
        sorted({*beside_images, *beside_masks} - used - unwanted),
    )


def files_below(folder: Path, other: Path | None = None) -> list[Path]:
    """The files of a folder and its sub-folders, sorted; hidden ones are passed over, links are
    followed, and the other folder, if it lies in this one, is left out."""
    found: list[Path] = []
    apart = {other.resolve()} - {folder.resolve()} if other else set()

    def refuse(error: OSError) -> None:
        raise PermissionError(f"the folder {error.filename} cannot be read ({error.strerror})")

    for top, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        here = Path(top).absolute()
        above = {place.resolve() for place in (here, *here.parents)}  # where links may lead back to
        shown = [name for name in folders if not _is_hidden(name)]
        folders[:] = [name for name in shown if (here / name).resolve() not in apart | above]
        found += [Path(top) / name for name in names if not _is_hidden(name)]
    return sorted(found)


def split_pairs(
    pairs: Sequence[Pair],
    validation_fraction: float = 0.2,
    test_fraction: float = 0.0,
    group_by: str | None = None,
    seed: int = 0,
) -> dict[str, list[Pair]]:
    """Draw the splits of a data set: "train", "validation", and "test" if it gets a share.

    Images whose files are equal byte for byte stay together. Without groups, the draw is that of
    `datasets.Dataset.train_test_split`.

    Args:
        pairs: from `find_pairs`.
        validation_fraction: share of the images on which checkpoints are chosen.
        test_fraction: share that is kept for the end.
        group_by: images of which this regular expression matches the same part of the path (its
            first group, if it has one) stay together: photographs of one afternoon, patient or
            flight. The path begins below the folder that holds all of them.
        seed: the same seed draws the same split.

    Raises:
        ValueError: a name does not match, or there are too few pairs or groups for the splits.
    """
    wanted = {"validation": validation_fraction, "test": test_fraction}
    wanted = {name: share for name, share in wanted.items() if share or name == "validation"}
    if not all(0 < share < 1 for share in wanted.values()) or sum(wanted.values()) >= 1:
        raise ValueError(f"the shares are {wanted}, expected more than 0, and less than 1 together")
    group_of = {image: image.as_posix() for image, _ in pairs}
    if group_by is not None:
        group_of = groups_by_name(list(group_of), group_by)
    for copies in equal_files(list(group_of)):
        joined = {group_of[image] for image in copies}
        group_of |= {image: min(joined) for image, of in group_of.items() if of in joined}
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(group_of[pair[0]], []).append(pair)
    if len(groups) <= len(wanted):
        raise ValueError(
            f"the number of pairs is {len(pairs)}, in {len(groups)} groups that stay together "
            f"({', '.join([*groups][:3])}), expected at least {len(wanted) + 1}: a group for each "
            f"of {', '.join(['train', *wanted])}"
        )
    drawn = [list(groups)[k] for k in np.random.default_rng(seed).permutation(len(groups))]
    splits: dict[str, list[Pair]] = {"train": []}
    for name, share in wanted.items():
        splits[name] = groups[drawn.pop(0)].copy()
        while len(splits[name]) < math.ceil(share * len(pairs)) and len(drawn) > len(wanted):
            splits[name] += groups[drawn.pop(0)]
    splits["train"] = [pair for name in drawn for pair in groups[name]]
    return splits


def groups_by_name(images: Sequence[Path], pattern: str) -> dict[Path, str]:
    """The group of each image: see `split_pairs`."""
    top = Path(os.path.commonpath([image.parent for image in images] or [""]))
    found: dict[Path, str] = {}
    for image in images:
        place = image.relative_to(top).as_posix()
        if (match := re.search(pattern, place)) is None:
            raise ValueError(f"{place} does not match the pattern {pattern!r} of its group")
        found[image] = (match.re.groups and match[1]) or match[0]
    return found


def check_splits(splits: Mapping[str, Sequence[Pair]]) -> None:
    """Raise ValueError where there is no train or no validation, or an image is in two splits: its
    file, or one that is equal byte for byte."""
    for name in ("train", "validation"):
        if not splits.get(name):
            raise ValueError(
                f"the splits are {[*splits]}, expected train and validation with at least one pair "
                f"each: {name} has none"
            )
    split_of: dict[Path, str] = {}
    for name, part in splits.items():
        for image, _ in part:
            if (other := split_of.setdefault(image, name)) != name:
                raise ValueError(f'{image} is in the splits "{other}" and "{name}", {_ONE_SPLIT}')
    twice = {  # training images last, so that they are what is left out
        copy: first
        for first, *copies in equal_files([*split_of][::-1])
        for copy in copies
        if split_of[copy] != split_of[first]
    }
    for copy, first in twice.items():
        raise ValueError(
            f'{copy} is in the split "{split_of[copy]}" and {first}, which is equal byte for byte, '
            f'in "{split_of[first]}", {_ONE_SPLIT}. There are {len(twice)} such copies: '
            f"{shlex.join(['--drop', *map(str, twice)])}"
        )


def equal_files(files: Sequence[Path]) -> list[list[Path]]:
    """The groups of files that are equal byte for byte, of two files or more."""
    sizes = Counter(file.stat().st_size for file in files)
    by_content: dict[bytes, list[Path]] = {}
    for file in files:
        if sizes[file.stat().st_size] > 1:
            digest = hashlib.sha256(file.read_bytes()).digest()
            by_content.setdefault(digest, []).append(file)
    return [some for some in by_content.values() if len(some) > 1]


def dropped(files: Collection[Path], folders: Collection[Path], drop: Collection[str]) -> set[Path]:
    """The files, below these folders, that `drop` of `find_pairs` names; ValueError where one of
    its names fits none."""
    found: set[Path] = set()
    for unwanted in drop:
        pattern = glob.escape(Path(unwanted).as_posix()).replace("[*]", "*")
        fits = {
            file
            for file in files
            for place in (file, *takewhile(lambda place: place not in folders, file.parents))
            if place.absolute().match(pattern)
        }
        if not fits:
            some = f"{len(files)}, such as {min(files)}" if files else "0"
            raise ValueError(f"no file is named {unwanted}, to be dropped, among {some}")
        found |= fits
    return found


def _left_alone(keys: dict[Path, str], others: dict[Path, str], unwanted: set[Path]) -> set[Path]:
    """The files whose partners are all unwanted."""
    lost = {others[file] for file in unwanted & others.keys()}
    lost -= {key for file, key in others.items() if _is_image(file) and file not in unwanted}
    return {file for file, key in keys.items() if key in lost}


def _is_hidden(name: str) -> bool:
    # macOS's archives, the thumbnails of file servers, those of Windows
    return name.startswith((".", "__MACOSX", "@eaDir")) or name == "Thumbs.db"


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def _named(folder: Path, pattern: str, files: Sequence[Path]) -> dict[Path, str]:
    """The files of such a name, and of each what it shares with its partner."""
    before, star, after = name_key(pattern).partition("*")
    if not star or "*" in after:
        raise ValueError(
            f'"{pattern}" does not say how files are named: expected one star, as in "*_mask"'
        )
    shared = re.compile(f"{re.escape(before)}(.*){re.escape(after)}")
    found: dict[Path, str] = {}
    for file in files:
        stem = file.name.removesuffix(".gz").rpartition(".")[0] or file.name
        if fits := shared.fullmatch(name_key(stem)) or shared.fullmatch(name_key(file.name)):
            found[file] = name_key(f"{file.parent.relative_to(folder).as_posix()}/{fits[1]}")
    if files and not found:
        such_as = ", ".join(file.name for file in files[:3])
        raise ValueError(
            f'none of the {len(files)} files in {folder} is named "{pattern}": there are '
            f"{such_as}{', ...' if files[3:] else ''}"
        )
    return found


def _by_key(keys: dict[Path, str]) -> dict[str, Path]:
    """The files by what they share with their partners, if each has one of its own."""
    found: dict[str, Path] = {}
    for file, key in keys.items():
        if (twin := found.setdefault(key, file)) != file:
            raise ValueError(
                f"{twin} and {file.name} would share one partner: images and annotations are "
                "paired by name, whatever its case and extension. Rename one of them, or "
                f'say which to take, as in "*{file.suffix}" (see image_name and mask_name)'
            )
    return found
