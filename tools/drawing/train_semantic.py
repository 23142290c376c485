"""Make the bundled SegFormer checkpoints: train on further toy scenes, from random weights.

    python -m tools.drawing.train_semantic            # about an hour on two CPU cores

writes two checkpoints beside the toy data set:

* `checkpoints/segformer-toy`: the whole network, a finished model for toy scenes;
* `checkpoints/mit-toy`: its encoder alone, which stands for `nvidia/mit-b0`: notebook 05 puts a
  new decode head on it, as the guide does with the encoder pretrained on ImageNet.

No scene of the bundled data set, and none of the held-out seeds, is trained on. An interrupted
run resumes where it stopped when it is started again with the same arguments.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy, interpolate
from torch.utils.data import Dataset
from tqdm.auto import tqdm
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    TrainingArguments,
    set_seed,
)

from helpers.data import ImageFile, MaskFile
from helpers.evaluation import evaluate
from helpers.labels import ADE20K, IGNORE_INDEX
from helpers.profiles import BUNDLED
from helpers.training import SegmentationTrainer
from helpers.transforms import augmentation, make_train_transform
from tools.drawing.scenes import CLASS_VALUES, HELD_OUT_SEEDS, PRETRAINING_SEEDS_START, draw_scene

if TYPE_CHECKING:
    from transformers.modeling_outputs import SemanticSegmenterOutput

IMAGE_SIZE = 128
INFERENCE_SIZE = 192
"""Of the finished model: crops have shown it things up close, so that it gains from finer maps."""

TOY_LABELS = [value - 1 for value in sorted(CLASS_VALUES)]
CHECKPOINTS = BUNDLED / "checkpoints"


class DrawnScenes(Dataset):
    """Toy scenes drawn in advance and augmented again each time: tensors for SegFormer."""

    def __init__(self, seeds: range, image_processor: SegformerImageProcessor) -> None:
        self.scenes = [draw_scene(seed) for seed in tqdm(seeds, "Drawing scenes")]
        self.transform = make_train_transform(image_processor, augmentation(IMAGE_SIZE))
        pixels = sum(
            np.bincount(np.asarray(scene.annotation).ravel(), minlength=256)
            for scene in self.scenes
        )
        weights = pixels[sorted(CLASS_VALUES)] ** -0.5
        self.class_weights = torch.tensor(weights / weights.mean(), dtype=torch.float32)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        scene = self.scenes[index]
        batch = self.transform({"image": [scene.image], "annotation": [scene.annotation]})
        return {name: values[0] for name, values in batch.items()}


class ToyCrossEntropy:
    """Cross-entropy over the classes that toy scenes hold, the rarer ones weighted up.

    With all 150 classes at full size the loss alone would be half the work of a step, so it is
    taken at half the size. Without weights, small things (a lamp, a plant) come last by far.
    """

    def __init__(self, class_weights: torch.Tensor) -> None:
        self.class_weights = class_weights
        self.positions = torch.full((256,), IGNORE_INDEX)
        self.positions[TOY_LABELS] = torch.arange(len(TOY_LABELS))

    def __call__(
        self,
        outputs: SemanticSegmenterOutput,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor,
    ) -> torch.Tensor:
        labels = self.positions.to(labels.device)[labels[:, ::2, ::2]]
        logits = outputs.logits[:, TOY_LABELS]
        logits = interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        weight = self.class_weights.to(labels.device)
        return cross_entropy(logits, labels, weight, ignore_index=IGNORE_INDEX)


def build_network(seed: int) -> SegformerForSemanticSegmentation:
    """A SegFormer of about a third of B0's size, with random weights."""
    set_seed(seed)
    return SegformerForSemanticSegmentation(
        SegformerConfig(
            hidden_sizes=[32, 64, 128, 192],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 2, 4, 6],
            decoder_hidden_size=128,
            drop_path_rate=0.0,
            classifier_dropout_prob=0.0,
            num_labels=ADE20K.num_labels,
            id2label=ADE20K.id2label,
            label2id=ADE20K.label2id,
        )
    )


def toy_arguments(
    work_dir: Path, steps: int, batch_size: int, learning_rate: float, seed: int, **more: Any
) -> TrainingArguments:
    """What the trainings of all bundled models have in common; `more` are further fields."""
    return TrainingArguments(
        output_dir=str(work_dir),
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(200, steps // 10),
        save_steps=500,
        save_total_limit=1,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to="none",
        seed=seed,
        **more,
    )


@torch.no_grad()
def silence_other_classes(classifier: torch.nn.Module, labels: list[int]) -> None:
    """Keep classes that were never trained from ever winning: all but `labels`."""
    unseen = torch.ones(ADE20K.num_labels, dtype=torch.bool)
    unseen[labels] = False
    classifier.weight[: ADE20K.num_labels][unseen] = 0.0
    classifier.bias[: ADE20K.num_labels][unseen] = -100.0


def save_in_16_bits(
    model: torch.nn.Module, image_processor: SegformerImageProcessor, folder: Path
) -> None:
    """Store half the bytes; `from_pretrained` gives 32-bit weights again, as the config says."""
    shutil.rmtree(folder, ignore_errors=True)
    model.half().save_pretrained(folder)
    model.float()
    image_processor.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["dtype"] = "float32"  # 16-bit arithmetic is slow, or missing, on many CPUs
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def name_as_published(folder: Path) -> None:
    """Put "segformer." before the names of an encoder's weights, as `nvidia/mit-b0` has them.

    Without it, `transformers` 5.15 finds none of them when the encoder is loaded into a
    segmentation model.
    """
    file = folder / "model.safetensors"
    weights = {f"segformer.{name}": tensor for name, tensor in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})


CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-segmentation
tags:
  - semantic-segmentation
  - segformer
  - synthetic
---

# {name}

{what}

Trained from random weights on {scenes:,} toy scenes (drawn by `tools/drawing`; none of the
bundled data set's and none of the held-out ones) for {steps:,} steps of {batch_size} images at
{size} × {size} pixels, with crops, flips and colour jitter (so that it knows things up close), by

```sh
python -m tools.drawing.train_semantic
```

On the {held_out} held-out scenes, at their own size, the whole network scores, with images
resized to {inference} × {inference} pixels for it:

| mean IoU ({present} classes) | pixel accuracy |
| ---: | ---: |
| {mean_iou:.4f} | {accuracy:.4f} |

It knows drawings only: on a photograph its answer means nothing. Weights are stored in 16 bits
({parameters:,} parameters) and loaded as 32-bit floats.
"""

WHAT = {
    "segformer-toy": "A SegFormer that segments toy scenes into the ADE20K classes they hold, for "
    "courses and tests without\na network. Classes that no toy scene holds are never predicted.",
    "mit-toy": "The encoder (Mix Transformer, MiT) of `segformer-toy` without its decode head: it "
    "stands for\n`nvidia/mit-b0` where there is no network, to start fine-tuning from.",
}


def held_out_scenes(count: int) -> datasets.Dataset:
    """The first `count` held-out scenes, with the columns `image` and `annotation`."""
    scenes = (draw_scene(seed) for seed in HELD_OUT_SEEDS[:count])
    rows = [{"image": scene.image, "annotation": scene.annotation} for scene in scenes]
    features = datasets.Features(image=ImageFile(), annotation=MaskFile())
    return datasets.Dataset.from_list(rows, features=features)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.drawing.train_semantic", description="Make the bundled checkpoints."
    )
    parser.add_argument("--scenes", type=int, default=1600, help="toy scenes to train on")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--evaluate-on", type=int, default=len(HELD_OUT_SEEDS), help="held-out scenes for the card"
    )
    parser.add_argument("--work-dir", type=Path, default=Path("outputs/pretraining"))
    parser.add_argument("--output", type=Path, default=CHECKPOINTS)
    options = parser.parse_args(arguments)

    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    image_processor = SegformerImageProcessor(do_reduce_labels=True, size=size)
    seeds = range(PRETRAINING_SEEDS_START, PRETRAINING_SEEDS_START + options.scenes)
    scenes = DrawnScenes(seeds, image_processor)
    trainer = SegmentationTrainer(
        model=build_network(options.seed),
        args=toy_arguments(
            options.work_dir,
            options.steps,
            options.batch_size,
            options.learning_rate,
            options.seed,
            weight_decay=0.01,
            logging_steps=100,
        ),
        train_dataset=scenes,
        compute_loss_func=ToyCrossEntropy(scenes.class_weights),
    )
    trainer.train(resume_from_checkpoint=True)
    model = trainer.model.cpu().eval()
    silence_other_classes(model.decode_head.classifier, TOY_LABELS)
    networks = {"mit-toy": model.segformer, "segformer-toy": model}
    finer = {"height": INFERENCE_SIZE, "width": INFERENCE_SIZE}
    processors = {
        "mit-toy": image_processor,
        "segformer-toy": SegformerImageProcessor(do_reduce_labels=True, size=finer),
    }
    for name, network in networks.items():
        save_in_16_bits(network, processors[name], options.output / name)
    name_as_published(options.output / "mit-toy")
    stored = SegformerForSemanticSegmentation.from_pretrained(options.output / "segformer-toy")
    scores = evaluate(
        held_out_scenes(options.evaluate_on), stored.eval(), processors["segformer-toy"]
    ).compute()
    facts = {
        "scenes": options.scenes,
        "steps": options.steps,
        "batch_size": options.batch_size,
        "size": IMAGE_SIZE,
        "inference": INFERENCE_SIZE,
        "held_out": options.evaluate_on,
        "present": int(np.isfinite(scores["per_category_iou"]).sum()),
        "mean_iou": scores["mean_iou"],
        "accuracy": scores["overall_accuracy"],
    }
    for name, network in networks.items():
        parameters = sum(parameter.numel() for parameter in network.parameters())
        card = CARD.format(name=name, what=WHAT[name], parameters=parameters, **facts)
        (options.output / name / "README.md").write_text(card, encoding="utf-8")
    print(f"mean IoU {facts['mean_iou']:.4f}, pixel accuracy {facts['accuracy']:.4f}")


if __name__ == "__main__":
    main()
