"""The command that trains: `python -m scripts.train --help`."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

from helpers.data import load_scenes
from helpers.processes import is_first_process
from helpers.profiles import Profile, get_profile
from helpers.runs import last_complete_checkpoint, load_exactly
from helpers.training import SegmentationTrainer, build_arguments, build_trainer
from scripts.cli import at_least, processes_wanted, start_processes, together
from scripts.share import check_token, model_card, share

_CHECKPOINTS = "checkpoints"  # the folder's name in the output directory


def main(arguments: list[str] | None = None) -> int:
    """Train from the command line; returns the exit status."""
    options = _parse(arguments)
    if (processes := processes_wanted()) > 1:
        return start_processes(processes, "scripts.train", arguments or sys.argv[1:])
    _say_little()
    try:
        trainer = together(lambda: _build(options))
        checkpoint = together(lambda: _checkpoint_to_resume(trainer)) if options.resume else None
    except ValueError as error:
        return _refuse(str(error), status=1)
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except KeyboardInterrupt:
        return _refuse("interrupted: the same command with --resume continues", status=130)
    metrics = _evaluate_and_save(trainer, options.output_dir)
    if options.push_to_hub and is_first_process():
        return _share(options, metrics)
    return 0


def _say_little() -> None:
    if not is_first_process():
        logging.set_verbosity_error()  # one process says enough
    # Harmless here, and nothing that a reader could do about it.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")


def _build(options: argparse.Namespace) -> SegmentationTrainer:
    """The trainer that the options describe; whatever can be wrong is found before it trains."""
    _check_folder(options.output_dir, options.resume)
    profile = _profile(options)
    if options.push_to_hub and is_first_process():  # now, not when the training is over
        check_token(options.push_to_hub)
    if options.report_to == "tensorboard":
        # A resumed run writes to the same folder, which TensorBoard shows as one curve.
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(options.output_dir / "logs"))
    overrides = {
        "max_steps": options.max_steps,
        "save_steps": options.save_steps,
        "eval_steps": options.save_steps,
        "seed": options.seed,
        "dataloader_num_workers": options.num_workers,
        "gradient_accumulation_steps": options.gradient_accumulation_steps,
        "report_to": options.report_to,
    }
    overrides = {name: value for name, value in overrides.items() if value is not None}
    checkpoints = options.output_dir / _CHECKPOINTS
    build_arguments(profile, checkpoints, **overrides)  # refuses before any image is decoded
    trainer = build_trainer(
        profile,
        load_scenes(profile, allow_empty=options.allow_empty),
        output_dir=checkpoints,
        augment=not options.no_augmentation,
        dropout=not options.no_dropout,
        **overrides,
    )
    trainer.training_data.refuse_other(options.output_dir)  # or its model would be overwritten
    return trainer


def _profile(options: argparse.Namespace) -> Profile:
    profile = get_profile(options.profile)
    if options.start_from is None:
        return profile
    return replace(profile, encoder=options.start_from, encoder_revision=None)


def _checkpoint_to_resume(trainer: SegmentationTrainer) -> Path | None:
    """The run's last checkpoint, if any; one of another model is refused here."""
    checkpoint = last_complete_checkpoint(trainer.args.output_dir)
    if checkpoint is not None:
        load_exactly(trainer.model, checkpoint)
    return checkpoint


def _evaluate_and_save(trainer: SegmentationTrainer, folder: Path) -> dict[str, float]:
    """Evaluate the best model and save it into the folder; returns its scores."""
    metrics = trainer.evaluate()
    trainer.save_model(str(folder))
    if is_first_process():
        print(f"test mIoU {metrics['eval_mean_iou']:.4f}; the model lies in {folder}")
    trainer.accelerator.end_training()
    return metrics


def _share(options: argparse.Namespace, metrics: dict[str, float]) -> int:
    """Write the model card and upload; the exit status. The model stays where it is."""
    repo_id, profile = options.push_to_hub, _profile(options)
    try:
        card = model_card(repo_id.rpartition("/")[2], profile, metrics["eval_mean_iou"])
        print(f"uploaded to {share(options.output_dir, repo_id, card)}")
    except (ValueError, OSError) as error:
        return _refuse(f"not uploaded: {error}", status=1)
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.exit(_refuse(f"{message} (--help lists what there is)", status=2))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options; a wrong one ends the program with a sentence."""
    parser = _Parser(
        prog="python -m scripts.train",
        description="Fine-tune SegFormer on a profile's data. The best model lies in the output "
        "directory at the end, checkpoints in its checkpoints/ folder.",
        epilog="Several processes, one for each GPU (or on CPUs): "
        "accelerate launch --num_processes 2 -m scripts.train ...",
    )
    parser.add_argument("--profile", help="tiny, sample or full (default: SEG_PROFILE, else tiny)")
    parser.add_argument(
        "--start-from",
        metavar="DIR",
        help="an encoder or a trained model, folder or Hub id, instead of the profile's encoder; "
        "where its classes are not the data's, its last layer is new",
    )
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument(
        "--max-steps",
        type=at_least(1),
        metavar="N",
        help="optimiser steps, instead of the profile's",
    )
    parser.add_argument(
        "--save-steps", type=at_least(1), metavar="N", help="evaluate and save every N steps"
    )
    parser.add_argument(
        "--gradient-accumulation-steps",
        type=at_least(1),
        default=1,
        metavar="N",
        help="work through the profile's batch in N parts, to save memory",
    )
    parser.add_argument(
        "--seed", type=at_least(0, 2**32 - 1), metavar="N", help="instead of the profile's"
    )
    parser.add_argument(
        "--no-augmentation", action="store_true", help="train on the images as they are"
    )
    parser.add_argument("--no-dropout", action="store_true", help="for exact comparisons")
    parser.add_argument(
        "--allow-empty",
        action="store_true",
        help="train even if no training image shows one of the classes that the data name",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume from the output directory's last complete checkpoint, if any",
    )
    parser.add_argument(
        "--num-workers",
        type=at_least(0),
        metavar="N",
        help="processes that prepare batches ahead",
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
    if options.report_to == "tensorboard" and find_spec("tensorboard") is None:
        parser.error("--report-to tensorboard needs a package: pip install tensorboard")
    return options


def _check_folder(folder: Path, resume: bool) -> None:
    """Make sure that a run can begin, or be resumed, in this output folder.

    Raises:
        ValueError: it is a file, cannot be written, or holds a run that is not to be resumed.
    """
    checkpoints = folder / _CHECKPOINTS
    there = next(path for path in (checkpoints, *checkpoints.parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"--output-dir: {there} is a file, expected a folder or a new name")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"--output-dir: cannot write in {there}, choose another folder")
    last = get_last_checkpoint(str(checkpoints)) if there == checkpoints else None
    if last and not resume:
        raise ValueError(
            f"{last} exists already: continue with --resume, or choose another --output-dir"
        )


def _refuse(message: str, status: int) -> int:
    """Say why in a sentence, and return the exit status.

    Of several processes with the same mistake the first one says it. The others exit with 0:
    a launcher ends them all as soon as one has failed, and that must not be before it is said.
    """
    if not is_first_process():
        return 0
    print("error:", " ".join(message.split()), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
