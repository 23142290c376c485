"""Images too large for one pass: seconds a megapixel, and memory, as the image grows."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.measuring import Row, alone, in_child

_WINDOWS = """
import json, time
from helpers.images import load_image
from helpers.inference import load_model, segment_windows
from helpers.profiles import get_profile
from tests.benchmarks.measuring import peak_memory

profile = get_profile("tiny")
model, image_processor = load_model(profile.finetuned_model)
image = load_image(profile.street_image).resize(({side}, {side}))
segment_windows(image.crop((0, 0, 300, 300)), model, image_processor, window=128)
begin = time.perf_counter()
segment_windows(image, model, image_processor, window=128)
print(json.dumps([time.perf_counter() - begin, peak_memory()]))
"""


def rows(quick: bool) -> Iterator[Row]:
    for side in (300,) if quick else (1000, 2000, 4000):
        seconds, peak = in_child(_WINDOWS.format(side=side))
        name = f"segment_windows, windows of 128, {side} × {side}"
        yield alone(name, seconds / (side**2 / 1e6), "s a megapixel")
        yield alone(f"{name}, peak memory", peak, "MB")
