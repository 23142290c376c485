"""Start-up: how long imports take, and the first image of a process that knows nothing yet."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from tests.benchmarks.measuring import REPOSITORY, Row, alone, faster, in_child

# What a module of ours imports from elsewhere, and nothing of ours.
_LIBRARIES = {
    "helpers.data": "import datasets",
    "helpers.training": "import torch\nfrom transformers import AutoConfig, Trainer",
}
_FIRST_IMAGE = """
import json
from helpers.images import load_image
from helpers.inference import load_model, segment
from helpers.profiles import get_profile
from tests.benchmarks.measuring import peak_memory

profile = get_profile("tiny")
image = load_image(profile.street_image)
label_map = segment(image, *load_model(profile.finetuned_model))
print(json.dumps([label_map.shape == image.size[::-1], len(set(label_map.flat)), peak_memory()]))
"""


def rows(quick: bool) -> Iterator[Row]:
    rounds = 1 if quick else 3
    yield alone(
        "import helpers, with Python's own start", seconds("import helpers", rounds), "s", "< 0.5 s"
    )
    light = {}
    for module in ("helpers.metrics",) if quick else modules():
        heavy = "bool({'torch', 'datasets'} & set(sys.modules))"
        code = f"import {module}, json, sys; print(json.dumps({heavy}))"
        if not in_child(code)[1]:
            light[module] = seconds(f"import {module}", rounds)
    slowest = max(light, key=light.get)
    yield alone(
        f"import of {len(light)} modules without torch and datasets, the slowest ({slowest})",
        light[slowest],
        "s",
        "< 0.5 s",
    )
    for module, libraries in _LIBRARIES.items():
        both = (f"import {module}", libraries)
        turns = [[in_child(code)[0] for code in both] for _ in range(rounds)]
        ours, theirs = map(statistics.median, zip(*turns, strict=True))
        yield faster(f"import {module}", "the libraries that it imports", ours, theirs, "s")
    first = [in_child(_FIRST_IMAGE) for _ in range(rounds)]
    for _, (right_size, labels, _) in first:
        assert right_size, "the label map is not of the image's size"
        assert labels > 3, f"the first image has {labels} labels"
    yield alone(
        "first image segmented, from the process's start",
        statistics.median(took for took, _ in first),
        "s",
        "< 15 s",
    )
    peak = statistics.median(printed[2] for _, printed in first)
    yield alone("first image segmented, peak memory", peak, "MB")


def modules() -> list[str]:
    """Every module of `helpers`."""
    paths = sorted((REPOSITORY / "helpers").rglob("*.py"))
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in paths]
    return [name for name in names if not name.endswith("__init__")]


def seconds(code: str, rounds: int) -> float:
    """The median time of a fresh process, after one that warms the disk's cache."""
    in_child(code)
    return statistics.median(in_child(code)[0] for _ in range(rounds))
