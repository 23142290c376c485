"""Translations: complete, built from their catalogues, and with what their originals have."""

import csv
import os
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import nbformat
import pytest
from markdown_it import MarkdownIt

from helpers.profiles import REPOSITORY
from tools.course import catalogues, messages
from tools.course import translations as tool
from tools.course.differences import differences
from tools.course.translations import TRANSLATED

STEMS = tool.stems()
CATALOGUES = [*STEMS, messages.STEM]


# --- the course's own -----------------------------------------------------------------------------


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("stem", CATALOGUES)
def test_a_translation_keeps_what_it_must(stem: str, language: str) -> None:
    if behind := list(tool.stale(stem, language)):  # only a release waits for the translators
        warnings.warn("\n".join(behind), stacklevel=1)
    assert list(tool.problems(stem, language)) == []


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("stem", STEMS)
def test_what_is_stored_is_what_the_catalogue_builds(stem: str, language: str) -> None:
    path, text = tool.built(stem, language)
    assert path.read_text(encoding="utf-8") == text, "run `python -m tools.course translations`"


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("stem", STEMS[:-2])
def test_only_sliders_and_exercises_speak_the_language(stem: str, language: str) -> None:
    """Other outputs are the English run's, with which `make notebooks` compares them, and none of
    them holds a sentence that the code would have said in this language."""
    known = messages.compiled(messages.compiled_file(language))
    long = [text for text in known if len(messages.PLACEHOLDER.sub("", text).split()) > 5]
    sentences = (".+".join(map(re.escape, messages.PLACEHOLDER.split(one))) for one in long)
    said = re.compile(f"^({'|'.join(sentences)})$", flags=re.MULTILINE)
    english, ours = (
        [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
        for file in (tool.notebook_file(stem, "en"), tool.notebook_file(stem, language))
    )
    for cell, its in zip(english, ours, strict=True):
        assert cell.source == its.source
        if not re.search(r"^(checks|widgets)\.", cell.source, flags=re.MULTILINE):
            assert cell.outputs == its.outputs, cell.id
            texts = [one.get("text", "") for one in cell.outputs]
            assert not any(map(said.search, texts)), cell.id


@pytest.mark.parametrize("language", TRANSLATED)
def test_what_is_compiled_is_what_the_catalogue_says(language: str) -> None:
    known = catalogues.read_catalogue(catalogues.catalogue_file("exercises", language), language)
    compiled = messages.compiled(messages.compiled_file(language))
    assert compiled == messages.to_compile(known), "run `python -m tools.course translations`"


def test_the_english_pages_name_their_translations() -> None:
    address = tool.read_address()
    names = {"README": "README.md", "GLOSSARY": "notebooks/GLOSSARY.md"}
    for stem in STEMS:
        text = markdown(REPOSITORY / names.get(stem, f"notebooks/{stem}.ipynb"))
        assert tool.badges(stem, "en", address) in text


@pytest.mark.parametrize("language", tool.LANGUAGES)
def test_links_lead_somewhere(language: str) -> None:
    folder, readme = REPOSITORY / "notebooks" / tool.folder_of(language), tool.readme_name(language)
    files = [*folder.glob("*.ipynb"), folder / "GLOSSARY.md", REPOSITORY / readme]
    assert len(files) == len(STEMS)
    assert dead_links(files) == []


def dead_links(files: list[Path]) -> list[str]:
    """The links to files that are not there, and to headings that the files of a folder lack."""
    found, anchors = [], {}
    for file in files:
        text = markdown(file)
        anchors[file.name] = [*re.findall(r'<a id="([^"]+)"', text), *tool.heading_anchors(text)]
    for file in files:
        prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", markdown(file), flags=re.DOTALL | re.MULTILINE)
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)]*)\)", prose):
            there = (file.parent / target).exists()
            if not there or (anchor and anchor not in anchors[target or file.name]):
                found.append(f"{file.name}: {target}#{anchor}")
    return found


