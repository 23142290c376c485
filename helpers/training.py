"""Fine-tune SegFormer with `transformers.Trainer`, with its defects for this model mended.

From a shell: `python -m helpers.training --help`; on several processes:
`accelerate launch --num_processes 2 -m helpers.training --profile tiny --output-dir DIR`.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSemanticSegmentation, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import get_last_checkpoint, set_seed
from transformers.utils.notebook import NotebookProgressCallback

from helpers.ade20k import ID2LABEL, IGNORE_INDEX, LABEL2ID, NUM_LABELS
from helpers.checkpoints import last_complete_checkpoint
from helpers.data import load_scenes
from helpers.losses import labelled_pixels, pixel_cross_entropy
from helpers.metrics import StreamingMeanIoU, predicted_labels
from helpers.network import explained, safe_weights
from helpers.profiles import Profile, get_profile
from helpers.progress import bars_disabled
from helpers.sharing import CARD, model_card, push, require_token
from helpers.transforms import (
    load_image_processor,
    make_eval_transform,
    make_train_transform,
    train_augmentation,
)

if TYPE_CHECKING:
    from datasets import DatasetDict
    from transformers import PreTrainedModel


class ExactTrainer(Trainer):
    """`Trainer` that reads checkpoints with `from_pretrained`, and shows one progress bar.

    `Trainer` reads them with a plain, non-strict `load_state_dict`. SegFormer's encoder is
    *saved* under older key names, so none of it would be loaded, neither for the best model nor
    on resume (transformers #43701). `train(resume_from_checkpoint=True)` goes on from the last
    checkpoint that is whole, or starts anew where there is none, and says so.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # One bar that carries the last loss and score, instead of a growing table or JSON lines.
        for callback in (NotebookProgressCallback, ProgressCallback, PrinterCallback):
            self.remove_callback(callback)
        if not bars_disabled():
            self.add_callback(_ProgressBar)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        if resume_from_checkpoint is True:
            last = last_complete_checkpoint(self.args.output_dir)
            if last is None:
                print(f"no checkpoint in {self.args.output_dir}: the run starts at step 0")
            resume_from_checkpoint = str(last) if last else None
        if resume_from_checkpoint:
            self.args.eval_on_start = False  # a second evaluation of the same step
        return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        # The sum behind a logged loss is not in a checkpoint: log first, so that nothing is lost.
        self.control.should_log |= self.control.should_save
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "train_loss" in logs:  # of this process alone; the history goes back to step 0
            logged = [entry for entry in self.state.log_history if "loss" in entry]
            steps = np.diff([0, *(entry["step"] for entry in logged)])
            if steps.sum() > 0:
                logs["train_loss"] = float(
                    np.average([entry["loss"] for entry in logged], weights=steps)
                )
        super().log(logs, *args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self.compute_metrics, StreamingMeanIoU):
            self.compute_metrics.reset()  # an evaluation that was interrupted leaves its counts
        return super().evaluation_loop(*args, **kwargs)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        _load_exactly(self.model if model is None else model, resume_from_checkpoint)

    def _load_best_model(self) -> None:
        _load_exactly(self.model, self.state.best_model_checkpoint)


class SegmentationTrainer(ExactTrainer):
    """The trainer for SegFormer: exact checkpoints, an exact loss, and a faster decode head.

    The loss is `pixel_cross_entropy`, divided by the labelled pixels of the whole batch over all
    accumulation steps and processes. SegFormer's own is a mean over one part; `Trainer` takes it
    for a share of the whole, because `forward` swallows any keyword argument, and logs and
    applies N times the loss (transformers #47688). It is also NaN where every pixel is ignored,
    and then every weight becomes NaN.

    Args:
        head_learning_rate_factor: the decode head's learning rate over the encoder's.
        Everything else as `transformers.Trainer`.
    """

    def __init__(self, *args: Any, head_learning_rate_factor: float = 1.0, **kwargs: Any) -> None:
        model = kwargs.get("model") or args[0]
        model.accepts_loss_kwargs = False  # or `forward` would be told the number of pixels
        super().__init__(*args, **({"compute_loss_func": pixel_cross_entropy} | kwargs))
        self.head_learning_rate_factor = head_learning_rate_factor

    def create_optimizer(self, model: PreTrainedModel | None = None) -> torch.optim.Optimizer:
        """AdamW with a larger learning rate for the decode head, no decay for biases and norms."""
        if self.optimizer is None:
            model = self.model if model is None else model
            decayed = set(self.get_decay_parameter_names(model))
            groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    groups.setdefault(("decode_head." in name, name in decayed), []).append(
                        parameter
                    )
            rate = self.args.learning_rate
            parameter_groups = [
                {
                    "params": parameters,
                    "lr": rate * (self.head_learning_rate_factor if in_head else 1.0),
                    "weight_decay": self.args.weight_decay if decays else 0.0,
                }
                for (in_head, decays), parameters in groups.items()
            ]
            # One fused kernel instead of a loop over tensors: small tensors are mostly overhead.
            self.optimizer = torch.optim.AdamW(parameter_groups, fused=True)
        return self.optimizer

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, torch.Tensor]], device: torch.device
    ) -> torch.Tensor:
        """Labelled pixels of all parts of a batch; `Trainer` counts labels other than -100."""
        count = sum(labelled_pixels(batch["labels"]) for batch in batch_samples)
        return self.accelerator.reduce(torch.as_tensor(count).to(device), "sum")


