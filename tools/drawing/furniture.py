"""What stands and hangs in toy rooms, drawn from the front with a little depth."""

from __future__ import annotations

import numpy as np

from tools.drawing import classes
from tools.drawing.canvas import Brush, Canvas, Color, View, between, chance, mix, rgb
from tools.drawing.figures import BLACK, WHITE

Rng = np.random.Generator


def box(
    canvas: Canvas,
    brush: Brush,
    view: View,
    across: tuple[float, float],
    up: tuple[float, float],
    depths: tuple[float, float],
    color: Color,
    **options: object,
) -> None:
    """Draw a cuboid in metres; depths are (near, far). Options are those of `Canvas.paint`."""
    (left, right), (low, high), (near, far) = across, up, depths
    for x, away in ((left, left), (right, -right)):
        if away > 0:  # this side faces the camera
            side = [view.point(x, low, near), view.point(x, low, far)]
            side += [view.point(x, high, far), view.point(x, high, near)]
            brush(canvas.polygon(side), color * 0.78)
    top = [view.point(left, high, near), view.point(right, high, near)]
    top += [view.point(right, high, far), view.point(left, high, far)]
    if top[2][1] < top[0][1]:
        brush(canvas.polygon(top), color * 1.16)
    corner, opposite = view.point(left, high, near), view.point(right, low, near)
    brush(canvas.rectangle(*corner, *opposite), color, **{"down": (1.03, 0.88), **options})


def bed(canvas: Canvas, rng: Rng, view: View, x: float, back: float) -> None:
    """Draw a bed whose head stands at the wall at depth `back`, with its pillows."""
    brush, half, near = canvas.brush(classes.BED), between(rng, 0.8, 1.0), back - 0.75
    wood, cover = canvas.color(rng, (0.2, 0.55), (0.35, 0.75)), canvas.color(rng)
    shade = view.point(x, 0, near)
    canvas.shadow(shade[0], shade[1], 1.25 * half * view.lens / near, 9)
    left, top = view.point(x - half - 0.06, between(rng, 1.0, 1.3), back)
    right, foot = view.point(x + half + 0.06, 0.2, back)
    brush(canvas.rectangle(left, top, right, foot, 4), wood, mottle=0.2)
    box(canvas, brush, view, (x - half, x + half), (0.08, 0.34), (near, back), wood * 0.8)
    sheet = (x - half + 0.02, x + half - 0.02), (0.3, 0.58), (near + 0.02, back)
    box(canvas, brush, view, *sheet, rgb(0.1, 0.05, 0.93))
    fold = back - 0.27
    stripes = between(rng, 0.0, 0.18) * chance(rng, 0.5)

    def quilt(px: np.ndarray, py: np.ndarray) -> np.ndarray:
        metres, _ = view.ground(px, py)
        return 1 - stripes * (np.mod(metres * 3, 1) < 0.5)

    box(canvas, brush, view, (x - half - 0.04, x + half + 0.04), (0.16, 0.62), (near - 0.02, fold),
        cover, texture=quilt)  # fmt: skip
    pillow_color = canvas.color(rng, (0.05, 0.5), (0.6, 0.95))
    for side in (-0.47, 0.47):
        px, py = view.point(x + side * half, 0.6, back - 0.12)
        cushion(canvas, rng, px, py + 2, 0.36 * view.lens / back * half, pillow_color)


def cushion(
    canvas: Canvas, rng: Rng, x: float, y: float, half: float, color: Color | None = None
) -> None:
    """Draw a plump cushion, wider than high, that stands on (x, y)."""
    brush = canvas.brush(classes.CUSHION)
    color = canvas.color(rng) if color is None else color
    canvas.shadow(x + 0.2 * half, y - 0.5 * half, 1.3 * half, 0.9 * half, 0.3)
    bulge, high = 0.82 * half, 1.15 * half
    outline = [(x - half, y), (x, y - 0.06 * high), (x + half, y), (x + bulge, y - 0.5 * high)]
    outline += [(x + half, y - 1.1 * high), (x, y - high), (x - half, y - 1.1 * high)]
    brush(canvas.polygon([*outline, (x - bulge, y - 0.5 * high)]), color, down=(1.15, 0.8))
    seam = canvas.ellipse(x, y - 0.55 * high, 0.5 * half, 0.3 * high)
    brush(seam, color * 1.1, down=(1.12, 0.95))


