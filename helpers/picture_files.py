"""Which pictures are meant, and what lies finished in the output folder."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

# Pillow may lack a decoder (.heic): then the picture is reported, not silently left out.
PICTURES = {".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"}
PICTURES |= {".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
VIDEOS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"}
_SETTINGS = "segmentation.json"  # tells a folder of results from any other
_RESULTS = ("labels", "overlays", "shares")
_PARTS = ".unfinished-"


@dataclass(frozen=True)
class Source:
    """A picture or video to segment."""

    path: Path
    """Absolute."""
    name: PurePath
    """What its results are called: without ending, with the folders below the one given."""

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEOS


def find_sources(given: Sequence[str]) -> list[Source]:
    """Pictures and videos among files, folders (with the folders inside) and patterns.

    In folders and patterns, files count by their ending; hidden files and the results of this
    command do not. Nothing is listed twice.

    Args:
        given: paths, or patterns such as "holiday/**/*.jpg" (`**`: any folders).

    Raises:
        FileNotFoundError: a path does not exist, or no picture is found in a folder or pattern.
        PermissionError: a folder may not be read.
    """
    _holds_results.cache_clear()
    found: dict[str, Source] = {}
    for one in given:
        path = Path(one).expanduser()
        if path.is_dir():
            root, files = path, [*_walk(path)]
        elif path.exists():
            root, files = path.parent, [path] if not _holds_results(path.parent) else []
        elif glob.has_magic(one):
            root = Path(*_plain_parts(path))
            matches = (Path(match) for match in glob.iglob(str(path), recursive=True))
            files = sorted(match for match in matches if _counts(match) and match.is_file())
        else:
            raise FileNotFoundError(f"there is no picture or folder {one}")
        if not files:
            raise FileNotFoundError(
                f"no picture found in {one}: expected files that end in .jpg, .png or the like, "
                "and not this command's own results"
            )
        top = os.path.abspath(root)
        for file in files:
            absolute = Path(os.path.abspath(file))
            within = absolute.is_relative_to(top)
            name = absolute.relative_to(top) if within else PurePath(file.name)
            source = Source(absolute, name.with_suffix("") if name.stem else name)
            found.setdefault(os.path.normcase(absolute), source)
    return list(found.values())


class Results:
    """The output folder: labels/NAME.png, overlays/NAME.jpg, and shares/NAME.json when all is done.

    A file is written elsewhere and moved into place, so that what has its name is whole; the
    record in `shares` comes last and says of which file it is and how it was made.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder, or refuse one that cannot take results.

        Raises:
            ValueError: it is a file, cannot be written to, or holds something else.
        """
        self.folder = Path(os.path.abspath(folder))
        self._claimed: dict[str, Path] = {}
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"--output {folder} is a file: expected a folder")
        if self.folder.is_dir():
            holds = {file.name for file in self.folder.iterdir() if not file.name.startswith(".")}
            if holds and "weights" not in _read_json(self.folder / _SETTINGS):
                raise ValueError(
                    f"--output {folder} holds files that are not this command's: choose a new or "
                    "empty folder, such as one inside it"
                )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise ValueError(f"--output {folder} cannot be written to ({error.strerror})") from None

    def open(self, settings: Mapping[str, Any], anew: bool = False) -> None:
        """Go on with what was begun, if it was made with the same settings.

        Args:
            settings: all that the results depend on, as JSON; "model" is for people to read.
            anew: do all anew, whatever lies there.

        Raises:
            ValueError: the results in the folder were made otherwise.
        """
        file = self.folder / _SETTINGS
        before = _read_json(file)
        changed = any(before.get(k) != value for k, value in settings.items() if k != "model")
        if file.exists() and changed and not anew:
            then, now = (
                ", ".join(f"{k} {v}" for k, v in one.items()) for one in (before, settings)
            )
            raise ValueError(
                f"the results in {self.folder} were made with other settings (then: {then}; now: "
                f"{now}): choose another --output, or do all anew with --anew"
            )
        for left_over in self.folder.glob(f"{_PARTS}*"):  # of a run that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        self._parts = Path(tempfile.mkdtemp(prefix=_PARTS, dir=self.folder))
        if anew:  # now, so that a second call goes on where this one stops
            for kind in _RESULTS:
                shutil.rmtree(self.folder / kind, ignore_errors=True)
        if changed:
            self.write(PurePath(_SETTINGS), "", "", _json_writer(settings))

    def close(self) -> None:
        """Put all records into one file, shares.json, and tidy up."""
        records = map(_read_json, sorted((self.folder / "shares").rglob("*.json")))
        table = {record["file"]: record["shares"] for record in records if "shares" in record}
        self.write(PurePath("shares"), "", ".json", _json_writer(table))
        shutil.rmtree(self._parts, ignore_errors=True)

    def claim(self, source: Source) -> PurePath:
        """The name of a source's results: its own, or one with a suffix where that is taken.

        It may be taken by a picture of this call, or by one that an earlier call segmented.
        """
        record = _read_json(self._file(source.name, "shares", ".json"))
        if record.get("file", str(source.path)) == str(source.path):
            key = source.name.as_posix().casefold()  # some file systems take A for a
            if self._claimed.setdefault(key, source.path) == source.path:
                return source.name
        digest = hashlib.sha256(os.fsencode(source.path)).hexdigest()[:10]
        return source.name.with_name(f"{source.name.name}-{digest}")

    def is_finished(self, source: Source, name: PurePath, endings: Mapping[str, str]) -> bool:
        """Whether all results of a source are there and made from it as it is now.

        The record of results that are not is removed.

        Args:
            endings: folder to file ending of what there has to be, as {"labels": ".png"}.
        """
        file = self._file(name, "shares", ".json")
        if not (record := _read_json(file)):
            return False
        files = [self._file(name, kind, ending) for kind, ending in endings.items()]
        same = all(record.get(key) == value for key, value in _identity(source).items())
        if same and all(map(_has_bytes, files)):
            return True
        file.unlink()
        return False

    def write(self, name: PurePath, kind: str, ending: str, save: Callable[[Path], None]) -> None:
        """Let `save` write a file, and give it its name when it is whole."""
        part = self._parts / f"{threading.get_ident()}{ending}"
        save(part)
        target = self._file(name, kind, ending)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)

    def finish(self, source: Source, name: PurePath, **record: Any) -> None:
        """Write the record that makes a source finished; it holds `shares`, by class name."""
        self.write(name, "shares", ".json", _json_writer(_identity(source) | record))

    def _file(self, name: PurePath, kind: str, ending: str) -> Path:
        return self.folder / kind / name.with_name(name.name + ending)


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise PermissionError(f"the folder {error.filename} cannot be read ({error.strerror})")

    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (file for name in sorted(files) if _counts(file := Path(root, name)))


def _counts(file: Path) -> bool:
    """Whether a file found in a folder is a picture or video, and no result of this command."""
    known = file.suffix.lower() in PICTURES or file.suffix.lower() in VIDEOS
    return known and not file.name.startswith(".") and not _holds_results(file.parent)


@lru_cache(maxsize=4096)
def _holds_results(folder: Path) -> bool:
    folder = Path(os.path.abspath(folder))
    return any(
        inner.name in _RESULTS and (inner.parent / _SETTINGS).is_file()
        for inner in (folder, *folder.parents)
    )


def _plain_parts(pattern: Path) -> Iterator[str]:
    """The folders of a pattern before its first wildcard."""
    for part in pattern.parent.parts:
        if glob.has_magic(part):
            return
        yield part


def _identity(source: Source) -> dict[str, Any]:
    if not source.path.exists():  # removed meanwhile, or a link to nothing
        return {"file": str(source.path), "bytes": None, "modified": None}
    status = source.path.stat()
    return {
        "file": str(source.path),
        "bytes": status.st_size,
        "modified": status.st_mtime_ns,
    }


def _read_json(file: Path) -> dict[str, Any]:
    """What a file holds; nothing where it is missing or damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _json_writer(content: Mapping[str, Any]) -> Callable[[Path], None]:
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    return lambda file: file.write_text(text, encoding="utf-8") and None


def _has_bytes(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0
