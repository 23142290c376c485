"""Training beside other work: how long torch's threads wait for one another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

from tests.benchmarks.measuring import Row, faster, in_child

_TRAINING = """
import tempfile, time
from helpers.data import load_scenes
from helpers.profiles import get_profile
from helpers.training import build_trainer

profile = get_profile("tiny")
with tempfile.TemporaryDirectory() as folder:
    trainer = build_trainer(
        profile, load_scenes(profile, check=False), folder, max_steps={steps}, eval_strategy="no",
        eval_on_start=False, save_strategy="no", load_best_model_at_end=False,
    )
    begin = time.perf_counter()
    trainer.train()
    print()
    print(time.perf_counter() - begin)
"""
OURS, THEIRS = "1000", "300000"
"""What the course sets, and what GNU's OpenMP takes where GOMP_SPINCOUNT is not set."""


def rows(quick: bool) -> Iterator[Row]:
    steps, threads = 2 if quick else 20, os.cpu_count() or 1
    code = _TRAINING.format(steps=steps)
    busy = [sys.executable, "-c", "while True: pass"]
    for where, count in (
        ("on an idle machine", 0),
        ("beside processes that use every core", threads),
    ):
        counting = [subprocess.Popen(busy) for _ in range(count)]
        try:
            ours, theirs = (
                in_child(code, GOMP_SPINCOUNT=spins, OMP_NUM_THREADS=str(threads))
                for spins in (OURS, THEIRS)
            )
        finally:
            for process in counting:
                process.kill()
                process.wait()
        row = f"{steps} training steps, profile tiny, {threads} threads, {where}"
        yield faster(row, f"without GOMP_SPINCOUNT={OURS}", ours, theirs, "s")
