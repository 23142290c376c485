"""Start-up: how long imports take, and the first image of a process that knows nothing yet."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from tests.benchmarks.measuring import REPOSITORY, Row, alone, faster, in_child

# What `helpers.training` imports from elsewhere, and nothing of ours.
_LIBRARIES = """
import argparse, numpy, torch, torchvision.transforms.v2, tqdm.auto, transformers.utils.notebook
from transformers import AutoConfig, AutoModelForSemanticSegmentation, Trainer, TrainingArguments
"""
_FIRST_IMAGE = """
import json
from helpers.images import load_image
from helpers.inference.predict import load_model, segment
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
    light, heavy = {}, []
    for module in ("helpers.metrics", "helpers.training") if quick else modules():
        code = f"import {module}, json, sys; print(json.dumps('torch' in sys.modules))"
        if in_child(code)[1]:
            heavy.append(module)
        else:
            light[module] = seconds(f"import {module}", rounds)
    slowest = max(light, key=light.get)
    yield alone(
        f"import of the {len(light)} modules that do without torch, the slowest ({slowest})",
        light[slowest],
        "s",
        "< 0.5 s",
    )
    if "helpers.training" in heavy:
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(in_child("import helpers.training")[0])
            theirs.append(in_child(_LIBRARIES)[0])
        ours, theirs = statistics.median(ours), statistics.median(theirs)
        yield faster("import helpers.training", "the libraries that it imports", ours, theirs, "s")
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
    """Every module of `helpers`, but for the scripts that made the bundled data and models."""
    made_once = {"build_dataset", "pretrain", "train_panoptic", "figures"}
    paths = sorted((REPOSITORY / "helpers").rglob("*.py"))
    names = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in paths]
    return [
        name
        for name in names
        if not name.endswith("__init__") and name.split(".")[-1] not in made_once
    ]


def seconds(code: str, rounds: int) -> float:
    """The median time of a fresh process, after one that warms the disk's cache."""
    in_child(code)
    return statistics.median(in_child(code)[0] for _ in range(rounds))