def markdown(path: Path) -> str:
    """The text of a Markdown file, or of a notebook's Markdown cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    cells = nbformat.reads(text, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_chinese_or_japanese_character_is_slanted(language: str) -> None:
    folder = REPOSITORY / "notebooks" / language
    for file in [*folder.iterdir(), REPOSITORY / tool.readme_name(language)]:
        assert slanted(markdown(file)) == [], file.name


def slanted(text: str) -> list[str]:
    """Chinese and Japanese that is rendered in italics, and asterisks that are seen."""
    found, depth = [], 0
    for block in MarkdownIt("commonmark").enable("table").parse(text):
        for token in block.children or []:
            depth += {"em_open": 1, "em_close": -1}.get(token.type, 0)
            if token.type == "text":
                text = re.sub(r"\$[^$]+\$", "", token.content)
                found += re.findall(r"[\u3040-\u30ff\u4e00-\u9fff]+" if depth else r".*\*.*", text)
    return found


@pytest.mark.parametrize(
    ("catalogue", "shown"),
    [
        ("*图：一条街，`mask` 是 $a * b$。*", "**图**：一条街，`mask` 是 $a * b$。"),
        ("一*行*之和，*Correct*，`2 * 3 * 四`", "一**行**之和，*Correct*，`2 * 3 * 四`"),
        (
            "[*ラベル ID*](GLOSSARY.md#label-id) は**強い**",
            "[**ラベル ID**](GLOSSARY.md#label-id) は**強い**",
        ),
        ("```\n*中*\n```", "```\n*中*\n```"),
    ],
)
def test_emphasis_and_captions_stand_upright(catalogue: str, shown: str) -> None:
    assert tool.upright(catalogue) == shown
    assert slanted(shown) == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_commands_of_the_readme_open_this_language(language: str) -> None:
    text = (REPOSITORY / tool.readme_name(language)).read_text(encoding="utf-8")
    commands = "\n".join(re.findall(r"^```.*?^```", text, flags=re.DOTALL | re.MULTILINE))
    assert f"make lab LANGUAGE={language} " in commands
    assert commands.count(f"jupyter lab notebooks/{language}/00_quickstart.ipynb\n") == 2
    assert f"open build/{language}/index.html" in commands


@pytest.mark.skipif(os.name != "posix", reason="the Makefile is for Linux and macOS")
@pytest.mark.parametrize(
    ("language", "folder"), [("", ""), ("zh", "zh/"), ("ja", "ja/"), ("de_DE:en", "")]
)
def test_make_lab_opens_a_language(language: str, folder: str) -> None:
    # GNU's gettext reads a variable of this name, which may hold anything.
    make = ["make", "--dry-run", "--always-make", "lab", f"LANGUAGE={language}"]
    plan = subprocess.check_output(make, cwd=REPOSITORY, text=True)
    assert f" notebooks/{folder}00_quickstart.ipynb\n" in plan


def terms() -> list[dict[str, str]]:
    with (REPOSITORY / "translations" / "terms.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.mark.parametrize("language", TRANSLATED)
def test_the_glossary_uses_the_table_of_terms(language: str) -> None:
    _, *sections = catalogues.entries("GLOSSARY", language).values()
    headings = {re.match("## (.+)", s.id)[1]: re.match("## (.+)", s.string)[1] for s in sections}
    expected = {t["English"]: t[language] for t in terms() if t["glossary"] == "yes"}
    if not list(tool.stale("GLOSSARY", language)):  # a new term has no translation yet
        assert list(headings) == list(expected)
    for term in headings.keys() & expected.keys():
        assert re.fullmatch(rf"{re.escape(expected[term])}(（.+）)?", headings[term])


def unwanted_terms(text: str, language: str) -> list[str]:
    """The words of a translation for which the table of terms has another, outside code."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`|\]\([^)]*\)", " ", text, flags=re.DOTALL | re.MULTILINE)
    return [
        f"{found[0]}: write {term[language]} ({term['English']})"
        for term in terms()
        if term[f"not in {language}"]
        for found in re.finditer(term[f"not in {language}"], prose)
    ]


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize("stem", CATALOGUES)
def test_there_is_one_word_for_one_thing(stem: str, language: str) -> None:
    for context, entry in catalogues.entries(stem, language).items():
        assert unwanted_terms(entry.string, language) == [], context


# --- what a translation must keep -----------------------------------------------------------------

