"""Small inputs that several test files need: folders of scenes, encoders and profiles for them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, TiffImagePlugin
from transformers import (
    EvalPrediction,
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
