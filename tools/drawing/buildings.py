"""Houses for toy scenes: fronts parallel to the image, and rows along a street."""

from __future__ import annotations

import itertools

import numpy as np

from tools.drawing import classes, figures
from tools.drawing.canvas import Canvas, Color, View, between, chance, mix, rgb


def facade(
    canvas: Canvas,
    rng: np.random.Generator,
    x0: float,
    x1: float,
    top: float,
    foot: float,
    light: int = 1,
) -> None:
    """Draw the front of a house, parallel to the image."""
    brush, stone = canvas.brush(classes.BUILDING), canvas.color(rng, (0.1, 0.5), (0.5, 0.92))
    if chance(rng, 0.45):
        roof = [(x0 - 3, top + 1), (x0 + 9, top - 15), (x1 - 9, top - 15), (x1 + 3, top + 1)]
        brush(canvas.polygon(roof), canvas.color(rng, (0.25, 0.5), (0.35, 0.6)), mottle=0.15)
    right = (1.05, 0.95) if light < 0 else (0.95, 1.05)
    wall = canvas.rectangle(x0, top, x1, foot)
    brush(wall, stone, right=right, texture=_bricks if chance(rng, 0.5) else None, grain=0.05)
    brush(canvas.rectangle(x0, top, x1, top + 3), stone * 1.1)
    columns, storeys = max(int((x1 - x0) / 15), 2), max(int((foot - top) / 23), 1)
    step_x, step_y = (x1 - x0) / columns, (foot - top) / storeys
    lit = between(rng, 0, 0.5)
    entrance = int(rng.integers(columns))
    for row in range(storeys):
        for column in range(columns):
            left, up = x0 + (column + 0.22) * step_x, top + (row + 0.25) * step_y
            is_entrance = row == storeys - 1 and column == entrance
            down = foot if is_entrance else up + 0.5 * step_y
            pane = rgb(0.11, 0.45, 0.95) if chance(rng, lit) else figures.GLASS
            frame = canvas.rectangle(left - 1, up - 1, left + 0.56 * step_x + 1, down + 1)
            brush(frame, stone * 1.15)
            inside = canvas.rectangle(left, up, left + 0.56 * step_x, down)
            brush(inside, stone * 0.45 if is_entrance else pane, down=(1.35, 0.8))


def _bricks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    row = np.floor(y / 3)
    joint = (np.mod(y, 3) < 0.5) | (np.mod(x + 3 * np.mod(row, 2), 6) < 0.5)
    return 1.02 - 0.12 * joint


def row_of_houses(
    canvas: Canvas,
    rng: np.random.Generator,
    view: View,
    haze: Color,
    light: int,
    side: int,
    kerb: float,
) -> None:
    """Draw the houses on one side of a street, the furthest first."""
    for far, near in itertools.pairwise((7.5, 5.2, 3.9, 2.9, 2.1, 1.5, 1.0)):
        if far < 4 and chance(rng, 0.12):
            x, y = view.point(side * (kerb + 1.2), 0, (far + near) / 2)
            figures.tree(canvas, rng, x, y, 5.5 * view.lens / near)
            continue
        height = between(rng, 4.2, 8.5)
        stone = canvas.color(rng, (0.1, 0.5), (0.5, 0.92))
        stone = mix(stone, haze, max(0.0, (far - 3) * 0.07))
        _house_end(canvas, view, side, kerb, near, height, stone)
        _house_side(canvas, rng, view, side * kerb, (near, far), height,
                    stone * (1.0 if side != light else 0.8))  # fmt: skip


def _house_end(
    canvas: Canvas,
    view: View,
    side: int,
    kerb: float,
    depth: float,
    height: float,
    stone: Color,
) -> None:
    inner, outer = view.point(side * kerb, height, depth), view.point(side * (kerb + 7), 0, depth)
    region = canvas.rectangle(min(inner[0], outer[0]), inner[1], max(inner[0], outer[0]), outer[1])
    canvas.brush(classes.BUILDING)(region, stone * 0.9, texture=_bricks, down=(1.05, 0.9))


def _house_side(
    canvas: Canvas,
    rng: np.random.Generator,
    view: View,
    across: float,
    depths: tuple[float, float],
    height: float,
    stone: Color,
) -> None:
    brush, (near, far) = canvas.brush(classes.BUILDING), depths

    def quad(t0: float, t1: float, low: float, high: float) -> list[tuple[float, float]]:
        # Shares of a wall are even in metres, and metres are even in 1 / size, that is in depth.
        d0, d1 = near + (far - near) * t0, near + (far - near) * t1
        lower = [view.point(across, low, d0), view.point(across, low, d1)]
        return [*lower, view.point(across, high, d1), view.point(across, high, d0)]

    brush(canvas.polygon(quad(0, 1, 0, height)), stone, down=(1.05, 0.92), grain=0.05)
    brush(canvas.polygon(quad(0, 1, height - 0.3, height)), stone * 1.12)
    lit, columns = between(rng, 0, 0.5), 3
    for storey in range(int(height / 1.5)):
        low = 0.5 + 1.5 * storey
        for column in range(columns):
            t0 = (column + 0.24) / columns
            pane = rgb(0.11, 0.45, 0.95) if chance(rng, lit) else figures.GLASS
            is_entrance = storey == 0 and column == 1
            opening = quad(t0, t0 + 0.52 / columns, 0 if is_entrance else low, low + 0.85)
            brush(canvas.polygon(opening), stone * 0.5 if is_entrance else pane)
