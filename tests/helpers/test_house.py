"""The house stays small, and is entered one way: what may import what, and who uses what."""

import graphlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.profiles import REPOSITORY
from tools.course import measures

ORDER = ("helpers", "notebooks", "scripts", "tools", "tests")
"""A file imports from its own folder and from those before it; notebooks from `helpers` alone."""

LAYERS = (
    {"training", "runs", "evaluation", "widgets"},
    {"inference", "custom", "data", "models", "transforms", "visualize", "metrics"},
    {"masks", "pairs"},
    {"images", "profiles"},
    {"labels"},
    {"faults", "hub", "language", "processes"},
)
"""Files of `helpers` import from their own layer and from those below it."""

LINES_BEHIND = {
    "00_quickstart": 1380,
    "01_segmentation_types": 1800,
    "02_dataset_and_labels": 2150,
    "03_preprocessing_and_augmentation": 2380,
    "04_mean_iou": 2680,
    "05_training": 3300,
    "06_inference_and_overlays": 3110,
    "07_custom_dataset": 4180,
    "08_scores": 2760,
    "09_scaling_and_sharing": 3500,
    "10_few_images": 2330,
    "11_export": 2330,
}
"""The most lines of `helpers` that a notebook may import, with all that follows."""


def test_a_notebook_reaches_no_more_than_its_share() -> None:
    behind = {path.stem: measures.lines_behind(path) for path in measures.NOTEBOOKS}
    assert behind.keys() == LINES_BEHIND.keys()
    assert {name: lines for name, lines in behind.items() if lines > LINES_BEHIND[name]} == {}


def test_every_public_name_of_helpers_is_used() -> None:
    assert measures.unreached() == set()


def test_notebooks_stay_small() -> None:
    sizes = measures.notebook_sizes()
    assert sum(sizes.values()) <= 30e6
    assert {path.name: size for path, size in sizes.items() if size > 1.5e6} == {}


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = {module: measures.imports(module) for module in measures.FILES}
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" ← ".join(error.args[1]))


LEVELS = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def may_import(module: str, other: str) -> bool:
    folder, its_folder = module.split(".")[0], other.split(".")[0]
    if folder == its_folder == "helpers":
        return LEVELS[module.split(".")[1]] <= LEVELS[other.split(".")[1]]
    if its_folder == "notebooks":
        return folder in ("notebooks", "tools", "tests")
    return ORDER.index(its_folder) <= ORDER.index(folder)


def test_imports_run_one_way() -> None:
    found = [(module, other) for module in measures.FILES for other in measures.imports(module)]
    assert ("scripts.train", "helpers.profiles") in found
    assert [f"{module} → {other}" for module, other in found if not may_import(module, other)] == []


@pytest.mark.parametrize("path", measures.NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_helpers_and_its_checks_alone(path: Path) -> None:
    modules = {module for module, _ in measures.uses_of_notebook(path)}
    others = sorted(name for name in modules if not name.startswith("helpers"))
    assert [name.rpartition(".")[0] for name in others] in ([], ["notebooks.exercises"])


def test_measures_print_what_is_reached(capsys: pytest.CaptureFixture[str]) -> None:
    assert measures.main() == 0
    lines = capsys.readouterr().out.splitlines()
    behind = measures.lines_behind(REPOSITORY / "notebooks" / "02_dataset_and_labels.ipynb")
    assert f"| what notebook 02 imports | 2,370 | ≤ 1,800 | {behind:,} |" in lines


@pytest.mark.parametrize(
    ("old", "new"), [("training", "train"), ("evaluation", "evaluate"), ("inference", "segment")]
)
def test_the_old_name_of_a_command_answers_with_the_new_one(old: str, new: str) -> None:
    command = [sys.executable, "-m", f"helpers.{old}", "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    told = f"python -m helpers.{old} is python -m scripts.{new} now\n"
    assert (done.returncode, done.stderr) == (2, told)


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "None")],
)
def test_helpers_load_nothing_heavy_and_keep_threads_from_spinning(given, expected) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GOMP_", "OMP_"))}
    script = "import os, sys, helpers; print(os.environ.get('GOMP_SPINCOUNT'), "
    script += "'torch' in sys.modules, 'numpy' in sys.modules)"
    command = [sys.executable, "-c", script]
    told = subprocess.check_output(command, env=kept | given, cwd=REPOSITORY, text=True)
    assert told.split() == [expected, "False", "False"]
