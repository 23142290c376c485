"""The course's address: one place, and badges, set-up cells and README that agree with it."""

import subprocess
from pathlib import Path

import pytest
from samples import contents

from helpers.profiles import REPOSITORY
from tools.course.address import Address, addressed_files, main, origin, read_address
from tools.course.map import OPEN_IN
from tools.course.translations import LANGUAGES, folder_of, readme_name

NOTEBOOKS = sorted((REPOSITORY / "notebooks").rglob("[0-9]*.ipynb"))
OTHER = Address("someone/course-of-theirs", "v2.0")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_badges_and_set_up_cell_say_what_pyproject_says(path: Path):
    text = path.read_text(encoding="utf-8")
    colab, binder, fetch = read_address().forms[2:5]
    name = path.relative_to(REPOSITORY).as_posix()
    assert f"colab.research.google.com{colab}{name}" in text
    assert f"mybinder.org/v2{binder}labpath={name.replace('/', '%2F')}" in text
    assert f"      {fetch}course\\n" in text
    assert text.count(read_address().repository) == 3, "an address that is overlooked"


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_readme_opens_the_notebooks_of_its_language(language: str):
    text = (REPOSITORY / readme_name(language)).read_text(encoding="utf-8")
    folder = f"notebooks/{folder_of(language)}"
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    paths = [f"{folder}{path.name}" for path in sorted((REPOSITORY / folder).glob("[0-9]*.ipynb"))]
    assert len(rows) == len(paths)
    for row, path in zip(rows, paths, strict=True):
        assert f"]({path}) |" in row
        assert f"| {read_address().buttons(path)} |" in row, "see `OPEN_IN` in tools/course/map.py"
    assert text.count(f"| {OPEN_IN[language]} |") == 1
    assert f"kaggle.com/kernels/welcome?src=https://github.com/{read_address().repository}/" in text


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("a/b/c", "v1.0"), "expected OWNER/NAME"),
        (("https://github.com/a/b", "v1.0"), "expected OWNER/NAME"),
        (("a/b", ""), "expected a tag or a branch"),
        (("a/b", "$(rm)"), "expected a tag or a branch"),
    ],
)
def test_a_repository_is_owner_and_name_and_a_ref_a_tag_or_branch(given: tuple, told: str):
    with pytest.raises(ValueError, match=told):
        Address(*given)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that the command writes, elsewhere."""
    for path in addressed_files():
        other = tmp_path / path.relative_to(REPOSITORY)
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(path.read_bytes())
    return tmp_path


def test_the_command_writes_one_address_everywhere_and_back(copy: Path, capsys):
    before, old = contents(copy), read_address()
    assert main(["--repository", OTHER.repository, "--ref", OTHER.ref], copy) == 0
    assert "https://github.com/someone/course-of-theirs at v2.0" in capsys.readouterr().out
    assert read_address(copy) == OTHER
    written = {"README.zh.md", "README.ja.md", "notebooks/ja/05_training.ipynb"}
    assert written <= contents(copy).keys()
    for path, text in contents(copy).items():
        assert OTHER.repository.encode() in text, path
        for part in (old.repository, *old.repository.split("/")):  # pages have the owner in front
            assert part.encode() not in text, path
    assert main(["--repository", old.repository, "--ref", old.ref], copy) == 0
    assert contents(copy) == before, "nothing but the address was changed"
    assert main(["--repository", "nonsense"], copy) == 1
    assert "expected OWNER/NAME" in capsys.readouterr().err
    assert contents(copy) == before


def test_without_arguments_it_is_where_origin_is_on_github_and_no_password_is_told(copy, capsys):
    subprocess.run(["git", "init", "-q", copy], check=True)
    with pytest.raises(ValueError, match="git knows no origin"):
        origin(copy)
    remote = ["git", "-C", copy, "remote"]
    subprocess.run([*remote, "add", "origin", "git@github.com:ada/seg.course.git"], check=True)
    assert main([], copy) == 0
    assert read_address(copy) == Address("ada/seg.course", read_address().ref)
    url = "https://ada:secret@git.example.org/ada/course.git"
    subprocess.run([*remote, "set-url", "origin", url], check=True)
    assert main([], copy) == 1
    told = capsys.readouterr().err
    assert "https://git.example.org/ada/course.git" in told
    assert "expected a repository on github.com" in told
    assert "secret" not in told
