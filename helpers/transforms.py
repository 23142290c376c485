"""Augmentation and preprocessing: scenes in, the tensors that SegFormer trains on out.

Image and annotation must go through every geometric step together; `torchvision.transforms.v2`
does that for pairs, and resizes masks by nearest neighbour, because a class number halfway
between "car" and "road" is a different class, not a mixture. An augmentation takes (image, mask), a
`tv_tensors.Mask`, and returns both, image_size x image_size pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from helpers.hub import explained
from helpers.images import load_image
from helpers.labels import ADE20K, IGNORE_INDEX, Labels

if TYPE_CHECKING:
    from transformers import BaseImageProcessor

    from helpers.profiles import Profile

Batch = dict[str, list[Any]]

_MEAN = (124, 116, 104)  # ImageNet's mean colour, which normalisation turns into 0


def load_image_processor(profile: Profile) -> BaseImageProcessor:
    """The encoder's own image processor, with the profile's size and labels, on whole images."""
    from transformers import AutoImageProcessor

    side, reduce = profile.image_size, profile.labels.reduce
    with explained(profile.encoder):
        image_processor = AutoImageProcessor.from_pretrained(
            profile.encoder,
            do_reduce_labels=reduce,
            size={"height": side, "width": side},
            trust_remote_code=False,
        )
    # Older configurations spell it `reduce_labels`, which recent versions ignore without a word.
    # Every class would then be its neighbour.
    assert image_processor.do_reduce_labels == reduce, "label reduction is not as asked"
    # Some crop (MobileViT's) or pad (DPT's), and then a batch has no one size, or lacks the rims.
    for step in ("do_center_crop", "do_pad", "keep_aspect_ratio"):
        if getattr(image_processor, step, None):
            setattr(image_processor, step, False)
    return image_processor


def augmentation(image_size: int) -> v2.Compose:
    """Random crop, flip and colour, as notebook 03 has them."""
    return v2.Compose(
        [
            _RandomResizedCrop(image_size, scale=(0.4, 1.0), ratio=(0.75, 1.6), antialias=True),
            v2.RandomHorizontalFlip(),
            # On the image only: v2 leaves masks alone here.
            v2.ColorJitter(brightness=0.25, contrast=0.25, saturation=0.25, hue=0.1),
        ]
    )


def recipe_augmentation(
    image_size: int, random_scale: tuple[float, float] = (0.5, 2.0), labels: Labels = ADE20K
) -> v2.Compose:
    """Random scale, crop, flip and colour of SegFormer's published training on ADE20K.

    Steps and numbers are those of mmsegmentation (configs/_base_/datasets/ade20k.py), but for
    the brightness, which it shifts by up to 32 of 255 and we multiply by up to 12.5 %. Where the
    image is too small, it is padded with the mean colour and the mask with the value that is no
    class (0 where labels are reduced, else 255): nothing is learned there.

    Args:
        random_scale: the short side is resized to image_size times a number from this range.
        labels: what the masks mean.
    """
    ignored = 0 if labels.reduce else IGNORE_INDEX
    colors = [{"brightness": 0.125}, {"contrast": 0.5}, {"saturation": 0.5}, {"hue": 0.1}]
    return v2.Compose(
        [
            _RandomScale(image_size, random_scale),
            _VariedCrop(image_size, ignored),
            v2.RandomHorizontalFlip(),
            *(v2.RandomApply([v2.ColorJitter(**one)], p=0.5) for one in colors),
        ]
    )


def train_augmentation(profile: Profile) -> v2.Compose:
    """The profile's augmentation: the published recipe's where it gives a `random_scale`."""
    if profile.random_scale is None:
        return augmentation(profile.image_size)
    return recipe_augmentation(profile.image_size, profile.random_scale, profile.labels)


def resized_size(size: tuple[int, int], short_side: float, smallest: int = 1) -> tuple[int, int]:
    """(height, width) in the same proportions, with the given short side: mmcv's `rescale_size`.

    Args:
        size: (height, width), pixels.
        short_side: pixels. A panorama becomes smaller: its long side stays within 4 x
            short_side, which is mmsegmentation's "scale (2048, 512)".
        smallest: neither side becomes shorter than this.
    """
    scale = min(short_side / min(size), 4 * short_side / max(size))
    height, width = (max(smallest, int(side * scale + 0.5)) for side in size)
    return height, width


def make_train_transform(
    image_processor: BaseImageProcessor, augment: v2.Transform | None = None
) -> Callable[[Batch], dict[str, torch.Tensor]]:
    """A function for `dataset.set_transform`: a batch of columns to a batch of tensors.

    Args:
        image_processor: resizes, normalises and reduces the labels.
        augment: applied to each (image, mask) pair first; None: no augmentation.

    Returns:
        A function from {"image": [PIL], "annotation": [PIL, values 0-150]} to
        {"pixel_values": (batch, 3, height, width) float32, "labels": (batch, height, width)
        int64, values 0-149 or 255}.
    """

    # No function inside a function: data-loader workers that start afresh (on Windows and macOS)
    # are sent a pickle of it.
    return partial(_prepare, image_processor=image_processor, augment=augment)


def make_eval_transform(
    image_processor: BaseImageProcessor,
) -> Callable[[Batch], dict[str, torch.Tensor]]:
    """Like `make_train_transform` without augmentation: the same image, the same tensors."""
    return make_train_transform(image_processor, augment=None)


def annotation_tensor(annotation: Any) -> tv_tensors.Mask:
    """An annotation (PIL image of one channel, or an array) as a (height, width) uint8 `Mask`.

    Raises:
        ValueError: a value is no whole number from 0 to 255.
    """
    values = np.asarray(annotation)
    as_bytes = values.astype(np.uint8)  # a copy, which may be written to
    if (wrong := as_bytes != values).any():
        raise ValueError(f"an annotation holds the value {values[wrong][0]}, expected 0-255")
    return tv_tensors.Mask(torch.from_numpy(as_bytes))


def _prepare(
    batch: Batch, image_processor: BaseImageProcessor, augment: v2.Transform | None
) -> dict[str, torch.Tensor]:
    images = [load_image(image) for image in batch["image"]]
    masks = [annotation_tensor(annotation) for annotation in batch["annotation"]]
    for image, mask in zip(images, masks, strict=True):
        if mask.shape != image.size[::-1]:  # one of them would be stretched to the other
            raise ValueError(
                f"an image is {image.width} x {image.height} pixels, its annotation of shape "
                f"{tuple(mask.shape)}: expected {image.size[::-1]}"
            )
    if augment is not None:
        pairs = [augment(image, mask) for image, mask in zip(images, masks, strict=True)]
        images, masks = [image for image, _ in pairs], [mask for _, mask in pairs]
    return dict(image_processor(images, segmentation_maps=masks, return_tensors="pt"))


class _RandomResizedCrop(v2.RandomResizedCrop):
    """`RandomResizedCrop` whose masks stay exactly under their images.

    torchvision resizes masks by "nearest", which takes the upper left one of the pixels that
    become one, and so moves them by up to half a pixel against the image, always the same
    way. "Nearest exact" takes the middle one, as the image processor does.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        return _resized_mask(v2.functional.crop(inpt, **params), list(self.size))


