"""Run the benchmarks: `python -m tests.benchmarks --help`, or `make bench`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
GROUPS = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure what the course costs beside what its readers would use otherwise, "
        "and write the figures as benchmarks.json and .md.",
    )
    add = parser.add_argument
    add("--rows", nargs="+", choices=GROUPS, default=GROUPS, metavar="GROUP", help=str(GROUPS))
    add("--quick", action="store_true", help="tiny sizes, to see that it works; no real figures")
    add("--output", type=Path, default=HERE.parents[1] / "build", help="folder (default: build)")
    add("--add", type=Path, nargs="+", default=[], metavar="FILE", help="benchmarks.json of "
        "another run, on a machine with a GPU, say: rows that this one lacks")  # fmt: skip
    add("--network", action="store_true", help="compare with the published mean_iou metric")
    add("--store", action="store_true", help="put the table into BENCHMARKS.md too")
    add("--readme", action="store_true", dest="store", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.store and (options.quick or (options.rows != GROUPS and not options.add)):
        parser.error("--store takes a run at full size of all groups, or --add for those left out")
    added = [row for file in options.add for row in json.loads(file.read_text(encoding="utf-8"))]

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        prepare(Path(scratch), options.network)
        from tests.benchmarks import report

        rows, failed = [], []
        for name in options.rows:
            print(name, flush=True)
            group = importlib.import_module(f"{__package__}.bench_{name}")
            try:
                for row in group.rows(options.quick):
                    rows.append(row)
                    print(f"  {' · '.join(report.cells(row))}", flush=True)
            except (AssertionError, RuntimeError) as error:
                failed.append(name)
                print(f"error: {name}: {error}", file=sys.stderr, flush=True)
        known = {(row["row"], row["other"]) for row in rows}
        rows += [row for row in added if (row["row"], row["other"]) not in known]
        report.write(rows, options.output)
        print(f"\n{report.table(rows)}\nwritten: {options.output / 'benchmarks'}.json and .md")
        if options.store and not failed:
            report.store(rows, HERE.parents[1] / "BENCHMARKS.md")
    if failed:
        print(f"error: no figures of {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def prepare(scratch: Path, network: bool) -> None:
    """Settings for every group and its child processes, before any library reads them."""
    from tools.course.run import headless_environment

    os.environ.update(headless_environment("sample" if network else "tiny"))
    for name in [name for name in os.environ if name.startswith("SEG_") and "TEST" not in name]:
        del os.environ[name]  # a caller's settings must not change what is measured
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"  # a new decode head is what we want
    os.environ["SEG_PROFILE"] = "tiny"
    os.environ["SEG_OUTPUT"] = str(scratch)
    os.environ["HF_HOME"] = str(scratch / "huggingface")


if __name__ == "__main__":
    sys.exit(main())
