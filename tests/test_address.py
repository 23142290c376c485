"""The repository's address: one place, and badges and set-up cells that agree with it."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import address as module
from tools.address import Address, main, read_address, write_into_notebook, write_into_readme

REPOSITORY = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
OTHER = Address("someone/course-of-theirs", "v2.0")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_badges_and_set_up_cell_say_what_pyproject_says(path: Path):
    notebook = nbformat.read(path, as_version=4)
    before = nbformat.writes(notebook)
    write_into_notebook(notebook, path.name, read_address())
    assert nbformat.writes(notebook) == before, "run `make address`"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_older_address_is_left(path: Path):
    notebook = nbformat.read(path, as_version=4)
    write_into_notebook(notebook, path.name, OTHER)
    text = nbformat.writes(notebook)
    assert f"{OTHER.repository}/blob/v2.0/notebooks/{path.name}" in text
    assert f"gh/{OTHER.repository}/v2.0?labpath=notebooks%2F{path.name}" in text
    assert f"clone -q --depth 1 -b v2.0 {OTHER.url}" in text
    assert read_address().repository not in text
    assert read_address().repository.split("/")[1] not in text


def test_readme_says_what_pyproject_says():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert write_into_readme(text, read_address()) == text, "run `make address`"
    other = write_into_readme(text, OTHER)
    assert f"git clone {OTHER.url}\ncd course-of-theirs\n" in other
    assert f"{OTHER.repository}/blob/v2.0/notebooks/01_segmentation_types.ipynb" in other
    assert read_address().repository not in other


@pytest.mark.parametrize("given", ["course", "a/b/c", "https://github.com/a/b", "a b/c"])
def test_a_repository_is_owner_and_name(given: str):
    with pytest.raises(ValueError, match="expected OWNER/NAME"):
        Address(given, "v1.0")


@pytest.mark.parametrize("given", ["", "v1 0", "-b", "$(rm)"])
def test_a_ref_is_a_tag_or_branch(given: str):
    with pytest.raises(ValueError, match="expected a tag or a branch"):
        Address("a/b", given)


def test_a_notebook_without_the_lines_is_refused():
    cells = [new_markdown_cell("# 01")] + [new_markdown_cell("") for _ in "12"]
    notebook = new_notebook(cells=[*cells, new_code_cell("PROFILE = None")])
    with pytest.raises(ValueError, match=r"01_one\.ipynb: expected one line"):
        write_into_notebook(notebook, "01_one.ipynb", OTHER)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the command writes, elsewhere."""
    (tmp_path / "notebooks").mkdir()
    for path in [*NOTEBOOKS, REPOSITORY / "README.md", REPOSITORY / "pyproject.toml"]:
        target = tmp_path / path.relative_to(REPOSITORY)
        target.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    return tmp_path


def test_the_command_writes_one_address_everywhere(copy: Path, capsys):
    assert main(["--repository", OTHER.repository, "--ref", OTHER.ref]) == 0
    assert "someone/course-of-theirs at v2.0" in capsys.readouterr().out
    assert read_address(copy / "pyproject.toml") == OTHER
    for path in NOTEBOOKS:
        assert OTHER.url in (copy / "notebooks" / path.name).read_text(encoding="utf-8")
    assert OTHER.url in (copy / "README.md").read_text(encoding="utf-8")
    first = {path: path.read_bytes() for path in copy.rglob("*.*")}
    assert main([]) == 0  # nothing more to do
    assert {path: path.read_bytes() for path in copy.rglob("*.*")} == first


def test_the_command_refuses_before_it_writes(copy: Path, capsys):
    before = {path: path.read_bytes() for path in copy.rglob("*.*")}
    assert main(["--repository", "nonsense"]) == 1
    assert "expected OWNER/NAME" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in copy.rglob("*.*")} == before
