"""Segments, as `pipeline` returns them: labels and masks, in colors that tell them apart."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from helpers.labels import ADE20K, IGNORE_INDEX, Labels


def segments_of(
    label_map: np.ndarray, instances: np.ndarray, labels: Labels = ADE20K
) -> list[dict[str, Any]]:
    """List the segments of a panoptic map, the smallest label id first; 255 (ignored) has none.

    Args:
        label_map: (height, width) label ids or 255.
        instances: (height, width) integers, the number of the thing that a pixel shows; 0: stuff.
        labels: whose names are used.

    Returns:
        {"label": name, "instance": number, "mask": (height, width) bool} for each pair of the two.
    """
    pairs = np.unique(np.stack([label_map, instances], axis=-1).reshape(-1, 2), axis=0).tolist()
    return [
        {
            "label": labels.names[label],
            "instance": number,
            "mask": (label_map == label) & (instances == number),
        }
        for label, number in pairs
        if label != IGNORE_INDEX
    ]


def color_of_name(name: str, labels: Labels = ADE20K) -> tuple[int, int, int]:
    """Find a class's RGB color, 0-255, by its name.

    A name that `labels` lack, as of a model trained on other data, borrows one of their colors. It
    is the same in every run, but it may be another class's too.
    """
    names = list(labels.names)
    known = name in names
    row = names.index(name) if known else zlib.crc32(name.encode()) % len(names)
    red, green, blue = labels.palette[row].tolist()
    return red, green, blue


def paint_segments(
    segments: Sequence[Mapping[str, Any]],
    shape: tuple[int, int],
    like: Sequence[Mapping[str, Any]] = (),
    labels: Labels = ADE20K,
) -> np.ndarray:
    """Paint segments on black: a class has one hue, and its segments differ in shade.

    A class's segments are numbered from left to right, and a segment's shade depends on its number
    alone; number 0 has the class's own color. `like` keeps shades equal from one answer to the
    next: a segment that overlaps one of them (same label, intersection over union above 0.5) takes
    its number, and the others take those that are left.

    Args:
        segments: as `pipeline` returns them: {"label": name, "mask": (height, width) bool array, or
            PIL image of mode L}, among other keys. Where two overlap, the later is seen.
        shape: (height, width) of the image.
        like: segments of the same scene in another answer, in the same form; of any size.
        labels: whose colors are used.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    painted = np.zeros((*shape, 3), dtype=np.uint8)
    for name in sorted({segment["label"] for segment in segments}):
        masks = _masks_from_left(segments, name, shape)
        known = _masks_from_left(like, name, shape)
        alike = [
            next((n for n, old in enumerate(known) if _iou(mask, old) > 0.5), None)
            for mask in masks
        ]
        left = iter(sorted(set(range(len(masks) + len(known))) - set(alike)))
        for mask, number in zip(masks, alike, strict=True):
            shade = next(left) if number is None else number
            painted[mask] = _shade(color_of_name(name, labels), shade)
    return painted


def _masks_from_left(
    segments: Sequence[Mapping[str, Any]], name: str, shape: tuple[int, int]
) -> list[np.ndarray]:
    """The masks of a class, at this (height, width), the one that begins furthest left first."""
    images = [Image.fromarray(np.asarray(s["mask"]) > 0) for s in segments if s["label"] == name]
    masks = [np.asarray(image.resize(shape[::-1], Image.Resampling.NEAREST)) for image in images]
    return sorted(masks, key=lambda mask: int(mask.any(axis=0).argmax()))


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sum(one & other) / max(np.sum(one | other), 1))


def _shade(color: tuple[int, int, int], number: int) -> np.ndarray:
    """The color itself as number 0; others are duller, at a lightness far from those before."""
    if number == 0:
        return np.array(color, dtype=np.uint8)
    hue, lightness, saturation = colorsys.rgb_to_hls(*(value / 255 for value in color))
    place = (lightness - 0.3) / 0.5 + number * 0.618  # the golden ratio leaves no two places close
    # Duller, as a lighter tree would look like grass: some classes share a hue.
    rgb = colorsys.hls_to_rgb(hue, 0.3 + 0.5 * (place % 1), 0.55 * saturation)
    return np.round(np.multiply(255, rgb)).astype(np.uint8)
