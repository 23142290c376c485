"""From logits to pixels: label maps beside those of the image processor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace

import torch
from torch.nn.functional import interpolate
from transformers import SegformerImageProcessor

from helpers.inference import label_maps
from helpers.labels import ADE20K
from tests.benchmarks.measuring import Row, compare


def rows(quick: bool) -> Iterator[Row]:
    yield from on_device("cpu", (64,) if quick else (128, 512), 2, 1 if quick else 5)


def on_device(device: str, sides: tuple[int, ...], batch_size: int, rounds: int) -> Iterator[Row]:
    """Milliseconds an image, in batches, for 150 classes; `device` as torch names it."""
    threads = f"{torch.get_num_threads()} threads"
    where = torch.cuda.get_device_name() if device == "cuda" else threads
    timing = {"rounds": rounds, "unit": "ms an image", "per": batch_size}
    for side in sides:
        outputs = SimpleNamespace(logits=smooth_logits(batch_size, side, device))
        sizes = [(side, side)] * batch_size
        theirs = SegformerImageProcessor().post_process_semantic_segmentation
        yield from compare(
            f"upsampling and argmax to {side} × {side}, {where}",
            partial(stacked, label_maps, outputs.logits, sizes),
            {"post_process_semantic_segmentation": partial(stacked, theirs, outputs, sizes)},
            same_labels,
            **timing,
        )


def smooth_logits(count: int, side: int, device: str) -> torch.Tensor:
    """(count, 150, side / 4, side / 4) with regions as a trained model's logits have.

    Noise, smoothed over a sixteenth of the side: neighbouring pixels mostly agree on a class.
    """
    torch.manual_seed(0)
    coarse = 5 * torch.randn(count, ADE20K.num_labels, 16, 16)
    return interpolate(coarse, (side // 4, side // 4), mode="bicubic").to(device)


def stacked(label_maps_of: Callable, *given: object) -> torch.Tensor:
    return waited_for(torch.stack(label_maps_of(*given)))


def same_labels(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Sums taken in another order differ in the last digit, which decides between equals."""
    differing = (ours.long() != theirs.long()).float().mean().item()
    assert differing < 1e-4, f"{differing:.2%} of the pixels differ"


def waited_for(result: torch.Tensor) -> torch.Tensor:
    """The result, once the GPU has computed it."""
    if result.is_cuda:
        torch.cuda.synchronize()
    return result
