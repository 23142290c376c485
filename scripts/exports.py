"""What annotation tools export, as pairs of images and masks: a format a reader.

`read_export` draws where a tool has outlines, objects or a file for each class, and takes the
masks as they are where it has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.custom import Pairs, find_pairs
from helpers.images import SUFFIXES, FileFault, header, load_mask
from helpers.labels import IGNORE_INDEX, Color, Labels
from scripts.class_masks import read_per_class
from scripts.class_names import Choice, by_color, choose, read_colors, read_names, voc_colors
from scripts.foreign import Finder, files_below, name_key, split_of
from scripts.layers import Annotated, Sheet, class_name, overlaps, paint
from scripts.outlines import coco_files, read_coco, read_labelme, read_segments

__all__ = ["FORMATS", "Export", "read_colors", "read_export", "read_names"]

FORMATS = ("coco", "labelme", "voc", "roboflow", "objects", "per-class")

Pair = tuple[Path, Path]

_VOC_BORDER = (224, 224, 192)  # around each object of PASCAL VOC: a line without a class
_NAMES = ("labelmap.txt", "class_names.txt", "labels.txt", "codes.txt", "class_dict.csv")
_ROBOFLOW_COCO = "_annotations.coco.json"
_VOC_SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Export:
    """Images and masks of an annotation tool, and what the masks' values or colors mean."""

    pairs: list[Pair]
    """(image, mask file)."""
    labels: Labels
    splits: dict[str, list[Pair]] | None
    """"train", "validation" and "test" as far as the tool made them; None: it made none."""
    colors: dict[Color, int] | None
    """Where masks are in colors: what a color means, a label id or 255; None: masks hold these."""
    images_alone: list[Path] = field(default_factory=list)
    masks_alone: list[Path] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    """What was left out or decided, in sentences."""


def read_export(
    format: str,
    folder: Path,
    scratch: Path,
    images: Path | None = None,
    names: Sequence[str] | None = None,
) -> Export:
    """Read what an annotation tool exported.

    Args:
        format: one of `FORMATS`.
        folder: what the tool wrote.
        scratch: a folder for the masks that are drawn: PNG, mode L, label ids and 255.
        images: the folder of the images; None: where the tool puts them.
        names: of the classes to keep, in the order of their label ids. Pixels of others become
            background where that is kept, else they have no class (255). None: the tool's own.

    Raises:
        FileFault: one file has another form, or holds what cannot be drawn.
        ValueError: a folder or a list of names is missing, or a name is unknown.
    """
    if format not in FORMATS:
        raise ValueError(f"the format is {format!r}, expected one of {', '.join(FORMATS)}")
    for each in (folder, images or folder):
        if not each.is_dir():
            raise ValueError(f"there is no folder {each}")
    if format == "voc":
        return _voc(folder, scratch, images, names)
    if format == "roboflow":
        files = [file for file in files_below(folder, {".json"}) if file.name == _ROBOFLOW_COCO]
        if not files and images:
            raise ValueError("Roboflow puts images beside their masks: leave out --images")
        if not files:
            return _roboflow(folder, scratch, names)
        annotated = read_coco(folder, {file: split_of(file.parent.name) for file in files})
    elif format == "coco":
        annotated = read_coco(folder, coco_files(folder))
    elif format == "labelme":
        file = _names_file(folder)
        annotated = read_labelme(folder, read_names(file).names if file else None)
    elif format == "objects":
        annotated = read_segments(folder)
    else:
        annotated = read_per_class(folder, images, names)
    return _drawn(annotated, folder, scratch, images, names)


def _names_file(folder: Path) -> Path | None:
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def _in_splits(pairs: Sequence[tuple[str | None, Pair]]) -> dict[str, list[Pair]] | None:
    """The pairs by split, if each has one, and some are for training."""
    splits: dict[str | None, list[Pair]] = {}
    for split, pair in pairs:
        splits.setdefault(split, []).append(pair)
    return splits if len(splits) > 1 and "train" in splits and None not in splits else None


def _scratch_file(scratch: Path, image: Path, folder: Path) -> Path:
    """Where a mask is drawn: named after its image, in the same sub-folder."""
    place = image.relative_to(folder) if image.is_relative_to(folder) else Path(image.name)
    file = scratch / place.with_suffix(".png")
    if file.exists():  # a.jpg and a.png, say
        file = file.with_name(f"{image.name}.png")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


# --- masks that are drawn -------------------------------------------------------------------------


