"""What a notebook lacks that was opened alone, in Colab say: the folder to run in, and packages.

The set-up cell runs this file with `%run` once it has fetched the course. It goes to the course's
`notebooks` folder and installs the packages that are not there at all. It changes none that is
there: a session that has loaded torch or its own kernel breaks when they are replaced.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

COURSE = Path(__file__).resolve().parent.parent
NOT_IN_A_NOTEBOOK = {"jupyterlab", "nbval"}
"""They open and test notebooks; this one is open."""


def lacking(requirements: str, installed: dict[str, str]) -> tuple[list[str], list[str]]:
    """Compare what the course asks for with what is installed.

    Args:
        requirements: the text of requirements.txt.
        installed: name to version; the names in lower case with dashes.

    Returns:
        The requirements of which no version is installed, as pip takes them; and a sentence
        for each that is installed, but in a version that the course was not tested with.
    """
    missing, doubtful = [], []
    for line in requirements.splitlines():
        text = line.split("#")[0].strip()
        if not text:
            continue
        requirement = Requirement(text)
        if requirement.name in NOT_IN_A_NOTEBOOK:
            continue
        version = installed.get(requirement.name.lower().replace("_", "-"))
        if version is None:
            missing.append(text)
        elif not requirement.specifier.contains(version, prereleases=True):
            doubtful.append(
                f"{requirement.name} {version} is here, and the course is tested with "
                f"{requirement.specifier}: it is left as it is, and some cells may fail."
            )
    return missing, doubtful


def prepare() -> None:
    """Go to the course's notebooks, and install what is missing beside what is there.

    Raises:
        SystemExit: pip could not install it; the message says what to do.
    """
    os.chdir(COURSE / "notebooks")
    installed = {
        (item.metadata["Name"] or "").lower().replace("_", "-"): item.version
        for item in metadata.distributions()
    }
    requirements = (COURSE / "requirements.txt").read_text(encoding="utf-8")
    missing, doubtful = lacking(requirements, installed)
    for sentence in doubtful:
        print(sentence)
    if not missing:
        return
    print("installing", ", ".join(missing), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        # What is there stays as it is, also where a new package would like a newer one. A version
        # with a local part, such as 2.11.0+cu128, can't be named to pip: whoever has it keeps it.
        kept = Path(folder) / "constraints.txt"
        kept.write_text(
            "".join(
                f"{name}=={version.split('+')[0]}\n" for name, version in installed.items() if name
            ),
            encoding="utf-8",
        )
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, "-c", str(kept), *missing], capture_output=True, text=True, check=False
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise SystemExit(
            f"{', '.join(missing)} could not be installed ({last}): "
            "connect to a network and run this cell again"
        )


if __name__ == "__main__":
    prepare()
