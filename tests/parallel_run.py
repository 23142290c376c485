"""Trainings that one process and several must do alike, for test_processes.py.

    torchrun --nproc_per_node N parallel_run.py OUTPUT ENCODER DATA

Trains each of `CASES` and stores what was logged, the final weights and the confusion matrix
in OUTPUT/result.pt. One start for all of them: importing takes longer than training.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import DatasetDict
from samples import small_profile

from helpers.data import load_scenes
from helpers.profiles import Profile
from helpers.training import SegmentationTrainer, build_trainer

# Training images and accumulation steps; batches are of 4, of 2 where there are no more images.
# Of nine images one is left over, another one each time.
CASES = {
    "8 images": (8, 1),
    "9 images": (9, 1),
    "2 images": (2, 1),
    "8 images in parts": (8, 2),
    "9 images in parts": (9, 2),
}


def train(
    profile: Profile, scenes: DatasetDict, output: Path, images: int, accumulation: int
) -> dict[str, Any]:
    chosen = scenes.copy()
    chosen["train"] = scenes["train"].select(range(images))
    trainer = build_trainer(
        profile,
        chosen,
        output,
        augment=False,
        dropout=False,
        gradient_accumulation_steps=accumulation,
        load_best_model_at_end=False,
        save_strategy="no",
    )
    trainer.train()
    return {
        "processes": trainer.args.world_size,
        "history": trainer.state.log_history,
        "weights": trainer.model.state_dict(),
        "counts": torch.as_tensor(trainer.compute_metrics.matrix.counts),
    }


def chance(profile: Profile, scenes: DatasetDict, output: Path) -> dict[str, Any]:
    """What each process draws: the order of the images, and a number as dropout would."""
    trainer: SegmentationTrainer = build_trainer(profile, scenes, output, augment=False)
    batches = iter(trainer.get_train_dataloader())
    parts, _ = trainer.get_batch_samples(batches, len(scenes["train"]), trainer.args.device)
    seen = [round(image.sum().item(), 2) for part in parts for image in part["pixel_values"]]
    return {
        "rank": trainer.args.process_index,
        "images": gather_object(seen),
        "numbers": gather_object([torch.rand(()).item()]),
    }


def main() -> None:
    output, encoder, data = map(Path, sys.argv[1:])
    profile = small_profile(encoder, data)
    scenes = load_scenes(profile)
    results = {name: train(profile, scenes, output, *case) for name, case in CASES.items()}
    results["chance"] = chance(profile, scenes, output)
    if results["chance"]["rank"] == 0:
        torch.save(results, output / "result.pt")
    PartialState().destroy_process_group()  # or a process may abort on its way out


if __name__ == "__main__":
    main()
