"""The exact versions that the tests run with."""

from __future__ import annotations

import argparse
import subprocess
import sys

from helpers.profiles import REPOSITORY

FILE = REPOSITORY / "constraints.txt"
_HEAD = """\
# The versions that CI runs with, for Python 3.11 to 3.13 on Linux, macOS and Windows.
# Made by `python -m tools.course lock`; do not edit by hand.
"""


def main(arguments: list[str] | None = None) -> int:
    """Write constraints.txt from the newest releases."""
    argparse.ArgumentParser(prog="python -m tools.course lock", description=__doc__).parse_args(
        arguments
    )
    options = "--quiet --universal --python-version 3.11 --upgrade --no-header --no-annotate"
    command = [sys.executable, "-m", "uv", "pip", "compile", *options.split()]
    done = subprocess.run(
        [*command, str(REPOSITORY / "requirements-dev.txt")], stdout=subprocess.PIPE, text=True
    )
    if done.returncode == 0:
        FILE.write_text(_HEAD + done.stdout, encoding="utf-8", newline="\n")
    return done.returncode
