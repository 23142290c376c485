"""Fine-tune SegFormer with `transformers.Trainer`, with its defects for this model fixed.

From top to bottom: from a profile to a trainer, the trainer, its loss, its progress bar. How a
run is resumed, or shared among processes, and comes to the same, stands in `helpers.runs`. From a
shell: `python -m scripts.train --help`; on several processes:
`accelerate launch --num_processes 2 -m scripts.train --profile tiny --output-dir DIR`.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, interpolate, one_hot
from torch.utils.data import RandomSampler
from transformers import (
    AutoConfig,
    AutoModelForSemanticSegmentation,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.utils.notebook import NotebookProgressCallback

from helpers.data import load_scenes
from helpers.hub import SAFE_WEIGHTS, explained
from helpers.inference import predicted_labels
from helpers.labels import IGNORE_INDEX, label_names
from helpers.language import say
from helpers.metrics import StreamingMeanIoU
from helpers.processes import bars_disabled, has_accelerator, is_first_process, processes
from helpers.profiles import Profile
from helpers.runs import (
    ExactTrainer,
    TrainingData,
    share_batch_norm,
    silence_rounding,
)
from helpers.transforms import (
    load_image_processor,
    make_eval_transform,
    make_train_transform,
    train_augmentation,
)

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedModel
    from transformers.modeling_outputs import SemanticSegmenterOutput

# --- from a profile to a trainer ------------------------------------------------------------------


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
        profile: see `helpers.profiles`; `own`, where it is given, says what the masks' values mean.
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
    image_processor = load_image_processor(profile)
    augmentation = train_augmentation(profile) if augment else None
    train_transform = make_train_transform(image_processor, augmentation)
    set_seed(arguments.seed)  # the new decode head's weights are random
    model, new_weights = _start(profile, dropout)
    return SegmentationTrainer(
        model=model,
        args=arguments,
        train_dataset=scenes["train"].with_transform(train_transform),
        eval_dataset=scenes["test"].with_transform(make_eval_transform(image_processor)),
        processing_class=image_processor,
        compute_metrics=StreamingMeanIoU(labels.num_labels, IGNORE_INDEX),
        preprocess_logits_for_metrics=predicted_labels,
        head_learning_rate_factor=profile.head_learning_rate_factor,
        new_weights=new_weights,
        training_data=TrainingData(labels, len(scenes["train"]), areas.get("train")),
    )


def build_model(profile: Profile) -> PreTrainedModel:
    """The profile's pretrained encoder under a new decode head.

    A finished model of `AutoModelForSemanticSegmentation` can take the encoder's place (the
    profile's `encoder`, with `encoder_revision` None). If its classes differ from the data's, its
    last layer is new, and a printed sentence says so; another one says that nothing is new.
    """
    return _start(profile, dropout=True)[0]


def _start(profile: Profile, dropout: bool) -> tuple[PreTrainedModel, set[str]]:
    """The model that is trained, and the names of its new weights, which are random."""
    source, names = profile.encoder, profile.labels.names
    where = {"revision": profile.encoder_revision or "main"}
    with explained(source, revision=profile.encoder_revision):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **where)
        before = label_names(config)
        config.id2label, config.label2id = profile.labels.id2label, profile.labels.label2id
        if not dropout:
            for part in filter(None, (config, getattr(config, "backbone_config", None))):
                chances = [name for name, value in vars(part).items() if isinstance(value, float)]
                part.update({name: 0.0 for name in chances if "drop" in name})
        model, report = AutoModelForSemanticSegmentation.from_pretrained(
            source,
            config=config,
            ignore_mismatched_sizes=len(before) != len(names),  # of the last layer
            output_loading_info=True,
            **where,
            **SAFE_WEIGHTS,
        )
    new = set(report["missing_keys"])
    last = set() if before == names else _weights_of_labels(model) - new
    for module in sorted({name.rpartition(".")[0] for name in last}):
        model.get_submodule(module).reset_parameters()
    if last and is_first_process():
        text = (
            "{model} predicts {count} labels ({first}, ...), and the data has {labels}: the last "
            "layer is new"
        )
        print(say(text, source, len(before), ", ".join(before[:3]), profile.labels))
    elif not new and is_first_process():
        print(say("no weight of {model} is new: all learn at the encoder's learning rate", source))
    return model, new | last


def _weights_of_labels(model: PreTrainedModel) -> set[str]:
    """The weights of the last layer: those whose shape depends on the number of labels."""
    config = copy.deepcopy(model.config)
    config.num_labels += 1
    with torch.device("meta"):  # where tensors have a shape and no values
        other = dict(type(model)(config).named_parameters())
    return {name for name, one in model.named_parameters() if one.shape != other[name].shape}


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
        "lr_scheduler_type": "linear",
        "warmup_steps": profile.warmup_steps,
        "weight_decay": profile.weight_decay,
        **sixteen_bits(),
        "eval_strategy": "steps",
        "eval_steps": profile.eval_steps,
        "eval_on_start": True,
        "batch_eval_metrics": True,
        "save_strategy": "steps",
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
    }
    if count > 1:
        settings["use_cpu"] = not has_accelerator()  # or each would think it is the only one
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
    accumulation steps and processes. SegFormer's own is a mean over one part. `Trainer` takes it
    for a share of the whole, because `forward` accepts any keyword argument, and so logs, and
    takes the gradient of, N times the loss (transformers #47688). Where every pixel is ignored,
    SegFormer's is NaN: its gradients are 0, but every average that it enters is NaN.

    Several processes train the model that one process would: batch normalisation sees the images
    of all of them, and all batches are full. The images that would not fill the last batch of an
    epoch are left out, other ones in each epoch. (A batch that is cut into accumulation steps is
    normalised part by part: the first part cannot know the others.)

    Args:
        head_learning_rate_factor: the new weights' learning rate over that of the others.
        new_weights: their names; None: all of a SegFormer's decode head.
        Everything else as `ExactTrainer` and `transformers.Trainer`.

    Raises:
        ValueError: there are fewer training images than processes x accumulation steps.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        data_collator: Any = None,
        train_dataset: Dataset | None = None,
        *others: Any,
        head_learning_rate_factor: float = 1.0,
        new_weights: Collection[str] | None = None,
        **kwargs: Any,
    ) -> None:
        model.accepts_loss_kwargs = False  # or `Trainer` would pass `forward` the number of pixels
        if hasattr(train_dataset, "__len__"):
            _fit_batch(args, len(train_dataset))
        kwargs = {"compute_loss_func": pixel_cross_entropy} | kwargs
        super().__init__(model, args, data_collator, train_dataset, *others, **kwargs)
        self.head_learning_rate_factor = head_learning_rate_factor
        self.new_weights = new_weights
        self.evaluated = np.zeros(2)  # the batches' losses times their pixels, and their pixels
        show_one_bar(self)
        silence_rounding(self.model)
        if args.world_size > 1:
            args.average_tokens_across_devices = True  # the loss is a share of the whole
            share_batch_norm(self.model)
            # A SegFormer has none, and looking takes time; other families have heads for training.
            args.ddp_find_unused_parameters = self.model.config.model_type != "segformer"

    def create_optimizer(self, model: PreTrainedModel | None = None) -> torch.optim.Optimizer:
        """AdamW with a larger learning rate for new weights, no decay for biases and norms."""
        if self.optimizer is None:
            model = self.model if model is None else model
            decayed, new = set(self.get_decay_parameter_names(model)), self.new_weights
            groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
            for name, weight in model.named_parameters():
                if weight.requires_grad:
                    is_new = "decode_head." in name if new is None else name in new
                    groups.setdefault((is_new, name in decayed), []).append(weight)
            rate, decay = self.args.learning_rate, self.args.weight_decay
            parameter_groups = [
                {
                    "params": weights,
                    "lr": rate * (self.head_learning_rate_factor if is_new else 1.0),
                    "weight_decay": decay if decays else 0.0,
                }
                for (is_new, decays), weights in groups.items()
            ]
            # One fused kernel instead of a loop over tensors: small tensors are mostly overhead.
            self.optimizer = torch.optim.AdamW(parameter_groups, fused=True)
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
    *,
    weights: torch.Tensor | None = None,
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
        weights: (num_labels,) float, at least 0: each pixel's loss is multiplied by that of its
            class; bind them with `functools.partial`. The sum is still divided by the number of
            labelled pixels and not, as torch does it, by the sum of their weights, which no part
            of a batch knows of the others. So let them be 1 on average over the pixels of the
            training images, or a larger loss means a larger learning rate. None: all are 1.

    Returns:
        A scalar tensor.

    Raises:
        IndexError: a label that is neither 255 nor below num_labels.
    """

    def total(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        by_class = None if weights is None else weights.to(logits.device)
        return cross_entropy(logits, labels, by_class, ignore_index=IGNORE_INDEX, reduction="sum")

    return _mean_over_pixels(total, outputs, labels, num_items_in_batch)


def focal_loss(
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """`pixel_cross_entropy` in which pixels that the model is sure of, and right, hardly count.

    Each pixel's loss is multiplied by (1 - p) ** 2, p being the probability of its class (Lin et
    al., "Focal loss for dense object detection", arXiv 1708.02002, without class weights).
    """

    def total(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none")
        return ((1 - torch.exp(-losses)) ** 2 * losses).sum()

    return _mean_over_pixels(total, outputs, labels, num_items_in_batch)


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

    return _mean_over_pixels(total, outputs, labels, num_items_in_batch)


def labelled_pixels(labels: torch.Tensor) -> torch.Tensor:
    """The number of pixels that have a class: a scalar int64 tensor."""
    return (labels != IGNORE_INDEX).sum()


def _mean_over_pixels(
    total_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    outputs: SemanticSegmenterOutput,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None,
) -> torch.Tensor:
    """The sum of a loss of upsampled logits and labels, over the batch's labelled pixels."""
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


if __name__ == "__main__":
    print("python -m helpers.training is python -m scripts.train now", file=sys.stderr)
    sys.exit(2)
