"""The command that trains: `python -m helpers.training --help`."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

from helpers.cli import processes_wanted, start_processes
from helpers.profiles import Profile, get_profile
from helpers.training.recipe import build_trainer
from helpers.training.sharing import CARD, model_card, push, require_token
from helpers.training.trainer import load_exactly


def main(arguments: list[str] | None = None) -> int:
    """Train from the command line; returns the exit status."""
    options = _parse(arguments)
    if (processes := processes_wanted()) > 1:
        return start_processes(processes, "helpers.training", arguments or sys.argv[1:])
    if not _is_first_process():
        logging.set_verbosity_error()  # what one process has to say is enough
    # Of no consequence here, and nothing that a reader could do about it.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    overrides: dict[str, Any] = {"gradient_accumulation_steps": options.gradient_accumulation_steps}
    if options.max_steps:
        overrides["max_steps"] = options.max_steps
    if options.save_steps:
        overrides |= {"save_steps": options.save_steps, "eval_steps": options.save_steps}
    if options.seed is not None:
        overrides |= {"seed": options.seed}
    if options.num_workers is not None:
        overrides["dataloader_num_workers"] = options.num_workers
    if options.report_to == "tensorboard":
        # A resumed run writes to the same folder, which TensorBoard shows as one curve.
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(options.output_dir / "logs"))
        overrides["report_to"] = "tensorboard"
    try:
        profile = get_profile(options.profile)
        if options.push_to_hub and _is_first_process():  # now, and not when the training is over
            require_token(options.push_to_hub, ask_the_hub=True)
        trainer = build_trainer(
            profile,
            output_dir=options.output_dir / "checkpoints",
            augment=not options.no_augmentation,
            dropout=not options.no_dropout,
            **overrides,
        )
        checkpoint = trainer.last_checkpoint() if options.resume else None
        if checkpoint:
            load_exactly(trainer.model, checkpoint)  # another run's is refused before it matters
    except (ValueError, OSError) as error:
        return _refuse(str(error), status=1)
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except KeyboardInterrupt:
        return _refuse("interrupted: the same command with --resume continues", status=130)
    metrics = trainer.evaluate()
    trainer.save_model(str(options.output_dir))
    if trainer.is_world_process_zero():
        print(f"test mIoU {metrics['eval_mean_iou']:.4f}; the model lies in {options.output_dir}")
    trainer.accelerator.end_training()
    if options.push_to_hub and trainer.is_world_process_zero():
        return _share(options.output_dir, options.push_to_hub, metrics, profile)
    return 0


def _share(folder: Path, repo_id: str, metrics: dict[str, float], profile: Profile) -> int:
    """Write the model card and upload; the exit status. The model stays where it is."""
    try:
        card = model_card(
            folder,
            metrics,
            dataset=profile.dataset,
            base_model=profile.encoder,
            name=repo_id.rpartition("/")[2],
        )
        card.save(folder / CARD)
        print(f"uploaded to {push(folder, repo_id)}")
    except (ValueError, OSError) as error:
        return _refuse(f"not uploaded: {error}", status=1)
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.exit(_refuse(f"{message} (--help lists what there is)", status=2))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options; whatever is wrong with them ends the program with a sentence."""
    parser = _Parser(
        prog="python -m helpers.training",
        description="Fine-tune SegFormer on a profile's data. The best model lies in the output "
        "directory at the end, checkpoints in its checkpoints/ folder.",
        epilog="Several processes, one for each GPU (or on CPUs): "
        "accelerate launch --num_processes 2 -m helpers.training ...",
    )
    parser.add_argument("--profile", help="tiny, sample or full (default: SEG_PROFILE, else tiny)")
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--max-steps", type=int, help="optimiser steps, instead of the profile's")
    parser.add_argument("--save-steps", type=int, help="evaluate and save every so many steps")
    parser.add_argument(
        "--gradient-accumulation-steps",
        type=int,
        default=1,
        metavar="N",
        help="work through the profile's batch in N parts, to save memory",
    )
    parser.add_argument("--seed", type=int, help="instead of the profile's")
    parser.add_argument(
        "--no-augmentation", action="store_true", help="train on the images as they are"
    )
    parser.add_argument("--no-dropout", action="store_true", help="for exact comparisons")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume from the output directory's last complete checkpoint, if any",
    )
    parser.add_argument(
        "--num-workers", type=int, metavar="N", help="processes that prepare batches ahead"
    )
    parser.add_argument(
        "--report-to",
        choices=["none", "tensorboard"],
        default="none",
        help="write curves to OUTPUT_DIR/logs, for `tensorboard --logdir` (default: none)",
    )
    parser.add_argument(
        "--push-to-hub",
        metavar="REPO",
        help="at the end, upload model, image processor and model card to this repository of the "
        "Hugging Face Hub (NAME or OWNER/NAME), private if it is new; needs a token. Nothing is "
        "uploaded otherwise",
    )
    options = parser.parse_args(arguments)
    for name in ("max_steps", "save_steps", "gradient_accumulation_steps"):
        if (value := getattr(options, name)) is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} is {value}: expected at least 1")
    if options.num_workers is not None and options.num_workers < 0:
        parser.error(f"--num-workers is {options.num_workers}: expected 0 or more")
    if options.report_to == "tensorboard" and find_spec("tensorboard") is None:
        parser.error("--report-to tensorboard needs a package: pip install tensorboard")
    if options.seed is not None and not 0 <= options.seed < 2**32:
        parser.error(f"--seed is {options.seed}: expected 0 to {2**32 - 1}")
    checkpoints = options.output_dir / "checkpoints"
    there = next(path for path in (checkpoints, *checkpoints.parents) if path.exists())
    if not there.is_dir():
        parser.error(f"--output-dir: {there} is a file, expected a folder or a new name")
    if not os.access(there, os.W_OK | os.X_OK):
        parser.error(f"--output-dir: cannot write in {there}, choose another folder")
    last = get_last_checkpoint(str(checkpoints)) if there == checkpoints else None
    if last and not options.resume:
        parser.error(
            f"{last} is there already: continue with --resume, or choose another --output-dir"
        )
    return options


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _refuse(message: str, status: int) -> int:
    """Say why in a sentence; of several processes with the same mistake, the first one says it."""
    if not _is_first_process():
        time.sleep(10)  # the launcher ends us as soon as the first process ends
    print("error:", " ".join(message.split()), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
