"""Training beside other work: how long torch's threads wait for one another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.measuring import Row, faster, in_child

_TRAINING = """
import json, tempfile, time
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
    print(json.dumps(time.perf_counter() - begin))
"""
THEIRS = "300000"
"""What GNU's OpenMP takes where GOMP_SPINCOUNT is not set."""


def rows(quick: bool) -> Iterator[Row]:
    steps = 2 if quick else 20
    threads = str(os.cpu_count() or 1)
    for busy in (False, True):
        seconds = {}
        with other_work(busy):
            for spins in ("1000", THEIRS):
                code = _TRAINING.format(steps=steps)
                settings = {"GOMP_SPINCOUNT": spins, "OMP_NUM_THREADS": threads}
                _, seconds[spins] = in_child(code, **settings)
        where = "beside processes that use every core" if busy else "on an idle machine"
        yield faster(
            f"{steps} training steps, profile tiny, {threads} threads, {where}",
            "without GOMP_SPINCOUNT=1000",
            seconds["1000"],
            seconds[THEIRS],
            "s",
        )


@contextmanager
def other_work(busy: bool) -> Iterator[None]:
    """A process for each core that does nothing but count."""
    count = (os.cpu_count() or 1) if busy else 0
    counting = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in counting:
            process.kill()
            process.wait()
