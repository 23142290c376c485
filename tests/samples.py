"""Small inputs that several test files need: folders of scenes, encoders and profiles for them."""

from __future__ import annotations

import io
import re
import shutil
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from PIL import Image, TiffImagePlugin
from transformers import (
    IMAGE_PROCESSOR_MAPPING,
    AutoConfig,
    AutoModelForSemanticSegmentation,
    EvalPrediction,
    PreTrainedModel,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    SegformerModel,
)

from helpers.labels import ADE20K, Labels
from helpers.metrics import StreamingMeanIoU
from helpers.profiles import Profile, get_profile

SIDE = 32  # of the images that the small models see, pixels
FRUIT = Labels(["background", "apple", "pear"])
"""Labels of one's own: value 0 is a class."""

_Turn = Image.Transpose
STORED = {
    1: lambda image: image,
    2: lambda image: image.transpose(_Turn.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(_Turn.ROTATE_180),
    4: lambda image: image.transpose(_Turn.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(_Turn.TRANSPOSE),
    6: lambda image: image.transpose(_Turn.ROTATE_90),
    7: lambda image: image.transpose(_Turn.TRANSVERSE),
    8: lambda image: image.transpose(_Turn.ROTATE_270),
}
"""By EXIF orientation: what a camera that was held so stores of an upright image."""


def without_commands(source: str) -> str:
    """A notebook's cell without its lines for the shell, which plain Python cannot run."""
    return re.sub(r"^!(.+\\\n)*.+", "", source, flags=re.MULTILINE)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their path in it."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def draw_blocks(seed: int, size: tuple[int, int] = (48, 36)) -> tuple[Image.Image, Image.Image]:
    """An image of four plain blocks and its annotation: RGB, and L with values of 0-150."""
    rng = np.random.default_rng(seed)
    width, height = size
    annotation = np.zeros((height, width), dtype=np.uint8)
    for rows in (slice(0, height // 2), slice(height // 2, height)):
        for columns in (slice(0, width // 2), slice(width // 2, width)):
            annotation[rows, columns] = rng.choice([0, 1, 4, 7, 21, 150])
    colors = np.random.default_rng(0).integers(0, 256, (ADE20K.num_labels + 1, 3), dtype=np.uint8)
    return Image.fromarray(colors[annotation]), Image.fromarray(annotation)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image as the content of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def edit(change: Callable[[Image.Image], Image.Image]) -> Callable[[Path], None]:
    """What changes the image in a file."""

    def spoil(file: Path) -> None:
        with Image.open(file) as image:
            image.load()
            changed = change(image)
        changed.save(file)

    return spoil


def with_value(value: int) -> Callable[[Path], None]:
    """What gives a pixel of a mask this value."""

    def change(mask: Image.Image) -> Image.Image:
        values = np.array(mask, dtype=np.uint16 if value > 255 else np.uint8)
        values[2, 3] = value
        return Image.fromarray(values)

    return edit(change)


def save_turned(image: Image.Image, file: Any, orientation: int, **options: Any) -> None:
    """Save an upright image as a camera does that was held so: its rows, and the note."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    STORED[orientation](image).save(file, exif=exif, **options)


def png_file(samples: np.ndarray, bits: int, palette: Sequence[int] = (), note: int = 1) -> bytes:
    """A PNG file of (height, width, bands) samples, as Pillow does not write them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    height, width, bands = samples.shape
    color_type = 3 if palette else {1: 0, 2: 4, 3: 2, 4: 6}[bands]
    exif = Image.Exif()
    exif[0x0112] = note
    rows = b"".join(b"\0" + _packed(row, bits, ">") for row in samples)
    content = b"\x89PNG\r\n\x1a\n"
    content += chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0))
    content += chunk(b"PLTE", bytes(palette)) if palette else b""
    content += chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    return content + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff_file(
    samples: np.ndarray, bits: int, photometric: int, extra: Sequence[int] = (), **tags: Any
) -> bytes:
    """A TIFF file of (height, width, bands) samples, as Pillow does not write them.

    Args:
        samples: whole numbers; floats of 64 bits, where `bits` is 64.
        bits: of each sample.
        photometric: 0: white is zero, 1: black is zero, 2: RGB.
        extra: what the last bands are: 0: not said, 1: premultiplied alpha, 2: alpha.
        tags: others, by number: `t284=2` stores band after band, `t259=8` compresses.
    """
    height, width, bands = samples.shape
    planes = np.moveaxis(samples, -1, 0) if tags.get("t284") == 2 else [samples]
    strips = [b"".join(_packed(row, bits, "<") for row in plane) for plane in planes]
    if tags.get("t259") == 8:
        strips = [zlib.compress(strip) for strip in strips]
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[256], directory[257], directory[258] = width, height, (bits,) * bands
    directory[259], directory[262], directory[277], directory[278] = 1, photometric, bands, height
    directory[273] = tuple(sum(map(len, strips[:k])) for k in range(len(strips)))
    directory[279] = tuple(map(len, strips))
    if extra:
        directory[338] = tuple(extra)
    for tag, value in tags.items():
        directory[int(tag[1:])] = value
    content = io.BytesIO()
    directory.save(content)
    return content.getvalue() + b"".join(strips)


def _packed(row: np.ndarray, bits: int, order: str) -> bytes:
    if bits % 8 == 0:
        return row.astype(f"{order}{'f' if bits == 64 else 'u'}{bits // 8}").tobytes()
    return np.packbits((row.reshape(-1, 1) >> np.arange(bits)[::-1]) & 1).tobytes()


def write_ade_folder(folder: Path, train: int = 4, test: int = 2) -> Path:
    """A folder in ADEChallengeData2016 layout, landscape and portrait images by turns."""
    for part, count, start in (("training", train, 0), ("validation", test, 1000)):
        for kind in ("images", "annotations"):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
        for seed in range(start, start + count):
            image, annotation = draw_blocks(seed, (48, 36) if seed % 2 else (36, 48))
            image.save(folder / "images" / part / f"scene_{seed:04}.jpg", quality=95)
            annotation.save(folder / "annotations" / part / f"scene_{seed:04}.png")
    return folder


def write_fruit(folder: Path, labels: Labels = FRUIT, images: int = 6, side: int = 25) -> Path:
    """Red and green squares on grey, numbered as `labels` does; `side`: of the apples, pixels."""
    for part, count in (("training", images), ("validation", 2)):
        for kind in ("images", "annotations"):
            shutil.rmtree(folder / kind / part, ignore_errors=True)
            (folder / kind / part).mkdir(parents=True)
        for number in range(count):
            row, column = np.random.default_rng(number).integers(0, 30, 2)
            fruit = np.zeros((64, 80), dtype=np.uint8)
            fruit[40:60, 50:75] = FRUIT.label2id["pear"]
            fruit[row : row + side, column : column + side] = FRUIT.label2id["apple"]
            colors = np.array([[90, 90, 90], [200, 30, 30], [30, 200, 30]], dtype=np.uint8)
            values = np.array([labels.names.index(name) for name in FRUIT.names], dtype=np.uint8)
            Image.fromarray(colors[fruit]).save(folder / "images" / part / f"{number}.png")
            annotation = Image.fromarray(values[fruit] + np.uint8(labels.reduce))
            annotation.save(folder / "annotations" / part / f"{number}.png")
    labels.save(folder)
    return folder


def small_config(num_labels: int = ADE20K.num_labels, **settings: Any) -> SegformerConfig:
    """A SegFormer of some 40,000 parameters; with ADE20K's names where it has 150 labels."""
    if num_labels == ADE20K.num_labels:
        settings |= {"id2label": ADE20K.id2label, "label2id": ADE20K.label2id}
    return SegformerConfig(
        num_labels=num_labels,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 3, 4],
        mlp_ratios=[2, 2, 2, 2],
        decoder_hidden_size=16,
        **settings,
    )


def small_processor(side: int = SIDE) -> SegformerImageProcessor:
    """SegFormer's own image processor, at a small size."""
    return SegformerImageProcessor(do_reduce_labels=True, size={"height": side, "width": side})


def small_model(
    num_labels: int = ADE20K.num_labels, **settings: Any
) -> SegformerForSemanticSegmentation:
    """A small semantic segmentation model with random weights, the same each time."""
    torch.manual_seed(0)
    return SegformerForSemanticSegmentation(small_config(num_labels, **settings))


def save_model(folder: Path, num_labels: int = ADE20K.num_labels, seed: int = 0) -> Path:
    """A small model whose weights give several classes an image, with its image processor."""
    model = small_model(num_labels)
    torch.manual_seed(seed)
    torch.nn.init.normal_(model.decode_head.classifier.weight, std=2)
    model.save_pretrained(folder)
    small_processor().save_pretrained(folder)
    return folder


FAMILIES = {
    "segformer": ["decode_head.classifier"],
    "dpt": ["head.head.4", "auxiliary_head.head.4"],
    "mobilevit": ["segmentation_head.classifier.convolution"],
    "mobilenet_v2": ["segmentation_head.classifier.convolution"],
}
"""Kinds of models for semantic segmentation, and the layers that have an output for each label."""


def save_family(family: str, folder: Path, num_labels: int) -> PreTrainedModel:
    """A small model of that kind with random weights, saved with its image processor."""
    torch.manual_seed(0)
    config, sizes = AutoConfig.for_model(family), {"image_size": 64, "num_labels": num_labels}
    if family == "segformer":
        config = small_config(num_labels)
    elif family == "dpt":
        sizes |= {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
        sizes |= {"intermediate_size": 16, "backbone_out_indices": [0, 1, 2, 3], "patch_size": 8}
        sizes |= {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8, "is_hybrid": False}
    elif family == "mobilevit":
        sizes |= {"hidden_sizes": [8, 8, 8], "neck_hidden_sizes": [8] * 7}
        sizes |= {"num_attention_heads": 2, "aspp_out_channels": 8}
    elif family == "mobilenet_v2":
        sizes |= {"depth_multiplier": 0.1}
    config.update(sizes)
    model = AutoModelForSemanticSegmentation.from_config(config)
    model.save_pretrained(folder)
    IMAGE_PROCESSOR_MAPPING[type(config)]["torchvision"]().save_pretrained(folder)
    return model


def fruit_scenes(train: int = 4, test: int = 2) -> DatasetDict:
    """Scenes in memory whose masks hold the three values of `FRUIT`."""
    splits = {}
    for name, seeds in (("train", range(train)), ("test", range(100, 100 + test))):
        images, masks = zip(*(draw_blocks(seed) for seed in seeds), strict=True)
        masks = [mask.point(lambda value: value % 3) for mask in masks]
        splits[name] = Dataset.from_dict({"image": images, "annotation": masks})
    return DatasetDict(splits)


def save_encoder(folder: Path) -> Path:
    """A small encoder with random weights and its image processor, as `nvidia/mit-b0` has them."""
    torch.manual_seed(0)
    SegformerModel(small_config(num_labels=2)).save_pretrained(folder)
    small_processor().save_pretrained(folder)
    return folder


def small_profile(encoder: Path, dataset: Path, **settings: Any) -> Profile:
    """Profile tiny, on a small encoder and few steps."""
    schedule = {
        "image_size": SIDE,
        "max_steps": 4,
        "warmup_steps": 0,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "head_learning_rate_factor": 10.0,
        "eval_steps": 2,
        "logging_steps": 1,
    }
    return replace(
        get_profile("tiny"), encoder=str(encoder), dataset=str(dataset), **schedule | settings
    )


class WorseEachTime(StreamingMeanIoU):
    """The real counts under a score that falls, so that the first checkpoint is the best one."""

    calls = 0

    def __call__(self, prediction: EvalPrediction, compute_result: bool) -> dict[str, float]:
        scores = super().__call__(prediction, compute_result)
        if scores:
            self.calls += 1
            scores["mean_iou"] = 1.0 / self.calls
        return scores
