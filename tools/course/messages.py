"""What the course's code says to a reader: found in the sources, compiled for gettext, and stored.

`helpers.language.say` looks a text up under its English. The texts of all files have one catalogue
in each language, `exercises.po`, since most are those of the exercises. `exercises.mo` beside it is
what a kernel reads; a text whose translation is missing or fuzzy is not in it, and stays English.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.profiles import REPOSITORY

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog
    from nbformat import NotebookNode

STEM = "exercises"
"""The name of the catalogues."""

SPEAKING = {"say": 0, "NotYet": 0, "answers": 0, "wrong_for": 1}
"""Functions to the place of the text among their arguments, where it may also be chosen, as in
`say("an image" if one else "images")`. A variable `text` is one of them, and the keys of a table
of mistakes are."""

PLACEHOLDER = re.compile(r"\{[^{}]*\}")

CHARACTER = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
"""A Chinese or Japanese one."""


def messages(root: Path = REPOSITORY) -> list[str]:
    """All texts, file by file in the order in which they stand there, each once."""
    files = [*root.glob("helpers/*.py"), *root.glob("notebooks/exercises/*.py")]
    found = [text for file in sorted(files) for text in _messages_of(file)]
    return [text for text in dict.fromkeys(found) if PLACEHOLDER.sub("", text).strip()]


def _messages_of(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    spoken = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(name), args=arguments) if name in SPEAKING:
                spoken += arguments[SPEAKING[name] : SPEAKING[name] + 1]
            case ast.Assign(targets=[ast.Name("text")], value=ast.Constant() as constant):
                spoken.append(constant)
            case ast.Assign(targets=[ast.Name(name)], value=ast.Dict(keys=keys)):
                spoken += keys if name.endswith("_MISTAKES") else []
    constants = [part for node in spoken for part in ast.walk(node) if _is_text(part)]
    for part in sorted(constants, key=lambda part: (part.lineno, part.col_offset)):
        yield part.value


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def compiled_file(language: str, root: Path = REPOSITORY) -> Path:
    return root / "translations" / language / f"{STEM}.mo"


def to_compile(catalogue: Catalog) -> dict[str, str]:
    """English texts to their translations, of those that are translated and not fuzzy."""
    translated = (entry for entry in catalogue if entry.id and entry.string and not entry.fuzzy)
    return {entry.id: entry.string for entry in translated}


def compiled(file: Path) -> dict[str, str]:
    """The same as a compiled catalogue has them; none if there is no file."""
    from babel.messages.mofile import read_mo

    if not file.is_file():
        return {}
    with file.open("rb") as opened:
        return {entry.id: entry.string for entry in read_mo(opened) if entry.id}


def compile_catalogue(catalogue: Catalog, file: Path) -> None:
    """Write what gettext reads, unless it is there: a header that tells the time changes always."""
    from babel.messages.mofile import write_mo

    if compiled(file) != to_compile(catalogue):
        write_mo(buffer := BytesIO(), catalogue)
        file.write_bytes(buffer.getvalue())


def with_texts_of(executed: NotebookNode, notebook: NotebookNode) -> NotebookNode:
    """Give a notebook's outputs the texts in Chinese or Japanese of another run, in place.

    Where the code has become another since that run, and in figures, nothing changes.
    """
    ours = {cell.id: cell for cell in executed.cells}
    for cell in notebook.cells:
        if cell.cell_type != "code" or cell.id not in ours or ours[cell.id].source != cell.source:
            continue
        for output, spoken in zip(cell.outputs, ours[cell.id].outputs, strict=False):
            # What is printed is an output's own text; a value has one of several kinds.
            texts, others = output.get("data", output), spoken.get("data", spoken)
            for kind in texts.keys() & others.keys() & {"text", "text/plain", "text/html"}:
                if CHARACTER.search(others[kind]):
                    texts[kind] = others[kind]
    return notebook
