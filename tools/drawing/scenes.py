"""Toy scenes: drawings that stand for ADE20K photographs where there is no network.

scene = draw_scene(7)
scene.image, scene.annotation, scene.instances, scene.scene_category
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from tools.drawing import interiors, landscape, rooms, streets
from tools.drawing.canvas import Canvas, between
from tools.drawing.classes import CLASS_VALUES, STUFF_VALUES, THING_VALUES

__all__ = [
    "CLASS_VALUES",
    "HELD_OUT_SEEDS",
    "MODEL_STREET_SEED",
    "PRETRAINING_SEEDS_START",
    "SCENE_CATEGORIES",
    "STREET_SEED",
    "STUFF_VALUES",
    "THING_VALUES",
    "TRAIN_SEEDS",
    "VALIDATION_SEEDS",
    "Scene",
    "draw_scene",
]

# No seed serves two purposes, so that no number in the course is measured on an image seen before.
TRAIN_SEEDS = range(0, 160)
VALIDATION_SEEDS = range(1000, 1040)
HELD_OUT_SEEDS = range(2000, 2200)  # no training sees these, the bundled checkpoints' included
STREET_SEED = 2122  # cars that overlap, for the first half of notebook 01
MODEL_STREET_SEED = 2086  # for its second half: the bundled models do well here
PRETRAINING_SEEDS_START = 10_000  # everything from here on is for the bundled checkpoints

_DRAWINGS = {
    "street": (streets.draw_street, landscape.draw_weather),
    "park": (streets.draw_park, landscape.draw_weather),
    "living_room": (rooms.draw_living_room, interiors.draw_light),
    "bedroom": (rooms.draw_bedroom, interiors.draw_light),
    "dining_room": (rooms.draw_dining_room, interiors.draw_light),
}
# Categories take turns over the seeds, so that even a small range of seeds holds all in proportion.
_TURNS = (
    "street", "living_room", "park", "bedroom", "street", "dining_room", "living_room", "street",
    "park", "bedroom", "street", "living_room", "dining_room", "park", "street", "bedroom",
    "living_room", "street", "dining_room", "park",
)  # fmt: skip

SCENE_CATEGORIES = tuple(sorted(_DRAWINGS))
"""The kinds of scene, named as ADE20K names them."""


@dataclass(frozen=True)
class Scene:
    """An image and what it shows; all three images have the same size.

    Attributes:
        image: RGB image.
        annotation: mode L, raw ADE20K annotation values 0..150, where 0 is "other".
        instances: mode L, 0 for stuff and "other", else a number from 1, unique in the image,
            for each object of a class in `THING_VALUES`.
        scene_category: one of `SCENE_CATEGORIES`.
    """

    image: Image.Image
    annotation: Image.Image
    instances: Image.Image
    scene_category: str


def draw_scene(seed: int, kind: str | None = None, size: tuple[int, int] = (256, 192)) -> Scene:
    """Draw a scene; the same arguments draw the same scene.

    Args:
        seed: any integer from 0; see the `*_SEEDS` constants for who uses which.
        kind: one of `SCENE_CATEGORIES`, or None to let the seed choose.
        size: width and height in pixels; the drawing is made for 4:3.

    Raises:
        ValueError: if `kind` is not a known scene category.
    """
    rng = np.random.default_rng(seed)
    kind = _TURNS[seed % len(_TURNS)] if kind is None else kind
    if kind not in _DRAWINGS:
        raise ValueError(f"unknown scene category {kind!r}: choose one of {SCENE_CATEGORIES}")
    # One colour scheme a scene keeps the image calm and makes colour say little about class.
    base = between(rng, 0, 1)
    hues = (base, base + 0.07, base - 0.08, base + 0.5, base + 0.42, 0.08, 0.6)
    canvas = Canvas(size, seed, hues)
    draw, draw_light = _DRAWINGS[kind]
    light = draw_light(rng)
    draw(canvas, rng, light)
    image, annotation, instances = canvas.finish(light.tint, light.side, light.contrast)
    return Scene(image, annotation, instances, kind)
