"""Which images and videos are meant."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath
from typing import Any

from helpers.images import SUFFIXES
from helpers.pairs import files_below

VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"}
SETTINGS = "segmentation.json"  # tells a folder of results from any other
RESULTS = ("labels", "overlays", "shares")


@dataclass(frozen=True)
class Input:
    """An image or video to segment."""

    path: Path  # absolute
    name: PurePath
    """What its results are called: without ending, with the folders below the one given."""

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEOS


def find_sources(given: Sequence[str]) -> list[Input]:
    """Images and videos among files, folders (with the folders inside) and patterns.

    In folders and patterns, files count by their ending; hidden files and the results of this
    command do not, nor what file servers keep in folders of their own (@eaDir). Links to folders
    are followed. Nothing is listed twice.
    """
    found: dict[str, Input] = {}
    for one in given:
        path = Path(one).expanduser()
        if path.is_dir():
            root, files = path, [file for file in files_below(path) if _is_known(file, path)]
        elif path.exists():
            root, files = path.parent, [path]
        elif glob.has_magic(one):
            plain = takewhile(lambda part: not glob.has_magic(part), path.parent.parts)
            root = Path(*plain)
            files = [file for file in sorted({*_matches(path)}) if _is_known(file, root)]
        else:
            raise FileNotFoundError(f"there is no image or folder {one}")
        results = {folder for folder in {file.parent for file in files} if _holds_results(folder)}
        files = [file for file in files if file.parent not in results]
        if not files:
            raise FileNotFoundError(
                f"no image found in {one}: expected files that end in .jpg, .png or the like, "
                "and not this command's own results"
            )
        top = os.path.abspath(root)
        for file in files:
            absolute = Path(os.path.abspath(file))
            within = absolute.is_relative_to(top)
            name = absolute.relative_to(top) if within else PurePath(file.name)
            source = Input(absolute, name.with_suffix("") if name.stem else name)
            found.setdefault(os.path.normcase(absolute), source)
    return list(found.values())


def _matches(pattern: Path) -> Iterator[Path]:
    """The files that a pattern stands for; `glob` alone would go round in circles of links."""
    parts = pattern.parts
    if "**" in parts:
        at = parts.index("**")
        for base in map(Path, glob.iglob(str(Path(*parts[:at])))):
            above = {folder for file in files_below(base) for folder in file.parents}
            for folder in sorted(one for one in above if one.is_relative_to(base)):
                yield from _matches(Path(glob.escape(str(folder)), *(parts[at + 1 :] or "*")))
    else:
        yield from (file for file in map(Path, glob.iglob(str(pattern))) if not file.is_dir())


def _is_known(file: Path, root: Path) -> bool:
    """Whether a file found in a folder or by a pattern is an image or video of the reader's."""
    if any(part.startswith("@") for part in file.relative_to(root).parts[:-1]):
        return False
    return not file.name.startswith(".") and file.suffix.lower() in SUFFIXES | VIDEOS


def _holds_results(folder: Path) -> bool:
    """Whether what lies in a folder was written by this command."""
    folder = Path(os.path.abspath(folder))
    return any(
        inner.name in RESULTS and (inner.parent / SETTINGS).is_file()
        for inner in (folder, *folder.parents)
    )


def read_json(file: Path) -> dict[str, Any]:
    """What a file holds; nothing where it is missing or damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
