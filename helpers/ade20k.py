"""The 150 classes of SceneParse150 (ADE20K): names, colors, label reduction.

They are stored in `bundled/ade20k` as the labels of any data set are: the names in `id2label.json`,
the colors in `labels.json`, which also says that annotation value 0 ("other") is not a class. So an
annotation's values are 0 to 150, label ids 0 to 149, and `reduce_labels` goes from the first to the
second.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.labels import IGNORE_INDEX, Labels

__all__ = [
    "ADE20K",
    "ID2LABEL",
    "IGNORE_INDEX",
    "LABEL2ID",
    "NUM_LABELS",
    "PALETTE",
    "SHARED_COLORS",
    "reduce_labels",
]

ADE20K = Labels.load(Path(__file__).parent / "bundled" / "ade20k")
"""Names and official colors (`color150` of CSAILVision/sceneparsing), in label-id order. The names
are those of the Hub's label file, except that its `"bed "` loses the space."""

NUM_LABELS = ADE20K.num_labels

ID2LABEL: dict[int, str] = ADE20K.id2label
"""Label id 0-149 to class name."""

LABEL2ID: dict[str, int] = ADE20K.label2id
"""Class name to label id 0-149."""

PALETTE: np.ndarray = ADE20K.palette
"""(150, 3) uint8, RGB: `PALETTE[label_id]` is the class's official color. Read-only."""

SHARED_COLORS: tuple[tuple[int, int], ...] = ((6, 48),)
"""Pairs of label ids that the official palette paints alike, so no legend can tell them apart."""


def reduce_labels(annotation: np.ndarray) -> np.ndarray:
    """Turn annotation values into label ids: 0 becomes 255 (ignored), k becomes k - 1.

    Args:
        annotation: integer array of any shape, e.g. (height, width), values 0-150; anything
            that `numpy.asarray` accepts, such as a PIL image of mode L.

    Returns:
        uint8 array of the same shape, values 0-149 or 255.

    Raises:
        ValueError: a value lies outside 0-150. Labels that are reduced already end here if they
            hold a 255, as most do; reducing them twice would shift every class once more.
    """
    return ADE20K.to_label_map(annotation)
