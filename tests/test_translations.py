"""Translations: complete, built from their catalogues, and with what their originals have."""

import csv
import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest

from tools.course import translations as tool
from tools.course.translations import TRANSLATED, differences

REPOSITORY = Path(__file__).resolve().parent.parent
STEMS = tool.stems()


# --- the course's own -----------------------------------------------------------------------------


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("stem", STEMS)
def test_every_text_is_translated_and_keeps_what_it_must(stem: str, language: str) -> None:
    assert list(tool.problems(stem, language)) == []


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("stem", STEMS)
def test_what_is_stored_is_what_the_catalogue_builds(stem: str, language: str) -> None:
    path, text = tool.built(stem, language)
    assert path.read_text(encoding="utf-8") == text, "run `make translations`"


@pytest.mark.parametrize("language", TRANSLATED)
def test_code_and_outputs_are_the_english_notebooks_own(language: str) -> None:
    for path in (REPOSITORY / "notebooks").glob("*.ipynb"):
        ours, theirs = (
            json.loads(file.read_text(encoding="utf-8"))
            for file in (path, path.parent / language / path.name)
        )
        for cell, translated in zip(ours.pop("cells"), theirs.pop("cells"), strict=True):
            if cell["cell_type"] == "code":
                assert translated == cell, f"{path.name}, {cell['id']}"
            else:
                assert translated["id"] == cell["id"]
        assert ours == theirs


def test_the_english_pages_name_their_translations() -> None:
    address = tool.read_address()
    names = {"README": "README.md", "GLOSSARY": "notebooks/GLOSSARY.md"}
    for stem in STEMS:
        text = markdown(REPOSITORY / names.get(stem, f"notebooks/{stem}.ipynb"))
        assert tool.badges(stem, "en", address) in text


@pytest.mark.parametrize("language", TRANSLATED)
def test_links_of_the_translations_lead_somewhere(language: str) -> None:
    folder = REPOSITORY / "notebooks" / language
    files = [*folder.glob("*.ipynb"), folder / "GLOSSARY.md", REPOSITORY / f"README.{language}.md"]
    assert len(files) == len(STEMS)
    glossary = (folder / "GLOSSARY.md").read_text(encoding="utf-8")
    anchors = {"GLOSSARY.md": re.findall(r'<a id="([^"]+)"', glossary)}
    for path in folder.glob("*.ipynb"):
        anchors[path.name] = tool.heading_anchors(markdown(path))
    for file in files:
        prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", markdown(file), flags=re.DOTALL | re.MULTILINE)
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)]*)\)", prose):
            assert (file.parent / target).exists(), f"{file.name}: {target}"
            if anchor:
                assert anchor in anchors[target or file.name], f"{file.name}: {target}#{anchor}"


def markdown(path: Path) -> str:
    """The text of a Markdown file, or of a notebook's Markdown cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    cells = nbformat.reads(text, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def terms() -> list[dict[str, str]]:
    with (REPOSITORY / "translations" / "terms.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_glossary_uses_the_table_of_terms(language: str) -> None:
    text = (REPOSITORY / "notebooks" / language / "GLOSSARY.md").read_text(encoding="utf-8")
    headings = dict(re.findall(r'<a id="([^"]+)"></a>\n\n## (.+)', text))
    expected = {term["English"].replace(" ", "-"): term[language] for term in terms()}
    assert list(headings) == list(expected)
    for anchor, term in expected.items():
        assert re.fullmatch(rf"{re.escape(term)}(（.+）)?", headings[anchor])


def test_all_notebooks_in_all_languages_are_small() -> None:
    sizes = [path.stat().st_size for path in (REPOSITORY / "notebooks").rglob("*.ipynb")]
    assert sum(sizes) < 22e6


# --- what a translation must keep -----------------------------------------------------------------

ENGLISH = """### 1 · Show `mask`