ENGLISH = """### 1 · Show `mask`

Train **40 steps** on [toy scenes](GLOSSARY.md#seed), *never* more: $x < 1$.

- one `label_map` of a {mask}

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

- 一个 `label_map`，一个 {mask}

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
        ("一个 {mask}", "一个 {masks}", "placeholders: ['{mask}'] lost, ['{masks}'] added"),
    ],
)
def test_what_a_translation_loses_is_named(old: str, new: str, what: str) -> None:
    assert old in CHINESE
    assert what in " ".join(differences(ENGLISH, CHINESE.replace(old, new)))


@pytest.mark.parametrize(
    ("english", "translation", "told"),
    [
        ("forty steps", "40 ステップ", ""),  # a number may be written as a word
        ("40 steps", "四十步", ""),
        ("two thirds of 2,000 pixels", "2,000 ピクセルの 3 分の 2", ""),
        ("a thirty-second of its width", "幅の 32 分の 1", ""),
        ("a thousand steps in half a minute", "30 秒で 1,000 ステップ", ""),
        ("1,250 times", "一千二百五十倍", ""),
        ("seven of ten", "十个里有八个", ""),  # words alone are not compared
        ("forty steps", "50 ステップ", "[] lost, ['50'] added"),
        ("after thirty seconds", "32 秒後", "[] lost, ['32'] added"),
        ("40 steps", "五十步", "['40'] lost, [] added"),
        ("two hundred times", "2 倍", "[] lost, ['2'] added"),
        ("0.22 and 0.25, then 0.22", "0.22 と 0.25、次に 0.25", "['0.22'] lost, ['0.25'] added"),
        ("3 of 40", "３ / 40", "['3'] lost, ['３'] added"),
    ],
)
def test_another_number_is_named(english: str, translation: str, told: str) -> None:
    assert differences(english, translation) == ([f"numbers: {told}"] if told else [])


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


def write(course: Path, *cells: tuple[str, str], name: str = "01_one") -> None:
    """Write a notebook of Markdown cells, each with its id."""
    cells = [nbformat.v4.new_markdown_cell(text, id=key) for key, text in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), course / "notebooks" / f"{name}.ipynb")


def translate(course: Path, stem: str = "01_one", **texts: str) -> None:
    """Put translations into a Chinese catalogue, as a translator's program does."""
    file = catalogues.catalogue_file(stem, "zh", course)
    catalogue = catalogues.read_catalogue(file, "zh")
    for message in catalogue:
        if message.id and (text := texts.get(message.context.partition(":")[2])):
            message.string = text
            message.flags.discard("fuzzy")
    catalogues.write_catalogue(catalogue, file)


def build(course: Path, *options: str) -> int:
    return tool.main(["--languages", "zh", "--texts", "01_one", *options], course)


def shown(course: Path, stem: str = "01_one") -> list[str]:
    """The Chinese cells of a notebook."""
    notebook = nbformat.read(course / "notebooks" / "zh" / f"{stem}.ipynb", as_version=4)
    return [cell.source for cell in notebook.cells]


def test_from_an_english_notebook_to_a_translated_one(course: Path, capsys) -> None:
    assert build(course) == 0
    assert "warning: zh 01_one:end is not translated" in capsys.readouterr().out
    assert build(course, "--release") == 1
    translate(course, title="# 01 · 一\n\n<!-- badges -->\n\n二。", end="继续读。")
    assert build(course, "--release") == 0
    title, code, end = shown(course)
    assert title.startswith("# 01 · 一\n\n<!-- badges -->\n[![Open in Colab]")
    assert "/notebooks/zh/01_one.ipynb)" in title
    assert "[English](../01_one.ipynb) · 简体中文 · [日本語](../ja/01_one.ipynb)" in title
    assert title.endswith("\n\n二。")
    assert (code, end) == ("1 + 1", "继续读。")


def test_a_changed_english_text_shows_its_last_translation(course: Path, capsys) -> None:
    old = f'Read 2.\n\n  "{"Long text. " * 9}"\n\nMore.\n\nMore.'
    write(course, ("a", old), ("b", "More."))
    build(course)
    translate(course, a="读 2。", b="更多。")
    write(course, ("a", "Read 3 pages."), ("b", "More."), ("c", "New."))
    assert list(tool.problems("01_one", "zh", course)) == [], "before the catalogue is updated"
    capsys.readouterr()
    for _ in range(2):  # what it was translated from outlasts the next update
        assert build(course) == 0
        told = capsys.readouterr().out
        assert "warning: zh 01_one:a was translated from another English text" in told
        assert "warning: zh 01_one:c is not translated" in told
        assert "01_one:b" not in told
        assert shown(course) == ["读 2。", "更多。", "New."]
        entry = catalogues.entries("01_one", "zh", course)["01_one:a"]
        assert catalogues.translated_from(entry) == old
        written = catalogues.catalogue_file("01_one", "zh", course).read_text(encoding="utf-8")
        assert '#, fuzzy\n#| msgid "Read 2.\\n\\n' in written
    assert build(course, "--release") == 1
    write(course, ("a", old), ("b", "More."))
    assert build(course, "--release") == 0, "the English text is as before again"
    write(course, ("a", "Read 3 pages."), ("b", "More."), ("c", "New."))
    build(course)
    translate(course, a="读 3 页。", c="新的。")
    assert build(course, "--release") == 0
    assert "#" not in catalogues.catalogue_file("01_one", "zh", course).read_text(encoding="utf-8")


