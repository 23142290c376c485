"""What a translation has other than its original: code, formulas, links, numbers and shapes."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

FENCE = re.compile(r"^```.*?^```$", flags=re.MULTILINE | re.DOTALL)

# In this order: what one finds, the next does not see.
_KEPT = {
    "code blocks": FENCE.pattern,
    "code spans": r"`[^`\n]+`|<code>.*?</code>",
    "formulas": r"\$\$.+?\$\$|(?<!\\)\$[^$\n]+\$",
    "placeholders": r"\{[^{}\n]*\}",
    "links": r"\]\([^)\s]+\)",
    "tags": r"</?[a-z][^>]*>|<!--.*?-->",
    "headings, lists and rows": r"^(?:#+ |[-*] |\d+\. )|\|",
}
_FIGURES = re.compile(r"\d+(?:[.,]\d+)*")
_BELOW_TWENTY = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen",
)
_TENS = re.findall(r"\w+", "twenty thirty forty fifty sixty seventy eighty ninety")
_POWERS = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_ENGLISH = {
    **{word: value for value, word in enumerate(_BELOW_TWENTY)},
    **{f"{word}th": value for value, word in enumerate(_BELOW_TWENTY)},
    **{word: value for value, word in zip(range(20, 100, 10), _TENS, strict=True)},
    **_POWERS,
    **{f"{word}th": value for word, value in _POWERS.items()},
    **{"a": 1, "an": 1, "once": 1, "first": 1, "twice": 2, "both": 2, "half": 2, "second": 2},
    **{"third": 3, "quarter": 4, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12, "dozen": 12},
}


def differences(english: str, translation: str) -> list[str]:
    """Compare a Chinese or Japanese translation with its original; describe what differs.

    What one has in figures, the other has in figures or in words; words alone are not compared.
    """
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
    ours, theirs = Counter(_figures(english)), Counter(_figures(translation))
    lost = sorted({*(ours - theirs)} - numbers_in_characters(translation))
    added = sorted({*(theirs - ours)} - numbers_in_english(english))
    if lost or added:
        found.append(f"numbers: {lost} lost, {added} added")
    return found


def _emphases(text: str) -> dict[str, int]:
    """How many parts of a text are bold, italic or links once it is rendered."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    kinds = Counter(child.type for token in tokens for child in token.children or [])
    return {kind: kinds[f"{kind}_open"] for kind in ("strong", "em", "link")}


def _figures(text: str) -> list[str]:
    return [number.replace(",", "") for number in _FIGURES.findall(text)]


def numbers_in_english(text: str) -> set[str]:
    """The numbers that an English text says in words, in figures: "two thirds" are 2 and 3."""
    numbers, last = [], None
    text = text.lower().replace("half a minute", "thirty seconds")
    for hyphen, word in re.findall(r"(-?)([a-z]+)", text):
        value = _ENGLISH.get(word, _ENGLISH.get(word.removesuffix("s")) if len(word) > 3 else None)
        if last and value in _POWERS.values():
            numbers[-1] *= value
        elif last in range(20, 100, 10) and value in range(1, 10) and hyphen:
            numbers[-1] += value
        elif value is not None:
            numbers.append(value)
        last = value
    return set(map(str, numbers))


def numbers_in_characters(text: str) -> set[str]:
    """The numbers that a Chinese or Japanese text says in words, in figures."""
    numbers = set()
    for characters in re.findall("[一二三四五六七八九十百千万]+", text.replace("两", "二")):
        total = part = digit = 0
        for value in map(int, map(unicodedata.numeric, characters)):
            if value < 10:
                digit = value
            elif value < 10_000:
                part, digit = part + (digit or 1) * value, 0
            else:
                total, part, digit = total + (part + digit or 1) * value, 0, 0
        numbers.add(str(total + part + digit))
    return numbers
