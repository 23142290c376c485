"""From a picture to its label map at the picture's own size.

From a shell, for many pictures and videos: `python -m helpers.inference --help`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
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
    except PermissionError as error:
        raise ValueError(f"{path} cannot be read: it does not grant you permission") from error
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{path} cannot be read as a picture: it is in no format that Pillow knows, or damaged"
        ) from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} cannot be read as a picture ({error}): if you trust it, shrink it first"
        ) from error
    except Exception as error:  # of damaged files, Pillow's decoders raise all sorts
        raise ValueError(
            f"{path} cannot be read as a picture ({error}): the file is damaged or incomplete"
        ) from error
    if longest_side and max(picture.size) > longest_side:
        picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    return picture


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
    return segment_batch([image], model, image_processor)[0]


@torch.inference_mode()
def segment_batch(
    images: Sequence[Image.Image], model: PreTrainedModel, image_processor: BaseImageProcessor
) -> list[np.ndarray]:
    """Predict the class of every pixel of several pictures, those of one input size together.

    Args:
        images: PIL pictures of any size and mode. All are in the model at a time: the caller
            chooses how many fit into memory.
        model: semantic segmentation model, on any device.
        image_processor: the one that the model was trained with.

    Returns:
        As `segment` for each picture, in order; equal to it up to the last digit of two classes
        that are as good as equal.
    """
    images = [to_rgb(image) for image in images]
    groups: dict[torch.Size, list[tuple[int, torch.Tensor]]] = {}
    for index, image in enumerate(images):
        pixel_values = image_processor(image, return_tensors="pt")["pixel_values"]
        groups.setdefault(pixel_values.shape, []).append((index, pixel_values))
    label_maps: dict[int, np.ndarray] = {}
    training = model.training
    model.eval()
    # A picture a thread: most of the work on a CPU is NumPy's, which uses one core.
    with ThreadPoolExecutor(min(len(images), torch.get_num_threads()) or 1) as pool:
        for group in groups.values():
            indices, tensors = zip(*group, strict=True)
            logits = model(torch.cat(tensors).to(model.device, model.dtype)).logits
            sizes = [images[index].size[::-1] for index in indices]
            label_maps.update(zip(indices, pool.map(_label_map, logits, sizes), strict=True))
    model.train(training)
    return [label_maps[index] for index in range(len(images))]


def enlarged_argmax(
    logits: torch.Tensor, size: tuple[int, int], most_values: int = 2**27
) -> torch.Tensor:
    """The best class of every pixel, as `post_process_semantic_segmentation` finds it.

    Equal to `interpolate` and `argmax`, up to the last digit of two classes that are as good as
    equal, and in little memory: 150 classes at 8,000 x 6,000 pixels would be 29 GB of logits.

    Args:
        logits: (num_labels, height, width) float, of one picture.
        size: (height, width) of the result.
        most_values: enlarged logits in memory at a time, on a GPU.

    Returns:
        (height, width) int64 label ids, on the device of the logits.
    """
    if _is_on_cpu(logits):
        return torch.from_numpy(_enlarged_argmax_on_cpu(logits, size)).long()
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


def _is_on_cpu(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cpu"


def _label_map(logits: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """`enlarged_argmax` as an array: uint8, or int64 for more than 256 classes."""
    if _is_on_cpu(logits):
        return _enlarged_argmax_on_cpu(logits, size)
    found = enlarged_argmax(logits, size)
    return (found if len(logits) > 256 else found.byte()).cpu().numpy()


def _enlarged_argmax_on_cpu(logits: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """`interpolate(..., mode="bilinear")` and `argmax`, some ten times as fast on one core.

    A pixel's logits are a mean, weighted, of the four around it. Where those four agree on the
    best class, so does every pixel between them: nothing to compute, and that is most of a
    picture. The others are computed a few rows at a time, which stay in the CPU's cache, with
    the classes of a pixel side by side, as NumPy's `argmax` likes them.

    Args:
        logits: (num_labels, height, width), on the CPU.
        size: (height, width) of the result: uint8, or int64 for more than 256 classes.
    """
    dtype = np.uint8 if len(logits) <= 256 else np.int64
    logits = logits.float().permute(1, 2, 0).contiguous().numpy()
    best = logits.argmax(axis=-1).astype(dtype)
    above, below, down = _neighbours(logits.shape[0], size[0])
    left, right, along = _neighbours(logits.shape[1], size[1])
    label_map = np.empty(size, dtype=dtype)
    starts = np.flatnonzero(np.diff(above, prepend=-1))  # rows between the same two of the grid
    for start, stop in pairwise([*starts.tolist(), size[0]]):
        upper, lower = logits[above[start]], logits[below[start]]
        upper_best, lower_best = best[above[start]], best[below[start]]
        label_map[start:stop] = label = upper_best[left]
        agreed = (label == upper_best[right]) & (label == lower_best[left])
        (open_,) = np.nonzero(~agreed | (label != lower_best[right]))
        if not len(open_):
            continue
        before, after, share = left[open_], right[open_], along[open_, None]
        upper = upper[before] * (1 - share) + upper[after] * share
        lower = lower[before] * (1 - share) + lower[after] * share
        for row in range(start, stop):
            values = upper * (1 - down[row]) + lower * down[row]
            label_map[row, open_] = values.argmax(axis=-1)
    return label_map


def _neighbours(size: int, enlarged: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each enlarged position the two original ones around it, and the share of the second."""
    position = (np.arange(enlarged, dtype=np.float32) + 0.5) * np.float32(size / enlarged) - 0.5
    position = position.clip(0, size - 1)  # the centres of the outermost pixels lie further out
    first = position.astype(np.int64)
    return first, np.minimum(first + 1, size - 1), position - first.astype(np.float32)


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


def main(arguments: list[str] | None = None) -> int:
    """Segment pictures from the command line; returns the exit status."""
    from helpers.pictures import main as segment_pictures

    return segment_pictures(arguments)


if __name__ == "__main__":
    sys.exit(main())
