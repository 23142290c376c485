"""What `scripts.prepare` is given, by its options: pairs, what their masks mean, and splits."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from helpers.custom import (
    Convert,
    find_pairs,
    labels_from_colors,
    labels_from_values,
    resize_labels,
)
from helpers.images import header
from helpers.labels import IGNORE_INDEX, Color, Labels
from helpers.pairs import Pair, Pairs, dropped
from scripts.class_names import choose, class_name, read_colors, read_names
from scripts.exports import read_export
from scripts.tool_files import foreign

_SPLIT_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLIT_NAMES |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")


class Given(NamedTuple):
    """What is there, and what the options say of it."""

    pairs: Pairs
    labels: Labels
    convert: Convert | None
    splits: Mapping[str, Sequence[Pair]] | None  # None: they are drawn
    notices: list[str]


def export_given(options: argparse.Namespace, scratch: Path) -> Given:
    """An annotation tool's export; masks that have to be drawn come into the folder `scratch`."""
    images = _folder(options.folder, options.images, "") if options.images else None
    export = read_export(options.format, options.folder, scratch, images, _names(options))
    files = [file for pair in export.pairs for file in pair]
    files += [*export.images_alone, *export.masks_alone]
    gone = dropped(files, (options.folder, images, scratch), options.drop)

    def kept(pairs: Sequence[Pair]) -> list[Pair]:
        return [pair for pair in pairs if gone.isdisjoint(pair)]

    alone = export.images_alone, export.masks_alone
    pairs = Pairs(kept(export.pairs), *([one for one in part if one not in gone] for part in alone))
    splits = export.splits and {name: kept(part) for name, part in export.splits.items()}
    convert = _reader(options, export.labels, export.colors, export.values)
    return Given(pairs, export.labels, convert, splits, export.notices)


def folders_given(options: argparse.Namespace) -> Given:
    """A folder of images and one of masks."""
    names, colors, notices = _names(options), None, []
    if options.colors:
        known, ids = read_colors(options.colors)
        known = [class_name(name) for name in known]
        choice = choose(known, list(ids), names, str(options.colors))
        colors = {color: choice.values[known[k]] for color, k in ids.items()}
        labels, notices = choice.labels, choice.notices
    else:
        labels = Labels(names, reduce=options.reduce)
    images = _folder(options.folder, options.images, "images")
    masks = _folder(options.folder, options.masks, "masks")
    for place in (images, masks):
        if options.output.resolve().is_relative_to(place.resolve()):
            raise ValueError(
                f"--output: {options.output} lies in {place}, where the next run would take its "
                "files for yours: choose a place outside"
            )
    patterns = (options.mask_suffix, options.image_name, options.mask_name)
    pairs = find_pairs(images, masks, *patterns, options.drop)
    for _, mask in pairs.pairs:
        if fault := foreign(mask):
            raise fault
    splits = _given_splits(pairs, images)
    return Given(pairs, labels, _reader(options, labels, colors), splits, notices)


def _names(options: argparse.Namespace) -> list[str] | None:
    """The classes' names; None: an export or a file of colors has them."""
    names = options.classes or None
    if names is None or len(names) > 1 or not Path(names[0]).is_file():
        return names
    return list(read_names(Path(names[0])).names)


def _folder(folder: Path, given: str | None, usual: str) -> Path:
    """A folder that lies below the data's, or is named from where the reader stands."""
    for place in (folder / (given or usual), *([Path(given)] if given else [])):
        if place.is_dir():
            return place
    if not folder.is_dir():
        found = "is a file (unpack an archive first)" if folder.exists() else "is not there"
        raise FileNotFoundError(f"{folder} {found}, expected a folder of images and masks")
    if usual and (inside := sorted(folder.glob(f"*/{usual}"))):
        raise FileNotFoundError(
            f"there is no folder {folder / usual}, but {inside[0]}: move it to "
            f"{folder / usual / inside[0].parent.name}, and all such folders likewise"
        )
    there = sorted(part.name for part in folder.iterdir() if part.is_dir())
    raise FileNotFoundError(
        f"there is no folder {folder / (given or usual)}, and {folder} has the folders "
        f"{', '.join(there) or '(none)'}: say with --images and --masks where images and masks "
        "are (. is the folder itself), or with --format which annotation tool wrote them"
    )


def _reader(
    options: argparse.Namespace,
    labels: Labels,
    colors: Mapping[Color, int] | None,
    values: Mapping[int, int] | None = None,
) -> Convert | None:
    """How a mask is read with these options, if an export says what its colors or values mean;
    None: its values are what the labels explain.

    With colors, they count in all masks; and with values as well, these count but in RGB files.
    """
    if options.values:
        values = {value: label for label, value in enumerate(options.values)}
    if not (values or options.ignore or options.resize_masks or colors):
        return None
    table = {0: IGNORE_INDEX} if labels.reduce else {IGNORE_INDEX: IGNORE_INDEX}
    table |= values or {label + labels.reduce: label for label in labels.id2label}
    table |= dict.fromkeys(options.ignore, IGNORE_INDEX)

    def convert(mask: Path, image: Path) -> Image.Image:
        if colors and (not values or header(mask).mode in ("RGB", "RGBA")):
            label_map = labels_from_colors(mask, colors, image=image)
        else:
            label_map = labels_from_values(mask, table, image)
        return resize_labels(label_map, image) if options.resize_masks else label_map

    return convert


def _given_splits(pairs: Pairs, images: Path) -> dict[str, list[Pair]] | None:
    """The splits that sub-folders are named after; None: draw them."""
    splits: dict[str, list[Pair]] = {}
    others: set[str] = set()
    for pair in pairs.pairs:
        first = pair[0].relative_to(images).parts[0]
        if (name := _SPLIT_NAMES.get(first.lower())) is None:
            others.add(first)
        else:
            splits.setdefault(name, []).append(pair)
    if "train" not in splits:
        return None
    if others and len(splits) > 1:
        raise ValueError(
            f"{images} has sub-folders named {', '.join(splits)}, and beside them {min(others)}: "
            f"which split is that? Put it into one of them, or leave it out: --drop {min(others)}"
        )
    return None if others else splits
