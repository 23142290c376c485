# ruff: noqa: RUF001 (full-width punctuation is right in Chinese and Japanese)
"""Install what a notebook lacks that was opened alone, in Colab say; its set-up cell runs this.

No package that is there is changed: a session that has loaded torch, or its own kernel, breaks when
they are replaced.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"
NOT_IN_A_NOTEBOOK = {"jupyterlab", "nbval"}
"""They open and test notebooks; this one is open."""
IN_OTHER_LANGUAGES = """\
中文：练习用英语回答；要用中文，请先运行一个单元格：%env SEG_LANGUAGE=zh
日本語：演習の答えは英語です。日本語にするには、次のセルを実行してください：%env SEG_LANGUAGE=ja"""
"""No kernel here knows in which folder its notebook lies."""


def lacking(requirements: str) -> list[str]:
    """Return the requirements of which no version is installed, and name doubtful versions.

    Args:
        requirements: the text of requirements.txt.
    """
    missing = []
    for line in filter(None, (line.split("#")[0].strip() for line in requirements.splitlines())):
        wanted = Requirement(line)
        if wanted.name in NOT_IN_A_NOTEBOOK:
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            missing.append(line)
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            print(
                f"{wanted.name} {version} is here, and the course is tested with "
                f"{wanted.specifier}: it is left as it is, and some cells may fail."
            )
    return missing


def install(missing: list[str]) -> None:
    """Install packages with pip, and hold every other one at the version that it has.

    Raises:
        SystemExit: pip could not; the message says what to do.
    """
    print("installing", ", ".join(missing), flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "constraints.txt"
        names = {item.metadata["Name"] for item in metadata.distributions()} - {None}
        # The local part of a version, as in 2.11.0+cu128, is on no index; 2.11.0 admits it.
        pins = [f"{name}=={metadata.version(name).split('+')[0]}\n" for name in sorted(names)]
        kept.write_text("".join(pins), encoding="utf-8")
        done = subprocess.run([*pip, "-c", kept, *missing], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise SystemExit(
            f"{', '.join(missing)} could not be installed ({last}): "
            "connect to a network and run: %run ../tools/colab.py"
        )


if __name__ == "__main__":
    if missing := lacking(REQUIREMENTS.read_text(encoding="utf-8")):
        install(missing)
    print(IN_OTHER_LANGUAGES)