def test_an_old_translation_must_keep_what_its_own_original_had(course: Path, capsys) -> None:
    write(course, ("a", "Read `one`."))
    build(course)
    translate(course, a="读 `eins`。")
    for text in ("Read `one`.", "Read `eins` now."):
        write(course, ("a", text))
        assert build(course) == 1
        assert "zh 01_one:a: code spans: ['`one`'] lost" in capsys.readouterr().out


def test_messages_are_found_in_the_sources_and_compiled(course: Path) -> None:
    source = course / "notebooks" / "exercises" / "one.py"
    source.parent.mkdir()
    source.write_text(
        'text = "a text to be said"\n_MISTAKES = {"a hint": int}\nOTHER = {"no hint": int}\n'
        'raise wrong_for("not this", "{what} is wrong: {hint}", say("a" if one else "b"))\n'
        'NotYet("{hint}", hint)\nanswers("a reason" " in two parts", _MISTAKES)\n'
    )
    texts = ["a text to be said", "a hint", "{what} is wrong: {hint}", "a", "b"]
    assert messages.messages(course) == [*texts, "a reason in two parts"]
    command, file = ["--languages", "zh", "--texts", "exercises"], course / "translations/zh"
    assert tool.main(command, course) == 0
    catalogue = catalogues.read_catalogue(file / "exercises.po", "zh")
    catalogue["a hint"].string, catalogue["a reason in two parts"].string = "提示", "理由"
    catalogue["{what} is wrong: {hint}"].string = "{what} 不对"
    catalogues.write_catalogue(catalogue, file / "exercises.po")
    assert tool.main(command, course) == 1, "a placeholder is missing"
    source.write_text(source.read_text().replace('"a reason"', '"the reason"'))
    tool.main(command, course)
    entry = catalogues.entries("exercises", "zh", course)["the reason in two parts"]
    assert (entry.string, catalogues.translated_from(entry)) == ("理由", "a reason in two parts")
    compiled = messages.compiled(file / "exercises.mo")
    assert compiled == {"a hint": "提示", "{what} is wrong: {hint}": "{what} 不对"}


def test_links_of_old_translations_lead_somewhere(course: Path) -> None:
    links = "[a](02_two.ipynb#A-way), [b](02_two.ipynb#Gone), [c](GLOSSARY.md#seed)"
    write(course, ("a", links), ("b", "[a](02_two.ipynb#A-way)"))
    write(course, ("two", "# A way"), ("gone", "# Gone"), name="02_two")
    both = ["--languages", "zh", "--texts", "01_one", "02_two", "GLOSSARY"]
    tool.main(both, course)
    translate(course, a=links, b="[a](02_two.ipynb#A-way)")
    translate(course, "02_two", two="# 一条 路", gone="# 没了")
    tool.main(both, course)
    assert shown(course)[1] == "[a](02_two.ipynb#一条-路)"
    glossary = course / "notebooks" / "GLOSSARY.md"
    glossary.write_text(glossary.read_text("utf-8").replace("## seed", "## start"), "utf-8")
    write(course, ("two", "# The way\n\n## New"), name="02_two")
    new = "[new](02_two.ipynb#New), [wrong](02_two.ipynb#Typo)"
    write(course, ("a", "Read on."), ("b", "[a](02_two.ipynb#The-way)"), ("c", new))
    assert tool.main(both, course) == 0
    assert shown(course) == [
        "[a](02_two.ipynb#一条-路), [b](02_two.ipynb#), [c](GLOSSARY.md#)",
        "[a](02_two.ipynb#一条-路)",
        "[new](02_two.ipynb#), [wrong](02_two.ipynb#Typo)",
    ]
    files = [course / "notebooks/zh" / name for name in ("01_one.ipynb", "02_two.ipynb")]
    assert dead_links(files) == ["01_one.ipynb: 02_two.ipynb#Typo"]


def test_blocks_of_the_readme_move_with_their_translations(course: Path) -> None:
    readme = course / "README.md"
    title = readme.read_text(encoding="utf-8").partition("\n")[0]

    def chinese(*paragraphs: str) -> list[str]:
        readme.write_text("\n\n".join([title, *paragraphs]), encoding="utf-8")
        assert tool.main(["--languages", "zh", "--texts", "README"], course) == 0
        return (course / "README.zh.md").read_text(encoding="utf-8").split("\n\n")[1:-1]

    chinese("One.", "Two.")
    translate(course, "README", **{"1": "一。", "2": "二。"})
    assert chinese("New.", "One.", "Two.") == ["New.", "一。", "二。"]
    assert chinese("One.", "Two.") == ["一。", "二。"]
    assert chinese("One.", "Two!") == ["一。", "二。"]
    assert chinese("Two!") == ["二。"]
