"""Augmentation and preprocessing: scenes in, the tensors that SegFormer trains on out.

Picture and annotation must go through every geometric step together; `torchvision.transforms.v2`
does that for pairs, and resizes masks by nearest neighbour, because a class number halfway
between "car" and "road" is a different class, not a mixture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from helpers.data import to_rgb
from helpers.hue import adjust_hue
from helpers.network import explained

if TYPE_CHECKING:
    from transformers import BaseImageProcessor

    from helpers.profiles import Profile

Batch = dict[str, list[Any]]


def load_image_processor(profile: Profile) -> BaseImageProcessor:
    """The encoder's own image processor, with ADE20K's label reduction and the profile's size."""
    from transformers import AutoImageProcessor

    side = profile.image_size
    with explained(profile.encoder):
        image_processor = AutoImageProcessor.from_pretrained(
            profile.encoder, do_reduce_labels=True, size={"height": side, "width": side}
        )
    # Configurations written before transformers 4.4x spell it `reduce_labels`, which newer
    # versions read as False without a word. Every class would then be its neighbour.
    assert image_processor.do_reduce_labels, "label reduction must be on for ADE20K"
    return image_processor


def augmentation(image_size: int) -> v2.Compose:
    """Random crop, flip and colour: called with (picture, mask), returns both transformed alike.

    Args:
        image_size: side of the square result, pixels.
    """
    return v2.Compose(
        [
            _RandomResizedCrop(image_size, scale=(0.4, 1.0), ratio=(0.75, 1.6), antialias=True),
            v2.RandomHorizontalFlip(),
            # On the picture only: v2 leaves masks alone here.
            _ColorJitter(brightness=0.25, contrast=0.25, saturation=0.25, hue=0.1),
        ]
    )


def make_train_transform(
    image_processor: BaseImageProcessor, augment: v2.Transform | None = None
) -> Callable[[Batch], dict[str, torch.Tensor]]:
    """A function for `dataset.set_transform`: a batch of columns to a batch of tensors.

    Args:
        image_processor: resizes, normalises and reduces the labels.
        augment: applied to each (picture, mask) pair first; None: no augmentation.

    Returns:
        A function from {"image": [PIL], "annotation": [PIL, values 0-150]} to
        {"pixel_values": (batch, 3, height, width) float32, "labels": (batch, height, width)
        int64, values 0-149 or 255}.
    """

    def transform(batch: Batch) -> dict[str, torch.Tensor]:
        images = [to_rgb(image) for image in batch["image"]]
        masks = [annotation_tensor(annotation) for annotation in batch["annotation"]]
        if augment is not None:
            pairs = [augment(image, mask) for image, mask in zip(images, masks, strict=True)]
            images, masks = [image for image, _ in pairs], [mask for _, mask in pairs]
        return dict(image_processor(images, segmentation_maps=masks, return_tensors="pt"))

    return transform


def make_eval_transform(
    image_processor: BaseImageProcessor,
) -> Callable[[Batch], dict[str, torch.Tensor]]:
    """Like `make_train_transform` without augmentation: the same picture, the same tensors."""
    return make_train_transform(image_processor, augment=None)


def annotation_tensor(annotation: Any) -> tv_tensors.Mask:
    """An annotation (PIL mode L or P, or an array) as a (height, width) uint8 `Mask`."""
    return tv_tensors.Mask(torch.from_numpy(np.array(annotation, dtype=np.uint8)))


class _RandomResizedCrop(v2.RandomResizedCrop):
    """`RandomResizedCrop` with masks under their pictures to the pixel.

    torchvision resizes masks by "nearest", which takes the upper left one of the pixels that
    become one, and so moves them by up to half a pixel against the picture, always the same
    way. "Nearest exact" takes the middle one, as the image processor does.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        cropped = v2.functional.crop(inpt, **params).as_subclass(torch.Tensor)
        exact = v2.InterpolationMode.NEAREST_EXACT
        resized = v2.functional.resize_image(cropped[None], list(self.size), interpolation=exact)
        return tv_tensors.Mask(resized[0])


class _ColorJitter(v2.ColorJitter):
    """`ColorJitter` with a faster way to the same pixels: the hue is two thirds of its time."""

    def _call_kernel(self, functional: Any, inpt: Any, *args: Any, **kwargs: Any) -> Any:
        if (
            functional is v2.functional.adjust_hue
            and isinstance(inpt, Image.Image)
            and inpt.mode == "RGB"
        ):
            return adjust_hue(inpt, kwargs["hue_factor"])
        return super()._call_kernel(functional, inpt, *args, **kwargs)
