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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from helpers.images import FileFault, header, load_image, orientation
from helpers.labels import Labels
from helpers.masks import NOTICES, Convert, Look, label_map_of, listed, refuse_unexplained
from helpers.masks import labels_from_colors as labels_from_colors
from helpers.masks import labels_from_values as labels_from_values
from helpers.masks import resize_labels as resize_labels
from helpers.pairs import Pair, Pairs, check_splits, equal_files
from helpers.pairs import find_pairs as find_pairs  # one place for all that an own folder needs
from helpers.pairs import split_pairs as split_pairs
from helpers.processes import progress

if TYPE_CHECKING:
    import pandas as pd

_AT_A_TIME = 16  # images in memory, and in a row group of Parquet
_ROW_GROUP = 2**27  # bytes; a column of Arrow holds 2 GB, and memory several times as much
_WRITTEN = {"data", "id2label.json", "labels.json"}  # all that a data set's folder holds


@dataclass(frozen=True)
class Report:
    """What `report_pairs` found."""

    files: pd.DataFrame
    """A row for each pair: image (its name), image_size, image_mode, mask, mask_size, mask_mode,
    values (of the mask, or its colors) and problem (""); "-" is what cannot be read."""
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
    """Decode every image and mask once and report what they hold; bad files do not stop it, but
    ValueError is raised where there is not one pair.

    Args:
        pairs: from `find_pairs`.
        labels: what the masks' values mean.
        convert: see this module's first lines; None: the masks hold what `labels` explains.
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
        looks = pool.map(lambda pair: Look(pair, labels, convert), pairs.pairs)
        looks = list(progress(looks, "Looking at masks", len(pairs.pairs), delay=2))
    if convert is None:
        refuse_unexplained(looks, labels)
    faults = [fault for look in looks for fault in look.faults]
    for kind, alone, other in (
        ("image", pairs.images_alone, "mask"),
        ("mask", pairs.masks_alone, "image"),
    ):
        cause = f"has no {other} of its name"
        remedy = f"add the {other}, or --drop-unpaired leaves out files without a partner"
        faults += [FileFault(f"{kind} {file}", cause, remedy) for file in alone]
    problems, areas = _grouped(faults), np.stack([look.areas for look in looks])
    total, sound = areas.sum(axis=0), np.count_nonzero(areas.any(axis=1))
    if not total.all() and not faults:  # or they are the reason
        absent = ", ".join(name for name, area in zip(labels.names, total, strict=True) if not area)
        shown = sorted({value for look in looks for value in look.values})
        problems.append(
            f"no mask shows {absent}: there is nothing to learn it from. Masks hold "
            f"{listed(shown) or 'colors'}: name the classes that they show, or say what their "
            "values mean (--values)"
        )
    objects = [np.concatenate([look.objects[k] for look in looks]) for k in labels.id2label]
    classes = pd.DataFrame({"label": range(labels.num_labels), "name": labels.names})
    classes["pixels"] = total / max(total.sum(), 1)
    classes["images"] = (areas > 0).sum(axis=0) / max(sound, 1)
    classes["small"] = [_small(each) for each in objects]
    files = pd.DataFrame([look.row for look in looks])
    files["problem"] = [" ".join(map(str, look.faults)) for look in looks]
    return Report(files, classes, areas, problems, _notices(looks, pairs))


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
        pairs, labels, convert: as of `report_pairs`.
        folder: made if it is missing; it may hold an older data set and nothing else.
        splits: the pairs of each split, "train" and "validation" at least; None: `split_pairs`.
        report: of these pairs, if there is one already; it is returned.

    Raises:
        ValueError: the report has problems, or splits share an image.
        FileExistsError: the folder holds something else.
        OSError: it cannot be written.
    """
    folder = Path(folder).resolve()
    refuse_other_files(folder)
    report = report or report_pairs(pairs, labels, convert)
    if report.problems:
        raise ValueError("\n".join(["these have to be settled first:", *report.problems]))
    splits = splits or split_pairs(pairs.pairs)
    check_splits(splits)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
            new, older = Path(scratch) / "new", Path(scratch) / "older"
            Labels(labels.names, labels.palette).save(new)
            (new / "data").mkdir()
            for name, part in splits.items():
                file = new / "data" / f"{name}-00000-of-00001.parquet"
                _write_split(file, part, labels, convert)
            if folder.exists():
                folder.rename(older)
            try:
                new.rename(folder)
            except OSError:
                if older.exists():
                    older.rename(folder)
                raise
    except OSError as error:
        kept = "; what was there is as before" if folder.exists() else ""
        raise OSError(f"{folder} cannot be written ({error}){kept}") from error
    return report


def refuse_other_files(folder: Path) -> None:
    """Make sure that a data set can be written to a folder, and read: it is a new one, or holds an
    older data set and nothing else."""
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


def _notices(looks: Sequence[Look], pairs: Pairs) -> list[str]:
    """One sentence for each kind of thing, with how many files it is about and an example."""
    notices = []
    for kind in NOTICES:
        if found := [look.pair[0] for look in looks if kind in look.notices]:
            notices.append(f"{len(found)} of {len(looks)} images{_such_as(found)}: {kind}")
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


def _such_as(files: Sequence[Any]) -> str:
    return f" (such as {files[0]})" if files else ""


def _small(areas: np.ndarray) -> float:
    """The side of a square: a tenth of the pixels of these areas lies in areas no larger."""
    areas = np.sort(areas)
    within = np.searchsorted(areas.cumsum(), areas.sum() / 10)
    return math.sqrt(areas[within]) if len(areas) else math.nan


def _write_split(file: Path, part: Sequence[Pair], labels: Labels, convert: Convert | None) -> None:
    from datasets import Features
    from datasets import Image as ImageFeature
    from pyarrow import Table, parquet

    schema = Features(image=ImageFeature(), annotation=ImageFeature()).arrow_schema
    with parquet.ParquetWriter(file, schema) as writer, ThreadPoolExecutor() as pool:
        for start in progress(range(0, len(part), _AT_A_TIME), f"Writing {file.name}", delay=2):
            some = part[start : start + _AT_A_TIME]
            rows = list(pool.map(lambda pair: _row(pair, labels, convert), some))
            large = sum(len(row["image"]["bytes"]) for row in rows) > _ROW_GROUP
            for group in [[row] for row in rows] if large else [rows]:
                writer.write_table(Table.from_pylist(group, schema))


def _row(pair: Pair, labels: Labels, convert: Convert | None) -> dict[str, dict[str, Any]]:
    """What is stored of a pair: each file's name and bytes."""
    image, mask = pair
    opened, content, stored = header(image), io.BytesIO(), io.BytesIO()
    sound = opened.format in ("JPEG", "PNG", "WEBP") and opened.mode == "RGB"
    if sound and orientation(opened) == 1 and getattr(opened, "n_frames", 1) == 1:
        content.write(image.read_bytes())
    elif opened.format in ("JPEG", "MPO"):  # as a JPEG file of two pictures is called
        load_image(image).save(content, "JPEG", quality=95, subsampling=0)
    else:
        load_image(image).save(content, "PNG", compress_level=1)
    Image.fromarray(label_map_of(pair, labels, convert)).save(stored, "PNG")
    return {
        "image": {"path": image.name, "bytes": content.getvalue()},
        "annotation": {"path": mask.name, "bytes": stored.getvalue()},
    }
