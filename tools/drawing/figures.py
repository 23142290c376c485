"""What stands about in toy scenes, mostly out of doors: people, plants, lamps, benches.

Every function draws one object with its foot at (x, y) and a height, all in design units; the
colours come from ranges that classes share, so that shape tells them apart.
"""

from __future__ import annotations

import numpy as np

from tools.drawing import classes
from tools.drawing.canvas import Canvas, Color, between, chance, rgb

WHITE = np.ones(3, dtype=np.float32)
BLACK = np.full(3, 0.08, dtype=np.float32)
GLASS = rgb(0.57, 0.28, 0.42)
SKIN = tuple(rgb(0.06, s, v) for s, v in ((0.3, 0.95), (0.4, 0.85), (0.5, 0.65), (0.55, 0.45)))


def leaf_color(rng: np.random.Generator) -> Color:
    """Return the colour of leaves, from spring green to autumn red."""
    if chance(rng, 0.22):
        return rgb(between(rng, 0.02, 0.14), between(rng, 0.5, 0.7), between(rng, 0.55, 0.8))
    return rgb(between(rng, 0.18, 0.42), between(rng, 0.25, 0.6), between(rng, 0.34, 0.68))


def person(canvas: Canvas, rng: np.random.Generator, x: float, y: float, height: float) -> None:
    """Draw somebody who stands or walks."""
    brush, h = canvas.brush(classes.PERSON), height
    skin = SKIN[int(rng.integers(len(SKIN)))]
    hair = rgb(between(rng, 0.03, 0.12), 0.5, between(rng, 0.12, 0.6))
    top, bottom = canvas.color(rng), canvas.color(rng, value=(0.22, 0.7))
    stride = between(rng, 0.03, 0.1) * h
    canvas.shadow(x, y, 0.3 * h, 0.06 * h)
    for side in (-1, 1):
        foot = x + side * (stride + 0.02 * h)
        leg = [(x - side * 0.01 * h, y - 0.5 * h), (x + side * 0.14 * h, y - 0.5 * h)]
        leg += [(foot + side * 0.06 * h, y), (foot - side * 0.06 * h, y)]
        brush(canvas.polygon(leg), bottom, down=(1.05, 0.85))
        brush(canvas.ellipse(foot + 0.02 * h, y - 0.01 * h, 0.075 * h, 0.03 * h), BLACK)
    if chance(rng, 0.35):  # a skirt or a long coat
        hem = [(x - 0.13 * h, y - 0.5 * h), (x + 0.13 * h, y - 0.5 * h)]
        hem += [(x + 0.2 * h, y - 0.27 * h), (x - 0.2 * h, y - 0.27 * h)]
        brush(canvas.polygon(hem), top, down=(1.0, 0.85))
    for side in (-1, 1):
        hand = x + side * (0.21 * h + stride * 0.4)
        arm = [(x + side * 0.08 * h, y - 0.82 * h), (x + side * 0.17 * h, y - 0.8 * h)]
        arm += [(hand + side * 0.03 * h, y - 0.48 * h), (hand - side * 0.06 * h, y - 0.47 * h)]
        brush(canvas.polygon(arm), top, down=(0.95, 0.8))
        brush(canvas.ellipse(hand - side * 0.01 * h, y - 0.46 * h, 0.04 * h, 0.04 * h), skin)
    torso = canvas.rectangle(x - 0.145 * h, y - 0.84 * h, x + 0.145 * h, y - 0.47 * h, 0.07 * h)
    brush(torso, top, right=(1.08, 0.9))
    brush(canvas.rectangle(x - 0.04 * h, y - 0.88 * h, x + 0.04 * h, y - 0.81 * h), skin * 0.9)
    if chance(rng, 0.4):  # long hair falls behind the face
        back = canvas.rectangle(x - 0.1 * h, y - h, x + 0.1 * h, y - 0.79 * h, 0.07 * h)
        brush(back, hair)
    brush(canvas.ellipse(x, y - 0.91 * h, 0.085 * h, 0.1 * h), skin)
    cap = canvas.polygon([
        (x - 0.1 * h, y - 0.91 * h), (x - 0.09 * h, y - 0.99 * h), (x, y - 1.03 * h),
        (x + 0.09 * h, y - 0.99 * h), (x + 0.1 * h, y - 0.91 * h), (x, y - 0.965 * h),
    ])  # fmt: skip
    brush(cap, hair)


