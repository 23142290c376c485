"""Make the bundled Mask2Formers: train on panoptic annotations of further toy scenes.

    python -m tools.drawing.train_panoptic      # about an hour on two CPU cores
    accelerate launch --num_processes 2 -m tools.drawing.train_panoptic    # somewhat faster
    python -m tools.drawing.train_panoptic --things-only                   # and then this one

writes `checkpoints/mask2former-toy`, one model for semantic, instance and panoptic segmentation,
and then `checkpoints/mask2former-toy-instance`, which continues from it with things alone, as the
published instance models know no sky and no road.

No scene of the bundled data set, and none of the held-out seeds, is trained on. An interrupted
run resumes where it stopped when it is started again with the same arguments. Panoptic quality
is measured with torchmetrics, which comes with `requirements-dev.txt`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torchmetrics.detection import PanopticQuality
from torchvision import tv_tensors
from tqdm.auto import tqdm
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    PvtV2Config,
    SegformerModel,
    set_seed,
)

from helpers.labels import ADE20K, IGNORE_INDEX
from helpers.processes import is_first_process, processes
from helpers.runs import ExactTrainer
from helpers.training import show_one_bar
from helpers.transforms import augmentation
from tools.drawing.scenes import (
    CLASS_VALUES,
    HELD_OUT_SEEDS,
    PRETRAINING_SEEDS_START,
    STUFF_VALUES,
    THING_VALUES,
    VALIDATION_SEEDS,
    Scene,
    draw_scene,
)
from tools.drawing.train_semantic import (
    CHECKPOINTS,
    save_in_16_bits,
    silence_other_classes,
    toy_arguments,
)

TRAINING_SIZE = 128
INFERENCE_SIZE = 192
SMALLEST_SEGMENT = 16
"""Pixels at the training size; what a crop leaves of a segment below that is not asked for."""


class PanopticScenes(Dataset):
    """Toy scenes drawn in advance and augmented again each time: tensors for Mask2Former."""

    def __init__(
        self, seeds: range, image_processor: Mask2FormerImageProcessor, things_only: bool = False
    ) -> None:
        scenes = [draw_scene(seed) for seed in tqdm(seeds, "Drawing scenes")]
        self.images = [scene.image for scene in scenes]
        self.masks = [torch.from_numpy(segment_numbers(scene)) for scene in scenes]
        if things_only:
            self.masks = [mask * (mask % 256 > 0) for mask in self.masks]
        self.augment = augmentation(TRAINING_SIZE)
        self.image_processor = image_processor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image, mask = self.augment(self.images[index], tv_tensors.Mask(self.masks[index]))
        size = {"height": TRAINING_SIZE, "width": TRAINING_SIZE}
        batch = self.image_processor(image, size=size, return_tensors="pt")
        numbers, areas = torch.unique(mask, return_counts=True)
        numbers = numbers[(numbers >= 256) & (areas >= SMALLEST_SEGMENT)]
        return {
            "pixel_values": batch["pixel_values"][0],
            "mask_labels": (mask[None] == numbers[:, None, None]).float(),
            "class_labels": (numbers // 256 - 1).long(),
        }


def segment_numbers(scene: Scene) -> np.ndarray:
    """(height, width) int32: 256 x annotation value + instance id, one number a segment."""
    annotation, instances = np.asarray(scene.annotation), np.asarray(scene.instances)
    return annotation.astype(np.int32) * 256 + instances


def collate(rows: list[dict[str, torch.Tensor]]) -> dict[str, Any]:
    """Stack the images; segments stay lists, as each image has a number of its own."""
    lists = {name: [row[name] for row in rows] for name in ("mask_labels", "class_labels")}
    return {"pixel_values": torch.stack([row["pixel_values"] for row in rows]), **lists}


def build_network(encoder: str | Path, seed: int) -> Mask2FormerForUniversalSegmentation:
    """A small Mask2Former on the toy encoder; the rest has random weights.

    The encoder is SegFormer's, which `transformers` offers to other models as PVT v2: the same
    layers, in the same order, under other names.
    """
    set_seed(seed)
    mit = SegformerModel.from_pretrained(encoder)
    shared = ("hidden_sizes", "depths", "num_attention_heads", "sr_ratios", "mlp_ratios",
              "patch_sizes", "strides", "layer_norm_eps")  # fmt: skip
    backbone = PvtV2Config(
        **{name: getattr(mit.config, name) for name in shared},
        image_size=INFERENCE_SIZE,
        drop_path_rate=0.0,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    model = Mask2FormerForUniversalSegmentation(
        Mask2FormerConfig(
            backbone_config=backbone,
            feature_size=64,
            mask_feature_size=64,
            hidden_dim=64,
            encoder_layers=2,
            encoder_feedforward_dim=128,
            decoder_layers=4,
            dim_feedforward=256,
            num_attention_heads=4,
            num_queries=40,
            train_num_points=1024,
            num_labels=ADE20K.num_labels,
            id2label=ADE20K.id2label,
            label2id=ADE20K.label2id,
        )
    )
    pairs = zip(backbone_of(model).parameters(), mit.parameters(), strict=True)
    with torch.no_grad():
        for ours, pretrained in pairs:
            ours.copy_(pretrained)
    return model


def backbone_of(model: Mask2FormerForUniversalSegmentation) -> torch.nn.Module:
    """The part of a Mask2Former that turns the image into maps of features."""
    return model.model.pixel_level_module.encoder


@torch.inference_mode()
def panoptic_quality(
    scenes: list[Scene],
    model: Mask2FormerForUniversalSegmentation,
    image_processor: Mask2FormerImageProcessor,
    threshold: float = 0.5,
    subtask: str = "panoptic",
) -> dict[str, float]:
    """Panoptic quality (PQ) on scenes at their own size.

    Args:
        scenes: with annotation and instances.
        model: in evaluation mode.
        image_processor: of the model.
        threshold: segments with a lower score are dropped.
        subtask: "panoptic", or "instance" for a model without stuff: its masks are taken as they
            are, where panoptic segments would share out the whole image among the things.

    Returns:
        "all", "things" and "stuff": PQ averaged over the classes present, between 0 and 1.
    """
    metric = PanopticQuality(set(THING_VALUES), set(STUFF_VALUES), True, return_per_class=True)
    present: set[int] = set()
    for scene in tqdm(scenes, "Panoptic quality"):
        truth = np.stack([np.asarray(scene.annotation), np.asarray(scene.instances)], axis=-1)
        batch = image_processor(scene.image, return_tensors="pt").to(model.device)
        settings = {"threshold": threshold, "target_sizes": [scene.image.size[::-1]]}
        if subtask == "panoptic":
            settings["label_ids_to_fuse"] = {value - 1 for value in STUFF_VALUES}
        process = getattr(image_processor, f"post_process_{subtask}_segmentation")
        (result,) = process(model(**batch), **settings)
        segments = result["segmentation"].long().cpu().numpy()
        predicted = np.zeros((*segments.shape, 2), dtype=np.int64)  # 0: in no segment
        for number, segment in enumerate(result["segments_info"], start=1):
            predicted[segments == segment["id"]] = segment["label_id"] + 1, number
        metric.update(
            *(torch.from_numpy(map_[None].astype(np.int64)) for map_ in (predicted, truth))
        )
        present |= set(np.unique(truth[..., 0]).tolist()) - {0}
    order = [*sorted(THING_VALUES), *sorted(STUFF_VALUES)]
    scores = dict(zip(order, metric.compute().flatten().tolist(), strict=True))
    things = present & set(THING_VALUES)
    groups = {"all": present, "things": things, "stuff": present - things}
    return {name: float(np.mean([scores[v] for v in group])) for name, group in groups.items()}


class PanopticTrainer(ExactTrainer):
    """Evaluates by panoptic quality on whole scenes: a map is no tensor to gather."""

    subtask = "panoptic"

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        self.model.eval()
        scores = panoptic_quality(
            self.eval_dataset, self.model, self.processing_class, subtask=self.subtask
        )
        metrics = {f"eval_pq_{name}": value for name, value in scores.items()}
        self.log(metrics)
        return metrics


CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-segmentation
tags:
  - panoptic-segmentation
  - instance-segmentation
  - mask2former
  - synthetic
---

# {name}

{what}

It was trained on {scenes:,} toy scenes (drawn by `tools/drawing`; none of the bundled data
set's and none of the held-out ones) for {steps:,} steps of {batch_size} images at
{training} × {training} pixels, with crops, flips and colour jitter, by

```sh
{command}
```

Panoptic quality on the {held_out} held-out scenes, at their own size, with images resized to
{inference} × {inference} for the model and {subtask} segments of a score below {threshold} dropped:

| {groups} |
| {rule} |
| {figures} |

It knows drawings only: on a photograph its answer means nothing. Weights are stored in 16 bits
({parameters:,} parameters) and loaded as 32-bit floats. Loading it, `transformers` remarks that
PVT v2 is not among the backbones that it has tried with Mask2Former; our tests have.
"""

