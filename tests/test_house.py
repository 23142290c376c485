"""The house: which room may import which. Read from the sources, nothing is run.

Imports inside functions count, those under `TYPE_CHECKING` do not. A name that a package's face
hands on counts as an import of the module that holds it.
"""

import ast
import graphlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from tools.course.run import choose_notebooks

REPOSITORY = Path(__file__).resolve().parent.parent
NOTEBOOKS = choose_notebooks(REPOSITORY / "notebooks")

LAYERS = (
    {"training", "runs", "evaluation", "widgets"},
    {"inference", "custom", "data", "transforms", "visualize", "segments", "metrics"},
    {"images", "profiles"},
    {"labels"},
    {"hub", "processes", "upsampling"},
)
"""Rooms import from their own layer and from those below it."""

BENEATH = LAYERS[-1]
"""Used by the rooms, named in no notebook."""


def module_name(file: Path) -> str:
    """`helpers.custom.pairs` of helpers/custom/pairs.py, `helpers.custom` of its `__init__.py`."""
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """`custom` of `helpers.custom.pairs`."""
    return module.split(".")[1]


FILES = {
    module_name(file): file
    for folder in ("helpers", "scripts", "tools")
    for file in sorted((REPOSITORY / folder).rglob("*.py"))
}
HELPERS = [name for name in FILES if name.startswith("helpers.")]


@cache
def face(package: str) -> dict[str, str]:
    """Name to module of what a package's `face(__name__, module="names")` hands on."""
    if package not in FILES:
        return {}
    for node in ast.walk(ast.parse(FILES[package].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "face":
            return {
                name: f"{package}.{given.arg}"
                for given in node.keywords
                for name in given.value.value.split()
            }
    return {}


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and getattr(child.test, "id", None) == "TYPE_CHECKING":
            continue
        yield child
        yield from nodes(child)


def imports(source: str) -> set[str]:
    """The course's modules that a source imports, through faces."""
    found, packages = set(), {}
    tree = list(nodes(ast.parse(source)))
    for node in tree:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in FILES}
        elif isinstance(node, ast.ImportFrom) and node.module in FILES:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                target = name if name in FILES else face(node.module).get(alias.name, node.module)
                found.add(target)
                packages[alias.asname or alias.name] = target
    for node in tree:  # `widgets.show` after `from helpers import widgets`
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(face(packages.get(node.value.id, "")).get(node.attr, "helpers"))
    return found - {"helpers"}


IMPORTS = {name: imports(file.read_text(encoding="utf-8")) for name, file in FILES.items()}


def code(notebook: Path) -> str:
    """A notebook's code cells as Python."""
    cells = nbformat.read(notebook, as_version=4).cells
    sources = (cell.source for cell in cells if cell.cell_type == "code")
    return "\n".join(map(TransformerManager().transform_cell, sources))


def reached(modules: set[str]) -> set[str]:
    """Modules, what they import, what that imports, and so on."""
    found, new = set(), modules
    while new:
        found |= new
        new = {target for name in new for target in IMPORTS[name]} - found
    return found


# --- the rules ------------------------------------------------------------------------------------


def test_imports_are_found_in_functions_and_through_faces() -> None:
    source = """
if TYPE_CHECKING:
    import helpers.processes
def share():
    from helpers import training
    training.push
from helpers.inference import segment
import helpers.metrics
"""
    found = {"training", "inference.predict", "metrics"}
    assert imports(source) == {f"helpers.{name}" for name in found}


def test_no_file_imports_itself_by_way_of_others() -> None:
    try:
        list(graphlib.TopologicalSorter(IMPORTS).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" ← ".join(error.args[1]))


def test_every_room_has_its_layer() -> None:
    assert {room(name) for name in HELPERS} == set.union(*LAYERS)


def test_rooms_import_downwards() -> None:
    level = {name: number for number, names in enumerate(LAYERS) for name in names}
    climbing = [
        f"{name} → {target}"
        for name in HELPERS
        for target in sorted(IMPORTS[name])
        if level.get(room(target), 0) < level.get(room(name), 0)
    ]
    assert climbing == []


def test_imports_run_from_tools_to_scripts_to_helpers() -> None:
    order = ["helpers", "scripts", "tools"]
    forbidden = [
        f"{name} → {target}"
        for name, targets in IMPORTS.items()
        for target in sorted(targets)
        if order.index(target.split(".")[0]) > order.index(name.split(".")[0])
    ]
    assert forbidden == []


@pytest.mark.parametrize(
    ("old", "new"), [("training", "train"), ("evaluation", "evaluate"), ("inference", "segment")]
)
def test_the_old_name_of_a_command_answers_with_the_new_one(old: str, new: str) -> None:
    command = [sys.executable, "-m", f"helpers.{old}", "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    told = f"python -m helpers.{old} is python -m scripts.{new} now\n"
    assert (done.returncode, done.stderr) == (2, told)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_no_scripts_no_tools_and_nothing_from_beneath(path: Path) -> None:
    direct = imports(code(path))
    assert [name for name in direct if name.startswith(("tools", "scripts"))] == []
    named = {room(name) for name in direct if name.startswith("helpers.")} & BENEATH
    named |= {*re.findall(r"helpers[./](\w+)", path.read_text(encoding="utf-8"))} & BENEATH
    assert named == set()


@pytest.mark.parametrize(
    "path", [path for path in NOTEBOOKS if path.stem[:2] <= "04"], ids=lambda path: path.stem
)
def test_a_first_notebook_reaches_no_training(path: Path) -> None:
    assert sorted(name for name in reached(imports(code(path))) if room(name) == "training") == []


def test_importing_helpers_loads_nothing_heavy() -> None:
    script = "import sys, helpers; print('torch' in sys.modules, 'numpy' in sys.modules)"
    command = [sys.executable, "-c", script]
    answer = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "None"),
    ],
)
def test_threads_that_wait_spin_little_unless_somebody_said_otherwise(given, expected) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("GOMP_", "OMP_"))}
    script = "import os, helpers; print(os.environ.get('GOMP_SPINCOUNT'))"
    told = subprocess.check_output(
        [sys.executable, "-c", script], env=kept | given, cwd=REPOSITORY, text=True
    )
    assert told.strip() == expected