def tree(canvas: Canvas, rng: np.random.Generator, x: float, y: float, height: float) -> None:
    """Draw a round, tall or conical tree."""
    brush, h, leaves = canvas.brush(classes.TREE), height, leaf_color(rng)
    bark = rgb(0.07, between(rng, 0.2, 0.45), between(rng, 0.28, 0.5))
    canvas.shadow(x, y, 0.32 * h, 0.05 * h)
    trunk = [(x - 0.03 * h, y - 0.5 * h), (x + 0.03 * h, y - 0.5 * h)]
    brush(canvas.polygon([*trunk, (x + 0.045 * h, y), (x - 0.045 * h, y)]), bark, right=(1.2, 0.7))
    kind = int(rng.integers(4))
    if kind == 0:
        for step in range(4):
            low, wide = y - (0.12 + 0.2 * step) * h, (0.27 - 0.05 * step) * h
            tip = (x, low - (0.36 - 0.02 * step) * h)
            cone = canvas.polygon([(x - wide, low), tip, (x + wide, low)])
            brush(cone, leaves * (0.75 + 0.09 * step), right=(1.2, 0.8), mottle=0.5, grain=0.2)
        return
    wide, tall, middle = ((0.3, 0.26, 0.66), (0.17, 0.38, 0.6), (0.36, 0.22, 0.7))[kind - 1]
    for layer, shade in enumerate((0.78, 0.95, 1.12)):
        for part in range(7):
            # Lumps on a ring, whose upper left ones catch the light.
            angle = (part + 0.5 * layer) * 2 * np.pi / 7
            ring = (0.62, 0.5, 0.36)[layer]
            lump_x = x + (np.cos(angle) * ring - 0.12 * layer) * wide * h
            lump_y = y - (middle + 0.05 * layer) * h + np.sin(angle) * ring * tall * h
            size = between(rng, 0.36, 0.52) * (1 - 0.16 * layer)
            lump = canvas.ellipse(lump_x, lump_y, size * wide * h, size * tall * h * 1.1)
            brush(lump, leaves * shade, mottle=0.45, grain=0.2, down=(1.08, 0.9))
        if layer == 0:
            heart = canvas.ellipse(x, y - middle * h, 0.7 * wide * h, 0.7 * tall * h)
            brush(heart, leaves * 0.85, mottle=0.45, grain=0.2)


def plant(canvas: Canvas, rng: np.random.Generator, x: float, y: float, height: float) -> None:
    """Draw pointed leaves that fan out of a pot."""
    brush, h, leaves = canvas.brush(classes.PLANT), height, leaf_color(rng)
    canvas.shadow(x, y, 0.36 * h, 0.07 * h)
    spread, count = between(rng, 0.75, 1.1), 11
    for part in range(count):
        lean = (part * 5 % count) / (count - 1) * 2 - 1  # far leaves first would look combed
        angle = lean * spread
        reach = (0.66 - 0.16 * abs(lean)) * h * between(rng, 0.85, 1.1)
        across, up = np.sin(angle), np.cos(angle)
        foot = y - 0.3 * h
        tip = (x + across * reach, foot - up * reach)
        middle = (x + across * reach * 0.55, foot - up * reach * 0.6)
        side_x, side_y = up * 0.085 * h, across * 0.085 * h
        leaf = [(x, foot), (middle[0] - side_x, middle[1] - side_y)]
        leaf += [tip, (middle[0] + side_x, middle[1] + side_y)]
        brush(canvas.polygon(leaf), leaves * between(rng, 0.75, 1.2), down=(1.1, 0.85))
    pot = [(x - 0.19 * h, y - 0.34 * h), (x + 0.19 * h, y - 0.34 * h)]
    pot += [(x + 0.13 * h, y), (x - 0.13 * h, y)]
    clay = canvas.color(rng)
    brush(canvas.polygon(pot), clay, right=(1.12, 0.75))
    rim = canvas.rectangle(x - 0.21 * h, y - 0.37 * h, x + 0.21 * h, y - 0.29 * h, 0.02 * h)
    brush(rim, clay * 1.08, right=(1.12, 0.75))


def streetlight(canvas: Canvas, rng: np.random.Generator, x: float, y: float, h: float) -> None:
    """Draw a lantern on a sturdy post."""
    brush = canvas.brush(classes.STREETLIGHT)
    metal = canvas.color(rng, saturation=(0.1, 0.4), value=(0.18, 0.45))
    canvas.shadow(x, y, 0.14 * h, 0.03 * h)
    brush(canvas.rectangle(x - 0.035 * h, y - 0.8 * h, x + 0.035 * h, y), metal, right=(1.3, 0.7))
    foot = [(x - 0.035 * h, y - 0.16 * h), (x + 0.035 * h, y - 0.16 * h)]
    brush(canvas.polygon([*foot, (x + 0.07 * h, y), (x - 0.07 * h, y)]), metal)
    lamp = [(x - 0.13 * h, y - 0.95 * h), (x + 0.13 * h, y - 0.95 * h)]
    lamp += [(x + 0.07 * h, y - 0.76 * h), (x - 0.07 * h, y - 0.76 * h)]
    brush(canvas.polygon(lamp), rgb(0.12, 0.25, 1.0), down=(1.0, 0.85))
    roof = [(x - 0.16 * h, y - 0.94 * h), (x, y - 1.03 * h), (x + 0.16 * h, y - 0.94 * h)]
    brush(canvas.polygon(roof), metal)
    canvas.glow(x, y - 0.87 * h, 0.3 * h, rgb(0.11, 0.5, 1.0), 0.2)


