"""The rules that every notebook keeps, and a broken notebook for each of them.

A rule takes a notebook and yields what is wrong with it.
"""

import ast
import itertools
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbformat.v4 import new_output

from helpers.profiles import REPOSITORY
from tools.course.execute import MACHINE_PATH, output_problems

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
QUICKSTART = "# 00 · "
"""How the title of the one notebook begins that is a page to copy from, without exercises."""
CLOSING_SECTIONS = ["## Exercises", "## Recap", "## Self-quiz"]
UNCOMPARED = {"nbval-ignore-output", "nbval-skip"}
CHECK_CALL = re.compile(r"^checks\.(check_\w+)\(.+\)$", flags=re.MULTILINE)
SOLUTION = re.compile(
    r"<details><summary>Solution</summary>\n\n```python\n.+\n```\n\n.+\n</details>", flags=re.DOTALL
)
REGISTRY = re.compile(r"(?i)\b(?:pypi|pythonhosted|anaconda)\.(?:org|com)\b|--(?:extra-)?index-url")
GLOSSARY = (REPOSITORY / "notebooks" / "GLOSSARY.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^## (.+)$", GLOSSARY.lower(), flags=re.MULTILINE)
TERM_LINK = re.compile(r"\[([^\]]+)\]\(GLOSSARY\.md#([^)]*)\)")
# What is no running prose: code, headings, descriptions of figures, folded answers, other links.
NO_PROSE = re.compile(
    r"^```[\s\S]*?^```|<details>[\s\S]*?</details>|^#+ [^\n]*|^\*Figure: [^\n]*"
    r"|`[^`\n]*`|\[[^\]\n]*\]\((?!GLOSSARY)[^)\n]*\)|\$[^$\n]*\$",
    flags=re.MULTILINE,
)

# --- reading a notebook ---------------------------------------------------------------------------


@cache
def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells that hold anything."""
    return [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]


def tags(cell: NotebookNode) -> set[str]:
    """A cell's tags, its `# NBVAL_...` comments among them."""
    comments = re.findall(r"^\s*#\s*(NBVAL_\w+)\s*$", cell.source, flags=re.MULTILINE)
    return {*cell.metadata.get("tags", []), *(c.lower().replace("_", "-") for c in comments)}


def headings(notebook: NotebookNode) -> list[str]:
    """The Markdown headings in order, each with its hashes, outside of fenced code."""
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#{1,6} .*$", text, flags=re.MULTILINE)


def anchor(term: str) -> str:
    """The anchor of a heading: GitHub makes it lower case, JupyterLab and our pages do not, so a
    heading with capital letters has one of its own above it."""
    assert re.fullmatch(r"[a-z0-9 -]+", term), f"{term!r}: small letters lead everywhere"
    return term.replace(" ", "-")


def is_quickstart(notebook: NotebookNode) -> bool:
    return notebook.cells[0].source.startswith(QUICKSTART)


def syntax_tree(cell: NotebookNode) -> ast.Module:
    """A code cell's syntax tree, with `%magic` and `!shell` lines turned into calls."""
    return ast.parse(TransformerManager().transform_cell(cell.source))


# --- the rules ------------------------------------------------------------------------------------


def valid_format(notebook: NotebookNode) -> Iterator[str]:
    """Valid notebook format 4.5, in which each cell has an id of its own."""
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids or len(set(ids)) < len(ids):
        yield "cell ids are missing or repeated"
        return  # validation would fix them in place
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        yield f"not a valid notebook: {error.message}"


