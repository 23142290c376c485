"""The steps of Hugging Face's guide to semantic segmentation, as a reader would type them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision.transforms import ColorJitter
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation, TrainingArguments

from helpers.labels import ADE20K

Transform = Callable[[dict[str, list[Any]]], Any]


def transforms(encoder: str, side: int) -> tuple[Transform, Transform]:
    """The guide's train_transforms and val_transforms."""
    # The guide leaves the size at the checkpoint's own, 512; the toy encoder's scenes are smaller.
    size = {"height": side, "width": side}
    image_processor = AutoImageProcessor.from_pretrained(encoder, do_reduce_labels=True, size=size)
    jitter = ColorJitter(brightness=0.25, contrast=0.25, saturation=0.25, hue=0.1)

    def train_transforms(example_batch: dict[str, list[Any]]) -> Any:
        images = [jitter(x) for x in example_batch["image"]]
        labels = [x for x in example_batch["annotation"]]  # noqa: C416 (the guide's own line)
        return image_processor(images, labels)

    def val_transforms(example_batch: dict[str, list[Any]]) -> Any:
        images = [x for x in example_batch["image"]]  # noqa: C416
        labels = [x for x in example_batch["annotation"]]  # noqa: C416
        return image_processor(images, labels)

    return train_transforms, val_transforms


def model(encoder: str) -> Any:
    """The guide's model: the encoder under a new decode head."""
    return AutoModelForSemanticSegmentation.from_pretrained(
        encoder, id2label=ADE20K.id2label, label2id=ADE20K.label2id
    )


def compute_metrics(metric: Any, num_labels: int) -> Callable[[Any], dict[str, Any]]:
    """The guide's compute_metrics: all logits at once, upsampled, then `_compute`."""

    def compute(eval_pred: Any) -> dict[str, Any]:
        with torch.no_grad():
            logits, labels = eval_pred
            logits_tensor = torch.from_numpy(logits)
            logits_tensor = nn.functional.interpolate(
                logits_tensor, size=labels.shape[-2:], mode="bilinear", align_corners=False
            ).argmax(dim=1)
            pred_labels = logits_tensor.detach().cpu().numpy()
            # The guide's `compute`, in its quicker form without an Arrow file.
            metrics = metric._compute(
                predictions=pred_labels,
                references=labels,
                num_labels=num_labels,
                ignore_index=255,
                reduce_labels=False,
            )
            return {key: value for key, value in metrics.items() if np.ndim(value) == 0}

    return compute


def arguments(output_dir: Path, **overrides: Any) -> TrainingArguments:
    """The guide's TrainingArguments, without the push to the Hub."""
    settings: dict[str, Any] = {
        "output_dir": str(output_dir),
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
    return TrainingArguments(**settings | overrides)
