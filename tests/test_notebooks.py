"""The rules that every notebook keeps, and the proof that each rule can fail.

A rule takes a notebook and yields what is wrong with it. The second half builds one good notebook,
breaks it in one way per rule, and asks for the complaint.
"""

import ast
import copy
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.execute import MACHINE_PATH, WIDGET_VIEW, output_problems

REPOSITORY = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
CLOSING_SECTIONS = ["## Exercises", "## Recap", "## Self-quiz"]
UNCOMPARED = {"nbval-ignore-output", "nbval-skip"}
CHECK_CALL = re.compile(r"^exercises\.(check_\w+)\(.+\)$", flags=re.MULTILINE)
SOLUTION = re.compile(
    r"<details><summary>Solution</summary>\n\n```python\n.+\n```\n\n.+\n</details>", flags=re.DOTALL
)
REGISTRY = re.compile(r"(?i)\b(?:pypi|pythonhosted|anaconda)\.(?:org|com)\b|--(?:extra-)?index-url")

# --- reading a notebook ---------------------------------------------------------------------------


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
    """Title, badges and promise; objectives; the two set-up cells: the switch, the imports."""
    if [cell.cell_type for cell in notebook.cells[:5]] != ["markdown"] * 3 + ["code"] * 2:
        yield "opening: expected three Markdown cells and two set-up cells"
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
    for number, cell in ((3, setup), (4, imports)):
        if "setup" not in tags(cell):
            yield f"opening: cell {number} lacks the tag 'setup'"
    statements = [line for line in setup.source.splitlines() if line and not line.startswith("#")]
    if not statements or not re.match(r"PROFILE = None\b", statements[0]):
        yield "opening: the set-up cell does not start with 'PROFILE = None'"
    if "tools/colab.py" not in setup.source:
        yield "opening: the set-up cell does not fetch the course where it was opened alone"
    if "get_profile(PROFILE)" not in imports.source:
        yield "opening: the imports do not end with get_profile(PROFILE)"


