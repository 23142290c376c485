"""Measure the tables of settings in the notebooks: `python -m tools.course sweeps heads losses`.

Each takes from three to ten minutes on two free cores; those of the fruit stand in `fruit_sweeps`.

A table of ten trainings would keep a reader waiting for minutes, so the notebook shows what this
command has measured on profile `tiny` and trains one point of it. `sweeps.json` holds, for each
sweep, the settings it was measured with and its rows; a test compares them with the profile's
present settings and with the table in the notebook.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from helpers.profiles import REPOSITORY, Profile, get_profile
from tools.course import fruit_sweeps

FILE = REPOSITORY / "tools" / "course" / "sweeps.json"

HEAD_FACTORS = (1, 3, 10, 30, 100)
"""The decode head's learning rate over the encoder's."""
RATE_FACTORS = (0.3, 1, 3, 10, 30)
"""One learning rate for the whole model, over the profile's."""


def settings(profile: Profile, sweep: str) -> dict[str, Any]:
    """What the result of a training run depends on; a sweep varies one or two of them."""
    names = (
        "name image_size max_steps warmup_steps batch_size learning_rate "
        "head_learning_rate_factor weight_decay eval_steps seed"
    )
    own = fruit_sweeps.SETTINGS if sweep in FRUIT else {}
    return {name: getattr(profile, name) for name in names.split()} | own


def heads(profile: Profile) -> list[dict[str, Any]]:
    """The head learns faster and faster; the encoder's rate stays."""
    rows = []
    for factor in HEAD_FACTORS:
        rate = profile.learning_rate
        scores = train(replace(profile, head_learning_rate_factor=float(factor)))
        rows.append(
            {"rate of the encoder": _rate(rate), "rate of the head": f"{factor} × {_rate(rate)}"}
            | scores
        )
    return rows


def rates(profile: Profile) -> list[dict[str, Any]]:
    """The whole model learns faster and faster, its head no faster than the rest."""
    rows = []
    for factor in RATE_FACTORS:
        rate = factor * profile.learning_rate
        scores = train(replace(profile, learning_rate=rate, head_learning_rate_factor=1.0))
        rows.append({"rate of the encoder": _rate(rate), "rate of the head": _rate(rate)} | scores)
    return rows


def seeds(profile: Profile) -> list[dict[str, Any]]:
    """Notebook 05's training with other seeds; scores at original size, in %, and intervals."""
    rows = []
    for seed in fruit_sweeps.SEEDS:
        score, low, high = train_and_resample(replace(profile, seed=seed))
        rows.append({"seed": seed, "mean IoU": score, "low": low, "high": high})
    return rows


def train_and_resample(profile: Profile) -> list[float]:
    """Mean IoU of the best model on the test split, and its 95 % interval as in notebook 08."""
    import numpy as np

    from helpers.data import load_scenes
    from helpers.evaluation import evaluate
    from helpers.training import build_trainer

    scenes = load_scenes(profile)["test"]
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(profile, output_dir=folder)
        trainer.train()
        model, image_processor = trainer.model, trainer.processing_class
        areas = []
        for index in range(len(scenes)):
            one = scenes.select([index])
            counts = evaluate(one, model, image_processor, labels=profile.labels).counts
            areas.append((counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)))

    def mean_iou(areas: Any) -> Any:
        intersection, predicted, labelled = np.moveaxis(areas, -2, 0).astype(float)
        with np.errstate(invalid="ignore"):
            iou = intersection / (predicted + labelled - intersection)
        return 100 * np.nanmean(iou, axis=-1)

    areas, count = np.array(areas), len(scenes)
    draws = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=1000)
    score = mean_iou(areas.sum(axis=0))
    low, high = np.percentile(mean_iou(np.tensordot(draws, areas, axes=1)), [2.5, 97.5])
    return [round(float(one), 1) for one in (score, 2 * score - high, 2 * score - low)]


FRUIT: dict[str, Callable[[Profile], list[dict[str, Any]]]] = {
    "images": fruit_sweeps.images,
    "split": fruit_sweeps.split,
    "start": fruit_sweeps.start,
    "sizes": fruit_sweeps.sizes,
    "losses": fruit_sweeps.losses,
}
SWEEPS = {"heads": heads, "rates": rates, "seeds": seeds} | FRUIT
"""Each returns rows, [{column: text or number}, ...], ready for JSON."""


@cache
def train(profile: Profile) -> dict[str, float]:
    """Train with a profile's settings; scores of the best model on the validation split."""
    from helpers.training import build_trainer

    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(profile, output_dir=folder)
        trainer.train()
        metrics = trainer.evaluate()
    return {"accuracy": metrics["eval_overall_accuracy"], "mean IoU": metrics["eval_mean_iou"]}


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table, numbers with two digits: what the notebook holds."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[_shown(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def stored() -> dict[str, Any]:
    """What was measured: the name of each sweep to its settings and rows."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def main(arguments: list[str] | None = None) -> int:
    """Measure the sweeps that are named, store them, and print their tables."""
    parser = argparse.ArgumentParser(prog="python -m tools.course sweeps", description=__doc__)
    parser.add_argument("sweeps", nargs="+", choices=SWEEPS, metavar="|".join(SWEEPS))
    profile = get_profile("tiny")
    for name in parser.parse_args(arguments).sweeps:
        found = {"settings": settings(profile, name), "rows": SWEEPS[name](profile)}
        text = json.dumps(stored() | {name: found}, indent=2, ensure_ascii=False, sort_keys=False)
        Path(FILE).write_text(text + "\n", encoding="utf-8")
        print(f"{name}\n\n{markdown(found['rows'])}\n", flush=True)
    return 0


def _shown(value: Any) -> str:
    """Scores with two digits, several as the lowest and the highest."""
    if isinstance(value, list):
        return f"{min(value):.2f} to {max(value):.2f}"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _rate(rate: float) -> str:
    """4e-4 instead of 0.0004."""
    return f"{rate:.1e}".replace("e-0", "e-").replace(".0e", "e")
