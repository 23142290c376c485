"""The language in which a notebook speaks to its reader, through gettext catalogues.

What the exercises answer, and the sentences that sliders and a training print, are English in the
code and in `notebooks`, Chinese in `notebooks/zh`, Japanese in `notebooks/ja`. Errors for
programmers, names of classes and the lettering of figures are English everywhere.
"""

from __future__ import annotations

import gettext
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

_FOLDER = Path(__file__).resolve().parent.parent / "translations"
_in_english = ContextVar("in_english", default=False)
# Beside a value a text has spaces, which are wrong where the value is Chinese or Japanese, too.
_FULL_WIDTH = "[\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]"
_GAP = re.compile(f"(?<={_FULL_WIDTH}) (?={_FULL_WIDTH})")


def say(text: str, *values: Any) -> str:
    """Return a text in the notebook's language, with values in place of its {names}.

    Args:
        text: English, and the key of the catalogues; it stays English where they lack it.
        values: in the order of the names in `text`; a translation may have another order.
    """
    chosen = "en" if _in_english.get() else language()
    names = dict.fromkeys(name for _, name, *_ in Formatter().parse(text) if name)
    said = _catalogue(chosen).gettext(text).format(**dict(zip(names, values, strict=True)))
    return said if chosen == "en" else _GAP.sub("", said)


def language() -> str:
    """Return SEG_LANGUAGE, else the folder of the notebook ("zh" of `notebooks/zh`), else "en"."""
    known = _languages()
    if chosen := os.environ.get("SEG_LANGUAGE"):
        if chosen not in known:
            raise ValueError(f"SEG_LANGUAGE is {chosen!r}: set it to one of {', '.join(known)}")
        return chosen
    # A kernel starts in its notebook's folder; a command has no kernel, and loads no IPython.
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    folder = Path(shell.starting_dir) if shell else Path()
    return folder.name if folder.parent.name == "notebooks" and folder.name in known else "en"


@contextmanager
def in_english() -> Iterator[None]:
    """Say all in English, for what is drawn in letters: no font here has Chinese or Japanese."""
    token = _in_english.set(True)
    try:
        yield
    finally:
        _in_english.reset(token)


@cache
def _languages() -> tuple[str, ...]:
    return "en", *sorted(file.parent.name for file in _FOLDER.glob("*/exercises.mo"))


@cache
def _catalogue(chosen: str) -> gettext.NullTranslations:
    if chosen == "en":
        return gettext.NullTranslations()
    with (_FOLDER / chosen / "exercises.mo").open("rb") as file:
        return gettext.GNUTranslations(file)
