"""The benchmarks' harness: what it writes, and that it refuses to time what is not equal."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks import bench_mean_iou, measuring, report

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLE = measuring.faster("sorting", "by hand", 0.5, 2.0, "s", "3 ×")


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """The command sets variables for its children: they must not reach other tests."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_a_quick_run_writes_rows_table_and_plot(tmp_path: Path, capsys):
    assert command.main(["--rows", "mean_iou", "--quick", "--output", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    assert "torchmetrics Jaccard index, 1 thread" in {row["other"] for row in rows}
    for row in rows:
        assert tuple(row) == ("row", "other", "ours", "theirs", "ratio", "unit")
        assert row["ratio"] == pytest.approx(row["theirs"] / row["ours"])
    table = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "torchmetrics Jaccard index" in table
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    assert "torchmetrics" in capsys.readouterr().out


@pytest.mark.slow
def test_what_a_gpu_measures_runs_on_a_processor_too(tmp_path: Path):
    """At tiny sizes, so that `make bench-gpu` does not meet a GPU with code that never ran."""
    assert command.main(["--rows", "gpu", "--quick", "--output", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    for what in ("training, B0", "from the CPU's", "evaluation of", "upsampling", "mIoU"):
        assert [row for row in rows if what in row["row"]], what


def test_results_that_differ_are_not_timed(monkeypatch):
    calls = []

    def same(ours: int, theirs: int) -> None:
        assert ours == theirs, f"{ours} is not {theirs}"

    def compare(result: int) -> list[measuring.Row]:
        calls.clear()
        others = {"theirs": lambda: calls.append(1) or result}
        return measuring.compare("adding", lambda: 4, others, same, rounds=3)

    assert compare(4)[0]["row"] == "adding"
    assert len(calls) == 4  # the warm-up, and three rounds
    with pytest.raises(measuring.Unequal, match="ours and theirs do not give the same: 4 is not 5"):
        compare(5)
    assert len(calls) == 1


def test_a_wrong_score_is_noticed_by_the_rows_themselves(monkeypatch, tmp_path: Path, capsys):
    """A metric that counts one pixel less, say: no figures of that group, and exit status 1."""
    right = bench_mean_iou.jaccard
    monkeypatch.setattr(bench_mean_iou, "jaccard", lambda *given: 0.999 * right(*given))
    assert command.main(["--rows", "mean_iou", "--quick", "--output", str(tmp_path)]) == 1
    assert "do not give the same" in capsys.readouterr().err
    assert json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8")) == []


def test_rows_of_another_machine_are_added(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(command, "rows_of", lambda name, quick: iter([SAMPLE]))
    theirs = [{**SAMPLE, "ours": 9.0}, {**SAMPLE, "row": "on a GPU"}]
    file = tmp_path / "other.json"
    file.write_text(json.dumps([{key: row[key] for key in measuring.KEYS} for row in theirs]))
    options = ["--rows", "mean_iou", "--output", str(tmp_path), "--add", str(file)]
    assert command.main(options) == 0
    rows = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    assert [(row["row"], row["ours"]) for row in rows] == [("sorting", 0.5), ("on a GPU", 0.5)]


def test_wrong_options_are_refused(capsys):
    for options, message in (
        (["--rows", "nothing"], "no group nothing: choose from"),
        (["--store", "--quick"], "--store takes a run at full size"),
    ):
        with pytest.raises(SystemExit):
            command.main(options)
        assert message in capsys.readouterr().err


def test_the_stored_table_alone_is_replaced(tmp_path: Path):
    file = tmp_path / "BENCHMARKS.md"
    file.write_text(f"# Title\n\n{report.BEGIN}\nold\n{report.END}\n\nEnd.\n", encoding="utf-8")
    report.store([SAMPLE, measuring.skipped("training", "no GPU")], file)
    text = file.read_text(encoding="utf-8")
    assert text.startswith(f"# Title\n\n{report.BEGIN}\nMeasured on ")
    assert text.endswith(f"- training: no GPU.\n{report.END}\n\nEnd.\n")
    assert "| sorting | by hand | 0.500 s | 2.00 s | 4.00 × | 3 × |" in text
    assert "old" not in text
    file.write_text("# Title\n", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the lines"):
        report.store([SAMPLE], file)


def test_slopes_have_a_table_of_their_own():
    rows = [
        measuring.alone(f"growth of {name} with the {panel}", slope, "slope")
        for name, panel, slope in (("loss", "classes", 0.5), ("loss", "pixels", 1.01))
    ]
    table = report.table([SAMPLE, *rows])
    assert "| | with the classes | with the pixels |" in table
    assert "| loss | 0.50 | 1.01 |" in table
    assert "growth of" not in table
    assert "Steeper than 1.15: nothing." in table
    rows.append(measuring.alone("growth of loss with the pixels", 1.3, "slope"))
    assert "Steeper than 1.15: loss with the pixels." in report.table(rows)


def test_the_course_has_a_place_for_the_table():
    text = (REPOSITORY / "BENCHMARKS.md").read_text(encoding="utf-8")
    assert text.count(report.BEGIN) == text.count(report.END) == 1
