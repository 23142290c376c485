"""Make the bundled model of the photographs: `python -m tools.photos.model`.

It is notebook 10's linear layer on the bundled encoder, written as the decode head of a UPerNet, so
that whatever takes a model takes it.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSemanticSegmentation,
    BaseImageProcessor,
    PreTrainedModel,
    SegformerImageProcessor,
    UperNetForSemanticSegmentation,
)

from helpers.evaluation import evaluate
from helpers.inference import load_model
from helpers.labels import Labels
from helpers.profiles import BUNDLED
from tools.photos import heads
from tools.photos.encoder import FOLDER as ENCODER
from tools.photos.encoder import save

FOLDER = BUNDLED / "checkpoints" / "campus-upernet"
PHOTOGRAPHS = str(BUNDLED / "photos")
SEED = 0
"""Of the linear layer, as in notebook 10."""
LONGEST_SIDE = 640
"""Pixels, of the photographs that it was trained on; others are scaled to it."""


def new_upernet(labels: Labels, **settings: int) -> UperNetForSemanticSegmentation:
    """The bundled encoder under a decode head with random weights, without pyramid pooling, which
    would pool a crop of a few positions to one; `settings` are others of its configuration."""
    config = AutoConfig.from_pretrained(
        ENCODER, pool_scales=[], id2label=labels.id2label, label2id=labels.label2id, **settings
    )
    return AutoModelForSemanticSegmentation.from_pretrained(ENCODER, config=config)


@torch.no_grad()
def as_upernet(head: heads.LinearHead, labels: Labels) -> UperNetForSemanticSegmentation:
    """The bundled encoder under a decode head that computes the same as a linear head.

    A linear layer on the joined maps of all strides is a sum, of one layer for each map, and a
    UPerNet sums its maps as well, from the coarsest to the finest. But it has a ReLU after each
    convolution. So each class gets two channels, the second with the opposite sign, and the
    classifier subtracts them at the end: x = relu(x) - relu(-x).
    """
    weight, bias = head.folded()
    count = labels.num_labels
    model = new_upernet(labels, hidden_size=2 * count).eval()
    decoder = model.decode_head
    for module, part in zip(
        [*decoder.lateral_convs, decoder.bottleneck],  # one for each stride
        weight.split(decoder.in_channels, dim=1),
        strict=True,
    ):
        _set(module, torch.cat([part, -part]))
    for module in (*decoder.fpn_convs, decoder.fpn_bottleneck):
        _set(module, torch.eye(2 * count))  # the last one gets all maps, and takes the finest
    difference = torch.cat([torch.eye(count), -torch.eye(count)], dim=1)
    decoder.classifier.weight.copy_(difference[..., None, None])
    decoder.classifier.bias.copy_(bias)
    return model


def _set(module: torch.nn.Module, weight: torch.Tensor) -> None:
    """A convolution of the first channels, position by position, that is not normalized."""
    middle = module.conv.kernel_size[0] // 2
    module.conv.weight.zero_()
    module.conv.weight[:, : weight.shape[1], middle, middle] = weight
    module.batch_norm.running_var.fill_(1 - module.batch_norm.eps)


@torch.no_grad()
def adopt_statistics(model: UperNetForSemanticSegmentation, images: list[torch.Tensor]) -> None:
    """Have the decode head normalize by what its channels are on these images, and undo that at
    once, so that it computes the same, and nearly the same in training mode.

    Otherwise a training, which normalizes by the statistics of each batch, would begin with another
    model: 20 batches without any learning cost a third of the mean IoU.

    Args:
        images: pixel values, (1, 3, height, width) each.
    """
    seen: dict[torch.nn.BatchNorm2d, list[torch.Tensor]] = {}
    norms = [one for one in model.decode_head.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    hooks = [
        norm.register_forward_pre_hook(
            lambda norm, given: seen.setdefault(norm, []).append(given[0][0].flatten(1))
        )
        for norm in norms
    ]
    for image in images:
        model(image)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        variance, mean = torch.var_mean(torch.cat(seen[norm], dim=1), dim=1)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean)


def scores(
    model: PreTrainedModel, image_processor: BaseImageProcessor, splits: dict[str, Any]
) -> dict[str, float]:
    """Mean IoU on each split but `train`, at the photographs' own size."""
    tested = {name: split for name, split in splits.items() if name != "train"}
    matrices = {k: evaluate(split, model, image_processor) for k, split in tested.items()}
    return {name: matrix.compute()["mean_iou"] for name, matrix in matrices.items()}


CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-segmentation
tags:
  - semantic-segmentation
  - upernet
  - efficientnet
---

# campus-upernet

Segments photographs of streets, parks and buildings into sky, building, tree, grass and road: the
encoder `efficientnet-lite0` as it is, and one linear layer on its features, trained on the twelve
training photographs of `helpers/bundled/photos`, which show one campus on one afternoon.

```sh
model=helpers/bundled/checkpoints/campus-upernet
python -m scripts.segment photograph.jpg --model $model --output results
```

| photographs | mean IoU (5 classes) |
| --- | ---: |
| validation: the campus from other sides | {validation:.4f} |
| test: other places | {test:.4f} |

Measured at the photographs' own size. Six photographs of other places are few, and the weight decay
was chosen with a look at them (notebook 10). It has five classes: a person, a car, water or a
mountain becomes one of them. Photographs are scaled until their longer side has {longest} pixels,
as the training photographs have.

It loads as `UperNetForSemanticSegmentation`, but computes the linear layer of notebook 10: each
class has two of the decode head's {hidden} channels, its weighted sum and the same with the
opposite sign, so that nothing is lost in a ReLU, and the classifier subtracts them. The batch
normalisation of its decode head has the statistics of the training photographs and undoes itself,
so that a training can start from here: `python -m scripts.train --start-from $model`. Convolutions
are stored in 16 bits and loaded as 32-bit floats.

## Notice

Made by `python -m tools.photos.model`. The encoder's weights are Google's EfficientNet-Lite0
(Apache-2.0); the README of `efficientnet-lite0` says where they come from and what was changed. The
photographs and their authors are listed in the README of `helpers/bundled/photos`.
"""


def main() -> int:
    """Train the linear layer, write it as a model, and score what was stored."""
    splits, labels = heads.photographs(PHOTOGRAPHS)
    photographs = heads.Photographs(PHOTOGRAPHS, "ImageNet")
    torch.manual_seed(SEED)
    head = photographs.linear()
    image_processor = SegformerImageProcessor.from_pretrained(
        ENCODER, size={"max_height": LONGEST_SIDE, "max_width": LONGEST_SIDE}
    )
    model = as_upernet(head, labels)
    adopt_statistics(model, [heads.tensors(row, image_processor)[0] for row in splits["train"]])
    save(model, image_processor, FOLDER)
    labels.save(FOLDER)
    stored = load_model(FOLDER)
    card = CARD.format(
        **scores(*stored, splits), longest=LONGEST_SIDE, hidden=model.config.hidden_size
    )
    (FOLDER / "README.md").write_text(card, encoding="utf-8")
    print(card)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
