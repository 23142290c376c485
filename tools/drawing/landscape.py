"""The ground and the sky of toy scenes out of doors, and the light on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tools.drawing import classes, figures
from tools.drawing.canvas import Canvas, Color, View, between, chance, mix, rgb


@dataclass(frozen=True)
class Weather:
    """The light out of doors: colours of sky and light, side of the sun, overall contrast."""

    zenith: Color
    haze: Color
    tint: Color
    side: int
    contrast: float


def draw_weather(rng: np.random.Generator) -> Weather:
    """Return the light of a fair day, a grey day, an evening or a night."""
    zenith, haze, tint, contrast = (
        (rgb(0.57, 0.5, 0.85), rgb(0.56, 0.12, 0.97), (1.0, 1.0, 0.97), 1.06),
        (rgb(0.54, 0.38, 0.92), rgb(0.12, 0.1, 1.0), (1.03, 1.0, 0.95), 1.02),
        (rgb(0.6, 0.07, 0.76), rgb(0.58, 0.03, 0.9), (0.9, 0.93, 0.97), 0.9),
        (rgb(0.68, 0.3, 0.66), rgb(0.06, 0.42, 1.0), (1.05, 0.9, 0.8), 1.0),
        (rgb(0.63, 0.55, 0.42), rgb(0.9, 0.25, 0.72), (0.7, 0.73, 0.95), 0.95),
    )[int(rng.choice(5, p=(0.32, 0.2, 0.18, 0.2, 0.1)))]
    side = 1 if chance(rng, 0.5) else -1
    return Weather(zenith, haze, np.array(tint, dtype=np.float32), side, contrast)


def sky(canvas: Canvas, rng: np.random.Generator, weather: Weather, horizon: float) -> None:
    """Draw a sky down to the horizon, with clouds and now and then a balloon."""
    brush, steps = canvas.brush(classes.SKY), 24
    for step in range(steps):
        top, bottom = horizon * step / steps, horizon * (step + 1) / steps + 1
        shade = mix(weather.zenith, weather.haze, step / (steps - 1))
        brush(canvas.rectangle(0, top, canvas.width, bottom), shade)
    for _ in range(int(rng.integers(1, 5))):
        x, y, size = between(rng, 0, canvas.width), between(rng, 8, 55), between(rng, 10, 22)
        white = mix(weather.haze, np.ones(3, dtype=np.float32), 0.6)
        for part in range(5):
            lump = (x + (part - 2) * size * 0.55, y - (0.3 * size if part in (1, 2, 3) else 0))
            puff = canvas.ellipse(*lump, size * 0.7, size * between(rng, 0.25, 0.42))
            canvas.paint(puff, white, alpha=0.45, down=(1.0, 0.93))
    if chance(rng, 0.3):
        radius = between(rng, 10, 16)
        figures.balloon(canvas, rng, between(rng, 0.1, 0.9) * canvas.width, radius + 8, radius)


def mountains(canvas: Canvas, rng: np.random.Generator, weather: Weather, foot: float) -> None:
    """Draw two ridges of mountains whose foot is at a height in design units."""
    brush, rock = canvas.brush(classes.MOUNTAIN), rgb(between(rng, 0.2, 0.7), 0.2, 0.5)
    for ridge, share in ((0, 0.5), (1, 0.25)):
        height, corners, x = between(rng, 28, 46) - 12 * ridge, [(0.0, foot + 4)], 0.0
        while x < canvas.width:
            corners.append((x, foot - height * between(rng, 0.3, 0.6)))
            corners.append((x + 16, foot - height * between(rng, 0.7, 1.0)))
            x += between(rng, 34, 60)
        corners += [(canvas.width, foot - height * 0.5), (canvas.width, foot + 4)]
        brush(canvas.polygon(corners), mix(rock, weather.haze, share), mottle=0.25, down=(1.1, 0.9))


def pond(canvas: Canvas, rng: np.random.Generator, weather: Weather, horizon: float) -> None:
    """Draw still water that mirrors the sky, with a bank around it."""
    x, y = between(rng, 0.1, 0.9) * canvas.width, horizon + between(rng, 22, 40)
    wide, deep = between(rng, 55, 95), between(rng, 11, 17)
    bank = canvas.ellipse(x, y - 0.5, wide + 2.5, deep + 2)
    canvas.paint(bank, rgb(0.1, 0.35, 0.4), alpha=0.45)
    water = mix(mix(weather.zenith, weather.haze, 0.45), rgb(0.5, 0.4, 0.5), 0.35)
    region = canvas.ellipse(x, y, wide, deep)
    canvas.brush(classes.WATER)(region, water, texture=_ripples, down=(1.12, 0.85))


def _ripples(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    lengths = np.mod(x * 0.045 + np.floor(y / 1.7) * 0.37, 1)
    return 1 + 0.1 * ((lengths < 0.45) & (np.mod(y, 1.7) < 0.8))


def path(canvas: Canvas, rng: np.random.Generator, view: View) -> None:
    """Draw a path of gravel that winds into the distance."""
    bend, lean = between(rng, -1.6, 1.6), between(rng, -1.2, 1.2)
    half = between(rng, 0.75, 1.05)
    left, right = [], []
    for step in range(25):
        depth = 1 + 0.15 * step
        middle = lean * (depth - 1) + bend * (depth - 1) * (depth - 2.4)
        left.append(view.point(middle - half, 0, depth))
        right.append(view.point(middle + half, 0, depth))
    gravel = rgb(between(rng, 0.06, 0.13), between(rng, 0.1, 0.4), between(rng, 0.55, 0.85))
    canvas.brush(classes.PATH)(
        canvas.polygon(left + right[::-1]), gravel, grain=0.3, mottle=0.15, down=(1.05, 0.95)
    )


def grass(canvas: Canvas, rng: np.random.Generator, top: float) -> None:
    """Cover everything below `top` with grass, from green to straw."""
    grass = rgb(between(rng, 0.13, 0.33), between(rng, 0.28, 0.5), between(rng, 0.45, 0.72))
    band(canvas, classes.GRASS, grass, top, canvas.height, blades=0.3, mottle=0.2, down=(1.1, 0.9))


def band(
    canvas: Canvas,
    value: int,
    color: Color,
    top: float,
    bottom: float,
    texture: Callable | None = None,
    **options: object,
) -> None:
    """Paint a level band of ground across the whole image."""
    region = canvas.rectangle(0, top, canvas.width, bottom)
    options = options or {"grain": 0.12, "mottle": 0.1}
    canvas.brush(value)(region, color, texture=texture, **options)


def strip(
    canvas: Canvas,
    view: View,
    value: int,
    color: Color,
    left: float,
    right: float,
    texture: Callable,
) -> None:
    """Paint a strip of ground that runs to the vanishing point."""
    corners = [view.point(left, 0, 1), view.point(left, 0, 30)]
    corners += [view.point(right, 0, 30), view.point(right, 0, 1)]
    region = canvas.polygon(corners)
    canvas.brush(value)(region, color, texture=texture, grain=0.12, mottle=0.12)


def stone(rng: np.random.Generator) -> Color:
    """Return the colour of paving stones."""
    return rgb(between(rng, 0.05, 0.15), between(rng, 0.04, 0.2), between(rng, 0.58, 0.82))


def asphalt(rng: np.random.Generator) -> Color:
    """Return the colour of a road, which overlaps that of paving."""
    return rgb(between(rng, 0.05, 0.7), between(rng, 0.02, 0.1), between(rng, 0.36, 0.58))


def slabs(view: View, metres: float) -> Callable:
    """Return a texture of paving slabs."""

    def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        across, depth = view.ground(x, y)
        ahead = np.broadcast_to(depth * 2.2, across.shape)
        joint = (np.mod(across / metres, 1) < 0.07) | (np.mod(ahead / metres, 1) < 0.09)
        checks = (np.floor(across / metres) + np.floor(ahead / metres)) % 2
        return 0.97 + 0.06 * checks - 0.16 * joint

    return texture


def lane(view: View) -> Callable:
    """Return a texture with a dashed line along the middle of the road."""

    def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        across, depth = view.ground(x, y)
        dash = (np.abs(across) < 0.09) & (np.mod(depth * 1.6, 1) < 0.55)
        return 1.0 + 0.75 * dash

    return texture