Train **40 steps** on [toy scenes](GLOSSARY.md#seed), *never* more: $x < 1$.

- one `label_map`

| a | b |
| --- | --- |
| 0.5 | 2 |

<details><summary>Solution</summary>

```python
print("mask")  # as it is
```

</details>"""
CHINESE = """### 1 · 显示 `mask`

在[玩具场景](GLOSSARY.md#seed)上训练 **40 步**，*绝不*更多：$x < 1$。

- 一个 `label_map`

| 甲 | 乙 |
| --- | --- |
| 0.5 | 2 |

<details><summary>参考答案</summary>

```python
print("mask")  # as it is
```

</details>"""


def test_a_faithful_translation_differs_in_nothing() -> None:
    assert differences(ENGLISH, CHINESE) == []


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("40 步", "50 步", "numbers"),
        ("`label_map`", "`labelmap`", "code spans"),
        ("GLOSSARY.md#seed", "GLOSSARY.md#种子", "links"),
        ("$x < 1$", "$x > 1$", "formulas"),
        ("| 0.5 | 2 |", "| 0.5 2 |", "rows"),
        ("### 1", "## 1", "headings"),
        ("- 一个", "一个", "lists"),
        ("# as it is", "# 原样", "code blocks"),
        ("</details>", "", "tags"),
        ("训练 **40 步**，", "训练**（40 步）**吧，", "rendered"),
        ("*绝不*", "绝不", "rendered"),
    ],
)
def test_what_a_translation_loses_is_named(old: str, new: str, what: str) -> None:
    assert old in CHINESE
    assert what in " ".join(differences(ENGLISH, CHINESE.replace(old, new)))


# --- the catalogues -------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course of one notebook and its translation, with the project's README and glossary."""
    for name in ("README.md", "pyproject.toml", "notebooks/GLOSSARY.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    cells = [
        nbformat.v4.new_markdown_cell("# 01 · One\n\n<!-- badges -->\nold\n\nTwo.", id="title"),
        nbformat.v4.new_code_cell("1 + 1", id="code"),
        nbformat.v4.new_markdown_cell("Read on.", id="end"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / "01_one.ipynb")
    return tmp_path


def translate(course: Path, **texts: str) -> None:
    """Put translations into the Chinese catalogue of 01_one, as a translator's program does."""
    file = tool.catalogue_file("01_one", "zh", course)
    catalogue = tool.read_catalogue(file, "zh")
    for message in catalogue:
        if message.id and (text := texts.get(message.context.partition(":")[2])):
            message.string = text
            message.flags.discard("fuzzy")
    tool.write_catalogue(catalogue, file)


def build(course: Path) -> int:
    return tool.main(["--languages", "zh", "--texts", "01_one"], course)


def test_from_an_english_notebook_to_a_translated_one(course: Path, capsys) -> None:
    assert build(course) == 1
    assert "zh 01_one:end is not translated" in capsys.readouterr().out
    translate(course, title="# 01 · 一\n\n<!-- badges -->\n\n二。", end="继续读。")
    assert build(course) == 0
    title, code, end = nbformat.read(course / "notebooks/zh/01_one.ipynb", as_version=4).cells
    assert title.source.startswith("# 01 · 一\n\n<!-- badges -->\n[![Open in Colab]")
    assert "/notebooks/zh/01_one.ipynb)" in title.source
    assert "[English](../01_one.ipynb) · 简体中文 · [日本語](../ja/01_one.ipynb)" in title.source
    assert title.source.endswith("\n\n二。")
    assert (code.source, end.source) == ("1 + 1", "继续读。")


def test_a_changed_english_text_is_fuzzy_until_somebody_has_looked(course: Path, capsys) -> None:
    build(course)
    translate(course, title="# 01 · 一\n\n<!-- badges -->\n\n二。", end="继续读。")
    notebook = nbformat.read(course / "notebooks/01_one.ipynb", as_version=4)
    notebook.cells[2].source = "Read on and on."
    nbformat.write(notebook, course / "notebooks/01_one.ipynb")
    capsys.readouterr()
    assert build(course) == 1
    assert "01_one:end was translated from another English text" in capsys.readouterr().out
    written = tool.catalogue_file("01_one", "zh", course).read_text(encoding="utf-8")
    assert "#, fuzzy" in written
    assert '#| msgid "Read on."' in written
    # Until then a reader gets the English text, not a translation of another one.
    built = nbformat.read(course / "notebooks/zh/01_one.ipynb", as_version=4)
    assert built.cells[2].source == "Read on and on."
    translate(course, end="一直读下去。")
    assert build(course) == 0


def test_an_unknown_text_is_refused(course: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        tool.main(["--texts", "02_two"], course)
    assert "no text 02_two: choose from 01_one, GLOSSARY, README" in capsys.readouterr().err