def closing(notebook: NotebookNode) -> Iterator[str]:
    """Exercises, recap, self-quiz; navigation last."""
    sections = [heading for heading in headings(notebook) if heading.startswith("## ")]
    if sections[-3:] != CLOSING_SECTIONS:
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
    """Outputs of one run from top to bottom: counts 1..n, and no error but a deliberate one."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"outputs: execution counts are {counts}, not 1 to {len(counts)}"
    for cell in code_cells(notebook):
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed != ("raises-exception" in tags(cell)):
            yield f"outputs: error and tag 'raises-exception' disagree in {cell.source[:40]!r}"
        if "nbval-raises-exception" in tags(cell):
            yield "outputs: use the tag 'raises-exception', which headless runs know too"


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
        lines, limit = len(cell.source.splitlines()), 25 if "setup" in tags(cell) else 18
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
    """The same cells serve all profiles; asking whether a file is there is another matter."""
    for cell in code_cells(notebook):
        for node in ast.walk(syntax_tree(cell)):
            if isinstance(node, (ast.If, ast.IfExp, ast.While)):
                asked = node.test
            elif isinstance(node, ast.comprehension):
                asked = ast.Tuple(elts=node.ifs)
            elif isinstance(node, ast.Match):
                asked = node.subject
            elif isinstance(node, (ast.Compare, ast.BoolOp)):
                asked = node
            elif isinstance(node, ast.Subscript):
                asked = node.slice
            else:
                continue
            if _mentions_profile(asked):
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


def imports_in_setup(notebook: NotebookNode) -> Iterator[str]:
    """All imports are in the set-up cells."""
    for cell in code_cells(notebook):
        found = [
            n for n in ast.walk(syntax_tree(cell)) if isinstance(n, (ast.Import, ast.ImportFrom))
        ]
        if found and "setup" not in tags(cell):
            yield f"imports: {ast.unparse(found[0])!r} is outside of the set-up cells"


def exercises_answer(notebook: NotebookNode) -> Iterator[str]:
    """At least three exercises, each a cell that asks its check and a solution that folds out."""
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
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    questions = text.partition("## Self-quiz")[2]
    opened, closed = questions.count("<details>"), questions.count("</details>")
    if not 4 <= opened <= 6 or opened != closed:
        yield f"self-quiz: {opened} <details> and {closed} </details>, expected 4 to 6 pairs"


RULES: list[Callable[[NotebookNode], Iterator[str]]] = [
    valid_format,
    opening,
    closing,
    heading_levels,
    tables_have_headers,
    one_clean_run,
    shareable,
    mostly_compared,
    short_cells,
    figures_are_read,
    no_branch_on_profile,
    imports_in_setup,
    exercises_answer,
    quiz,
]


def course_problems(folder: Path, readme: str) -> Iterator[str]:
    """Rules on the notebooks together: numbers, links and the README's list."""
    names = sorted(path.name for path in folder.glob("*.ipynb"))
    numbers = [name[:2] for name in names]
    if numbers != [f"{number:02}" for number in range(1, len(names) + 1)]:
        yield f"numbers: {numbers} are not consecutive from 01"
    for index, name in enumerate(names):
        notebook = nbformat.read(folder / name, as_version=4)
        if not notebook.cells[0].source.startswith(f"# {name[:2]} · "):
            yield f"{name}: the title has another number"
        expected = {
            "← Previous": names[index - 1] if index else None,
            "Next": names[index + 1] if index + 1 < len(names) else None,
        }
        for label, target in expected.items():
            link = re.search(rf"\[{label}: [^]]+\]\(([^)]+)\)", notebook.cells[-1].source)
            if (link and link[1]) != target:
                yield f"{name}: '{label}' links to {link and link[1]}, expected {target}"
        for cell in notebook.cells:
            if cell.cell_type != "markdown":
                continue
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", cell.source):
                if "://" not in target and not (folder / target).exists():
                    yield f"{name}: a link leads to {target}, which does not exist"
    listed = sorted(set(re.findall(r"notebooks/(\d\d_\w+\.ipynb)", readme)))
    if listed != names:
        yield f"README lists {listed}, the folder holds {names}"


# --- the course's own notebooks -------------------------------------------------------------------


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_notebook_keeps_the_rule(path: Path, rule):
    assert list(rule(nbformat.read(path, as_version=4))) == []


def test_notebooks_links_and_readme_agree():
    assert NOTEBOOKS, "there are no notebooks"
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert list(course_problems(REPOSITORY / "notebooks", readme)) == []


# --- the rules themselves -------------------------------------------------------------------------


def good_exercises() -> Iterator[NotebookNode]:
    """Task, stub and solution, three times: cells 11 to 19 of the good notebook."""
    told = new_output("stream", name="stdout", text="Not yet: the sum is 2, expected 3\n")
    solution = "<details><summary>Solution</summary>\n\n```python\nn = 3\n```\n\nSo.\n\n</details>"
    for number in (1, 2, 3):
        heading = f"### {number} · Count"
        yield new_markdown_cell(f"## Exercises\n\n{heading}" if number == 1 else heading)
        yield new_code_cell("n = 2\n\nexercises.check_sum(n)", outputs=[copy.deepcopy(told)])
        yield new_markdown_cell(solution)