def build_model(profile: Profile, dropout: bool = True) -> PreTrainedModel:
    """The profile's pretrained encoder under a new decode head for ADE20K's 150 classes.

    Raises:
        ValueError: the checkpoint is a segmentation model with another number of classes.
    """
    with explained(profile.encoder):
        config = AutoConfig.from_pretrained(profile.encoder, trust_remote_code=False)
    segments = any("Segmentation" in name for name in config.architectures or ())
    if segments and config.num_labels != NUM_LABELS:
        raise ValueError(
            f"the checkpoint {profile.encoder} predicts {config.num_labels} labels, the data has "
            f"{NUM_LABELS}: start from an encoder such as nvidia/mit-b0, or from a model with "
            f"{NUM_LABELS} labels"
        )
    quiet = {} if dropout else dict.fromkeys(_DROPOUTS, 0.0)
    with explained(profile.encoder):
        return AutoModelForSemanticSegmentation.from_pretrained(
            profile.encoder,
            num_labels=NUM_LABELS,
            id2label=ID2LABEL,
            label2id=LABEL2ID,
            **safe_weights(profile.encoder),
            **quiet,
        )


def build_arguments(
    profile: Profile, output_dir: str | Path, **overrides: Any
) -> TrainingArguments:
    """The profile's schedule as `TrainingArguments`; notebook 05 explains them line by line.

    The profile's `batch_size` is that of one optimiser step, over all processes and
    accumulation steps, so that a recipe means the same on one GPU and on eight.

    Args:
        profile: see `helpers.profiles`.
        output_dir: where checkpoints go.
        overrides: any other field of `TrainingArguments`, which wins over the profile's.

    Raises:
        ValueError: the batch cannot be shared equally among processes and accumulation steps.
    """
    parts = int(os.environ.get("WORLD_SIZE", "1")) * overrides.get("gradient_accumulation_steps", 1)
    if profile.batch_size % parts:
        raise ValueError(
            f"a batch of {profile.batch_size} pictures cannot be shared equally among {parts} "
            "parts (processes x accumulation steps): choose a divisor of the batch size"
        )
    has_gpu = torch.cuda.is_available()
    settings: dict[str, Any] = {
        "output_dir": str(output_dir),
        "max_steps": profile.max_steps,
        "per_device_train_batch_size": profile.batch_size // parts,
        "per_device_eval_batch_size": profile.batch_size // parts,
        "learning_rate": profile.learning_rate,
        "lr_scheduler_type": "polynomial",
        "warmup_steps": profile.warmup_steps,
        "weight_decay": profile.weight_decay,
        "bf16": has_gpu and torch.cuda.is_bf16_supported(),
        "eval_strategy": "steps",
        "eval_steps": profile.eval_steps,
        "eval_on_start": True,
        "batch_eval_metrics": True,
        "save_strategy": "steps",
        "save_steps": profile.eval_steps,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "mean_iou",
        "logging_steps": profile.logging_steps,
        "remove_unused_columns": False,
        "dataloader_num_workers": profile.num_workers,
        "dataloader_pin_memory": has_gpu,
        "report_to": "none",
        "seed": profile.seed,
    }
    return TrainingArguments(**settings | overrides)


