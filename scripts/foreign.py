"""Files that annotation tools wrote: found, read, and named where they are of no use here."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from itertools import chain, takewhile
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from helpers.images import SUFFIXES, FileFault

_SPLITS = {"val": "validation", "valid": "validation"}
_OTHER_TOOL = "it may be of another tool, or of another task: move it away, or export again"
_FOREIGN = {  # files that hold no masks, and the way out
    "a COCO file": "read its folder with --format coco",
    "a Labelme file": "read its folder with --format labelme",
    "a Segments.ai release": "read its folder with --format objects",
    "a project of VGG Image Annotator (VIA)": "export it there as COCO, for --format coco",
    "Label Studio's JSON": "export it there as COCO, for --format coco, or as brush labels to PNG, "
    "for --format per-class",
    "Supervisely's JSON": "export it there as COCO, for --format coco, or as masks",
    "CVAT's XML": "export it there as Segmentation mask, for --format voc, or as COCO",
    "LabelMe's XML": "convert it to COCO or to masks, as Datumaro does (datum convert)",
    "XML of boxes": "boxes name no pixels: draw outlines or masks",
    "YOLO outlines in text": "export COCO or masks from the tool that wrote them",
    "YOLO boxes in text": "boxes name no pixels: draw outlines or masks",
}


class _Entry(dict):
    """An object of a JSON file, which says where it stands if a key is missing."""

    def __init__(self, file: Path, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self.file = file

    def __missing__(self, key: str) -> Any:
        cause = f'has no "{key}" in the object {shortened(dict(self))}'
        raise FileFault(str(self.file), cause, _OTHER_TOOL)


def read_json(file: Path, *keys: str) -> Any:
    """The content of a JSON file, whose objects name the file and themselves if a key is missing.

    Raises:
        FileFault: it is no JSON, or has not these keys; then its tool is named, if it is known.
    """
    try:
        content = json.loads(file.read_text("utf-8-sig"), object_hook=partial(_Entry, file))
    except (ValueError, RecursionError) as error:
        cause = f"is no whole JSON file ({error})"
        raise FileFault(str(file), cause, "export it again, and wait for the download") from error
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        found = shortened([*content] if isinstance(content, dict) else content)
        cause = f'has no "{missing[0]}", expected {", ".join(keys)}, found {found}'
        raise foreign(file, content) or FileFault(str(file), cause, _OTHER_TOOL)
    return content


def foreign(file: Path, content: Any = None) -> FileFault | None:
    """What tool wrote a file that holds no mask, and the way out.

    Args:
        file: ending in .json, .xml or .txt.
        content: of a JSON file, if it has been read.

    Returns:
        To raise or to report; None where the tool is not known.
    """
    kind, suffix = None, file.suffix.lower()
    if suffix == ".json":
        kind = _kind_of_json(read_json(file) if content is None else content)
    elif suffix == ".xml":
        text = file.read_text("utf-8", errors="replace")
        if "<annotations>" in text:
            kind = "CVAT's XML"
        elif "<annotation" in text:
            kind = "LabelMe's XML" if "<polygon" in text else "XML of boxes"
    elif suffix == ".txt":
        rows = [row.split() for row in file.read_text("utf-8", errors="replace").splitlines()]
        if any(rows) and all(len(row) >= 5 and all(map(_is_number, row)) for row in rows if row):
            kind = f"YOLO {'outlines' if any(len(row) > 6 for row in rows) else 'boxes'} in text"
    return FileFault(str(file), f"is {kind} and holds no mask", _FOREIGN[kind]) if kind else None


def _kind_of_json(content: Any) -> str | None:
    whole = content
    first = whole[0] if isinstance(whole, list) and whole else whole
    if not isinstance(first, dict):
        return None
    if {"images", "annotations", "categories"} <= first.keys():
        return "a COCO file"
    if {"shapes", "imagePath"} <= first.keys():
        return "a Labelme file"
    if isinstance(first.get("dataset"), dict) and "samples" in first["dataset"]:
        return "a Segments.ai release"
    if {"objects", "size"} <= first.keys():
        return "Supervisely's JSON"
    if isinstance(whole, list) and ("data" in first or "annotation_id" in first):
        return "Label Studio's JSON"
    inside = [value for value in first.values() if isinstance(value, dict)]
    if "_via_img_metadata" in first or any({"filename", "regions"} <= v.keys() for v in inside):
        return "a project of VGG Image Annotator (VIA)"
    return None


def _is_number(word: str) -> bool:
    try:
        return float(word) >= 0
    except ValueError:
        return False


def files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files with such endings in a folder and all below it; links to folders are followed."""
    found: list[Path] = []
    seen = set()
    for path, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(path)
        if real in seen:  # a link to a folder above would lead round for ever
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found += [Path(path, name) for name in names if not name.startswith(".")]
    return sorted(file for file in found if file.suffix.lower() in suffixes)


