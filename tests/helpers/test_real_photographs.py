"""Labels, transforms, loss, upsampling and metric fit together on real data.

A mistake in any of them, such as classes off by one, flipped images or a wrong size, and the
model could not learn six photographs by heart and get them right at their original size.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from helpers.data import load_scenes
from helpers.evaluation import evaluate
from helpers.profiles import get_profile
from helpers.training import build_trainer


@pytest.mark.slow
def test_six_photographs_are_learnt_by_heart(ade20k_dir: Path, tmp_path: Path) -> None:
    profile = replace(
        get_profile("tiny"),
        dataset=str(ade20k_dir),
        image_size=192,  # 128 would be too coarse for what the annotations show
        batch_size=6,
        max_steps=100,
        warmup_steps=10,
        learning_rate=2e-3,
        head_learning_rate_factor=3.0,
        weight_decay=0.0,
        logging_steps=30,
    )
    scenes = load_scenes(profile)
    trainer = build_trainer(
        profile,
        scenes,
        tmp_path,
        augment=False,
        dropout=False,
        eval_strategy="no",
        eval_on_start=False,
        save_strategy="no",
        load_best_model_at_end=False,
    )
    trainer.train()
    matrix = evaluate(scenes["train"], trainer.model, trainer.processing_class)
    assert matrix.counts.sum() > 1_000_000  # pixels: at the original size indeed
    assert matrix.compute()["overall_accuracy"] >= 0.93