def build_trainer(
    profile: Profile,
    scenes: DatasetDict | None = None,
    output_dir: str | Path | None = None,
    augment: bool = True,
    dropout: bool = True,
    **overrides: Any,
) -> SegmentationTrainer:
    """Everything that notebook 05 sets up step by step, ready for `.train()`.

    Args:
        profile: see `helpers.profiles`.
        scenes: splits "train" and "test"; None loads the profile's.
        output_dir: where checkpoints go; None: the profile's `output_dir`/checkpoints.
        augment: crop, flip and jitter the training pictures.
        dropout: False switches every dropout off, for exact comparisons.
        overrides: further fields of `TrainingArguments`.
    """
    arguments = build_arguments(
        profile, output_dir or profile.output_dir / "checkpoints", **overrides
    )
    scenes = load_scenes(profile) if scenes is None else scenes
    image_processor = load_image_processor(profile)
    set_seed(arguments.seed)  # the new decode head's weights are random
    return SegmentationTrainer(
        model=build_model(profile, dropout),
        args=arguments,
        train_dataset=scenes["train"].with_transform(
            make_train_transform(image_processor, train_augmentation(profile) if augment else None)
        ),
        eval_dataset=scenes["test"].with_transform(make_eval_transform(image_processor)),
        processing_class=image_processor,
        compute_metrics=StreamingMeanIoU(NUM_LABELS, IGNORE_INDEX),
        preprocess_logits_for_metrics=predicted_labels,
        head_learning_rate_factor=profile.head_learning_rate_factor,
    )


def main(arguments: list[str] | None = None) -> int:
    """Train from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.training",
        description="Fine-tune SegFormer on a profile's data. The best model lies in the output "
        "directory at the end, checkpoints in its checkpoints/ folder.",
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
    parser.add_argument("--seed", type=int)
    parser.add_argument("--no-augmentation", action="store_true")
    parser.add_argument("--no-dropout", action="store_true")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the output directory's last complete checkpoint, if any",
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
    overrides: dict[str, Any] = {"gradient_accumulation_steps": options.gradient_accumulation_steps}
    if options.max_steps:
        overrides["max_steps"] = options.max_steps
    if options.save_steps:
        overrides |= {"save_steps": options.save_steps, "eval_steps": options.save_steps}
    if options.seed is not None:
        overrides |= {"seed": options.seed}
    if options.num_workers is not None:
        if options.num_workers < 0:
            parser.error(f"--num-workers is {options.num_workers}: expected 0 or more")
        overrides["dataloader_num_workers"] = options.num_workers
    if options.report_to == "tensorboard":
        if find_spec("tensorboard") is None:
            parser.error("--report-to tensorboard needs a package: pip install tensorboard")
        # A resumed run goes on in the same folder, which TensorBoard shows as one curve.
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(options.output_dir / "logs"))
        overrides["report_to"] = "tensorboard"
    checkpoints = options.output_dir / "checkpoints"
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    if last and not options.resume:
        parser.error(
            f"{last} is there already: go on with --resume, or choose another --output-dir"
        )
    try:
        profile = get_profile(options.profile)
        if options.push_to_hub:  # now, and not when the training is over
            require_token(options.push_to_hub, ask_the_hub=True)
        trainer = build_trainer(
            profile,
            output_dir=checkpoints,
            augment=not options.no_augmentation,
            dropout=not options.no_dropout,
            **overrides,
        )
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    trainer.train(resume_from_checkpoint=options.resume)
    metrics = trainer.evaluate()
    trainer.save_model(str(options.output_dir))
    if trainer.is_world_process_zero():
        print(f"test mIoU {metrics['eval_mean_iou']:.4f}; the model lies in {options.output_dir}")
        if options.push_to_hub:
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
        print(f"error: not uploaded: {error}", file=sys.stderr)
        return 1
    return 0


_DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout_prob",
    "drop_path_rate",
)


def _load_exactly(model: PreTrainedModel, checkpoint: str | None) -> None:
    """Copy a checkpoint's weights into the model, or raise: nothing is skipped silently."""
    saved = type(model).from_pretrained(checkpoint, use_safetensors=True)
    if saved.config.num_labels != model.config.num_labels:
        raise ValueError(
            f"the checkpoint {checkpoint} predicts {saved.config.num_labels} labels, the model "
            f"{model.config.num_labels}: resume from a checkpoint of the same run"
        )
    model.load_state_dict(saved.state_dict(), strict=True)


class _ProgressBar(ProgressCallback):
    """A progress bar that shows the newest loss and score beside it."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self.training_bar is not None and logs:
            known = {"loss": "loss", "eval_loss": "test loss", "eval_mean_iou": "test mIoU"}
            self._shown = getattr(self, "_shown", {}) | {
                name: f"{logs[key]:.3f}" for key, name in known.items() if key in logs
            }
            self.training_bar.set_postfix(self._shown)


if __name__ == "__main__":
    sys.exit(main())
