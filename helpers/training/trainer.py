"""The trainer for SegFormer: exact checkpoints and loss, in one process or several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import RandomSampler
from transformers import TrainingArguments

from helpers.labels import IGNORE_INDEX
from helpers.training.checkpoints import TrainingData
from helpers.training.distributed import share_batch_norm
from helpers.training.exact_trainer import ExactTrainer
from helpers.training.loss import labelled_pixels, pixel_cross_entropy

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class SegmentationTrainer(ExactTrainer):
    """The trainer for SegFormer: exact checkpoints, an exact loss, and a faster decode head.

    The loss is `pixel_cross_entropy`, divided by the labelled pixels of the whole batch, over all
    accumulation steps and processes. SegFormer's own is a mean over one part. `Trainer` takes it
    for a share of the whole, because `forward` accepts any keyword argument, and so logs, and
    takes the gradient of, N times the loss (transformers #47688). Where every pixel is ignored,
    SegFormer's is NaN: its gradients are 0, but every average that it enters is NaN.

    Several processes train the model that one process would: batch normalisation sees the images
    of all of them, and all batches are full. The images that would not fill the last batch of an
    epoch are left out, other ones in each epoch. (A batch that is cut into accumulation steps is
    normalised part by part: the first part cannot know the others.)

    Args:
        head_learning_rate_factor: the decode head's learning rate over the encoder's.
        training_data: what the model learns from. It is written into the folder of a saved model
            with its labels, and a run is resumed with this data alone.
        Everything else as `transformers.Trainer`.

    Raises:
        ValueError: there are fewer training images than processes x accumulation steps.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        *others: Any,
        head_learning_rate_factor: float = 1.0,
        training_data: TrainingData | None = None,
        **kwargs: Any,
    ) -> None:
        model.accepts_loss_kwargs = False  # or `Trainer` would pass `forward` the number of pixels
        kwargs = {"compute_loss_func": pixel_cross_entropy} | kwargs
        super().__init__(model, args, *others, **kwargs)
        self.head_learning_rate_factor = head_learning_rate_factor
        self.training_data = training_data
        if hasattr(self.train_dataset, "__len__"):
            self._fit_batch(len(self.train_dataset))
        _silence_rounding(self.model)
        if self.args.world_size > 1:
            self.args.average_tokens_across_devices = True  # the loss is a share of the whole
            share_batch_norm(self.model)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As `ExactTrainer`'s.

        Raises:
            ValueError: the checkpoint to resume from belongs to other data, or one in the output
                folder does, where this run would delete old checkpoints as it adds its own.
        """
        if self.training_data is not None:
            self.training_data.refuse_other(self.args.output_dir)
            if resume_from_checkpoint not in (None, True, False):
                self.training_data.refuse_other(resume_from_checkpoint)
        return super().train(resume_from_checkpoint, **kwargs)

    def save_model(self, output_dir: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().save_model(output_dir, *args, **kwargs)
        if self.training_data is not None and self.args.should_save:
            self.training_data.labels.save(output_dir or self.args.output_dir)
            self.training_data.save(output_dir or self.args.output_dir)

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

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        if "labels" in inputs:
            inputs = {**inputs, "labels": self._without_repeats(inputs["labels"])}
        result = super().prediction_step(model, inputs, *args, **kwargs)
        if (loss := result[0]) is not None:
            pixels = self._get_num_items_in_batch([inputs], self.args.device).item()
            self._evaluated += np.array([loss.item() * pixels, pixels])
        return result

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer`'s, but the loss is a mean over the pixels of the set, not over batches."""
        self._evaluated = np.zeros(2)  # the batches' losses times their pixels, and their pixels
        output = super().evaluation_loop(*args, **kwargs)
        if (name := f"{kwargs.get('metric_key_prefix', 'eval')}_loss") in output.metrics:
            sums = torch.as_tensor(self._evaluated, dtype=torch.float32, device=self.args.device)
            loss, pixels = self.accelerator.reduce(sums, "mean").tolist()
            output.metrics[name] = loss / max(pixels, 1)
        return output

    def _fit_batch(self, images: int) -> None:
        """Make the batch smaller if there are fewer images than it holds."""
        parts = self.args.world_size * self.args.gradient_accumulation_steps
        batch = self.args.per_device_train_batch_size * parts
        if images >= batch:
            return
        if images < parts:
            raise ValueError(
                f"{images} training images cannot be shared among {parts} parts (processes x "
                "accumulation steps): take more images, or fewer parts"
            )
        self.args.per_device_train_batch_size = self._train_batch_size = images // parts
        if self.is_world_process_zero():
            print(
                f"{images} training images do not fill a batch of {batch}: "
                f"batches of {images // parts * parts} instead"
            )

    def _get_train_sampler(self, *args: Any) -> Any:
        """As `Trainer`'s, without the images that would make an incomplete batch."""
        sampler = super()._get_train_sampler(*args)
        if isinstance(sampler, RandomSampler):
            images, batch = len(sampler), self.get_total_train_batch_size(self.args)
            return RandomSampler(sampler.data_source, num_samples=images // batch * batch)
        return sampler

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, torch.Tensor]], device: torch.device
    ) -> torch.Tensor:
        """Labelled pixels of all parts of a batch; `Trainer` counts labels other than -100."""
        count = sum(labelled_pixels(batch["labels"]) for batch in batch_samples)
        return self.accelerator.reduce(torch.as_tensor(count).to(device), "sum")

    def _without_repeats(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels that ignore the images with which accelerate fills up the last test batch."""
        drawn = self.accelerator.gradient_state
        if drawn.end_of_dataloader and drawn.remainder > 0:
            own = max(drawn.remainder - len(labels) * self.args.process_index, 0)
            labels = labels.clone()
            labels[own:] = IGNORE_INDEX
        return labels


def _silence_rounding(model: PreTrainedModel) -> None:
    """Set gradients to zero that would be zero but for rounding, and that Adam takes for real.

    Batch normalisation subtracts the batch's mean, and with it whatever the biases before it have
    added. Their gradients of 1e-9 are rounding errors. Adam divides by a gradient's size, so it
    turns them into steps as large as any: a random walk, different on each machine. The running
    mean that evaluation uses lags behind it, which costs a few per cent of the score in a run's
    first steps.
    """
    head = getattr(model, "decode_head", None)
    norm = getattr(head, "batch_norm", None)
    if norm is None:
        return
    last = len(model.config.depths) - 1  # nothing but the head follows its norm
    last_norms = (f"stages.{last}.layer_norm.bias", f"encoder.layer_norm.{last}.bias")
    for name, parameter in model.named_parameters():
        part = name.removeprefix("decode_head.")
        before = part != name and not part.startswith(("batch_norm.", "classifier."))
        if parameter.requires_grad and (
            (before and name.endswith(".bias")) or name.endswith(last_norms)
        ):
            # In evaluation mode the norm subtracts no mean of the batch: then they are real.
            parameter.register_hook(lambda gradient: gradient * (not norm.training))
