"""Which checkpoint of an interrupted run is whole, so that the run can resume from it."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path

from safetensors import SafetensorError, safe_open

CHECKSUMS = "checksums.json"


def last_complete_checkpoint(folder: str | Path) -> Path | None:
    """The newest checkpoint in a `Trainer`'s output folder that was written to its end.

    A process that is killed while it saves leaves files that are missing or cut short. Those
    checkpoints are passed over, with a printed sentence that names each.

    Args:
        folder: with folders checkpoint-N inside; it need not exist.

    Returns:
        The folder of the checkpoint, or None where there is no whole one.
    """
    checkpoints = [
        path
        for path in Path(folder).glob("checkpoint-*")
        if path.is_dir() and path.name.removeprefix("checkpoint-").isdecimal()
    ]
    for path in sorted(checkpoints, key=lambda path: int(path.name.split("-")[1]), reverse=True):
        if (defect := defect_of(path)) is None:
            return path
        print(f"{path} is passed over: {defect}. The run resumes from an earlier checkpoint.")
    return None


def write_checksums(checkpoint: Path) -> None:
    """Store the CRC-32 of each file of a checkpoint beside them: weights have none of their own."""
    sums = {file.name: _checksum(file) for file in sorted(checkpoint.iterdir()) if file.is_file()}
    sums.pop(CHECKSUMS, None)
    (checkpoint / CHECKSUMS).write_text(json.dumps(sums, indent=2), encoding="utf-8")


def defect_of(checkpoint: Path) -> str | None:
    """What is missing or damaged in a checkpoint of `Trainer`, or None if it is whole."""
    state = checkpoint / "trainer_state.json"  # written last
    if not state.is_file():
        return f"it was not written to its end ({state.name} is missing)"
    try:
        step = json.loads(state.read_text(encoding="utf-8"))["global_step"]
    except (ValueError, KeyError, TypeError):
        return f"{state.name} is damaged"
    if checkpoint.name != f"checkpoint-{step}":
        return f"{state.name} is that of step {step}"
    weights = checkpoint / "model.safetensors"
    others = [checkpoint / "optimizer.pt", checkpoint / "scheduler.pt"]
    others += sorted(checkpoint.glob("rng_state*.pth")) or [checkpoint / "rng_state.pth"]
    for file in (weights, *others):
        if not file.is_file():
            return f"{file.name} is missing"
    try:
        with safe_open(weights, framework="pt") as tensors:  # compares lengths with its header
            tensors.keys()
    except (SafetensorError, OSError):
        return f"{weights.name} is damaged"
    for file in others:  # zip archives, with a checksum for each member
        try:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
        except (zipfile.BadZipFile, OSError, EOFError):
            damaged = file.name
        if damaged:
            return f"{file.name} is damaged"
    return _differing_file(checkpoint)


def _differing_file(checkpoint: Path) -> str | None:
    """What has changed since the checksums were written; None too where there are none."""
    try:
        sums = json.loads((checkpoint / CHECKSUMS).read_text(encoding="utf-8"))
        for name, checksum in sums.items():
            if not (checkpoint / name).is_file():
                return f"{name} is missing"
            if _checksum(checkpoint / name) != checksum:
                return f"{name} is damaged"
    except FileNotFoundError:  # a checkpoint that `Trainer` itself has written
        return None
    except (ValueError, AttributeError):
        return f"{CHECKSUMS} is damaged"
    return None


def _checksum(file: Path) -> int:
    checksum = 0
    with file.open("rb") as content:
        while part := content.read(1 << 20):
            checksum = zlib.crc32(part, checksum)
    return checksum
