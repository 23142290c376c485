"""The command that makes a data set of one's own files: `python -m scripts.prepare --help`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill
from typing import TYPE_CHECKING, Any

from scripts import cli
from scripts.cli import FORMATS

if TYPE_CHECKING:
    from helpers.custom import Convert, Pair, Pairs, Report
    from helpers.labels import Labels

_OF_MASKS = {"masks", "mask_suffix", "image_name", "mask_name", "values", "colors", "reduce"}
_APART = (  # options that do not go together
    ({"format"}, _OF_MASKS, "an export says where its masks are, and what they mean"),
    ({"colors"}, {"reduce"}, "the colors say which class a pixel has"),
    ({"values"}, {"reduce"}, "the values say what class a pixel has, and --ignore which have none"),
)
_RESEMBLING = (  # what images are, how their names show it, and which parts of names keep together
    ("are augmented copies, as Roboflow names them", r"\.rf\.\w+", [r"(.*?)(\.rf\.|$)"]),
    (
        "are numbered, as frames of a video or photographs of one walk are",
        r"\d{3,}$",
        [r"(.*?)\d*\.\w+$", r"(.*?)\d{0,3}\.\w+$", r"(.*?)\d{0,2}\.\w+$", r"(.*?)\d?\.\w+$"],
    ),
)
_GROUPS = 5  # of fewer, none of a fair share can be drawn
_SHOWN = 12  # pairs on the sheet of overlays
_WRAPPED = {"width": 80, "subsequent_indent": "  "}
_WRAPPED |= {"break_long_words": False, "break_on_hyphens": False}
_SMALL = 16  # pixels: SegFormer predicts one label for 4 x 4 of them


def main(arguments: list[str] | None = None) -> int:
    """Prepare from the command line; returns the exit status."""
    options = _parse(arguments)
    cli.draw_bars_where_somebody_looks()
    for stream in (sys.stdout, sys.stderr):  # a name that cannot be printed is no reason to stop
        stream.reconfigure(errors="backslashreplace")
    with TemporaryDirectory() as scratch:
        nothing = f"interrupted: nothing was written to {options.output}"
        return cli.status_of(lambda: _prepare(options, Path(scratch)), nothing)


def _prepare(options: argparse.Namespace, scratch: Path) -> int:
    from helpers.custom import refuse_other_files, report_pairs, split_pairs, write_dataset
    from scripts.given import export_given, folders_given

    try:
        refuse_other_files(options.output)
    except (ValueError, OSError) as error:
        raise cli.WrongUse(f"--output: {error}") from error

    given = export_given(options, scratch) if options.format else folders_given(options)
    pairs, labels, convert, splits, told = given
    if options.drop_unpaired:
        pairs = replace(pairs, images_alone=[], masks_alone=[])
    report = report_pairs(pairs, labels, convert)
    if splits is None and options.group_by is None:
        told = [*told, *_neighbors(pairs.pairs)]
    elif splits and (options.group_by or options.test_fraction):
        told = [*told, "splits are given, so that --group-by and --test-fraction draw none"]
    _print_report(pairs, report, labels, [*report.notices, *told])
    sheet = options.output.with_name(f"{options.output.name}-overlays.png")
    _write_sheet(pairs, report, labels, convert, sheet)
    if report.problems:
        return cli.refuse(
            f"nothing was written to {options.output}: settle each problem above, in the files or "
            "with the options that it names",
            status=1,
        )
    share, rest = options.test_fraction, options.validation_fraction
    splits = splits or split_pairs(pairs.pairs, rest, share, options.group_by, options.seed)
    if "validation" not in splits:  # drawn from the training images, and the others stay
        drawn = split_pairs(splits["train"], rest, 0, options.group_by, options.seed)
        splits = {**splits, **drawn}
    write_dataset(pairs, labels, options.output, convert, splits, report)
    _print_splits(pairs, report, labels, splits)
    _print_next(options, pairs)
    return 0


def _neighbors(pairs: Sequence[Pair]) -> list[str]:
    """What the names say about images that resemble each other, and the groups that they form."""
    from helpers.pairs import groups_by_name

    images = [image for image, _ in pairs]
    for what, pattern, groups in _RESEMBLING:
        named = [image for image in images if re.search(pattern, image.stem)]
        if len(named) <= len(images) / 2:
            continue
        many = (g for g in groups if len({*groups_by_name(images, g).values()}) >= _GROUPS)
        group = next(many, None)
        option = f"keep them together with --group-by {shlex.quote(group)}, or " if group else ""
        return [
            f"{len(named)} images (such as {named[0]}) {what}. Where such images fall into both "
            f"training and validation, the score flatters: {option}put images and masks into "
            "sub-folders train and val"
        ]
    return []


def _print_report(pairs: Pairs, report: Report, labels: Labels, notices: Sequence[str]) -> None:
    print(f"pairs of image and mask: {len(pairs.pairs)}")
    for title, sentences in (("problem", report.problems), ("notice", notices)):
        for number, sentence in enumerate(sentences, start=1):
            print()
            print(fill(f"{title} {number}: {sentence}", **_WRAPPED))
    if not report.areas.any():
        return
    print("\n pixels  images  small objects, at 512 x 512  class")
    for row in report.classes.itertuples():
        small = "-" if row.small != row.small else f"{row.small:.0f} x {row.small:.0f} pixels"
        print(f"{row.pixels:7.2%} {row.images:7.0%}  {small:<27}  {row.name}")
    tiny = report.classes[report.classes["small"] < _SMALL]["name"]
    if len(tiny):
        told = (
            f"A tenth of the pixels of {', '.join(tiny)} lies in objects so small. A model sees "
            "4 x 4 pixels as one, so a larger --image-size of scripts.train may find more of them."
        )
        print(fill(told, **_WRAPPED))


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
    content = BytesIO()
    with warnings.catch_warnings(action="ignore"):  # of letters that the font lacks
        figure.savefig(content, dpi=110)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.getvalue())
    except OSError as error:
        file.unlink(missing_ok=True)
        raise OSError(f"{file} cannot be written ({error})") from error
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


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options; a wrong one ends the program with a sentence."""
    parser = cli.Parser(
        prog="python -m scripts.prepare",
        description="Make a data set for scripts.train of a folder of images and masks, or of an "
        "annotation tool's export: pairs them, reports what is wrong and which option settles it, "
        "draws masks over images to look at, and writes Parquet once no problem is left.",
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
    add("--format", choices=FORMATS, help="an annotation tool's export, which names its classes")
    add("--images", metavar="DIR", help="default: FOLDER/images")
    add("--masks", metavar="DIR", help="default: FOLDER/masks")
    add("--mask-suffix", default="", metavar="S", help='as "_mask" in cat_mask.png')
    add("--image-name", default="*", metavar="NAME", help='as "*_sat": * is what pairs share')
    add("--mask-name", default="*", metavar="NAME", help='as "mask_*"')
    values = "the masks' values, in the order of the classes, where they are not 0, 1, 2 ..."
    add("--values", type=_listed(int), metavar="0,255", help=values)
    add(
        "--colors",
        type=Path,
        metavar="FILE",
        help="for masks in colors: lines name,red,green,blue, or a tool's labelmap.txt. --classes "
        "may choose among its names. With --values, palettes and grey masks count by value",
    )
    some = {"action": "extend", "default": []}
    ignored = "values of pixels to leave out of training and scores"
    add("--ignore", type=_listed(int), **some, metavar="7", help=ignored)
    dropped = "files or sub-folders to leave out, and the partners of such files"
    add("--drop", nargs="+", **some, metavar="FILE", help=dropped)
    add("--drop-unpaired", action="store_true", help="leave out images and masks without a partner")
    add("--reduce", action="store_true", help="value 0 is no class, and the first class is 1")
    resized = "resize masks of another size but the same shape to their images"
    add("--resize-masks", action="store_true", help=resized)
    add(
        "--group-by",
        metavar="PATTERN",
        help="keep images together of which this regular expression matches the same part of the "
        r'path below the folder of images (its first group, if any), as "(.*)_\d+" or "[^/]+/"',
    )
    share = cli.a_number(lambda part: 0 <= part < 1, "0 to 1, as in 0.2")
    add("--validation-fraction", type=share, default=0.2, metavar="X", help="default: 0.2")
    add("--test-fraction", type=share, default=0, metavar="X", help="of a third split (default: 0)")
    seed = cli.at_least(0, 2**32 - 1)
    add("--seed", type=seed, default=0, metavar="N", help="draws other splits")
    options, others = parser.parse_known_args(arguments)
    if others:
        comma = "; names and values have commas between" if not others[0].startswith("-") else ""
        parser.error(f"unrecognized arguments: {' '.join(others)}{comma}")
    given = {name for name, value in vars(options).items() if value != parser.get_default(name)}
    for names, others, why in _APART:
        if (first := given & names) and (second := given & others):
            both = " and ".join(f"--{min(some)}".replace("_", "-") for some in (first, second))
            parser.error(f"{both} do not go together: {why}")
    names, values = options.classes or [], options.values or []
    if not (names or options.format or options.colors):
        parser.error("--classes is missing, as in --classes background,apple,pear")
    if len({*names}) < len(names):
        parser.error(f"--classes is {','.join(names)}, expected a name of its own for each class")
    if len(names) == 1 and not Path(names[0]).is_file():
        parser.error(
            f"--classes is {names[0]}, expected two names or more, as in background,apple, or a "
            "file of names"
        )
    if options.colors and options.ignore and not values:
        parser.error("--ignore leaves out values, so with --colors it needs --values as well")
    if len(values) != len({*values}) or (values and len(names) > 1 and len(values) != len(names)):
        parser.error(
            f"--values has {len({*values})} different numbers and --classes {len(names)} names: "
            "expected as many, in the same order"
        )
    if not options.validation_fraction or options.validation_fraction + options.test_fraction >= 1:
        parser.error("--validation-fraction is 0, or leaves no image for training")
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


if __name__ == "__main__":
    sys.exit(main())