def good_notebook(number: int = 1, navigation: str = "[Next: Two →](02_two.ipynb)") -> NotebookNode:
    """A small notebook that keeps every rule. Code: cells 3, 4, 6, 7, 8, 10, 12, 15, 18."""
    quiz_cell = "## Self-quiz\n" + "\n<details><summary>Why?</summary>So.</details>\n" * 4
    figure = new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"})
    cells = [
        new_markdown_cell(
            f"# {number:02} · Pixels\n\n<!-- badges -->\n\nAfter this notebook you can count."
        ),
        new_markdown_cell("**Objectives**: a\n\n**Prerequisites**: b\n\n**Time and memory**: c"),
        new_markdown_cell("## Set-up"),
        new_code_cell(
            "PROFILE = None  # or a name\n\n%run course/tools/colab.py",
            metadata={"tags": ["setup"]},
        ),
        new_code_cell(
            "from helpers.profiles import get_profile\n\nprofile = get_profile(PROFILE)",
            metadata={"tags": ["setup"]},
        ),
        new_markdown_cell("## How many?\n\n### By hand"),
        new_code_cell("print(1)", outputs=[new_output("stream", name="stdout", text="1\n")]),
        new_code_cell("size = profile.image_size"),
        new_code_cell("plt.show()", outputs=[figure]),
        new_markdown_cell("*Figure: a line that rises to the right.*\n\nMore pixels take longer."),
        new_code_cell("found = profile.model_dir if profile.model_dir.is_dir() else None"),
        *good_exercises(),
        new_markdown_cell("## Recap\n\nPixels are counted.\n\n| a | b |\n| --- | :-: |\n| 1 | 2 |"),
        new_markdown_cell(quiz_cell),
        new_markdown_cell(navigation),
    ]
    notebook = new_notebook(cells=cells)
    for count, cell in enumerate(code_cells(notebook), start=1):
        cell.execution_count = count
    return notebook


def edit(index: int, old: str, new: str) -> Callable[[NotebookNode], None]:
    """A change of one cell's source that must find what it replaces."""

    def change(notebook: NotebookNode) -> None:
        assert old in notebook.cells[index].source
        notebook.cells[index].source = notebook.cells[index].source.replace(old, new, 1)

    return change


def output(index: int, *args, **kwargs) -> Callable[[NotebookNode], None]:
    """A further output of one cell."""
    return lambda notebook: notebook.cells[index].outputs.append(new_output(*args, **kwargs))


def tag(*indices: int, name: str) -> Callable[[NotebookNode], None]:
    """One more tag on some cells."""

    def change(notebook: NotebookNode) -> None:
        for index in indices:
            notebook.cells[index].metadata.setdefault("tags", []).append(name)

    return change


def metadata(index: int | None, **values) -> Callable[[NotebookNode], None]:
    """More metadata on a cell, or on the notebook."""
    return lambda notebook: (notebook if index is None else notebook.cells[index]).metadata.update(
        values
    )


def attribute(index: int, **values) -> Callable[[NotebookNode], None]:
    """Another value of a cell's own field."""
    return lambda notebook: notebook.cells[index].update(values)


def doubled_quiz(notebook: NotebookNode) -> None:
    """Twice as many questions."""
    notebook.cells[QUIZ].source += notebook.cells[QUIZ].source.partition("\n")[2]


