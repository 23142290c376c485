"""Where the course is published: one address in pyproject.toml, README, badges and set-up cells.

`python -m tools.course address` replaces it everywhere by that of git's `origin`;
`python -m tools.course address --repository OWNER/NAME --ref REF` by another.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from helpers.profiles import REPOSITORY

FORMS = (
    'repository = "{repository}"',  # pyproject.toml
    'ref = "{ref}"',
    "/github/{repository}/blob/{ref}/",  # Colab's badge
    "/gh/{repository}/{ref}?",  # Binder's badge
    "-b {ref} https://github.com/{repository} ",  # the set-up cell
    "git clone https://github.com/{repository} ",  # the README, and what follows
    "https://github.com/{repository}/blob/{ref}/",  # Kaggle's button
    "https://github.com/{repository}/actions/",  # the weekly run's badge
    "https://{owner}.github.io/{name}/",  # the pages
)
"""The strings that hold the address; nothing else is replaced."""

ON_GITHUB = re.compile(
    r"(?:https://(?:[^@/]+@)?|git@|ssh://git@)github\.com[:/]([\w-]+/[\w.-]+?)(?:\.git)?/?"
)


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
    def forms(self) -> list[str]:
        """The strings that the course's files hold of this address."""
        owner, _, name = self.repository.partition("/")
        parts = {"repository": self.repository, "ref": self.ref, "owner": owner, "name": name}
        return [form.format(**parts) for form in FORMS]

    def buttons(self, path: str) -> str:
        """Links that open a notebook, such as "notebooks/zh/05_training.ipynb", where it runs."""
        colab, kaggle = self.forms[2], self.forms[6]
        return (
            f"[Colab](https://colab.research.google.com{colab}{path}) · "
            f"[Kaggle](https://kaggle.com/kernels/welcome?src={kaggle}{path})"
        )


def read_address(root: Path = REPOSITORY) -> Address:
    """Return the address that pyproject.toml holds."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    return Address(**tomllib.loads(text)["tool"]["course"])


def origin(root: Path) -> str:
    """Return OWNER/NAME of git's `origin`.

    Raises:
        ValueError: there is none, or it is not on GitHub, where Colab and Binder look.
    """
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"git knows no origin ({done.stderr.strip()}): give --repository")
    url = done.stdout.strip()
    if not (found := ON_GITHUB.fullmatch(url)):
        shown = re.sub(r"//[^@/]+@", "//", url)  # a token may stand there
        raise ValueError(
            f"origin is {shown}: expected a repository on github.com, from which Colab and Binder "
            "open notebooks; push it there, or give --repository OWNER/NAME"
        )
    return found[1]


def addressed_files(root: Path = REPOSITORY) -> list[Path]:
    """Return the files that hold the address, those in other languages too."""
    folder = root / "notebooks"
    notebooks = [*folder.glob("[0-9]*.ipynb"), *folder.glob("[a-z][a-z]/[0-9]*.ipynb")]
    return [root / "pyproject.toml", *sorted(root.glob("README*.md")), *sorted(notebooks)]


def write_address(address: Address, root: Path = REPOSITORY) -> None:
    """Put `address` in the old one's place."""
    old = read_address(root)
    for path in addressed_files(root):
        text = path.read_text(encoding="utf-8")
        for form, other in zip(old.forms, address.forms, strict=True):
            text = text.replace(form, other)
        path.write_text(text, encoding="utf-8", newline="\n")


def main(arguments: list[str] | None = None, root: Path = REPOSITORY) -> int:
    """Write where the course is published into badges, set-up cells and READMEs."""
    parser = argparse.ArgumentParser(prog="python -m tools.course address", description=__doc__)
    parser.add_argument(
        "--repository", metavar="OWNER/NAME", help="where it is published (default: git's origin)"
    )
    parser.add_argument("--ref", help="the tag or branch that Colab and Binder open")
    options = parser.parse_args(arguments)
    try:
        repository = options.repository or origin(root)
        address = Address(repository, options.ref or read_address(root).ref)
        write_address(address, root)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    count = len(addressed_files(root))
    print(f"{count} files name https://github.com/{address.repository} at {address.ref}")
    return 0
