"""Drawn fruit on a table, and the folder that a camera and two annotators might leave behind.

Notebook 07 goes from that folder to a trained model. The images are drawn with the tools of the
toy scenes but have nothing else in common with them: other things, other classes, seen from above.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from tools.drawing.canvas import Canvas, Color, Point, Region, between, chance, rgb

CLASSES = ("background", "apple", "pear", "banana", "cherry")
"""In order of the masks' values."""

COLORS = {
    (0, 0, 0): 0,
    (255, 0, 0): 1,
    (0, 255, 0): 2,
    (255, 255, 0): 3,
    (255, 0, 255): 4,
}
"""RGB of the colour-coded masks, as their annotation tool exports them, to value."""

APPLE, PEAR, BANANA, CHERRY = range(1, 5)
_ORIENTATION = 0x0112
_DRAWN = ("fruit_", "first_try", "thumbs.db", ".")  # what file names begin with; "." is hidden
_STEM = rgb(0.08, 0.55, 0.3)


def draw_fruit(seed: int, size: tuple[int, int] = (256, 192)) -> tuple[Image.Image, Image.Image]:
    """Draw fruit on a table; the same seed draws the same.

    Args:
        seed: any integer from 0.
        size: (width, height) in pixels; the drawing is made for 4:3.

    Returns:
        The image (RGB) and its mask (mode L, values 0-4, see `CLASSES`).
    """
    rng = np.random.default_rng([seed, 7])
    canvas = Canvas(size, seed, hues=(0.08, 0.55, 0.95))
    _table(canvas, rng)
    light = 1 if chance(rng, 0.5) else -1
    taken: list[tuple[float, float, float]] = []
    for kind in rng.choice([APPLE, PEAR, BANANA, CHERRY], int(rng.integers(3, 8))):
        radius = between(rng, 26, 38) if kind != CHERRY else between(rng, 13, 18)
        if place := _free_place(canvas, rng, radius * (1.35 if kind == BANANA else 1.1), taken):
            _DRAWINGS[int(kind)](canvas, rng, *place, radius, light)
    warmth = rgb(0.1, between(rng, 0.0, 0.12), between(rng, 0.88, 1.06))
    image, mask, _ = canvas.finish(warmth, light, between(rng, 0.92, 1.08))
    return image, mask


def write_fruit_folder(folder: Path, count: int = 60) -> Path:
    """Write `images/` and `masks/` as a user might have them, flaws included.

    Most masks are greyscale PNGs whose values are classes. Some come from a tool that writes
    palette PNGs and some from one that codes classes by colour; a mask is missing, another has
    lost its image, one was exported at half size, one has a slip of the brush (value 7), a
    image was not copied to its end, and names differ in case and extension.

    Args:
        folder: files of an earlier call are replaced.
        count: images to draw, at least 40 for all the flaws.

    Returns:
        The folder.

    Raises:
        ValueError: there are other files in it, which stay.
    """
    images, masks = folder / "images", folder / "masks"
    for part in (images, masks):
        part.mkdir(parents=True, exist_ok=True)
    before = [*images.iterdir(), *masks.iterdir()]
    for file in before:
        if not file.name.lower().startswith(_DRAWN):
            raise ValueError(
                f"{file} was not drawn, and what is here is drawn anew at each call: keep your own "
                "images in another folder, and name it in FOLDER"
            )
    for file in before:
        file.unlink()
    for number in range(count):
        image, mask = draw_fruit(number)
        _write_image(images, number, image)
        _write_mask(masks, number, mask)
    draw_fruit(count)[1].save(masks / "first_try.png")
    (images / "Thumbs.db").write_bytes(b"what a file manager leaves behind")
    return folder


def _write_image(folder: Path, number: int, image: Image.Image) -> None:
    file = folder / f"fruit_{number:02}.jpg"
    exif = Image.Exif()
    if number % 10 == 4:
        file = folder / f"FRUIT_{number:02}.JPG"  # as cameras name them
    if number == 9:
        exif[_ORIENTATION] = 6  # the phone was held upright; stored lying on its side
        image = image.transpose(Image.Transpose.ROTATE_90)
    if number == 17:
        image = image.convert("L")  # a photograph in black and white
    image.save(file, quality=90, exif=exif)
    if number == 31:
        file.write_bytes(file.read_bytes()[:2500])


