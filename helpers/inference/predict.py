"""From an image to its label map at the image's own size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from helpers.hub import SAFE_WEIGHTS, explained, optional_file
from helpers.images import load_image
from helpers.inference.windows import segment_windows
from helpers.labels import ADE20K, RULES_FILE, Labels, label_set, read_rules
from helpers.upsampling import label_maps

if TYPE_CHECKING:
    from PIL import Image
    from transformers import BaseImageProcessor, PretrainedConfig, PreTrainedModel


def load_model(source: str | Path) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """Load a fine-tuned model, ready to predict, and its image processor, as they were saved.

    Does the image processor reduce labels? `labels.json` says so for a model trained here. For
    others, the image processor's configuration does (also an old one, which spells it
    `reduce_labels`, a key that the library does not read). Where neither says it, the names decide:
    ADE20K's labels are reduced, others are not.

    Args:
        source: folder written by `save_pretrained`, or a Hub id.
    """
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    with explained(source):
        model = AutoModelForSemanticSegmentation.from_pretrained(source, **SAFE_WEIGHTS)
    reduce, _ = _rules(source, model.config)
    with explained(source):
        image_processor = AutoImageProcessor.from_pretrained(
            source, do_reduce_labels=reduce, trust_remote_code=False
        )
    return model.eval(), image_processor


def load_labels(source: str | Path) -> Labels:
    """What a saved model's label ids mean: names, colors, and how its annotations were read.

    Args:
        source: folder written by `save_pretrained`, or a Hub id.

    Raises:
        ValueError: the model has one label only, or more than 255.
    """
    from transformers import AutoConfig

    with explained(source):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    return label_set(_names(config), *_rules(source, config))


def labels_of(model: PreTrainedModel, image_processor: BaseImageProcessor) -> Labels:
    """What a loaded model's label ids mean, as far as the model and its image processor know.

    Raises:
        ValueError: the model has one label only, or more than 255.
    """
    return label_set(_names(model.config), bool(image_processor.do_reduce_labels))


def segment(
    image: Image.Image,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    window: int | None = None,
) -> np.ndarray:
    """Predict the class of every pixel.

    Args:
        image: PIL image of any size and mode.
        model: semantic segmentation model, on any device.
        image_processor: the one that the model was trained with.
        window: look at the image at its own resolution, through overlapping windows of so many
            pixels a side (see `helpers.inference.segment_windows`); None: at the image
            processor's size, in one pass.

    Returns:
        (height, width) label ids, at the size of the (upright) image: uint8, or int64 where
        the model has more than 256 labels.
    """
    if window is not None:
        return segment_windows(image, model, image_processor, window)
    return segment_batch([image], model, image_processor)[0]


@torch.inference_mode()
def segment_batch(
    images: Sequence[Image.Image], model: PreTrainedModel, image_processor: BaseImageProcessor
) -> list[np.ndarray]:
    """Predict the class of every pixel of several images, those of one input size together.

    Args:
        images: PIL images of any size and mode. All go through the model together: the
            caller chooses how many fit into memory.
        model: semantic segmentation model, on any device.
        image_processor: the one that the model was trained with.

    Returns:
        As `segment` for each image, in order. The two agree except where two classes are as good
        as tied.
    """
    images = [load_image(image) for image in images]
    groups: dict[torch.Size, list[tuple[int, torch.Tensor]]] = {}
    for index, image in enumerate(images):
        pixel_values = image_processor(image, return_tensors="pt")["pixel_values"]
        groups.setdefault(pixel_values.shape, []).append((index, pixel_values))
    found: dict[int, torch.Tensor] = {}
    training = model.training
    model.eval()
    for group in groups.values():
        indices, tensors = zip(*group, strict=True)
        logits = model(torch.cat(tensors).to(model.device, model.dtype)).logits
        sizes = [images[index].size[::-1] for index in indices]
        found.update(zip(indices, label_maps(logits, sizes), strict=True))
    model.train(training)
    return [found[index].cpu().numpy() for index in range(len(images))]


def _names(config: PretrainedConfig) -> list[str]:
    """A name for each label id; one that occurs twice gets its id appended."""
    names = [str(config.id2label.get(label, label)).strip() for label in range(config.num_labels)]
    return [f"{n} ({k})" if names.count(n) > 1 else n for k, n in enumerate(names)]


def _rules(source: str | Path, config: PretrainedConfig) -> tuple[bool, Any]:
    """Whether a saved model's annotations are reduced, and its colors where they are known."""
    if file := optional_file(source, RULES_FILE):
        return read_rules(file)
    if file := optional_file(source, "preprocessor_config.json"):
        saved = json.loads(file.read_text(encoding="utf-8"))
        for key in ("do_reduce_labels", "reduce_labels"):
            if saved.get(key) is not None:
                return bool(saved[key]), None
    return tuple(_names(config)) == ADE20K.names, None