RECAP, QUIZ = 20, 21
ERROR = {"ename": "ValueError", "evalue": "no", "traceback": []}
BROKEN = [
    (valid_format, "not a valid", attribute(6, cell_type="prose")),
    (valid_format, "repeated", lambda nb: nb.cells[6].update(id=nb.cells[7].id)),
    (opening, "three Markdown", lambda nb: nb.cells.pop(1)),
    (opening, "NN · Title", edit(0, "01 · ", "")),
    (opening, "badges", edit(0, "<!-- badges -->", "")),
    (opening, "After this notebook", edit(0, "After this notebook you can", "We shall")),
    (opening, "Objectives", edit(1, "**Objectives**", "Objectives")),
    (opening, "Prerequisites", edit(1, "**Prerequisites**", "")),
    (opening, "Time and memory", edit(1, "**Time and memory**", "**Time**")),
    (opening, "## Set-up", edit(2, "Set-up", "Start")),
    (opening, "tag 'setup'", metadata(3, tags=[])),
    (opening, "PROFILE = None", edit(3, "PROFILE = None", 'PROFILE = "full"')),
    (opening, "cell 4 lacks the tag", metadata(4, tags=[])),
    (opening, "does not fetch the course", edit(3, "standalone.py", "other.py")),
    (opening, "get_profile(PROFILE)", edit(4, "get_profile(PROFILE)", "get_profile()")),
    (closing, "last sections", edit(RECAP, "## Recap", "## Summary")),
    (closing, "last sections", lambda nb: nb.cells.insert(-1, nb.cells.pop(11))),
    (closing, "last cell", lambda nb: nb.cells.pop()),
    (heading_levels, "exactly one", edit(RECAP, "## Recap", "# Recap")),
    (heading_levels, "skips", edit(5, "### By hand", "#### By hand")),
    (
        tables_have_headers,
        "no name",
        edit(RECAP, "Pixels are", "| | b |\n| --- | --- |\n"),
    ),
    (tables_have_headers, "no name", edit(RECAP, "Pixels are", "| a |\n| --- | :-: |\n")),
    (one_clean_run, "execution counts", attribute(6, execution_count=7)),
    (one_clean_run, "execution counts", attribute(6, execution_count=None)),
    (one_clean_run, "disagree", output(6, "error", **ERROR)),
    (one_clean_run, "disagree", tag(6, name="raises-exception")),
    (one_clean_run, "headless runs know", tag(6, name="nbval-raises-exception")),
    (shareable, "stderr", output(6, "stream", name="stderr", text="UserWarning")),
    (shareable, "widget state", metadata(None, widgets={})),
    (shareable, "needs a kernel", output(6, "execute_result", {WIDGET_VIEW: {"model_id": "1"}})),
    (shareable, "timestamps", metadata(6, execution={"iopub.execute_input": "2026"})),
    (shareable, "path", output(6, "stream", name="stdout", text="saved to /home/ada/model")),
    (shareable, "path", output(6, "stream", name="stdout", text=f"in {REPOSITORY}/helpers")),
    (shareable, "path", output(6, "execute_result", {"text/plain": "PosixPath('/tmp/x')"})),
    (shareable, "path", output(6, "execute_result", {"text/plain": r"WindowsPath('C:\Users\x')"})),
    (shareable, "source: a path", edit(6, "1", "open('/root/x')")),
    (shareable, "registry", edit(RECAP, "Pixels", "From pypi" + ".org")),
    (shareable, "registry", output(6, "stream", name="stdout", text="files.pythonhosted" + ".org")),
    (mostly_compared, "3 of 9", tag(6, 7, 10, name="nbval-ignore-output")),
    (mostly_compared, "3 of 9", lambda nb: [edit(i, "", "# NBVAL_SKIP\n")(nb) for i in (6, 7, 10)]),
    (short_cells, "19 lines", attribute(7, source="\n".join("a" * 19))),
    (short_cells, "26 lines", attribute(3, source="\n".join("a" * 26))),
    (figures_are_read, "no line", edit(9, "*Figure: a line", "A line")),
    (
        figures_are_read,
        "no line",
        edit(9, "*Figure: a line that rises to the right.*", "*Figure: *"),
    ),
    (figures_are_read, "no line", lambda nb: nb.cells.insert(9, new_code_cell("1"))),
    (figures_are_read, "nothing reads", edit(9, "More pixels take longer.", "")),
    (no_branch_on_profile, "branches", attribute(7, source="if profile.name == 'tiny':\n    pass")),
    (no_branch_on_profile, "branches", attribute(7, source="n = 1 if PROFILE else 2")),
    (no_branch_on_profile, "branches", attribute(7, source="quick = profile.name == 'tiny'")),
    (no_branch_on_profile, "branches", attribute(7, source="n = {'tiny': 1}[profile.name]")),
    (no_branch_on_profile, "branches", attribute(7, source="match profile.name:\n    case _: 1")),
    (no_branch_on_profile, "branches", attribute(7, source="n = os.environ['SEG_PROFILE']")),
    (no_branch_on_profile, "branches", attribute(7, source="n = profile.max_images or 50")),
    (imports_in_setup, "import torch", edit(7, "size", "import torch\n\nsize")),
    (imports_in_setup, "from PIL", edit(7, "size", "%time 1\nfrom PIL import Image\nsize")),
    (exercises_answer, "no cell begins", edit(11, "## Exercises", "## Practice")),
    (exercises_answer, "2 ask a check", edit(15, "exercises.check_sum", "print")),
    (exercises_answer, "not stored as one line", attribute(12, outputs=[])),
    (exercises_answer, "not stored as one line", output(12, "stream", name="stdout", text="1\n")),
    (
        exercises_answer,
        "not stored as one line",
        lambda nb: nb.cells[18].outputs[0].update(text="Correct: it is 3.\n"),
    ),
    (exercises_answer, "no solution folds out", lambda nb: nb.cells.pop(13)),
    (exercises_answer, "no solution folds out", edit(16, "<details>", "<details open>")),
    (exercises_answer, "no solution folds out", edit(19, "```python", "```")),
    (quiz, "3 <details>", edit(QUIZ, "<details>", "<p>")),
    (quiz, "expected 4 to 6", edit(QUIZ, "</details>", "")),
    (quiz, "8 <details>", doubled_quiz),
]