def _write_mask(folder: Path, number: int, mask: Image.Image) -> None:
    if number == 12:
        return
    if number == 37:
        mask = mask.resize((mask.width // 2, mask.height // 2), Image.Resampling.NEAREST)
    if number == 22:
        values = np.array(mask)
        values[60:64, 100:109] = 7
        mask = Image.fromarray(values)
    if number in range(25, 30):
        mask.putpalette([band for color in COLORS for band in color])
    elif number in range(32, 37):
        lookup = np.array(list(COLORS), dtype=np.uint8)
        mask = Image.fromarray(lookup[np.asarray(mask)])
    mask.save(folder / f"fruit_{number:02}.png")


def _table(canvas: Canvas, rng: np.random.Generator) -> None:
    """Boards, a cloth with stripes, or stone; sometimes a plate."""
    everywhere = canvas.rectangle(0, 0, canvas.width, canvas.height)
    kind = int(rng.integers(3))
    if kind == 0:
        wood = rgb(between(rng, 0.06, 0.1), between(rng, 0.3, 0.6), between(rng, 0.45, 0.8))
        edge = -between(rng, 0, 40)
        while edge < canvas.height:
            width = between(rng, 34, 52)
            board = canvas.rectangle(0, edge, canvas.width, edge + width - 0.8)
            canvas.paint(board, wood * between(rng, 0.9, 1.08), mottle=0.1, blades=0.35, grain=0.05)
            edge += width
    else:
        cloth = rgb(between(rng, 0, 1), between(rng, 0.03, 0.3), between(rng, 0.55, 0.95))
        canvas.paint(everywhere, cloth, grain=0.08 if kind == 1 else 0.2, mottle=0.15)
        if kind == 1:
            stripe = rgb(between(rng, 0, 1), between(rng, 0.2, 0.5), between(rng, 0.5, 0.9))
            step, start = between(rng, 26, 48), between(rng, 0, 26)
            for x in np.arange(start, canvas.width, step):
                canvas.paint(canvas.rectangle(x, 0, x + step / 4, canvas.height), stripe, alpha=0.6)
    if chance(rng, 0.4):
        x, y = between(rng, 70, canvas.width - 70), between(rng, 70, canvas.height - 60)
        plate = rgb(between(rng, 0, 1), between(rng, 0, 0.12), between(rng, 0.8, 0.95))
        canvas.shadow(x + 3, y + 5, 72, 70, 0.5)
        canvas.paint(canvas.ellipse(x, y, 62, 60), plate)
        canvas.paint(canvas.ellipse(x, y, 45, 43), plate * np.float32(0.94))


def _free_place(
    canvas: Canvas, rng: np.random.Generator, radius: float, taken: list[tuple[float, float, float]]
) -> Point | None:
    """A place that overlaps what lies there already by little, or None after some tries."""
    for _ in range(20):
        x = between(rng, 0.6 * radius, canvas.width - 0.6 * radius)
        y = between(rng, 0.6 * radius, canvas.height - 0.6 * radius)
        if all((x - a) ** 2 + (y - b) ** 2 > (0.85 * (radius + r)) ** 2 for a, b, r in taken):
            taken.append((x, y, radius))
            return x, y
    return None


def _apple(
    canvas: Canvas, rng: np.random.Generator, x: float, y: float, radius: float, light: int
) -> None:
    skin = rgb(
        between(rng, -0.03, 0.03) if chance(rng, 0.6) else between(rng, 0.17, 0.27),
        between(rng, 0.6, 0.85),
        between(rng, 0.6, 0.9),
    )
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    # Two dents, above and below, make the round outline an apple's.
    outline = radius * (1 - 0.16 * np.exp(-((angle - np.pi / 2) ** 2) / 0.12))
    outline *= 1 - 0.07 * np.exp(-((angle - 3 * np.pi / 2) ** 2) / 0.1)
    turned = _turned(outline * np.cos(angle) * 1.04, outline * np.sin(angle), between(rng, 0, 6.3))
    _body(canvas, turned, x, y, radius, skin, APPLE, light)
    dx, dy = 0.86 * turned[15]
    canvas.shadow(x + 0.75 * dx, y + 0.75 * dy, 0.3 * radius, 0.25 * radius, 0.5)
    _line(canvas, (x + 0.7 * dx, y + 0.7 * dy), (x + 1.25 * dx, y + 1.25 * dy), 1.6)


def _pear(
    canvas: Canvas, rng: np.random.Generator, x: float, y: float, radius: float, light: int
) -> None:
    skin = rgb(between(rng, 0.12, 0.24), between(rng, 0.5, 0.75), between(rng, 0.55, 0.82))
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    along = np.sin(angle)
    # Wide at one end and a neck at the other.
    across = np.cos(angle) * (0.62 - 0.33 * np.clip(along + 0.15, -1, 1))
    turn = between(rng, 0, 6.3)
    turned = _turned(radius * across, radius * 1.15 * along, turn)
    _body(canvas, turned, x, y, radius, skin, PEAR, light, spots=rng)
    dx, dy = turned[15]
    _line(canvas, (x + 0.95 * dx, y + 0.95 * dy), (x + 1.25 * dx, y + 1.25 * dy), 1.8)


def _banana(
    canvas: Canvas, rng: np.random.Generator, x: float, y: float, radius: float, light: int
) -> None:
    skin = rgb(between(rng, 0.12, 0.16), between(rng, 0.55, 0.8), between(rng, 0.8, 0.98))
    arc = np.linspace(-1.05, 1.05, 24)
    half = 0.24 * radius * np.clip(1 - (arc / 1.2) ** 6, 0.22, 1)
    bend = 1.25 * radius
    outer, inner = bend + half, bend - half
    across = np.concatenate([outer * np.sin(arc), (inner * np.sin(arc))[::-1]])
    along = np.concatenate([outer * np.cos(arc), (inner * np.cos(arc))[::-1]]) - 0.9 * bend
    turned = _turned(across, along, between(rng, 0, 6.3))
    _body(canvas, turned, x, y, 0.8 * radius, skin, BANANA, light, shine=False)
    middle = (turned[:24] + turned[24:][::-1]) / 2
    for start, end in pairwise(middle[3:21]):  # the edge that catches light
        _line(canvas, (x + start[0], y + start[1]), (x + end[0], y + end[1]), 1.4, skin * 1.1, 0.5)
    for tip in (middle[0], middle[-1]):
        canvas.paint(
            canvas.ellipse(x + tip[0], y + tip[1], 0.075 * radius, 0.075 * radius), _STEM, BANANA
        )


def _cherry(
    canvas: Canvas, rng: np.random.Generator, x: float, y: float, radius: float, light: int
) -> None:
    """A pair on one stalk. Stalks are no part of the mask: nobody outlines them by hand."""
    skin = rgb(between(rng, 0.94, 1.0), between(rng, 0.7, 0.9), between(rng, 0.4, 0.65))
    turn, size = between(rng, 0, 6.3), 0.62 * radius
    knot = np.array([x + 2.0 * radius * np.sin(turn), y - 2.0 * radius * np.cos(turn)])
    for side in (-1, 1):
        cx = x + side * 0.75 * radius * np.cos(turn)
        cy = y + side * 0.75 * radius * np.sin(turn)
        angle = np.linspace(0, 2 * np.pi, 30, endpoint=False)
        round_ = np.stack([size * np.cos(angle), size * np.sin(angle)], axis=1)
        _body(canvas, round_, cx, cy, size, skin, CHERRY, light)
        _line(canvas, (cx, cy), (float(knot[0]), float(knot[1])), 1.1, rgb(0.22, 0.6, 0.4))


_DRAWINGS = {APPLE: _apple, PEAR: _pear, BANANA: _banana, CHERRY: _cherry}


def _turned(across: np.ndarray, along: np.ndarray, turn: float) -> np.ndarray:
    """(n, 2) outline, turned by an angle in radians."""
    return np.stack(
        [
            across * np.cos(turn) - along * np.sin(turn),
            across * np.sin(turn) + along * np.cos(turn),
        ],
        axis=1,
    )


def _body(
    canvas: Canvas,
    outline: np.ndarray,
    x: float,
    y: float,
    radius: float,
    skin: Color,
    value: int,
    light: int,
    spots: np.random.Generator | None = None,
    shine: bool = True,
) -> None:
    """A fruit's shadow, skin, darker rim and highlight; lit from one side, `light` 1 = right."""

    def region(scale: float, dx: float = 0.0, dy: float = 0.0) -> Region:
        return canvas.polygon([(x + dx + scale * px, y + dy + scale * py) for px, py in outline])

    for offset, strength in ((5, 0.12), (4, 0.15), (2.5, 0.2)):
        shade = region(1.02, -light * offset, offset)
        canvas.paint(shade, rgb(0.7, 0.3, 0.1), alpha=strength)
    shaded = (0.75, 1.05) if light > 0 else (1.05, 0.75)
    canvas.paint(region(1.0), skin * np.float32(0.86), value, right=shaded, down=(1.02, 0.85))
    canvas.paint(region(0.86, light * 0.6, -0.6), skin, right=shaded, down=(1.05, 0.9), mottle=0.15)
    if spots is not None:
        for _ in range(14):
            px, py = outline[int(spots.integers(len(outline)))] * between(spots, 0.1, 0.8)
            canvas.paint(canvas.ellipse(x + px, y + py, 0.7, 0.7), skin * np.float32(0.7))
    if shine:
        canvas.glow(
            x + light * 0.3 * radius, y - 0.25 * radius, 0.3 * radius, np.ones(3, np.float32), 0.4
        )


def _line(
    canvas: Canvas,
    start: Point,
    end: Point,
    width: float,
    color: Color = _STEM,
    alpha: float = 1.0,
) -> None:
    """A straight stroke that leaves the mask as it is."""
    along = np.subtract(end, start)
    across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6) * width / 2
    corners = [start + across, start - across, end - across, end + across]
    canvas.paint(canvas.polygon([(float(a), float(b)) for a, b in corners]), color, alpha=alpha)
