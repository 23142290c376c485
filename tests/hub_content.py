"""Small stand-ins for what profile "sample" takes from the Hub, under the real names.

As the real one, `nvidia/mit-b0` has a pickle on its main branch, and its safetensors elsewhere.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

from loopback_hub import LoopbackHub
from safetensors.torch import load, save

from helpers.labels import ADE20K
from helpers.profiles import BUNDLED, REPOSITORY, get_profile

_CITYSCAPES = (
    "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, "
    "terrain, sky, person, rider, car, truck, bus, train, motorcycle, bicycle"
)


def fill(hub: LoopbackHub) -> None:
    """Store everything that the notebooks ask for in profile "sample"."""
    profile = get_profile("sample")
    hub.add(profile.dataset, folder("scenes"), "dataset")
    encoder = folder("checkpoints/mit-toy")
    weights = encoder.pop("model.safetensors")
    repository = hub.add(profile.encoder, encoder | {"pytorch_model.bin": trap()})
    repository.commits[profile.encoder_revision] = encoder | {"model.safetensors": weights}
    hub.add(profile.finetuned_model, folder("checkpoints/segformer-toy"))
    hub.add(profile.semantic_model, cityscapes_model())
    hub.add(profile.instance_model, folder("checkpoints/mask2former-toy-instance"))
    hub.add(profile.panoptic_model, folder("checkpoints/mask2former-toy"))
    labels = {str(number): name for number, name in ADE20K.id2label.items()} | {"7": "bed "}
    files = {"ade20k-id2label.json": json.dumps(labels).encode()}
    hub.add("huggingface/label-files", files, "dataset")
    script = (REPOSITORY / "notebooks" / "mean_iou" / "mean_iou.py").read_bytes()
    hub.add("evaluate-metric/mean_iou", {"mean_iou.py": script}, "space")
    owner, name, path = profile.street_image.removeprefix("hf://datasets/").split("/", 2)
    street = folder("street/for_models")["image.png"]
    hub.add(f"{owner}/{name}", {path: street}, "dataset")


class _Trap:
    """Unpickled, it raises: nobody may read this."""

    def __reduce__(self) -> tuple:
        return (exec, ("raise SystemExit('a download was unpickled')",))


def trap() -> bytes:
    """A pickle that runs code when it is read."""
    return pickle.dumps(_Trap())


def folder(name: str) -> dict[str, bytes]:
    """The files of a folder of the bundled data, such as a checkpoint."""
    place = BUNDLED / name
    files = filter(Path.is_file, place.rglob("*"))
    return {file.relative_to(place).as_posix(): file.read_bytes() for file in files}


def cityscapes_model() -> dict[str, bytes]:
    """The toy SegFormer with Cityscapes' 19 labels: rows of its classifier that fit most names."""
    files = folder("checkpoints/segformer-toy")
    names = _CITYSCAPES.split(", ")
    rows = [ADE20K.label2id.get(name, ADE20K.label2id["tree"]) for name in names]
    tensors = load(files["model.safetensors"])
    for part in ("decode_head.classifier.weight", "decode_head.classifier.bias"):
        tensors[part] = tensors[part][rows]
    config = json.loads(files["config.json"]) | {"id2label": dict(enumerate(names))}
    config["label2id"] = {name: number for number, name in enumerate(names)}
    files["config.json"] = json.dumps(config).encode()
    return files | {"model.safetensors": save(tensors, {"format": "pt"})}
