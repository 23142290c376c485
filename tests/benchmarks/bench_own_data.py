"""The report on a folder of one's own masks in colors, beside decoding those masks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from helpers.custom import find_pairs, labels_from_colors, report_pairs
from helpers.images import load_mask
from helpers.labels import Labels
from tests.benchmarks.measuring import Row, compare

CLASSES = 12


def rows(quick: bool) -> Iterator[Row]:
    size, count = ((192, 108), 2) if quick else ((1920, 1080), 12)
    labels = Labels([f"class {k}" for k in range(CLASSES)])
    colors = {tuple(color): label for label, color in enumerate(labels.palette.tolist())}
    with TemporaryDirectory() as folder:
        draw(Path(folder), size, count, labels.palette)
        pairs = find_pairs(Path(folder, "images"), Path(folder, "masks"))

        def convert(mask: Path, image: Path) -> Image.Image:
            return labels_from_colors(mask, colors, image=image)

        def decoded() -> None:
            for _, mask in pairs.pairs:
                load_mask(mask)

        for how, given in (("as they are", None), ("converted by their colors", convert)):
            yield from compare(
                f"report on images and masks in colors of {size[0]} × {size[1]}, {how}",
                partial(report_pairs, pairs, labels, given),
                {"decoding the masks alone": decoded},
                lambda report, _: None,  # two things; the first holds the second
                rounds=1 if quick else 3,
                unit="ms a mask",
                per=count,
                goal="≥ 0.2 ×",
            )


def draw(folder: Path, size: tuple[int, int], count: int, palette: np.ndarray) -> None:
    """So many images of noise, and masks of wavy tiles in the classes' colors."""
    random, (width, height) = np.random.default_rng(0), size
    y, x = np.mgrid[:height, :width]
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number in range(count):
        tiles = random.integers(0, CLASSES, (height // 40 + 2, width // 40 + 1))
        values = tiles[(y + (10 * np.sin(x / 30)).astype(int) + 10) // 40, x // 40]
        Image.fromarray(palette[values]).save(folder / "masks" / f"{number}.png")
        noise = random.integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(size).save(folder / "images" / f"{number}.jpg")
