"""Toy scenes indoors: a box in perspective with furniture along its walls."""

from __future__ import annotations

import numpy as np

from tools.drawing import figures, furniture, interiors
from tools.drawing.canvas import Canvas, Color, between, chance

Rng = np.random.Generator


def draw_living_room(canvas: Canvas, rng: Rng, light: interiors.RoomLight) -> None:
    """Draw a room with a sofa, and a low table and a television where there is space."""
    room = interiors.empty_room(canvas, rng, light)
    view, back = room.view, room.back
    middle = between(rng, -0.35, 0.35)
    has_television = chance(rng, 0.55)
    _furnish_wall(canvas, rng, room, light, middle, 0.0 if has_television else 0.6)
    if chance(rng, 0.75):
        interiors.rug(canvas, rng, room, between(rng, -0.3, 0.3))
    if has_television:
        furniture.cabinet(canvas, rng, view, middle, 0.75, 0.5, back)
        x, y = view.point(middle, 0.5, back - 0.12)
        furniture.television(canvas, x, y + 1, 0.55 * room.metre)
        side = 1 if chance(rng, 0.5) else -1
        _corner(canvas, rng, room, light, middle - side * 1.6)
        furniture.sofa(canvas, rng, view, side * 1.3 + middle, back - 0.5)
        _visitor(canvas, rng, room, 0.4, -side)
    else:
        furniture.sofa(canvas, rng, view, middle, back)
        _corner(canvas, rng, room, light, middle + 1.75)
        _corner(canvas, rng, room, light, middle - 1.75)
        if chance(rng, 0.65):
            near = between(rng, 1.22, 1.35)
            furniture.table(canvas, rng, view, middle + between(rng, -0.4, 0.4),
                            between(rng, 0.42, 0.6), 0.42, (near, near + 0.26))  # fmt: skip
        _visitor(canvas, rng, room, 0.45)


def draw_bedroom(canvas: Canvas, rng: Rng, light: interiors.RoomLight) -> None:
    """Draw a room with a bed between a lamp and a cupboard."""
    room = interiors.empty_room(canvas, rng, light)
    middle = between(rng, -0.5, 0.5)
    _furnish_wall(canvas, rng, room, light, middle, 0.65)
    if chance(rng, 0.65):
        interiors.rug(canvas, rng, room, middle + between(rng, -0.5, 0.5))
    sides = (1, -1) if chance(rng, 0.5) else (-1, 1)
    for side in sides:
        x = middle + side * 1.45
        if chance(rng, 0.55):
            furniture.cabinet(canvas, rng, room.view, x, 0.34, 0.5, room.back)
            if chance(rng, 0.75):
                px, py = room.view.point(x, 0.5, room.back - 0.1)
                furniture.floor_lamp(canvas, rng, px, py, 0.7 * room.metre, light.lamps_lit)
        else:
            _corner(canvas, rng, room, light, middle + side * 1.6)
    furniture.bed(canvas, rng, room.view, middle, room.back)
    _visitor(canvas, rng, room, 0.35)


def draw_dining_room(canvas: Canvas, rng: Rng, light: interiors.RoomLight) -> None:
    """Draw a room with a table and chairs around it."""
    room = interiors.empty_room(canvas, rng, light)
    middle = between(rng, -0.3, 0.3)
    _furnish_wall(canvas, rng, room, light, middle, 0.55)
    if chance(rng, 0.5):
        interiors.rug(canvas, rng, room, middle)
    for side in (-1, 1):
        _corner(canvas, rng, room, light, middle + side * 1.7)
    wood, half = canvas.color(rng, (0.15, 0.6), (0.35, 0.85)), between(rng, 0.75, 1.0)
    near = between(rng, 1.3, 1.45)
    for side in (-0.5, 0.5):
        if chance(rng, 0.85):
            _chair(canvas, rng, room, middle + side * half, near + 0.45, wood)
    furniture.table(canvas, rng, room.view, middle, half, 0.74, (near, near + 0.34))
    for side in (-1.45, -0.45, 0.45, 1.45):
        if chance(rng, 0.55):
            _chair(canvas, rng, room, middle + side * half, near - between(rng, 0.03, 0.1), wood)
    _visitor(canvas, rng, room, 0.3)


