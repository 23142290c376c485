"""Widgets on label maps: an overlay, an augmentation, a mask dragged away from itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors

from helpers.images import load_image
from helpers.labels import ADE20K, IGNORE_INDEX, Labels
from helpers.visualize import largest_labels, overlay
from helpers.widgets.explorer import Explorer, picker, slider
from helpers.widgets.sheet import colors_by_name, fit, lay_out, outline

if TYPE_CHECKING:
    pass

# Blue, orange and near-white: told apart by colour-blind eyes and on a grey print alike.
_ONLY_FIRST, _ONLY_SECOND, _BOTH = (0, 90, 160), (230, 159, 0), (245, 245, 245)


def explore_overlay(
    image: Image.Image,
    label_maps: Mapping[str, np.ndarray],
    opacity: float = 0.5,
    labels: Labels = ADE20K,
) -> Explorer:
    """Lay label maps over their image: a slider for the opacity, a list to pick one class.

    Args:
        image: the image.
        label_maps: title to (height, width) label ids or 255, of the image's size. Of two,
            the first is taken as the truth and the IoU of the picked class is told.
        opacity: to begin with; 0 is the image alone, 1 the colours alone.
        labels: what the label ids mean.
    """
    image = load_image(image)
    small = fit(image)
    maps = {name: np.asarray(label_map) for name, label_map in label_maps.items()}
    smaller = {name: _resized(label_map, small.size) for name, label_map in maps.items()}
    found = largest_labels(*(one.ravel() for one in maps.values()), most=labels.num_labels)

    def draw(opacity: float, label: int | None) -> tuple[Image.Image, str]:
        images = {"image": small}
        for name, label_map in smaller.items():
            kept = label_map if label is None else _only(label_map, label)
            shown = np.array(overlay(small, kept, opacity, labels))
            if label is not None:
                shown[outline(kept == label)] = 255
            images[name] = shown
        legend = colors_by_name(found[:12] if label is None else [label], labels)
        return lay_out(images, legend), f"Opacity {opacity:.0%}. {told(label)}"

    def told(label: int | None) -> str:
        if label is None:
            return f"{len(found)} classes, each in its colour."
        shares = [f"{np.mean(one == label):.1%} of the {name}" for name, one in maps.items()]
        iou = f"; IoU {_iou(*maps.values(), label):.2f}" if len(maps) == 2 else ""
        return f"{labels.short_names[label]}: {', '.join(shares)}{iou}."

    names = {"all classes": None, **{labels.names[label]: label for label in found}}
    controls = {
        "opacity": slider("Opacity", 0.0, 1.0, opacity, 0.05),
        "label": picker("Class", names, None),
    }
    return Explorer(controls, draw, f"An image with its {' and its '.join(maps)} laid over it.")


def explore_augmentation(
    image: Image.Image,
    annotation: Image.Image,
    make_augment: Callable[[float, float], Callable[..., tuple[Any, Any]]],
    color: float = 1.0,
    smallest: float = 0.4,
    labels: Labels = ADE20K,
) -> Explorer:
    """Augment one scene with strengths of your choice: colours, smallest piece, throw of the dice.

    Args:
        image: the image.
        annotation: values as `labels` has them.
        make_augment: given the strength of the colour changes and the smallest share of the
            image that is kept, returns a transform of (image, mask).
        colour: to begin with, 0-5; what 1 means is up to `make_augment`.
        smallest: to begin with, 0.1-1.
        labels: what the annotation's values mean.
    """
    image, mask = load_image(image), tv_tensors.Mask(torch.from_numpy(np.array(annotation)))
    before = largest_labels(labels.to_label_map(annotation), most=labels.num_labels)

    def draw(color: float, smallest: float, version: int) -> tuple[Image.Image, str]:
        with torch.random.fork_rng(devices=[]):  # the notebook's own dice stay as they are
            torch.manual_seed(version)
            changed, its_mask = make_augment(color, smallest)(image, mask)
        label_map = labels.to_label_map(its_mask)
        left = largest_labels(label_map, most=labels.num_labels)
        images = {
            "as it is": fit(image),
            "as the model sees it": changed,
            "with its annotation": overlay(changed, label_map, labels=labels),
        }
        means = [round(float(np.asarray(one).mean())) for one in (image, changed)]
        told = f"Version {version}: {len(left)} of {len(before)} classes are left."
        told += f" Mean grey level {means[1]}, before it was {means[0]}."
        return lay_out(images, colors_by_name(before[:12], labels)), told

    controls = {
        "color": slider("Colour strength", 0.0, 5.0, color, 0.25),
        "smallest": slider("Smallest piece", 0.1, 1.0, smallest, 0.05),
        "version": slider("Version", 1, 30, 1, 1),
    }
    return Explorer(controls, draw, "A scene beside a randomly changed version of it.")


def explore_iou(
    image: Image.Image,
    label_map: np.ndarray,
    classes: Sequence[int] | None = None,
    right: int | None = None,
    down: int = 0,
    labels: Labels = ADE20K,
) -> Explorer:
    """Drag a class's mask away from itself with two sliders, and see its IoU fall.

    Args:
        image: the image.
        label_map: (height, width) label ids or 255, of the image's size.
        classes: the label ids to choose from, the first shown first; None: the largest.
        right, down: the shift to begin with, pixels, at most a quarter of the image; None:
            a thirty-second of its width.
        labels: what the label ids mean.
    """
    label_map = np.asarray(label_map)
    classes = list(classes or largest_labels(label_map, most=10))
    grey = np.asarray(load_image(image).convert("L"), dtype=np.float32)
    dim = (0.45 * grey).astype(np.uint8)[..., None].repeat(3, axis=2)

    def draw(label: int, right: int, down: int) -> tuple[Image.Image, str]:
        mask = label_map == label
        moved = _moved(mask, right, down)
        union, both = (mask | moved).sum(), (mask & moved).sum()
        shown = dim.copy()
        shown[mask & ~moved], shown[moved & ~mask] = _ONLY_FIRST, _ONLY_SECOND
        shown[mask & moved] = _BOTH
        bare = np.array(load_image(image))
        bare[outline(mask)] = _BOTH
        name, iou = labels.short_names[label], both / union if union else float("nan")
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
        "label": picker("Class", {labels.names[one]: one for one in classes}, classes[0]),
        "right": slider("Right", -(width // 4), width // 4, right, 1),
        "down": slider("Down", -(height // 4), height // 4, down, 1),
    }
    return Explorer(controls, draw, "A mask, a shifted copy of it, and their overlap.")


def _iou(truth: np.ndarray, prediction: np.ndarray, label: int) -> float:
    """Of one class; pixels that the truth ignores do not count. NaN where neither has it."""
    ours, theirs = truth == label, (prediction == label) & (truth != IGNORE_INDEX)
    union = (ours | theirs).sum()
    return (ours & theirs).sum() / union if union else float("nan")


def _only(label_map: np.ndarray, label: int) -> np.ndarray:
    return np.where(label_map == label, label_map, IGNORE_INDEX).astype(label_map.dtype)


def _resized(label_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Nearest neighbour; `size` is (width, height), as PIL has it."""
    if label_map.shape == size[::-1]:
        return label_map
    return np.asarray(Image.fromarray(label_map).resize(size, Image.Resampling.NEAREST))


def _moved(mask: np.ndarray, right: int, down: int) -> np.ndarray:
    """The mask shifted; what leaves the image is lost."""
    height, width = mask.shape
    moved = np.zeros_like(mask)
    moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
        max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)
    ]
    return moved
