"""Measure the tables of settings in the notebooks: `python -m tools.sweeps heads rates`.

A table of ten trainings would keep a reader waiting for minutes, so the notebook shows what this
command has measured on profile `tiny` and trains one point of it. `sweeps.json` holds, for each
sweep, the settings it was measured with and its rows; `tests/test_sweeps.py` compares them with
the profile's present settings and with the table in the notebook.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from helpers.profiles import REPOSITORY, Profile, get_profile

FILE = REPOSITORY / "tools" / "sweeps.json"

HEAD_FACTORS = (1, 3, 10, 30, 100)
"""The decode head's learning rate over the encoder's."""
RATE_FACTORS = (0.3, 1, 3, 10, 30)
"""One learning rate for the whole model, over the profile's."""


def settings(profile: Profile) -> dict[str, Any]:
    """What the result of a training run depends on; a sweep varies one or two of them."""
    names = (
        "name image_size max_steps warmup_steps batch_size learning_rate "
        "head_learning_rate_factor weight_decay eval_steps seed"
    )
    return {name: getattr(profile, name) for name in names.split()}


def heads(profile: Profile) -> dict[str, Any]:
    """The head learns faster and faster; the encoder's rate stays."""
    rows = []
    for factor in HEAD_FACTORS:
        rate = profile.learning_rate
        scores = train(replace(profile, head_learning_rate_factor=float(factor)))
        rows.append(
            {"rate of the encoder": _rate(rate), "rate of the head": f"{factor} × {_rate(rate)}"}
            | scores
        )
    return {"settings": settings(profile), "rows": rows}


def rates(profile: Profile) -> dict[str, Any]:
    """The whole model learns faster and faster, its head no faster than the rest."""
    rows = []
    for factor in RATE_FACTORS:
        rate = factor * profile.learning_rate
        scores = train(replace(profile, learning_rate=rate, head_learning_rate_factor=1.0))
        rows.append({"rate of the encoder": _rate(rate), "rate of the head": _rate(rate)} | scores)
    return {"settings": settings(profile), "rows": rows}


SWEEPS: dict[str, Callable[[Profile], dict[str, Any]]] = {"heads": heads, "rates": rates}
"""Each returns {"settings": ..., "rows": [{column: text or number}, ...]}, ready for JSON."""


@cache
def train(profile: Profile) -> dict[str, float]:
    """Train with a profile's settings; scores of the best model on the test split."""
    from helpers.training import build_trainer

    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(profile, output_dir=folder)
        trainer.train()
        metrics = trainer.evaluate()
    return {"accuracy": metrics["eval_overall_accuracy"], "mean IoU": metrics["eval_mean_iou"]}


def markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table, numbers with two digits: what the notebook holds."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [
        [f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()]
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def stored() -> dict[str, Any]:
    """What was measured: the name of each sweep to its settings and rows."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def main(arguments: list[str] | None = None) -> int:
    """Measure the sweeps that are named, store them, and print their tables."""
    parser = argparse.ArgumentParser(prog="python -m tools.sweeps", description=__doc__)
    parser.add_argument("sweeps", nargs="+", choices=SWEEPS, metavar="|".join(SWEEPS))
    profile = get_profile("tiny")
    for name in parser.parse_args(arguments).sweeps:
        found = SWEEPS[name](profile)
        text = json.dumps(stored() | {name: found}, indent=2, ensure_ascii=False, sort_keys=False)
        Path(FILE).write_text(text + "\n", encoding="utf-8")
        print(f"{name}\n\n{markdown(found['rows'])}\n", flush=True)
    return 0


def _rate(rate: float) -> str:
    """4e-4 instead of 0.0004."""
    return f"{rate:.1e}".replace("e-0", "e-").replace(".0e", "e")


if __name__ == "__main__":
    sys.exit(main())