def opening(notebook: NotebookNode) -> Iterator[str]:
    """Title, badges and promise; objectives; then the switch and the imports."""
    if [cell.cell_type for cell in notebook.cells[:5]] != ["markdown"] * 3 + ["code"] * 2:
        yield "opening: expected three Markdown cells, the set-up cell and the imports"
        return
    title, objectives, heading, setup, imports = notebook.cells[:5]
    if not re.match(r"# \d\d · \S", title.source):
        yield "opening: the title is not of the form '# NN · Title'"
    if "<!-- badges -->" not in title.source.splitlines():
        yield "opening: no line '<!-- badges -->'"
    if not re.search(r"^After this notebook you can .+\.$", title.source, flags=re.MULTILINE):
        yield "opening: no sentence 'After this notebook you can ...'"
    for label in ("**Objectives**", "**Prerequisites**", "**Time and memory**"):
        if label not in objectives.source:
            yield f"opening: cell 1 lacks {label}"
    if heading.source.splitlines()[:1] != ["## Set-up"]:
        yield "opening: cell 2 does not begin with '## Set-up'"
    if tags(setup) != {"setup"} or tags(imports) != {"imports"}:
        yield "opening: expected the tag 'setup' on cell 3 and 'imports' on cell 4"
    if not imports.source.count("get_profile(PROFILE)"):
        yield "opening: the imports do not end with get_profile(PROFILE)"


def short_set_up(notebook: NotebookNode) -> Iterator[str]:
    """The switch first; at most 16 lines (of 80 columns, as ruff.toml says); nothing printed."""
    lines = notebook.cells[3].source.splitlines()
    if not lines[0].startswith("PROFILE = None  #"):
        yield "set-up: it does not start with 'PROFILE = None  # ...'"
    if len(lines) > 16:
        yield f"set-up: {len(lines)} lines, expected at most 16"
    if notebook.cells[3].outputs:
        yield "set-up: it prints something"


def closing(notebook: NotebookNode) -> Iterator[str]:
    """Exercises, recap, self-quiz; navigation last."""
    sections = [heading for heading in headings(notebook) if heading.startswith("## ")]
    if not is_quickstart(notebook) and sections[-3:] != CLOSING_SECTIONS:
        yield f"closing: the last sections are {sections[-3:]}, not {CLOSING_SECTIONS}"
    last = notebook.cells[-1]
    if last.cell_type != "markdown" or not re.search(r"\[(← Previous|Next): ", last.source):
        yield "closing: the last cell holds no '[← Previous: ...]' or '[Next: ... →]'"


def heading_levels(notebook: NotebookNode) -> Iterator[str]:
    """One title, and no level skipped."""
    levels = [len(heading.split(" ")[0]) for heading in headings(notebook)]
    if levels.count(1) != 1 or levels[0] != 1:
        yield "headings: expected exactly one first-level heading, at the top"
    for heading, above, level in zip(headings(notebook)[1:], levels, levels[1:], strict=False):
        if level > above + 1:
            yield f"headings: {heading!r} skips a level"


def tables_have_headers(notebook: NotebookNode) -> Iterator[str]:
    """Each column of a table is named: a screen reader says the name before each entry."""
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        for header, rule in itertools.pairwise(cell.source.splitlines()):
            if re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", rule.strip()):
                names = [name.strip() for name in header.strip().strip("|").split("|")]
                if not all(names) or len(names) != rule.count("|") - 1:
                    yield f"table: a column has no name in {header[:60]!r}"