class _RandomScale(v2.Transform):
    """Resize image and mask, in shape, so that the short side is a random multiple of a size."""

    def __init__(self, short_side: int, scale: tuple[float, float]) -> None:
        super().__init__()
        self.short_side, self.scale = short_side, scale

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        factor = torch.empty(1).uniform_(*self.scale).item()
        size = resized_size(v2.functional.get_size(flat_inputs[0]), factor * self.short_side)
        return {"size": list(size)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Mask):
            return _resized_mask(inpt, params["size"])
        return v2.functional.resize(inpt, params["size"], antialias=True)


class _VariedCrop(v2.RandomCrop):
    """A random crop that is drawn again, up to ten times, while one class dominates it.

    mmsegmentation's `RandomCrop(cat_max_ratio=0.75)`: of the labelled pixels, the largest class
    may have three quarters. Otherwise many crops would show sky or wall and nothing else.
    """

    def __init__(self, side: int, ignored: int) -> None:
        super().__init__(side, pad_if_needed=True, fill={tv_tensors.Mask: ignored, "others": _MEAN})
        self.ignored = ignored

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        mask = next(one for one in flat_inputs if isinstance(one, tv_tensors.Mask))
        for _ in range(10):
            params = super().make_params(flat_inputs)
            counts = torch.bincount(self.transform(mask, params).flatten(), minlength=256)
            counts[self.ignored] = 0
            if (counts > 0).sum() > 1 and counts.max() < 0.75 * counts.sum():
                break
        return params


def _resized_mask(mask: tv_tensors.Mask, size: list[int]) -> tv_tensors.Mask:
    exact = v2.InterpolationMode.NEAREST_EXACT
    plain = mask.as_subclass(torch.Tensor)[None]
    return tv_tensors.Mask(v2.functional.resize_image(plain, size, interpolation=exact)[0])
