"""Masks with one value per object, or one file per class, turned into labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from helpers.custom.conversions import colors_as_numbers
from helpers.images import Source, header, load_mask, name_of
from helpers.labels import Labels

_BACKGROUND = "background"


def read_categories(categories: Sequence[Mapping[str, Any]]) -> tuple[Labels, dict[int, int]]:
    """The labels of a list of categories, which COCO, Segments.ai and others write.

    Args:
        categories: id and name of each, and perhaps color. Ids may have gaps.

    Returns:
        Background, unless a category has that name, and the categories by id; and the label id of
        each category id.
    """
    ordered = sorted(categories, key=lambda category: category["id"])
    others = [category for category in ordered if category["name"] != _BACKGROUND]
    colors = None
    if all(isinstance(category.get("color"), list) for category in others):
        colors = [(0, 0, 0), *(category["color"][:3] for category in others)]
    labels = Labels([_BACKGROUND, *(category["name"] for category in others)], colors)
    return labels, {c["id"]: labels.label2id[c["name"].strip()] for c in ordered}


def labels_from_objects(
    bitmap: Source,
    objects: Iterable[Mapping[str, Any]],
    values: Mapping[int, int],
    image: Source | None = None,
) -> Image.Image:
    """Turn a mask of object ids, as in Segments.ai or COCO's panoptic task, into one of labels.

    Args:
        bitmap: ids as grey values, or as red + 256 green + 65,536 blue.
        objects: id and category_id of each: "annotations" of Segments.ai, "segments_info" of COCO.
        values: category id to label, from `read_categories`.
        image: the mask's image; the mask is turned upright as it is, see
            `helpers.images.load_mask`.

    Returns:
        Mode L, labels; id 0 is no object, and has label 0.

    Raises:
        ValueError: an id is not in the list, or its category is not.
    """
    name, ids = name_of(bitmap, "mask"), load_mask(bitmap, image)
    if header(bitmap).mode in ("RGB", "RGBA"):
        blue_first = load_mask(bitmap, image, in_colors=True)[..., ::-1]
        ids = colors_as_numbers(blue_first)
    category = {0: None} | {each["id"]: each["category_id"] for each in objects}
    present, where = np.unique(ids, return_inverse=True)
    for each in present.tolist():
        if each not in category or category[each] not in {None, *values}:
            raise ValueError(
                f"{name} holds the object {each}, expected one of the list, {[*category]}, "
                f"with a category among {[*values]}"
            )
    labels = [values.get(category[each], 0) for each in present.tolist()]
    return Image.fromarray(np.array(labels, dtype=np.uint8)[where].reshape(ids.shape))


def merge_masks(
    masks: Iterable[tuple[str, Source]], labels: Labels, image: Source | None = None
) -> tuple[Image.Image, dict[tuple[str, str], int]]:
    """Merge masks of one class each, as Label Studio and RectLabel export them.

    Args:
        masks: (name of the class, mask) each, later ones on top. A mask has two values, of which 0
            means no; where edges are soft, up to 255, the brighter half means yes. A class may have
            several masks.
        labels: whose names occur in `masks`; what no mask covers has value 0.
        image: the masks' image; the masks are turned upright as it is, see
            `helpers.images.load_mask`.

    Returns:
        Mode L, the values that `labels` explains; and how many pixels one class took from another:
        {(below, on top): pixels}.

    Raises:
        ValueError: sizes differ, a name is unknown, or a mask holds several classes.
    """
    merged, overlaps = None, {}
    for label, source in masks:
        name, values = name_of(source, "mask"), load_mask(source, image)
        if label not in labels.label2id:
            raise ValueError(
                f"{name} is for the class {label!r}, expected one of {', '.join(labels.names)}"
            )
        present = np.unique(values)
        soft = present[-1] == 255 and ((present > 127) & (present < 255)).any()
        if values.ndim == 3 or (len(present) > 2 and not soft):
            raise ValueError(f"{name} has more than two values, expected 0 and one other, for yes")
        if merged is None:
            merged = np.zeros(values.shape, dtype=np.uint8)
        if values.shape != merged.shape:
            raise ValueError(
                f"{name} is {values.shape[1]} x {values.shape[0]} pixels, the masks before it "
                f"{merged.shape[1]} x {merged.shape[0]}: expected masks of one image"
            )
        yes, value = values > values.max() / 2, labels.label2id[label] + labels.reduce
        for below in np.unique(merged[yes & (merged != value) & (merged != 0)]).tolist():
            key = labels.names[below - labels.reduce], label
            overlaps[key] = overlaps.get(key, 0) + int(np.count_nonzero(yes & (merged == below)))
        merged[yes] = value
    if merged is None:
        raise ValueError("there is no mask, expected one for each class in the image")
    return Image.fromarray(merged), overlaps
