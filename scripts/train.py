"""The command that trains: `python -m scripts.train --help`."""

from __future__ import annotations

import argparse
import math
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.processes import bars_disabled, is_first_process
from helpers.profiles import Profile
from scripts import cli
from scripts.cli import WrongUse
from scripts.losses import LOSSES, loss_of_name

if TYPE_CHECKING:
    from helpers.training import SegmentationTrainer

_CHECKPOINTS = "checkpoints"  # the folder's name in the output directory
_SCORE = "eval_mean_iou"
# Fields of the profile, and of `TrainingArguments`, that options of that name give.
_OF_PROFILE = ("encoder", "image_size", "batch_size", "learning_rate")
_OF_ARGUMENTS = ("max_steps", "save_steps", "seed", "dataloader_num_workers", "report_to")
_OF_ARGUMENTS += ("gradient_accumulation_steps",)


def main(arguments: list[str] | None = None) -> int:
    """Train from the command line; returns the exit status."""
    options = _parse(arguments)
    if (processes := cli.processes_wanted()) > 1:
        return cli.start_processes(processes, "scripts.train", arguments or sys.argv[1:])
    try:
        return _run(options)
    except KeyboardInterrupt:
        return cli.refuse("interrupted: the same command with --resume continues", status=130)
    except Exception as error:
        if (message := cli.when_disk_is_full(error)) is None:
            raise
        return cli.refuse(message, status=1)


def _run(options: argparse.Namespace) -> int:
    """Train, evaluate, save, and upload if that is asked for; the exit status."""
    from transformers.utils import logging

    logging.set_verbosity_error()  # or each new weight of the head is reported
    # Harmless here, and nothing that a reader could do about it.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    try:
        trainer = cli.together(lambda: _build(options))
        checkpoint = (
            cli.together(lambda: _checkpoint_to_resume(trainer)) if options.resume else None
        )
    except ValueError as error:
        return cli.refuse(str(error), 2 if isinstance(error, WrongUse) else 1)
    if options.patience:
        _stop_early(trainer, options.patience, checkpoint)
    _train(trainer, checkpoint)
    metrics = trainer.evaluate()  # of the best model
    trainer.save_model(str(options.output_dir))
    if is_first_process():
        print(f"validation mIoU {metrics[_SCORE]:.4f}; the model lies in {options.output_dir}")
    trainer.accelerator.end_training()
    if options.push_to_hub and is_first_process():
        return _share(options, metrics)
    return 0


def _build(options: argparse.Namespace) -> SegmentationTrainer:
    """The trainer that the options describe; whatever can be wrong is found before it trains."""
    from helpers.data import load_scenes
    from helpers.training import build_arguments, build_trainer
    from scripts.share import check_token

    profile, settings = _profile(options), _given(options, _OF_ARGUMENTS)
    if options.save_steps:
        settings["eval_steps"] = options.save_steps
    checkpoints = options.output_dir / _CHECKPOINTS
    _check_folder(options.output_dir, options.resume)
    try:  # before any image is decoded
        build_arguments(profile, checkpoints, **settings)
    except ValueError as error:
        raise WrongUse(str(error)) from error
    if options.push_to_hub and is_first_process():  # now, not when the training is over
        check_token(options.push_to_hub)
    if options.report_to == "tensorboard":
        # A resumed run writes to the same folder, which TensorBoard shows as one curve.
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(options.output_dir / "logs"))
    scenes = load_scenes(profile, allow_empty=options.allow_empty)
    trainer = build_trainer(
        profile,
        scenes,
        output_dir=checkpoints,
        augment=not options.no_augmentation,
        dropout=not options.no_dropout,
        **settings,
    )
    trainer.compute_loss_func = loss_of_name(options.loss, scenes.areas["train"])
    _try_size(trainer, profile)
    try:
        trainer.training_data.refuse_other(options.output_dir)  # or its model would be overwritten
    except ValueError as error:
        raise (ValueError if options.resume else WrongUse)(str(error)) from error
    return trainer


def _profile(options: argparse.Namespace) -> Profile:
    """The profile, with what the options say in its place."""
    profile = replace(cli.chosen_profile(options), **_given(options, _OF_PROFILE))
    return replace(profile, encoder_revision=None) if options.encoder else profile


