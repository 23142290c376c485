"""The course in other languages: its texts as gettext catalogues, and what is built from them.

`python -m tools.course translations` writes new English texts into the catalogues of
`translations/`, marks as fuzzy what was translated from another English text, and builds
`notebooks/zh`, `notebooks/ja`, `README.zh.md` and `README.ja.md`. Code and outputs are the English notebooks' own.
"""

from __future__ import annotations

import argparse
import copy
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.profiles import REPOSITORY
from tools.course.address import Address, read_address

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog
    from nbformat import NotebookNode

LANGUAGES = {"en": "English", "zh": "简体中文", "ja": "日本語"}
"""Code of each language to its own name; the first is the source of the others."""

TRANSLATED = tuple(LANGUAGES)[1:]

_BADGES = re.compile(r"^<!-- badges -->\n(?:.+\n?)*", flags=re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", flags=re.MULTILINE | re.DOTALL)
_TAG = re.compile(r"</?[a-z][^>]*>")
_HEADER = r"""msgid ""
msgstr ""
"Language: {language}\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=utf-8\n"
"Content-Transfer-Encoding: 8bit\n"

"""
_REST = "The rest, from profiles to commands, is in the [English README](README.md)."


# --- the English texts ----------------------------------------------------------------------------


def stems(root: Path = REPOSITORY) -> list[str]:
    """What is translated, each with a catalogue of its own: the notebooks, GLOSSARY and README."""
    notebooks = sorted(path.stem for path in (root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    return [*notebooks, "GLOSSARY", "README"]


def english_texts(stem: str, root: Path = REPOSITORY) -> dict[str, str]:
    """The texts of a notebook, of the glossary or of the short README.

    Returns:
        Where a text stands, such as "05_training:objectives", to its Markdown, in which a badge
        block is only its first line. What holds no prose, such as a block of commands, is left out.
    """
    if stem == "README":
        texts = {f"README:{key}": text for key, text in _readme_blocks(root).items()}
    elif stem == "GLOSSARY":
        title, *sections = _glossary_sections(root)
        texts = {"GLOSSARY:title": title}
        texts |= {f"GLOSSARY:{_anchor(section)}": section for section in sections}
    else:
        cells = _read_notebook(root / "notebooks" / f"{stem}.ipynb").cells
        texts = {f"{stem}:{cell.id}": cell.source for cell in cells if cell.cell_type == "markdown"}
    bare = {key: _BADGES.sub("<!-- badges -->\n", text).strip() for key, text in texts.items()}
    return {key: text for key, text in bare.items() if _has_prose(text)}


def _read_notebook(path: Path) -> NotebookNode:
    import nbformat

    return nbformat.read(path, as_version=4)


def _glossary_sections(root: Path) -> list[str]:
    text = (root / "notebooks" / "GLOSSARY.md").read_text(encoding="utf-8")
    return [part.strip() for part in re.split(r"^(?=## )", text, flags=re.MULTILINE)]


def _anchor(section: str) -> str:
    """The anchor of a section of the English glossary, by which every language links to it."""
    return section.partition("\n")[0].removeprefix("## ").replace(" ", "-")


def _readme_blocks(root: Path) -> dict[str, str]:
    """The README up to its course map, block by block, then a pointer to the rest.

    What `make map` measures is left out: it would change every translation each time.
    """
    text = (root / "README.md").read_text(encoding="utf-8").partition("\n## One switch")[0]
    text = re.sub(r"^<!-- measured -->(?:.+\n?)+", "", text, flags=re.MULTILINE)
    text = re.sub(r"^(\|.*\|.*\|)[^|\n]*\|[^|\n]*\|$", r"\1", text, flags=re.MULTILINE)
    pieces = re.split(r"(^```.*?^```$)|\n{2,}", text, flags=re.MULTILINE | re.DOTALL)
    blocks = [piece.strip() for piece in pieces if piece and piece.strip()]
    return {str(number): block for number, block in enumerate([*blocks, _REST])}


def _has_prose(text: str) -> bool:
    text = re.sub(r"<!--.*?-->", "", _TAG.sub("", _FENCE.sub("", text)))
    return any(character.isalpha() for character in text)


# --- the catalogues -------------------------------------------------------------------------------


def catalogue_file(stem: str, language: str, root: Path = REPOSITORY) -> Path:
    return root / "translations" / language / f"{stem}.po"


def read_catalogue(file: Path, language: str) -> Catalog:
    """Read a catalogue; a file that does not exist yet is an empty one."""
    from babel.messages.catalog import Catalog
    from babel.messages.pofile import read_po

    if not file.is_file():
        return Catalog(locale=language)
    with file.open("rb") as opened:
        return read_po(opened, locale=language, abort_invalid=True)


def updated(old: Catalog, texts: dict[str, str], language: str) -> Catalog:
    """The catalogue of `texts` with the translations of `old`; those of another text are fuzzy."""
    from babel.messages.catalog import Catalog

    known = {message.context: message for message in old if message.id}
    moved = {message.id: message for message in known.values()}
    new = Catalog(locale=language)
    for context, text in texts.items():
        before = known.get(context)
        if before is None or before.id != text:
            before = moved.get(text, before)
        if before is None or not before.string:
            new.add(text, "", context=context)
        elif before.id == text:
            new.add(text, before.string, context=context, flags=before.flags)
        else:
            previous = before.previous_id or before.id
            flags = {*before.flags, "fuzzy"}
            new.add(text, before.string, context=context, flags=flags, previous_id=previous)
    return new


def write_catalogue(catalogue: Catalog, file: Path) -> None:
    """Write a catalogue with a line for each line of its texts, so that changes read well."""
    from babel.messages.pofile import write_po

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        # Babel's own header has the time of writing in it.
        opened.write(_HEADER.format(language=catalogue.locale).encode())
        write_po(opened, catalogue, width=0, omit_header=True, include_previous=True)


def translations(stem: str, language: str, root: Path = REPOSITORY) -> dict[str, str]:
    """Where a text stands to its translation; only those of the present English text."""
    texts = english_texts(stem, root)
    catalogue = read_catalogue(catalogue_file(stem, language, root), language)
    return {
        message.context: message.string
        for message in catalogue
        if message.id and message.string and not message.fuzzy
        if texts.get(message.context) == message.id
    }


# --- what a translation must keep -----------------------------------------------------------------

# In this order: what one finds, the next does not see.
_KEPT = {
    "code blocks": _FENCE.pattern,
    "code spans": r"`[^`\n]+`|<code>.*?</code>",
    "formulas": r"\$\$.+?\$\$|(?<!\\)\$[^$\n]+\$",
    "links": r"\]\([^)\s]+\)",
    "tags": r"</?[a-z][^>]*>|<!--.*?-->",
    "headings, lists and rows": r"^(?:#+ |[-*] |\d+\. )|\|",
    "numbers": r"\d+(?:[.,]\d+)*",
}


def differences(english: str, translation: str) -> list[str]:
    """What a translation has other than its original: code, formulas, links, numbers, shapes."""
    found = []
    bold, expected = _emphases(translation), _emphases(english)
    if bold != expected:
        found.append(f"once rendered: {bold}, expected {expected} (is a * or ** still seen?)")
    for what, pattern in _KEPT.items():
        flags = re.MULTILINE | re.DOTALL
        ours, theirs = (Counter(re.findall(pattern, t, flags)) for t in (english, translation))
        if ours != theirs:
            lost, added = list((ours - theirs).elements()), list((theirs - ours).elements())
            found.append(f"{what}: {lost} lost, {added} added")
        english, translation = (
            re.sub(pattern, " ", t, flags=flags) for t in (english, translation)
        )
    return found


def _emphases(text: str) -> dict[str, int]:
    """How many parts of a text are bold, italic or links once it is rendered."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    kinds = Counter(child.type for token in tokens for child in token.children or [])
    return {kind: kinds[f"{kind}_open"] for kind in ("strong", "em", "link")}


def problems(stem: str, language: str, root: Path = REPOSITORY) -> Iterator[str]:
    """What keeps a translation from being complete: missing, fuzzy and differing entries."""
    catalogue = read_catalogue(catalogue_file(stem, language, root), language)
    entries = {message.context: message for message in catalogue if message.id}
    for context, text in english_texts(stem, root).items():
        entry = entries.pop(context, None)
        where = f"{language} {context}"
        if entry is None or not entry.string:
            yield f"{where} is not translated"
        elif entry.fuzzy or entry.id != text:
            yield f"{where} was translated from another English text, or is marked fuzzy"
        else:
            yield from (f"{where}: {difference}" for difference in differences(text, entry.string))
    yield from (f"{language} {context}: no English text has this place" for context in entries)


# --- what is built --------------------------------------------------------------------------------


def badges(stem: str, language: str, address: Address) -> str:
    """The badge block: this notebook in Colab and on Binder, and the other languages."""
    links = []
    for other, name in LANGUAGES.items():
        if stem == "README":
            target = readme_name(other)
        else:
            up = "" if language == "en" else "../"
            target = f"{up}{folder_of(other)}{stem}{'.md' if stem == 'GLOSSARY' else '.ipynb'}"
        links.append(name if other == language else f"[{name}]({target})")
    languages = f"{' · '.join(links)}\n"
    if stem == "GLOSSARY":
        return f"<!-- badges -->\n{languages}"
    notebook = "00_quickstart" if stem == "README" else stem
    path = f"notebooks/{folder_of(language)}{notebook}.ipynb"
    colab, binder = address.forms[2:4]
    return (
        "<!-- badges -->\n"
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com{colab}{path}) "
        "[![Open on Binder](https://mybinder.org/badge_logo.svg)]"
        f"(https://mybinder.org/v2{binder}labpath={path.replace('/', '%2F')})\n{languages}"
    )


def folder_of(language: str) -> str:
    """Where a language's notebooks lie beneath the English ones."""
    return "" if language == "en" else f"{language}/"


def readme_name(language: str) -> str:
    return "README.md" if language == "en" else f"README.{language}.md"


def translated(
    notebook: NotebookNode, stem: str, language: str, root: Path = REPOSITORY
) -> NotebookNode:
    """Return a notebook with its Markdown translated; what has no translation stays English."""
    if language == "en":
        return notebook
    notebook = copy.deepcopy(notebook)
    known, block = translations(stem, language, root), badges(stem, language, read_address(root))

    def rebased(link: re.Match[str]) -> str:
        return f"]({link[1]}.ipynb#{_anchors(link[1], language, root).get(link[2], link[2])})"

    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = known.get(f"{stem}:{cell.id}", cell.source)
            text = re.sub(r"\]\((\w+)\.ipynb#([^)\s]+)\)", rebased, text)
            cell.source = _BADGES.sub(block, f"{text}\n").strip()
    return notebook


def _anchors(stem: str, language: str, root: Path) -> dict[str, str]:
    """JupyterLab's anchors of a notebook's English headings to those of their translations."""
    known, anchors = translations(stem, language, root), {}
    for context, text in english_texts(stem, root).items():
        ours, theirs = map(heading_anchors, (text, known.get(context, text)))
        anchors |= dict(zip(ours, theirs, strict=False))
    return anchors


def heading_anchors(text: str) -> list[str]:
    """The anchors that JupyterLab gives to the headings of a Markdown text."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), flags=re.MULTILINE)
    return [heading.replace("`", "").strip().replace(" ", "-") for heading in headings]


def built(stem: str, language: str, root: Path = REPOSITORY) -> tuple[Path, str]:
    """A translated notebook, glossary or README: its path and its text."""
    import nbformat

    if stem == "README":
        known = translations(stem, language, root)
        texts = [known.get(f"README:{key}", text) for key, text in _readme_blocks(root).items()]
        text = _BADGES.sub(badges(stem, language, read_address(root)), "\n\n".join(texts) + "\n")
        text = text.replace("](notebooks/", f"](notebooks/{language}/")
        return root / readme_name(language), text
    folder = root / "notebooks" / language
    if stem == "GLOSSARY":
        known = translations(stem, language, root)
        title, *sections = _glossary_sections(root)
        title = known.get("GLOSSARY:title", title)
        texts = [_BADGES.sub(badges(stem, language, read_address(root)), f"{title}\n").strip()]
        for section in sections:
            anchor = _anchor(section)
            translation = known.get(f"GLOSSARY:{anchor}", section)
            texts.append(f'<a id="{anchor}"></a>\n\n{translation}')
        return folder / "GLOSSARY.md", "\n\n".join(texts) + "\n"
    english = _read_notebook(root / "notebooks" / f"{stem}.ipynb")
    notebook = translated(english, stem, language, root)
    return folder / f"{stem}.ipynb", nbformat.writes(notebook) + "\n"


def main(arguments: list[str] | None = None, root: Path = REPOSITORY) -> int:
    """Bring the catalogues up to date, and build what is translated."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.course translations", description=__doc__
    )
    parser.add_argument("--languages", nargs="+", choices=TRANSLATED, default=TRANSLATED)
    parser.add_argument(
        "--texts", nargs="+", metavar="NAME", help="only these, as in 05_training GLOSSARY README"
    )
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.texts or ()) - set(stems(root))):
        parser.error(f"no text {', '.join(unknown)}: choose from {', '.join(stems(root))}")
    found = []
    for language in options.languages:
        for stem in options.texts or stems(root):
            file = catalogue_file(stem, language, root)
            new = updated(read_catalogue(file, language), english_texts(stem, root), language)
            write_catalogue(new, file)
            path, text = built(stem, language, root)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            found += problems(stem, language, root)
    print(*found, sep="\n", end="\n" * bool(found))
    print(f"{len(found)} entries to translate or to correct in translations/")
    return 1 if found else 0