def sofa(canvas: Canvas, rng: Rng, view: View, x: float, back: float) -> None:
    """Draw a sofa with its back to the wall, and cushions on it."""
    brush, half, near = canvas.brush(classes.SOFA), between(rng, 0.85, 1.15), back - 0.42
    cloth, seats = canvas.color(rng), 2 + int(chance(rng, 0.5))
    foot = view.point(x, 0, near)
    canvas.shadow(foot[0], foot[1], 1.2 * half * view.lens / near, 8, 0.55)
    left, top = view.point(x - half, 0.92, back - 0.08)
    right, low = view.point(x + half, 0.1, back - 0.08)
    brush(canvas.rectangle(left, top, right, low, 4), cloth * 0.9, down=(1.12, 0.75))
    box(canvas, brush, view, (x - half, x + half), (0.08, 0.3), (near, back - 0.08), cloth * 0.8)
    width = 2 * half / seats
    for part in range(seats):
        start = x - half + part * width
        box(canvas, brush, view, (start + 0.02, start + width - 0.02), (0.27, 0.46),
            (near, back - 0.12), cloth)  # fmt: skip
    for side in (-1, 1):
        arm = sorted((x + side * half, x + side * (half + 0.24)))
        box(canvas, brush, view, (arm[0], arm[1]), (0.06, 0.64), (near - 0.02, back - 0.08), cloth)
    for side in (-0.66, 0.0, 0.66):
        if chance(rng, 0.55):
            px, py = view.point(x + side * half, 0.47, back - 0.25)
            cushion(canvas, rng, px, py, 0.25 * view.lens / back)


def table(
    canvas: Canvas, rng: Rng, view: View, x: float, half: float, high: float,
    depths: tuple[float, float],
) -> None:  # fmt: skip
    """Draw a table: a slab on four sturdy legs."""
    brush, wood = canvas.brush(classes.TABLE), canvas.color(rng, (0.2, 0.55), (0.35, 0.85))
    near, far = depths
    foot = view.point(x, 0, (near + far) / 2)
    canvas.shadow(foot[0], foot[1], 1.1 * half * view.lens / near, 0.35 * half * view.lens, 0.45)
    for depth in (far, near + 0.03):
        for side in (-1, 1):
            leg = sorted((x + side * half * 0.95, x + side * (half * 0.95 - 0.13)))
            box(canvas, brush, view, (leg[0], leg[1]), (0, high), (depth, depth + 0.03), wood * 0.7)
    top = (x - half, x + half), (high - 0.14, high), depths
    box(canvas, brush, view, *top, wood, mottle=0.15)


def chair(canvas: Canvas, rng: Rng, x: float, y: float, h: float, color: Color) -> None:
    """Draw a chair from behind: a slatted back, a seat, splayed legs; h is its height."""
    brush = canvas.brush(classes.CHAIR)
    canvas.shadow(x, y, 0.36 * h, 0.08 * h)
    for side in (-1, 1):
        leg = [(x + side * 0.14 * h, y - 0.46 * h), (x + side * 0.25 * h, y - 0.46 * h)]
        leg += [(x + side * 0.29 * h, y), (x + side * 0.2 * h, y)]
        brush(canvas.polygon(leg), color * 0.72)
    brush(canvas.rectangle(x - 0.22 * h, y - 0.2 * h, x + 0.22 * h, y - 0.13 * h), color * 0.6)
    seat = [(x - 0.25 * h, y - 0.52 * h), (x + 0.25 * h, y - 0.52 * h)]
    seat += [(x + 0.29 * h, y - 0.38 * h), (x - 0.29 * h, y - 0.38 * h)]
    brush(canvas.polygon(seat), color * 1.1, down=(1.0, 0.8))
    back = canvas.rectangle(x - 0.25 * h, y - h, x + 0.25 * h, y - 0.46 * h, 0.06 * h)
    brush(back, color * 0.62)
    for part in range(4):
        left = x + (-0.25 + 0.1367 * part) * h
        brush(canvas.rectangle(left, y - 0.98 * h, left + 0.09 * h, y - 0.46 * h), color)
    brush(canvas.rectangle(x - 0.26 * h, y - h, x + 0.26 * h, y - 0.86 * h, 0.05 * h),
          color * 1.08)  # fmt: skip