def _drawn(
    annotated: Annotated,
    folder: Path,
    scratch: Path,
    images: Path | None,
    names: Sequence[str] | None,
) -> Export:
    choice = choose(annotated.names, annotated.colors, names, f"the export in {folder}")
    rest = choice.values[annotated.rest] if annotated.rest else IGNORE_INDEX
    files = [f for f in files_below(images or folder, SUFFIXES) if f not in annotated.masks]
    finder = Finder(files, [sheet.names for sheet in annotated.sheets])
    seen: dict[Path, Path] = {}
    missing: list[Sheet] = []
    blank = 0
    drawn: list[tuple[str | None, Pair]] = []
    shared: Counter[tuple[str, str]] = Counter()
    for sheet in annotated.sheets:
        tries = (finder.find(name, sheet.file, sheet.split) for name in sheet.names)
        image = next((file for file in tries if file), None)
        if image is None:
            missing.append(sheet)
            continue
        if image in seen:
            raise ValueError(
                f"{seen[image]} and {sheet.file} both say what is in {image}, expected one of "
                "them: move the other out of the folder"
            )
        seen[image] = sheet.file
        if sheet.draw is None:
            continue
        shape, layers = sheet.draw(image)
        mask = paint(shape, layers, choice.values, rest)
        blank += sum(not len(pixels) for _, pixels in layers)
        if annotated.tell_overlaps:
            shared += overlaps(layers)
        file = _scratch_file(scratch, image, images or folder)
        Image.fromarray(mask).save(file)
        drawn.append((sheet.split, (image, file)))
    notices = [*choice.notices, *annotated.notices]
    if missing:
        what = f"{len(missing)} images that {missing[0].file} names are not in {images or folder}"
        what += f" ({', '.join(sheet.names[0] for sheet in missing[:3])})"
        if not drawn:
            raise ValueError(f"{what}, and none is: say where they are with --images")
        notices.append(f"{what}: they are left out")
    if blank:
        notices.append(f"{blank} objects are smaller than a pixel, and cannot be seen")
    notices += [
        f"{top} lies on {below} in {count} pixels: the smaller of two objects is drawn on top"
        for (below, top), count in shared.items()
    ]
    alone = [file for file in files if file not in seen]
    splits = _in_splits(drawn)
    pairs = [pair for _, pair in drawn]
    return Export(pairs, choice.labels, splits, None, alone, annotated.masks_alone, notices)


# --- masks that are taken as they are -------------------------------------------------------------


def _voc(folder: Path, scratch: Path, images: Path | None, names: Sequence[str] | None) -> Export:
    """PASCAL VOC's layout, as CVAT and Labelme's converter write it."""
    found = [*folder.glob("SegmentationClass"), *folder.glob("*/SegmentationClass")]
    found = found or [*folder.glob("*/*/SegmentationClass")]
    if len(found) != 1:
        raise ValueError(
            f"there are {len(found)} folders SegmentationClass in {folder}, expected one, beside "
            "JPEGImages"
        )
    root = found[0].parent
    masks = found[0].with_name("SegmentationClassPNG")  # so Labelme's first versions
    images = images or root / "JPEGImages"
    if not images.is_dir():
        raise ValueError(f"there is no folder {images}: say where the images are with --images")
    files = find_pairs(images, masks if masks.is_dir() else found[0])
    notices: list[str] = []
    pairs, splits, alone = files.pairs, None, files.images_alone
    if lists := sorted((root / "ImageSets/Segmentation").glob("*.txt")):
        pairs, splits, alone = _listed(lists, files, images, notices)
    file = _names_file(root)
    known, colors = read_names(file) if file else (names, None)
    if known is None:
        raise ValueError(
            f"{root} has no list of names ({', '.join(_NAMES)}): name the classes with --classes, "
            "in the order of the masks' values"
        )
    known = [class_name(name) for name in known if name != "__ignore__"]
    modes = set()
    for _, mask in pairs:
        with suppress(ValueError):  # whoever opens it says what is wrong with it
            modes.add(header(mask).mode)
    in_colors = bool(modes & {"RGB", "RGBA"}) or (colors is not None and "P" in modes)
    colors = voc_colors(len(known)) if in_colors and colors is None else colors
    choice = choose(known, colors or [None] * len(known), names, str(file or root))
    export = Export(
        pairs, choice.labels, splits, None, alone, files.masks_alone, choice.notices + notices
    )
    if not in_colors:
        return _by_value(export, known, choice, scratch, images)
    meaning = by_color(file or root, known, colors, [choice.values[name] for name in known])
    return replace(export, colors={_VOC_BORDER: IGNORE_INDEX} | meaning)


