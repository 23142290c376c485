"""What `make bench` writes: JSON, a table, a plot, and the copy of the table in BENCHMARKS.md."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.measuring import KEYS, Row

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
"""What stands between these two lines of BENCHMARKS.md is written by `make bench STORE=yes`."""

SLOPE = "slope"
"""The unit of the rows that tell how cost grows."""

STEEP = 1.15
"""A slope above this is more than linear, and more than the noise of a measurement."""


def write(rows: Sequence[Row], folder: Path) -> None:
    """Write benchmarks.json, .md and .png into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    measured = [{key: row[key] for key in KEYS} for row in rows if "skipped" not in row]
    text = json.dumps(measured, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "benchmarks.json").write_text(text + "\n", encoding="utf-8")
    (folder / "benchmarks.md").write_text(table(rows), encoding="utf-8")
    draw(rows, folder / "benchmarks.png")


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown: date and machine, the table, then what could not be measured."""
    today = datetime.date.today()
    lines = [
        f"Measured on {today.day} {today:%B %Y}, {machine()}. Medians after a warm-up; the two "
        "sides of a row take turns, and were checked to give equal results.",
        "",
        "| what | the other side | ours | theirs | ratio | at least |",
        "| --- | --- | --: | --: | --: | --: |",
    ]
    for row in rows:
        if "skipped" in row or row["unit"] == SLOPE:
            continue
        cells = (
            row["row"],
            row["other"] or "–",
            f"{number(row['ours'])} {row['unit']}",
            "–" if row["theirs"] is None else f"{number(row['theirs'])} {row['unit']}",
            "–" if row["ratio"] is None else f"{number(row['ratio'])} ×",
            row.get("goal") or "–",
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += _slopes([row for row in rows if row.get("unit") == SLOPE])
    absent = [f"- {row['row']}: {row['skipped']}." for row in rows if "skipped" in row]
    if absent:
        lines += ["", "Not measured here:", "", *absent]
    return "\n".join(lines) + "\n"


def _slopes(rows: Sequence[Row]) -> list[str]:
    """How cost grows as a table of its own: what by what."""
    slopes: dict[str, dict[str, float]] = {}
    for row in rows:
        name, panel = row["row"].removeprefix("growth of ").split(" with the ")
        slopes.setdefault(name, {})[panel] = row["ours"]
    if not slopes:
        return []
    panels = list(dict.fromkeys(panel for found in slopes.values() for panel in found))
    steep = [
        f"{name} with the {panel}"
        for name, found in slopes.items()
        for panel, slope in found.items()
        if slope > STEEP
    ]
    return [
        "",
        "How time grows, as the slope of its logarithm (1: linear; 0: not at all):",
        "",
        f"| | {' | '.join(f'with the {panel}' for panel in panels)} |",
        f"| --- |{' --: |' * len(panels)}",
        *(
            f"| {name} | {' | '.join(f'{found[panel]:.2f}' for panel in panels)} |"
            for name, found in slopes.items()
        ),
        "",
        f"Steeper than {STEEP}: {', '.join(steep) or 'nothing'}.",
    ]


def number(value: float) -> str:
    """Three digits, and no more than the value deserves: 0.0123, 1.23, 12.3, 123, 1,234."""
    if value == 0 or not abs(value) < 1e6:
        return f"{value:g}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def machine() -> str:
    """Processor, cores, accelerator and the versions that matter, in a line."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [f"{cores} cores of {_processor()}"]
    if torch.cuda.is_available():
        parts.append(f"one {torch.cuda.get_device_name()}")
    parts.append(f"Python {platform.python_version()}")
    parts += [f"{name} {version(name)}" for name in ("torch", "transformers", "numpy")]
    return ", ".join(parts)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def store(rows: Sequence[Row], file: Path) -> None:
    """Replace the table in `file`.

    Raises:
        ValueError: it lacks the two lines between which the table stands.
    """
    text = file.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{file} lacks the lines {BEGIN!r} and {END!r}, in this order")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    file.write_text(f"{before}{BEGIN}\n{table(rows)}{END}{after}", encoding="utf-8")


def draw(rows: Sequence[Row], file: Path) -> None:
    """Plot the ratios as bars and, beside them, how cost grows."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, NullFormatter

    compared = [row for row in rows if row.get("ratio")]
    panels: dict[str, list[Row]] = {}
    for row in rows:
        if "curve" in row:
            panels.setdefault(row["curve"]["panel"], []).append(row)
    bars = max(1, len(compared))
    figure = plt.figure(
        figsize=(13, 1.2 + 0.42 * bars + (4.2 if panels else 0)), layout="constrained"
    )
    heights = [0.42 * bars + 0.8, *([4.2] if panels else [])]
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    axis = parts[0].subplots()
    plain = FuncFormatter(lambda value, _: f"{value:,.10g}")
    labels = [f"{row['row']}\nbeside {row['other']}" for row in compared]
    ratios = [row["ratio"] for row in compared]
    positions = range(len(compared))
    # From 1 to the right is better, to the left worse.
    widths = [ratio - 1 for ratio in ratios]
    colors = ["#4878a8" if ratio >= 1 else "#c0504d" for ratio in ratios]
    drawn = axis.barh(positions, widths, left=1, color=colors, height=0.7)
    axis.bar_label(drawn, [f"{number(ratio)} ×" for ratio in ratios], padding=3, fontsize=9)
    axis.set_yticks(positions, labels, fontsize=7.5)
    axis.invert_yaxis()
    axis.axvline(1, color="0.3", linewidth=1)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(plain)
    axis.set(xlabel="times better than the other side (1: equal)")
    axis.set_title("The course beside what its readers would use otherwise", fontsize=12)
    axis.margins(x=0.15)
    axis.spines[["top", "right"]].set_visible(False)
    if panels:
        parts[1].suptitle("How cost grows", fontsize=12)
        axes = parts[1].subplots(1, len(panels), squeeze=False)[0]
        for axis, (panel, members) in zip(axes, panels.items(), strict=True):
            for row in members:
                curve = row["curve"]
                label = f"{curve['label']}: slope {row['ours']:.2f}"
                axis.plot(curve["x"], curve["y"], marker="o", markersize=3, label=label)
            axis.set(xscale="log", yscale="log", xlabel=panel, ylabel="seconds")
            side_of = (lambda x: f"{x**0.5:.0f}²") if panel.startswith("pixels") else str
            sizes = max((row["curve"]["x"] for row in members), key=len)
            axis.set_xticks(sizes, [side_of(size) for size in sizes], fontsize=8)
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.legend(fontsize=7.5, frameon=False)
            axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def print_row(row: Row) -> None:
    """One line for each row, as soon as it is measured."""
    if "skipped" in row:
        print(f"  {row['row']}: skipped, {row['skipped']}", flush=True)
        return
    line = f"  {row['row']}: {number(row['ours'])} {row['unit']}"
    if row["theirs"] is not None:
        line += f"; {row['other']} {number(row['theirs'])}"
    if row["ratio"] is not None:
        line += f"; {number(row['ratio'])} ×"
    print(line + (f" (at least {row['goal']})" if row.get("goal") else ""), flush=True)
    sys.stdout.flush()
