"""The command that makes a data set of one's own files: `python -m scripts.prepare --help`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill
from typing import TYPE_CHECKING, Any, NoReturn

from scripts.cli import at_least, draw_bars_where_somebody_looks

if TYPE_CHECKING:
    from PIL import Image

    from helpers.custom import Convert, Pair, Pairs, Report
    from helpers.labels import Color, Labels

_FORMATS = ("coco", "labelme", "voc", "roboflow", "objects", "per-class")
_SPLIT_NAMES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_SPLIT_NAMES |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
_SHOWN = 12  # pairs on the sheet of overlays
_WRAPPED = {"subsequent_indent": "  ", "break_long_words": False, "break_on_hyphens": False}
_SMALL = 16  # pixels: SegFormer predicts one label for 4 x 4 of them


def main(arguments: list[str] | None = None) -> int:
    """Prepare from the command line; returns the exit status."""
    options = _parse(arguments)
    draw_bars_where_somebody_looks()
    from helpers.custom import refuse_other_files

    try:
        refuse_other_files(options.output)
    except FileExistsError as error:
        return _refuse(f"--output: {error}", status=2)
    try:
        with TemporaryDirectory() as scratch:
            return _prepare(options, Path(scratch))
    except (ValueError, OSError, ImportError) as error:
        return _refuse(str(error), status=1)
    except KeyboardInterrupt:
        return _refuse("interrupted: nothing was written", status=130)


def _prepare(options: argparse.Namespace, scratch: Path) -> int:
    from helpers.custom import report_pairs, split_pairs, write_dataset

    pairs, labels, convert, given, told = _read(options, scratch)
    report = report_pairs(pairs, labels, convert)
    drawn = given is None and options.group_by is None
    notices = [*told, *report.notices, *(_neighbors(pairs.pairs) if drawn else [])]
    _print_report(pairs, report, labels, notices)
    sheet = options.output.with_name(f"{options.output.name}-overlays.png")
    _write_sheet(pairs, report, labels, convert, sheet)
    if report.problems:
        return _refuse(
            f"{len(report.problems)} problems to settle: add what they name to the command. "
            f"Nothing was written to {options.output}",
            status=1,
        )
    share, rest = options.test_fraction, options.validation_fraction
    splits = given or split_pairs(pairs.pairs, rest, share, options.group_by, options.seed)
    if "validation" not in splits:  # drawn from the training images, and the others stay
        splits |= split_pairs(splits["train"], rest, 0, options.group_by, options.seed)
    write_dataset(pairs, labels, options.output, convert, splits, report)
    _print_splits(pairs, report, labels, splits)
    _print_next(options, pairs)
    return 0


def _read(
    options: argparse.Namespace, scratch: Path
) -> tuple[Pairs, Labels, Convert | None, dict[str, list[Pair]] | None, list[str]]:
    """The pairs, what their masks mean, how to read them, given splits, and what was noticed."""
    from helpers.custom import Pairs, find_pairs
    from helpers.labels import Labels
    from helpers.pairs import dropped
    from scripts.tool_files import foreign

    names, colors = options.classes, None
    if names is not None and len(names) == 1 and Path(names[0]).is_file():
        from scripts.exports import read_names

        names = list(read_names(Path(names[0])).names)
    if options.format:
        from scripts.exports import read_export

        images = options.images and _folder(options.folder, options.images)
        export = read_export(options.format, options.folder, scratch, images, names)
        kept = [p for p in export.pairs if not any(dropped(file, options.drop) for file in p)]
        pairs = Pairs(kept, export.images_alone, export.masks_alone)
        splits = export.splits
        if splits is not None:
            splits = {name: [p for p in part if p in kept] for name, part in splits.items()}
        convert = _reader(options, export.labels, export.colors, export.values)
        return pairs, export.labels, convert, splits, export.notices
    if options.colors:
        from scripts.exports import read_colors

        its_names, colors = read_colors(options.colors)
        if names is not None and set(names) != set(its_names):
            raise ValueError(
                f"{options.colors} names {', '.join(its_names)}, and --classes {', '.join(names)}: "
                "expected the same classes"
            )
        names = names or its_names
        order = {k: names.index(name) for k, name in enumerate(its_names)}
        colors = {color: order.get(label, label) for color, label in colors.items()}
    if names is None:
        raise ValueError("--classes is missing: expected the classes' names, background first")
    by_label = {label: color for color, label in (colors or {}).items()}
    palette = [by_label[k] for k in range(len(names))] if by_label else None
    labels = Labels(names, palette, options.reduce)
    images = _folder(options.folder, options.images or "images")
    masks = _folder(options.folder, options.masks or "masks")
    pairs = find_pairs(
        images,
        masks,
        options.mask_suffix,
        options.image_name,
        options.mask_name,
        options.drop,
    )
    if faults := [fault for _, mask in pairs.pairs if (fault := foreign(mask))]:
        raise faults[0]
    return pairs, labels, _reader(options, labels, colors), _given_splits(pairs, images), []


def _folder(folder: Path, name: str) -> Path:
    """A folder that lies below the data's, or is named from where the reader stands."""
    for place in (folder / name, Path(name)):
        if place.is_dir():
            return place
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    there = sorted(part.name for part in folder.iterdir() if part.is_dir())
    raise FileNotFoundError(
        f"there is no folder {folder / name}, and {folder} has the folders "
        f"{', '.join(there) or '(none)'}: say with --images and --masks where images and masks "
        "are, or with --format which annotation tool wrote them"
    )


