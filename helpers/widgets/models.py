"""Widgets that hold a model or its answer: thresholds, probabilities, an image of one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from helpers.images import load_image
from helpers.inference import labels_of, segment
from helpers.labels import ADE20K, Labels
from helpers.visualize import largest_labels, overlay
from helpers.widgets.explorer import Explorer, picker, slider
from helpers.widgets.sheet import colors_by_name, fit, lay_out, short_name

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel


def explore_panoptic(
    image: Image.Image,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    paint: Callable[[list[dict[str, Any]], tuple[int, int]], np.ndarray],
    score: float = 0.9,
    overlap: float = 0.5,
) -> Explorer:
    """Set the two thresholds of a panoptic answer and see which segments stay.

    The model runs once; only `post_process_panoptic_segmentation` runs again, as `pipeline`
    calls it.

    Args:
        image: the image.
        model, image_processor: of a universal segmentation model, such as Mask2Former.
        paint: gives an image of a list of {"label": name, "mask": (height, width) bool} and
            of a shape, such as `helpers.segments.paint_segments`.
        score: least score of a query, to begin with.
        overlap: least share of its mask that a segment must keep, to begin with.
    """
    image = load_image(image)
    small = fit(image)
    shape = small.size[::-1]
    with torch.inference_mode():
        outputs = model(**image_processor(image, return_tensors="pt").to(model.device))
    # Queries that answer "nothing" are left out of every result: out with them now, and a
    # redraw takes less than half as long.
    something = outputs.class_queries_logits[0].argmax(dim=-1) < model.config.num_labels
    outputs.class_queries_logits = outputs.class_queries_logits[:, something]
    outputs.masks_queries_logits = outputs.masks_queries_logits[:, something]

    def draw(score: float, overlap: float) -> tuple[Image.Image, str]:
        (answer,) = image_processor.post_process_panoptic_segmentation(
            outputs,
            threshold=score,
            overlap_mask_area_threshold=overlap,
            label_ids_to_fuse=set(),
            target_sizes=[shape],
        )
        ids = answer["segmentation"].cpu().numpy()
        entries = []
        for info in answer["segments_info"]:
            name = model.config.id2label[info["label_id"]]
            entries.append({"label": name, "mask": ids == info["id"], "score": info["score"]})
        marks = [
            (*_place(one["mask"]), f"{short_name(one['label'])} {one['score']:.2f}")
            for one in entries
            if one["mask"].sum() >= 0.002 * ids.size
        ]
        covered = sum((one["mask"] for one in entries), np.zeros(shape, dtype=bool))
        counts = Counter(short_name(one["label"]) for one in entries)
        listed = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        title = f"{len(entries)} segments"
        sheet = lay_out({"image": small, title: paint(entries, shape)}, marks={title: marks})
        told = f"Score from {score:.2f}, overlap from {overlap:.2f}: {listed or 'nothing'}."
        return sheet, f"{told} In no segment: {np.mean(~covered):.1%} of the pixels."

    controls = {
        "score": slider("Score", 0.0, 0.99, score, 0.01),
        "overlap": slider("Overlap", 0.0, 1.0, overlap, 0.05),
    }
    return Explorer(controls, draw, "A street, and the segments that two thresholds let through.")


def explore_probabilities(
    image: Image.Image,
    logits: torch.Tensor,
    row: int | None = None,
    column: int | None = None,
    labels: Labels = ADE20K,
) -> Explorer:
    """Point at a pixel: its most likely classes; pick a class: where the model sees it.

    Args:
        image: the image.
        logits: (num_labels, height, width) of the model's coarse grid, before any upsampling.
        row, column: the pixel to begin with; None: the middle.
        labels: what the label ids mean.
    """
    from matplotlib import colormaps

    image = load_image(image)
    width, height = image.size
    small = fit(image, 384)
    upsampled = interpolate(
        logits.detach()[None].float(), small.size[::-1], mode="bilinear", align_corners=False
    )
    probabilities = upsampled[0].softmax(dim=0).half().cpu().numpy()  # half: 150 maps add up
    winner = probabilities.argmax(axis=0)
    shades = (255 * colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)

    def draw(row: int, column: int, label: int | None) -> tuple[Image.Image, str]:
        y, x = row * small.height // height, column * small.width // width
        here = probabilities[:, y, x].astype(np.float32)
        best = np.argsort(-here, kind="stable")[:5]
        chosen = int(best[0]) if label is None else label
        name = short_name(labels.names[chosen])
        values = np.round(255 * probabilities[chosen].astype(np.float32)).astype(np.uint8)
        images = {
            f"row {row}, column {column}": _crossed(np.asarray(small), y, x),
            f"probability of {name}: dark 0, bright 1": _crossed(shades[values], y, x),
        }
        listed = ", ".join(f"{short_name(labels.names[k])} {here[k]:.2f}" for k in best)
        area = np.mean(winner == chosen)
        told = f"Row {row}, column {column}: {listed}. {name} is {here[chosen]:.2f} likely here"
        return lay_out(images), f"{told}, and wins {area:.1%} of the image."

    found = largest_labels(winner, most=labels.num_labels)
    names = {"the best at this pixel": None, **{labels.names[one]: one for one in found}}
    controls = {
        "row": slider("Row", 0, height - 1, height // 2 if row is None else row, 1),
        "column": slider("Column", 0, width - 1, width // 2 if column is None else column, 1),
        "label": picker("Class", names, None),
    }
    return Explorer(controls, draw, "A pixel of an image, and the probability map of a class.")


def segment_upload(
    image: Image.Image,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    opacity: float = 0.5,
    longest_side: int = 1024,
    labels: Labels | None = None,
) -> Explorer:
    """Segment an image that the reader uploads; a damaged one is named and changes nothing.

    Args:
        image: the image to begin with.
        model, image_processor: of a semantic segmentation model.
        longest_side: larger images are shrunk to so many pixels first.
        labels: names and colours of the model's classes; None: `labels_of` it.
    """
    labels = labels or labels_of(model, image_processor)

    def read(name: str, chosen: Image.Image) -> dict[str, Any]:
        return {"name": name, "image": chosen, "map": segment(chosen, model, image_processor)}

    shown, content = read("the image above", fit(load_image(image), longest_side)), None

    def draw(upload: Any, opacity: float) -> tuple[Image.Image, str]:
        nonlocal shown, content
        problem = ""
        name, data = uploaded(upload)
        if data is not None and data != content:
            content = data
            try:
                shown = read(name, fit(load_image(data, name), longest_side))
            except ValueError as error:
                problem = f"{error}. The last one stays. "
        found = largest_labels(shown["map"], most=12)
        images = {
            "image": shown["image"],
            "prediction": overlay(shown["image"], shown["map"], opacity, labels),
        }
        shares = (
            f"{short_name(labels.names[k])} {np.mean(shown['map'] == k):.0%}" for k in found[:5]
        )
        told = f"{problem}{shown['name']}, {'{} x {}'.format(*shown['image'].size)} pixels: "
        legend = colors_by_name(found, labels)
        return lay_out(images, legend), told + ", ".join(shares) + "."

    controls = {
        "upload": ipywidgets.FileUpload(accept="image/*", multiple=False, description="Image"),
        "opacity": slider("Opacity", 0.0, 1.0, opacity, 0.05),
    }
    return Explorer(controls, draw, "An image with the model's prediction laid over it.")


def uploaded(value: Any) -> tuple[str, bytes | None]:
    """Name and content of the newest file in a `FileUpload`'s value; content None: no file.

    Args:
        value: as ipywidgets 8 gives it, dictionaries in a tuple, or as 7 does, one dictionary
            from name to content.
    """
    if not value:
        return "", None
    if isinstance(value, Mapping):
        name, file = list(value.items())[-1]
    else:
        file = value[-1]
        name = file["name"]
    return name, bytes(file["content"])


def _place(mask: np.ndarray) -> tuple[float, float]:
    """(column, row) of the mask's pixel that lies nearest to its centre."""
    rows, columns = np.nonzero(mask)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return float(columns[nearest]), float(rows[nearest])


def _crossed(image: np.ndarray, row: int, column: int) -> np.ndarray:
    """A copy with a cross through one pixel, which itself stays as it is; white edged black."""
    crossed = image.copy()
    for at in (-1, 1, 0):
        value = 255 if at == 0 else 0
        keep = image[row, column].copy()
        crossed[np.clip(row + at, 0, len(image) - 1), :] = value
        crossed[:, np.clip(column + at, 0, image.shape[1] - 1)] = value
    crossed[row, column] = keep
    return crossed
