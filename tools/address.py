"""Where the course lives, written into badges and set-up cells from one place.

`python -m tools.address` writes what pyproject.toml's `[tool.course]` says into the notebooks
and the README; with `--repository OWNER/NAME --ref REF` it first changes pyproject.toml.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.profiles import REPOSITORY

if TYPE_CHECKING:
    from nbformat import NotebookNode

MARK = "<!-- badges -->"


@dataclass(frozen=True)
class Address:
    """A repository on GitHub, and the tag (or branch) that Colab and Binder open."""

    repository: str
    """OWNER/NAME."""
    ref: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-]+/[\w.-]+", self.repository):
            raise ValueError(f"the repository is {self.repository!r}: expected OWNER/NAME")
        if not re.fullmatch(r"\w[\w./-]*", self.ref):
            raise ValueError(f"the ref is {self.ref!r}: expected a tag or a branch, such as v1.0")

    @property
    def url(self) -> str:
        """What `git clone` takes."""
        return f"https://github.com/{self.repository}"

    def badges(self, notebook: str) -> str:
        """Markdown links that open `notebook` (a file name) in Colab and on Binder."""
        colab = f"https://colab.research.google.com/github/{self.repository}/blob/{self.ref}"
        binder = f"https://mybinder.org/v2/gh/{self.repository}/{self.ref}"
        return (
            "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
            f"({colab}/notebooks/{notebook}) "
            "[![Open on Binder](https://mybinder.org/badge_logo.svg)]"
            f"({binder}?labpath=notebooks%2F{notebook})"
        )

    def fetch(self) -> str:
        """The lines of the set-up cell that fetch the course where a notebook was opened alone."""
        folder = self.repository.split("/")[1]
        return (
            'if not Path("../helpers").is_dir():  # opened alone, as in Colab: fetch the course\n'
            f"    ![ -d {folder} ] || git clone -q --depth 1 -b {self.ref} {self.url}\n"
            f"    %run {folder}/tools/colab.py\n"
        )


def read_address(pyproject: Path = REPOSITORY / "pyproject.toml") -> Address:
    """Return the address that pyproject.toml holds."""
    return Address(**tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["course"])


def write_into_notebook(notebook: NotebookNode, name: str, address: Address) -> None:
    """Put badges and the fetching lines of the set-up cell right, in place.

    Raises:
        ValueError: the notebook lacks the line or the lines that are to be replaced.
    """
    title, setup = notebook.cells[0], notebook.cells[3]
    title.source, badges = re.subn(
        rf"^{MARK}(\n\[!\[.*)?$",
        lambda _: f"{MARK}\n{address.badges(name)}",
        title.source,
        flags=re.MULTILINE,
    )
    setup.source, fetches = re.subn(
        r'^if not Path\("\.\./helpers"\)\.is_dir\(\):.*\n(?: {4}.*\n)+',
        lambda _: address.fetch(),
        setup.source,
        flags=re.MULTILINE,
    )
    if (badges, fetches) != (1, 1):
        raise ValueError(
            f"{name}: expected one line {MARK} in the first cell, and one block "
            f"'if not Path(\"../helpers\").is_dir():' in the set-up cell; found {badges}, {fetches}"
        )


def write_into_readme(text: str, address: Address) -> str:
    """The README's text with its badges and its `git clone` line put right."""
    first = min(path.name for path in (REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))
    text = re.sub(
        rf"^{MARK}(\n\[!\[.*)?$",
        lambda _: f"{MARK}\n{address.badges(first)}",
        text,
        flags=re.MULTILINE,
    )
    folder = address.repository.split("/")[1]
    return re.sub(
        r"^git clone \S+.*\ncd \S+$",
        f"git clone {address.url}\ncd {folder}",
        text,
        flags=re.MULTILINE,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    import nbformat

    parser = argparse.ArgumentParser(prog="python -m tools.address", description=__doc__)
    parser.add_argument("--repository", metavar="OWNER/NAME", help="where the course is published")
    parser.add_argument("--ref", help="the tag or branch that Colab and Binder open")
    options = parser.parse_args(arguments)
    pyproject = REPOSITORY / "pyproject.toml"
    try:
        old = read_address(pyproject)
        address = Address(options.repository or old.repository, options.ref or old.ref)
        text = pyproject.read_text(encoding="utf-8")
        for field in ("repository", "ref"):
            line = f'{field} = "{getattr(old, field)}"'
            text = text.replace(line, f'{field} = "{getattr(address, field)}"', 1)
        paths = sorted((REPOSITORY / "notebooks").glob("[0-9]*.ipynb"))
        notebooks = [nbformat.read(path, as_version=4) for path in paths]
        for path, notebook in zip(paths, notebooks, strict=True):
            write_into_notebook(notebook, path.name, address)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    pyproject.write_text(text, encoding="utf-8")
    for path, notebook in zip(paths, notebooks, strict=True):
        nbformat.write(notebook, path)
    readme = REPOSITORY / "README.md"
    readme.write_text(
        write_into_readme(readme.read_text(encoding="utf-8"), address), encoding="utf-8"
    )
    print(f"{len(paths)} notebooks and README.md name {address.url} at {address.ref}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
