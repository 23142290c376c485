"""Small stand-ins for what profile "sample" takes from the Hub, under the real names.

`fill(hub)` stores the data set, the checkpoints, the label file, the metric and the photograph.
They lie there as the real ones do: `nvidia/mit-b0` has a pickle on its main branch, and its
safetensors in a pull request of the Hub's converter, a child of that commit.
"""

from __future__ import annotations

import io
import json
import pickle
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from loopback_hub import LoopbackHub
from PIL import Image

from helpers.labels import ADE20K
from helpers.profiles import BUNDLED, REPOSITORY, get_profile
from tools.drawing.scenes import SCENE_CATEGORIES, draw_scene

DATASET = "merve/scene_parse_150"
ENCODER = "nvidia/mit-b0"
ENCODER_COMMIT = "25ce79d97e6d9d509ed12e17cb2eb89b0a83a2dc"
METRIC = "evaluate-metric/mean_iou"
CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
    "motorcycle", "bicycle",
)  # fmt: skip
_NEAREST = {
    "traffic sign": "signboard",
    "vegetation": "tree",
    "terrain": "earth",
    "rider": "person",
    "train": "bus",
    "motorcycle": "minibike",
}
GREYSCALE = 3
"""Which training image has mode L, as a few of ADE20K's have."""


def fill(hub: LoopbackHub) -> None:
    """Store everything that the notebooks ask for in profile "sample"."""
    profile = get_profile("sample")
    hub.add(DATASET, scenes(), "dataset")
    add_encoder(hub)
    hub.add(profile.finetuned_model, folder("segformer-toy"))
    hub.add(profile.semantic_model, cityscapes_model())
    hub.add(profile.instance_model, folder("mask2former-toy-instance"))
    hub.add(profile.panoptic_model, folder("mask2former-toy"))
    labels = {str(number): name for number, name in ADE20K.id2label.items()} | {"7": "bed "}
    files = {"ade20k-id2label.json": json.dumps(labels).encode()}
    hub.add("huggingface/label-files", files, "dataset")
    script = (REPOSITORY / "notebooks" / "mean_iou" / "mean_iou.py").read_bytes()
    hub.add(METRIC, {"mean_iou.py": script, "README.md": b"# Mean IoU\n"}, "space")
    owner, name, path = profile.street_image.removeprefix("hf://datasets/").split("/", 2)
    with Image.open(BUNDLED / "street" / "for_models" / "image.png") as street:
        hub.add(f"{owner}/{name}", {path: encoded(street.convert("RGB"), "JPEG")}, "dataset")


def add_encoder(hub: LoopbackHub) -> None:
    """`nvidia/mit-b0` as it lies on the Hub."""
    files = folder("mit-toy")
    weights = files.pop("model.safetensors")
    repository = hub.add(ENCODER, files | {"pytorch_model.bin": trap()})
    main = repository.at("main")
    repository.refs["refs/pr/1"] = main.oid
    title = "Adding `safetensors` variant of this model"
    changed = main.files | {"model.safetensors": weights}
    repository.commit(title, changed, "refs/pr/1", ENCODER_COMMIT)
    repository.discussions.append(
        {
            "num": 1,
            "title": title,
            "status": "open",
            "isPullRequest": True,
            "author": {"name": "SFconvertbot"},
            "repo": {"name": ENCODER, "type": "model"},
            "createdAt": "2026-01-01T00:00:00.000Z",
        }
    )


class _Trap:
    """Unpickled, it raises: nobody may read this."""

    def __reduce__(self) -> tuple:
        return (exec, ("raise SystemExit('a download was unpickled')",))


def trap() -> bytes:
    """A pickle that runs code when it is read."""
    return pickle.dumps(_Trap())


def folder(name: str) -> dict[str, bytes]:
    """The files of a bundled checkpoint."""
    return {file.name: file.read_bytes() for file in (BUNDLED / "checkpoints" / name).iterdir()}


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@cache
def scenes(train: int = 52, validation: int = 3, test: int = 2) -> dict[str, bytes]:
    """A data set as Parquet: its test split has images alone, as ADE20K's."""
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as ImageFeature

    features = Features(
        image=ImageFeature(),
        annotation=ImageFeature(),
        scene_category=ClassLabel(names=list(SCENE_CATEGORIES)),
    )
    files = {"README.md": b"# Scenes\n"}
    for split, count, start in (
        ("train", train, 0), ("validation", validation, 1000), ("test", test, 2000),
    ):  # fmt: skip
        rows = []
        for seed in range(start, start + count):
            scene = draw_scene(seed)
            image = scene.image.convert("L") if seed == GREYSCALE else scene.image
            annotation = {"bytes": encoded(scene.annotation, "PNG"), "path": None}
            rows.append(
                {
                    "image": {"bytes": encoded(image, "JPEG"), "path": None},
                    "annotation": None if split == "test" else annotation,
                    "scene_category": scene.scene_category,
                }
            )
        buffer = io.BytesIO()
        Dataset.from_list(rows, features=features).to_parquet(buffer)
        files[f"data/{split}-00000-of-00001.parquet"] = buffer.getvalue()
    return files


@cache
def cityscapes_model() -> dict[str, bytes]:
    """The toy SegFormer with Cityscapes' 19 labels: the rows of its classifier that fit them."""
    from transformers import SegformerForSemanticSegmentation

    source = BUNDLED / "checkpoints" / "segformer-toy"
    model = SegformerForSemanticSegmentation.from_pretrained(source)
    rows = np.array([ADE20K.label2id[_NEAREST.get(name, name)] for name in CITYSCAPES])
    classifier = model.decode_head.classifier
    small = type(classifier)(classifier.in_channels, len(rows), kernel_size=1)
    small.weight.data, small.bias.data = classifier.weight.data[rows], classifier.bias.data[rows]
    model.decode_head.classifier = small
    model.config.id2label = dict(enumerate(CITYSCAPES))
    model.config.label2id = {name: number for number, name in enumerate(CITYSCAPES)}
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        files = {file.name: file.read_bytes() for file in Path(scratch).iterdir()}
    return folder("segformer-toy") | files
