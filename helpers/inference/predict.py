"""From an image to its label map at the image's own size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from helpers.ade20k import IGNORE_INDEX, NUM_LABELS, reduce_labels
from helpers.cli import progress
from helpers.data import to_rgb
from helpers.hub import explained, safe_weights
from helpers.metrics import ConfusionMatrix
from helpers.upsampling import label_maps

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import BaseImageProcessor, PreTrainedModel

_HUB = "hf://datasets/"


def load_model(
    source: str | Path, num_labels: int | None = NUM_LABELS, do_reduce_labels: bool = True
) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """Load a fine-tuned model, ready to predict, and its image processor.

    Args:
        source: folder written by `save_pretrained`, or a Hub id.
        num_labels: how many classes the data has; None accepts any number.
        do_reduce_labels: annotation value 0 is no class, as in ADE20K; False: it is the first.

    Raises:
        ValueError: the model was trained for another number of classes.
    """
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    with explained(source):
        model = AutoModelForSemanticSegmentation.from_pretrained(source, **safe_weights(source))
    if num_labels is not None and model.config.num_labels != num_labels:
        raise ValueError(
            f"the checkpoint {source} predicts {model.config.num_labels} labels, the data has "
            f"{num_labels}: choose a checkpoint trained on these classes, or fine-tune this one"
        )
    # Said here, because configurations of old spell it `reduce_labels`, which is not read.
    with explained(source):
        image_processor = AutoImageProcessor.from_pretrained(
            source, do_reduce_labels=do_reduce_labels, trust_remote_code=False
        )
    return model.eval(), image_processor


def load_image(path: str | Path, longest_side: int | None = None) -> Image.Image:
    """Read an image as upright RGB, from a file or from the Hub.

    Args:
        path: a file, or hf://datasets/OWNER/NAME/PATH for a file of a data set on the Hub.
        longest_side: shrink an image that is longer than so many pixels, keeping its shape.
            `pipeline` makes one mask a segment at the image's size: gigabytes for a photograph
            of 8,000 x 6,000 pixels, and no finer than the model's own resolution.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no image, or a damaged one.
        ConnectionError: the file is on the Hub, and the Hub cannot be reached.
    """
    if str(path).startswith(_HUB):
        from huggingface_hub import hf_hub_download

        owner, name, file = str(path).removeprefix(_HUB).split("/", maxsplit=2)
        with explained(path):
            path = hf_hub_download(f"{owner}/{name}", file, repo_type="dataset")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no image {path}")
    try:
        with Image.open(path) as opened:
            image = to_rgb(opened)
    except PermissionError as error:
        raise ValueError(f"{path} cannot be read: it does not grant you permission") from error
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{path} cannot be read as an image: it is in no format that Pillow knows, or damaged"
        ) from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} cannot be read as an image ({error}): if you trust it, shrink it first"
        ) from error
    except Exception as error:  # of damaged files, Pillow's decoders raise all sorts
        raise ValueError(
            f"{path} cannot be read as an image ({error}): the file is damaged or incomplete"
        ) from error
    if longest_side and max(image.size) > longest_side:
        image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    return image


def segment(
    image: Image.Image, model: PreTrainedModel, image_processor: BaseImageProcessor
) -> np.ndarray:
    """Predict the class of every pixel.

    Args:
        image: PIL image of any size and mode.
        model: semantic segmentation model, on any device.
        image_processor: the one that the model was trained with.

    Returns:
        (height, width) label ids, at the size of the (upright) image: uint8, or int64 where
        the model has more than 256 labels.
    """
    return segment_batch([image], model, image_processor)[0]


@torch.inference_mode()
def segment_batch(
    images: Sequence[Image.Image], model: PreTrainedModel, image_processor: BaseImageProcessor
) -> list[np.ndarray]:
    """Predict the class of every pixel of several images, those of one input size together.

    Args:
        images: PIL images of any size and mode. All are in the model at a time: the caller
            chooses how many fit into memory.
        model: semantic segmentation model, on any device.
        image_processor: the one that the model was trained with.

    Returns:
        As `segment` for each image, in order; equal to it up to the last digit of two classes
        that are as good as equal.
    """
    images = [to_rgb(image) for image in images]
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


def evaluate_scenes(
    scenes: Dataset, model: PreTrainedModel, image_processor: BaseImageProcessor
) -> ConfusionMatrix:
    """Count predictions against annotations at each image's original size.

    Args:
        scenes: columns `image` and `annotation` (values 0-150), without a transform.

    Returns:
        The confusion matrix over all images; its `compute()` gives mean IoU.
    """
    matrix = ConfusionMatrix(model.config.num_labels, IGNORE_INDEX)
    for scene in progress(scenes, "Evaluating"):
        prediction = segment(scene["image"], model, image_processor)
        matrix.update(prediction, reduce_labels(scene["annotation"]))
    return matrix
