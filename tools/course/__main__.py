"""Making of the course: run it, refresh its outputs, translate, publish, measure."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from helpers.profiles import REPOSITORY
from tools.course.execute import NotebookError
from tools.course.map import COSTS_FILE, write_map
from tools.course.run import choose_notebooks, refresh, run
from tools.course.translations import LANGUAGES

OTHERS = {
    "translations": "bring the catalogues up to date, and build what is translated",
    "address": "write where the course is published into badges, set-up cells and READMEs",
    "sweeps": "measure the sweeps that are named, store them, and print their tables",
    "lock": "write constraints.txt from the newest releases",
    "measures": "print how small the house is, beside what it was and the aims",
    "readme_image": "draw the README's images: a training in motion, and a photograph, with names",
    "try_page": "build the page on which visitors try the models in their browser; needs npm",
}
"""Modules with commands that read their own options: some load PyTorch, which a run needs not."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    others = {name.removesuffix("_page").replace("_", "-"): name for name in OTHERS}
    if arguments and arguments[0] in others:
        module = importlib.import_module(f"tools.course.{others[arguments[0]]}")
        return module.main(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m tools.course", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run_parser = commands.add_parser("run", help="execute notebooks, write pages and results")
    run_parser.add_argument(
        "--output",
        type=Path,
        default=REPOSITORY / "build",
        help="folder for pages, model and overlays; SEG_OUTPUT moves the last two (default: build)",
    )
    refresh_parser = commands.add_parser("refresh", help="store the outputs of one clean run")
    for command in (run_parser, refresh_parser):
        command.add_argument("--notebooks", nargs="+", metavar="NN", help="only these, as in 01 05")
        command.add_argument(
            "--folder",
            type=Path,
            default=REPOSITORY / "notebooks",
            help="folder of the notebooks (default: notebooks)",
        )
    refresh_parser.add_argument(
        "--languages", nargs="+", choices=LANGUAGES, default=LANGUAGES, help="default: all"
    )
    map_parser = commands.add_parser("map", help="write the last run's costs into the README")
    map_parser.add_argument("--costs", type=Path, default=REPOSITORY / "build" / COSTS_FILE)
    map_parser.add_argument("--readme", type=Path, default=REPOSITORY / "README.md")
    for name, module in others.items():
        commands.add_parser(name, help=OTHERS[module])
    options = parser.parse_args(arguments)
    os.environ.pop("MPLBACKEND", None)  # the kernel's inline backend puts figures into the cells
    try:
        if options.command == "map":
            write_map(options.costs, options.readme)
            return 0
        paths = choose_notebooks(options.folder.resolve(), options.notebooks)
        if options.command == "run":
            run(paths, options.output.resolve())
        else:
            refresh(paths, options.languages)
    except (NotebookError, ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
