"""Run the benchmarks: `python -m tests.benchmarks --help`, or `make bench`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent


def groups() -> list[str]:
    """The names of the `bench_*.py` beside this file."""
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure what the course costs beside what its readers would use otherwise, "
        "and write the figures as benchmarks.json, .md and .png.",
    )
    parser.add_argument("--rows", nargs="+", metavar="GROUP", help=f"only: {', '.join(groups())}")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it works; no real figures"
    )
    parser.add_argument(
        "--output", type=Path, default=HERE.parents[1] / "build", help="folder (default: build)"
    )
    parser.add_argument(
        "--add",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="benchmarks.json of another run, on a machine with a GPU, say: rows that this lacks",
    )
    parser.add_argument(
        "--network", action="store_true", help="fetch the published mean_iou metric to compare with"
    )
    parser.add_argument("--store", action="store_true", help="put the table into BENCHMARKS.md too")
    parser.add_argument("--readme", action="store_true", dest="store", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.rows or ()) - set(groups())):
        parser.error(f"no group {', '.join(unknown)}: choose from {', '.join(groups())}")
    if options.store and (options.quick or (options.rows and not options.add)):
        parser.error("--store takes a run at full size of all groups, or --add for those left out")
    added = [row for file in options.add for row in json.loads(file.read_text(encoding="utf-8"))]

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        prepare(Path(scratch), options.network)
        from tests.benchmarks import report

        rows, failed = [], []
        for name in options.rows or groups():
            begin = time.perf_counter()
            print(f"{name}", flush=True)
            try:
                for row in rows_of(name, options.quick):
                    rows.append(row)
                    report.print_row(row)
            except (AssertionError, RuntimeError) as error:
                failed.append(name)
                print(f"error: {name}: {error}", file=sys.stderr, flush=True)
            print(f"  {time.perf_counter() - begin:.0f} s", flush=True)
        known = {(row["row"], row.get("other")) for row in rows}
        rows += [row for row in added if (row["row"], row["other"]) not in known]
        report.write(rows, options.output)
        print(f"\n{report.table(rows)}\nwritten: {options.output / 'benchmarks'}.json, .md, .png")
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


def rows_of(name: str, quick: bool) -> Iterator[dict]:
    """The rows of one group, as they come."""
    yield from importlib.import_module(f"tests.benchmarks.bench_{name}").rows(quick)


if __name__ == "__main__":
    sys.exit(main())