def one_clean_run(notebook: NotebookNode) -> Iterator[str]:
    """One run from top to bottom: counts 1 to n, and no error, at which Run All would stop."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"outputs: execution counts are {counts}, not 1 to {len(counts)}"
    for cell in code_cells(notebook):
        if any(output.output_type == "error" for output in cell.outputs):
            yield f"outputs: an error in {cell.source[:40]!r}"


def shareable(notebook: NotebookNode) -> Iterator[str]:
    """No stderr, widget state, timestamp, machine path or package registry."""
    yield from output_problems(notebook)
    for cell in notebook.cells:
        if "execution" in cell.metadata:
            yield "metadata: execution timestamps are stored"
        if match := MACHINE_PATH.search(cell.source):
            yield f"source: a path of one machine, {cell.source[match.start() :][:40]!r}"
        if REGISTRY.search(cell.source) or REGISTRY.search(str(cell.get("outputs", ""))):
            yield "source or outputs: names a package registry"


def mostly_compared(notebook: NotebookNode) -> Iterator[str]:
    """At most one code cell in four is left out of the comparison."""
    cells = code_cells(notebook)
    left_out = [cell for cell in cells if tags(cell) & UNCOMPARED]
    if 4 * len(left_out) > len(cells):
        yield f"comparison: {len(left_out)} of {len(cells)} code cells are left out of it"


def short_cells(notebook: NotebookNode) -> Iterator[str]:
    """A code cell fits a screen."""
    for cell in code_cells(notebook):
        lines, limit = len(cell.source.splitlines()), 25 if "imports" in tags(cell) else 18
        if lines > limit:
            yield f"length: {lines} lines, more than {limit}, in {cell.source[:40]!r}"


def figures_are_read(notebook: NotebookNode) -> Iterator[str]:
    """After each figure comes its description in words, then what to read from it."""
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        if not any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            continue
        text = following.source if following and following.cell_type == "markdown" else ""
        first, _, reading = text.partition("\n")
        if not re.fullmatch(r"\*Figure: .{15,}\*", first.strip()):
            yield f"figure: no line '*Figure: ...*' after {cell.source[:40]!r}"
        elif len(reading.split()) < 2:
            yield f"figure: nothing reads the result after {cell.source[:40]!r}"


def no_branch_on_profile(notebook: NotebookNode) -> Iterator[str]:
    """The same cells serve all profiles; an assertion, or whether a file is there, is no branch."""
    for cell in code_cells(notebook):
        tree = syntax_tree(cell)
        asserted = {
            part
            for node in ast.walk(tree)
            if isinstance(node, ast.Assert)
            for part in ast.walk(node)
        }
        for node in {*ast.walk(tree)} - asserted:
            asked = [node] if isinstance(node, (ast.Compare, ast.BoolOp)) else []
            asked += [getattr(node, part, None) for part in ("test", "subject", "slice")]
            asked += getattr(node, "ifs", [])
            if any(_mentions_profile(part) for part in asked if part is not None):
                yield f"profile: a cell branches on it, {ast.unparse(node)[:60]!r}"


def _mentions_profile(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="exists" | "is_dir" | "is_file")):
            return False
    if isinstance(node, ast.Name) and node.id in {"profile", "PROFILE"}:
        return True
    if isinstance(node, ast.Constant) and node.value == "SEG_PROFILE":
        return True
    return any(_mentions_profile(child) for child in ast.iter_child_nodes(node))


def imports_in_one_cell(notebook: NotebookNode) -> Iterator[str]:
    """All imports are in the first two cells."""
    for cell in code_cells(notebook):
        found = [
            n for n in ast.walk(syntax_tree(cell)) if isinstance(n, (ast.Import, ast.ImportFrom))
        ]
        if found and not tags(cell) & {"setup", "imports"}:
            yield f"imports: {ast.unparse(found[0])!r} is outside of the cell of imports"


def exercises_answer(notebook: NotebookNode) -> Iterator[str]:
    """At least three exercises, each a cell that asks its check and a solution that folds out."""
    if is_quickstart(notebook):
        return
    titles = [c.source.splitlines()[:1] for c in notebook.cells if c.cell_type == "markdown"]
    if ["## Exercises"] not in titles or ["## Recap"] not in titles:
        yield "exercises: no cell begins with '## Exercises', or none with '## Recap'"
        return
    sources = [cell.source for cell in notebook.cells]
    start = next(i for i, source in enumerate(sources) if source.startswith("## Exercises"))
    end = next(i for i, source in enumerate(sources) if source.startswith("## Recap"))
    section = notebook.cells[start : end + 1]
    checked = 0
    for cell, following in itertools.pairwise(section):
        if cell.cell_type != "code" or not CHECK_CALL.search(cell.source):
            continue
        checked += 1
        name = CHECK_CALL.search(cell.source)[1]
        told = "".join(output.get("text", "") for output in cell.outputs)
        if not re.fullmatch(r"Not yet: [^\n]+\n", told):
            yield f"exercises: {name} is not stored as one line 'Not yet: ...', but {told[:60]!r}"
        if not SOLUTION.fullmatch(following.source):
            yield f"exercises: no solution folds out after {name}"
    if checked < 3:
        yield f"exercises: {checked} ask a check, expected at least 3"


def quiz(notebook: NotebookNode) -> Iterator[str]:
    """Four to six questions whose answers fold out."""
    if is_quickstart(notebook):
        return
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    questions = text.partition("## Self-quiz")[2]
    opened, closed = questions.count("<details>"), questions.count("</details>")
    if not 4 <= opened <= 6 or opened != closed:
        yield f"self-quiz: {opened} <details> and {closed} </details>, expected 4 to 6 pairs"


def one_page(notebook: NotebookNode) -> Iterator[str]:
    """The quickstart has at most 25 code cells and 150 lines of code, the common set-up apart."""
    if not is_quickstart(notebook):
        return
    cells = [cell for cell in code_cells(notebook) if "setup" not in tags(cell)]
    lines = sum(bool(line.strip()) for cell in cells for line in cell.source.splitlines())
    if len(cells) > 24 or lines > 150:
        yield f"quickstart: {len(cells)} code cells and {lines} lines, expected 24 and 150"


def minutes_to_read(notebook: NotebookNode) -> int:
    """Minutes: 200 words a minute, one a figure and one an exercise."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    prose = re.sub(r"```.*?```|<[^>]+>|\]\([^)]*\)", " ", "\n".join(texts), flags=re.DOTALL)
    figures = sum(text.startswith("*Figure: ") for text in texts)
    tasks = sum(bool(CHECK_CALL.search(cell.source)) for cell in code_cells(notebook))
    return round(len(prose.split()) / 200 + figures + tasks)


