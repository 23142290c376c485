"""Empty toy rooms, and what belongs to them: windows with curtains, doors, rugs, the light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.drawing import classes
from tools.drawing.canvas import Canvas, Color, Texture, View, between, chance, mix, rgb

Rng = np.random.Generator


@dataclass(frozen=True)
class RoomLight:
    """The light indoors: its colour, the side it comes from, contrast, and the view outside."""

    tint: Color
    side: int
    contrast: float
    outside: Color
    lamps_lit: bool


@dataclass(frozen=True)
class Room:
    """An empty room: the camera, its walls in metres, and where the back wall is."""

    view: View
    left: float
    right: float
    height: float
    back: float

    def on_wall(self, across: float, up: float) -> tuple[float, float]:
        """Return the design coordinates of a place on the back wall, given in metres."""
        return self.view.point(across, up, self.back)

    @property
    def metre(self) -> float:
        """Design units per metre at the back wall."""
        return self.view.lens / self.back


def draw_light(rng: Rng) -> RoomLight:
    """Return daylight, warm lamplight or the blue of a late hour."""
    tint, contrast, outside, lit = (
        ((1.0, 1.0, 0.98), 1.04, rgb(0.56, 0.25, 0.98), False),
        ((0.95, 0.98, 1.02), 0.95, rgb(0.58, 0.06, 0.92), False),
        ((1.04, 0.93, 0.8), 1.0, rgb(0.05, 0.4, 0.98), True),
        ((0.8, 0.8, 0.92), 0.95, rgb(0.64, 0.5, 0.35), True),
    )[int(rng.choice(4, p=(0.42, 0.2, 0.23, 0.15)))]
    side = 1 if chance(rng, 0.5) else -1
    return RoomLight(np.array(tint, dtype=np.float32), side, contrast, outside, lit)


def empty_room(canvas: Canvas, rng: Rng, light: RoomLight) -> Room:
    """Paint ceiling, floor and walls."""
    view = View(between(rng, 0.4, 0.6) * canvas.width, between(rng, 80, 94), 84.0)
    back = between(rng, 1.8, 2.1)
    room = Room(view, -between(rng, 1.9, 2.6), between(rng, 1.9, 2.6), between(rng, 2.4, 2.7), back)
    paint = canvas.color(rng, (0.06, 0.42), (0.6, 0.93))
    corners = {
        (x, y): room.on_wall(x, y) for x in (room.left, room.right) for y in (0.0, room.height)
    }
    width, height = canvas.width, canvas.height
    ceiling = mix(paint, np.ones(3, dtype=np.float32), between(rng, 0.3, 0.8)) * 0.96
    everything = canvas.rectangle(0, 0, width, height)
    canvas.brush(classes.CEILING)(everything, ceiling, down=(1.0, 0.7))
    floor = canvas.rectangle(0, corners[room.left, 0.0][1], width, height)
    wood = canvas.color(rng, (0.1, 0.4), (0.42, 0.82))
    texture = _boards(view) if chance(rng, 0.65) else _tiles(view)
    canvas.brush(classes.FLOOR)(floor, wood, texture=texture, mottle=0.15, down=(0.88, 1.08))
    wall, stripes = canvas.brush(classes.WALL), between(rng, 0.03, 0.07) * chance(rng, 0.35)

    def wallpaper(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 1 - stripes * (np.mod(x, 8) < 4) + 0 * y

    for x, side in ((room.left, -1), (room.right, 1)):
        shape = [corners[x, 0.0], corners[x, room.height]]
        shape += [view.point(x, room.height, 0.6), view.point(x, 0, 0.6)]
        shade = paint * (0.92 if side != light.side else 0.78)
        gradient = (1.0, 1.12) if side < 0 else (1.12, 1.0)
        wall(canvas.polygon(shape), shade, right=gradient)
    region = canvas.rectangle(*corners[room.left, room.height], *corners[room.right, 0.0])
    right = (0.92, 1.06) if light.side > 0 else (1.06, 0.92)
    wall(region, paint, texture=wallpaper, right=right, down=(1.02, 0.95))
    left, foot = corners[room.left, 0.0]
    skirting = canvas.rectangle(left, foot - 3.5, corners[room.right, 0.0][0], foot)
    wall(skirting, mix(paint, np.ones(3, dtype=np.float32), 0.6))
    return room


def window(canvas: Canvas, rng: Rng, room: Room, light: RoomLight, x: float, half: float) -> None:
    """Draw a window and mostly its curtains."""
    brush, top, sill = canvas.brush(classes.WINDOWPANE), between(rng, 2.1, 2.25), 0.95
    (x0, y0), (x1, y1) = room.on_wall(x - half, top), room.on_wall(x + half, sill)
    frame = mix(canvas.color(rng), np.ones(3, dtype=np.float32), 0.55)
    brush(canvas.rectangle(x0 - 2, y0 - 2, x1 + 2, y1 + 2), frame)
    brush(canvas.rectangle(x0, y0, x1, y1), light.outside, down=(0.92, 1.08))
    green = rgb(between(rng, 0.2, 0.4), 0.35, 0.55)
    brush(canvas.rectangle(x0, y1 - 0.22 * (y1 - y0), x1, y1), mix(green, light.outside, 0.4))
    bar = (x0 + x1) / 2
    brush(canvas.rectangle(bar - 1.2, y0, bar + 1.2, y1), frame)
    cross = y0 + 0.42 * (y1 - y0)
    brush(canvas.rectangle(x0, cross - 1, x1, cross + 1), frame)
    brush(canvas.rectangle(x0 - 4, y1 + 1, x1 + 4, y1 + 4), frame * 0.92)
    if chance(rng, 0.72):
        cloth, low = canvas.color(rng), (0.05 if chance(rng, 0.6) else 0.8)
        foot = room.on_wall(x, low)[1]
        for side, edge in ((-1, x0), (1, x1)):
            _curtain(canvas, cloth, edge, side, 0.6 * half * room.metre, y0 - 6, foot)


def door(canvas: Canvas, rng: Rng, room: Room, x: float) -> None:
    """Draw a panelled door in the back wall."""
    brush, wood = canvas.brush(classes.DOOR), canvas.color(rng, (0.08, 0.55), (0.45, 0.93))
    (x0, y0), (x1, y1) = room.on_wall(x - 0.42, 2.05), room.on_wall(x + 0.42, 0)
    brush(canvas.rectangle(x0 - 2, y0 - 2, x1 + 2, y1), wood * 0.7)
    brush(canvas.rectangle(x0, y0, x1, y1), wood, mottle=0.12, down=(1.04, 0.92))
    for low, high in ((0.08, 0.4), (0.47, 0.92)):
        for column in (0.14, 0.55):
            left, top = x0 + column * (x1 - x0), y1 - high * (y1 - y0)
            panel = canvas.rectangle(left, top, left + 0.31 * (x1 - x0), y1 - low * (y1 - y0))
            brush(panel, wood * 0.84, down=(0.95, 1.1))
    knob = x0 + 0.1 * (x1 - x0)
    brush(canvas.ellipse(knob, y1 - 0.44 * (y1 - y0), 1.6, 1.6), rgb(0.12, 0.6, 0.75))


def rug(canvas: Canvas, rng: Rng, room: Room, x: float) -> None:
    """Draw a rug with a border, or a round one."""
    brush, view = canvas.brush(classes.RUG), room.view
    near, far = between(rng, 1.08, 1.18), room.back - between(rng, 0.25, 0.5)
    half, cloth, border = between(rng, 0.8, 1.25), canvas.color(rng), canvas.color(rng)
    if chance(rng, 0.3):
        (cx, y0), (_, y1) = view.point(x, 0, far), view.point(x, 0, near)
        middle, deep, wide = (y0 + y1) / 2, (y1 - y0) / 2, half * view.lens / (near + 0.25)
        for share, color in ((1.0, border), (0.86, cloth), (0.5, border * 1.08), (0.38, cloth)):
            region = canvas.ellipse(cx, middle, share * wide, share * deep)
            brush(region, color, grain=0.25)
        return
    for inset, color in ((0.0, border), (0.1, cloth), (0.24, border), (0.29, cloth * 1.06)):
        d0, d1 = near + inset * 0.5, far - inset * 0.7
        quad = [view.point(x - half + inset, 0, d0), view.point(x - half + inset, 0, d1)]
        quad += [view.point(x + half - inset, 0, d1), view.point(x + half - inset, 0, d0)]
        brush(canvas.polygon(quad), color, grain=0.25)


def _curtain(
    canvas: Canvas, cloth: Color, edge: float, side: int, wide: float, top: float, foot: float
) -> None:
    brush = canvas.brush(classes.CURTAIN)
    inner, outer = edge - side * 0.6 * wide, edge + side * max(0.55 * wide, 5)

    def folds(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 1 + 0.2 * np.sin(x * 1.35) + 0 * y

    shape = [(outer, top), (inner, top), (inner + side * 0.25 * wide, (top + foot) / 2)]
    shape += [(inner + side * 0.1 * wide, foot), (outer, foot)]
    brush(canvas.polygon(shape), cloth, texture=folds, down=(1.05, 0.88))
    rail = sorted((inner - side * 2, outer + side * 2))
    brush(canvas.rectangle(rail[0], top - 1.5, rail[1], top + 1), cloth * 0.5)


def _boards(view: View) -> Texture:
    """Return a texture of floor boards that run away from the camera."""

    def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        across, depth = view.ground(x, y)
        board = np.floor(across / 0.24)
        ends = np.mod(depth * 1.3 + 0.37 * board, 1) < 0.03
        tone = np.mod(board * 0.618 + np.floor(depth * 1.3 + 0.37 * board) * 0.41, 1)
        joint = (np.mod(across / 0.24, 1) < 0.06) | ends
        return 0.93 + 0.14 * tone - 0.17 * joint

    return texture


def _tiles(view: View) -> Texture:
    """Return a texture of square floor tiles in two tones."""

    def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        across, depth = view.ground(x, y)
        ahead = depth * 2.0
        joint = (np.mod(across / 0.5, 1) < 0.04) | (np.mod(ahead / 0.5, 1) < 0.05)
        checks = (np.floor(across / 0.5) + np.floor(ahead / 0.5)) % 2
        return 0.95 + 0.12 * checks - 0.12 * joint

    return texture