def _reader(
    options: argparse.Namespace,
    labels: Labels,
    colors: Mapping[Color, int] | None,
    values: Mapping[int, int] | None = None,
) -> Convert | None:
    """How a mask is read with these options, if an export says what its colors or values mean;
    None: its values are what the labels explain."""
    from helpers.custom import labels_from_colors, labels_from_values, resize_labels
    from helpers.images import header, load_mask
    from helpers.labels import IGNORE_INDEX

    if not (options.values or options.ignore or options.resize_masks or colors or values):
        return None
    table = dict(values or {value: label for label, value in enumerate(options.values or [])})
    if not table:
        table = {k + labels.reduce: k for k in labels.id2label}
    table.setdefault(0 if labels.reduce else IGNORE_INDEX, IGNORE_INDEX)
    table |= dict.fromkeys(options.ignore, IGNORE_INDEX)

    def convert(mask: Path, image: Path) -> Image.Image:
        by_palette = header(mask).mode == "P" and not options.values
        if colors and (by_palette or load_mask(mask).ndim == 3):
            label_map = labels_from_colors(mask, colors, image=image)
        else:
            label_map = labels_from_values(mask, table, image)
        return resize_labels(label_map, image) if options.resize_masks else label_map

    return convert


def _given_splits(pairs: Pairs, images: Path) -> dict[str, list[Pair]] | None:
    """The splits that sub-folders are named after, if all pairs lie in such; None: draw them."""
    splits: dict[str, list[Pair]] = {}
    for pair in pairs.pairs:
        first = pair[0].relative_to(images).parts[0].lower()
        splits.setdefault(_SPLIT_NAMES.get(first, ""), []).append(pair)
    return splits if "train" in splits and "" not in splits else None


def _neighbors(pairs: Sequence[Pair]) -> list[str]:
    """What the names say about images that resemble each other."""
    found = {
        "are augmented copies of others, as Roboflow names them": (r"\.rf\.\w+", r"(.*)\.rf\."),
        "are numbered, as frames of a video or photographs of one walk are": (
            r"\d{3,}$",
            r"(.*?)\d+\.\w+$",
        ),
    }
    for what, (pattern, group) in found.items():
        named = [image for image, _ in pairs if re.search(pattern, image.stem)]
        if len(named) > len(pairs) / 2:
            return [
                f"{len(named)} images (such as {named[0]}) {what}. Where such images fall into "
                "both training and validation, the score flatters: keep them together with "
                f"--group-by {shlex.quote(group)}, or put images and masks into sub-folders train "
                "and val"
            ]
    return []


def _print_report(pairs: Pairs, report: Report, labels: Labels, notices: Sequence[str]) -> None:
    print(f"{len(pairs.pairs)} images with a mask")
    for title, sentences in (("problem", report.problems), ("notice", notices)):
        for number, sentence in enumerate(sentences, start=1):
            print()
            print(fill(f"{title} {number}: {sentence}", 80, **_WRAPPED))
    if not report.areas.any():
        return
    width = max(map(len, labels.names))
    print(f"\n{'class':{width}}  pixels  images  small objects, at 512 x 512")
    for row in report.classes.itertuples():
        small = "-" if row.small != row.small else f"{row.small:.0f} x {row.small:.0f} pixels"
        print(f"{row.name:{width}}  {row.pixels:6.2%}  {row.images:6.0%}  {small}")
    tiny = report.classes[report.classes["small"] < _SMALL]["name"]
    if len(tiny):
        print(
            f"A tenth of the objects of {', '.join(tiny)} is smaller than that, and a model sees "
            f"4 x 4 pixels as one: --image-size of scripts.train may have to be larger"
        )


