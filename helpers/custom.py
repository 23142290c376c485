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
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from helpers.images import FileFault, header, load_image, load_mask, orientation, size_of
from helpers.labels import IGNORE_INDEX, Color, Labels
from helpers.masks import as_numbers, color_of, of_other_size, values_in
from helpers.masks import labels_from_colors as labels_from_colors
from helpers.masks import labels_from_values as labels_from_values
from helpers.masks import resize_labels as resize_labels
from helpers.pairs import Pair, Pairs, check_splits, equal_files
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
    "so many come from JPEG compression or soft edges (export the masks again as PNG without "
    "smoothing), or from numbered objects (--format objects and --format coco read such exports)"
)
_AS_JPEG = {"format": "JPEG", "quality": 95, "subsampling": 0}
_AS_PNG = {"format": "PNG", "compress_level": 1}
_AT_A_TIME = 16  # images in memory, and in a row group of Parquet
_ROW_GROUP = 2**27  # bytes; a column of Arrow holds 2 GB, and memory several times as much
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
    a problem, and small: a tenth of its pixels lies in objects no larger than a square of this
    side, in pixels, when images are resized to 512 x 512 for a model; NaN without objects."""
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
            'than case and extension, say how: image_name="*_sat", mask_name="*_mask" '
            "(--image-name, --mask-name). Sub-folders must have the same names on both sides. "
            "`python -m scripts.prepare --format` reads what an annotation tool wrote"
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
        cause = f"has no {other} of its name"
        remedy = f"add the {other}, or --drop-unpaired leaves out files without a partner"
        faults += [FileFault(f"{kind} {file}", cause, remedy) for file in alone]
    problems = _grouped(faults)
    areas = np.stack([look.areas for look in looks])
    total, sound = areas.sum(axis=0), np.count_nonzero(areas.any(axis=1))
    if not total.all() and not faults:  # or they are the reason
        absent = ", ".join(name for name, area in zip(labels.names, total, strict=True) if not area)
        shown = sorted({value for look in looks for value in look.values})
        problems.append(
            f"no mask shows {absent}: there is nothing to learn it from. Masks hold "
            f"{_listed(shown) or 'colors'}: name the classes that they show, or say what their "
            "values mean (--values)"
        )
    sizes = [np.concatenate([look.objects[k] for look in looks]) for k in labels.id2label]
    classes = pd.DataFrame(
        {
            "label": range(labels.num_labels),
            "name": labels.names,
            "pixels": total / max(total.sum(), 1),
            "images": (areas > 0).sum(axis=0) / max(sound, 1),
            "small": [_small(each) for each in sizes],
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
        ValueError: the report has problems; all of them. Or see `check_splits` and
            `refuse_other_files`.
        FileExistsError: the folder holds something else.
        OSError: it cannot be written.
    """
    from datasets import Features
    from datasets import Image as ImageFeature
    from pyarrow import Table, parquet

    folder = Path(folder).resolve()
    refuse_other_files(folder)
    report = report or report_pairs(pairs, labels, convert)
    if report.problems:
        raise ValueError("\n".join(["these have to be settled first:", *report.problems]))
    splits = splits or split_pairs(pairs.pairs)
    check_splits(splits)
    schema = Features(image=ImageFeature(), annotation=ImageFeature()).arrow_schema
    partial, older = (folder.with_name(f".{folder.name}.{end}") for end in ("partial", "older"))
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
                    large = sum(len(row["image"]["bytes"]) for row in rows) > _ROW_GROUP
                    step = 1 if large else len(rows)
                    for first in range(0, len(rows), step):
                        writer.write_table(Table.from_pylist(rows[first : first + step], schema))
        shutil.rmtree(older, ignore_errors=True)
        if folder.exists():
            folder.rename(older)
        partial.rename(folder)
        shutil.rmtree(older, ignore_errors=True)
    except OSError as error:
        if older.exists() and not folder.exists():
            older.rename(folder)
        kept = "; what was there is as before" if folder.exists() else ""
        raise OSError(f"{folder} cannot be written ({error}){kept}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def refuse_other_files(folder: Path) -> None:
    """Make sure that a data set can be written to a folder: a new one, or an older data set.

    Raises:
        FileExistsError: it is a file, below a file, or holds something else; or you stand in it.
        ValueError: `load_dataset` cannot read it.
    """
    if "::" in str(folder.resolve()):
        raise ValueError(
            f'{folder.resolve()} has "::" in its path, which load_dataset takes for a link: choose '
            "another place"
        )
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise FileExistsError(f"{place} is a file, expected a folder or a new name")
    if folder.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise FileExistsError(f"{folder} is where you stand, expected a folder below it, or beside")
    if not folder.is_dir():
        return
    others = {file.name for file in folder.iterdir()} - _WRITTEN
    data = folder / "data"  # or somebody's photographs would go
    others |= {f"data/{file.name}" for file in data.glob("*") if file.suffix != ".parquet"}
    if others:
        raise FileExistsError(
            f"{folder} holds {min(others)}, expected a new or empty folder or an older data set "
            f"({', '.join(sorted(_WRITTEN))}), which is replaced: choose another name"
        )


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
        image, mask = (_printable(Path(file.name)) for file in pair)
        self.row = dict.fromkeys(_COLUMNS, "-") | {"image": image, "mask": mask}
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
        _refuse_other_names("image", self.pair[0])
        image, stored = load_image(self.pair[0]), header(self.pair[0])
        self.row |= {"image_size": _size(stored.size), "image_mode": stored.mode}
        self.turned = orientation(stored) != 1
        self.several = getattr(stored, "n_frames", 1) > 1
        self.dark = max(high for _, high in image.getextrema()) < _DARK
        return image.size

    def _at_mask(self, image_is_sound: bool) -> np.ndarray:
        _refuse_other_names("mask", self.pair[1])
        stored = header(self.pair[1], self.name)
        self.row |= {"mask_size": _size(stored.size), "mask_mode": stored.mode}
        mask = load_mask(self.pair[1], self.pair[0] if image_is_sound else None)
        found = values_in(as_numbers(mask) if mask.ndim == 3 else mask.astype(int)).tolist()
        if mask.ndim == 3:
            found = self.colors = [color_of(number) for number in found]
        else:
            self.values = found
        self.row["values"] = _listed(found)
        if stored.mode == "P" and mask.ndim == 2:
            colors = stored.getpalette() or []
            self.palette = {k: tuple(colors[3 * k : 3 * k + 3]) for k in found}
        return mask

    def _at_both(
        self, size: tuple[int, int], mask: np.ndarray, labels: Labels, convert: Convert | None
    ) -> None:
        if convert is None:
            if mask.shape[:2] != size[::-1]:
                raise of_other_size(self.name, mask.shape[1::-1], size)
            if self.colors or not _known(labels).issuperset(self.values):
                return  # what all masks hold shows what to do: see _refuse_unexplained
        label_map = _label_map(self.pair, labels, convert, mask)
        areas = np.bincount(label_map.ravel(), minlength=256)[: labels.num_labels]
        if not areas.any():
            raise FileFault(self.name, "has no class in any pixel", "annotate it, or --drop FILE")
        self.areas = areas
        self.objects = _object_areas(label_map, labels)


def _refuse_unexplained(looks: Sequence[_Look], labels: Labels) -> None:
    """Refuse masks whose numbers `labels` does not explain, and say which option settles them: what
    all masks hold together shows which."""
    if any(look.colors for look in looks):  # then grey in an RGB file is a color as well
        for look in looks:
            if look.row["mask_mode"].startswith("RGB") and look.values:
                look.colors, look.values = [(value,) * 3 for value in look.values], []
    count = labels.num_labels
    values = sorted({value for look in looks for value in look.values})
    known = _known(labels)
    unknown = [value for value in values if value not in known]
    settled = _settled(unknown, values, labels) if unknown else ""
    images_with = Counter(color for look in looks for color in look.colors)
    of_one = sum(number == 1 for number in images_with.values()) if len(looks) > 1 else 0
    many_colors = len(images_with) > _SOFT * count or of_one > max(count, len(images_with) / 2)
    some = " ".join("{},{},{}".format(*color) for color in sorted(images_with))
    numbers = ",".join(map(str, range(labels.reduce, count + labels.reduce)))
    mixed = f" --values {numbers}" if values and "--values" not in settled else ""
    colors = f"--colors FILE{mixed}, with a line `name,red,green,blue` for each of {some}"
    for look in looks:
        wrong = [value for value in look.values if value not in known]
        if wrong:
            which = f"the value {wrong[0]}" if len(wrong) == 1 else f"{len(wrong)} values"
            which += f" without a meaning, such as {wrong[0]}" if len(wrong) > 1 else ""
            look.refuse(f"holds {which}, expected {labels.expected_values}", settled)
        elif not labels.reduce and look.values == [0, IGNORE_INDEX]:
            cause = "holds 0 and 255 alone: 255 means yes in many tools, and here pixels to ignore"
            yes = (
                "makes 255 the second class"
                if count == 2
                else "is right for two classes, yes and no"
            )
            look.refuse(cause, f"--values 0,255 {yes}, --ignore 255 ignores it")
        elif look.colors:
            cause = f"is in colors, expected one number for each pixel, {labels.expected_values}"
            look.refuse(cause, _EXPORT_AGAIN if many_colors else colors)
    seen: dict[int, tuple[tuple[int, ...], Path]] = {}
    for look in looks:
        for index, color in look.palette.items():
            before, file = seen.setdefault(index, (color, look.pair[1]))
            if before != color:
                remedy = f"--colors FILE if the colors count, --values {numbers} if the indices do"
                cause = f"and {file} have palettes that differ: index {index} is {color} in the "
                look.refuse(f"{cause}first and {before} in the second", remedy)
                return


def _known(labels: Labels) -> set[int]:
    """The values that a mask may hold."""
    return {*range(labels.num_labels + labels.reduce), *([] if labels.reduce else [IGNORE_INDEX])}


def _settled(unknown: Sequence[int], values: Sequence[int], labels: Labels) -> str:
    """What settles values without a meaning, given all values of all masks."""
    count = labels.num_labels
    plain = [value for value in values if value != IGNORE_INDEX and (value or not labels.reduce)]
    reduce = "--reduce" + " --ignore 255" * (IGNORE_INDEX in values)
    if len(unknown) > _SOFT:
        return _EXPORT_AGAIN
    if unknown == [IGNORE_INDEX]:  # of labels with reduce
        return "--ignore 255; or labels were reduced already, once is enough: without --reduce"
    if not labels.reduce and plain == list(range(1, count + 1)):
        return f"{reduce}: the classes are 1 to n, and 0 is none"
    if not labels.reduce and plain == list(range(count + 1)):
        return f"name one more class, or {reduce} if 0 means that nobody annotated the pixel"
    for all_of_them in (values, plain):
        if len(all_of_them) == count:
            return f"--values {','.join(map(str, all_of_them))}, in the order of the classes"
    which = ",".join(map(str, unknown))
    return f"name their classes, or --ignore {which} leaves their pixels out of training and scores"


def _grouped(faults: Sequence[Exception]) -> list[str]:
    """A sentence for each cause: the first file with what is wrong, how many more, what to do."""
    groups: dict[str, list[Exception]] = {}
    for fault in faults:
        groups.setdefault(getattr(fault, "remedy", "") or str(fault), []).append(fault)
    sentences = []
    for remedy, (first, *others) in groups.items():
        if not isinstance(first, FileFault):
            sentences.append(str(first))
            continue
        files = [fault.name.partition(" ")[2] for fault in (first, *others)]
        some = ", ".join(Path(file).name for file in files[1:3]) + ", ..." * (len(others) > 2)
        more = f" (and {len(others)} more: {some})" if others else ""
        told = remedy.replace("--drop FILE", shlex.join(["--drop", *files]))
        sentences.append(f"{first.name} {first.cause}{more}: {told}")
    return sentences


def _notices(looks: Sequence[_Look], pairs: Pairs) -> list[str]:
    """One sentence for each kind of thing, with how many files it is about and an example."""
    kinds = {
        "turned": "turned by the camera's note, and so are the masks that were stored the "
        "same way. Where the size of a mask does not show which it is, only an overlay can",
        "dark": "without a bright pixel: perhaps 12 bits were stored in 16, which looks almost "
        "black",
        "several": "of several pages or frames, of which only the first is used",
    }
    notices = []
    for kind, what in kinds.items():
        if found := [look.pair[0] for look in looks if getattr(look, kind)]:
            notices.append(f"{len(found)} of {len(looks)} images{_such_as(found)}: {what}")
    if copies := equal_files([image for image, _ in pairs.pairs]):
        notices.append(
            f"{sum(map(len, copies))} images are copies of others, byte for byte (such as "
            f"{copies[0][0]} and {copies[0][1]}): splits that are drawn keep them together"
        )
    if pairs.left_out:
        notices.append(
            f"files left out: {len(pairs.left_out)}{_such_as(pairs.left_out)}, no image by "
            "their extension, or named otherwise than the others"
        )
    return notices


def _small(areas: np.ndarray) -> float:
    """The side of a square: a tenth of the pixels of these areas lies in areas no larger."""
    areas = np.sort(areas)
    within = np.searchsorted(areas.cumsum(), areas.sum() / 10)
    return math.sqrt(areas[within]) if len(areas) else math.nan


def _object_areas(label_map: np.ndarray, labels: Labels) -> list[np.ndarray]:
    """Of each class, the areas of its connected parts in pixels of a model's input."""
    from scipy.ndimage import label

    seen = np.asarray(Image.fromarray(label_map).resize((_SEEN, _SEEN), Image.Resampling.NEAREST))
    return [np.bincount(label(seen == k)[0].ravel())[1:] for k in labels.id2label]


def _label_map(
    pair: Pair, labels: Labels, convert: Convert | None, read: np.ndarray | None = None
) -> np.ndarray:
    """What is stored of a mask that may be read already: label ids and 255, of its image's size."""
    image, mask = pair
    if convert is None:
        label_map = labels.to_label_map(load_mask(mask, image) if read is None else read)
    else:
        converted = np.asarray(convert(mask, image))
        try:
            label_map = Labels(labels.names).to_label_map(converted)
        except ValueError as error:
            raise FileFault(f"mask {mask}", f"is not converted to label ids ({error})") from error
    if label_map.shape != size_of(image)[::-1]:
        raise of_other_size(f"mask {mask}", label_map.shape[::-1], size_of(image))
    return label_map


def _row(pair: Pair, labels: Labels, convert: Convert | None) -> dict[str, dict[str, Any]]:
    """What is stored of a pair: each file's name and bytes."""
    image, mask = pair
    opened, content = header(image), io.BytesIO()
    sound = opened.format in ("JPEG", "PNG", "WEBP") and opened.mode == "RGB"
    if sound and orientation(opened) == 1 and getattr(opened, "n_frames", 1) == 1:
        content.write(image.read_bytes())
    else:  # a JPEG file of two pictures, as some phones write, is called MPO
        as_jpeg = opened.format in ("JPEG", "MPO")
        load_image(image).save(content, **(_AS_JPEG if as_jpeg else _AS_PNG))
    stored = io.BytesIO()
    Image.fromarray(_label_map(pair, labels, convert)).save(stored, format="PNG")
    return {
        "image": {"path": image.name, "bytes": content.getvalue()},
        "annotation": {"path": mask.name, "bytes": stored.getvalue()},
    }


def _refuse_other_names(kind: str, file: Path) -> None:
    if _printable(file) != str(file):
        cause = "has a name that is not UTF-8, which no data set can hold"
        raise FileFault(f"{kind} {_printable(file)}", cause, "rename it, as convmv does for all")


def _printable(file: Path) -> str:
    """A path, in which bytes that are not UTF-8 are written out."""
    return str(file).encode(errors="backslashreplace").decode()


def _size(size: tuple[int, int]) -> str:
    return "{} x {}".format(*size)


def _listed(found: Sequence[Any]) -> str:
    return " ".join([*map(str, found[:_LISTED]), *["..."] * (len(found) > _LISTED)])


def _such_as(files: Sequence[Any]) -> str:
    return f" (such as {files[0]})" if files else ""