def honest_minutes(notebook: NotebookNode) -> Iterator[str]:
    """The objectives say how long it takes to read; without exercises at most 45 minutes."""
    told = re.search(r"about (\d+) minutes to read", notebook.cells[1].source)
    minutes = minutes_to_read(notebook)
    if not told or abs(int(told[1]) - minutes) > 2:
        yield f"minutes: it says {told and told[0]!r}, and has text and figures for {minutes}"
    sections = [cell.source.splitlines()[:1] for cell in notebook.cells]
    end = sections.index(["## Exercises"]) if ["## Exercises"] in sections else None
    lesson = minutes_to_read(NotebookNode(cells=notebook.cells[:end]))
    if lesson > 45:
        yield f"minutes: {lesson} to read without exercises, expected at most 45"


def numbers_for_truths(notebook: NotebookNode) -> Iterator[str]:
    """A lesson shows the number: no output is a bare True, and at most two lines end in one."""
    lines = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            lines += re.findall(r"^.*\b(?:True|False)$", text, flags=re.MULTILINE)
    if len(lines) > 2 or {"True", "False"} & {line.strip() for line in lines}:
        yield f"truths: {lines}, expected numbers and at most two equalities"


def terms_link_to_the_glossary(notebook: NotebookNode) -> Iterator[str]:
    """At least three terms of the glossary are linked, each once and where it comes first."""
    texts = [c.source if c.cell_type == "markdown" else "" for c in notebook.cells]
    body = NO_PROSE.sub("", "\n\n".join(texts[4:]))
    anchors = [target for _, target in TERM_LINK.findall("\n\n".join(texts))]
    for target in sorted(set(anchors) - {anchor(term) for term in TERMS}):
        yield f"glossary: there is no term #{target}"
    for target in sorted({target for target in anchors if anchors.count(target) > 1}):
        yield f"glossary: #{target} is linked more than once"
    for link in TERM_LINK.finditer(body):
        before = TERM_LINK.sub(r"\1", body[: link.start()])
        if re.search(rf"(?<![\w-]){re.escape(link[1])}(?![\w-])", before, flags=re.IGNORECASE):
            yield f"glossary: {link[1]!r} occurs before it is linked"
    if len(anchors) < 3:
        yield "glossary: fewer than three terms are linked"


# --- one broken example for each rule ------------------------------------------------------------


def everywhere(old: str, new: str) -> Callable[[NotebookNode], None]:
    """A change of all cells' sources."""

    def change(notebook: NotebookNode) -> None:
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)

    return change


def example(**values) -> Callable[[NotebookNode], None]:
    """Other values of a code cell's own fields: of the first one after the imports."""
    return lambda notebook: code_cells(notebook)[2].update(values)


