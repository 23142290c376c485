"""Measure how small the house is: what there was, what is the aim, and what is reached.

Everything is read from the sources and nothing is run. Imports inside functions count, those
under `TYPE_CHECKING` do not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from helpers.profiles import REPOSITORY
from tools.course.run import choose_notebooks

NOTEBOOKS = choose_notebooks(REPOSITORY / "notebooks")
FOLDERS = ("helpers", "scripts", "notebooks/exercises", "tools", "tests")
Use = tuple[str, str]
"""A module and a public or private name in it; "" for the module as a whole."""


def module_name(file: Path) -> str:
    """`helpers.metrics` of helpers/metrics.py, `helpers.custom` of its `__init__.py`."""
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_name(file): file
    for folder in FOLDERS
    for file in sorted((REPOSITORY / folder).rglob("*.py"))
}


def lines_of(modules: Iterable[str]) -> int:
    """Lines of modules, blank ones and comments too, as `wc -l` counts them."""
    return sum(len(FILES[name].read_text(encoding="utf-8").splitlines()) for name in modules)


# --- who uses what --------------------------------------------------------------------------------


@cache
def definitions(module: str) -> dict[str, ast.stmt]:
    """What a module's first level defines; the rest of it is under ""."""
    found: dict[str, ast.stmt] = {"": ast.Module(body=[], type_ignores=[])}
    for statement in ast.parse(FILES[module].read_text(encoding="utf-8")).body:
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        names += [statement.name] if hasattr(statement, "name") else []
        found |= dict.fromkeys(names, statement)
        if not names:
            found[""].body.append(statement)
    return found


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and getattr(child.test, "id", None) == "TYPE_CHECKING"):
            yield child
            yield from _nodes(child)


