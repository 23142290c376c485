"""The models that PyTorch runs: a folder or a Hub id, through `helpers.inference`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from helpers.hub import explained
from helpers.inference import load_labels, load_model, segment, segment_batch, stride_of
from helpers.labels import Labels
from scripts.cli import WrongUse, sentence
from scripts.segmenter import OutOfMemory, Segmenter

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel


class TorchSegmenter(Segmenter):
    """A model, and all that its results depend on.

    Args:
        model: semantic segmentation model of at most 255 labels, on any device.
        image_processor: the one that the model was trained with.
        labels, alpha, batch_size: those of `Segmenter`.
        window: look at each at its own resolution, through windows of so many pixels a side; None:
            at the image processor's size.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        image_processor: BaseImageProcessor,
        labels: Labels,
        alpha: float | None = 0.5,
        batch_size: int = 8,
        window: int | None = None,
    ) -> None:
        super().__init__(labels, alpha, batch_size)
        self.model, self.image_processor, self.window = model, image_processor, window
        if window is not None:
            try:
                stride_of(window)
                self.segment([Image.new("RGB", (window, window))])
            except Exception as error:
                raise WrongUse(
                    f"--window {window} cannot be used ({sentence(error)}): choose another size, "
                    "or leave it out"
                ) from error

    def settings(self) -> dict[str, Any]:
        """All that the results depend on, as JSON."""
        labels = [self.labels.names, self.labels.palette.tolist()]
        digest = hashlib.sha256(json.dumps(labels).encode())
        preprocessing = self.image_processor.to_dict()
        digest.update(json.dumps(preprocessing, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return {"alpha": self.alpha, "window": self.window, "weights": digest.hexdigest()[:16]}

    def segment(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        """The label map of each image, at its own size."""
        model, image_processor = self.model, self.image_processor
        try:
            if self.window is not None:
                return [segment(image, model, image_processor, self.window) for image in images]
            return segment_batch(images, model, image_processor)
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"a batch of {self.batch_size} does not fit into the memory of {model.device}, "
                "choose a smaller --batch-size"
            ) from error


def choose_device(name: str | None) -> torch.device:
    """The device of `--device`; None: a GPU if there is one."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if name is None:
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise WrongUse(
            f"--device {name} is not available here: expected cpu{f' or {found}' if found else ''}"
        ) from None
    return device


def load(source: str) -> tuple[PreTrainedModel, BaseImageProcessor, Labels]:
    """As `load_model`, with the labels; a ValueError says what kind of model it is not."""
    from transformers import AutoConfig

    folder = Path(source).expanduser()
    if folder.is_dir():
        source = str(folder)
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"--model {source} has no config.json: expected a folder written by save_pretrained"
            )
    elif folder.exists() or folder.is_absolute() or source.count("/") != 1 or source[0] in ".~":
        raise ValueError(f"there is no model folder {source}")
    try:
        with explained(source):
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        kinds = config.architectures or []
        if kinds and not any("SemanticSegmentation" in kind for kind in kinds):
            raise ValueError(
                f"it is a {kinds[0]}, and this command needs a model for semantic segmentation, "
                "such as SegformerForSemanticSegmentation"
            )
        labels = load_labels(source)
        return *load_model(source), labels
    except Exception as error:
        raise ValueError(f"--model {source} cannot be used: {sentence(error)}") from error
