"""From a picture to its label map at the picture's own size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from helpers.ade20k import IGNORE_INDEX, NUM_LABELS, reduce_labels
from helpers.data import to_rgb
from helpers.losses import enlarging_matrix
from helpers.metrics import ConfusionMatrix
from helpers.network import explained, safe_weights
from helpers.progress import progress

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import BaseImageProcessor, PreTrainedModel

_HUB = "hf://datasets/"


def load_model(
    source: str | Path, num_labels: int = NUM_LABELS
) -> tuple[PreTrainedModel, BaseImageProcessor]:
    """Load a fine-tuned model, ready to predict, and its image processor.

    Args:
        source: folder written by `save_pretrained`, or a Hub id.
        num_labels: how many classes the data has.

    Raises:
        ValueError: the model was trained for another number of classes.
    """
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    with explained(source):
        model = AutoModelForSemanticSegmentation.from_pretrained(source, **safe_weights(source))
    if model.config.num_labels != num_labels:
        raise ValueError(
            f"the checkpoint {source} predicts {model.config.num_labels} labels, the data has "
            f"{num_labels}: choose a checkpoint trained on these classes, or fine-tune this one"
        )
    with explained(source):
        image_processor = AutoImageProcessor.from_pretrained(
            source, do_reduce_labels=True, trust_remote_code=False
        )
    return model.eval(), image_processor


def load_picture(path: str | Path, longest_side: int | None = None) -> Image.Image:
    """Read a picture as upright RGB, from a file or from the Hub.

    Args:
        path: a file, or hf://datasets/OWNER/NAME/PATH for a file of a data set on the Hub.
        longest_side: shrink a picture that is longer than so many pixels, keeping its shape.
            `pipeline` makes one mask a segment at the picture's size: gigabytes for a photograph
            of 8,000 x 6,000 pixels, and no finer than the model's own resolution.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no picture, or a damaged one.
        ConnectionError: the file is on the Hub, and the Hub cannot be reached.
    """
    if str(path).startswith(_HUB):
        from huggingface_hub import hf_hub_download

        owner, name, file = str(path).removeprefix(_HUB).split("/", maxsplit=2)
        with explained(path):
            path = hf_hub_download(f"{owner}/{name}", file, repo_type="dataset")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no picture {path}")
    try:
        with Image.open(path) as image:
            picture = to_rgb(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} cannot be read as a picture ({error}): the file is damaged or incomplete"
        ) from error
    if longest_side and max(picture.size) > longest_side:
        picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    return picture


@torch.inference_mode()
def segment(
    image: Image.Image, model: PreTrainedModel, image_processor: BaseImageProcessor
) -> np.ndarray:
    """Predict the class of every pixel.

    Args:
        image: PIL picture of any size and mode.
        model: semantic segmentation model, on any device.
        image_processor: the one that the model was trained with.

    Returns:
        (height, width) label ids, at the size of the (upright) picture: uint8, or int64 where
        the model has more than 256 labels.
    """
    image = to_rgb(image)
    inputs = image_processor(image, return_tensors="pt").to(model.device)
    training = model.training
    logits = model.eval()(**inputs).logits[0]
    model.train(training)
    label_map = enlarged_argmax(logits, image.size[::-1])
    small = model.config.num_labels <= 256
    return label_map.cpu().numpy().astype(np.uint8 if small else np.int64)


def enlarged_argmax(
    logits: torch.Tensor, size: tuple[int, int], most_values: int = 2**27
) -> torch.Tensor:
    """The best class of every pixel, as `post_process_semantic_segmentation` finds it.

    Args:
        logits: (num_labels, height, width) float, of one picture.
        size: (height, width) of the result.
        most_values: enlarged logits in memory at a time. 150 classes at 8,000 x 6,000 pixels
            would be 29 GB; larger pictures are therefore done some rows at a time, equal up to
            the last digit of two classes that are as good as equal.

    Returns:
        (height, width) int64 label ids, on the device of the logits.
    """
    logits = logits.float()
    height, width = size
    rows_at_a_time = max(1, most_values // (len(logits) * width))
    if rows_at_a_time >= height:
        enlarged = interpolate(logits[None], size=size, mode="bilinear", align_corners=False)
        return enlarged[0].argmax(dim=0)
    rows = enlarging_matrix(logits.shape[1], height).to(logits.device)
    columns = enlarging_matrix(logits.shape[2], width).to(logits.device)
    strips = rows.split(rows_at_a_time)
    return torch.cat([(strip @ logits @ columns.T).argmax(dim=0) for strip in strips])


def evaluate_scenes(
    scenes: Dataset, model: PreTrainedModel, image_processor: BaseImageProcessor
) -> ConfusionMatrix:
    """Count predictions against annotations at each picture's original size.

    Args:
        scenes: columns `image` and `annotation` (values 0-150), without a transform.

    Returns:
        The confusion matrix over all pictures; its `compute()` gives mean IoU.
    """
    matrix = ConfusionMatrix(model.config.num_labels, IGNORE_INDEX)
    for scene in progress(scenes, "Evaluating"):
        prediction = segment(scene["image"], model, image_processor)
        matrix.update(prediction, reduce_labels(scene["annotation"]))
    return matrix
