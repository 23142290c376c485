"""Notebook 09's table "From TensorFlow": whatever it names or links to is there."""

import importlib
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
NOTEBOOKS = REPOSITORY / "notebooks"
OLD_CALLS = [
    "tf.image",
    "to_tf_dataset",
    "create_optimizer",
    "KerasMetricCallback",
    "PushToHubCallback",
    "compile",
    "fit",
    "tf.transpose",
]
"""The guide's TensorFlow calls that the table must account for."""


def rows() -> list[tuple[str, str, str]]:
    """The cells of the table: TensorFlow, here, link."""
    notebook = nbformat.read(NOTEBOOKS / "09_scaling_and_sharing.ipynb", as_version=4)
    (text,) = [
        c.source for c in notebook.cells if c.source.startswith("## Appendix: from TensorFlow")
    ]
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return [tuple(cell.strip() for cell in row) for row in cells]


def resolve(name: str) -> Any:
    """The object of a dotted name: the longest part that is a module, then attributes."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def anchors(notebook: Path) -> set[str]:
    """What links may end in: the headings, with hyphens for spaces, as Jupyter has them."""
    cells = nbformat.read(notebook, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    text = text.replace("`", "")
    return {one.replace(" ", "-") for one in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)}


def test_the_table_accounts_for_every_call_of_the_guide() -> None:
    told = " ".join(old for old, _, _ in rows())
    assert [call for call in OLD_CALLS if call not in told] == []
    assert len(rows()) >= len(OLD_CALLS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_what_takes_its_place_exists(row: tuple[str, str, str]) -> None:
    _, here, _ = row
    names = re.findall(r"`((?:helpers|torch|torchvision|transformers|datasets)\.[\w.]+)`", here)
    options = re.findall(r"`(--[\w-]+)", here)
    assert names or options, here
    for name in names:
        assert resolve(name) is not None
    commands = "".join(path.read_text() for path in (REPOSITORY / "scripts").glob("*.py"))
    for option in options:
        assert f'"{option}"' in commands


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_where_it_is_explained_exists(row: tuple[str, str, str]) -> None:
    (link,) = re.findall(r"\]\(([^)]+)\)$", row[2])
    name, anchor = link.split("#", maxsplit=1)
    assert (NOTEBOOKS / name).is_file()
    assert anchor in anchors(NOTEBOOKS / name)
    assert name[:2] == row[2][1:3]  # the text says the same notebook
