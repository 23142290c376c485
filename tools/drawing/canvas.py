"""A canvas that holds an image, its annotation and its instances in step.

Coordinates are design units: the image is 192 units high whatever its size in pixels. Everything
is painted back to front at twice the final resolution. In the end the image is averaged down,
which smooths its edges, while the two label maps are sampled, so that no label is ever blended.

Outlines are rounded to whole pixels before they are filled: the label maps then come out the same
on every machine, whatever the last bit of a floating-point number.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from tools.drawing.classes import OTHER, THING_VALUES

SUPERSAMPLING = 2
DESIGN_HEIGHT = 192.0
SMALLEST_INSTANCE = 12  # pixels; what is left of an almost hidden object is "other" below this

Color = np.ndarray
Point = tuple[float, float]
Texture = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Region(NamedTuple):
    """A filled outline: its upper left corner on the supersampled grid and a bool mask (h, w)."""

    x: int
    y: int
    mask: np.ndarray


def rgb(hue: float, saturation: float, value: float) -> Color:
    """Return a colour, float32 (3,) in 0..1, from hue, saturation and value in 0..1."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), dtype=np.float32)


def mix(first: Color, second: Color, share: float) -> Color:
    """Return `first` with `share` (0..1) of it replaced by `second`."""
    return first * np.float32(1 - share) + second * np.float32(share)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number drawn evenly from low..high."""
    return low + (high - low) * float(rng.random())


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Return True with the given probability."""
    return float(rng.random()) < probability