def cabinet(canvas: Canvas, rng: Rng, view: View, x: float, half: float, high: float,
            back: float) -> None:  # fmt: skip
    """Draw a cabinet with panelled doors and knobs against the wall."""
    brush, wood = canvas.brush(classes.CABINET), canvas.color(rng, (0.1, 0.55), (0.45, 0.92))
    near = back - 0.2
    foot = view.point(x, 0, near)
    canvas.shadow(foot[0], foot[1], 1.15 * half * view.lens / near, 6)
    box(canvas, brush, view, (x - half, x + half), (0, high), (near, back), wood, mottle=0.12)
    columns, rows = max(round(half / 0.25), 2), max(round(high / 0.5), 1)
    for column in range(columns):
        for row in range(rows):
            start, low = x - half + 2 * half * column / columns, high * row / rows
            inner = view.point(start + 0.05, low + high / rows - 0.06, near)
            outer = view.point(start + 2 * half / columns - 0.05, low + 0.07, near)
            brush(canvas.rectangle(*inner, *outer), wood * 0.72)
            panel = canvas.rectangle(inner[0] + 1, inner[1] + 1, outer[0], outer[1])
            brush(panel, wood * 1.06, mottle=0.12)
            middle = (inner[1] + outer[1]) / 2
            knob = outer[0] - 3 if column % 2 == 0 else inner[0] + 3
            brush(canvas.ellipse(knob, middle, 1.4, 1.4), rgb(0.12, 0.5, 0.35))


def bookcase(canvas: Canvas, rng: Rng, view: View, x: float, half: float, high: float,
             back: float) -> None:  # fmt: skip
    """Draw open shelves full of books."""
    brush, wood = canvas.brush(classes.BOOKCASE), canvas.color(rng, (0.1, 0.55), (0.35, 0.85))
    near = back - 0.14
    box(canvas, brush, view, (x - half, x + half), (0, high), (near, back), wood)
    shelves = max(round(high / 0.42), 2)
    for shelf in range(shelves):
        low, room = 0.08 + (high - 0.1) * shelf / shelves, (high - 0.1) / shelves - 0.07
        left, top = view.point(x - half + 0.06, low + room, near)
        right, foot = view.point(x + half - 0.06, low, near)
        brush(canvas.rectangle(left, top, right, foot), wood * 0.38)
        while left < right - 2.5:
            thick = between(rng, 2.2, 4.6)
            book = canvas.rectangle(left, foot - (foot - top) * between(rng, 0.62, 0.95),
                                    min(left + thick, right), foot)  # fmt: skip
            brush(book, rgb(between(rng, 0, 1), between(rng, 0.2, 0.6), between(rng, 0.4, 0.9)))
            left += thick + 0.5 + 5 * chance(rng, 0.08)


def floor_lamp(canvas: Canvas, rng: Rng, x: float, y: float, h: float, lit: bool) -> None:
    """Draw a lamp with a wide shade on a sturdy stand; h is its height."""
    brush, metal = canvas.brush(classes.LAMP), canvas.color(rng, (0.1, 0.5), (0.25, 0.5))
    shade = canvas.color(rng, (0.05, 0.4), (0.7, 0.95))
    wide = max(0.19 * h, 13.0)
    tall = max(0.26 * h, 17.0)
    canvas.shadow(x, y, 0.6 * wide, 2.5)
    brush(canvas.rectangle(x - 2.0, y - h + 2, x + 2.0, y), metal, right=(1.4, 0.7))
    brush(canvas.ellipse(x, y - 1, 0.5 * wide, 2.6), metal)
    cone = [(x - 0.6 * wide, y - h), (x + 0.6 * wide, y - h)]
    cone += [(x + wide, y - h + tall), (x - wide, y - h + tall)]
    color = mix(shade, rgb(0.12, 0.3, 1.0), 0.6) if lit else shade
    brush(canvas.polygon(cone), color, down=(0.92, 1.08), right=(1.05, 0.92))
    if lit:
        canvas.glow(x, y - h + tall, 3.2 * wide, rgb(0.1, 0.5, 1.0), 0.28)


def television(canvas: Canvas, x: float, y: float, half: float) -> None:
    """Draw a flat, dark television that stands on (x, y)."""
    brush, high = canvas.brush(classes.TELEVISION), 1.18 * half
    brush(canvas.rectangle(x - 0.3 * half, y - 0.12 * high, x + 0.3 * half, y), BLACK * 1.5)
    brush(canvas.rectangle(x - half, y - high, x + half, y - 0.06 * high, 1.5), BLACK * 0.8)
    left, right = x - half + 1.6, x + half - 1.6
    screen = canvas.rectangle(left, y - high + 1.6, right, y - 0.06 * high - 2)
    brush(screen, rgb(0.6, 0.3, 0.2), down=(1.5, 0.8))
    glare = [(left + 0.5 * half, y - high + 1.6), (left + half, y - high + 1.6)]
    glare += [(left + 0.45 * half, y - 0.06 * high - 2), (left, y - 0.06 * high - 2)]
    brush(canvas.polygon(glare), rgb(0.6, 0.25, 0.32))


