"""Checkpoints of a run: which one is complete, on which data, and its weights, read exactly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transformers.trainer import TRAINER_STATE_NAME

from helpers.labels import Labels, names_differ

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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
            None: the folder says nothing, or was left half written.
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
    """The newest complete checkpoint in a `Trainer`'s output folder; None if there is none.

    A process that is killed while it saves leaves a checkpoint without its last file,
    `trainer_state.json`, or with half of it. It is passed over with a printed sentence.
    """
    steps = {
        int(number): path
        for path in Path(folder).glob("checkpoint-*")
        if (number := path.name.removeprefix("checkpoint-")).isdecimal()
    }
    for _, path in sorted(steps.items(), reverse=True):
        try:
            json.loads((path / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
            return path
        except (FileNotFoundError, ValueError):
            print(f"{path} is passed over: it is incomplete. The run resumes from an earlier one.")
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