@dataclass(frozen=True)
class View:
    """A camera that looks along a level street or room.

    `x` and `y` are the vanishing point in design units; `lens` is the size in design units of a
    metre at depth 1, and depth 1 is where the ground meets the lower edge of the image.
    """

    x: float
    y: float
    lens: float

    def point(self, across: float, up: float, depth: float) -> Point:
        """Project metres across from the camera and up from the ground, at a depth of 1 or more."""
        ground = DESIGN_HEIGHT - self.y
        return self.x + across * self.lens / depth, self.y + (ground - up * self.lens) / depth

    def ground(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (metres across, depth) of the ground seen at design coordinates x and y."""
        depth = (DESIGN_HEIGHT - self.y) / np.maximum(y - self.y, 1.0)
        return (x - self.x) * depth / self.lens, depth


class Canvas:
    """Image, annotation and instances, painted back to front (painter's algorithm)."""

    def __init__(self, size: tuple[int, int], seed: int, hues: Sequence[float]):
        """Start empty; size is (width, height) in pixels, hues are the scene's colour scheme."""
        self.size = size
        self.scale = SUPERSAMPLING * size[1] / DESIGN_HEIGHT
        self.width = DESIGN_HEIGHT * size[0] / size[1]
        self.height = DESIGN_HEIGHT
        self.hues = tuple(hues)
        shape = (SUPERSAMPLING * size[1], SUPERSAMPLING * size[0])
        self.pixels = np.full((*shape, 3), 0.5, dtype=np.float32)
        self.annotation = np.zeros(shape, dtype=np.uint8)
        self.instances = np.zeros(shape, dtype=np.uint8)
        self.instance_count = 0
        # Texture has a random stream of its own, so that it can change without moving an outline.
        noise = np.random.default_rng([seed, 1])
        self.grain = noise.random(shape, dtype=np.float32) - 0.5
        self.mottle = _smooth_noise(noise, shape, (24, 32))
        self.blades = _smooth_noise(noise, shape, (64, 256))

    def color(
        self,
        rng: np.random.Generator,
        saturation: tuple[float, float] = (0.12, 0.6),
        value: tuple[float, float] = (0.4, 0.9),
    ) -> Color:
        """Draw a colour for a man-made thing from the scene's scheme, whatever its class."""
        hue = self.hues[int(rng.integers(len(self.hues)))] + between(rng, -0.03, 0.03)
        return rgb(hue, between(rng, *saturation), between(rng, *value))

    def polygon(self, points: Sequence[Point]) -> Region:
        """Return the inside of an outline given by its corners in design units."""
        return self._region([self._pixel(p) for p in points], "polygon")

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, radius: float = 0) -> Region:
        """Return an upright rectangle in design units, with rounded corners if radius > 0."""
        corners = [self._pixel((x0, y0)), self._pixel((x1, y1))]
        return self._region(corners, "rounded_rectangle", radius=round(radius * self.scale))

    def ellipse(self, x: float, y: float, across: float, up: float) -> Region:
        """Return an ellipse by its centre and its two half axes in design units."""
        corners = [self._pixel((x - across, y - up)), self._pixel((x + across, y + up))]
        return self._region(corners, "ellipse")

    def paint(
        self,
        region: Region,
        color: Color,
        value: int | None = None,
        instance: int = 0,
        *,
        down: tuple[float, float] = (1.0, 1.0),
        right: tuple[float, float] = (1.0, 1.0),
        grain: float = 0.0,
        mottle: float = 0.0,
        blades: float = 0.0,
        texture: Texture | None = None,
        alpha: float = 1.0,
    ) -> None:
        """Fill a region.

        `value` None leaves the label maps as they are (shadows, light, reflections). `down` and
        `right` are brightness gradients; grain, mottle and blades are strengths of noise (0..1);
        `texture` maps design coordinates x (1, w) and y (h, 1) to brightness (h, w).
        """
        height, width = region.mask.shape
        if not height or not width:
            return
        where = np.s_[region.y : region.y + height, region.x : region.x + width]
        light = np.linspace(*down, height, dtype=np.float32)[:, None]
        light = light * np.linspace(*right, width, dtype=np.float32)[None, :]
        for strength, field in (
            (grain, self.grain), (mottle, self.mottle), (blades, self.blades),
        ):  # fmt: skip
            if strength:
                light = light * (1 + strength * field[where])
        if texture is not None:
            light = light * texture(*self._grid(region)).astype(np.float32)
        painted = light[..., None] * color.astype(np.float32)
        weight = (region.mask * np.float32(alpha))[..., None]
        target = self.pixels[where]
        target += weight * (painted - target)
        if value is not None:
            self.annotation[where][region.mask] = value
            self.instances[where][region.mask] = instance

    def brush(self, value: int) -> Brush:
        """Return a brush for one object of a class; a thing gets a new instance id."""
        if value not in THING_VALUES:
            return Brush(self, value, 0)
        self.instance_count += 1
        return Brush(self, value, self.instance_count)

    def shadow(self, x: float, y: float, across: float, up: float, strength: float = 0.45) -> None:
        """Darken a soft ellipse, given by its centre and half axes in design units."""
        region = self.ellipse(x, y, across, up)
        if region.mask.size:
            pixels, weight = self._falloff(region, x, y, across, up)
            pixels *= 1 - strength * weight

    def glow(self, x: float, y: float, radius: float, color: Color, strength: float) -> None:
        """Add light that fades out around a point."""
        region = self.ellipse(x, y, radius, radius)
        if region.mask.size:
            pixels, weight = self._falloff(region, x, y, radius, radius)
            pixels += strength * weight * color

    def finish(self, tint: Color, light_side: int, contrast: float) -> tuple[Image.Image, ...]:
        """Light the whole scene; return image (RGB), annotation (L) and instances (L)."""
        rows, columns = self.size[1], self.size[0]
        block = (rows, SUPERSAMPLING, columns, SUPERSAMPLING, 3)
        pixels = np.clip(self.pixels, 0, 1.2).reshape(block).mean(axis=(1, 3))
        x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :, None]
        y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None, None]
        pixels *= tint * (1 + 0.09 * light_side * x) * (1.03 - 0.06 * (x * x + y * y))
        pixels = 0.5 + contrast * (pixels - 0.5) + 0.02 * self.grain[:rows, :columns, None]
        image = Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))
        labels = np.s_[::SUPERSAMPLING, ::SUPERSAMPLING]
        annotation, instances = _tidy(self.annotation[labels].copy(), self.instances[labels])
        return image, Image.fromarray(annotation), Image.fromarray(instances)

    def _pixel(self, point: Point) -> tuple[int, int]:
        return round(point[0] * self.scale), round(point[1] * self.scale)

    def _region(self, points: list[tuple[int, int]], shape: str, **options: int) -> Region:
        height, width = self.annotation.shape
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        x0, x1 = max(min(xs), 0), min(max(xs) + 1, width)
        y0, y1 = max(min(ys), 0), min(max(ys) + 1, height)
        degenerate = shape != "polygon" and (xs[1] < xs[0] or ys[1] < ys[0])
        if x1 <= x0 or y1 <= y0 or degenerate:
            return Region(0, 0, np.zeros((0, 0), dtype=bool))
        if shape == "rounded_rectangle" and not options["radius"]:
            return Region(x0, y0, np.ones((y1 - y0, x1 - x0), dtype=bool))
        mask = Image.new("L", (x1 - x0, y1 - y0))
        corners = [(x - x0, y - y0) for x, y in points]
        getattr(ImageDraw.Draw(mask), shape)(corners, fill=1, **options)
        return Region(x0, y0, np.asarray(mask) > 0)

    def _grid(self, region: Region) -> tuple[np.ndarray, np.ndarray]:
        height, width = region.mask.shape
        x = np.arange(region.x, region.x + width, dtype=np.float32)[None, :] / self.scale
        y = np.arange(region.y, region.y + height, dtype=np.float32)[:, None] / self.scale
        return x, y

    def _falloff(
        self, region: Region, x: float, y: float, across: float, up: float
    ) -> tuple[np.ndarray, np.ndarray]:
        grid_x, grid_y = self._grid(region)
        distance = ((grid_x - x) / across) ** 2 + ((grid_y - y) / up) ** 2
        weight = np.clip(1 - distance, 0, 1)[..., None]
        height, width = region.mask.shape
        target = self.pixels[region.y : region.y + height, region.x : region.x + width]
        return target, weight


@dataclass(frozen=True)
class Brush:
    """Paints every part of one object with the same annotation value and instance id."""

    canvas: Canvas
    value: int
    instance: int

    def __call__(self, region: Region, color: Color, **options: object) -> None:
        """Fill a region; options are those of `Canvas.paint`."""
        self.canvas.paint(region, color, self.value, self.instance, **options)


def _smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]
) -> np.ndarray:
    """Return noise, float32 of a shape in about -0.5..0.5, that varies from cell to cell."""
    coarse = Image.fromarray(rng.random(cells, dtype=np.float32) - 0.5)
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _tidy(annotation: np.ndarray, instances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn remnants of hidden objects into "other" and number the rest from 1 without gaps."""
    counts = np.bincount(instances.ravel(), minlength=256)
    annotation[(instances > 0) & (counts[instances] < SMALLEST_INSTANCE)] = OTHER
    kept = counts >= SMALLEST_INSTANCE
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.uint8)
    return annotation, numbers[instances]
