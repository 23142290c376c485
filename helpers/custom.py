"""A folder of your own images and masks becomes a data set that is sound, or is refused.

`find_pairs` pairs files by name, `report_pairs` opens each of them once and says what is wrong, and
`write_dataset` writes Parquet that holds label ids, for `helpers.data.load_scenes` and for
`load_dataset`. Masks of other conventions are converted on the way by a function `convert`: it is
given the files of a mask and of its image, and gives label ids, 255 among them, at the image's
size. `python -m scripts.prepare` does all of this in one command; problems name its options.
"""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from helpers.images import (
    FileFault,
    Source,
    header,
    load_image,
    load_mask,
    name_of,
    orientation,
    size_of,
)
from helpers.labels import IGNORE_INDEX, Color, Labels
from helpers.pairs import Pair, Pairs, equal_files
from helpers.pairs import find_pairs as find_pairs  # one place for all that an own folder needs
from helpers.pairs import split_pairs as split_pairs
from helpers.processes import progress

if TYPE_CHECKING:
    import pandas as pd

Convert = Callable[[Path, Path], "np.ndarray | Image.Image"]
"""From the files of a mask and of its image to the label map, (height, width) uint8."""

_COLUMNS = ("image", "image_size", "image_mode", "mask", "mask_size", "mask_mode", "values")
_LISTED = 12  # values or colors that are listed; a mask of soft edges has hundreds
_DARK = 64  # of 255: below this, the brightest pixel of an image is far from white
_SEEN = 512  # side of the square that a model sees, pixels
_SOFT = 24  # more unexpected values than this are not a slip of the brush
_EXPORT_AGAIN = (
    "so many come from JPEG compression or soft edges, then export the masks again as PNG without "
    "smoothing; or they number objects, which --format objects or coco reads"
)
_AS_JPEG = {"format": "JPEG", "quality": 95, "subsampling": 0}
_AS_PNG = {"format": "PNG", "compress_level": 1}
_AT_A_TIME = 16  # images in memory, and in a row group of Parquet
_WRITTEN = {"data", "id2label.json", "labels.json"}  # all that a data set's folder holds


@dataclass(frozen=True)
class Report:
    """What `report_pairs` found."""

    files: pd.DataFrame
    """A row for each pair: image (its name), image_size, image_mode, mask, mask_size, mask_mode,
    values (those of the mask, or its colors; "-" where it cannot be read) and problem ("" if
    none)."""
    classes: pd.DataFrame
    """A row for each class: label, name, pixels and images (shares, 0 to 1) over all pairs without
    a problem, and small: a tenth of its objects is smaller than a square of this side, in pixels,
    when images are resized to 512 x 512 for a model; NaN without objects."""
    areas: np.ndarray
    """(pairs, num_labels) int64: pixels of each class, 0 where a pair has a problem."""
    problems: list[str]
    """What has to be settled, a sentence for each cause: an example, how many more, what to do."""
    notices: list[str]
    """What is not wrong in itself but deserves a look, likewise."""


