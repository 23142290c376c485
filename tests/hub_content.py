"""Small stand-ins for what profile "sample" takes from the Hub, under the real names.

`fill(hub)` stores the data set, the checkpoints, the label file, the metric and the photograph.
They lie there as the real ones do: `nvidia/mit-b0` has a pickle on its main branch, and its
safetensors in another commit.
"""

from __future__ import annotations

import io
import json
import pickle

from loopback_hub import LoopbackHub
from PIL import Image
from safetensors.torch import load, save

from helpers.labels import ADE20K
from helpers.profiles import BUNDLED, REPOSITORY, get_profile
from tools.drawing.scenes import SCENE_CATEGORIES, draw_scene

CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
    "motorcycle", "bicycle",
)  # fmt: skip
GREYSCALE = 3
"""Which training image has mode L, as a few of ADE20K's have."""


def fill(hub: LoopbackHub) -> None:
    """Store everything that the notebooks ask for in profile "sample"."""
    profile = get_profile("sample")
    hub.add(profile.dataset, scenes(), "dataset")
    encoder = folder("mit-toy")
    weights = encoder.pop("model.safetensors")
    repository = hub.add(profile.encoder, encoder | {"pytorch_model.bin": trap()})
    repository.commits[profile.encoder_revision] = encoder | {"model.safetensors": weights}
    hub.add(profile.finetuned_model, folder("segformer-toy"))
    hub.add(profile.semantic_model, cityscapes_model())
    hub.add(profile.instance_model, folder("mask2former-toy-instance"))
    hub.add(profile.panoptic_model, folder("mask2former-toy"))
    labels = {str(number): name for number, name in ADE20K.id2label.items()} | {"7": "bed "}
    files = {"ade20k-id2label.json": json.dumps(labels).encode()}
    hub.add("huggingface/label-files", files, "dataset")
    script = (REPOSITORY / "notebooks" / "mean_iou" / "mean_iou.py").read_bytes()
    hub.add("evaluate-metric/mean_iou", {"mean_iou.py": script}, "space")
    owner, name, path = profile.street_image.removeprefix("hf://datasets/").split("/", 2)
    with Image.open(BUNDLED / "street" / "for_models" / "image.png") as street:
        hub.add(f"{owner}/{name}", {path: encoded(street.convert("RGB"), "JPEG")}, "dataset")


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


def scenes() -> dict[str, bytes]:
    """A data set as Parquet: its test split has images alone, as ADE20K's."""
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as ImageFeature

    features = Features(
        image=ImageFeature(),
        annotation=ImageFeature(),
        scene_category=ClassLabel(names=list(SCENE_CATEGORIES)),
    )
    files = {"README.md": b"# Scenes\n"}
    for split, count, start in (("train", 52, 0), ("validation", 3, 1000), ("test", 2, 2000)):
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


def cityscapes_model() -> dict[str, bytes]:
    """The toy SegFormer with Cityscapes' 19 labels: rows of its classifier that fit most names."""
    files = folder("segformer-toy")
    rows = [ADE20K.label2id.get(name, ADE20K.label2id["tree"]) for name in CITYSCAPES]
    tensors = load(files["model.safetensors"])
    for part in ("weight", "bias"):
        tensors[f"decode_head.classifier.{part}"] = tensors[f"decode_head.classifier.{part}"][rows]
    config = json.loads(files["config.json"])
    config["id2label"] = dict(enumerate(CITYSCAPES))
    config["label2id"] = {name: number for number, name in enumerate(CITYSCAPES)}
    config = json.dumps(config).encode()
    return files | {"config.json": config, "model.safetensors": save(tensors, {"format": "pt"})}
