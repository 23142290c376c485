"""What `make bench` writes: JSON, a table, and the copy of the table in BENCHMARKS.md."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.measuring import KEYS, Row

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
"""What stands between these two lines of BENCHMARKS.md is written by `make bench STORE=yes`."""


def write(rows: Sequence[Row], folder: Path) -> None:
    """Write benchmarks.json and .md into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    measured = [{key: row[key] for key in KEYS} for row in rows if "skipped" not in row]
    text = json.dumps(measured, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "benchmarks.json").write_text(text + "\n", encoding="utf-8")
    (folder / "benchmarks.md").write_text(table(rows), encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown: date and machine, the table, then what could not be measured."""
    today = datetime.date.today()
    absent = [f"- {row['row']}: {row['skipped']}." for row in rows if "skipped" in row]
    lines = [
        f"Measured on {today.day} {today:%B %Y}, {machine()}. Medians after a warm-up; the two "
        "sides of a row take turns, and were checked to give equal results.",
        "",
        "| what | the other side | ours | theirs | ratio | goal |",
        "| --- | --- | --: | --: | --: | --: |",
        *(f"| {' | '.join(cells(row))} |" for row in rows if "skipped" not in row),
        *(["", "Not measured here:", "", *absent] if absent else []),
    ]
    return "\n".join(lines) + "\n"


def cells(row: Row) -> list[str]:
    """A row's entries in the table."""
    if "skipped" in row:
        return [row["row"], "skipped", row["skipped"]]
    sides = [
        "–" if row[side] is None else f"{number(row[side])} {row['unit']}"
        for side in ("ours", "theirs")
    ]
    ratio = "–" if row["ratio"] is None else f"{number(row['ratio'])} ×"
    return [row["row"], row["other"] or "–", *sides, ratio, row.get("goal") or "–"]


def number(value: float) -> str:
    """Three digits: 0.0123, 1.23, 12.3, 123, 1,234."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def machine() -> str:
    """Processor, cores, accelerator and the versions that matter, in a line."""
    import torch

    processor, information = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    parts = [f"{os.cpu_count()} cores of {processor}"]
    if torch.cuda.is_available():
        parts.append(f"one {torch.cuda.get_device_name()}")
    parts.append(f"Python {platform.python_version()}")
    parts += [f"{name} {version(name)}" for name in ("torch", "transformers", "numpy")]
    return ", ".join(parts)


def store(rows: Sequence[Row], file: Path) -> None:
    """Replace the table in `file`.

    Raises:
        ValueError: it lacks the two lines between which the table stands.
    """
    text = file.read_text(encoding="utf-8")
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ValueError(f"{file} lacks the lines {BEGIN!r} and {END!r}, in this order")
    file.write_text(f"{before}{BEGIN}\n{table(rows)}{END}{after}", encoding="utf-8")
