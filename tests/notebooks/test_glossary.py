"""The glossary: in order, used, and linked where a notebook first uses a term."""

import re
from pathlib import Path

import nbformat
import pytest

from helpers.profiles import REPOSITORY

NOTEBOOKS = REPOSITORY / "notebooks"
GLOSSARY = (NOTEBOOKS / "GLOSSARY.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^## (.+)$", GLOSSARY, flags=re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\(GLOSSARY\.md#([^)]*)\)")
# What is no running prose: code, headings, descriptions of figures, folded answers, other links.
NO_PROSE = re.compile(
    r"^```[\s\S]*?^```|<details>[\s\S]*?</details>|^#+ [^\n]*|^\*Figure: [^\n]*"
    r"|`[^`\n]*`|\[[^\]\n]*\]\((?!GLOSSARY)[^)\n]*\)|\$[^$\n]*\$",
    flags=re.MULTILINE,
)


def anchor(term: str) -> str:
    """The anchor of a heading: GitHub makes it lower case, JupyterLab and our pages do not."""
    assert re.fullmatch(r"[a-z0-9 -]+", term), f"{term!r}: small letters lead everywhere"
    return term.replace(" ", "-")


def glossary_problems(cells: list) -> list[str]:
    """What is wrong with the links to the glossary in a notebook's cells."""
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    body = "\n\n".join(cell.source for cell in cells[4:] if cell.cell_type == "markdown")
    body, problems = NO_PROSE.sub("", body), []
    anchors = [target for _, target in LINK.findall(prose)]
    for target in sorted(set(anchors) - {anchor(term) for term in TERMS}):
        problems.append(f"there is no term #{target}")
    for target in sorted({target for target in anchors if anchors.count(target) > 1}):
        problems.append(f"#{target} is linked more than once")
    for link in LINK.finditer(body):
        before = LINK.sub(r"\1", body[: link.start()])
        if re.search(rf"(?<![\w-]){re.escape(link[1])}(?![\w-])", before, flags=re.IGNORECASE):
            problems.append(f"{link[1]!r} occurs before it is linked")
    if len(anchors) < 3:
        problems.append("fewer than three terms are linked")
    return problems


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_links_each_term_once_and_where_it_comes_first(path: Path) -> None:
    assert glossary_problems(nbformat.read(path, as_version=4).cells) == []


def test_the_terms_are_in_alphabetical_order_and_explained() -> None:
    assert sorted(TERMS) == TERMS
    assert len({anchor(term) for term in TERMS}) == len(TERMS)
    for section in GLOSSARY.split("\n## ")[1:]:
        term, _, text = section.partition("\n")
        assert len(text.split()) >= 5, term


def test_every_term_is_linked_from_a_notebook() -> None:
    linked = {
        target
        for path in NOTEBOOKS.glob("*.ipynb")
        for _, target in LINK.findall(path.read_text(encoding="utf-8"))
    }
    assert [term for term in TERMS if anchor(term) not in linked] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a [map](GLOSSARY.md#map)", "no term #map"),
        ("[IoU](GLOSSARY.md#seed) and [iou](GLOSSARY.md#seed)", "#seed is linked more than once"),
        ("the IoU is the [IoU](GLOSSARY.md#seed)", "'IoU' occurs before it is linked"),
        ("`IoU`, [IoU](GLOSSARY.md#seed)", "fewer than three"),
    ],
)
def test_a_bad_link_is_found(text: str, complaint: str) -> None:
    cells = [nbformat.v4.new_markdown_cell(source) for source in ("", "", "", "", text)]
    assert complaint in " | ".join(glossary_problems(cells))
