"""Gettext catalogues of the course's texts: read, brought up to date, and written."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.profiles import REPOSITORY

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog, Message

_HEADER = r"""msgid ""
msgstr ""
"Language: {language}\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=utf-8\n"
"Content-Transfer-Encoding: 8bit\n"

"""


def catalogue_file(stem: str, language: str, root: Path = REPOSITORY) -> Path:
    return root / "translations" / language / f"{stem}.po"


def read_catalogue(file: Path, language: str) -> Catalog:
    """Read a catalogue; a file that does not exist yet is an empty one."""
    from babel.messages.catalog import Catalog
    from babel.messages.pofile import denormalize, read_po

    if not file.is_file():
        return Catalog(locale=language)
    with file.open("rb") as opened:
        catalogue = read_po(opened, locale=language, abort_invalid=True)
    for entry in catalogue:  # Babel takes the previous text of a fuzzy entry for a comment
        lines = [line[2:] for line in entry.user_comments if line.startswith("| ")]
        if previous := "\n".join(lines).partition("msgid ")[2]:
            entry.previous_id = [denormalize(previous)]
    return catalogue


def entries(stem: str, language: str, root: Path = REPOSITORY) -> dict[str, Message]:
    """Where a text stands to its entry in the catalogue, of those that hold a translation.

    A message of the code stands at no place of its own: it is found under its text.
    """
    catalogue = read_catalogue(catalogue_file(stem, language, root), language)
    return {entry.context or entry.id: entry for entry in catalogue if entry.id and entry.string}


def translated_from(entry: Message) -> str:
    """The English text that the translation of an entry is one of."""
    return entry.previous_id[0] if entry.fuzzy and entry.previous_id else entry.id


def updated(old: dict[str, Message], texts: dict[str, str], language: str) -> Catalog:
    """The catalogue of `texts` with the translations of `old`; those of another text are fuzzy."""
    from babel.messages.catalog import Catalog

    moved = {key: entry for entry in old.values() for key in (entry.id, translated_from(entry))}
    gone = [key for key in old if key not in texts]
    new = Catalog(locale=language)
    for place, text in texts.items():
        before, context = old.get(place), None if place == text else place
        if before is None and context is None and (near := get_close_matches(text, gone, 1, 0.8)):
            before = old[near[0]]
        elif before is None or translated_from(before) != text:
            # The README's blocks are counted: what stood here may have moved, with its translation.
            moved_away = before is not None and translated_from(before) in texts.values()
            before = moved.get(text, None if moved_away else before)
        if before is None:
            new.add(text, "", context=context)
        elif translated_from(before) == text:
            flags = before.flags if before.id == text else before.flags - {"fuzzy"}
            new.add(text, before.string, context=context, flags=flags)
        else:
            origin, flags = translated_from(before), before.flags | {"fuzzy"}
            new.add(text, before.string, context=context, flags=flags, previous_id=origin)
    return new


def write_catalogue(catalogue: Catalog, file: Path) -> None:
    """Write a catalogue with a line for each line of its texts, so that changes read well."""
    from babel.messages.pofile import escape, normalize

    # Babel's own writer puts the time into the header, and breaks previous texts anywhere.
    blocks = [_HEADER.format(language=catalogue.locale)]
    for entry in catalogue:
        if not entry.id:
            continue
        lines = [f"#, {', '.join(sorted(entry.flags))}"] if entry.flags else []
        if entry.previous_id:
            # In one line: of comment lines that are equal, Babel reads only the first.
            lines.append(f"#| msgid {escape(entry.previous_id[0])}")
        texts = {"msgctxt": entry.context, "msgid": entry.id, "msgstr": entry.string}
        lines += [f"{key} {normalize(t, width=0)}" for key, t in texts.items() if t is not None]
        blocks.append("\n".join(lines) + "\n\n")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(blocks), encoding="utf-8", newline="\n")
