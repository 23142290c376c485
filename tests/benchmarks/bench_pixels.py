"""From logits to pixels: loss and label maps beside SegFormer's own and the image processor's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn.functional import cross_entropy, interpolate
from transformers import SegformerImageProcessor

from helpers.labels import ADE20K, IGNORE_INDEX
from helpers.training import pixel_cross_entropy
from helpers.upsampling import label_maps
from tests.benchmarks.measuring import Row, compare


def rows(quick: bool) -> Iterator[Row]:
    yield from on_device("cpu", (64,) if quick else (128, 512), 2, 1 if quick else 5)


def on_device(device: str, sides: tuple[int, ...], batch_size: int, rounds: int) -> Iterator[Row]:
    """Milliseconds an image, in batches, for 150 classes; `device` as torch names it."""
    threads = f"{torch.get_num_threads()} threads"
    where = torch.cuda.get_device_name() if device == "cuda" else threads
    for side in sides:
        logits, labels = smooth_logits(batch_size, side, device)
        timing = {"rounds": rounds, "unit": "ms an image", "per": batch_size}
        yield from losses(f"labels of {side} × {side}, {where}", logits, labels, timing)
        yield from upsamplings(f"to {side} × {side}, {where}", logits.detach(), side, timing)


def losses(
    what: str, logits: torch.Tensor, labels: torch.Tensor, timing: dict[str, Any]
) -> list[Row]:
    def ours() -> torch.Tensor:
        return pixel_cross_entropy(SimpleNamespace(logits=logits), labels)

    def segformers() -> torch.Tensor:
        large = interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
        return cross_entropy(large, labels, ignore_index=IGNORE_INDEX)

    def with_gradient(loss: Callable[[], torch.Tensor]) -> torch.Tensor:
        logits.grad = None
        value = loss()
        value.backward()
        return waited_for(torch.cat([value.detach()[None], logits.grad.flatten()[::1000]]))

    return compare(
        f"loss and gradient, {what}",
        partial(with_gradient, ours),
        {"as in SegFormer's forward": partial(with_gradient, segformers)},
        partial(torch.testing.assert_close, rtol=1e-3, atol=1e-6),
        **timing,
    )


def upsamplings(what: str, logits: torch.Tensor, side: int, timing: dict[str, Any]) -> list[Row]:
    outputs, sizes = SimpleNamespace(logits=logits), [(side, side)] * len(logits)
    theirs = SegformerImageProcessor().post_process_semantic_segmentation
    return compare(
        f"upsampling and argmax {what}",
        lambda: waited_for(torch.stack(label_maps(logits, sizes))),
        {
            "post_process_semantic_segmentation": lambda: waited_for(
                torch.stack(theirs(outputs, sizes))
            )
        },
        same_labels,
        **timing,
    )


def smooth_logits(count: int, side: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (count, 150, side / 4, side / 4) with regions as a trained model's have, and labels.

    Noise, smoothed over a sixteenth of the side: neighbouring pixels mostly agree on a class.
    """
    torch.manual_seed(0)
    coarse = 5 * torch.randn(count, ADE20K.num_labels, 16, 16)
    logits = interpolate(coarse, (side // 4, side // 4), mode="bicubic").to(device)
    labels = torch.randint(0, ADE20K.num_labels, (count, 16, 16)).float()[:, None]
    labels = interpolate(labels, (side, side), mode="nearest")[:, 0].long().to(device)
    return logits.contiguous().requires_grad_(), labels


def same_labels(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Sums taken in another order differ in the last digit, which decides between equals."""
    differing = (ours.long() != theirs.long()).float().mean().item()
    assert differing < 1e-4, f"{differing:.2%} of the pixels differ"


def waited_for(result: torch.Tensor) -> torch.Tensor:
    """The result, once the GPU has computed it."""
    if result.is_cuda:
        torch.cuda.synchronize()
    return result
