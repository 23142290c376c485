"""The course in other languages: its texts as gettext catalogues, and what is built from them.

`python -m tools.course translations` writes new English texts into the catalogues of
`translations/`, marks as fuzzy what was translated from another English text, and builds
`notebooks/zh`, `notebooks/ja`, `README.zh.md` and `README.ja.md`. Code and figures are the English
notebooks' own, and so are texts of outputs unless a refresh got them in the language. Until
somebody has translated a changed text again, its last translation is shown, and of a new one the
English: a warning, which only `--release` counts as a fault. Messages of the code are compiled.
"""

from __future__ import annotations

import argparse
import copy
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.profiles import REPOSITORY
from tools.course import messages
from tools.course.address import Address, read_address
from tools.course.catalogues import (
    catalogue_file,
    entries,
    read_catalogue,
    translated_from,
    updated,
    write_catalogue,
)
from tools.course.differences import FENCE, differences
from tools.course.map import with_buttons

if TYPE_CHECKING:
    from nbformat import NotebookNode

LANGUAGES = {"en": "English", "zh": "简体中文", "ja": "日本語"}
"""Code of each language to its own name; the first is the source of the others."""

TRANSLATED = tuple(LANGUAGES)[1:]

_BADGES = re.compile(r"^<!-- badges -->\n(?:.+\n?)*", flags=re.MULTILINE)
_LINK_TO_A_HEADING = re.compile(r"\]\((\w+\.ipynb|GLOSSARY\.md|)#([^)\s]+)\)")
_CODE_OR_FORMULA = r"`[^`\n]+`|\$[^$\n]+\$"
# What may hold asterisks of its own; what is bold; and what is slanted.
_SLANTED = re.compile(
    rf"{FENCE.pattern}|{_CODE_OR_FORMULA}|\*\*[^*]+\*\*|\*((?:{_CODE_OR_FORMULA}|[^*`$])+)\*",
    flags=re.MULTILINE | re.DOTALL,
)
_ONLINE = {
    "en": ("Read it online", "Try a model in your browser"),
    "zh": ("在线阅读", "在浏览器里试用模型"),
    "ja": ("オンラインで読む", "ブラウザーでモデルを試す"),
}
"""A README's links to the pages; no catalogue holds them, nor any other address."""
_TAG = re.compile(r"</?[a-z][^>]*>")
_REST = "What lies where, and the licences, are in the [English README](README.md)."


# --- the English texts ----------------------------------------------------------------------------