def _write_sheet(
    pairs: Pairs, report: Report, labels: Labels, convert: Convert | None, file: Path
) -> None:
    """Draw masks over their images, for somebody to look at."""
    import numpy as np

    from helpers.images import load_image, load_mask
    from helpers.visualize import overlay, show_images

    sound = [pair for pair, areas in zip(pairs.pairs, report.areas, strict=True) if areas.any()]
    if not sound:
        return
    views = {}
    for image, mask in sound[:: -(-len(sound) // _SHOWN)]:
        read = convert(mask, image) if convert else labels.to_label_map(load_mask(mask, image))
        picture, label_map = load_image(image), np.asarray(read)
        views[image.name] = overlay(picture, label_map, 0.5, labels)
    present = np.flatnonzero(report.areas.any(axis=0)).tolist()
    figure = show_images(views, present, columns=4, width=14, labels=labels)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    print(f"\n{len(views)} masks over their images, to look at: {_from_here(file)}")


def _print_splits(
    pairs: Pairs, report: Report, labels: Labels, splits: Mapping[str, Sequence[Pair]]
) -> None:
    areas = dict(zip(pairs.pairs, report.areas, strict=True))
    counts = ", ".join(f"{len(part)} {name}" for name, part in splits.items())
    print(f"\nwritten: {counts} images")
    trained = sum(areas[pair] for pair in splits["train"])
    if absent := [name for name, area in zip(labels.names, trained, strict=True) if not area]:
        print(
            f"No training image shows {', '.join(absent)}: draw the splits with another --seed, or "
            "annotate more images"
        )


def _print_next(options: argparse.Namespace, pairs: Pairs) -> None:
    data = _from_here(options.output)
    model = f"{data}-model"
    images = _from_here(pairs.pairs[0][0].parent)
    train = ["scripts.train", "--profile", "sample", "--data", data, "--output-dir", model]
    segment = ["scripts.segment", images, "--model", model, "--output", f"{data}-segmented"]
    print("\nNext, train on it, and segment images (name a folder of new ones):")
    for command in (train, segment):
        print("  " + shlex.join(["python", "-m", *command]))


def _from_here(path: Path) -> str:
    """A path as short as it is written from where the reader stands."""
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.exit(_refuse(f"{message} (--help lists what there is)", status=2))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options; a wrong one ends the program with a sentence."""
    parser = _Parser(
        prog="python -m scripts.prepare",
        description="Make a data set for scripts.train of a folder of images and masks, or of an "
        "annotation tool's export: pairs them, reports what is wrong and which option settles it, "
        "draws masks over images to look at, and writes Parquet once no problem is left.",
        epilog="Exit status: 0 when it is written, 1 with problems to settle, 2 for a wrong option "
        "or an --output that holds something else.",
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="images and masks, or an export")
    add("--output", type=Path, required=True, metavar="DATA", help="folder of the data set")
    add(
        "--classes",
        type=_listed(str),
        metavar="NAMES",
        help="what the masks' values mean, in order, as background,apple,pear; or a file with a "
        "name a line. With --format: which classes to take, and their order",
    )
    add("--format", choices=_FORMATS, help="an annotation tool's export, which names its classes")
    add("--images", metavar="DIR", help="default: FOLDER/images")
    add("--masks", metavar="DIR", help="default: FOLDER/masks")
    add("--mask-suffix", default="", metavar="S", help='as "_mask" in cat_mask.png')
    add(
        "--image-name",
        default="*",
        metavar="NAME",
        help='as "*_sat": * stands for what pairs share',
    )
    add("--mask-name", default="*", metavar="NAME", help='as "mask_*"')
    add(
        "--values",
        type=_listed(int),
        metavar="0,255",
        help="the masks' values, in the order of the classes, where they are not 0, 1, 2 ...",
    )
    add(
        "--colors",
        type=Path,
        metavar="FILE",
        help="for masks in colors: lines name,red,green,blue, or a tool's labelmap.txt",
    )
    add(
        "--ignore",
        type=_listed(int),
        default=[],
        metavar="7",
        help="values of pixels to leave out of training and scores",
    )
    add("--drop", nargs="+", default=[], metavar="FILE", help="files or sub-folders to leave out")
    add("--reduce", action="store_true", help="value 0 is no class, and the first class is 1")
    add(
        "--resize-masks",
        action="store_true",
        help="resize masks of another size but the same shape to their images",
    )
    add(
        "--group-by",
        metavar="PATTERN",
        help="keep images together of which this regular expression matches the same part of the "
        r'path (its first group, if it has one), as "(.*)_\d+" or "[^/]+/"',
    )
    add("--validation-fraction", type=_share, default=0.2, metavar="X", help="default: 0.2")
    add(
        "--test-fraction",
        type=_share,
        default=0.0,
        metavar="X",
        help="a third split (default: none)",
    )
    add("--seed", type=at_least(0, 2**32 - 1), default=0, metavar="N", help="draws other splits")
    options = parser.parse_args(arguments)
    if not options.format and not options.classes and not options.colors:
        parser.error("--classes is missing, as in --classes background,apple,pear")
    if options.values and options.classes and len(options.values) != len(options.classes):
        parser.error(
            f"--values has {len(options.values)} numbers and --classes {len(options.classes)} "
            "names: expected as many, in the same order"
        )
    if options.group_by:
        try:
            re.compile(options.group_by)
        except re.error as error:
            parser.error(f"--group-by: {options.group_by!r} is no regular expression ({error})")
    return options


def _listed(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A `type` for argparse: things of a kind, with commas between."""

    def listed(text: str) -> list[Any]:
        try:
            return [kind(part.strip()) for part in text.split(",") if part.strip()]
        except ValueError as error:
            expected = "whole numbers with commas between, as in 0,255"
            raise argparse.ArgumentTypeError(f"it is {text}, expected {expected}") from error

    return listed


def _share(text: str) -> float:
    """A `type` for argparse: a part of the images."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"it is {text}, expected 0 to 1, as in 0.2")
    return share


def _refuse(message: str, status: int) -> int:
    sys.stdout.flush()  # what was found comes first
    print(f"error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
