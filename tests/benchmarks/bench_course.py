"""The whole course: what its last run by `make course` cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date

from tests.benchmarks.measuring import REPOSITORY, Row, alone, skipped
from tools.course.map import COSTS_FILE
from tools.course.run import choose_notebooks


def rows(quick: bool) -> Iterator[Row]:
    file = REPOSITORY / "build" / COSTS_FILE
    costs = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    notebooks = costs.get("notebooks", {})
    wanted = [path.stem for path in choose_notebooks(REPOSITORY / "notebooks")]
    if "seconds" not in costs or sorted(notebooks) != wanted:
        yield skipped("make course", "the last run was not one of all notebooks: run it first")
        return
    if costs["profile"] != "tiny":
        yield skipped("make course", f"its last run was on profile {costs['profile']}")
        return
    day = date.fromtimestamp(file.stat().st_mtime)
    name = f"make course, {len(wanted)} notebooks, run of {day.day} {day:%B %Y}"
    peak = max(notebooks[stem]["peak_memory"] for stem in wanted)
    yield alone(name, costs["seconds"] / 60, "min", "≤ 4 min")
    yield alone(f"{name}, peak memory of a notebook", peak / 1e9, "GB", "≤ 3 GB")