def test_good_notebook_keeps_every_rule():
    assert [problem for rule in RULES for problem in rule(good_notebook())] == []


@pytest.mark.parametrize(
    ("rule", "complaint", "change"), BROKEN, ids=[f"{r.__name__}-{c}" for r, c, _ in BROKEN]
)
def test_rule_refuses_the_broken_notebook(rule, complaint: str, change):
    notebook = copy.deepcopy(good_notebook())
    change(notebook)
    assert complaint in " | ".join(rule(notebook))


def test_every_rule_has_a_broken_notebook():
    assert {rule for rule, _, _ in BROKEN} == set(RULES)


@pytest.fixture
def small_course(tmp_path: Path) -> tuple[Path, str]:
    """Two good notebooks that link to each other, and a README that lists them."""
    back = "[← Previous: One](01_one.ipynb)"
    nbformat.write(good_notebook(1), tmp_path / "01_one.ipynb")
    nbformat.write(good_notebook(2, back), tmp_path / "02_two.ipynb")
    return tmp_path, "[1](notebooks/01_one.ipynb), [2](notebooks/02_two.ipynb)"


def test_course_rules_accept_the_good_course(small_course):
    assert list(course_problems(*small_course)) == []


def test_course_rules_refuse_a_gap_in_the_numbers(small_course):
    folder, readme = small_course
    (folder / "02_two.ipynb").rename(folder / "03_two.ipynb")
    assert "not consecutive" in " | ".join(course_problems(folder, readme))


def test_course_rules_refuse_a_dead_link(small_course):
    folder, readme = small_course
    nbformat.write(good_notebook(2, "[← Previous: One](01_uno.ipynb)"), folder / "02_two.ipynb")
    problems = " | ".join(course_problems(folder, readme))
    assert "links to 01_uno.ipynb, expected 01_one.ipynb" in problems
    assert "which does not exist" in problems


def test_course_rules_refuse_a_missing_or_needless_link(small_course):
    folder, readme = small_course
    nbformat.write(good_notebook(2, "[Next: One →](01_one.ipynb)"), folder / "02_two.ipynb")
    problems = " | ".join(course_problems(folder, readme))
    assert "'← Previous' links to None" in problems
    assert "'Next' links to 01_one.ipynb, expected None" in problems


def test_course_rules_refuse_another_number_in_the_title(small_course):
    folder, readme = small_course
    back = "[← Previous: One](01_one.ipynb)"
    nbformat.write(good_notebook(3, back), folder / "02_two.ipynb")
    assert "another number" in " | ".join(course_problems(folder, readme))


def test_course_rules_refuse_a_readme_that_forgets_one(small_course):
    folder, readme = small_course
    assert "README lists" in " | ".join(course_problems(folder, readme.split(",")[0]))
