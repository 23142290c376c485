"""What each notebook costs: kept beside the pages, and written into the README's course map.

The map's buttons are written with it.
"""

from __future__ import annotations

import json
import os
import re
from datetime import date
from pathlib import Path

from tools.course.address import Address, read_address

COSTS_FILE = "course.json"
"""In the folder of the pages: seconds and peak memory of each notebook's last run."""

OPEN_IN = {"en": "open in", "zh": "在线打开", "ja": "オンラインで開く"}
"""What the column of buttons is called in each language's README."""

_ROW = re.compile(r"^\| \[\d\d · .*\]\((notebooks/\S+\.ipynb)\) \|.*\|$", flags=re.MULTILINE)
_TABLE_HEAD = re.compile(r"^(\|.*\|)\n(\| --- .*\|)\n(?=\| \[\d\d · )", flags=re.MULTILINE)


def note_costs(file: Path, profile_name: str, stem: str, seconds: float, peak: int) -> None:
    """Write what a notebook cost into `file`, beside the last figures of the others.

    The file holds {"profile": name, "notebooks": {stem: {"seconds": s, "peak_memory": bytes}}},
    and the "seconds" of a run of the whole course where the last run was one.
    """
    costs = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if costs.get("profile") != profile_name:  # figures of another profile do not compare
        costs = {"profile": profile_name, "notebooks": {}}
    costs["notebooks"][stem] = {"seconds": round(seconds, 1), "peak_memory": peak}
    costs["notebooks"] = dict(sorted(costs["notebooks"].items()))
    costs.pop("seconds", None)
    file.write_text(json.dumps(costs, indent=2) + "\n", encoding="utf-8")


def note_total(file: Path, seconds: float) -> None:
    """Write how long a run of all notebooks took, which is less than they take one by one."""
    costs = json.loads(file.read_text(encoding="utf-8")) | {"seconds": round(seconds, 1)}
    file.write_text(json.dumps(costs, indent=2) + "\n", encoding="utf-8")


def with_costs(readme: str, costs: dict, day: date) -> str:
    """Put buttons, seconds and peak memory into the README's course map, and say how measured.

    Args:
        readme: its text, with a row `| [NN · Title](notebooks/STEM.ipynb) | ... |`, and what is
            written here after it, for each notebook, and a line that begins with
            `<!-- measured -->`.
        costs: what `run` keeps in course.json.
        day: on which they were measured.

    Raises:
        ValueError: a notebook has no row, or was not run; or the line is missing.
    """
    notebooks = costs["notebooks"]
    rows = r"^(\| \[\d\d · .*?\]\(notebooks/(\w+)\.ipynb\) \| .*? \|) .*$"
    listed = [stem for _, stem in re.findall(rows, readme, flags=re.MULTILINE)]
    if listed != sorted(notebooks) or "seconds" not in costs:
        raise ValueError(
            f"the README lists {listed}, and {COSTS_FILE} holds {sorted(notebooks)}, not all of "
            "one run: run the whole course first, with `make course`"
        )

    address = read_address()

    def row(match: re.Match[str]) -> str:
        cost, buttons = notebooks[match[2]], address.buttons(f"notebooks/{match[2]}.ipynb")
        measured = f"{cost['seconds']:.0f} s | {cost['peak_memory'] / 1e9:.1f} GB"
        return f"{match[1]} {buttons} | {measured} |"

    readme = re.sub(rows, row, readme, flags=re.MULTILINE)
    seconds = costs["seconds"]
    memory = max(cost["peak_memory"] for cost in notebooks.values()) / 1e9
    line = (
        f"<!-- measured -->All together: {int(seconds // 60)} min {seconds % 60:.0f} s, and at "
        f"most {memory:.1f} GB for a notebook, on the profile <code>{costs['profile']}</code> with "
        f"{os.cpu_count()} CPU cores and no GPU ({day.day} {day:%B %Y})."
    )
    readme, lines = re.subn(r"^<!-- measured -->.*$", lambda _: line, readme, flags=re.MULTILINE)
    if lines != 1:
        raise ValueError("the README holds no line that begins with <!-- measured -->")
    return readme


def write_map(costs_file: Path, readme: Path) -> None:
    """Write the last run's costs into the README's course map.

    Raises:
        FileNotFoundError: the course has not been run.
        ValueError: see `with_costs`.
    """
    if not costs_file.is_file():
        raise FileNotFoundError(f"there is no {costs_file}: run the whole course first")
    costs = json.loads(costs_file.read_text(encoding="utf-8"))
    day = date.fromtimestamp(costs_file.stat().st_mtime)
    text = with_costs(readme.read_text(encoding="utf-8"), costs, day)
    readme.write_text(text, encoding="utf-8")
    print(f"{readme.name}: {len(costs['notebooks'])} notebooks, measured on {day}")


def with_buttons(readme: str, language: str, address: Address) -> str:
    """Add a column to a translated README's course map, which opens each notebook where it runs."""
    readme = _ROW.sub(lambda row: f"{row[0]} {address.buttons(row[1])} |", readme)
    return _TABLE_HEAD.sub(rf"\1 {OPEN_IN[language]} |\n\2 --- |\n", readme)