TRUTH = [new_output("stream", text="True\n")]
MESSAGE = [new_output("stream", name="stderr", text="UserWarning")]
LINKED_AGAIN = "[IoU](GLOSSARY.md#seed) and [iou](GLOSSARY.md#seed)"
BROKEN: dict[
    Callable[[NotebookNode], Iterator[str]], tuple[str, Callable[[NotebookNode], None]]
] = {
    valid_format: ("repeated", lambda nb: nb.cells[6].update(id=nb.cells[7].id)),
    opening: ("cell 1 lacks", everywhere("**Objectives**", "**Aims**")),
    short_set_up: ("does not start", everywhere("PROFILE = None", 'PROFILE = "full"')),
    closing: ("the last sections are", everywhere("## Recap", "## Summary")),
    heading_levels: ("skips a level", everywhere("## Recap", "##### Recap")),
    tables_have_headers: ("has no name", everywhere("## Recap", "| | b |\n| --- | --- |\n")),
    one_clean_run: ("execution counts", example(execution_count=None)),
    shareable: ("stderr", example(outputs=MESSAGE)),
    mostly_compared: ("left out of it", everywhere("\n", "\n# NBVAL_SKIP\n")),
    short_cells: ("19 lines", example(source="\n".join("a" * 19))),
    figures_are_read: ("no line '*Figure", everywhere("*Figure: ", "*")),
    no_branch_on_profile: ("branches", example(source="n = 1 if profile.name else 2")),
    imports_in_one_cell: ("import torch", example(source="%time 1\nimport torch")),
    exercises_answer: ("0 ask a check", everywhere("checks.check_", "print")),
    quiz: ("expected 4 to 6 pairs", everywhere("<details>", "<p>")),
    honest_minutes: ("and has text and", everywhere(" minutes to read", "0 minutes to read")),
    numbers_for_truths: ("expected numbers", example(outputs=TRUTH)),
    terms_link_to_the_glossary: ("is linked more than once", everywhere("## Recap", LINKED_AGAIN)),
    one_page: ("lines, expected 24 and 150", everywhere("# 01 · ", QUICKSTART)),
}
"""Each rule with what it says of a notebook that is broken so."""

each_rule = pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)


# --- the course's own notebooks -------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@each_rule
def test_notebook_keeps_the_rule(path: Path, rule):
    assert list(rule(read(path))) == []


def test_notebooks_links_and_readme_agree():
    """Numbers, titles, one set-up cell, links to the neighbours, the README's list."""
    names = [path.name for path in NOTEBOOKS]
    assert [name[:2] for name in names] == [f"{number:02}" for number in range(len(names))]
    notebooks = [read(path) for path in NOTEBOOKS]
    assert len({notebook.cells[3].source for notebook in notebooks}) == 1
    for index, (name, notebook) in enumerate(zip(names, notebooks, strict=True)):
        assert notebook.cells[0].source.startswith(f"# {name[:2]} · ")
        around = {"← Previous": names[:index][-1:], "Next": names[index + 1 :][:1]}
        for label, target in around.items():
            last = notebook.cells[-1].source
            assert re.findall(rf"\[{label}: [^]]+\]\(([^)]+)\)", last) == target, (name, label)
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"notebooks/(\d\d_\w+\.ipynb)", readme))) == names


def test_the_terms_of_the_glossary_are_in_order_explained_and_linked_from_a_notebook():
    assert sorted(TERMS) == TERMS
    text = "".join(path.read_text(encoding="utf-8") for path in NOTEBOOKS)
    linked = {target for _, target in TERM_LINK.findall(text)}
    assert [term for term in TERMS if anchor(term) not in linked] == []
    for section in GLOSSARY.split("\n## ")[1:]:
        term, _, explained = section.partition("\n")
        assert len(explained.split()) >= 5, term


# --- the rules themselves -------------------------------------------------------------------------


@each_rule
def test_rule_refuses_the_broken_notebook(rule):
    complaint, change = BROKEN[rule]
    notebook = deepcopy(read(NOTEBOOKS[1]))
    change(notebook)
    assert complaint in " | ".join(rule(notebook))
