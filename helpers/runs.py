"""Training runs: interrupted, resumed, or shared among processes, they end as one at a stretch.

The trainer, its checkpoints, the data on which a run may be resumed, and what batch normalisation
needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list
from torch import distributed
from transformers import Trainer, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import set_seed

from helpers.labels import Labels, label_names, names_differ
from helpers.language import say
from helpers.metrics import StreamingMeanIoU
from helpers.processes import is_first_process

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
    has the weights and the scores of one at a stretch; the first loss that it logs is a mean over
    the steps since the checkpoint, and its `train_loss` is that of its part.

    One process uses one GPU: `Trainer` would put the model into `DataParallel` on all it sees,
    which is slow, and scales wrongly a loss that is divided by the whole batch. Several processes
    draw the images in one order, but each has crops and dropout of its own.

    Args:
        training_data: what the model learns from. It is written into the folder of a saved model
            with its labels, and a run is resumed with this data alone; None: with any.
        Everything else as `transformers.Trainer`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        *others: Any,
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
        super().__init__(model, args, *others, **kwargs)
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
            self.training_data.refuse_other(self.args.output_dir)
            if checkpoint:
                self.training_data.refuse_other(checkpoint)
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

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.compute_metrics, StreamingMeanIoU):
            self.compute_metrics.reset()  # an interrupted evaluation leaves its counts
        return super().evaluation_loop(*args, **kwargs)

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


# --- the data -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingData:
    """What tells a training split from another one, wherever its files lie."""

    labels: Labels
    images: int | None = None
    """How many there are; None: not known, and not compared."""
    areas: Sequence[int] | None = None
    """(num_labels,): pixels of each class, as `load_scenes` counts them; None as above."""

    def claim(self, folder: str | Path) -> None:
        """Note that an output folder belongs to this data.

        Args:
            folder: of the models and checkpoints to come; it need not exist.

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
            stored = _stored_facts(place)
            if stored and (difference := self._difference(stored, place.name)):
                raise ValueError(
                    f"{place} belongs to other data: {difference}. Take that data again, or "
                    "another output folder (--output-dir, or in a notebook SEG_OUTPUT), or move "
                    "that one away"
                )

    def save(self, folder: str | Path) -> None:
        """Write `training_data.json` into a folder, which need not exist."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.facts(), indent=1, ensure_ascii=False) + "\n"
        (Path(folder) / TRAINING_DATA).write_text(text, encoding="utf-8")

    def facts(self) -> dict[str, Any]:
        """What is stored and compared: images, reduce, and the pixels of each class by name."""
        names = self.labels.names
        areas = [None] * len(names) if self.areas is None else map(int, self.areas)
        pixels = dict(zip(names, areas, strict=True))
        return {"images": self.images, "reduce": self.labels.reduce, "pixels": pixels}

    def _difference(self, stored: dict[str, Any], where: str) -> str | None:
        """Where this data first differs from the stored facts, in words."""
        facts = self.facts()
        names, stored_names = tuple(facts["pixels"]), tuple(stored["pixels"])
        if difference := names_differ(names, stored_names, where):
            return difference
        if facts["reduce"] != stored["reduce"]:
            ours, theirs = ("not a" if one["reduce"] else "a" for one in (facts, stored))
            return f"value 0 is {ours} class in the data and {theirs} class in {where}"
        counts = [("images", facts["images"], stored["images"])]
        counts += [(f"pixels of {k}", facts["pixels"][k], stored["pixels"][k]) for k in names]
        for kind, ours, theirs in counts:
            if None not in (ours, theirs) and ours != theirs:
                return f"there are {ours:,} training {kind} in the data and {theirs:,} in {where}"
        return None


def _stored_facts(folder: Path) -> dict[str, Any] | None:
    """What `save` wrote; in the folder of an older version's model the labels alone; None where
    the folder says nothing, or was left half written."""
    try:
        if (file := folder / TRAINING_DATA).is_file():
            return json.loads(file.read_text(encoding="utf-8"))
        return TrainingData(Labels.load(folder)).facts()
    except (FileNotFoundError, ValueError):
        return None


# --- batch normalisation --------------------------------------------------------------------------


class SharedBatchNorm2d(torch.nn.BatchNorm2d):
    """Batch normalisation over the batch of all processes, as `SyncBatchNorm`, on CPUs too.

    `torch.nn.SyncBatchNorm` refuses tensors that are not on a GPU. Parameters and buffers have
    the names of `BatchNorm2d`, so checkpoints are the same.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, channels, height, width) float to the same."""
        if not self.training:
            return super().forward(features)
        wide = features.float()  # statistics need more digits than bfloat16 has
        number = wide.new_tensor([float(features.numel() // features.shape[1])])
        total = _sum_over_processes(torch.cat([wide.sum((0, 2, 3)), number]))
        number = total[-1]
        mean = total[:-1] / number
        centered = wide - mean[:, None, None]
        # From the deviations: a difference of sums of squares would lose its digits.
        variance = _sum_over_processes(centered.square().sum((0, 2, 3))) / number
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * number / (number - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(features.dtype)


def share_batch_norm(model: torch.nn.Module) -> None:
    """Turn every `BatchNorm2d` of a model, in place, into one over the batch of all processes."""
    for module in model.modules():
        if type(module) is torch.nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d  # the tensors and their names stay


class _Sum(torch.autograd.Function):
    """As `torch.distributed.nn.functional.all_reduce`, which newer releases of torch deprecate."""

    @staticmethod
    def forward(context: object, tensor: torch.Tensor) -> torch.Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: object, gradient: torch.Tensor) -> torch.Tensor:
        # Every process's loss depends on the sum, and so on this process's tensor.
        return _Sum.apply(gradient)


def _sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of all processes' tensors of this shape, with gradients to each of them."""
    if distributed.is_available() and distributed.is_initialized():
        return _Sum.apply(tensor)
    return tensor


def silence_rounding(model: PreTrainedModel) -> None:
    """Set gradients to zero that would be zero but for rounding, and that Adam takes for real.

    Batch normalisation subtracts the batch's mean, and with it whatever the biases before it have
    added. Their gradients of 1e-9 are rounding errors. Adam divides by a gradient's size, so it
    turns them into steps as large as any: a random walk, different on each machine. The running
    mean that evaluation uses lags behind it, which costs a few per cent of the score in a run's
    first steps.
    """
    norm = getattr(getattr(model, "decode_head", None), "batch_norm", None)
    if norm is None:
        return
    last = len(model.config.depths) - 1  # nothing but the head follows its norm
    last_norms = (f"stages.{last}.layer_norm.bias", f"encoder.layer_norm.{last}.bias")
    for name, weight in model.named_parameters():
        of_projection = "decode_head." in name and name.endswith(".proj.bias")
        if weight.requires_grad and (of_projection or name.endswith(last_norms)):
            # In evaluation mode the norm subtracts no mean of the batch: then they are real.
            weight.register_hook(lambda gradient: gradient * (not norm.training))
