"""From a profile to a trainer: model, arguments, data and scores put together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSemanticSegmentation,
    TrainingArguments,
    set_seed,
)

from helpers.data import load_scenes
from helpers.hub import SAFE_WEIGHTS, explained
from helpers.inference import predicted_labels
from helpers.labels import IGNORE_INDEX, Labels
from helpers.metrics import StreamingMeanIoU
from helpers.processes import has_accelerator, is_first_process
from helpers.profiles import Profile
from helpers.training.checkpoints import TrainingData
from helpers.training.trainer import SegmentationTrainer
from helpers.transforms import (
    load_image_processor,
    make_eval_transform,
    make_train_transform,
    train_augmentation,
)

if TYPE_CHECKING:
    from datasets import DatasetDict
    from transformers import PreTrainedModel

_DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout_prob",
    "drop_path_rate",
)


def build_model(
    profile: Profile, dropout: bool = True, labels: Labels | None = None
) -> PreTrainedModel:
    """The profile's pretrained encoder under a new decode head.

    A finished segmentation model can take the encoder's place (the profile's `encoder`, with
    `encoder_revision` None). If its classes differ from the data's, its last layer is new, and a
    printed sentence says so.

    Args:
        profile: see `helpers.profiles`.
        dropout: False switches every dropout off.
        labels: what the model's label ids will mean; None: the profile's.
    """
    labels = labels or profile.labels
    with explained(profile.encoder):
        config = AutoConfig.from_pretrained(profile.encoder, trust_remote_code=False)
    quiet = {} if dropout else dict.fromkeys(_DROPOUTS, 0.0)
    with explained(profile.encoder, revision=profile.encoder_revision):
        model = AutoModelForSemanticSegmentation.from_pretrained(
            profile.encoder,
            id2label=labels.id2label,
            label2id=labels.label2id,
            ignore_mismatched_sizes=True,  # of the last layer, where the number of labels differs
            revision=profile.encoder_revision or "main",
            **SAFE_WEIGHTS,
            **quiet,
        )
    segments = any("Segmentation" in name for name in config.architectures or ())
    before = tuple(str(config.id2label[label]).strip() for label in sorted(config.id2label))
    if segments and before != labels.names:
        model.decode_head.classifier.reset_parameters()
        if is_first_process():
            print(
                f"{profile.encoder} predicts {len(before)} labels ({', '.join(before[:3])}, ...), "
                f"and the data has {labels}: the last layer is new"
            )
    return model


def build_arguments(
    profile: Profile, output_dir: str | Path, **overrides: Any
) -> TrainingArguments:
    """The profile's schedule as `TrainingArguments`; notebook 05 explains each field.

    The profile's `batch_size` is that of one optimiser step, over all processes and
    accumulation steps, so that a recipe means the same on one GPU and on eight.

    Args:
        profile: see `helpers.profiles`.
        output_dir: where checkpoints go.
        overrides: any other field of `TrainingArguments`, which wins over the profile's.

    Raises:
        ValueError: the batch cannot be shared equally among processes and accumulation steps.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    parts = processes * overrides.get("gradient_accumulation_steps", 1)
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
        "lr_scheduler_type": "polynomial",
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
    if processes > 1:
        settings["ddp_find_unused_parameters"] = False  # there are none, and looking takes time
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


def build_trainer(
    profile: Profile,
    scenes: DatasetDict | None = None,
    output_dir: str | Path | None = None,
    augment: bool = True,
    dropout: bool = True,
    labels: Labels | None = None,
    allow_empty: bool = True,
    **overrides: Any,
) -> SegmentationTrainer:
    """Everything that notebook 05 sets up step by step, ready for `.train()`.

    Args:
        profile: see `helpers.profiles`.
        scenes: splits "train" and "test"; None loads the profile's. Those of `load_scenes` bring
            the number of pixels of each class, by which the run knows its data when it is resumed.
        output_dir: where checkpoints go; None: the profile's `output_dir`/checkpoints.
        augment: crop, flip and jitter the training images.
        dropout: False switches every dropout off, for exact comparisons.
        labels: what the masks' values mean; None: the profile's.
        allow_empty: see `load_scenes`; of scenes that are given, any class may be empty.
        overrides: further fields of `TrainingArguments`.
    """
    arguments = build_arguments(
        profile, output_dir or profile.output_dir / "checkpoints", **overrides
    )
    scenes = load_scenes(profile, allow_empty=allow_empty) if scenes is None else scenes
    labels = labels or profile.labels
    areas = getattr(scenes, "areas", {}) if labels == profile.labels else {}
    image_processor = load_image_processor(profile, labels)
    augmentation = train_augmentation(profile, labels) if augment else None
    set_seed(arguments.seed)  # the new decode head's weights are random
    return SegmentationTrainer(
        model=build_model(profile, dropout, labels),
        args=arguments,
        train_dataset=scenes["train"].with_transform(
            make_train_transform(image_processor, augmentation)
        ),
        eval_dataset=scenes["test"].with_transform(make_eval_transform(image_processor)),
        processing_class=image_processor,
        compute_metrics=StreamingMeanIoU(labels.num_labels, IGNORE_INDEX),
        preprocess_logits_for_metrics=predicted_labels,
        head_learning_rate_factor=profile.head_learning_rate_factor,
        training_data=TrainingData(labels, len(scenes["train"]), areas.get("train")),
    )
