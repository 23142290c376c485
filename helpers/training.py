"""Fine-tune SegFormer with `transformers.Trainer`, with its defects for this model fixed.

From top to bottom: from a profile to a trainer, the trainer, its loss. The model it starts from is
in `helpers.models`; how a run is resumed, and comes to the same, is in `helpers.runs`. From a
shell: `python -m scripts.train --help`; on several processes:
`accelerate launch --num_processes 2 -m scripts.train --profile tiny --output-dir DIR`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, interpolate, one_hot
from torch.utils.data import RandomSampler
from transformers import TrainingArguments, set_seed

from helpers import transforms
from helpers.data import load_scenes
from helpers.inference import predicted_labels
from helpers.labels import IGNORE_INDEX
from helpers.language import say
from helpers.metrics import StreamingMeanIoU
from helpers.models import build_model, share_batch_norm, silence_rounding
from helpers.processes import has_accelerator, is_first_process, processes
from helpers.profiles import Profile
from helpers.runs import ExactTrainer, TrainingData, show_one_bar

if TYPE_CHECKING:
    from datasets import DatasetDict
    from transformers import PreTrainedModel
    from transformers.modeling_outputs import SemanticSegmenterOutput


def build_trainer(
    profile: Profile,
    scenes: DatasetDict | None = None,
    output_dir: str | Path | None = None,
    augment: bool = True,
    dropout: bool = True,
    **overrides: Any,
) -> SegmentationTrainer:
    """Everything that notebook 05 sets up step by step, ready for `.train()`.

    Args:
        scenes: splits "train" and "test"; None loads the profile's. Those of `load_scenes` bring
            the number of pixels of each class, by which the run knows its data when it is resumed.
        output_dir: where checkpoints go; None: the profile's `output_dir`/checkpoints.
        augment: crop, flip and jitter the training images.
        dropout: False switches every dropout off, for exact comparisons.
        overrides: further fields of `TrainingArguments`.

    Raises:
        ValueError: as `build_arguments` and `SegmentationTrainer`.
    """
    folder = output_dir or profile.output_dir / "checkpoints"
    arguments = build_arguments(profile, folder, **overrides)
    scenes = load_scenes(profile) if scenes is None else scenes
    labels, areas = profile.labels, getattr(scenes, "areas", {})
    image_processor = transforms.load_image_processor(profile)
    augmentation = transforms.train_augmentation(profile) if augment else None
    train_transform = transforms.make_train_transform(image_processor, augmentation)
    eval_transform = transforms.make_eval_transform(image_processor)
    set_seed(arguments.seed)  # the new decode head's weights are random
    return SegmentationTrainer(
        model=build_model(profile, dropout),
        args=arguments,
        train_dataset=scenes["train"].with_transform(train_transform),
        eval_dataset=scenes["test"].with_transform(eval_transform),
        processing_class=image_processor,
        compute_metrics=StreamingMeanIoU(labels.num_labels, IGNORE_INDEX),
        preprocess_logits_for_metrics=predicted_labels,
        head_learning_rate_factor=profile.head_learning_rate_factor,
        training_data=TrainingData(labels, len(scenes["train"]), areas.get("train")),
    )


def build_arguments(
    profile: Profile, output_dir: str | Path, **overrides: Any
) -> TrainingArguments:
    """The profile's schedule as `TrainingArguments`; notebook 05 explains each field.

    The profile's `batch_size` is that of one optimiser step, over all processes and
    accumulation steps, so that a recipe means the same on one GPU and on eight. What is given in
    `overrides` wins over the profile.

    Raises:
        ValueError: the batch cannot be shared equally among processes and accumulation steps.
    """
    count = processes().num_processes
    parts = count * overrides.get("gradient_accumulation_steps", 1)
    if profile.batch_size % parts:
        raise ValueError(
            f"a batch of {profile.batch_size} images cannot be shared equally among {parts} "
            "parts (processes x accumulation steps): choose a divisor of the batch size"
        )
    settings: dict[str, Any] = {
        "output_dir": str(output_dir),
        "max_steps": profile.max_steps,
        "per_device_train_batch_size": profile.batch_size // parts,
        "per_device_eval_batch_size": profile.batch_size // parts,
        "learning_rate": profile.learning_rate,
        "warmup_steps": profile.warmup_steps,
        "weight_decay": profile.weight_decay,
        **sixteen_bits(),
        "eval_strategy": "steps",
        "eval_steps": profile.eval_steps,
        "eval_on_start": True,
        "batch_eval_metrics": True,
        "save_steps": profile.eval_steps,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "mean_iou",
        "logging_steps": profile.logging_steps,
        "remove_unused_columns": False,
        "dataloader_num_workers": profile.num_workers,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "report_to": "none",
        "seed": profile.seed,
        # Without GPUs, each of several processes would think that it is the only one.
        "use_cpu": count > 1 and not has_accelerator(),
    }
    return TrainingArguments(**settings | overrides)


def sixteen_bits() -> dict[str, bool]:
    """`bf16` and `fp16` of `TrainingArguments`: the 16-bit numbers that this GPU is quick at.

    A T4, Colab's free GPU, emulates bfloat16, which is slower than 32 bits: there float16 is
    right, for which `Trainer` scales the loss so that small gradients do not vanish.
    """
    has_gpu = torch.cuda.is_available()
    bf16 = has_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    return {"bf16": bf16, "fp16": has_gpu and not bf16}


# --- the trainer ----------------------------------------------------------------------------------


class SegmentationTrainer(ExactTrainer):
    """The trainer for SegFormer: exact checkpoints, an exact loss, and a faster decode head.

    The loss is `pixel_cross_entropy`, divided by the labelled pixels of the whole batch, over all
    accumulation steps and processes. SegFormer's own is a mean over one part, which `Trainer` takes
    for a share of the whole, because `forward` accepts any keyword argument: it would log, and take
    the gradient of, N times the loss (transformers #47688).

    Several processes train the model that one process would: batch normalisation sees the images
    of all of them, and all batches are full. The images that would not fill the last batch of an
    epoch are left out, other ones in each epoch. (A batch that is cut into accumulation steps is
    normalised part by part: the first part cannot know the others.)

    Args:
        head_learning_rate_factor: the learning rate of new weights over that of the others; new are
            the model's `new_weights`, else all of a SegFormer's decode head.
        Everything else, by keyword, as `ExactTrainer` and `transformers.Trainer`.

    Raises:
        ValueError: there are fewer training images than processes x accumulation steps.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        head_learning_rate_factor: float = 1.0,
        **kwargs: Any,
    ) -> None:
        model.accepts_loss_kwargs = False  # or `Trainer` would pass `forward` the number of pixels
        if hasattr(images := kwargs.get("train_dataset"), "__len__"):  # a stream has none
            _fit_batch(args, len(images))
        super().__init__(model, args, **{"compute_loss_func": pixel_cross_entropy} | kwargs)
        self.head_learning_rate_factor = head_learning_rate_factor
        self.evaluated = np.zeros(2)  # the batches' losses times their pixels, and their pixels
        show_one_bar(self)
        if args.world_size > 1:
            share_batch_norm(self.model)
            # A SegFormer has none, and looking takes time; other families have heads for training.
            args.ddp_find_unused_parameters = self.model.config.model_type != "segformer"
        silence_rounding(self.model)

    def create_optimizer(self, model: PreTrainedModel | None = None) -> torch.optim.Optimizer:
        """AdamW with a larger learning rate for new weights, no decay for biases and norms."""
        if self.optimizer is None:
            model = self.model if model is None else model
            decayed = set(self.get_decay_parameter_names(model))
            new = getattr(self.model, "new_weights", None)
            groups: dict[tuple[bool, bool], dict[str, Any]] = {}
            for name, weight in model.named_parameters():
                is_new = "decode_head." in name if new is None else name in new
                factor = self.head_learning_rate_factor if is_new else 1.0
                group = groups.setdefault((is_new, name in decayed), {"params": []})
                group["params"].append(weight)
                group["lr"] = self.args.learning_rate * factor
                group["weight_decay"] = self.args.weight_decay if name in decayed else 0.0
            # One fused kernel instead of a loop over tensors: small tensors are mostly overhead.
            self.optimizer = torch.optim.AdamW(list(groups.values()), fused=True)
        return self.optimizer

    def get_batch_samples(
        self, *args: Any, **kwargs: Any
    ) -> tuple[list[dict[str, torch.Tensor]], torch.Tensor]:
        """The parts of a batch, and the labelled pixels of all processes' parts; `Trainer` counts
        labels other than -100."""
        parts, _ = super().get_batch_samples(*args, **kwargs)
        pixels = sum(labelled_pixels(part["labels"]) for part in parts)
        pixels = torch.as_tensor(pixels, device=self.args.device)
        return parts, self.accelerator.reduce(pixels, "sum")

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """As `Trainer`'s, but the loss is a mean over the pixels of the set, not over batches."""
        self.evaluated = np.zeros(2)
        if isinstance(self.compute_metrics, StreamingMeanIoU):
            self.compute_metrics.reset()  # an interrupted evaluation leaves its counts
        output = super().evaluation_loop(*args, **kwargs)
        if (name := f"{kwargs.get('metric_key_prefix', 'eval')}_loss") in output.metrics:
            sums = torch.as_tensor(self.evaluated, dtype=torch.float32, device=self.args.device)
            loss, pixels = self.accelerator.reduce(sums, "mean").tolist()
            output.metrics[name] = loss / max(pixels, 1)
        return output

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        if model.training:
            return super().compute_loss(model, inputs, return_outputs, **kwargs)
        drawn, labels = self.accelerator.gradient_state, inputs["labels"].clone()
        if drawn.end_of_dataloader and drawn.remainder > 0:
            # Images with which accelerate has filled up the last batch.
            labels[max(drawn.remainder - len(labels) * self.args.process_index, 0) :] = IGNORE_INDEX
        pixels = labelled_pixels(labels).item()
        loss, outputs = super().compute_loss(model, {**inputs, "labels": labels}, True)
        self.evaluated += np.array([loss.item() * pixels, pixels])
        return (loss, outputs) if return_outputs else loss

    def _get_train_sampler(self, *args: Any) -> Any:
        """As `Trainer`'s, without the images that would make an incomplete batch."""
        sampler = super()._get_train_sampler(*args)
        if isinstance(sampler, RandomSampler):
            images, batch = len(sampler), self.get_total_train_batch_size(self.args)
            return RandomSampler(sampler.data_source, num_samples=images // batch * batch)
        return sampler


def _fit_batch(args: TrainingArguments, images: int) -> None:
    """Make the batch smaller if there are fewer images than it holds."""
    parts = args.world_size * args.gradient_accumulation_steps
    batch = args.per_device_train_batch_size * parts
    if images >= batch:
        return
    if images < parts:
        raise ValueError(
            f"{images} training images cannot be shared among {parts} parts (processes x "
            "accumulation steps): take more images, or fewer parts"
        )
    args.per_device_train_batch_size = images // parts
    if is_first_process():
        text = "{images} training images do not fill a batch of {batch}: batches of {size} instead"
        print(say(text, images, batch, images // parts * parts))


# --- the loss -------------------------------------------------------------------------------------


def pixel_cross_entropy(
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """Mean cross-entropy over the labelled pixels, in nats, logits upsampled to the labels' size.

    For one whole batch this is the loss that SegFormer's own `forward` returns (bilinear
    upsampling, `ignore_index` 255; "SegFormer", arXiv 2105.15203). A part of a batch is divided
    by the labelled pixels of *all* parts, so that the parts add up to the loss of the whole batch,
    even if one has more ignored pixels than another. Where no pixel is labelled the loss is 0.
    The other losses take and return the same.

    Args:
        outputs: of the model, with `logits` (batch, num_labels, height / 4, width / 4) float.
        labels: (batch, height, width) integer, 0 ... num_labels - 1 or 255 for "ignore".
        num_items_in_batch: labelled pixels of the whole batch, over all accumulation steps and
            processes, as `Trainer` gives them; None counts those of `labels`.

    Raises:
        IndexError: a label that is neither 255 nor below num_labels.
    """
    total = partial(cross_entropy, ignore_index=IGNORE_INDEX, reduction="sum")
    return mean_over_pixels(total, outputs, labels, num_items_in_batch)


def dice_loss(
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """1 - the Dice score, from 0 to 1, with probabilities in place of predicted pixels.

    For each class that an image shows, Dice is 2 * sum(p * t) / (sum(p) + sum(t)), with the
    probabilities p and t 1 where the class is and else 0 (Drozdzal et al., arXiv 1608.04117); an
    image's is the mean over its classes. An image counts as much as it has labelled pixels.
    """

    def total(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        labelled = labels[0] != IGNORE_INDEX
        probabilities = logits[0][:, labelled].softmax(dim=0)  # (num_labels, pixels)
        truth = one_hot(labels[0][labelled], len(probabilities)).T
        shown = truth.any(dim=1)
        common = (probabilities * truth).sum(dim=1)[shown]
        dice = 2 * common / (probabilities.sum(dim=1) + truth.sum(dim=1))[shown]
        return (1 - dice).sum() / shown.sum().clamp(min=1) * labelled.sum()

    return mean_over_pixels(total, outputs, labels, num_items_in_batch)


def mean_over_pixels(
    total_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """The sum of a loss of one image's upsampled logits and labels, over the labelled pixels."""
    count = labelled_pixels(labels) if num_items_in_batch is None else num_items_in_batch
    # 16-bit arithmetic under autocast would round the upsampled logits to 8 bits or 11.
    with torch.autocast(labels.device.type, enabled=False):
        # Upsampled logits are large (157 MB an image at 150 classes and 512 x 512 pixels), and
        # several copies of them are needed: so take an image at a time.
        total = sum(
            total_of(interpolate(logits, size=labels.shape[-2:], mode="bilinear"), label)
            for logits, label in zip(outputs.logits.float().split(1), labels.split(1), strict=True)
        )
    return total / max(count, 1)


def labelled_pixels(labels: torch.Tensor) -> torch.Tensor:
    """The number of pixels that have a class: a scalar int64 tensor."""
    return (labels != IGNORE_INDEX).sum()


if __name__ == "__main__":
    print("python -m helpers.training is python -m scripts.train now", file=sys.stderr)
    sys.exit(2)
