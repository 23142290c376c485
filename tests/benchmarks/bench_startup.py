"""Start-up: the first image of a process that knows nothing yet."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from tests.benchmarks.measuring import Row, alone, in_child

_FIRST_IMAGE = """
import json, psutil, time
from helpers.images import load_image
from helpers.inference import load_model, segment
from helpers.profiles import get_profile
from tests.benchmarks.measuring import peak_memory

profile = get_profile("tiny")
image = load_image(profile.street_image)
label_map = segment(image, *load_model(profile.finetuned_model))
assert label_map.shape == image.size[::-1], "the label map is not of the image's size"
assert len(set(label_map.flat)) > 3, "the first image has too few labels"
print(json.dumps([time.time() - psutil.Process().create_time(), peak_memory()]))
"""


def rows(quick: bool) -> Iterator[Row]:
    first = [in_child(_FIRST_IMAGE) for _ in range(1 if quick else 3)]
    seconds, peak = map(statistics.median, zip(*first, strict=True))
    yield alone("first image segmented, from the process's start", seconds, "s", "< 15 s")
    yield alone("first image segmented, peak memory", peak, "MB")