WHAT = {
    "mask2former-toy": """A small Mask2Former for toy scenes, for courses and tests without a
network: one model for semantic, instance and panoptic segmentation. Its labels are ADE20K's 150;
classes that no toy scene holds are never predicted. Its backbone started from `mit-toy`, under the
name by which Mask2Former knows it (PVT v2), the rest from random weights.""",
    "mask2former-toy-instance": """A small Mask2Former for instance segmentation of toy scenes, for
courses and tests without a network: `mask2former-toy`, trained on with things alone. It finds
cars, people and chairs, and has no mask for sky or road.""",
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.drawing.train_panoptic", description="Make the bundled Mask2Formers."
    )
    parser.add_argument(
        "--things-only", action="store_true", help="continue from mask2former-toy, without stuff"
    )
    parser.add_argument("--scenes", type=int, default=2000, help="toy scenes to train on")
    parser.add_argument("--steps", type=int, help="(default: 3000; 800 for things only)")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, help="(default: 1e-3; 3e-4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--evaluate-on", type=int, default=len(HELD_OUT_SEEDS), help="held-out scenes for the card"
    )
    parser.add_argument("--evaluate-every", type=int, default=1000, help="on 40 toy scenes")
    parser.add_argument("--work-dir", type=Path, help="(default: outputs/NAME)")
    parser.add_argument("--output", type=Path, default=CHECKPOINTS)
    options = parser.parse_args(arguments)
    things_only = options.things_only
    name = "mask2former-toy-instance" if things_only else "mask2former-toy"
    steps = options.steps or (800 if things_only else 3000)
    learning_rate = options.learning_rate or (3e-4 if things_only else 1e-3)
    work_dir = options.work_dir or Path("outputs") / name

    size = {"height": INFERENCE_SIZE, "width": INFERENCE_SIZE}
    image_processor = Mask2FormerImageProcessor(
        size=size, num_labels=ADE20K.num_labels, ignore_index=IGNORE_INDEX
    )
    seeds = range(PRETRAINING_SEEDS_START, PRETRAINING_SEEDS_START + options.scenes)
    if things_only:
        set_seed(options.seed)
        model = Mask2FormerForUniversalSegmentation.from_pretrained(
            options.output / "mask2former-toy"
        )
    else:
        model = build_network(CHECKPOINTS / "mit-toy", options.seed)
    backbone = list(backbone_of(model).parameters())
    known = {id(parameter) for parameter in backbone}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    # The backbone is nearly right already; the rest starts from random numbers.
    groups = [{"params": backbone, "lr": 0.2 * learning_rate}, {"params": others}]
    trainer = PanopticTrainer(
        model=model,
        optimizers=(torch.optim.AdamW(groups, lr=learning_rate, fused=True), None),
        args=toy_arguments(
            work_dir,
            steps,
            options.batch_size // processes().num_processes,
            learning_rate,
            options.seed,
            eval_strategy="steps",
            eval_steps=options.evaluate_every,
            logging_steps=50,
        ),
        train_dataset=PanopticScenes(seeds, image_processor, things_only),
        eval_dataset=[draw_scene(seed) for seed in VALIDATION_SEEDS],
        data_collator=collate,
        processing_class=image_processor,
    )
    show_one_bar(trainer)
    trainer.subtask = "instance" if things_only else "panoptic"
    trainer.train(resume_from_checkpoint=True)
    if not is_first_process():
        return
    values = THING_VALUES if things_only else CLASS_VALUES
    silence_other_classes(trainer.model.class_predictor, [value - 1 for value in values])
    folder = options.output / name
    save_in_16_bits(trainer.model.cpu(), image_processor, folder)
    stored = Mask2FormerForUniversalSegmentation.from_pretrained(folder).eval()
    scenes = [draw_scene(seed) for seed in HELD_OUT_SEEDS[: options.evaluate_on]]
    # Instance masks are painted over each other: doubtful ones do more harm there.
    threshold = 0.8 if things_only else 0.5
    scores = panoptic_quality(scenes, stored, image_processor, threshold, trainer.subtask)
    if things_only:
        scores = {"things": scores["things"]}
    card = CARD.format(
        name=name,
        subtask=trainer.subtask,
        threshold=threshold,
        what=WHAT[name],
        command="python -m tools.drawing.train_panoptic" + " --things-only" * things_only,
        scenes=options.scenes,
        steps=steps,
        batch_size=options.batch_size,
        training=TRAINING_SIZE,
        inference=INFERENCE_SIZE,
        held_out=options.evaluate_on,
        parameters=sum(parameter.numel() for parameter in stored.parameters()),
        groups=" | ".join("all classes" if group == "all" else group for group in scores),
        rule=" | ".join("---:" for _ in scores),
        figures=" | ".join(f"{value:.4f}" for value in scores.values()),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(", ".join(f"PQ {group} {value:.4f}" for group, value in scores.items()))


if __name__ == "__main__":
    main()
