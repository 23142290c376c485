"""From logits to pixels: loss and label maps beside SegFormer's own and the image processor's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace

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
    timing = {"rounds": rounds, "unit": "ms an image", "per": batch_size}
    for side in sides:
        logits, labels = smooth_logits(batch_size, side, device)
        outputs, sizes = SimpleNamespace(logits=logits), [(side, side)] * batch_size

        def with_gradient(
            loss: Callable, logits: torch.Tensor = logits, labels: torch.Tensor = labels
        ) -> torch.Tensor:
            logits.grad = None
            value = loss(SimpleNamespace(logits=logits), labels)
            value.backward()
            return waited_for(torch.cat([value.detach()[None], logits.grad.flatten()[::1000]]))

        yield from compare(
            f"loss and gradient, labels of {side} × {side}, {where}",
            partial(with_gradient, pixel_cross_entropy),
            {"as in SegFormer's forward": partial(with_gradient, segformers_loss)},
            partial(torch.testing.assert_close, rtol=1e-3, atol=1e-6),
            **timing,
        )
        logits.requires_grad_(False)
        theirs = SegformerImageProcessor().post_process_semantic_segmentation
        yield from compare(
            f"upsampling and argmax to {side} × {side}, {where}",
            partial(stacked, label_maps, logits, sizes),
            {"post_process_semantic_segmentation": partial(stacked, theirs, outputs, sizes)},
            same_labels,
            **timing,
        )


def segformers_loss(outputs: SimpleNamespace, labels: torch.Tensor) -> torch.Tensor:
    """As in SegFormer's forward."""
    large = interpolate(outputs.logits, labels.shape[-2:], mode="bilinear", align_corners=False)
    return cross_entropy(large, labels, ignore_index=IGNORE_INDEX)


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