def _given(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Those of the options that are given, by their names."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _try_size(trainer: SegmentationTrainer, profile: Profile) -> None:
    """Show the model a black image: a size that it cannot take is found now."""
    import torch

    from helpers.inference import predicting

    side, model = profile.image_size, trainer.model
    try:
        with predicting(model):
            model(pixel_values=torch.zeros(1, 3, side, side, device=model.device))
    except (RuntimeError, ValueError) as error:
        raise WrongUse(
            f"{profile.encoder} takes no images of {side} x {side} pixels ({cli.sentence(error)}): "
            "choose another --image-size"
        ) from error


def _checkpoint_to_resume(trainer: SegmentationTrainer) -> Path | None:
    """The run's last checkpoint, if any; one of another model is refused here."""
    from helpers.runs import last_complete_checkpoint, load_exactly

    checkpoint = last_complete_checkpoint(trainer.args.output_dir)
    if checkpoint is not None:
        load_exactly(trainer.model, checkpoint)
    return checkpoint


def _stop_early(trainer: SegmentationTrainer, patience: int, checkpoint: Path | None) -> None:
    """Stop after so many evaluations without a better score, those before a resume included."""
    from transformers import EarlyStoppingCallback
    from transformers.trainer import TRAINER_STATE_NAME, TrainerState

    callback = EarlyStoppingCallback(patience)
    trainer.add_callback(callback)
    if checkpoint is None:
        return
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    scores = [one[_SCORE] for one in state.log_history if one["step"] and _SCORE in one]
    if scores:
        callback.early_stopping_patience_counter = len(scores) - 1 - scores.index(max(scores))
    if callback.early_stopping_patience_counter >= patience:
        trainer.args.max_steps = state.global_step  # the run has ended here


def _train(trainer: SegmentationTrainer, checkpoint: Path | None) -> None:
    """Train; where no bar shows scores, as in a log file or a notebook, lines do."""
    from transformers import TrainerCallback

    class Lines(TrainerCallback):
        def on_evaluate(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            score = others["metrics"][_SCORE]
            print(f"step {state.global_step} of {state.max_steps}: mIoU {score:.4f}", flush=True)

    if bars_disabled() and is_first_process():
        trainer.add_callback(Lines)
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.remove_callback(Lines)


def _share(options: argparse.Namespace, metrics: dict[str, float]) -> int:
    """Write the model card and upload; the exit status. The model stays where it is."""
    from scripts.share import model_card, share

    repo_id, profile = options.push_to_hub, _profile(options)
    try:
        card = model_card(repo_id.rpartition("/")[2], profile, metrics[_SCORE])
        print(f"uploaded to {share(options.output_dir, repo_id, card)}")
    except (ValueError, OSError) as error:
        return cli.refuse(f"not uploaded: {error}", status=1)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options; a wrong one ends the program with a sentence."""
    parser = cli.Parser(
        prog="python -m scripts.train",
        description="Fine-tune SegFormer, or a model of another family, on a profile's data or "
        "your own. The best model lies in the output directory at the end, checkpoints in its "
        "checkpoints/ folder.",
        epilog="Several processes, one for each GPU (or on CPUs): "
        "accelerate launch --num_processes 2 -m scripts.train ...",
    )
    add, whole = parser.add_argument, {"type": cli.at_least(1), "metavar": "N"}
    cli.add_data_options(parser)
    add(
        "--start-from",
        dest="encoder",
        metavar="MODEL",
        help="an encoder or a trained model of any family of AutoModelForSemanticSegmentation, "
        "folder or Hub id, instead of the profile's encoder; where its classes are not the data's, "
        "its last layer is new",
    )
    add("--output-dir", type=Path, required=True)
    add("--image-size", **whole, help="resize images to N x N pixels, not to the profile's size")
    add("--batch-size", **whole, help="images a step, over all processes, instead of the profile's")
    add(
        "--learning-rate",
        type=cli.a_number(lambda rate: 0 < rate < math.inf, "a number above 0"),
        metavar="X",
        help="of the pretrained weights; new ones learn faster by the profile's factor",
    )
    rare = "weighted: rare classes count more (default: %(default)s)"
    add("--loss", choices=LOSSES, default=LOSSES[0], help=rare)
    patience = "stop after N evaluations in a row without a better mean IoU (default: never)"
    add("--patience", **whole, help=patience)
    add("--max-steps", **whole, help="optimiser steps, instead of the profile's")
    add("--save-steps", **whole, help="evaluate and save every N steps")
    parts = "work through the profile's batch in N parts, to save memory"
    add("--gradient-accumulation-steps", **whole, default=1, help=parts)
    seed, workers = cli.at_least(0, 2**32 - 1), cli.at_least(0)
    add("--seed", type=seed, metavar="N", help="instead of the profile's")
    add("--no-augmentation", action="store_true", help="train on the images as they are")
    add("--no-dropout", action="store_true", help="for exact comparisons")
    empty = "train even if no training image shows one of the classes that the data name"
    add("--allow-empty", action="store_true", help=empty)
    add("--resume", action="store_true", help="from the last complete checkpoint, if there is one")
    ahead = {"dest": "dataloader_num_workers", "help": "processes that prepare batches ahead"}
    add("--num-workers", type=workers, metavar="N", **ahead)
    curves = "write curves to OUTPUT_DIR/logs, for `tensorboard --logdir` (default: none)"
    add("--report-to", choices=["none", "tensorboard"], default="none", help=curves)
    add(
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
    """Make sure that a run can begin, or be resumed, in this output folder."""
    from transformers.trainer_utils import get_last_checkpoint

    checkpoints = folder / _CHECKPOINTS
    there = next(path for path in (checkpoints, *checkpoints.parents) if path.exists())
    if not there.is_dir():
        raise WrongUse(f"--output-dir: {there} is a file, expected a folder or a new name")
    if not os.access(there, os.W_OK | os.X_OK):
        raise WrongUse(f"--output-dir: cannot write in {there}, choose another folder")
    last = get_last_checkpoint(str(checkpoints)) if there == checkpoints else None
    if last and not resume:
        raise WrongUse(
            f"{last} exists already: continue that run with --resume, or choose another "
            "--output-dir"
        )


if __name__ == "__main__":
    cli.draw_bars_where_somebody_looks()
    sys.exit(main())
