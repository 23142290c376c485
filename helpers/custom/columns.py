"""The columns of a data set of scenes, which decode files as `helpers.images` reads them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
from datasets import Dataset, Features
from PIL import Image

from helpers.images import load_image, load_mask


class ImageFile(datasets.Image):
    """A column of image files, which `load_image` decodes."""

    def decode_example(self, value: dict[str, Any], *args: Any, **kwargs: Any) -> Image.Image:
        return load_image(value)


class MaskFile(datasets.Image):
    """A column of mask files, which `load_mask` decodes."""

    def decode_example(self, value: dict[str, Any], *args: Any, **kwargs: Any) -> Image.Image:
        return _as_pil(load_mask(value))


def scene_features(**more: Any) -> Features:
    """The features of a data set of scenes, for `Dataset.from_dict`, and any others."""
    return Features(image=ImageFile(), annotation=MaskFile(), **more)


def with_masks_turned(split: Dataset, turned: Sequence[int]) -> Dataset:
    """The data set with these rows' masks turned as their images are, and stored as PNG."""
    if not turned:
        return split
    files = undecoded(split)
    cells = list(files["annotation"])
    for index in turned:
        content = io.BytesIO()
        _as_pil(load_mask(cells[index], files[index]["image"])).save(content, format="PNG")
        cells[index] = {"path": cells[index]["path"], "bytes": content.getvalue()}
    split = split.remove_columns("annotation")
    split = split.add_column("annotation", cells, feature=datasets.Image(decode=False))
    return split.cast_column("annotation", MaskFile())


def undecoded(split: Dataset) -> Dataset:
    """The two columns as `{"path": ..., "bytes": ...}`, nothing decoded."""
    split = split.select_columns(["image", "annotation"])
    for column in ("image", "annotation"):
        split = split.cast_column(column, datasets.Image(decode=False))
    return split


def _as_pil(mask: np.ndarray) -> Image.Image:
    """A mask as mode L (RGB in colors), or I where a value needs more than a byte."""
    fits = mask.dtype == bool or (mask.min(initial=0) >= 0 and mask.max(initial=0) <= 255)
    return Image.fromarray(mask.astype(np.uint8 if fits else np.int32))
