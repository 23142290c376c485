"""Measure what notebook 10 says of fine-tuning: `python -m tools.photos.finetuning`.

Each start is trained on crops of the twelve training photographs, with three seeds: a new UPerNet
head on the frozen encoder, the same with the encoder trained as well, and the finished model's
linear layer with everything trained. `heads.json` holds the mean IoU before (for a linear layer)
and after. A quarter of an hour on two idle cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from helpers.labels import IGNORE_INDEX
from tools.photos import heads
from tools.photos.model import PHOTOGRAPHS, as_upernet, new_upernet, scores

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SIDE = 320
"""Pixels of a square crop: half a photograph's width, at its own resolution."""
BATCH = 4


def crops(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[tuple[torch.Tensor, ...]]:
    """Batches of crops without end: (batch, 3, side, side) pixel values and their labels; each is
    flipped in one of two cases."""
    while True:
        chosen = []
        for index in torch.randint(len(pairs), (BATCH,)):
            both = torch.cat([pairs[index][0][0], pairs[index][1].float()])
            row, column = (int(torch.randint(size - SIDE + 1, ())) for size in both.shape[1:])
            crop = both[:, row : row + SIDE, column : column + SIDE]
            chosen.append(crop.flip(-1) if torch.rand(()) < 0.5 else crop)
        batch = torch.stack(chosen)
        yield batch[:, :3], batch[:, 3].long()


def fine_tune(
    model: PreTrainedModel,
    pairs: list[tuple[torch.Tensor, torch.Tensor]],
    steps: int,
    rates: dict[str, float],
    train_mode: bool,
) -> None:
    """Train parts of a model with AdamW and learning rates that fall to zero.

    Args:
        rates: the learning rate of each part; parts without one stay frozen.
        train_mode: whether the decode head's batch normalisation follows each batch.
    """
    model.train(train_mode)
    for name, part in model.named_children():
        part.requires_grad_(name in rates)
    groups = [{"params": getattr(model, part).parameters(), "lr": rates[part]} for part in rates]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _, (pixel_values, labels) in zip(range(steps), crops(pairs), strict=False):
        logits = model(pixel_values).logits
        optimizer.zero_grad()
        cross_entropy(logits, labels, ignore_index=IGNORE_INDEX).backward()
        optimizer.step()
        schedule.step()
    model.eval()


def starts_compared() -> list[dict[str, Any]]:
    """Mean IoU after the training of each start, and of the linear layer before."""
    splits, labels = heads.photographs(PHOTOGRAPHS)
    photographs = heads.Photographs(PHOTOGRAPHS, "ImageNet")
    _, image_processor = heads.load_encoder("ImageNet")
    pairs = [heads.tensors(row, image_processor) for row in splits["train"]]
    found: dict[str, list[dict[str, float]]] = {}

    def score(name: str, model: PreTrainedModel) -> None:
        one = scores(model, image_processor, splits)
        print(name, one, flush=True)
        found.setdefault(name, []).append({key: round(value, 4) for key, value in one.items()})

    for seed in heads.SEEDS:
        torch.manual_seed(seed)
        head = photographs.linear()
        score("linear layer", as_upernet(head, labels))
        for rate in (1e-5, 1e-4):
            model = as_upernet(head, labels)
            both = {"decode_head": rate, "backbone": rate}
            fine_tune(model, pairs, 60, both, train_mode=False)
            score(f"linear layer, then both at {rate:.0e}", model)
        torch.manual_seed(seed)
        model = new_upernet(labels)
        fine_tune(model, pairs, 120, {"decode_head": 1e-3}, train_mode=True)
        score("new head", model)
        torch.manual_seed(seed)
        model = new_upernet(labels)
        fine_tune(model, pairs, 120, {"decode_head": 1e-3, "backbone": 1e-4}, train_mode=True)
        score("new head and encoder", model)
    return [{"start": name, **heads.together(rows)} for name, rows in found.items()]


if __name__ == "__main__":
    heads.store("starts", starts_compared())
