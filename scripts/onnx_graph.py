"""A model becomes an ONNX graph, which is compared with `helpers.inference` before it counts."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import torch
from PIL import Image
from torch.nn.functional import interpolate
from transformers import BaseImageProcessor, PreTrainedModel

from helpers.inference import pixel_values_of, predicting, segment, upsampled_strips
from scripts.onnx_segmenter import OnnxSegmenter

_DIFFERING = 1e-3  # share of an image's pixels that may get another class than from `segment` ...
_TIED = 1e-3  # ... if its logit is less than this below the best one
_MOST_PIXELS = 2**20  # of a label map that the graph upsamples for comparison: memory


class Graph(torch.nn.Module):
    """(batch, height, width, 3) uint8 RGB images of the model's input size to label maps."""

    def __init__(self, model: PreTrainedModel, image_processor: BaseImageProcessor) -> None:
        super().__init__()
        if max(scales := getattr(model.config, "pool_scales", None) or [0]) > 1:
            raise ValueError(
                f"its config.json has pool_scales {list(scales)}, and a graph for images of any "
                "size pools to one cell only: expected none above 1; train it with "
                "pool_scales=[1] or []"
            )
        self.model, mean, std = model, 0, 1
        if image_processor.do_normalize:
            mean, std = image_processor.image_mean, image_processor.image_std
        factor = image_processor.rescale_factor if image_processor.do_rescale else 1
        self.register_buffer("mean", torch.tensor(mean) / factor)
        self.register_buffer("std", torch.tensor(std) / factor)

    def forward(self, image: torch.Tensor, size: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, height, width) uint8 label maps of the (height, width) `size`, and the logits."""
        pixel_values = ((image.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        logits = self.model(pixel_values).logits
        scores = interpolate(logits, size=(size[0], size[1]), mode="bilinear")
        return scores.argmax(dim=1).to(torch.uint8), logits


def resize_of(image_processor: BaseImageProcessor) -> list[int] | dict[str, int] | None:
    """The size that the model sees, as `scripts.onnx_segmenter.size_seen` takes it."""
    if not image_processor.do_resize:
        return None
    size, resample = image_processor.size, image_processor.resample
    fixed = [size.get("height"), size.get("width")]
    most = {side: size.get(side) for side in ("max_height", "max_width")}
    if not (all(fixed) or all(most.values())) or resample != Image.Resampling.BILINEAR:
        raise ValueError(
            f"its {type(image_processor).__name__} resizes to {dict(size)} with resample "
            f"{resample}, expected a height and a width (or max_height and max_width), and "
            "resample 2 (bilinear)"
        )
    return fixed if all(fixed) else most


def write(file: Path, graph: Graph, about: dict[str, str]) -> None:
    """Write the graph, for any batch and sizes, with metadata.

    By the older exporter, which takes a second. It warns that it will go; the newer one needs
    minutes for dynamic sizes, and onnxscript, and a sample of batch 1 would fix the batch.
    """
    axes = {
        "image": {0: "batch", 1: "height", 2: "width"},
        "label_map": {0: "batch", 1: "map_height", 2: "map_width"},
        "logits": {0: "batch", 2: "logits_height", 3: "logits_width"},
    }
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            graph,
            (torch.zeros(2, 96, 160, 3, dtype=torch.uint8), torch.tensor([70, 51])),
            file,
            dynamo=False,
            opset_version=18,
            input_names=["image", "size"],
            output_names=["label_map", "logits"],
            dynamic_axes=axes,
        )
    written = onnx.load(file)
    onnx.helper.set_model_props(written, about)
    onnx.save(written, file)


def compare_logits(exported: OnnxSegmenter, graph: Graph) -> None:
    """Three images of an odd size: has anything of the sample's batch or size stayed behind?"""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 101, 150, 3), dtype=np.uint8)
    with predicting(graph.model):
        _, expected = graph(torch.from_numpy(pixels), torch.tensor([1, 1]))
    _, found = exported.run(pixels, (1, 1))
    if (error := np.abs(found - expected.numpy()).max()) >= _TIED:
        raise ValueError(f"its logits differ by {error:.2g} in ONNX Runtime, expected < {_TIED}")


def compare_label_maps(
    exported: OnnxSegmenter,
    graph: Graph,
    image_processor: BaseImageProcessor,
    images: Iterable[tuple[str, Image.Image]],
) -> str:
    """Compare with `segment`, on images with their names; what is found, in words.

    Raises:
        ValueError: a label map differs where its class is not as good as tied, or too often.
    """
    count = pixels = differing = 0
    for name, image in images:
        expected = segment(image, graph.model, image_processor)
        found = exported.segment([image])
        if expected.size <= _MOST_PIXELS:
            found.append(exported.run(exported.seen(image), expected.shape)[0][0])
        for label_map in found:
            differs = label_map != expected
            lead = _lead(image, graph.model, image_processor, label_map) if differs.any() else 0
            if differs.mean() > _DIFFERING or lead >= _TIED:
                raise ValueError(
                    f"on {name}, {differs.mean():.2%} of the pixels get another class, with logits "
                    f"up to {lead:.2g} below the best: expected {_DIFFERING:.1%}, and {_TIED}"
                )
        count, pixels = count + 1, pixels + expected.size
        differing += int((found[0] != expected).sum())
    return (
        f"label maps of {count} images are those of scripts.segment, but for {differing:,} of "
        f"{pixels:,} pixels"
    )


def _lead(
    image: Image.Image,
    model: PreTrainedModel,
    image_processor: BaseImageProcessor,
    label_map: np.ndarray,
) -> float:
    """How far the logits of a label map's classes lie below the best ones, at most."""
    with predicting(model):
        (logits,) = model(pixel_values_of(image, image_processor)).logits
    row, lead = 0, 0.0
    for strip in upsampled_strips(logits, [label_map.shape]):
        labels = torch.from_numpy(label_map[row : row + strip.shape[1]]).long()
        below = strip.amax(dim=0) - strip.gather(0, labels[None])[0]
        row, lead = row + strip.shape[1], max(lead, float(below.max()))
    return lead
