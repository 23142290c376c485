"""Measure the tables and the curve of notebook 10 with the bundled photographs.

`python -m tools.photos.heads features photographs splits decays` measures all of them.

The encoder stays as it is: its features of every photograph are computed once, and only a linear
layer is trained, on the split `train`. The split `validation` shows the same campus, and `test`
other places. `heads.json` holds the rows of each experiment; a score is a list, with one mean IoU,
at the photographs' own size, for each seed or draw.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate
from transformers import AutoConfig, AutoImageProcessor, AutoModelForSemanticSegmentation

from helpers.data import load_scenes
from helpers.inference import upsampled_argmax
from helpers.labels import IGNORE_INDEX
from helpers.metrics import ConfusionMatrix
from helpers.profiles import BUNDLED, REPOSITORY, get_profile
from tools.photos.encoder import pad_symmetrically

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

FILE = REPOSITORY / "tools" / "photos" / "heads.json"
STRIDE = 8
"""The features of all strides are joined at this one."""
SEEDS = (0, 1, 2)
DECAY = 1.0
"""Of the linear layer's weights: 496 numbers for few photographs."""
DECAYS = (0.01, 0.1, 1.0, 3.0)
COUNTS = (1, 2, 4, 8, 12)
DRAWS = 4

Maps = list[torch.Tensor]
"""Features of one image, (1, channels, height, width) at each stride."""
Head = Callable[[Maps], torch.Tensor]
"""From an image's features to (1, num_labels, height, width) logits."""


# --- photographs and features ---------------------------------------------------------------------


@cache
def photographs(folder: str) -> tuple[Any, Any]:
    """The three splits of a data set, train, validation and test, and its labels."""
    profile = replace(get_profile("tiny"), dataset=folder)
    scenes = load_scenes(profile, splits=("train", "test", "third"))
    return dict(zip(("train", "validation", "test"), scenes.values(), strict=True)), profile.labels


class Handed(torch.nn.Module):
    """In the place of a decode head: keeps the features that the encoder hands to it."""

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        self.maps = list(maps)
        return maps[0][:, :1]


def frozen_features(model: PreTrainedModel) -> Callable[[torch.Tensor], Maps]:
    """What a model's encoder finds at each stride, whatever its family calls the encoder."""
    model.eval()
    model.decode_head = handed = Handed()

    def features(pixel_values: torch.Tensor) -> Maps:
        with torch.no_grad():
            model(pixel_values)
        return handed.maps

    return features


def colors_and_positions(pixel_values: torch.Tensor) -> Maps:
    """Without an encoder: each cell's mean color, contrast, and place, and their squares."""
    mean = avg_pool2d(pixel_values, STRIDE, ceil_mode=True)
    squares = avg_pool2d(pixel_values**2, STRIDE, ceil_mode=True)
    contrast = (squares - mean**2).clamp(min=0).sqrt()
    axes = [torch.linspace(-1, 1, size) for size in mean.shape[-2:]]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
    plain = torch.cat([mean, contrast, place], dim=1)
    return [torch.cat([plain, plain**2], dim=1)]


def joined(maps: Maps) -> torch.Tensor:
    """(1, channels of all strides, height, width), at the second of the strides, which is 8."""
    size = maps[min(1, len(maps) - 1)].shape[-2:]
    return torch.cat([interpolate(one, size=size, mode="bilinear") for one in maps], dim=1)


def tensors(
    row: dict[str, Any], image_processor: BaseImageProcessor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, 3, height, width) pixel values and (1, height, width) labels of a photograph."""
    mask = np.asarray(row["annotation"])
    found = image_processor(row["image"], segmentation_maps=mask, return_tensors="pt")
    return found["pixel_values"], found["labels"]


def load_encoder(name: str) -> tuple[Callable[[torch.Tensor], Maps], BaseImageProcessor]:
    """The features by the name of an experiment's row, and what prepares images for them."""
    profile = get_profile("tiny")
    source = profile.encoder if name == "toy scenes" else profile.photo_encoder
    size = {"do_resize": False}  # photographs as they are
    if name == "ImageNet, squashed":
        size = {"size": {"height": 448, "width": 448}}  # about as many pixels
    image_processor = AutoImageProcessor.from_pretrained(source, do_reduce_labels=False, **size)
    if name == "color and position":
        return colors_and_positions, image_processor
    if name == "random weights":
        model = AutoModelForSemanticSegmentation.from_config(AutoConfig.from_pretrained(source))
    else:
        model = AutoModelForSemanticSegmentation.from_pretrained(source)
    if name == "ImageNet, other padding":
        pad_symmetrically(model)
    return frozen_features(model), image_processor


