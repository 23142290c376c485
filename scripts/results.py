"""The folder that the command writes: what lies finished in it, and new results put into place."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

from scripts.cli import WrongUse
from scripts.sources import RESULTS, SETTINGS, Input, read_json

_PARTS = ".unfinished-"
_MOST_BYTES = 200  # of a name, so that a suffix and an ending fit into the 255 of a file's name


class Results:
    """The output folder: labels/NAME.png, overlays/NAME.jpg, and shares/NAME.json when all is done.

    A file is written elsewhere and moved into place, so that what has its name is whole; the
    record in `shares` comes last and says of which file it is and how it was made. Used in a
    `with` block, which puts all records into one file, shares.json, when nothing went wrong.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], overwrite: bool = False) -> None:
        """Resume what was begun with the same settings; "model" in them is for people to read."""
        check_folder(folder)
        self.folder = Path(os.path.abspath(folder))
        self._claimed: dict[str, Path] = {}
        file = self.folder / SETTINGS
        before = read_json(file)
        changed = any(before.get(k) != value for k, value in settings.items() if k != "model")
        if file.exists() and changed and not overwrite:
            then, now = (
                ", ".join(f"{k} {v}" for k, v in one.items()) for one in (before, settings)
            )
            raise WrongUse(
                f"the results in {self.folder} were made with other settings (then: {then}; now: "
                f"{now}): choose another --output, or start over with --overwrite"
            )
        for left_over in self.folder.glob(f"{_PARTS}*"):  # of a run that was killed
            shutil.rmtree(left_over, ignore_errors=True)
        self._parts = Path(tempfile.mkdtemp(prefix=_PARTS, dir=self.folder))
        if overwrite:  # now, so that a second call resumes where this one stops
            for kind in RESULTS:
                shutil.rmtree(self.folder / kind, ignore_errors=True)
        if changed:
            self.write(PurePath(SETTINGS), "", "", _json_writer(settings))

    def __enter__(self) -> Results:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        try:
            if failed is None:
                files = sorted((self.folder / "shares").rglob("*.json"))
                records = [record for record in map(read_json, files) if "shares" in record]
                table = {record["file"]: record["shares"] for record in records}
                self.write(PurePath("shares"), "", ".json", _json_writer(table))
        finally:
            shutil.rmtree(self._parts, ignore_errors=True)

    def claim(self, source: Input) -> PurePath:
        """The name of a source's results: its own, or one with a suffix where another image of this
        call or an earlier one has it, or where it leaves no room for an ending."""
        name, begin = source.name, os.fsencode(source.name.name)[:_MOST_BYTES]
        if begin == os.fsencode(name.name):
            record = read_json(self._file(name, "shares", ".json"))
            if record.get("file", str(source.path)) == str(source.path):
                key = name.as_posix().casefold()  # some file systems take A for a
                if self._claimed.setdefault(key, source.path) == source.path:
                    return name
        digest = hashlib.sha256(os.fsencode(source.path)).hexdigest()[:10]
        return name.with_name(f"{begin.decode(errors='ignore')}-{digest}")

    def is_finished(self, source: Input, name: PurePath, endings: Mapping[str, str]) -> bool:
        """Whether all results, as {"labels": ".png"}, are there, of the source as it is now."""
        record = read_json(self._file(name, "shares", ".json"))
        files = [self._file(name, kind, ending) for kind, ending in endings.items()]
        same = all(record.get(key) == value for key, value in _identity(source).items())
        return same and all(file.is_file() and file.stat().st_size > 0 for file in files)

    def forget(self, name: PurePath) -> None:
        """Remove the record of results that no longer count."""
        record = self._file(name, "shares", ".json")
        if os.path.exists(record):  # not where a name is too long to be one
            record.unlink()

    def write(self, name: PurePath, kind: str, ending: str, save: Callable[[Path], None]) -> None:
        """Let `save` write a file, and give it its name when it is whole."""
        part = self._parts / f"{threading.get_ident()}{ending}"
        save(part)
        target = self._file(name, kind, ending)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)

    def finish(self, source: Input, name: PurePath, **record: Any) -> None:
        """Write the record that makes a source finished; it holds `shares`, by class name."""
        self.write(name, "shares", ".json", _json_writer(_identity(source) | record))

    def _file(self, name: PurePath, kind: str, ending: str) -> Path:
        return self.folder / kind / name.with_name(name.name + ending)


def check_folder(folder: Path) -> None:
    """Make the output folder, or refuse one that cannot take results."""
    if folder.exists() and not folder.is_dir():
        raise WrongUse(f"--output {folder} is a file: expected a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holds = {file.name for file in folder.iterdir() if not file.name.startswith(".")}
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise WrongUse(f"--output {folder} cannot be written to ({error.strerror})") from None
    if holds and "weights" not in read_json(folder / SETTINGS):
        raise WrongUse(
            f"--output {folder} holds files that are not this command's: choose a new or empty "
            "folder, such as one inside it"
        )


def _identity(source: Input) -> dict[str, Any]:
    if not source.path.exists():  # removed meanwhile, or a link to nothing
        return {"file": str(source.path), "bytes": None, "modified": None}
    status = source.path.stat()
    return {"file": str(source.path), "bytes": status.st_size, "modified": status.st_mtime_ns}


def _json_writer(content: Mapping[str, Any]) -> Callable[[Path], None]:
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    return lambda file: file.write_text(text, encoding="utf-8") and None