def report_pairs(pairs: Pairs, labels: Labels, convert: Convert | None = None) -> Report:
    """Decode every image and mask once and report what they hold; bad files do not stop it.

    Args:
        pairs: from `find_pairs`.
        labels: what the masks' values mean.
        convert: see this module's first lines; None: the masks hold what `labels` explains.

    Raises:
        ValueError: there is not one pair.
    """
    import pandas as pd

    if not pairs.pairs:
        raise ValueError(
            "not one image has a mask of the same name: there are "
            f"{len(pairs.images_alone)} images{_such_as(pairs.images_alone)}, "
            f"{len(pairs.masks_alone)} masks{_such_as(pairs.masks_alone)} and "
            f"{len(pairs.left_out)} other files{_such_as(pairs.left_out)}. If names differ in more "
            'than case and extension, say how: image_name="*_sat", mask_name="*_mask". Sub-folders '
            "must have the same names on both sides. For files of an annotation tool, "
            "`python -m scripts.prepare --format` reads them"
        )
    with ThreadPoolExecutor() as pool:  # Pillow decodes without holding the interpreter's lock
        looks = pool.map(lambda pair: _Look(pair, labels, convert), pairs.pairs)
        looks = list(progress(looks, "Looking at masks", len(pairs.pairs), delay=2))
    if convert is None:
        _refuse_unexplained(looks, labels)
    faults = [fault for look in looks for fault in look.faults]
    for kind, alone, other in (
        ("image", pairs.images_alone, "mask"),
        ("mask", pairs.masks_alone, "image"),
    ):
        cause, remedy = f"has no {other} of its name", f"add the {other}, or --drop the {kind}"
        faults += [FileFault(f"{kind} {file}", cause, remedy) for file in alone]
    problems = _grouped(faults)
    areas = np.stack([look.areas for look in looks])
    total, sound = areas.sum(axis=0), np.count_nonzero(areas.any(axis=1))
    if not total.all() and not faults:  # or they are the reason
        absent = ", ".join(name for name, area in zip(labels.names, total, strict=True) if not area)
        problems.append(f"no mask shows {absent}: there is nothing to learn it from")
    sizes = [np.concatenate([look.objects[k] for look in looks]) for k in labels.id2label]
    classes = pd.DataFrame(
        {
            "label": range(labels.num_labels),
            "name": labels.names,
            "pixels": total / max(total.sum(), 1),
            "images": (areas > 0).sum(axis=0) / max(sound, 1),
            "small": [math.sqrt(np.quantile(s, 0.1)) if len(s) else math.nan for s in sizes],
        }
    )
    rows = [{**look.row, "problem": " ".join(map(str, look.faults))} for look in looks]
    return Report(pd.DataFrame(rows), classes, areas, problems, _notices(looks, pairs))