# --- heads ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LinearHead:
    """One linear layer on joined, standardized features."""

    layer: torch.nn.Linear
    mean: torch.Tensor
    deviation: torch.Tensor

    def __call__(self, maps: Maps) -> torch.Tensor:
        scaled = (joined(maps).movedim(1, -1) - self.mean) / self.deviation
        return self.layer(scaled).movedim(-1, 1)

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight (num_labels, channels) and bias (num_labels,) for features as they are."""
        weight = self.layer.weight.detach() / self.deviation
        return weight, self.layer.bias.detach() - weight @ self.mean


def train_linear(
    pairs: list[tuple[torch.Tensor, torch.Tensor]], classes: int, decay: float = DECAY
) -> LinearHead:
    """A linear head on joined features and the labels of their photographs: 200 steps over all
    positions at once."""
    x = torch.cat([features.flatten(2)[0].T for features, _ in pairs])
    y = torch.cat(  # a position has the label of the pixel in its middle
        [
            interpolate(labels[None].float(), features.shape[-2:], mode="nearest-exact").flatten()
            for features, labels in pairs
        ]
    ).long()
    x, y = x[y != IGNORE_INDEX], y[y != IGNORE_INDEX]
    mean, deviation = x.mean(dim=0), x.std(dim=0) + 1e-6
    x = (x - mean) / deviation
    layer = torch.nn.Linear(x.shape[1], classes)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-2, weight_decay=decay)
    for _ in range(200):
        loss = cross_entropy(layer(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return LinearHead(layer, mean, deviation)


@torch.inference_mode()
def mean_iou(head: Head, rows: list[tuple[Maps, np.ndarray]], classes: int) -> float:
    """Over photographs, given as features and annotation, at their own size."""
    matrix = ConfusionMatrix(classes, IGNORE_INDEX)
    for maps, annotation in rows:
        matrix.update(upsampled_argmax(head(maps)[0], annotation.shape), annotation)
    return round(matrix.compute()["mean_iou"], 4)


# --- experiments ----------------------------------------------------------------------------------


class Photographs:
    """The features of all photographs by one encoder."""

    def __init__(self, folder: str, encoder: str) -> None:
        splits, labels = photographs(folder)
        features, image_processor = load_encoder(encoder)
        self.classes = labels.num_labels
        self.train, self.scored = [], {}
        for row in splits["train"]:
            pixel_values, label_map = tensors(row, image_processor)
            self.train.append((joined(features(pixel_values)), label_map))
        for name in ("validation", "test"):
            self.scored[name] = [
                (features(tensors(row, image_processor)[0]), np.asarray(row["annotation"]))
                for row in splits[name]
            ]

    def linear(self, chosen: list[int] | None = None, decay: float = DECAY) -> LinearHead:
        """A linear head trained on some of the photographs; None: on all of them."""
        pairs = [self.train[index] for index in chosen or range(len(self.train))]
        return train_linear(pairs, self.classes, decay)

    def scores(self, head: Head) -> dict[str, float]:
        """Mean IoU on validation and test."""
        return {name: mean_iou(head, rows, self.classes) for name, rows in self.scored.items()}


def features_compared(folder: str) -> list[dict[str, Any]]:
    """A linear head on the features of different encoders."""
    variants = "ImageNet", "ImageNet, squashed", "ImageNet, other padding"
    rows = []
    for name in (*variants, "toy scenes", "random weights", "color and position"):
        found = []
        for seed in SEEDS:
            torch.manual_seed(seed)  # of the head, and of random weights
            photographs = Photographs(folder, name)
            found.append(photographs.scores(photographs.linear()))
        rows.append({"features": name, **together(found)})
    return rows


def photographs_counted(folder: str) -> list[dict[str, Any]]:
    """The linear head on some of the training photographs, drawn several times."""
    photographs, rows = Photographs(folder, "ImageNet"), []
    for count in COUNTS:
        draws = 1 if count == len(photographs.train) else DRAWS
        found = []
        for seed in range(draws):
            torch.manual_seed(seed)
            chosen = torch.randperm(len(photographs.train))[:count].tolist()
            found.append(photographs.scores(photographs.linear(chosen)))
        rows.append({"photographs": count, **together(found)})
    return rows


def decays_compared(folder: str) -> list[dict[str, Any]]:
    """The linear head with more and more weight decay."""
    photographs, rows = Photographs(folder, "ImageNet"), []
    for decay in DECAYS:
        found = []
        for seed in SEEDS:
            torch.manual_seed(seed)
            found.append(photographs.scores(photographs.linear(decay=decay)))
        rows.append({"weight decay": decay, **together(found)})
    return rows


def splits_compared(folder: str) -> list[dict[str, Any]]:
    """The campus split by view, as it is, and at random, whatever the photographs show."""
    splits, labels = photographs(folder)
    features, image_processor = load_encoder("ImageNet")
    rows = []
    for name in ("train", "validation"):
        for row in splits[name]:
            pixel_values, label_map = tensors(row, image_processor)
            rows.append((features(pixel_values), label_map, np.asarray(row["annotation"])))
    found = {"by view": [], "at random": []}
    for seed in range(DRAWS):
        orders = {"by view": list(range(len(rows)))}
        torch.manual_seed(seed)
        orders["at random"] = torch.randperm(len(rows)).tolist()
        for name, order in orders.items():
            train = [rows[index] for index in order[: len(splits["train"])]]
            pairs = [(joined(maps), label_map) for maps, label_map, _ in train]
            head = train_linear(pairs, labels.num_labels)
            scored = [rows[index] for index in order[len(train) :]]
            pairs = [(maps, annotation) for maps, _, annotation in scored]
            found[name].append(mean_iou(head, pairs, labels.num_labels))
    return [{"split": name, "validation": scores} for name, scores in found.items()]


EXPERIMENTS: dict[str, Callable[[str], list[dict[str, Any]]]] = {
    "features": features_compared,
    "photographs": photographs_counted,
    "splits": splits_compared,
    "decays": decays_compared,
}


def together(found: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [scores[name] for scores in found] for name in found[0]}


def stored() -> dict[str, list[dict[str, Any]]]:
    """The rows of each experiment, as they were measured last."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def told(scores: list[float]) -> str:
    """A range, as notebook 10 shows it."""
    low, high = f"{min(scores):.2f}", f"{max(scores):.2f}"
    return low if low == high else f"{low} to {high}"


def store(name: str, rows: list[dict[str, Any]], file: Path = FILE) -> None:
    """Put an experiment's rows in the place of its older ones, and print them."""
    before = json.loads(file.read_text("utf-8")) if file.exists() else {}
    file.write_text(json.dumps(before | {name: rows}, indent=2) + "\n", encoding="utf-8")
    print(name, *rows, sep="\n", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure the experiments that are named, store them, and print their rows."""
    parser = argparse.ArgumentParser(prog="python -m tools.photos.heads", description=__doc__)
    parser.add_argument(
        "experiments", nargs="+", choices=EXPERIMENTS, metavar="|".join(EXPERIMENTS)
    )
    parser.add_argument("--data", default=str(BUNDLED / "photos"), help="folder of the photographs")
    parser.add_argument("--output", type=Path, default=FILE)
    options = parser.parse_args(arguments)
    for name in options.experiments:
        store(name, EXPERIMENTS[name](options.data), options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
