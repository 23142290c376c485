"""From small logits to the pixels of the image: strips and short cuts give the same labels."""

import pytest
import torch
from samples import small_processor
from torch.nn.functional import interpolate
from transformers.modeling_outputs import SemanticSegmenterOutput

from helpers.inference import argmax_of_strips, upsampled_argmax, upsampled_strips


@pytest.mark.parametrize("size", [(33, 50), (8, 12), (5, 3), (1, 1), (8, 1), (300, 7)])
@pytest.mark.parametrize("smooth", [False, True])
def test_the_short_cut_of_the_cpu_gives_the_same_labels(
    size: tuple[int, int], smooth: bool
) -> None:
    """Noise: all neighbours disagree; one large, smooth region a class: nearly all agree."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, 150, 3, 4) if smooth else (1, 150, 8, 12)
    logits = torch.randn(shape, generator=generator)
    logits = interpolate(logits, size=(8, 12), mode="bicubic")
    outputs = SemanticSegmenterOutput(logits=logits)
    (expected,) = small_processor().post_process_semantic_segmentation(outputs, [size])
    assert torch.equal(upsampled_argmax(logits[0], size).long(), expected)
    half = logits[0].bfloat16()  # is upsampled in single precision
    assert torch.equal(upsampled_argmax(half, size), upsampled_argmax(half.float(), size))


@pytest.mark.parametrize(("num_labels", "count"), [(5, 1), (150, 8), (1500, 61)])
def test_rows_at_a_time_are_the_two_interpolations(num_labels: int, count: int) -> None:
    logits = torch.randn(num_labels, 9, 12, generator=torch.Generator().manual_seed(0))
    sizes = [(35, 470), (61, 400)]
    expected = logits[None]
    for size in sizes:
        expected = interpolate(expected, size=size, mode="bilinear", align_corners=False)
    strips = list(upsampled_strips(logits, sizes))
    torch.testing.assert_close(torch.cat(strips, dim=1), expected[0], atol=1e-5, rtol=0)
    assert len(strips) == count
    found = argmax_of_strips(strips)
    assert (found.long() != expected[0].argmax(dim=0)).float().mean() < 1e-4  # as good as equal
    assert found.dtype == (torch.uint8 if num_labels <= 256 else torch.int64)
