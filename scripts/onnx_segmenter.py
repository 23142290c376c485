"""A model.onnx that scripts.export wrote, run by ONNX Runtime on the CPU, without PyTorch.

Images are resized here, not in the graph. Image processors resize as PyTorch does, in whole
numbers, and any other way shifts some values by one: Pillow's up to a fifth of them (it takes a
tall image's rows first), floating point, as in a graph, 8 to 16 %. On the toy model such steps move
logits by tenths, and pixels get another class.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.sparse import csr_array

from helpers.inference import quick_argmax
from helpers.labels import NAMES_FILE, RULES_FILE, Labels
from scripts.cli import sentence
from scripts.segmenter import Segmenter

_KEYS = ("labels", "resize", "weights", "files")
_DESCRIBING = ("config.json", "preprocessor_config.json", NAMES_FILE, RULES_FILE)
_BAND = 2**22  # numbers that are resized at a time: 16 MB


class OnnxSegmenter(Segmenter):
    """A model.onnx, and what its metadata say."""

    def __init__(self, file: Path, alpha: float | None = 0.5, batch_size: int = 8) -> None:
        need("onnxruntime")
        from onnxruntime import InferenceSession, SessionOptions

        if not file.is_file():
            raise ValueError(f"there is no model file {file}")
        options = SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The images of a batch are segmented side by side, and share the cores.
        options.intra_op_num_threads = max(1, (os.cpu_count() or 1) // batch_size)
        try:
            self.session = InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of ONNX Runtime's own kinds
            raise ValueError(f"--model {file} cannot be used: {sentence(error)}") from error
        about = self.session.get_modelmeta().custom_metadata_map
        if not about.keys() >= {*_KEYS}:
            raise ValueError(
                f"--model {file} has no labels in its metadata: expected a file that "
                "python -m scripts.export wrote"
            )
        labels, self.resize = json.loads(about["labels"]), json.loads(about["resize"])
        self.weights, self.files = about["weights"], about["files"]
        super().__init__(Labels(**labels), alpha, batch_size)

    def settings(self) -> dict[str, Any]:
        """Those of the model that was exported, since its results are the same."""
        return {"alpha": self.alpha, "window": None, "weights": self.weights}

    def segment(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        """The label map of each RGB image, at its own size."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(self._segment, images))

    def _segment(self, image: Image.Image) -> np.ndarray:
        # The graph's own label map, of one pixel here, takes ten times as long at the image's size
        # as this does, and a number for each class and pixel in memory.
        _, logits = self.run(self.seen(image), (1, 1))
        return quick_argmax(logits[0], image.size[::-1])

    def seen(self, image: Image.Image) -> np.ndarray:
        """What the graph gets of an RGB image: (1, height, width, 3) uint8."""
        pixels = np.asarray(image)
        return resized(pixels, size_seen(self.resize, *pixels.shape[:2]))[None]

    def run(self, pixels: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
        """The graph's label maps, of that (height, width), and its logits."""
        return self.session.run(None, {"image": pixels, "size": np.array(size, np.int64)})


def need(package: str) -> None:
    """Raise ValueError where a package is missing."""
    if not find_spec(package):
        raise ValueError(f"model.onnx needs a package that is missing: pip install {package}")


def digest_of(folder: Path) -> str:
    """Of a model's weights, labels and preprocessor, as their files in its folder are now."""
    files = [folder / name for name in _DESCRIBING] + sorted(folder.glob("*.safetensors"))
    digest = hashlib.sha256()
    for file in filter(Path.is_file, files):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def size_seen(
    resize: Sequence[int] | Mapping[str, int] | None, height: int, width: int
) -> tuple[int, int]:
    """The (height, width) at which the model sees an image of another: `resize` itself; None: the
    image's own; or {"max_height": pixels, "max_width": pixels}, scaled to fit, up or down."""
    if isinstance(resize, Mapping):
        scale = min(resize["max_height"] / height, resize["max_width"] / width)
        return max(1, int(height * scale)), max(1, int(width * scale))
    height, width = resize or (height, width)
    return height, width


def resized(pixels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize (height, width, 3) uint8 to a (height, width) as image processors do, antialiased and
    bilinear: equal to PyTorch's to the bit."""
    columns = _resampled(pixels.transpose(1, 0, 2), size[1])
    return _resampled(columns.transpose(1, 0, 2), size[0])


def _resampled(pixels: np.ndarray, size: int) -> np.ndarray:
    """(length, others, 3) to (size, others, 3), uint8."""
    length, others, _ = pixels.shape
    if length == size:
        return pixels
    weights, bits = _weights(length, size)
    bands = np.array_split(pixels, math.ceil(pixels.size / _BAND), axis=1)
    sums = [weights @ band.reshape(length, -1).astype(np.int32) for band in bands]
    rounded = [((one + 2 ** (bits - 1)) >> bits).astype(np.uint8) for one in sums]
    return np.concatenate(rounded, axis=1).reshape(size, others, 3)


def _weights(length: int, size: int) -> tuple[csr_array, int]:
    """(size, length) int32: what each old position counts for at each new one, times 2^bits.

    A triangle over the old positions around the new one, wider where there are fewer new ones, in
    16 bits with a sign: `compute_indices_int16_weights_aa` of PyTorch's UpSampleKernel.cpp.
    """
    scale = length / size
    reach = max(scale, 1.0)
    centers = scale * (np.arange(size) + 0.5)
    first = (centers - reach + 0.5).astype(int).clip(min=0)
    stop = (centers + reach + 0.5).astype(int).clip(max=length)
    positions = first[:, None] + np.arange((stop - first).max())
    weights = (1 - np.abs(positions + 0.5 - centers[:, None]) / reach).clip(min=0)
    weights[positions >= stop[:, None]] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    bits = min(22, math.ceil(math.log2((2**15 - 0.5) / weights.max())) - 1)
    whole = (weights * 2**bits + 0.5).astype(np.int32)
    columns, ends = positions.clip(max=length - 1), np.arange(size + 1) * positions.shape[1]
    return csr_array((whole.ravel(), columns.ravel(), ends), shape=(size, length)), bits