def _listed(
    lists: Sequence[Path], files: Pairs, images: Path, notices: list[str]
) -> tuple[list[Pair], dict[str, list[Pair]] | None, list[Path]]:
    """The pairs that VOC's lists name, their splits, and the listed images without a mask."""

    def key(file: Path | str) -> str:
        return name_key(Path(file).as_posix())

    of_key = {
        key(image.relative_to(images).with_suffix("")): (image, m) for image, m in files.pairs
    }
    parts: dict[str, list[Pair]] = {}
    listed: set[str] = set()
    for file in lists:
        # Names with spaces are in quotes.
        names = [line.strip().strip('"') for line in file.read_text("utf-8-sig").splitlines()]
        names = list(dict.fromkeys(name for name in names if name))
        listed |= {key(name) for name in names}
        part = [of_key[key(name)] for name in names if key(name) in of_key]
        if without := [name for name in names if key(name) not in of_key]:
            notices.append(
                f"{file.name} lists {len(without)} names without an image or a mask "
                f"({', '.join(without[:3])}): they are left out"
            )
        if part:
            parts[file.stem.lower()] = part
    splits = {split: parts[name] for name, split in _VOC_SPLITS.items() if name in parts}
    splits = splits if "train" in splits and len(splits) > 1 else None
    pairs = list(dict.fromkeys(pair for part in (splits or parts).values() for pair in part))
    if not pairs:
        raise ValueError(
            f"no name that {lists[0]} lists has an image in {images} and a mask: {notices[0]}"
        )
    if rest := len(files.pairs) - len(pairs):
        notices.append(f"{rest} images with a mask are left out, because no list names them")
    alone = [
        file
        for file in files.images_alone
        if key(file.relative_to(images).with_suffix("")) in listed
    ]
    if rest := len(files.images_alone) - len(alone):
        notices.append(f"{rest} images are left out: they have no mask, and no list names them")
    return pairs, splits, alone


def _roboflow(folder: Path, scratch: Path, names: Sequence[str] | None) -> Export:
    """Roboflow's "Semantic Segmentation Masks": images, NAME_mask.png and a table in a folder."""
    tables = [file for file in files_below(folder, {".csv"}) if file.name == "_classes.csv"]
    if not tables:
        raise ValueError(
            f"there is neither _classes.csv nor {_ROBOFLOW_COCO} in {folder}: export it from "
            'Roboflow as "Semantic Segmentation Masks" or as "COCO Segmentation"'
        )
    known, _ = read_names(tables[0])
    for table in tables[1:]:
        if (others := read_names(table)[0]) != known:
            raise ValueError(
                f"{tables[0]} names {', '.join(known)}, and {table} names {', '.join(others)}: "
                "expected the same in each split"
            )
    choice = choose(known, [None] * len(known), names, str(tables[0]))
    pairs: list[tuple[str | None, Pair]] = []
    alone: tuple[list[Path], list[Path]] = ([], [])
    notices = [*choice.notices]
    for table in tables:
        found = find_pairs(table.parent, table.parent, mask_suffix="_mask")
        pairs += [(split_of(table.parent.name), pair) for pair in found.pairs]
        alone[0].extend(found.images_alone)
        alone[1].extend(found.masks_alone)
        if not found.pairs:
            notices.append(f"{table.parent} holds no pair of NAME.jpg and NAME_mask.png")
    export = Export(
        [pair for _, pair in pairs], choice.labels, _in_splits(pairs), None, *alone, notices
    )
    return _by_value(export, known, choice, scratch, folder)


def _by_value(
    export: Export, known: Sequence[str], choice: Choice, scratch: Path, folder: Path
) -> Export:
    """Masks whose values number the tool's classes, drawn anew where other classes are chosen."""
    values = [choice.values[name] for name in known]
    if values == list(range(len(known))):
        return export
    table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    table[: len(values)] = values[:256]
    drawn = {pair: pair for pair in export.pairs}
    for image, mask in export.pairs:
        try:
            stored = load_mask(mask, image)
        except ValueError:  # whoever opens it next says what is wrong with it
            continue
        strays = ((stored >= len(values)) & (stored != IGNORE_INDEX)) | (stored < 0)
        if stored.ndim == 3 or strays.any():
            held = "colors" if stored.ndim == 3 else f"the value {stored[strays][0]}"
            cause = f"holds {held}, expected 0-{len(values) - 1}, or {IGNORE_INDEX} for no class"
            raise FileFault(f"mask {mask}", cause, "do the names belong to these masks?")
        file = _scratch_file(scratch, image, folder)
        Image.fromarray(table[stored.astype(np.uint8)]).save(file)
        drawn[image, mask] = image, file
    splits = export.splits and {
        name: [drawn[pair] for pair in part] for name, part in export.splits.items()
    }
    return replace(export, pairs=[*drawn.values()], splits=splits)
