"""The course's pictures with sliders: each returns an `Explorer`, a cell's last value.

Where widgets do not run, the same output is a still picture; see `helpers.explorer`.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from helpers.ade20k import ID2LABEL, IGNORE_INDEX, NUM_LABELS, PALETTE, reduce_labels
from helpers.data import to_rgb
from helpers.explorer import Explorer, fit, lay_out, outline, picker, slider
from helpers.inference import segment
from helpers.metrics import ConfusionMatrix
from helpers.transforms import annotation_tensor
from helpers.visualize import largest_labels, overlay

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

# Blue, orange and near-white: told apart by colour-blind eyes and on a grey print alike.
_ONLY_FIRST, _ONLY_SECOND, _BOTH = (0, 90, 160), (230, 159, 0), (245, 245, 245)


def explore_overlay(
    image: Image.Image,
    label_maps: Mapping[str, np.ndarray],
    opacity: float = 0.5,
    id2label: Mapping[int, str] = ID2LABEL,
    palette: np.ndarray = PALETTE,
) -> Explorer:
    """Lay label maps over their picture: a slider for the opacity, a list to pick one class.

    Args:
        image: the picture.
        label_maps: title to (height, width) label ids or 255, of the picture's size. Of two,
            the first is taken as the truth and the IoU of the picked class is told.
        opacity: to begin with; 0 is the picture alone, 1 the colours alone.
    """
    image = to_rgb(image)
    small = fit(image)
    maps = {name: np.asarray(label_map) for name, label_map in label_maps.items()}
    smaller = {name: _resized(label_map, small.size) for name, label_map in maps.items()}
    labels = largest_labels(*(one.ravel() for one in maps.values()), most=len(id2label))
    scores = _scores(*maps.values(), len(id2label)) if len(maps) == 2 else None

    def draw(opacity: float, label: int | None) -> tuple[Image.Image, str]:
        pictures = {"picture": small}
        for name, label_map in smaller.items():
            kept = label_map if label is None else _only(label_map, label)
            shown = np.array(overlay(small, kept, opacity, palette))
            if label is not None:
                shown[outline(kept == label)] = 255
            pictures[name] = shown
        legend = _legend(labels[:12] if label is None else [label], id2label, palette)
        return lay_out(pictures, legend), f"Opacity {opacity:.0%}. {told(label)}"

    def told(label: int | None) -> str:
        if label is None:
            return f"{len(labels)} classes, each in its colour."
        shares = [f"{np.mean(one == label):.1%} of the {name}" for name, one in maps.items()]
        iou = f"; IoU {scores[label]:.2f}" if scores is not None else ""
        return f"{_short(id2label[label])}: {', '.join(shares)}{iou}."

    names = {"all classes": None, **{id2label[label]: label for label in labels}}
    controls = {
        "opacity": slider("Opacity", 0.0, 1.0, opacity, 0.05),
        "label": picker("Class", names, None),
    }
    return Explorer(controls, draw, f"A picture with its {' and its '.join(maps)} laid over it.")


def explore_augmentation(
    image: Image.Image,
    annotation: Image.Image,
    make_augment: Callable[[float, float], Callable[..., tuple[Any, Any]]],
    colour: float = 1.0,
    smallest: float = 0.4,
) -> Explorer:
    """Augment one scene with strengths of your choice: colours, smallest piece, throw of the dice.

    Args:
        image: the picture.
        annotation: values 0-150.
        make_augment: given the strength of the colour changes and the smallest share of the
            picture that is kept, returns a transform of (picture, mask).
        colour: to begin with, 0-5; what 1 means is up to `make_augment`.
        smallest: to begin with, 0.1-1.
    """
    image, mask = to_rgb(image), annotation_tensor(annotation)
    before = largest_labels(reduce_labels(annotation), most=NUM_LABELS)

    def draw(colour: float, smallest: float, version: int) -> tuple[Image.Image, str]:
        with torch.random.fork_rng(devices=[]):  # the notebook's own dice stay as they are
            torch.manual_seed(version)
            changed, its_mask = make_augment(colour, smallest)(image, mask)
        label_map = reduce_labels(its_mask)
        left = largest_labels(label_map, most=NUM_LABELS)
        pictures = {
            "as it is": fit(image),
            "as the model sees it": changed,
            "with its annotation": overlay(changed, label_map),
        }
        means = [round(float(np.asarray(one).mean())) for one in (image, changed)]
        told = f"Version {version}: {len(left)} of {len(before)} classes are left."
        told += f" Mean grey level {means[1]}, before it was {means[0]}."
        return lay_out(pictures, _legend(before[:12])), told

    controls = {
        "colour": slider("Colour strength", 0.0, 5.0, colour, 0.25),
        "smallest": slider("Smallest piece", 0.1, 1.0, smallest, 0.05),
        "version": slider("Version", 1, 30, 1, 1),
    }
    return Explorer(controls, draw, "A scene beside a randomly changed version of it.")


def explore_iou(
    image: Image.Image,
    label_map: np.ndarray,
    labels: Sequence[int] | None = None,
    right: int | None = None,
    down: int = 0,
    id2label: Mapping[int, str] = ID2LABEL,
) -> Explorer:
    """Drag a class's mask away from itself with two sliders, and see its IoU fall.

    Args:
        image: the picture.
        label_map: (height, width) label ids or 255, of the picture's size.
        labels: the classes to choose from, the first shown first; None: the largest.
        right, down: the shift to begin with, pixels, at most a quarter of the picture; None:
            a thirty-second of its width.
    """
    label_map = np.asarray(label_map)
    labels = list(labels or largest_labels(label_map, most=10))
    grey = np.asarray(to_rgb(image).convert("L"), dtype=np.float32)
    dim = (0.45 * grey).astype(np.uint8)[..., None].repeat(3, axis=2)

    def draw(label: int, right: int, down: int) -> tuple[Image.Image, str]:
        mask = label_map == label
        moved = _moved(mask, right, down)
        union, both = (mask | moved).sum(), (mask & moved).sum()
        shown = dim.copy()
        shown[mask & ~moved], shown[moved & ~mask] = _ONLY_FIRST, _ONLY_SECOND
        shown[mask & moved] = _BOTH
        bare = np.array(to_rgb(image))
        bare[outline(mask)] = _BOTH
        name, iou = _short(id2label[label]), both / union if union else float("nan")
        legend = {
            "in both: intersection": _BOTH,
            "in the mask only": _ONLY_FIRST,
            "in the moved mask only": _ONLY_SECOND,
        }
        sheet = lay_out({f"{name}, outlined": bare, f"moved: IoU {iou:.2f}": shown}, legend)
        where = f"{name}, moved {abs(right)} pixels {'left' if right < 0 else 'right'}"
        where += f" and {abs(down)} {'up' if down < 0 else 'down'}"
        return sheet, f"{where}: {both:,} pixels in both, {union:,} in either, IoU {iou:.2f}."

    height, width = label_map.shape
    right = width // 32 if right is None else right
    controls = {
        "label": picker("Class", {id2label[one]: one for one in labels}, labels[0]),
        "right": slider("Right", -(width // 4), width // 4, right, 1),
        "down": slider("Down", -(height // 4), height // 4, down, 1),
    }
    return Explorer(controls, draw, "A mask, a shifted copy of it, and their overlap.")


def explore_panoptic(
    picture: Image.Image,
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
        picture: the picture.
        model, image_processor: of a universal segmentation model, such as Mask2Former.
        paint: gives a picture of a list of {"label": name, "mask": (height, width) bool} and
            of a shape: the notebook's own, so that the colours are the same.
        score: least score of a query, to begin with.
        overlap: least share of its mask that a segment must keep, to begin with.
    """
    picture = to_rgb(picture)
    small = fit(picture)
    shape = small.size[::-1]
    with torch.inference_mode():
        outputs = model(**image_processor(picture, return_tensors="pt").to(model.device))
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
            (*_place(one["mask"]), f"{_short(one['label'])} {one['score']:.2f}")
            for one in entries
            if one["mask"].sum() >= 0.002 * ids.size
        ]
        covered = sum((one["mask"] for one in entries), np.zeros(shape, dtype=bool))
        counts = Counter(_short(one["label"]) for one in entries)
        listed = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        title = f"{len(entries)} segments"
        sheet = lay_out({"picture": small, title: paint(entries, shape)}, marks={title: marks})
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
    id2label: Mapping[int, str] = ID2LABEL,
) -> Explorer:
    """Point at a pixel: its most likely classes; pick a class: where the model sees it.

    Args:
        image: the picture.
        logits: (num_labels, height, width) of the model's coarse grid, before any enlarging.
        row, column: the pixel to begin with; None: the middle.
    """
    from matplotlib import colormaps

    image = to_rgb(image)
    width, height = image.size
    small = fit(image, 384)
    enlarged = interpolate(
        logits.detach()[None].float(), small.size[::-1], mode="bilinear", align_corners=False
    )
    probabilities = enlarged[0].softmax(dim=0).half().cpu().numpy()  # half: 150 maps add up
    winner = probabilities.argmax(axis=0)
    shades = (255 * colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)

    def draw(row: int, column: int, label: int | None) -> tuple[Image.Image, str]:
        y, x = row * small.height // height, column * small.width // width
        here = probabilities[:, y, x].astype(np.float32)
        best = np.argsort(-here, kind="stable")[:5]
        chosen = int(best[0]) if label is None else label
        name = _short(id2label[chosen])
        values = np.round(255 * probabilities[chosen].astype(np.float32)).astype(np.uint8)
        pictures = {
            f"row {row}, column {column}": _crossed(np.asarray(small), y, x),
            f"probability of {name}: dark 0, bright 1": _crossed(shades[values], y, x),
        }
        listed = ", ".join(f"{_short(id2label[int(k)])} {here[k]:.2f}" for k in best)
        area = np.mean(winner == chosen)
        told = f"Row {row}, column {column}: {listed}. {name} is {here[chosen]:.2f} likely here"
        return lay_out(pictures), f"{told}, and wins {area:.1%} of the picture."

    found = largest_labels(winner, most=len(id2label))
    names = {"the best at this pixel": None, **{id2label[one]: one for one in found}}
    controls = {
        "row": slider("Row", 0, height - 1, height // 2 if row is None else row, 1),
        "column": slider("Column", 0, width - 1, width // 2 if column is None else column, 1),
        "label": picker("Class", names, None),
    }
    return Explorer(controls, draw, "A pixel of a picture, and the probability map of a class.")


def segment_upload(
    image: Image.Image,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    opacity: float = 0.5,
    longest_side: int = 1024,
) -> Explorer:
    """Segment a picture that the reader uploads; a damaged one is named and changes nothing.

    Args:
        image: the picture to begin with.
        model, image_processor: of a semantic segmentation model.
        longest_side: larger pictures are shrunk to so many pixels first.
    """
    id2label = {int(label): name.strip() for label, name in model.config.id2label.items()}
    palette = PALETTE if len(id2label) <= len(PALETTE) else np.resize(PALETTE, (len(id2label), 3))

    def read(name: str, picture: Image.Image) -> dict[str, Any]:
        return {"name": name, "image": picture, "map": segment(picture, model, image_processor)}

    shown, content = read("the picture above", fit(to_rgb(image), longest_side)), None

    def draw(upload: Any, opacity: float) -> tuple[Image.Image, str]:
        nonlocal shown, content
        problem = ""
        name, data = uploaded(upload)
        if data is not None and data != content:
            content, picture = data, _decoded(data)
            if picture is None:
                problem = f"{name} is no picture, or a damaged one: the last one stays. "
            else:
                shown = read(name, fit(picture, longest_side))
        found = largest_labels(shown["map"], most=12)
        pictures = {
            "picture": shown["image"],
            "prediction": overlay(shown["image"], shown["map"], opacity, palette),
        }
        shares = (f"{_short(id2label[k])} {np.mean(shown['map'] == k):.0%}" for k in found[:5])
        told = f"{problem}{shown['name']}, {'{} x {}'.format(*shown['image'].size)} pixels: "
        return lay_out(pictures, _legend(found, id2label, palette)), told + ", ".join(shares) + "."

    controls = {
        "upload": ipywidgets.FileUpload(accept="image/*", multiple=False, description="Picture"),
        "opacity": slider("Opacity", 0.0, 1.0, opacity, 0.05),
    }
    return Explorer(controls, draw, "A picture with the model's prediction laid over it.")


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


def _decoded(data: bytes) -> Image.Image | None:
    """The picture in a file's content, upright RGB; None where there is none."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return to_rgb(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _scores(truth: np.ndarray, prediction: np.ndarray, num_labels: int) -> np.ndarray:
    matrix = ConfusionMatrix(num_labels, IGNORE_INDEX)
    matrix.update(prediction, truth)
    return np.asarray(matrix.compute()["per_category_iou"])


def _short(name: str) -> str:
    return name.split(",")[0]


def _legend(
    labels: Sequence[int],
    id2label: Mapping[int, str] = ID2LABEL,
    palette: np.ndarray = PALETTE,
) -> dict[str, np.ndarray]:
    return {_short(id2label[label]): palette[label] for label in labels}


def _only(label_map: np.ndarray, label: int) -> np.ndarray:
    return np.where(label_map == label, label_map, IGNORE_INDEX).astype(label_map.dtype)


def _resized(label_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest neighbour; `size` is (width, height), as PIL has it."""
    if label_map.shape == size[::-1]:
        return label_map
    return np.asarray(Image.fromarray(label_map).resize(size, Image.Resampling.NEAREST))


def _moved(mask: np.ndarray, right: int, down: int) -> np.ndarray:
    """The mask shifted; what leaves the picture is lost."""
    height, width = mask.shape
    moved = np.zeros_like(mask)
    moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
        max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
    ]
    return moved


def _place(mask: np.ndarray) -> tuple[float, float]:
    """(column, row) of the mask's pixel that lies nearest to its centre."""
    rows, columns = np.nonzero(mask)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return float(columns[nearest]), float(rows[nearest])


def _crossed(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    """A copy with a cross through one pixel, which itself stays as it is; white edged black."""
    crossed = picture.copy()
    for at in (-1, 1, 0):
        value = 255 if at == 0 else 0
        keep = picture[row, column].copy()
        crossed[np.clip(row + at, 0, len(picture) - 1), :] = value
        crossed[:, np.clip(column + at, 0, picture.shape[1] - 1)] = value
    crossed[row, column] = keep
    return crossed
