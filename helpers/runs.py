"""Training runs: interrupted, resumed, or shared among processes, they end as one at a stretch.

The trainer, its checkpoints, its progress bar, and the data on which a run may be resumed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list
from transformers import Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerState
from transformers.trainer_utils import set_seed
from transformers.utils.notebook import NotebookProgressCallback

from helpers.labels import Labels, label_names, names_differ
from helpers.language import say
from helpers.processes import bars_disabled, is_first_process

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TRAINING_DATA = "training_data.json"
# Where an output folder holds models and checkpoints.
_MODELS = ("model", "checkpoint-*", "checkpoints/checkpoint-*")


class ExactTrainer(Trainer):
    """`Trainer` that reads checkpoints with `from_pretrained`.

    `Trainer` reads them with a plain, non-strict `load_state_dict`. SegFormer's encoder is
    *saved* under older key names, so none of it would be loaded, neither for the best model nor
    on resume (transformers #43701). `train(resume_from_checkpoint=True)` resumes from the last
    complete checkpoint, or starts from step 0 where there is none, and says so. Resuming a
    finished run takes no further step: its best model is loaded, and that is all. A resumed run
    has the weights of one at a stretch.

    One process uses one GPU: `Trainer` would put the model into `DataParallel` on all it sees,
    which is slow, and scales wrongly a loss that is divided by the whole batch. Several processes
    draw the images in one order, but each has crops and dropout of its own.

    Args:
        training_data: what the model learns from. It is written into the folder of a saved model
            with its labels, and a run is resumed with this data alone; None: with any.
        Everything else, by keyword, as `transformers.Trainer`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        training_data: TrainingData | None = None,
        **kwargs: Any,
    ) -> None:
        if (visible := args.n_gpu) > 1:
            args._n_gpu = 1
            text = (
                "{count} GPUs are visible and this process uses one: to train on all of them, "
                "start `accelerate launch --num_processes {count} -m scripts.train`"
            )
            print(say(text, visible))
        if args.world_size > 1 and args.data_seed is None:
            args.data_seed = args.seed
        super().__init__(model, args, **kwargs)
        self.training_data = training_data
        if args.world_size > 1:
            set_seed(args.seed + args.process_index)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As `Trainer`'s.

        Raises:
            ValueError: the checkpoint to resume from belongs to other data, or one in the output
                folder does, where this run would delete old checkpoints as it adds its own.
        """
        checkpoint, self.resumed_step = resume_from_checkpoint, 0
        if checkpoint is True:
            checkpoint = last_complete_checkpoint(self.args.output_dir)
        if self.training_data is not None:
            for place in filter(None, (self.args.output_dir, checkpoint)):
                self.training_data.refuse_other(place)
        if checkpoint:
            state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
            self.resumed_step = state.global_step
            self.args.eval_on_start = False  # that step has been evaluated
        return super().train(str(checkpoint) if checkpoint else None, **kwargs)

    def save_model(self, output_dir: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().save_model(output_dir, *args, **kwargs)
        if self.training_data is not None and self.args.should_save:
            self.training_data.labels.save(output_dir or self.args.output_dir)
            self.training_data.save(output_dir or self.args.output_dir)

    def set_initial_training_values(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        epochs, *others, max_steps = super().set_initial_training_values(*args, **kwargs)
        if self.resumed_step >= max_steps:
            if is_first_process():
                text = "the run is at step {step} of {all}: nothing is left to train"
                print(say(text, self.resumed_step, max_steps))
            epochs = 0  # `Trainer` would take one more step before it looks
        return epochs, *others, max_steps

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_exactly(self.model if model is None else model, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        load_exactly(self.model, self.state.best_model_checkpoint)


# --- checkpoints ----------------------------------------------------------------------------------


def last_complete_checkpoint(folder: str | Path) -> Path | None:
    """The newest complete checkpoint in a `Trainer`'s output folder; None if there is none.

    A process that is killed while it saves leaves a checkpoint without its last file,
    `trainer_state.json`, or with half of it. It is passed over with a printed sentence. Of
    several processes the first one looks, and tells the others.
    """
    found = [None]
    if is_first_process():
        steps = {
            int(number): path
            for path in Path(folder).glob("checkpoint-*")
            if (number := path.name.removeprefix("checkpoint-")).isdecimal()
        }
        while steps and found == [None]:
            path = steps.pop(max(steps))
            try:
                json.loads((path / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
                found = [path]
            except (FileNotFoundError, ValueError):
                print(say("{path} is passed over: it is incomplete", path))
        if found == [None]:
            print(say("no checkpoint in {folder}: the run starts at step 0", folder))
    return broadcast_object_list(found)[0]


def load_exactly(model: PreTrainedModel, checkpoint: str | Path) -> None:
    """Copy a checkpoint's weights into the model, all of them, or raise.

    Raises:
        ValueError: the checkpoint belongs to another model; nothing has been copied then.
    """
    saved, report = type(model).from_pretrained(
        checkpoint, output_loading_info=True, use_safetensors=True
    )
    names, saved_names = label_names(model.config), label_names(saved.config)
    difference = names_differ(names, saved_names, "the checkpoint")
    ours, theirs = (
        {name: f"of {tuple(tensor.shape)}" for name, tensor in one.state_dict().items()}
        for one in (model, saved)
    )
    theirs |= dict.fromkeys(report["missing_keys"], "missing")
    if not difference and ours != theirs:
        name = min(dict(ours.items() ^ theirs.items()))
        ours, theirs = ours.get(name, "missing"), theirs.get(name, "missing")
        difference = f"{name} is {ours} in the model and {theirs} in the checkpoint"
    if difference:
        raise ValueError(
            f"the checkpoint {checkpoint} belongs to another model: {difference}; start from a "
            "checkpoint of the same run, or in another folder"
        )
    model.load_state_dict(saved.state_dict())


# --- the progress bar -----------------------------------------------------------------------------


def show_one_bar(trainer: Trainer) -> None:
    """One progress bar with the last loss and score, instead of a growing table or JSON lines."""
    for callback in (NotebookProgressCallback, ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    if not bars_disabled():
        trainer.add_callback(_ProgressBar())


class _ProgressBar(ProgressCallback):
    """A progress bar that shows the newest loss and score beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[str, str] = {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        known = {"loss": "loss", "eval_loss": "validation loss", "eval_mean_iou": "validation mIoU"}
        if self.training_bar is not None and logs:
            new = {name: f"{logs[key]:.3f}" for key, name in known.items() if key in logs}
            self.shown |= new
            self.training_bar.set_postfix(self.shown)


# --- the data -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingData:
    """What tells a training split from another one, wherever its files lie."""

    labels: Labels
    images: int
    """How many there are."""
    areas: Sequence[int] | None = None
    """(num_labels,): pixels of each class, as `load_scenes` counts them; None: not compared."""

    def claim(self, folder: str | Path) -> None:
        """Note that an output folder, which need not exist, belongs to this data.

        Raises:
            ValueError: it belongs to other data, or a model or checkpoint in it does.
        """
        self.refuse_other(folder)
        self.save(folder)

    def refuse_other(self, folder: str | Path) -> None:
        """Make sure that a model, a checkpoint or an output folder belongs to this data, or to
        nobody; raises as `claim` does."""
        folder = Path(folder)
        for place in [folder, *(one for name in _MODELS for one in sorted(folder.glob(name)))]:
            try:
                stored = json.loads((place / TRAINING_DATA).read_text(encoding="utf-8"))
            except (FileNotFoundError, ValueError):  # none, or one that was left half written
                continue
            if difference := self._difference(stored, place.name):
                raise ValueError(
                    f"{place} belongs to other data: {difference}. Take that data again, or "
                    "another output folder (--output-dir, or in a notebook SEG_OUTPUT), or move "
                    "that one away"
                )

    def save(self, folder: str | Path) -> None:
        """Write `training_data.json` into a folder, which need not exist."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps(self._facts(), indent=1, ensure_ascii=False) + "\n"
        (Path(folder) / TRAINING_DATA).write_text(text, encoding="utf-8")

    def _facts(self) -> dict[str, Any]:
        """What is stored and compared: images, reduce, and the pixels of each class by name."""
        areas = [None] * self.labels.num_labels if self.areas is None else map(int, self.areas)
        pixels = dict(zip(self.labels.names, areas, strict=True))
        return {"images": self.images, "reduce": self.labels.reduce, "pixels": pixels}

    def _difference(self, stored: dict[str, Any], where: str) -> str | None:
        """Where this data first differs from the stored facts, in words."""
        facts = self._facts()
        pixels, stored_pixels = facts["pixels"], stored["pixels"]
        if difference := names_differ(tuple(pixels), tuple(stored_pixels), where):
            return difference
        if facts["reduce"] != stored["reduce"]:
            ours, theirs = ("not a" if one["reduce"] else "a" for one in (facts, stored))
            return f"value 0 is {ours} class in the data and {theirs} class in {where}"
        counts = [("images", self.images, stored["images"])]
        counts += [(f"pixels of {name}", pixels[name], stored_pixels[name]) for name in pixels]
        for kind, ours, theirs in counts:
            if None not in (ours, theirs) and ours != theirs:
                return f"there are {ours:,} training {kind} in the data and {theirs:,} in {where}"
        return None
