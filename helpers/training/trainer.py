"""`transformers.Trainer` with its defects for segmentation fixed: checkpoints, loss, processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import set_seed
from transformers.utils.notebook import NotebookProgressCallback

from helpers.cli import bars_disabled
from helpers.labels import IGNORE_INDEX, Labels
from helpers.metrics import StreamingMeanIoU
from helpers.training.checkpoints import defect_of, last_complete_checkpoint, write_checksums
from helpers.training.distributed import SharedBatchNorm2d, share_batch_norm
from helpers.training.loss import labelled_pixels, pixel_cross_entropy

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ExactTrainer(Trainer):
    """`Trainer` that reads checkpoints with `from_pretrained`, and shows one progress bar.

    `Trainer` reads them with a plain, non-strict `load_state_dict`. SegFormer's encoder is
    *saved* under older key names, so none of it would be loaded, neither for the best model nor
    on resume (transformers #43701). `train(resume_from_checkpoint=True)` resumes from the last
    checkpoint that is whole, or starts from step 0 where there is none, and says so.

    One process uses one GPU: `Trainer` would put the model into `DataParallel` on all it sees,
    which scales a loss that is divided by the whole batch wrongly, and is slow.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        arguments: TrainingArguments = args[1] if len(args) > 1 else kwargs["args"]
        if (visible := arguments.n_gpu) > 1:
            arguments._n_gpu = 1
            print(
                f"{visible} GPUs are visible and this process uses one: to train on all of them, "
                f"start `accelerate launch --num_processes {visible} -m helpers.training`"
            )
        if arguments.world_size > 1 and arguments.data_seed is None:
            arguments.data_seed = arguments.seed  # one order of the images for all processes
        super().__init__(*args, **kwargs)
        if self.args.world_size > 1:  # but crops and dropout of its own for each
            set_seed(self.args.seed + self.args.process_index)
        self.add_callback(_BestCheckpoint)
        # One bar that carries the last loss and score, instead of a growing table or JSON lines.
        for callback in (NotebookProgressCallback, ProgressCallback, PrinterCallback):
            self.remove_callback(callback)
        if not bars_disabled():
            self.add_callback(_ProgressBar)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        if resume_from_checkpoint is True:
            resume_from_checkpoint = self.last_checkpoint()
        if resume_from_checkpoint:
            self.args.eval_on_start = False  # a second evaluation of the same step
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def last_checkpoint(self) -> str | None:
        """The last complete checkpoint of the output folder; None, and a sentence, if none is."""
        found = [None]
        if self.is_world_process_zero():  # one looks and tells the others
            found = [last_complete_checkpoint(self.args.output_dir)]
            if found == [None]:
                print(f"no checkpoint in {self.args.output_dir}: the run starts at step 0")
        (last,) = broadcast_object_list(found)
        return str(last) if last else None

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        # The sum behind a logged loss is not in a checkpoint: log first, so that nothing is lost.
        self.control.should_log |= self.control.should_save
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "train_loss" in logs:  # of this process alone; the history goes back to step 0
            logged = [entry for entry in self.state.log_history if "loss" in entry]
            steps = np.diff([0, *(entry["step"] for entry in logged)])
            if steps.sum() > 0:
                logs["train_loss"] = float(
                    np.average([entry["loss"] for entry in logged], weights=steps)
                )
        super().log(logs, *args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.compute_metrics, StreamingMeanIoU):
            self.compute_metrics.reset()  # an evaluation that was interrupted leaves its counts
        return super().evaluation_loop(*args, **kwargs)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # The state that follows marks the checkpoint as complete: it waits for all processes.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            write_checksums(Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_exactly(self.model if model is None else model, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        load_exactly(self.model, self.state.best_model_checkpoint)


class SegmentationTrainer(ExactTrainer):
    """The trainer for SegFormer: exact checkpoints, an exact loss, and a faster decode head.

    The loss is `pixel_cross_entropy`, divided by the labelled pixels of the whole batch over all
    accumulation steps and processes. SegFormer's own is a mean over one part; `Trainer` takes it
    for a share of the whole, because `forward` swallows any keyword argument, and logs and
    applies N times the loss (transformers #47688). It is also NaN where every pixel is ignored,
    and then every weight becomes NaN.

    Several processes train the model that one would with the same batch, cut into as many
    accumulation steps: batch normalisation sees the images of all processes, and those with
    which accelerate fills up a last, incomplete batch count for nothing. (A batch that is cut
    into accumulation steps is normalised step by step: nothing can look ahead.)

    Args:
        head_learning_rate_factor: the decode head's learning rate over the encoder's.
        labels: what the model's label ids mean; written into the folder of a saved model.
        Everything else as `transformers.Trainer`.
    """

    def __init__(
        self,
        *args: Any,
        head_learning_rate_factor: float = 1.0,
        labels: Labels | None = None,
        **kwargs: Any,
    ) -> None:
        model = kwargs.get("model") or args[0]
        model.accepts_loss_kwargs = False  # or `forward` would be told the number of pixels
        super().__init__(*args, **({"compute_loss_func": pixel_cross_entropy} | kwargs))
        self.head_learning_rate_factor, self.labels = head_learning_rate_factor, labels
        _silence_rounding(self.model)
        if self.args.world_size > 1:
            self.args.average_tokens_across_devices = True  # the loss is a share of the whole
            share_batch_norm(self.model)

    def save_model(self, output_dir: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().save_model(output_dir, *args, **kwargs)
        if self.labels is not None and self.args.should_save:
            self.labels.save(output_dir or self.args.output_dir)

    def create_optimizer(self, model: PreTrainedModel | None = None) -> torch.optim.Optimizer:
        """AdamW with a larger learning rate for the decode head, no decay for biases and norms."""
        if self.optimizer is None:
            model = self.model if model is None else model
            decayed = set(self.get_decay_parameter_names(model))
            groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    groups.setdefault(("decode_head." in name, name in decayed), []).append(
                        parameter
                    )
            rate = self.args.learning_rate
            parameter_groups = [
                {
                    "params": parameters,
                    "lr": rate * (self.head_learning_rate_factor if in_head else 1.0),
                    "weight_decay": self.args.weight_decay if decays else 0.0,
                }
                for (in_head, decays), parameters in groups.items()
            ]
            # One fused kernel instead of a loop over tensors: small tensors are mostly overhead.
            self.optimizer = torch.optim.AdamW(parameter_groups, fused=True)
        return self.optimizer

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], torch.Tensor]:
        """The parts of one batch without repeated images, and their labelled pixels."""
        # Lazily: whether a part is the last is known when it has been drawn, and not later.
        parts = (self._without_repeats(part) for part in epoch_iterator)
        return super().get_batch_samples(parts, num_batches, device)

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        counts = not inputs.pop("stands_in", False)
        for module in self.model.modules():
            if isinstance(module, SharedBatchNorm2d):
                module.counts = counts
        return super().training_step(model, inputs, *args, **kwargs)

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        labels = inputs.get("labels")
        if labels is not None:
            labels = labels.clone()
            labels[self._own_images(len(labels)) :] = IGNORE_INDEX
            inputs = {**inputs, "labels": labels}
        result = super().prediction_step(model, inputs, *args, **kwargs)
        if labels is not None:
            # From a share of the mean over all processes back to a sum.
            share = result[0].item() / self.args.world_size
            self._evaluated += np.array([share * self._pixels, labelled_pixels(labels).item()])
        return result

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        """As `Trainer`'s; the loss is a mean over the pixels of the set, and not over batches."""
        self._evaluated = np.zeros(2)
        output = super().evaluation_loop(
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
        )
        if (name := f"{metric_key_prefix}_loss") in output.metrics:
            sums = torch.as_tensor(self._evaluated, dtype=torch.float32, device=self.args.device)
            loss, pixels = self.accelerator.reduce(sums, "sum").tolist()
            output.metrics[name] = loss / max(pixels, 1)
        return output

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, torch.Tensor]], device: torch.device
    ) -> torch.Tensor:
        """Labelled pixels of all parts of a batch; `Trainer` counts labels other than -100."""
        count = sum(labelled_pixels(batch["labels"]) for batch in batch_samples)
        pixels = self.accelerator.reduce(torch.as_tensor(count).to(device), "sum")
        self._pixels = max(pixels.item(), 1)
        return pixels

    def _own_images(self, size: int) -> int:
        """How many of the last batch's images are not repeats; they lie at its end."""
        drawn = self.accelerator.gradient_state
        if self.args.world_size == 1 or not drawn.end_of_dataloader:
            return size
        if self.args.dataloader_drop_last:
            return size
        left_over = len(drawn.active_dataloader.dataset) % (size * self.args.world_size)
        if left_over == 0:
            return size
        return min(max(left_over - size * self.args.process_index, 0), size)

    def _without_repeats(self, part: dict[str, torch.Tensor]) -> dict[str, Any]:
        """A part of a training batch without the images that accelerate repeats to fill it."""
        own = self._own_images(len(part["labels"]))
        if own == len(part["labels"]):
            return part
        kept = {name: values[: max(own, 1)] for name, values in part.items()}
        if own == 0:  # the others wait for this process: an image stands in, and is not learnt
            kept |= {"labels": torch.full_like(kept["labels"], IGNORE_INDEX), "stands_in": True}
        return kept