def write_dataset(
    pairs: Pairs,
    labels: Labels,
    folder: Path,
    convert: Convert | None = None,
    splits: Mapping[str, Sequence[Pair]] | None = None,
    report: Report | None = None,
) -> Report:
    """Write a sound data set that needs no other files: `data/*.parquet` and its labels.

    Images are upright and RGB there; files that are so already are stored as they are, other JPEG
    files with quality 95, all others as PNG. Masks are PNG files of label ids. What is in the
    folder is replaced when everything else is written, and not before.

    Args:
        pairs: from `find_pairs`.
        labels: see `report_pairs`; written as `id2label.json` and `labels.json`.
        folder: made if it is missing; it may hold an older data set and nothing else.
        convert: see this module's first lines.
        splits: the pairs of each split, "train" and "validation" at least; None: `split_pairs`.
        report: of these pairs, if there is one already.

    Returns:
        The report.

    Raises:
        ValueError: the report has problems; all of them. Or a split is missing or empty, or an
            image is in two of them.
        FileExistsError: the folder holds something else.
    """
    from datasets import Features
    from datasets import Image as ImageFeature
    from pyarrow import Table, parquet

    folder = Path(folder)
    refuse_other_files(folder)
    report = report or report_pairs(pairs, labels, convert)
    if report.problems:
        raise ValueError("\n".join(["these have to be settled first:", *report.problems]))
    splits = splits or split_pairs(pairs.pairs)
    _check_splits(splits)
    schema = Features(image=ImageFeature(), annotation=ImageFeature()).arrow_schema
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / "data").mkdir(parents=True)
        Labels(labels.names, labels.palette).save(partial)
        for name, part in splits.items():
            file = partial / "data" / f"{name}-00000-of-00001.parquet"
            starts = range(0, len(part), _AT_A_TIME)
            with parquet.ParquetWriter(file, schema) as writer, ThreadPoolExecutor() as pool:
                for start in progress(starts, f"Writing {name}", delay=2):
                    some = part[start : start + _AT_A_TIME]
                    rows = list(pool.map(lambda pair: _row(pair, labels, convert), some))
                    writer.write_table(Table.from_pylist(rows, schema))
        older = folder.with_name(f".{folder.name}.older")
        shutil.rmtree(older, ignore_errors=True)
        if folder.exists():
            folder.rename(older)
        partial.rename(folder)
        shutil.rmtree(older, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def refuse_other_files(folder: Path) -> None:
    """Make sure that a folder for a data set is new, empty or an older data set.

    Raises:
        FileExistsError: it is a file, or holds something else.
    """
    if folder.is_dir():
        others = sorted({file.name for file in folder.iterdir()} - _WRITTEN)
        if not others:
            return
        raise FileExistsError(
            f"{folder} holds {others[0]}, expected a new or empty folder or an older data set "
            f"({', '.join(sorted(_WRITTEN))}), which is replaced: choose another name"
        )
    if folder.exists():
        raise FileExistsError(f"{folder} is a file, expected a folder or a new name")


def labels_from_values(
    mask: Source, values: Mapping[int, int], image: Source | None = None
) -> Image.Image:
    """Turn a mask whose *values* mean classes into one of mode L.

    Args:
        mask: see `helpers.images.load_mask`; of a palette PNG the indices count, not the colors.
        values: from stored value to label, for example {0: 0, 255: 1}; each value that occurs
            needs an entry.
        image: the mask's image; the mask is turned upright as it is, see
            `helpers.images.load_mask`.

    Returns:
        Mode L, labels 0-255.

    Raises:
        ValueError: a value has no label, or the mask is color-coded.
    """
    name, stored = name_of(mask, "mask"), load_mask(mask, image)
    if stored.ndim == 3:
        raise _in_colors(name)
    present = np.unique(stored).tolist()
    if unknown := [value for value in present if value not in values]:
        raise FileFault(
            name,
            f"holds the value {unknown[0]} in {np.count_nonzero(stored == unknown[0])} pixels, "
            f"expected {', '.join(map(str, values))}",
            f"give it a label, or 255 for pixels without a class (--ignore {unknown[0]})",
        )
    labels = np.zeros(stored.shape, dtype=np.uint8)
    for value in present:
        labels[stored == value] = values[value]
    return Image.fromarray(labels)


def labels_from_colors(
    mask: Source,
    colors: Mapping[Color, int],
    unknown: int | None = None,
    image: Source | None = None,
) -> Image.Image:
    """Turn a mask whose *colors* mean classes into one of mode L.

    Args:
        mask: see `helpers.images.load_mask`; of a palette PNG the colors count, not the indices.
        colors: from (red, green, blue) to label.
        unknown: the label of other colors, such as 255 for "no class"; None: refuse them.
        image: the mask's image; the mask is turned upright as it is, see
            `helpers.images.load_mask`.

    Returns:
        Mode L, labels 0-255.

    Raises:
        ValueError: a pixel has a color that is not in `colors`.
    """
    name = name_of(mask, "mask")
    numbers = _as_numbers(load_mask(mask, image, in_colors=True))
    present, where = np.unique(numbers, return_inverse=True)
    labels = [colors.get(_color(number), unknown) for number in present.tolist()]
    if None in labels:
        missing = present[labels.index(None)]
        raise FileFault(
            name,
            f"holds the color {_color(int(missing))} in {np.count_nonzero(numbers == missing)} "
            f"pixels ({labels.count(None)} such colors), expected one of "
            f"{', '.join(map(str, colors))}",
            "give it a label, or 255 for pixels without a class. Many in-between colors mean JPEG "
            "compression or soft edges: export the masks again as PNG without smoothing",
        )
    return Image.fromarray(np.array(labels, dtype=np.uint8)[where].reshape(numbers.shape))


def resize_labels(labels: Image.Image, image: Source) -> Image.Image:
    """Resize a mask of mode L to its upright image, by nearest neighbour.

    Raises:
        ValueError: their shapes differ, so it may be the mask of another image.
    """
    size = size_of(image)
    if not _have_one_shape(labels.size, size):
        raise _of_other_size(f"the mask of {name_of(image, 'image')}", labels.size, size)
    return labels.resize(size, Image.Resampling.NEAREST)


class _Look:
    """One pair: its row of the report, the pixels of each class, and what was noticed."""

    def __init__(self, pair: Pair, labels: Labels, convert: Convert | None) -> None:
        self.pair, self.name = pair, f"mask {pair[1]}"
        self.faults: list[Exception] = []
        self.areas = np.zeros(labels.num_labels, dtype=np.int64)
        self.objects: list[np.ndarray] = [np.empty(0)] * labels.num_labels  # their areas
        self.turned = self.dark = self.several = False
        self.values: list[int] = []  # those of a mask that is not in colors
        self.colors: list[Color] = []  # those of one that is
        self.palette: dict[int, tuple[int, ...]] = {}
        self.row = dict.fromkeys(_COLUMNS, "-") | {"image": pair[0].name, "mask": pair[1].name}
        size = self._tried(self._at_image)
        mask = self._tried(self._at_mask, size is not None)
        if not self.faults:
            self._tried(self._at_both, size, mask, labels, convert)

    def _tried(self, look: Callable[..., Any], *given: Any) -> Any:
        try:
            return look(*given)
        except (ValueError, OSError) as error:
            self.faults.append(error)

    def refuse(self, cause: str, remedy: str) -> None:
        self.faults.append(FileFault(self.name, cause, remedy))
        self.areas = np.zeros_like(self.areas)

    def _at_image(self) -> tuple[int, int]:
        file = self.pair[0]
        if not str(file).isprintable():  # as Python reads bytes that are not UTF-8
            cause = "has a name that is not UTF-8, or holds signs that cannot be printed"
            raise FileFault(f"image {str(file)!a}", cause, "rename it")
        image, stored = load_image(file), header(file)
        self.row |= {"image_size": _size(stored.size), "image_mode": stored.mode}
        self.turned = orientation(stored) != 1
        self.several = getattr(stored, "n_frames", 1) > 1
        self.dark = max(high for _, high in image.getextrema()) < _DARK
        return image.size

    def _at_mask(self, image_is_sound: bool) -> np.ndarray:
        stored = header(self.pair[1], self.name)
        self.row |= {"mask_size": _size(stored.size), "mask_mode": stored.mode}
        mask = load_mask(self.pair[1], self.pair[0] if image_is_sound else None)
        found = np.unique(_as_numbers(mask) if mask.ndim == 3 else mask.astype(int)).tolist()
        if mask.ndim == 3:
            found = self.colors = [_color(number) for number in found]
        else:
            self.values = found
        more = ["..."] if len(found) > _LISTED else []
        self.row["values"] = " ".join([*map(str, found[:_LISTED]), *more])
        if stored.mode == "P" and mask.ndim == 2:
            colors = stored.getpalette() or []
            self.palette = {k: tuple(colors[3 * k : 3 * k + 3]) for k in found}
        return mask

    def _at_both(
        self, size: tuple[int, int], mask: np.ndarray, labels: Labels, convert: Convert | None
    ) -> None:
        if convert is not None:
            label_map = np.asarray(convert(self.pair[1], self.pair[0]), dtype=np.uint8)
        elif mask.ndim == 3 or mask.shape != size[::-1]:
            label_map = mask
        else:
            try:
                label_map = labels.to_label_map(mask)
            except ValueError:  # what all masks hold shows what to do: see _refuse_unexplained
                return
        if label_map.ndim == 3:
            return
        if label_map.shape != size[::-1]:
            raise _of_other_size(self.name, label_map.shape[::-1], size)
        areas = np.bincount(label_map.ravel(), minlength=256)[: labels.num_labels]
        if not areas.any():
            raise FileFault(self.name, "has no class in any pixel", "annotate it, or --drop FILE")
        self.areas = areas
        self.objects = _object_areas(label_map, labels)


def _refuse_unexplained(looks: Sequence[_Look], labels: Labels) -> None:
    """Refuse masks whose numbers `labels` does not explain, and say which option settles them: what
    all masks hold together shows which."""
    count = labels.num_labels
    values = sorted({value for look in looks for value in look.values})
    known = {*range(count + labels.reduce)} | (set() if labels.reduce else {IGNORE_INDEX})
    yes_or_no = not labels.reduce and (count == 2 or values == [0, IGNORE_INDEX])
    colors = sorted({color for look in looks for color in look.colors})
    for look in looks:
        wrong = [value for value in look.values if value not in known]
        if len(wrong) > _SOFT:
            cause = f"holds {len(wrong)} values without a meaning, such as {wrong[0]}"
            look.refuse(f"{cause}, expected {labels.expected_values}", _EXPORT_AGAIN)
        elif wrong:
            cause = f"holds the value {wrong[0]}, expected {labels.expected_values}"
            look.refuse(cause, _settled(wrong[0], values, labels))
        elif yes_or_no and look.values == [0, IGNORE_INDEX]:
            cause = "holds 0 and 255 alone: 255 means yes in many tools, and here pixels to ignore"
            look.refuse(cause, "--values 0,255 makes 255 the second class, --ignore 255 ignores it")
        elif look.colors:
            some = ", ".join(map(str, colors[:_LISTED])) + ", ..." * (len(colors) > _LISTED)
            remedy = f"--colors FILE, with a line `name,red,green,blue` for each of {some}"
            cause = f"is in colors, expected one number for each pixel, {labels.expected_values}"
            look.refuse(cause, remedy if len(colors) <= _SOFT * count else _EXPORT_AGAIN)
    seen: dict[int, tuple[tuple[int, ...], Path]] = {}
    for look in looks:
        for index, color in look.palette.items():
            before, file = seen.setdefault(index, (color, look.pair[1]))
            if before != color:
                indices = ",".join(map(str, range(count)))
                remedy = f"--colors FILE if the colors count, --values {indices} if the indices do"
                look.refuse(f"paints index {index} in {color}, but {file} in {before}", remedy)
                return


def _settled(value: int, values: Sequence[int], labels: Labels) -> str:
    """What settles a value without a meaning, given all values of all masks."""
    count = labels.num_labels
    plain = [value for value in values if value != IGNORE_INDEX]
    if labels.reduce and value == IGNORE_INDEX:
        return "a 255 often means that labels were reduced already, and once is enough"
    if not labels.reduce and plain == list(range(1, count + 1)):
        return "--reduce: the classes are 1 to n, and 0 is none"
    if not labels.reduce and plain == list(range(count + 1)):
        return "name one more class, or --reduce if 0 means that nobody annotated the pixel"
    for all_of_them in (values, plain):
        if len(all_of_them) == count:
            return f"--values {','.join(map(str, all_of_them))}, in the order of the classes"
    return f"name a class for it, or --ignore {value} leaves its pixels out of training and score"


def _grouped(faults: Sequence[Exception]) -> list[str]:
    """A sentence for each cause: the first file with what is wrong, how many more, what to do."""
    groups: dict[str, list[Exception]] = {}
    for fault in faults:
        groups.setdefault(getattr(fault, "remedy", "") or str(fault), []).append(fault)
    sentences = []
    for remedy, (first, *others) in groups.items():
        if not others:
            sentences.append(str(first))
            continue
        some = ", ".join(Path(fault.name).name for fault in others[:2])
        some += ", ..." * (len(others) > 2)
        more = f"(and {len(others)} more: {some})"
        sentences.append(f"{first.name} {first.cause} {more}: {remedy}")
    return sentences


def _notices(looks: Sequence[_Look], pairs: Pairs) -> list[str]:
    """One sentence for each kind of thing, with how many files it is about and an example."""
    kinds = {
        "turned": "are turned by the camera's note, and so are the masks that were stored the "
        "same way. Where the size of a mask does not show which it is, only an overlay can",
        "dark": "have no bright pixel: perhaps 12 bits were stored in 16, which looks nearly black",
        "several": "have several pages or frames, of which only the first is used",
    }
    notices = []
    for kind, what in kinds.items():
        if found := [look.pair[0] for look in looks if getattr(look, kind)]:
            notices.append(f"{len(found)} images{_such_as(found)} {what}")
    for first, *copies in equal_files([image for image, _ in pairs.pairs]):
        notices.append(f"{first} and {copies[0]} are one image, byte for byte")
    if pairs.left_out:
        notices.append(
            f"{len(pairs.left_out)} files{_such_as(pairs.left_out)} are left out: no image by "
            "their extension, or named otherwise than the others"
        )
    return notices


def _object_areas(label_map: np.ndarray, labels: Labels) -> list[np.ndarray]:
    """Of each class, the areas of its connected parts in pixels of a model's input."""
    from scipy.ndimage import label

    seen = np.asarray(Image.fromarray(label_map).resize((_SEEN, _SEEN), Image.Resampling.NEAREST))
    return [np.bincount(label(seen == k)[0].ravel())[1:] for k in labels.id2label]


def _row(pair: Pair, labels: Labels, convert: Convert | None) -> dict[str, dict[str, Any]]:
    """What is stored of a pair: each file's name and bytes."""
    image, mask = pair
    opened = header(image)
    upright = load_image(image)
    content = io.BytesIO()
    sound = opened.format in ("JPEG", "PNG", "WEBP") and opened.mode == "RGB"
    if sound and orientation(opened) == 1 and getattr(opened, "n_frames", 1) == 1:
        content.write(image.read_bytes())
    else:
        upright.save(content, **(_AS_JPEG if opened.format == "JPEG" else _AS_PNG))
    label_map = convert(mask, image) if convert else labels.to_label_map(load_mask(mask, image))
    stored = io.BytesIO()
    Image.fromarray(np.asarray(label_map, dtype=np.uint8)).save(stored, format="PNG")
    return {
        "image": {"path": image.name, "bytes": content.getvalue()},
        "annotation": {"path": mask.name, "bytes": stored.getvalue()},
    }


def _check_splits(splits: Mapping[str, Sequence[Pair]]) -> None:
    if missing := [name for name in ("train", "validation") if not splits.get(name)]:
        raise ValueError(
            f"the splits are {[*splits]}, expected train and validation with at least one pair "
            f"each: {missing[0]} has none"
        )
    split_of: dict[Path, str] = {}
    for name, part in splits.items():
        for image, _ in part:
            if (other := split_of.setdefault(image.resolve(), name)) != name:
                raise ValueError(
                    f'{image} is in the splits "{other}" and "{name}", expected one: what a model '
                    "was trained on says nothing about how good it is"
                )


def _in_colors(name: str) -> FileFault:
    cause = "is in color, expected one value per pixel"
    return FileFault(name, cause, "labels_from_colors turns colors into labels (--colors FILE)")


def _of_other_size(name: str, size: tuple[int, int], of_image: tuple[int, int]) -> FileFault:
    cause = "is {} x {} pixels, its image {} x {}, expected equal sizes".format(*size, *of_image)
    remedy = "their shapes differ, so it may be the mask of another image: --drop FILE"
    if _have_one_shape(size, of_image):
        remedy = "--resize-masks resizes such masks by nearest neighbour"
    return FileFault(name, cause, remedy)


def _have_one_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether one size is a multiple of the other, give or take a rounded pixel."""
    larger, smaller = max(first, second), min(first, second)
    factor = larger[0] / smaller[0]
    return abs(larger[1] - factor * smaller[1]) <= factor


def _as_numbers(rgb: np.ndarray) -> np.ndarray:
    """Colors as one number for each pixel, (height, width) uint32: `np.unique` takes fifty times as
    long for rows of three."""
    return rgb @ np.array([65536, 256, 1], dtype=np.uint32)


def _color(number: int) -> Color:
    return tuple(number.to_bytes(3, "big"))


def _size(size: tuple[int, int]) -> str:
    return "{} x {}".format(*size)


def _such_as(files: Sequence[Any]) -> str:
    return f" (such as {files[0]})" if files else ""
