"""Every notebook runs in profile "sample", from a Hub on this machine, as a reader runs it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from hub_content import fill
from loopback_hub import LoopbackHub, files_holding

from helpers.profiles import REPOSITORY
from tools.course.run import choose_notebooks

QUICKSTART, *OTHERS = choose_notebooks(REPOSITORY / "notebooks")
STEMS = [path.stem for path in OTHERS]
STAND_INS = 'guide = get_profile("tiny").capped(40)'
CANARY = "hf_" + "c4n4ry" * 6


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        hub.tokens[CANARY] = "learner"
        fill(hub)
        yield hub


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sample")


@pytest.mark.slow
def test_the_notebooks_run_on_what_the_hub_sends(hub: LoopbackHub, output: Path) -> None:
    done = hub.run(
        *("-m", "tools.course", "run", "--output", output, "--notebooks", *STEMS),
        home=output / "huggingface",
        token=CANARY,
        SEG_PROFILE="sample",
        SEG_MAX_STEPS="2",
        SEG_OUTPUT=str(output),
    )
    check(done, STEMS, hub)
    assert any(token == CANARY for _, _, token in hub.requests), "the token was never used"
    assert files_holding(output, CANARY) == []


@pytest.mark.slow
def test_the_quickstart_runs_on_the_real_names(hub, output, tmp_path) -> None:
    """The reader's one edit: the line that names the stand-ins goes."""
    for name in ("helpers", "tools", "notebooks/mean_iou"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(REPOSITORY / name)
    notebook = nbformat.read(QUICKSTART, as_version=4)
    (cell,) = (cell for cell in notebook.cells if STAND_INS in cell.source)
    assert cell.source.splitlines()[-1].startswith(STAND_INS)
    edited = cell.source.rsplit("\n", 1)[0]
    assert "max_steps=1000," in edited
    cell.source = edited.replace("max_steps=1000,", "max_steps=2,")  # so much a CPU can
    nbformat.write(notebook, tmp_path / "notebooks" / QUICKSTART.name)
    before = len(hub.requests)
    done = hub.run(
        *("-m", "tools.course", "run", "--output", output, "--folder", tmp_path / "notebooks"),
        home=tmp_path / "huggingface",  # nothing is there yet, so all is asked for
        SEG_PROFILE="sample",
        SEG_OUTPUT=str(output),
    )
    check(done, [QUICKSTART.stem], hub)
    asked = " ".join(path for _, path, _ in hub.requests[before:])
    for name in re.findall(r'"((?:[\w-]+/)?[\w.-]+/[\w.-]+)"', edited):
        assert name in asked, f"{name} was not asked for"


def check(done: subprocess.CompletedProcess[str], stems: list[str], hub: LoopbackHub) -> None:
    """They ran, asked nobody else, unpickled and uploaded nothing."""
    assert done.returncode == 0, done.stderr
    told = re.findall(r"^(\d\d_\w+) +[\d.]+ s", done.stdout, flags=re.MULTILINE)
    assert sorted(told) == stems
    asked = [f"{method} {path}" for method, path, _ in hub.requests]
    assert hub.strangers == [], "somebody asked for another address"
    pickles = [line for line in asked if re.match(r"GET .*\.(bin|pt|pth|pkl|ckpt)\b", line)]
    assert pickles == [], "a pickle was fetched"
    uploads = [line for line in asked if re.search("/(repos/create|preupload|commit)\\b", line)]
    assert uploads == [], "something was uploaded, though nobody asked for it"