def load_exactly(model: PreTrainedModel, checkpoint: str | Path) -> None:
    """Copy a checkpoint's weights into the model, or raise: nothing is skipped silently.

    Raises:
        ValueError: the checkpoint is that of another model; nothing has been copied then.
    """
    of_another = "start from a checkpoint of the same run, or in another folder"
    saved, report = type(model).from_pretrained(
        checkpoint, output_loading_info=True, use_safetensors=True
    )
    if saved.config.num_labels != model.config.num_labels:
        raise ValueError(
            f"the checkpoint {checkpoint} predicts {saved.config.num_labels} labels, the model "
            f"{model.config.num_labels}: {of_another}"
        )
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


def _silence_rounding(model: PreTrainedModel) -> None:
    """Make the gradients zero that are zero but for rounding, and that Adam would take for real.

    Batch normalisation subtracts the batch's mean, and with it whatever the biases before it have
    added. Their gradients of 1e-9 are rounding errors, of which Adam, which divides by the size of
    a gradient, makes steps as large as any: a random walk, different on each machine, after which
    the running mean of evaluation limps by a few per cent of the score in a run's first steps.
    """
    head = getattr(model, "decode_head", None)
    norm = getattr(head, "batch_norm", None)
    if norm is None:
        return
    last = len(model.config.depths) - 1  # its norm is followed by nothing but the head
    last_norms = (f"stages.{last}.layer_norm.bias", f"encoder.layer_norm.{last}.bias")
    for name, parameter in model.named_parameters():
        part = name.removeprefix("decode_head.")
        before = part != name and not part.startswith(("batch_norm.", "classifier."))
        if parameter.requires_grad and (
            (before and name.endswith(".bias")) or name.endswith(last_norms)
        ):
            # A norm in evaluation mode subtracts no mean of the batch: then they are real.
            parameter.register_hook(lambda gradient: gradient * (not norm.training))


class _BestCheckpoint(TrainerCallback):
    """Looks, when a run is resumed, whether its best checkpoint is still there, and whole.

    `Trainer` looks under the path that the run had then; where the folder has been moved, it
    forgets the best model but keeps its score, and the last one is taken for it.
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
            print(f"The best checkpoint, {best}, is lost: {defect}. The best from now on is kept.")


class _ProgressBar(ProgressCallback):
    """A progress bar that shows the newest loss and score beside it."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self.training_bar is not None and logs:
            known = {"loss": "loss", "eval_loss": "test loss", "eval_mean_iou": "test mIoU"}
            self._shown = getattr(self, "_shown", {}) | {
                name: f"{logs[key]:.3f}" for key, name in known.items() if key in logs
            }
            self.training_bar.set_postfix(self._shown)
