"""The loss: SegFormer's own on a whole batch, and exact in parts, where SegFormer's is not."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from samples import SIDE, small_model
from torch.nn.functional import cross_entropy, interpolate
from transformers.modeling_outputs import SemanticSegmenterOutput

from helpers.training import (
    dice_loss,
    focal_loss,
    labelled_pixels,
    pixel_cross_entropy,
)
from scripts.losses import class_weights, dice_and_cross_entropy

WEIGHTS = torch.linspace(0.1, 3.0, 150)
LOSSES = {
    "cross-entropy": pixel_cross_entropy,
    "class weights": partial(pixel_cross_entropy, weights=WEIGHTS),
    "focal": focal_loss,
    "dice": dice_loss,
    "dice and cross-entropy": dice_and_cross_entropy,
}


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


def loss_of(
    logits: torch.Tensor,
    labels: torch.Tensor,
    count: object = None,
    loss: Callable[..., torch.Tensor] = pixel_cross_entropy,
) -> torch.Tensor:
    return loss(SemanticSegmenterOutput(logits=logits), labels, count)


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


@pytest.mark.parametrize("name", LOSSES)
def test_parts_add_up_to_the_whole_however_unequal_they_are(name: str) -> None:
    logits, labels = random_batch()
    logits = logits * torch.tensor([1.0, 3.0, 1.0, 1.0])[:, None, None, None]  # one is hard
    whole = loss_of(logits, labels, loss=LOSSES[name])
    count = labelled_pixels(labels)
    parts = [
        loss_of(logits[part], labels[part], count, LOSSES[name])
        for part in (slice(0, 1), slice(1, 4))
    ]
    torch.testing.assert_close(sum(parts), whole, rtol=1e-6, atol=0)


def test_a_mean_of_means_is_another_loss() -> None:
    logits, labels = random_batch()
    logits = logits * torch.tensor([1.0, 3.0, 1.0, 1.0])[:, None, None, None]
    mean_of_means = sum(loss_of(logits[i : i + 1], labels[i : i + 1]) for i in range(4)) / 4
    assert abs(mean_of_means - loss_of(logits, labels)) > 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_no_labelled_pixel_means_no_loss_and_no_gradient(name: str) -> None:
    logits, labels = random_batch(ignored=(1.0, 1.0))
    loss = loss_of(logits, labels, loss=LOSSES[name])
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert (gradient == 0).all()


def test_class_weights_are_torch_s_but_for_what_their_sum_is_divided_by() -> None:
    logits, labels = random_batch()
    large = interpolate(logits, size=labels.shape[-2:], mode="bilinear")
    expected = cross_entropy(large, labels, WEIGHTS, ignore_index=255)
    expected *= WEIGHTS[labels[labels != 255]].mean()
    loss = loss_of(logits, labels, loss=LOSSES["class weights"])
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)


def test_class_weights_grow_with_rarity_and_leave_the_learning_rate() -> None:
    """As notebook 07 has them: 1 / sqrt(share), scaled so that their mean over pixels is 1."""
    areas = np.array([900, 100, 0])
    weights = class_weights(areas)
    assert weights[1] / weights[0] == pytest.approx(3)
    assert weights[2] == weights[1]  # no pixel: as the rarest class that has some
    assert (weights.numpy() * areas).sum() / areas.sum() == pytest.approx(1)


def test_focal_loss_counts_sure_pixels_less() -> None:
    logits, labels = random_batch()
    plain = loss_of(logits, labels)
    assert 0.9 * plain < loss_of(logits, labels, loss=focal_loss) < plain  # at chance nearly all
    # Two classes, one pixel, the right one at probability 0.9.
    two = torch.tensor([0.9, 0.1]).log()[None, :, None, None]
    expected = 0.1**2 * -torch.tensor(0.9).log()
    label = torch.zeros(1, 1, 1, dtype=torch.long)
    torch.testing.assert_close(loss_of(two, label, loss=focal_loss), expected)


def test_dice_loss_of_one_image_by_hand() -> None:
    # Class 0 in three pixels, class 1 in one, class 2 in none, one pixel ignored; each pixel has
    # its class at 0.8 and the others at 0.1.
    labels = torch.tensor([[[0, 0, 0, 1, 255]]])
    probabilities = torch.full((1, 3, 1, 5), 0.1)
    for column, label in enumerate((0, 0, 0, 1, 2)):
        probabilities[0, label, 0, column] = 0.8
    first = 2 * 2.4 / (2.4 + 0.1 + 3)
    second = 2 * 0.8 / (0.8 + 0.3 + 1)
    loss = loss_of(probabilities.log(), labels, loss=dice_loss)
    torch.testing.assert_close(loss, torch.tensor(1 - (first + second) / 2))


@pytest.mark.parametrize("name", LOSSES)
def test_an_image_without_labels_takes_no_part(name: str) -> None:
    logits, labels = random_batch(ignored=(0.2, 1.0))
    alone = loss_of(logits[:1], labels[:1], loss=LOSSES[name])
    torch.testing.assert_close(loss_of(logits, labels, loss=LOSSES[name]), alone)


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
