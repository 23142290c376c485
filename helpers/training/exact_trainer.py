"""`transformers.Trainer` with exact checkpoints: the best one, and that of an interrupted run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import set_seed
from transformers.utils.notebook import NotebookProgressCallback

from helpers.metrics import StreamingMeanIoU
from helpers.processes import bars_disabled
from helpers.training.checkpoints import (
    last_complete_checkpoint,
    load_exactly,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class ExactTrainer(Trainer):
    """`Trainer` that reads checkpoints with `from_pretrained`, and shows one progress bar.

    `Trainer` reads them with a plain, non-strict `load_state_dict`. SegFormer's encoder is
    *saved* under older key names, so none of it would be loaded, neither for the best model nor
    on resume (transformers #43701). `train(resume_from_checkpoint=True)` resumes from the last
    complete checkpoint, or starts from step 0 where there is none, and says so. Resuming a
    finished run takes no further step: its best model is loaded, and that is all.

    One process uses one GPU: `Trainer` would put the model into `DataParallel` on all it sees,
    which is slow, and scales wrongly a loss that is divided by the whole batch.
    """

    def __init__(
        self, model: PreTrainedModel, args: TrainingArguments, *others: Any, **kwargs: Any
    ) -> None:
        if (visible := args.n_gpu) > 1:
            args._n_gpu = 1
            print(
                f"{visible} GPUs are visible and this process uses one: to train on all of them, "
                f"start `accelerate launch --num_processes {visible} -m scripts.train`"
            )
        if args.world_size > 1 and args.data_seed is None:
            args.data_seed = args.seed  # all processes draw the images in one order
        super().__init__(model, args, *others, **kwargs)
        if self.args.world_size > 1:  # but each has its own crops and dropout
            set_seed(self.args.seed + self.args.process_index)
        show_one_bar(self)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        if resume_from_checkpoint is True:
            resume_from_checkpoint = self.last_checkpoint()
        if resume_from_checkpoint:
            self.args.eval_on_start = False  # that step has been evaluated
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def last_checkpoint(self) -> str | None:
        """The last complete checkpoint of the output folder; if there is none, says so."""
        found = [None]
        if self.is_world_process_zero():  # one looks and tells the others
            found = [last_complete_checkpoint(self.args.output_dir)]
            if found == [None]:
                print(f"no checkpoint in {self.args.output_dir}: the run starts at step 0")
        (last,) = broadcast_object_list(found)
        return str(last) if last else None

    def _init_training_state(
        self, max_steps: int, steps_per_epoch: int, epochs: int, checkpoint: str | None, trial: Any
    ) -> tuple[int, int]:
        start = super()._init_training_state(max_steps, steps_per_epoch, epochs, checkpoint, trial)
        if (step := self.state.global_step) < max_steps:
            return start
        if self.is_world_process_zero():
            print(f"{checkpoint} is at step {step} of {max_steps}: nothing is left to train")
        return epochs, 0  # `Trainer` would take one more step before it looks

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.compute_metrics, StreamingMeanIoU):
            self.compute_metrics.reset()  # an interrupted evaluation leaves its counts
        return super().evaluation_loop(*args, **kwargs)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_exactly(self.model if model is None else model, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        load_exactly(self.model, self.state.best_model_checkpoint)


def show_one_bar(trainer: Trainer) -> None:
    """One progress bar with the last loss and score, instead of a growing table or JSON lines."""
    for callback in (NotebookProgressCallback, ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    if not bars_disabled():
        trainer.add_callback(_ProgressBar)


class _ProgressBar(ProgressCallback):
    """A progress bar that shows the newest loss and score beside it."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self.training_bar is not None and logs:
            known = {"loss": "loss", "eval_loss": "test loss", "eval_mean_iou": "test mIoU"}
            self._shown = getattr(self, "_shown", {}) | {
                name: f"{logs[key]:.3f}" for key, name in known.items() if key in logs
            }
            self.training_bar.set_postfix(self._shown)
