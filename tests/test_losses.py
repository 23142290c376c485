"""The loss: SegFormer's own on a whole batch, and exact in parts, where SegFormer's is not."""

import pytest
import torch
from samples import SIDE, small_model
from torch.nn.functional import cross_entropy, interpolate
from transformers.modeling_outputs import SemanticSegmenterOutput

from helpers.training.loss import labelled_pixels, pixel_cross_entropy


def random_batch(
    size: tuple[int, int] = (32, 32), ignored: tuple[float, ...] = (0.1, 0.9, 0.5, 0.0)
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits at a quarter of the size, and labels with so large a share ignored per image."""
    generator = torch.Generator().manual_seed(0)
    height, width = size
    logits = torch.randn(len(ignored), 150, height // 4, width // 4, generator=generator)
    labels = torch.randint(0, 150, (len(ignored), height, width), generator=generator)
    chance = torch.rand(labels.shape, generator=generator)
    labels[chance < torch.tensor(ignored)[:, None, None]] = 255
    return logits.requires_grad_(), labels


def loss_of(logits: torch.Tensor, labels: torch.Tensor, count: object = None) -> torch.Tensor:
    return pixel_cross_entropy(SemanticSegmenterOutput(logits=logits), labels, count)


def test_it_is_segformer_s_own_loss() -> None:
    torch.manual_seed(0)
    model = small_model()
    pixel_values, labels = torch.randn(2, 3, SIDE, SIDE), random_batch((SIDE, SIDE))[1][:2]
    model.eval()  # dropout off, so that both passes are the same
    own = model(pixel_values=pixel_values, labels=labels).loss
    own.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    ours = pixel_cross_entropy(model(pixel_values=pixel_values), labels)
    ours.backward()
    torch.testing.assert_close(ours, own, rtol=1e-6, atol=0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (30, 33), (5, 64), (1040, 24), (200, 180)])
def test_it_upsamples_as_interpolate_does(size: tuple[int, int]) -> None:
    logits, labels = random_batch(size)
    upsampled = interpolate(logits, size=size, mode="bilinear", align_corners=False)
    expected = cross_entropy(upsampled, labels, ignore_index=255)
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    loss = loss_of(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-8)


def test_parts_add_up_to_the_whole_however_unequal_they_are() -> None:
    logits, labels = random_batch()
    logits = logits * torch.tensor([1.0, 3.0, 1.0, 1.0])[:, None, None, None]  # one is hard
    whole = loss_of(logits, labels)
    count = labelled_pixels(labels)
    parts = [loss_of(logits[part], labels[part], count) for part in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(sum(parts), whole, rtol=1e-6, atol=0)
    mean_of_means = sum(loss_of(logits[i : i + 1], labels[i : i + 1]) for i in range(4)) / 4
    assert abs(mean_of_means - whole) > 0.1  # what accumulating means would give


def test_no_labelled_pixel_means_no_loss_and_no_gradient() -> None:
    logits, labels = random_batch(ignored=(1.0, 1.0))
    loss = loss_of(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert (gradient == 0).all()


def test_an_image_without_labels_takes_no_part() -> None:
    logits, labels = random_batch(ignored=(0.2, 1.0))
    torch.testing.assert_close(loss_of(logits, labels), loss_of(logits[:1], labels[:1]))


def test_16_bit_logits_are_upsampled_in_32_bits() -> None:
    logits, labels = random_batch()
    logits = logits.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(logits, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, loss_of(logits.float(), labels), rtol=1e-6, atol=0)


def test_a_label_beyond_the_classes_is_refused() -> None:
    logits, labels = random_batch()
    labels[0, 0, 0] = 150
    with pytest.raises(IndexError, match="150"):
        loss_of(logits, labels)
