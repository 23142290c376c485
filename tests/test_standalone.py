"""What a notebook that was opened alone installs, and what it leaves as it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import colab as standalone
from tools.colab import lacking

REPOSITORY = Path(__file__).resolve().parent.parent
REQUIREMENTS = """
# a remark
torch>=2.11
transformers>=5.15,<6
evaluate>=0.4.6
huggingface_hub>=1.0  # written with another dash
jupyterlab>=4.2
nbval>=0.11
"""


def test_only_what_is_not_there_at_all_is_missing():
    installed = {"torch": "2.11.0+cu128", "transformers": "5.15.1", "huggingface-hub": "1.27.0"}
    assert lacking(REQUIREMENTS, installed) == (["evaluate>=0.4.6"], [])


def test_an_older_version_is_told_and_left():
    installed = {"torch": "2.10.0", "transformers": "6.0", "evaluate": "0.4.6"}
    missing, doubtful = lacking(REQUIREMENTS, installed)
    assert missing == ["huggingface_hub>=1.0"]
    assert [sentence.split()[:2] for sentence in doubtful] == [
        ["torch", "2.10.0"],
        ["transformers", "6.0"],
    ]
    assert all("left as it is" in sentence for sentence in doubtful)


def test_nothing_is_missing_here(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    standalone.prepare()
    assert Path.cwd() == REPOSITORY / "notebooks"
    assert capsys.readouterr().out == ""


def test_a_failing_installation_is_one_sentence(tmp_path: Path):
    """Run as the set-up cell does, from a course that asks for a package that is nowhere."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "helpers").mkdir()
    script = tmp_path / "helpers" / "standalone.py"
    script.write_text((REPOSITORY / "helpers" / "standalone.py").read_text(encoding="utf-8"))
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
    assert "run this cell again" in line
