"""Trainings that one process and several must do alike, for test_processes.py.

    torchrun --nproc_per_node N parallel_run.py OUTPUT ENCODER DATA

Trains each of `CASES` anew and stores what was logged, the final weights and the confusion matrix
in OUTPUT/result.pt. One start for all of them: importing takes longer than training.
"""

import sys
from pathlib import Path

import torch
from samples import small_profile

from helpers.data import load_scenes
from helpers.training import build_trainer

# Training pictures (batches are of 4) and accumulation steps. On two processes the last batch
# gives each 2, 1 and 1, 2 and 1, 2 and none; with 3 pictures there is no other batch.
CASES = {"8": (8, 1), "6": (6, 1), "7": (7, 1), "5": (5, 1), "10": (10, 1), "3": (3, 1)}
CASES |= {"8 in parts": (8, 2), "7 in parts": (7, 2), "9 in parts": (9, 2)}


def main() -> None:
    output, encoder, data = map(Path, sys.argv[1:])
    profile = small_profile(encoder, data, max_steps=4, eval_steps=2)
    scenes = load_scenes(profile)
    results = {}
    for name, (pictures, accumulation) in CASES.items():
        chosen = scenes.copy()
        chosen["train"] = scenes["train"].select(range(pictures))
        trainer = build_trainer(
            profile,
            chosen,
            output / name,
            augment=False,
            dropout=False,
            gradient_accumulation_steps=accumulation,
            load_best_model_at_end=False,
        )
        trainer.train()
        results[name] = {
            "processes": trainer.args.world_size,
            "history": trainer.state.log_history,
            "weights": trainer.model.state_dict(),
            "counts": torch.as_tensor(trainer.compute_metrics.matrix.counts),
        }
    if trainer.is_world_process_zero():
        torch.save(results, output / "result.pt")
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
