"""The steps of Hugging Face's guide to semantic segmentation, as a reader would type them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import DatasetDict
from torch import nn
from torchvision.transforms import ColorJitter
from transformers import (
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    Trainer,
    TrainingArguments,
    set_seed,
)

from helpers.labels import ADE20K
from helpers.profiles import Profile


def trainer(
    profile: Profile, scenes: DatasetDict, folder: Path, metric: Any = None, **overrides: Any
) -> Trainer:
    """The guide's model, transforms, metric and arguments, without the push to the Hub."""
    # The guide leaves the size at the checkpoint's own, 512; the toy encoder's scenes are smaller.
    size = {"height": profile.image_size, "width": profile.image_size}
    image_processor = AutoImageProcessor.from_pretrained(
        profile.encoder, do_reduce_labels=True, size=size
    )
    jitter = ColorJitter(brightness=0.25, contrast=0.25, saturation=0.25, hue=0.1)

    def train_transforms(example_batch: dict[str, list[Any]]) -> Any:
        images = [jitter(x) for x in example_batch["image"]]
        return image_processor(images, example_batch["annotation"])

    def val_transforms(example_batch: dict[str, list[Any]]) -> Any:
        return image_processor(example_batch["image"], example_batch["annotation"])

    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "learning_rate": 6e-5,
        "num_train_epochs": 50,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 2,
        "save_total_limit": 3,
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "save_steps": 20,
        "eval_steps": 20,
        "logging_steps": 1,
        "eval_accumulation_steps": 5,
        "remove_unused_columns": False,
        "report_to": "none",
        "dataloader_pin_memory": torch.cuda.is_available(),  # without a GPU it only warns
        "disable_tqdm": True,
    }
    set_seed(profile.seed)
    return Trainer(
        model=AutoModelForSemanticSegmentation.from_pretrained(
            profile.encoder, id2label=ADE20K.id2label, label2id=ADE20K.label2id
        ),
        args=TrainingArguments(**settings | overrides),
        train_dataset=scenes["train"].with_transform(train_transforms),
        eval_dataset=scenes["test"].with_transform(val_transforms),
        compute_metrics=None if metric is None else compute_metrics(metric),
    )


def compute_metrics(metric: Any) -> Callable[[Any], dict[str, Any]]:
    """The guide's compute_metrics: all logits at once, upsampled, then `_compute`."""

    def compute(eval_pred: Any) -> dict[str, Any]:
        with torch.no_grad():
            logits, labels = eval_pred
            logits_tensor = torch.from_numpy(logits)
            logits_tensor = nn.functional.interpolate(
                logits_tensor, size=labels.shape[-2:], mode="bilinear", align_corners=False
            ).argmax(dim=1)
            # The guide's `compute`, in its quicker form without an Arrow file.
            metrics = metric._compute(
                predictions=logits_tensor.detach().cpu().numpy(),
                references=labels,
                num_labels=ADE20K.num_labels,
                ignore_index=255,
                reduce_labels=False,
            )
            return {key: value for key, value in metrics.items() if np.ndim(value) == 0}

    return compute
