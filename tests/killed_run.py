"""A training run that kills its own process at a given moment, for test_checkpoints.py.

    python killed_run.py OUTPUT ENCODER DATA [EVENT STEP]

EVENT: "step" (after an optimiser step), "evaluate" (in the middle of an evaluation), or the name
of a file: while the checkpoint of that step is being written, after the file appears and before
the checkpoint is whole. Without EVENT the run goes to its end and stores what it came to
in OUTPUT/result.pt.
"""

import os
import signal
import sys
from pathlib import Path

import torch
from samples import small_profile
from transformers import TrainerCallback

from helpers.training import build_trainer


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killer(TrainerCallback):
    def __init__(self, event: str, step: int) -> None:
        self.event, self.step = event, step

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if self.event == "step" and state.global_step == self.step:
            die()

    def on_prediction_step(self, args, state, control, **kwargs) -> None:
        if self.event == "evaluate" and state.global_step == self.step:
            die()


def die_after(file: Path) -> None:
    """Die where Python opens one more file after `file`.

    `Trainer` opens the last file of a checkpoint, trainer_state.json, in Python, so this moment
    comes before the checkpoint is whole.
    """

    def watch(event: str, arguments: tuple) -> None:
        if event == "open" and file.exists():
            die()

    sys.addaudithook(watch)


def main() -> None:
    output, encoder, data, *when = sys.argv[1:]
    profile = small_profile(Path(encoder), Path(data))
    checkpoints = Path(output) / "checkpoints"
    trainer = build_trainer(profile, output_dir=checkpoints, max_steps=7)
    if when:
        event, step = when[0], int(when[1])
        trainer.add_callback(Killer(event, step))
        if "." in event:
            die_after(checkpoints / f"checkpoint-{step}" / event)
    trainer.train(resume_from_checkpoint=True)
    last = torch.load(checkpoints / "checkpoint-6" / "optimizer.pt", weights_only=True)
    result = {
        "best": trainer.model.state_dict(),  # reloaded at the end
        "optimizer": trainer.optimizer.state_dict()["state"],
        "optimizer at step 6": last["state"],
        "best_metric": trainer.state.best_metric,
        "best_step": trainer.state.best_global_step,
    }
    torch.save(result, Path(output) / "result.pt")


if __name__ == "__main__":
    main()