def _furnish_wall(
    canvas: Canvas,
    rng: Rng,
    room: interiors.Room,
    light: interiors.RoomLight,
    middle: float,
    above: float,
) -> None:
    """Hang something above the middle of the back wall, and put doors and windows beside it."""
    if chance(rng, above + 0.2):
        if chance(rng, 0.55):
            count = 1 + int(chance(rng, 0.45))
            for part in range(count):
                spot = room.on_wall(middle + (part - (count - 1) / 2) * 0.95, 1.75)
                half = between(rng, 0.3, 0.4) * room.metre * (1.25 if count == 1 else 1.0)
                furniture.painting(canvas, rng, *spot, half, between(rng, 0.55, 0.78) * room.metre)
        else:
            interiors.window(canvas, rng, room, light, middle, between(rng, 0.5, 0.75))
    for side, wall in ((-1, room.left), (1, room.right)):
        space = abs(wall - middle)
        if space < 1.75:
            continue
        x = middle + side * between(rng, 1.4, min(1.65, space - 0.35))
        pick = int(rng.choice(4, p=(0.33, 0.32, 0.2, 0.15)))
        if pick == 0:
            interiors.door(canvas, rng, room, x)
        elif pick == 1:
            interiors.window(canvas, rng, room, light, x, between(rng, 0.35, 0.45))
        elif pick == 2:
            half = between(rng, 0.24, 0.34) * room.metre
            spot = room.on_wall(x, between(rng, 1.6, 1.8))
            furniture.painting(canvas, rng, *spot, half, between(rng, 0.6, 0.85) * room.metre)


def _corner(
    canvas: Canvas, rng: Rng, room: interiors.Room, light: interiors.RoomLight, x: float
) -> None:
    """Fill a place beside the main piece of furniture, or leave it empty."""
    view, depth = room.view, room.back - 0.12
    x = min(max(x, room.left + 0.45), room.right - 0.45)
    px, py = view.point(x, 0, depth)
    pick = int(rng.choice(7, p=(0.19, 0.18, 0.25, 0.14, 0.09, 0.09, 0.06)))
    if pick == 0:
        furniture.floor_lamp(canvas, rng, px, py, between(rng, 1.45, 1.7) * room.metre,
                             light.lamps_lit)  # fmt: skip
    elif pick == 1:
        figures.plant(canvas, rng, px, py, between(rng, 1.1, 1.5) * room.metre)
    elif pick == 2:
        high = between(rng, 1.3, 2.0)
        furniture.bookcase(canvas, rng, view, x, between(rng, 0.38, 0.48), high, room.back)
    elif pick == 3:
        high = between(rng, 0.8, 1.9)
        furniture.cabinet(canvas, rng, view, x, between(rng, 0.38, 0.48), high, room.back)
    elif pick == 4:
        furniture.globe(canvas, rng, px, py, 0.75 * room.metre)
    elif pick == 5:
        furniture.guitar(canvas, rng, px, py, 1.1 * room.metre)


def _chair(
    canvas: Canvas, rng: Rng, room: interiors.Room, x: float, depth: float, wood: Color
) -> None:
    px, py = room.view.point(x, 0, depth)
    furniture.chair(canvas, rng, px, py, 0.95 * room.view.lens / depth, wood)


def _visitor(
    canvas: Canvas, rng: Rng, room: interiors.Room, probability: float, side: int = 0
) -> None:
    """Let somebody stand in the foreground, at the left (-1), at the right (1) or at either (0)."""
    if chance(rng, probability):
        side = side or (1 if chance(rng, 0.5) else -1)
        depth = between(rng, 1.35, 1.6)
        x, y = room.view.point(side * between(rng, 1.1, 1.6), 0, depth)
        figures.person(canvas, rng, x, y, between(rng, 1.6, 1.8) * room.view.lens / depth)