def stems(root: Path = REPOSITORY) -> list[str]:
    """What is translated, each with a catalogue of its own: the notebooks, GLOSSARY and README."""
    notebooks = sorted(path.stem for path in (root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    return [*notebooks, "GLOSSARY", "README"]


def english_texts(stem: str, root: Path = REPOSITORY) -> dict[str, str]:
    """The texts of a notebook, of the glossary or of the short README; or what the code says.

    Returns:
        Where a text stands, such as "05_training:objectives", to its Markdown, in which a badge
        block is only its first line. What holds no prose, such as a block of commands, is left out.
        A message of the code stands under itself.
    """
    if stem == messages.STEM:
        return {text: text for text in messages.messages(root)}
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
    text = re.sub(r'^<a id="[^"]+"></a>\n\n', "", text, flags=re.MULTILINE)  # built for each
    return [part.strip() for part in re.split(r"^(?=## )", text, flags=re.MULTILINE)]


def _anchor(section: str) -> str:
    """The anchor of a section of the English glossary, by which every language links to it."""
    return section.partition("\n")[0].removeprefix("## ").lower().replace(" ", "-")


def _readme_blocks(root: Path) -> dict[str, str]:
    """What a learner needs of the README, block by block, then a pointer to the rest.

    The buttons and times of the course map, the last three of its five columns, are left out: they
    would change every translation each time.
    """
    text = (root / "README.md").read_text(encoding="utf-8").partition("\n## What lies where")[0]
    text = re.sub(r"^<!-- measured -->(?:.+\n?)+", "", text, flags=re.MULTILINE)
    text = re.sub(r"^((?:\|[^|\n]*){2}\|)(?:[^|\n]*\|){3}$", r"\1", text, flags=re.MULTILINE)
    pieces = re.split(r"(^```.*?^```$)|\n{2,}", text, flags=re.MULTILINE | re.DOTALL)
    blocks = [piece.strip() for piece in pieces if piece and piece.strip()]
    return {str(number): block for number, block in enumerate([*blocks, _REST])}


def _has_prose(text: str) -> bool:
    text = re.sub(r"<!--.*?-->", "", _TAG.sub("", FENCE.sub("", text)))
    return any(character.isalpha() for character in text)


# --- what is missing or wrong ---------------------------------------------------------------------


def stale(stem: str, language: str, root: Path = REPOSITORY) -> Iterator[str]:
    """What is not translated, or only from an earlier English text: a release waits for it."""
    known = entries(stem, language, root)
    for context, text in english_texts(stem, root).items():
        entry = known.get(context)
        if entry is None:
            yield f"{language} {context} is not translated"
        elif entry.fuzzy or entry.id != text:
            yield f"{language} {context} was translated from another English text, or is fuzzy"


def problems(stem: str, language: str, root: Path = REPOSITORY) -> Iterator[str]:
    """What is wrong with translations, each beside the English text that it was made from."""
    texts = english_texts(stem, root)
    for context, entry in entries(stem, language, root).items():
        where = f"{language} {context}"
        if context not in texts:
            yield f"{where}: no English text has this place: update the catalogues"
        for difference in differences(translated_from(entry), entry.string):
            yield f"{where}: {difference}"


# --- what is built --------------------------------------------------------------------------------


def badges(stem: str, language: str, address: Address) -> str:
    """The badge block: this notebook in Colab and on Binder, and the other languages.

    That of the README also says how the weekly run went, and where the pages are.
    """
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
    colab, binder, *_, actions, pages = address.forms[2:]
    weekly = ""
    if stem == "README":
        run = f"{actions}workflows/ci.yml"
        weekly = f" [![Weekly run]({run}/badge.svg?event=schedule)]({run}?query=event%3Aschedule)"
        read, attempt = _ONLINE[language]
        page = f"{pages}try/" + ("" if language == "en" else f"?lang={language}")
        links = f"**[{read}]({pages}{folder_of(language)})** · **[{attempt}]({page})**"
        languages = f"{languages.strip()}<br>\n{links}\n"
    return (
        "<!-- badges -->\n"
        "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
        f"(https://colab.research.google.com{colab}{path}) "
        "[![Open on Binder](https://mybinder.org/badge_logo.svg)]"
        f"(https://mybinder.org/v2{binder}labpath={path.replace('/', '%2F')}){weekly}\n{languages}"
    )


def folder_of(language: str) -> str:
    """Where a language's notebooks lie beneath the English ones."""
    return "" if language == "en" else f"{language}/"


def notebook_file(stem: str, language: str, root: Path = REPOSITORY) -> Path:
    return root / "notebooks" / folder_of(language) / f"{stem}.ipynb"


def readme_name(language: str) -> str:
    return "README.md" if language == "en" else f"README.{language}.md"


def translated(
    notebook: NotebookNode,
    stem: str,
    language: str,
    root: Path = REPOSITORY,
    executed: NotebookNode | None = None,
) -> NotebookNode:
    """Return a notebook with its Markdown translated; what has no translation stays English.

    `executed` was run in this language, and has texts of outputs; None: as it is stored.
    """
    if language == "en":
        return notebook
    notebook, stored = copy.deepcopy(notebook), notebook_file(stem, language, root)
    if executed is None and stored.is_file():
        executed = _read_notebook(stored)
    texts, block = shown(stem, language, root), badges(stem, language, read_address(root))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = texts.get(f"{stem}:{cell.id}", cell.source)
            cell.source = _BADGES.sub(block, f"{text}\n").strip()
    return messages.with_texts_of(executed, notebook) if executed else notebook


def shown(stem: str, language: str, root: Path = REPOSITORY) -> dict[str, str]:
    """Where a text stands to what is read there: its translation, its last one, or English.

    Links lead to headings as they are shown; where an old translation links to one that is gone,
    to the top of its page. No Chinese or Japanese is slanted.
    """
    known, texts = entries(stem, language, root), {}
    for context, text in english_texts(stem, root).items():
        entry = known.get(context)
        is_old = entry is not None and translated_from(entry) != text
        text = upright(entry.string) if entry else text
        texts[context] = _relinked(text, is_old, stem, language, root)
    return texts


def upright(text: str) -> str:
    """Chinese and Japanese have no italics: what a catalogue slants is bold, a caption plain."""

    def set_upright(found: re.Match[str]) -> str:
        slanted = found[1] or ""
        if caption := re.match("([图図])(\uff1a.+)", slanted, flags=re.DOTALL):
            return f"**{caption[1]}**{caption[2]}"
        return f"**{slanted}**" if messages.CHARACTER.search(slanted) else found[0]

    return _SLANTED.sub(set_upright, text)


def _relinked(text: str, is_old: bool, stem: str, language: str, root: Path) -> str:
    def to_what_is_shown(link: re.Match[str]) -> str:
        file, anchor = link.groups()
        anchors = _anchors(Path(file).stem or stem, language, root)
        return f"]({file}#{anchors.get(anchor, '' if is_old else anchor)})"

    return _LINK_TO_A_HEADING.sub(to_what_is_shown, text)


def _anchors(stem: str, language: str, root: Path) -> dict[str, str]:
    """The anchors of English headings to those shown; "" where there is no such heading yet."""
    if stem == "GLOSSARY":  # each of its sections has the English anchor in every language
        return {anchor: anchor for anchor in map(_anchor, _glossary_sections(root)[1:])}
    known, anchors = entries(stem, language, root), {}
    for context, text in english_texts(stem, root).items():
        entry = known.get(context)
        ours = heading_anchors(entry.string if entry else text)
        # An old translation still has the headings, and is met by links, of its own original.
        for english in (text, translated_from(entry) if entry else text):
            theirs = heading_anchors(english)
            anchors |= dict(zip_longest(theirs, ours[: len(theirs)], fillvalue=""))
    return anchors


def heading_anchors(text: str) -> list[str]:
    """The anchors that JupyterLab gives to the headings of a Markdown text."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), flags=re.MULTILINE)
    return [heading.replace("`", "").strip().replace(" ", "-") for heading in headings]


def built(stem: str, language: str, root: Path = REPOSITORY) -> tuple[Path, str]:
    """A translated notebook, glossary or README: its path and its text."""
    import nbformat

    if stem == "README":
        known = shown(stem, language, root)
        texts = [known.get(f"README:{key}", text) for key, text in _readme_blocks(root).items()]
        address, text = read_address(root), "\n\n".join(texts) + "\n"
        text = _led_to(_BADGES.sub(badges(stem, language, address), text), language)
        return root / readme_name(language), with_buttons(text, language, address)
    if stem == "GLOSSARY":
        (_, title), *sections = shown(stem, language, root).items()
        texts = [_BADGES.sub(badges(stem, language, read_address(root)), f"{title}\n").strip()]
        for context, text in sections:
            texts.append(f'<a id="{context.removeprefix("GLOSSARY:")}"></a>\n\n{text}')
        return root / "notebooks" / language / "GLOSSARY.md", "\n\n".join(texts) + "\n"
    english = _read_notebook(notebook_file(stem, "en", root))
    notebook = translated(english, stem, language, root)
    return notebook_file(stem, language, root), nbformat.writes(notebook) + "\n"


def _led_to(text: str, language: str) -> str:
    """A README whose links and commands open the notebooks and pages of a language."""
    text = re.sub(r"(\]\(|lab )notebooks/", rf"\1notebooks/{language}/", text)
    text = re.sub(r"open build([/\\])", lambda found: f"{found[0]}{language}{found[1]}", text)
    option = f" LANGUAGE={language}"
    text = text.replace("\nmake lab ", f"\nmake lab{option} ")
    return text.replace("\nmake course ", f"\nmake course{' ' * len(option)} ")


def main(arguments: list[str] | None = None, root: Path = REPOSITORY) -> int:
    """Bring the catalogues up to date, and build what is translated."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.course translations", description=__doc__
    )
    parser.add_argument("--languages", nargs="+", choices=TRANSLATED, default=TRANSLATED)
    parser.add_argument(
        "--texts", nargs="+", metavar="NAME", help="only these, as in 05_training exercises"
    )
    parser.add_argument(
        "--release", action="store_true", help="fail where a translation is missing or an old one"
    )
    options = parser.parse_args(arguments)
    known = [*stems(root), messages.STEM]
    if unknown := sorted(set(options.texts or ()) - set(known)):
        parser.error(f"no text {', '.join(unknown)}: choose from {', '.join(known)}")
    chosen, wrong, behind = options.texts or known, [], []
    for language in options.languages:
        for stem in chosen:
            file, texts = catalogue_file(stem, language, root), english_texts(stem, root)
            write_catalogue(updated(entries(stem, language, root), texts, language), file)
            wrong += problems(stem, language, root)
            behind += stale(stem, language, root)
    # A link may lead to a heading of any other text: the catalogues come first.
    for language in options.languages:
        for stem in chosen:
            if stem == messages.STEM:
                catalogue = read_catalogue(catalogue_file(stem, language, root), language)
                messages.compile_catalogue(catalogue, messages.compiled_file(language, root))
                continue
            path, text = built(stem, language, root)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    for line in [*wrong, *(f"warning: {entry}" for entry in behind)]:
        print(line)
    print(f"{len(wrong)} faults, and {len(behind)} entries to translate, in translations/")
    return 1 if wrong or (options.release and behind) else 0