class Finder:
    """Finds the file that a tool means, whatever folder it was in when the tool saw it.

    Args:
        files: among which to look.
        wanted: the names of each image that will be asked for: of two that share their last part,
            neither is found by that part alone.
    """

    def __init__(self, files: Iterable[Path], wanted: Iterable[Iterable[str]] = ()) -> None:
        self._by_name: dict[str, list[Path]] = {}
        for file in files:
            for name in {name_key(file.name), name_key(file.stem)}:
                self._by_name.setdefault(name, []).append(file)
        lasts = ({name_key(_parts(name)[-1]) for name in names} for names in wanted)
        self._wanted = Counter(chain.from_iterable(lasts))

    def find(self, name: str, beside: Path, split: str | None = None) -> Path | None:
        """The file of such a name or path: of several, the one of which most folders agree, then
        one below the folder of `beside`, in a folder named after the split, and the least deep.

        Args:
            name: as the tool has it, on whatever system.
            beside: the tool's own file.
            split: which the image belongs to.

        Raises:
            ValueError: several files may be meant.
        """
        *folders, last = _parts(name)
        same = self._by_name.get(name_key(last), [])
        if not same and Path(last).suffix.lower() in SUFFIXES:  # saved in another format since
            same = self._by_name.get(name_key(Path(last).stem), [])

        def rank(file: Path) -> tuple[int, bool, bool, int]:
            above = zip(reversed(folders), reversed(file.parts[:-1]), strict=False)
            agree = [*takewhile(lambda pair: name_key(pair[0]) == name_key(pair[1]), above)]
            of_split = split is not None and split in map(split_of, file.parts[:-1])
            return len(agree), file.is_relative_to(beside.parent), of_split, -len(file.parts)

        ranked = sorted(same, key=rank, reverse=True)
        if not ranked:
            return None
        agree, near, of_split, _ = rank(ranked[0])
        sure = agree == len(folders) and (folders or near or of_split)
        if not sure and self._wanted[name_key(last)] > 1:
            return None
        if len(ranked) > 1 and rank(ranked[0]) == rank(ranked[1]):
            raise ValueError(
                f'{beside} names "{name}", and there are {ranked[0]} and {ranked[1]}: say with '
                "--images which folder is meant"
            )
        return ranked[0]


def name_key(name: str) -> str:
    """What makes two names equal, whatever their case and whoever wrote their accents."""
    # macOS writes é as e and an accent, most others as one letter.
    return unicodedata.normalize("NFC", name).casefold()


def _parts(name: str) -> list[str]:
    parts = re.split(r"[\\/]+", name.partition("?")[0])  # Windows' paths and addresses, too
    return [part for part in parts if part not in ("", ".", "..")] or [name]


def split_of(name: str) -> str | None:
    """ "train", "validation" or "test" where a name of a file or folder says so, as in
    `instances_val2017`."""
    found = re.search(r"(?<![a-z])(train|val|valid|validation|test)(?![a-z])", name.lower())
    return _SPLITS.get(found[1], found[1]) if found else None
