"""Toy scenes out of doors: a street that runs away, a street seen across, a park."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tools.drawing import buildings, classes, figures, landscape, vehicles
from tools.drawing.canvas import Canvas, View, between, chance, rgb


def draw_street(canvas: Canvas, rng: np.random.Generator, weather: landscape.Weather) -> None:
    """Draw a street along or across the line of sight."""
    if chance(rng, 0.55):
        _street_along(canvas, rng, weather)
    else:
        _street_across(canvas, rng, weather)


def draw_park(canvas: Canvas, rng: np.random.Generator, weather: landscape.Weather) -> None:
    """Draw a lawn with a path, trees, benches and often a pond, before hills."""
    horizon = between(rng, 76, 96)
    landscape.sky(canvas, rng, weather, horizon)
    if chance(rng, 0.75):
        landscape.mountains(canvas, rng, weather, horizon)
    if chance(rng, 0.3):
        left = between(rng, 0, 0.75) * canvas.width
        for part in range(2):
            start = left + 36 * part
            top = horizon - between(rng, 28, 50)
            buildings.facade(canvas, rng, start, start + 34, top, horizon + 3)
    landscape.grass(canvas, rng, horizon)
    tree_line = int(rng.integers(2, 6))
    for part in range(tree_line):
        x = (part + between(rng, 0, 1)) / tree_line * canvas.width
        figures.tree(canvas, rng, x, horizon + between(rng, 3, 8), between(rng, 32, 56))
    view = View(between(rng, 0.3, 0.7) * canvas.width, horizon - 6, 40.0)
    if chance(rng, 0.65):
        landscape.pond(canvas, rng, weather, horizon)
    landscape.path(canvas, rng, view)
    if chance(rng, 0.6):
        start, y = between(rng, -0.2, 0.45) * canvas.width, horizon + between(rng, 14, 22)
        length = between(rng, 0.4, 0.7) * canvas.width
        figures.fence(canvas, rng, start, start + length, y, between(rng, 17, 23))
    _stand(canvas, rng, view, [
        (figures.bench, 31.0, 0.7), (figures.bench, 33.0, 0.3), (figures.tree, 125.0, 0.8),
        (figures.tree, 110.0, 0.5), (figures.person, 66.0, 0.75), (figures.person, 62.0, 0.45),
        (figures.streetlight, 118.0, 0.6), (figures.plant, 54.0, 0.45), (figures.plant, 50.0, 0.3),
    ], nearest=1.15)  # fmt: skip


def _street_along(canvas: Canvas, rng: np.random.Generator, weather: landscape.Weather) -> None:
    view = View(between(rng, 0.32, 0.68) * canvas.width, between(rng, 70, 96), 46.0)
    half_road, pavement = between(rng, 2.6, 3.8), between(rng, 1.7, 2.6)
    kerb = half_road + pavement
    landscape.sky(canvas, rng, weather, view.y)
    if chance(rng, 0.55):
        landscape.mountains(canvas, rng, weather, view.y)
    landscape.grass(canvas, rng, view.y)
    landscape.strip(
        canvas,
        view,
        classes.SIDEWALK,
        landscape.stone(rng),
        -kerb,
        kerb,
        landscape.slabs(view, 1.1),
    )
    landscape.strip(
        canvas,
        view,
        classes.ROAD,
        landscape.asphalt(rng),
        -half_road,
        half_road,
        landscape.lane(view),
    )
    built = (True, True) if chance(rng, 0.5) else ((True, False), (False, True))[weather.side > 0]
    for side, is_built in zip((-1, 1), built, strict=True):
        if is_built:
            buildings.row_of_houses(canvas, rng, view, weather.haze, weather.side, side, kerb)
            continue
        for depth in (6.0, 3.9, 2.7):
            x, y = view.point(side * (kerb + between(rng, 0.8, 2.5)), 0, depth)
            figures.tree(canvas, rng, x, y, between(rng, 5, 7.5) * view.lens / depth)
    things: list[tuple[float, float, float, Callable]] = []
    for side in (-1, 1):
        for base in (4.6, 3.0, 1.9, 1.35):
            depth = base * between(rng, 0.92, 1.12)
            if chance(rng, 0.52):
                is_bus = chance(rng, 0.3) and depth > 1.5
                draw, height = (vehicles.bus_end, 3.0) if is_bus else (vehicles.car_end, 1.5)
                things.append((depth, side * half_road * 0.52, height, draw))
        for depth in (3.6, 2.6, 1.9, 1.45):
            draw, height, probability = (
                (figures.person, 1.72, 0.5), (figures.streetlight, 3.8, 0.5),
                (figures.tree, 4.6, 0.5), (figures.plant, 1.4, 0.5), (figures.hydrant, 0.8, 0.5),
            )[int(rng.choice(5, p=(0.36, 0.24, 0.14, 0.14, 0.12)))]  # fmt: skip
            if chance(rng, probability):
                place = side * (half_road + between(rng, 0.3, 0.85) * pavement)
                things.append((depth * between(rng, 0.9, 1.1), place, height, draw))
    for depth, across, height, draw in sorted(things, key=lambda thing: -thing[0]):
        x, y = view.point(across, 0, depth)
        draw(canvas, rng, x, y, height * view.lens / depth)


def _street_across(canvas: Canvas, rng: np.random.Generator, weather: landscape.Weather) -> None:
    ground = between(rng, 112, 126)
    kerb, far_kerb = ground + between(rng, 14, 22), canvas.height - between(rng, -2, 16)
    landscape.sky(canvas, rng, weather, ground)
    if chance(rng, 0.6):
        landscape.mountains(canvas, rng, weather, ground - 25)
    landscape.grass(canvas, rng, ground - 27)
    x = between(rng, -40, 0)
    while x < canvas.width:
        width = between(rng, 46, 84)
        if chance(rng, 0.72):
            top = ground - between(rng, 58, 112)
            buildings.facade(canvas, rng, x, x + width, top, ground, weather.side)
        else:
            figures.tree(canvas, rng, x + width / 2, ground - 6, between(rng, 66, 92))
            if chance(rng, 0.75):
                figures.fence(canvas, rng, x, x + width, ground + 1, between(rng, 18, 24))
        x += width
    view = View(canvas.width / 2, ground - 30, 30.0)
    landscape.band(
        canvas,
        classes.SIDEWALK,
        landscape.stone(rng),
        ground,
        canvas.height,
        landscape.slabs(view, 0.8),
    )
    landscape.band(canvas, classes.ROAD, landscape.asphalt(rng), kerb, far_kerb)
    canvas.paint(canvas.rectangle(0, kerb, canvas.width, kerb + 1.5), rgb(0, 0, 0.3), alpha=0.4)
    _stand(canvas, rng, view, [
        (figures.person, 50.0, 0.55), (figures.person, 48.0, 0.45), (figures.plant, 38.0, 0.4),
        (figures.streetlight, 88.0, 0.55), (figures.tree, 90.0, 0.35), (figures.bench, 22.0, 0.4),
        (figures.hydrant, 20.0, 0.3),
    ], y=(ground + 5, kerb - 1))  # fmt: skip
    lane, first = (far_kerb - kerb) * 0.5, between(rng, -0.1, 0.25) * canvas.width
    for row, start in enumerate((first, first + between(rng, 30, 90))):
        x, y = start, kerb + lane * (0.55 + 0.95 * row)
        while x < canvas.width + 20 and chance(rng, 0.8):
            is_bus = chance(rng, 0.32)
            height = between(rng, 46, 52) if is_bus else between(rng, 25, 31)
            half = height * (1.3 if is_bus else 1.5)
            (vehicles.bus_side if is_bus else vehicles.car_side)(canvas, rng, x + half, y, height)
            x += 2 * half + between(rng, 8, 70)


def _stand(
    canvas: Canvas,
    rng: np.random.Generator,
    view: View,
    choices: list[tuple[Callable, float, float]],
    *,
    nearest: float = 1.0,
    y: tuple[float, float] | None = None,
) -> None:
    """Stand each of (function, height at depth 1, probability) somewhere, the furthest first."""
    places = []
    for draw, height, probability in choices:
        if chance(rng, probability):
            if y is None:
                foot = view.point(0, 0, between(rng, nearest, 2.1))[1]
                height *= (foot - view.y) / (canvas.height - view.y)
            else:
                foot = between(rng, *y)
            places.append((foot, between(rng, 0.05, 0.95) * canvas.width, height, draw))
    for foot, x, height, draw in sorted(places, key=lambda place: place[0]):
        draw(canvas, rng, x, foot, height * between(rng, 0.9, 1.1))
