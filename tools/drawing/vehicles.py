"""Cars and buses for toy streets, each from the side and from one end.

Every function draws one vehicle with its wheels at (x, y) and a height, all in design units.
"""

from __future__ import annotations

import numpy as np

from tools.drawing import classes
from tools.drawing.canvas import Brush, Canvas, chance, mix, rgb
from tools.drawing.figures import BLACK, GLASS, WHITE


def car_side(canvas: Canvas, rng: np.random.Generator, x: float, y: float, height: float) -> None:
    """Draw a car that drives across the image."""
    brush, h, paint = canvas.brush(classes.CAR), height, canvas.color(rng)
    face = 1 if chance(rng, 0.5) else -1
    canvas.shadow(x, y, 1.55 * h, 0.14 * h, 0.6)

    def across(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x + face * px * h, y - py * h) for px, py in points]

    roof = across([(-1.05, 0.55), (-0.72, 0.98), (0.32, 1.0), (0.78, 0.58)])
    brush(canvas.polygon(roof), paint * 0.92)
    brush(canvas.rectangle(x - 1.4 * h, y - 0.64 * h, x + 1.4 * h, y - 0.14 * h, 0.2 * h), paint,
          down=(1.15, 0.78))  # fmt: skip
    for window in (
        [(-0.88, 0.6), (-0.65, 0.91), (-0.2, 0.92), (-0.2, 0.6)],
        [(-0.12, 0.6), (-0.12, 0.92), (0.28, 0.92), (0.6, 0.6)],
    ):
        brush(canvas.polygon(across(window)), GLASS, down=(1.6, 0.9))
    front, rear = x + face * 1.32 * h, x - face * 1.32 * h
    brush(canvas.ellipse(front, y - 0.48 * h, 0.08 * h, 0.07 * h), rgb(0.14, 0.2, 1.0))
    brush(canvas.ellipse(rear, y - 0.48 * h, 0.06 * h, 0.08 * h), rgb(0.0, 0.75, 0.8))
    for side in (-0.85, 0.82):
        _wheel(canvas, brush, x + side * h, y, 0.27 * h)


def car_end(canvas: Canvas, rng: np.random.Generator, x: float, y: float, height: float) -> None:
    """Draw a car from behind or from the front."""
    brush, h, paint = canvas.brush(classes.CAR), height, canvas.color(rng)
    lights = rgb(0.0, 0.8, 0.85) if chance(rng, 0.5) else rgb(0.14, 0.2, 1.0)
    canvas.shadow(x, y, 0.8 * h, 0.13 * h, 0.65)
    for side in (-1, 1):
        wheel = canvas.rectangle(x + (side * 0.47 - 0.12) * h, y - 0.3 * h,
                                 x + (side * 0.47 + 0.12) * h, y, 0.05 * h)  # fmt: skip
        brush(wheel, BLACK)
    cabin = [(x - 0.54 * h, y - 0.55 * h), (x - 0.4 * h, y - h), (x + 0.4 * h, y - h)]
    brush(canvas.polygon([*cabin, (x + 0.54 * h, y - 0.55 * h)]), paint * 0.95)
    pane = [(x - 0.42 * h, y - 0.58 * h), (x - 0.33 * h, y - 0.93 * h)]
    pane += [(x + 0.33 * h, y - 0.93 * h), (x + 0.42 * h, y - 0.58 * h)]
    brush(canvas.polygon(pane), GLASS, down=(1.7, 0.9))
    body = canvas.rectangle(x - 0.63 * h, y - 0.6 * h, x + 0.63 * h, y - 0.13 * h, 0.13 * h)
    brush(body, paint, down=(1.12, 0.75))
    bumper = canvas.rectangle(x - 0.6 * h, y - 0.25 * h, x + 0.6 * h, y - 0.13 * h, 0.05 * h)
    brush(bumper, paint * 0.55)
    for side in (-1, 1):
        brush(canvas.ellipse(x + side * 0.48 * h, y - 0.43 * h, 0.1 * h, 0.07 * h), lights)
    brush(canvas.rectangle(x - 0.15 * h, y - 0.4 * h, x + 0.15 * h, y - 0.3 * h), WHITE * 0.9)


def bus_side(canvas: Canvas, rng: np.random.Generator, x: float, y: float, height: float) -> None:
    """Draw a bus that drives across the image: a long box with a row of windows."""
    brush, h, paint = canvas.brush(classes.BUS), height, canvas.color(rng)
    canvas.shadow(x, y, 1.35 * h, 0.08 * h, 0.6)
    brush(canvas.rectangle(x - 1.25 * h, y - h, x + 1.25 * h, y - 0.1 * h, 0.1 * h), paint,
          down=(1.12, 0.8))  # fmt: skip
    stripe = canvas.rectangle(x - 1.25 * h, y - 0.42 * h, x + 1.25 * h, y - 0.34 * h)
    brush(stripe, mix(paint, WHITE, 0.6))
    for part in range(6):
        left = x + (-1.17 + 0.39 * part) * h
        door = part == 4
        pane = canvas.rectangle(left, y - 0.88 * h, left + 0.34 * h,
                                y - (0.15 if door else 0.48) * h, 0.03 * h)  # fmt: skip
        brush(pane, GLASS, down=(1.6, 0.9))
        if door:
            brush(canvas.rectangle(left + 0.16 * h, y - 0.88 * h, left + 0.19 * h, y - 0.15 * h),
                  paint * 0.7)  # fmt: skip
    for side in (-0.8, 0.72):
        _wheel(canvas, brush, x + side * h, y, 0.17 * h)


def bus_end(canvas: Canvas, rng: np.random.Generator, x: float, y: float, height: float) -> None:
    """Draw a bus from behind or from the front: an upright box with a wide pane."""
    brush, h, paint = canvas.brush(classes.BUS), height, canvas.color(rng)
    canvas.shadow(x, y, 0.5 * h, 0.06 * h, 0.65)
    for side in (-1, 1):
        brush(canvas.rectangle(x + (side * 0.28 - 0.07) * h, y - 0.15 * h,
                               x + (side * 0.28 + 0.07) * h, y), BLACK)  # fmt: skip
    brush(canvas.rectangle(x - 0.4 * h, y - h, x + 0.4 * h, y - 0.07 * h, 0.06 * h), paint,
          down=(1.1, 0.8))  # fmt: skip
    brush(canvas.rectangle(x - 0.28 * h, y - 0.96 * h, x + 0.28 * h, y - 0.86 * h), BLACK)
    brush(canvas.rectangle(x - 0.2 * h, y - 0.93 * h, x + 0.2 * h, y - 0.89 * h),
          rgb(0.11, 0.7, 0.95))  # fmt: skip
    brush(canvas.rectangle(x - 0.35 * h, y - 0.83 * h, x + 0.35 * h, y - 0.43 * h, 0.03 * h), GLASS,
          down=(1.7, 0.9))  # fmt: skip
    for side in (-1, 1):
        brush(canvas.ellipse(x + side * 0.3 * h, y - 0.22 * h, 0.06 * h, 0.045 * h),
              rgb(0.12, 0.35, 1.0))  # fmt: skip


def _wheel(canvas: Canvas, brush: Brush, x: float, y: float, radius: float) -> None:
    brush(canvas.ellipse(x, y - radius, radius, radius), BLACK * 1.6)
    brush(canvas.ellipse(x, y - radius, 0.55 * radius, 0.55 * radius), rgb(0.6, 0.04, 0.65))
