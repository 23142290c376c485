"""Checkpoints of a run: which one is complete, on which data, and its weights, read exactly."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from helpers.labels import Labels, names_differ

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHECKSUMS = "checksums.json"
TRAINING_DATA = "training_data.json"
# Where an output folder holds models and checkpoints.
_MODELS = ("model", "checkpoint-*", "checkpoints/checkpoint-*")


@dataclass(frozen=True)
class TrainingData:
    """What tells a training split from another one, wherever its files lie."""

    labels: Labels
    images: int | None = None
    """How many there are; None: not known, and not compared."""
    areas: Sequence[int] | None = None
    """(num_labels,): pixels of each class, as `load_scenes` counts them; None as above."""

    def save(self, folder: str | Path) -> None:
        """Write `training_data.json` into a folder, which need not exist."""
        names = self.labels.names
        areas = [None] * len(names) if self.areas is None else map(int, self.areas)
        stored = {
            "images": self.images,
            "reduce": self.labels.reduce,
            "pixels": dict(zip(names, areas, strict=True)),
        }
        Path(folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps(stored, indent=1, ensure_ascii=False) + "\n"
        (Path(folder) / TRAINING_DATA).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> TrainingData | None:
        """What `save` wrote; in the folder of an older version's model the labels alone.

        Returns:
            None: the folder says nothing, or was left half written (see `defect_of`).
        """
        file = Path(folder) / TRAINING_DATA
        try:
            if not file.is_file():
                return cls(Labels.load(folder))
            stored = json.loads(file.read_text(encoding="utf-8"))
            names, areas = zip(*stored["pixels"].items(), strict=True)
            labels = Labels(names, reduce=stored["reduce"])
            return cls(labels, stored["images"], None if None in areas else areas)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def refuse_other(self, folder: str | Path) -> None:
        """Make sure that a model, a checkpoint or an output folder belongs to this data.

        Raises:
            ValueError: it belongs to other data, or a checkpoint or model in it does.
        """
        folder = Path(folder)
        for place in [folder, *(one for name in _MODELS for one in sorted(folder.glob(name)))]:
            stored = TrainingData.load(place)
            if stored and (difference := self._difference(stored, place.name)):
                raise ValueError(
                    f"{place} belongs to other data: {difference}. Take that data again, or "
                    "another output folder (--output-dir, or in a notebook SEG_OUTPUT), or move "
                    "that one away"
                )

    def claim(self, folder: str | Path) -> None:
        """Note that an output folder belongs to this data; raises as `refuse_other` does."""
        self.refuse_other(folder)
        self.save(folder)

    def _difference(self, other: TrainingData, where: str) -> str | None:
        """Where this data first differs from the other, in words."""
        if difference := names_differ(self.labels.names, other.labels.names, where):
            return difference
        if self.labels.reduce != other.labels.reduce:
            ours, theirs = ("not a" if one.labels.reduce else "a" for one in (self, other))
            return f"value 0 is {ours} class in the data and {theirs} class in {where}"
        counts = [("images", self.images, other.images)]
        if self.areas is not None and other.areas is not None:
            kinds = [f"pixels of {name}" for name in self.labels.names]
            counts += zip(kinds, self.areas, other.areas, strict=True)
        for kind, ours, theirs in counts:
            if None not in (ours, theirs) and ours != theirs:
                return f"there are {ours:,} training {kind} in the data and {theirs:,} in {where}"
        return None


def last_complete_checkpoint(folder: str | Path) -> Path | None:
    """The newest complete checkpoint in a `Trainer`'s output folder.

    A process that is killed while it saves leaves files missing or cut short. Such checkpoints
    are passed over, each with a printed sentence.

    Args:
        folder: holds folders checkpoint-N; it need not exist.

    Returns:
        The folder of the checkpoint, or None if none is complete.
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
    """Store the CRC-32 of each file of a checkpoint beside them: weight files carry none."""
    sums = {file.name: _checksum(file) for file in sorted(checkpoint.iterdir()) if file.is_file()}
    sums.pop(CHECKSUMS, None)
    (checkpoint / CHECKSUMS).write_text(json.dumps(sums, indent=2), encoding="utf-8")


def defect_of(checkpoint: Path) -> str | None:
    """What is missing or damaged in a checkpoint of `Trainer`, or None if it is complete."""
    state = checkpoint / "trainer_state.json"  # written last of all
    if not state.is_file():
        return f"it is incomplete ({state.name} is missing)"
    try:
        step = json.loads(state.read_text(encoding="utf-8"))["global_step"]
    except (ValueError, KeyError, TypeError):
        return f"{state.name} is damaged"
    if checkpoint.name != f"checkpoint-{step}":
        return f"{state.name} belongs to step {step}"
    try:
        sums = json.loads((checkpoint / CHECKSUMS).read_text(encoding="utf-8"))
    except FileNotFoundError:  # of plain `Trainer`: see only whether all is there
        chance = [file.name for file in checkpoint.glob("rng_state*.pth")] or ["rng_state.pth"]
        sums = dict.fromkeys(["model.safetensors", "optimizer.pt", "scheduler.pt", *chance])
    except ValueError:
        return f"{CHECKSUMS} is damaged"
    for name, checksum in sums.items():
        if not (checkpoint / name).is_file():
            return f"{name} is missing"
        if checksum is not None and _checksum(checkpoint / name) != checksum:
            return f"{name} is damaged"
    return None


def load_exactly(model: PreTrainedModel, checkpoint: str | Path) -> None:
    """Copy a checkpoint's weights into the model, all of them, or raise.

    Raises:
        ValueError: the checkpoint belongs to another model; nothing has been copied then.
    """
    of_another = "start from a checkpoint of the same run, or in another folder"
    saved, report = type(model).from_pretrained(
        checkpoint, output_loading_info=True, use_safetensors=True
    )
    ours, theirs = (
        [name for _, name in sorted(one.config.id2label.items())] for one in (model, saved)
    )
    if difference := names_differ(ours, theirs, "the checkpoint"):
        raise ValueError(f"{checkpoint} has other labels: {difference}; {of_another}")
    ours, theirs = model.state_dict(), saved.state_dict()
    for name, weights in ours.items():
        if name not in theirs or name in report["missing_keys"]:
            raise ValueError(f"the checkpoint {checkpoint} has no {name}: {of_another}")
        if theirs[name].shape != weights.shape:
            raise ValueError(
                f"the checkpoint {checkpoint} has a {name} of {tuple(theirs[name].shape)}, the "
                f"model one of {tuple(weights.shape)}: {of_another}"
            )
    model.load_state_dict(theirs, strict=True)


class FindBestCheckpoint(TrainerCallback):
    """When a run is resumed, looks whether its best checkpoint is still there, and complete.

    `Trainer` looks under the path that the run had at first. If the folder has been moved, it
    forgets the best model but keeps its score, and ends with the last model instead.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not state.best_global_step:
            return
        best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
        if (defect := defect_of(best)) is None:
            state.best_model_checkpoint = str(best)
            return
        state.best_model_checkpoint = state.best_metric = state.best_global_step = None
        if state.is_world_process_zero:
            print(f"The best checkpoint, {best}, is lost: {defect}. The best from here on is kept.")


def _checksum(file: Path) -> int:
    checksum = 0
    with file.open("rb") as content:
        while part := content.read(1 << 20):
            checksum = zlib.crc32(part, checksum)
    return checksum