def painting(canvas: Canvas, rng: Rng, x: float, y: float, half: float, high: float) -> None:
    """Draw a framed landscape or a framed abstract, centred at (x, y)."""
    brush, frame = canvas.brush(classes.PAINTING), canvas.color(rng, (0.2, 0.6), (0.2, 0.6))
    canvas.shadow(x + 1.5, y + 2, 1.35 * half, 0.8 * high, 0.3)
    brush(canvas.rectangle(x - half, y - high / 2, x + half, y + high / 2), frame)
    edge, foot = half - 2.2, y + high / 2 - 2.2
    brush(canvas.rectangle(x - edge, y - high / 2 + 2.2, x + edge, foot), WHITE * 0.93)
    edge, top, foot = edge - 1.8, y - high / 2 + 4, foot - 1.8
    brush(canvas.rectangle(x - edge, top, x + edge, foot), canvas.color(rng), down=(1.2, 1.0))
    if chance(rng, 0.5):
        brush(canvas.ellipse(x + 0.3 * edge, top + 0.35 * (foot - top), 0.22 * edge, 0.22 * edge),
              canvas.color(rng, value=(0.8, 1.0)))  # fmt: skip
        hills = [(x - edge, y + 0.1 * high), (x - 0.4 * edge, y - 0.08 * high)]
        hills += [(x, y + 0.12 * high), (x + 0.5 * edge, y - 0.02 * high)]
        hills += [(x + edge, y + 0.1 * high), (x + edge, foot), (x - edge, foot)]
        brush(canvas.polygon(hills), canvas.color(rng, value=(0.3, 0.6)))
    else:
        for _ in range(3):
            px, py = x + between(rng, -0.5, 0.5) * edge, y + between(rng, -0.2, 0.2) * high
            brush(canvas.ellipse(px, py, 0.34 * edge, 0.14 * high), canvas.color(rng))


def globe(canvas: Canvas, rng: Rng, x: float, y: float, h: float) -> None:
    """Draw a globe on a stand: none of the 150 classes, so "other"."""
    brush, sea = canvas.brush(classes.OTHER), canvas.color(rng, (0.3, 0.6), (0.45, 0.8))
    canvas.shadow(x, y, 0.4 * h, 0.08 * h)
    foot = [(x - 0.06 * h, y - 0.4 * h), (x + 0.06 * h, y - 0.4 * h)]
    brush(canvas.polygon([*foot, (x + 0.25 * h, y), (x - 0.25 * h, y)]), rgb(0.08, 0.5, 0.4))
    brush(canvas.ellipse(x, y - 0.65 * h, 0.35 * h, 0.35 * h), sea, down=(1.25, 0.75))
    land = rgb(0.2, 0.3, 0.75)
    for px, py, size in ((-0.12, -0.74, 0.12), (0.12, -0.58, 0.1), (0.06, -0.84, 0.07)):
        brush(canvas.ellipse(x + px * h, y + py * h, size * h, 0.8 * size * h), land)


def guitar(canvas: Canvas, rng: Rng, x: float, y: float, h: float) -> None:
    """Draw a guitar that leans on the wall: none of the 150 classes, so "other"."""
    brush, wood = canvas.brush(classes.OTHER), canvas.color(rng, (0.4, 0.7), (0.45, 0.85))
    canvas.shadow(x, y, 0.25 * h, 0.05 * h)
    brush(canvas.rectangle(x - 0.035 * h, y - h, x + 0.035 * h, y - 0.4 * h), wood * 0.45)
    brush(canvas.rectangle(x - 0.06 * h, y - 1.03 * h, x + 0.06 * h, y - 0.9 * h), wood * 0.4)
    brush(canvas.ellipse(x, y - 0.2 * h, 0.2 * h, 0.19 * h), wood, right=(1.15, 0.85))
    brush(canvas.ellipse(x, y - 0.43 * h, 0.145 * h, 0.13 * h), wood, right=(1.12, 0.88))
    brush(canvas.ellipse(x, y - 0.34 * h, 0.07 * h, 0.07 * h), wood * 0.3)
