"""What a notebook that was opened alone fetches and installs, and what it leaves as it is."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from helpers.profiles import REPOSITORY
from tools.colab import REQUIREMENTS, lacking
from tools.course.address import read_address

FIRST = min((REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))
TRANSLATIONS = (REPOSITORY / "translations").glob("*/exercises.mo")
SETUP = nbformat.read(FIRST, as_version=4).cells[3].source


def test_what_is_missing_is_listed_and_a_version_out_of_bounds_named_and_left(monkeypatch, capsys):
    there = {"torch": "2.11.0+cu128", "transformers": "6.0", "jupyterlab": "1.0"}

    def version(name: str) -> str:
        if name not in there:
            raise metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(metadata, "version", version)
    listed = "# a remark\ntorch>=2.11\ntransformers>=5.15,<6\nevaluate>=0.4.6  # scores\nnbval>=1\n"
    assert lacking(f"{listed}jupyterlab>=4.2\n") == ["evaluate>=0.4.6"]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("transformers 6.0 is here")
    assert "left as it is" in line


def test_nothing_is_missing_here(capsys):
    assert lacking(REQUIREMENTS.read_text(encoding="utf-8")) == []
    assert capsys.readouterr().out == ""


def test_readers_of_other_languages_are_told_how_exercises_answer_in_theirs():
    script = REPOSITORY / "tools" / "colab.py"
    told = subprocess.check_output([sys.executable, "-X", "utf8", script], encoding="utf-8")
    named = re.findall(r"%env SEG_LANGUAGE=(\w+)", told)
    assert named == sorted(file.parent.name for file in TRANSLATIONS)[::-1]


def test_a_failing_installation_is_one_sentence(tmp_path: Path):
    """Run as the set-up cell does, from a course that asks for a package that is nowhere."""
    script = tmp_path / "tools" / "colab.py"
    script.parent.mkdir()
    script.write_text((REPOSITORY / "tools" / "colab.py").read_text(encoding="utf-8"))
    (tmp_path / "requirements.txt").write_text("no-such-package-of-the-course>=1\n")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={"PIP_NO_INDEX": "1", "PATH": ""},
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stdout == "installing no-such-package-of-the-course>=1\n"
    (line,) = done.stderr.strip().splitlines()
    assert "no-such-package-of-the-course>=1 could not be installed" in line
    assert "%run ../tools/colab.py" in line


# --- the set-up cell ------------------------------------------------------------------------------


@pytest.fixture
def set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the set-up cell in a folder; returns where it went and what it put first on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setattr(sys, "path", sys.path[:])

    def run(folder: Path) -> tuple[Path, str]:
        os.chdir(folder)
        InteractiveShell().run_cell(SETUP).raise_error()
        return Path.cwd(), sys.path[0]

    return run


@pytest.mark.parametrize("start", [".", "notebooks", "notebooks/zh"])
def test_the_course_is_found_from_its_own_folders(set_up, tmp_path, start, monkeypatch, capsys):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    for name in ("helpers", "notebooks/zh"):
        (tmp_path / name).mkdir(parents=True)
    assert set_up(tmp_path / start) == (tmp_path / "notebooks", str(tmp_path))
    assert set_up(Path.cwd()) == (tmp_path / "notebooks", str(tmp_path))  # run once more
    assert capsys.readouterr() == ("", "")
    assert os.environ["GOMP_SPINCOUNT"] == "1000"  # the threads of a kernel spin little


def test_a_notebook_opened_alone_fetches_the_course_once(set_up, tmp_path: Path, monkeypatch):
    address = read_address()
    published, alone = tmp_path / "published", tmp_path / "alone"
    for name in ("helpers/__init__.py", "notebooks/one", "tools/colab.py"):
        (published / name).parent.mkdir(parents=True)
        (published / name).write_text("print('nothing is missing')\n" * name.startswith("tools"))
    git = ["git", "-C", published, "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"], ["tag", address.ref]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{published.as_uri()}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", f"https://github.com/{address.repository}")
    alone.mkdir()
    for _ in range(2):  # the second time as after a restart of the kernel
        assert set_up(alone) == (alone / "course" / "notebooks", str(alone / "course"))
