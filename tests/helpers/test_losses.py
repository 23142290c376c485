"""The loss: SegFormer's own on a whole batch, and exact in parts, where SegFormer's is not."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from samples import SIDE, small_model
from transformers.modeling_outputs import SemanticSegmenterOutput

from helpers.training import labelled_pixels, pixel_cross_entropy
from scripts.losses import LOSSES, class_weights, loss_of_name

AREAS = np.arange(1, 151)


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


def by_name(name: str = "cross-entropy") -> Callable[..., torch.Tensor]:
    """A loss of (logits, labels) and the number of labelled pixels."""
    loss = loss_of_name(name, AREAS)
    return lambda logits, *others: loss(SemanticSegmenterOutput(logits=logits), *others)


@pytest.mark.parametrize("size", [(SIDE, SIDE), (33, 50), (200, 34)])
def test_it_is_segformer_s_own_loss(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model, labels = small_model().eval(), random_batch(size)[1][:2]  # two passes without dropout
    pixel_values = torch.randn(2, 3, *size)
    own = model(pixel_values=pixel_values, labels=labels).loss
    own.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    ours = pixel_cross_entropy(model(pixel_values=pixel_values), labels)
    ours.backward()
    torch.testing.assert_close(ours, own, rtol=1e-6, atol=0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_parts_add_up_to_the_whole_however_unequal_they_are(name: str) -> None:
    (logits, labels), loss = random_batch(), by_name(name)
    logits = logits * torch.tensor([1.0, 3.0, 1.0, 1.0])[:, None, None, None]  # one is hard
    count = labelled_pixels(labels)
    parts = [loss(logits[k], labels[k], count) for k in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(sum(parts), loss(logits, labels), rtol=1e-6, atol=0)
    # An image without labels takes no part; where there is none, no loss and no gradient.
    labels[1:] = 255
    torch.testing.assert_close(loss(logits, labels), loss(logits[:1], labels[:1]))
    nothing = loss(logits[1:], labels[1:])
    assert nothing.item() == 0
    assert (torch.autograd.grad(nothing, logits)[0] == 0).all()


def test_class_weights_grow_with_rarity_and_leave_the_learning_rate() -> None:
    """As notebook 07 has them: 1 / sqrt(share), scaled so that their mean over pixels is 1."""
    areas = np.array([900, 100, 0])
    weights = class_weights(areas)
    assert weights[1] / weights[0] == pytest.approx(3)
    assert weights[2] == weights[1]  # no pixel: as the rarest class that has some
    assert (weights.numpy() * areas).sum() / areas.sum() == pytest.approx(1)
    rare, frequent = (torch.full((1, 2, 2), label) for label in (0, 149))
    logits = torch.zeros(1, 150, 2, 2)
    found = [by_name("weighted")(logits, labels) for labels in (rare, frequent)]
    assert found[0] / found[1] == pytest.approx(150**0.5)


def test_focal_loss_counts_sure_pixels_less() -> None:
    # Two classes, one pixel, the right one at probability 0.9.
    logits = torch.tensor([0.9, 0.1]).log()[None, :, None, None]
    expected = 0.1**2 * -torch.tensor(0.9).log()
    label = torch.zeros(1, 1, 1, dtype=torch.long)
    torch.testing.assert_close(by_name("focal")(logits, label), expected)


def test_dice_loss_of_one_image_by_hand() -> None:
    # Class 0 in three pixels, class 1 in one, class 2 in none, one pixel ignored; each pixel has
    # its class at 0.8 and the others at 0.1.
    labels = torch.tensor([[[0, 0, 0, 1, 255]]])
    probabilities = torch.full((1, 3, 1, 5), 0.1)
    for column, label in enumerate((0, 0, 0, 1, 2)):
        probabilities[0, label, 0, column] = 0.8
    first = 2 * 2.4 / (2.4 + 0.1 + 3)
    second = 2 * 0.8 / (0.8 + 0.3 + 1)
    loss = by_name("dice")(probabilities.log(), labels)
    torch.testing.assert_close(loss, torch.tensor(1 - (first + second) / 2))


def test_16_bit_logits_are_upsampled_in_32_bits_and_labels_beyond_the_classes_refused() -> None:
    (logits, labels), loss = random_batch(), by_name()
    logits = logits.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(logits, labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(logits.float(), labels), rtol=1e-6, atol=0)
    labels[0, 0, 0] = 150
    with pytest.raises(IndexError, match="150"):
        loss(logits, labels)