def _imported(tree: ast.AST) -> dict[str, Use]:
    """The names that a source imports from the course's modules."""
    found = {}
    for node in _nodes(tree):
        if isinstance(node, ast.Import):
            found |= {one.asname or one.name: (one.name, "") for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                whole = f"{node.module}.{one.name}"
                use = (whole, "") if whole in FILES else (node.module, one.name)
                found[one.asname or one.name] = use
    return {name: use for name, use in found.items() if use[0] in FILES}


def _defined_at(module: str, name: str) -> Use:
    """Where a name that a module has is defined: there, where it was imported from, or in a part
    of the package that hands it on."""
    if not name or name in definitions(module):
        return module, name
    if use := _scope(module).get(name):
        return _defined_at(*use)
    parts = [one for one in FILES if one.startswith(f"{module}.") and name in definitions(one)]
    return (parts[0], name) if parts else (module, "")


def uses(tree: ast.AST, imported: dict[str, Use], own: str = "") -> set[Use]:
    """What a piece of code uses of the course's modules, of its own one included."""
    found = {use for use in _imported(tree).values() if use[1] == ""}
    names = imported | _imported(tree)
    for node in _nodes(tree):
        if isinstance(node, ast.Attribute):
            module = names.get(ast.unparse(node.value), ("", "name"))
            if module[1] == "":  # `visualize.overlay` after `from helpers import visualize`
                found.add(_defined_at(module[0], node.attr))
        elif isinstance(node, ast.Name) and node.id in names:
            found.add(_defined_at(*names[node.id]))
        elif isinstance(node, ast.Name) and own and node.id in definitions(own):
            found.add((own, node.id))
    return found


@cache
def _scope(module: str) -> dict[str, Use]:
    return _imported(ast.parse(FILES[module].read_text(encoding="utf-8")))


@cache
def _uses_of(use: Use) -> set[Use]:
    module, name = use
    statement = ast.Module(body=[definitions(module)[name]], type_ignores=[])
    return uses(statement, _scope(module), module) - {use}


@cache
def imports(module: str) -> set[str]:
    """The modules that a module imports names from."""
    found = {used for name in definitions(module) for used, _ in _uses_of((module, name))}
    return found - {module, "helpers"}


def everything(begin: Iterable, following) -> set:
    """Things, what follows from them, what follows from that, and so on."""
    found, new = set(), set(begin)
    while new:
        found |= new
        new = {after for one in new for after in following(one)} - found
    return found


def uses_of_notebook(path: Path) -> set[Use]:
    """What a notebook's code cells use of the course's modules."""
    cells = nbformat.read(path, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    tree = ast.parse("\n".join(map(TransformerManager().transform_cell, code)))
    return uses(tree, {})


def lines_behind(path: Path) -> int:
    """Lines of `helpers` that a notebook imports, with all that follows."""
    modules = everything({module for module, _ in uses_of_notebook(path)}, imports)
    return lines_of(name for name in modules if name.startswith("helpers."))


def unreached() -> set[str]:
    """Public names in `helpers` that no notebook, exercise or script comes to use."""
    begin = {use for path in NOTEBOOKS for use in uses_of_notebook(path)}
    outside = [name for name in FILES if name.startswith(("notebooks.", "scripts"))]
    begin |= {(module, name) for module in outside for name in definitions(module)}
    reached = everything(begin, lambda use: {*_uses_of(use), (use[0], "")})
    return {
        f"{module}.{name}"
        for module in FILES
        if module.startswith("helpers.")
        for name in definitions(module)
        if name and not name.startswith("_") and (module, name) not in reached
    }


# --- the table ------------------------------------------------------------------------------------


def private_members() -> set[str]:
    """Members of `transformers.Trainer` with a leading underscore that are overridden or set."""
    library = Path(find_spec("transformers").origin).with_name("trainer.py")
    theirs = set(re.findall(r"(?:def |\.)(_[a-z]\w*)", library.read_text(encoding="utf-8")))
    ours = set()
    for module in FILES:
        if module.startswith(("helpers.training", "helpers.runs")):
            for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    ours |= {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    ours.add(node.attr)
    return ours & theirs


def notebook_sizes() -> dict[Path, int]:
    """Bytes of the stored notebooks, in every language."""
    files = sorted((REPOSITORY / "notebooks").rglob("*.ipynb"))
    return {file: file.stat().st_size for file in files if ".ipynb_checkpoints" not in file.parts}


def table() -> str:
    """The measures as Markdown: before, the aim, and what is reached."""
    modules = {
        folder: [name for name in FILES if f"{name}.".startswith(folder.replace("/", ".") + ".")]
        for folder in FOLDERS
    }
    behind = {path.stem: lines_behind(path) for path in NOTEBOOKS}
    most = max(behind, key=behind.get)
    tests = lines_of(modules["tests"])
    tests += len((REPOSITORY / "conftest.py").read_text(encoding="utf-8").splitlines())
    sizes, private = notebook_sizes(), private_members()
    helpers, files = lines_of(modules["helpers"]), len(modules["helpers"])
    exercises, scripts = (lines_of(modules[name]) for name in ("notebooks/exercises", "scripts"))
    rows = [
        (
            "lines of Python in helpers, files",
            "11,130 in 71",
            "≤ 4,300, then 3,400 in ≤ 16",
            f"{helpers:,} in {files}",
        ),
        ("what notebook 02 imports", "2,370", "≤ 1,800", f"{behind['02_dataset_and_labels']:,}"),
        ("the most any notebook imports", "4,551", "≤ 2,800", f"{behind[most]:,} ({most[:2]})"),
        (
            "notebooks/exercises",
            "1,997",
            "≤ 1,700",
            f"{exercises:,}",
        ),
        ("scripts", "1,569", "≤ 2,400", f"{scripts:,}"),
        ("tests, with conftest.py", "16,406", "≤ 10,500", f"{tests:,}"),
        (
            "members of Trainer with an underscore",
            "9",
            "≤ 4",
            f"{len(private)}: {', '.join(sorted(private))}",
        ),
        ("all stored notebooks", "16 MB", "≤ 30 MB", f"{sum(sizes.values()) / 1e6:.1f} MB"),
        ("the largest of them", "–", "≤ 1.5 MB", f"{max(sizes.values()) / 1e6:.1f} MB"),
    ]
    rows = [("measure", "before", "aim", "reached"), ("---",) * 4, *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(arguments: list[str] | None = None) -> int:
    """Print how small the house is, beside what it was and the aims."""
    print(table())
    return 0