def bench(canvas: Canvas, rng: np.random.Generator, x: float, y: float, height: float) -> None:
    """Draw a bench of boards with a back, seen from the front."""
    brush, h = canvas.brush(classes.BENCH), height
    wood = canvas.color(rng, saturation=(0.25, 0.6), value=(0.4, 0.8))
    canvas.shadow(x, y, 1.25 * h, 0.13 * h, 0.5)
    for side in (-0.85, 0.85):
        brush(canvas.rectangle(x + (side - 0.08) * h, y - h, x + (side + 0.08) * h, y), wood * 0.5)
    brush(canvas.rectangle(x - 1.05 * h, y - 0.4 * h, x + 1.05 * h, y - 0.2 * h), wood * 0.6)
    for low, high, shade in ((0.95, 0.76, 1.0), (0.73, 0.54, 0.95), (0.51, 0.34, 1.15)):
        board = canvas.rectangle(x - 1.1 * h, y - low * h, x + 1.1 * h, y - high * h, 0.03 * h)
        brush(board, wood * shade, mottle=0.2)


def fence(
    canvas: Canvas, rng: np.random.Generator, x0: float, x1: float, y: float, height: float
) -> None:
    """Draw a picket fence from x0 to x1, dense enough to hide what lies behind it."""
    brush, step = canvas.brush(classes.FENCE), max(height * 0.34, 4.0)
    wood = canvas.color(rng, saturation=(0.05, 0.45), value=(0.5, 0.95))
    brush(canvas.rectangle(x0, y - 0.85 * height, x1, y - 0.08 * height), wood * 0.6)
    for part in range(int((x1 - x0) / step)):
        left, right = x0 + part * step, x0 + (part + 0.74) * step
        picket = [(left, y), (left, y - 0.85 * height), ((left + right) / 2, y - height)]
        picket += [(right, y - 0.85 * height), (right, y)]
        brush(canvas.polygon(picket), wood * between(rng, 0.9, 1.08), down=(1.05, 0.85))
    for level in (0.3, 0.66):
        rail = canvas.rectangle(x0, y - (level + 0.07) * height, x1, y - level * height)
        brush(rail, wood * 0.84)


def balloon(canvas: Canvas, rng: np.random.Generator, x: float, y: float, r: float) -> None:
    """Draw a hot-air balloon: none of the 150 classes, so "other"."""
    brush, silk = canvas.brush(classes.OTHER), canvas.color(rng, (0.4, 0.7), (0.7, 0.95))
    skirt = [(x - 0.75 * r, y + 0.6 * r), (x + 0.75 * r, y + 0.6 * r)]
    brush(canvas.polygon([*skirt, (x + 0.2 * r, y + 1.35 * r), (x - 0.2 * r, y + 1.35 * r)]), silk)
    for share, shade in ((1.0, 1.0), (0.66, 1.25), (0.3, 0.95)):
        brush(canvas.ellipse(x, y, share * r, r), silk * shade, down=(1.1, 0.85))
    basket = canvas.rectangle(x - 0.2 * r, y + 1.5 * r, x + 0.2 * r, y + 1.8 * r, 0.05 * r)
    brush(basket, rgb(0.08, 0.5, 0.45))


def hydrant(canvas: Canvas, rng: np.random.Generator, x: float, y: float, h: float) -> None:
    """Draw a fire hydrant: none of the 150 classes, so "other"."""
    brush, paint = canvas.brush(classes.OTHER), canvas.color(rng, (0.4, 0.75), (0.55, 0.9))
    canvas.shadow(x, y, 0.5 * h, 0.09 * h)
    brush(canvas.rectangle(x - 0.24 * h, y - 0.8 * h, x + 0.24 * h, y), paint, right=(1.2, 0.7))
    brush(canvas.ellipse(x, y - 0.8 * h, 0.26 * h, 0.2 * h), paint, right=(1.25, 0.75))
    arms = canvas.rectangle(x - 0.4 * h, y - 0.62 * h, x + 0.4 * h, y - 0.42 * h, 0.05 * h)
    brush(arms, paint * 0.85)
    brush(canvas.rectangle(x - 0.34 * h, y - 0.1 * h, x + 0.34 * h, y, 0.03 * h), paint * 0.75)
