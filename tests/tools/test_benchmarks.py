"""The benchmarks: what they write, and that they refuse to time what is not equal."""

import json
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from helpers.profiles import REPOSITORY
from tests.benchmarks import __main__ as command
from tests.benchmarks import bench_mean_iou, measuring, report

SAMPLE = measuring.faster("sorting", "by hand", 0.5, 2.0, "s", "3 ×")


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """The command sets variables for its children: they must not reach other tests."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def measured(folder: Path) -> list[measuring.Row]:
    return json.loads((folder / "benchmarks.json").read_text(encoding="utf-8"))


def test_a_quick_run_writes_rows_and_adds_those_of_another_machine(tmp_path: Path):
    row = {key: SAMPLE[key] for key in measuring.KEYS}
    known = {**row, "row": "mIoU of 4 toy maps, 256 × 192, 150 classes, one thread", "ours": -1}
    known["other"] = "torchmetrics Jaccard index, 1 thread"
    file = tmp_path / "other.json"
    file.write_text(json.dumps([row, known]), encoding="utf-8")
    options = ["--rows", "mean_iou", "--quick", "--output", str(tmp_path), "--add", str(file)]
    assert command.main(options) == 0
    *ours, added = measured(tmp_path)
    assert added == row
    assert known["other"] in {row["other"] for row in ours}
    for row in ours:
        assert tuple(row) == ("row", "other", "ours", "theirs", "ratio", "unit")
        assert row["ratio"] == pytest.approx(row["theirs"] / row["ours"])
        assert row["ours"] > 0
    table = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "| sorting | by hand | 0.500 s | 2.00 s | 4.00 × | – |" in table


@pytest.mark.slow
def test_what_a_gpu_measures_runs_on_a_processor_too(tmp_path: Path):
    """At tiny sizes, so that `make bench-gpu` does not meet a GPU with code that never ran."""
    groups = ["gpu", "startup"]
    assert command.main(["--rows", *groups, "--quick", "--output", str(tmp_path)]) == 0
    names = " | ".join(row["row"] for row in measured(tmp_path))
    for what in ("training, B0", "from the CPU's", "evaluation of", "upsampling", "mIoU"):
        assert what in names


@pytest.mark.parametrize("group", command.GROUPS)
def test_every_group_imports_what_there_is(group: str):
    assert callable(import_module(f"tests.benchmarks.bench_{group}").rows)


def test_a_wrong_score_is_noticed_and_not_timed(monkeypatch, tmp_path: Path, capsys):
    """A metric that counts one pixel less, say: no figures of that group, and exit status 1."""
    right = bench_mean_iou.jaccard
    monkeypatch.setattr(bench_mean_iou, "jaccard", lambda *given: 0.999 * right(*given))
    monkeypatch.setattr(measuring, "timed", lambda way: pytest.fail("it is timed"))
    assert command.main(["--rows", "mean_iou", "--quick", "--output", str(tmp_path)]) == 1
    assert "does not give the same" in capsys.readouterr().err
    assert measured(tmp_path) == []


def test_figures_of_a_part_are_not_stored(capsys):
    with pytest.raises(SystemExit):
        command.main(["--store", "--rows", "mean_iou"])
    assert "--store takes a run at full size" in capsys.readouterr().err


def test_the_stored_table_alone_is_replaced(tmp_path: Path):
    file = tmp_path / "BENCHMARKS.md"
    text = (REPOSITORY / file.name).read_text(encoding="utf-8")
    before, after = text.split(report.BEGIN)[0], text.split(report.END)[1]
    file.write_text(text, encoding="utf-8")
    report.store([SAMPLE, measuring.skipped("training", "no GPU")], file)
    text = file.read_text(encoding="utf-8")
    assert text.startswith(f"{before}{report.BEGIN}\nMeasured on ")
    assert "| sorting | by hand | 0.500 s | 2.00 s | 4.00 × | 3 × |\n\nNot measured" in text
    assert text.endswith(f"- training: no GPU.\n{report.END}{after}")
