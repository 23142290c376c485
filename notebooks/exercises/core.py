"""What all checks share: call the learner's function, compare, name the mistake in one line.

An answer may be anything: numbers, arrays, tensors on any device, PIL images and dictionaries are
compared, all else is described. `given` says in words what was asked, `hint` what to think of. Each
function raises `NotYet` where an answer is not right yet.

All is told in the notebook's language: `NotYet` and `say` look a text up. The reason of a check and
the hints of its table of mistakes are looked up when they are told.
"""

from __future__ import annotations

import copy
import functools
import random
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from helpers.language import say


class NotYet(Exception):
    """An answer that is not right yet; the text, as `say` takes it, says what differs and why."""

    def __init__(self, text: str, *values: Any) -> None:
        super().__init__(say(text, *values))


def wrong_for(given: str, text: str, *values: Any) -> NotYet:
    """What is not right yet in one of the cases, as in "for two equal masks the result is 0"."""
    return NotYet("for {given} {what}", given, say(text, *values))


def answers(reason: str, mistakes: Mapping[str, Any] | None = None) -> Callable[..., Any]:
    """Turn a function that raises `NotYet` into a check that prints "Correct: {reason}" or why not.

    `mistakes` leads from a hint to the wrong answer that gets it, a tuple if the check takes
    several answers. The check carries them, and the tests try each.
    """

    def decorate(check: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(check)
        def answer(*arguments: Any) -> None:
            try:
                check(*arguments)
            except NotYet as problem:
                line = say("Not yet: {problem}", problem)
            else:
                line = say("Correct: {reason}", say(reason))
            print(" ".join(line.split()))

        answer.mistakes = mistakes or {}
        return answer

    return decorate


def judge(
    function: Any,
    right: Callable[..., Any],
    cases: Mapping[str, tuple],
    hint: str,
    mistakes: Mapping[str, Callable[..., Any]] | None = None,
) -> None:
    """Try the learner's function on each case, and name the mistake that gives its answer.

    `right` is a solution, and `cases` lead from the arguments in words to the arguments. `hint` is
    for errors and for answers that none of the `mistakes` gives, functions by their hints.
    """
    for given, arguments in cases.items():
        answer = call(function, *arguments, given=given, hint=hint)
        with _quiet():
            expected = right(*copy.deepcopy(arguments))
        likely = None
        if compare(answer, expected):
            likely = _likely(function, mistakes or {}, arguments, list(cases.values()))
        expect(answer, expected, given, say(likely) if likely else hint)


def _likely(function: Any, mistakes: Mapping, arguments: tuple, others: list[tuple]) -> str | None:
    """The hint to the mistake that gives this answer; of several, the one with most others."""
    agreeing = {
        hint: sum(_agree(function, mistake, other) for other in others)
        for hint, mistake in mistakes.items()
        if _agree(function, mistake, arguments)
    }
    return max(agreeing, key=agreeing.__getitem__, default=None)


def _agree(function: Any, mistake: Callable[..., Any], arguments: tuple) -> bool:
    try:
        with _quiet():
            answer = function(*copy.deepcopy(arguments))
            wrong = mistake(*copy.deepcopy(arguments))
        return not compare(answer, wrong, dtypes=False)
    except Exception:
        return False


@contextmanager
def _quiet() -> Iterator[None]:
    """Warn of nothing, as 0 / 0 does: the result is what is judged."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def call(function: Any, *arguments: Any, given: str, hint: str = "") -> Any:
    """Return the learner's result, unless it is an error or an array given is changed in place."""
    if not callable(function):
        raise NotYet(
            "expected the function itself, without brackets, not {found}", describe(function)
        )
    handed = copy.deepcopy(arguments)
    try:
        with _quiet():
            result = function(*handed)
    except Exception as error:
        text = say("for {given} the function raises {error}", given, _one_line(error))
        raise _hinting(hint, text) from None
    for before, after in zip(arguments, handed, strict=True):
        if isinstance(before, np.ndarray) and compare(after, before):
            raise wrong_for(
                given,
                "the function changes the array that it was given, so the caller's data are lost; "
                "work on a copy (`array.copy()`)",
            )
    return result


def expect_refusal(function: Any, *arguments: Any, given: str, hint: str) -> None:
    """Make sure that the learner's function raises ValueError for what it should refuse."""
    try:
        answer = function(*copy.deepcopy(arguments))
    except ValueError:
        return
    except Exception as error:
        what = say("the function raises {error}", type(error).__name__)
    else:
        what = say("the function returns {found}", describe(answer))
        found = as_array(answer)
        if found is not None and found.ndim and found.size <= 6:
            what = say("the function returns {found} without a word", found.tolist())
    raise wrong_for(given, "{what}, expected a ValueError: {hint}", what, hint)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed whichever dice a learner may throw, and leave the notebook's own as they were."""
    import torch

    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002


def expect(answer: Any, expected: Any, given: str, hint: str) -> None:
    """Make sure that an answer is the expected one."""
    if difference := compare(answer, expected):
        only_the_dtype = not compare(answer, expected, dtypes=False)
        text = say("for {given}, {difference}", given, difference)
        raise _hinting("" if only_the_dtype else hint, text)


def compare(answer: Any, expected: Any, dtypes: bool = True) -> str:
    """Say whether kind, shape, values or dtype (of integers) differ first; "" if none does.

    `expected` is a number, an array or a dictionary of numbers; two NaN count as equal.
    """
    if isinstance(expected, Mapping):
        return _first_key(answer, expected)
    found, expected = as_array(answer), np.asarray(expected)
    if found is None:
        return _unlike(describe(answer), describe(expected))
    if found.shape != expected.shape:
        return say("the shape is {found}, expected {expected}", _shape(found), _shape(expected))
    # As floats: in uint8, 0 - 255 would be 1.
    values, wanted = found.astype(np.float64), expected.astype(np.float64)
    # As equal as sums in float32 are, and as schedules are that end at 1e-7 instead of 0.
    close = 2e-7 + 1e-5 * np.abs(wanted[np.isfinite(wanted)]).max(initial=0)
    wrong = ~np.isclose(values, wanted, rtol=0, atol=close, equal_nan=True)
    if wrong.any():
        return _first_difference(found, expected, wrong)
    strict = dtypes and expected.ndim and expected.dtype.kind in "iub"
    if strict and found.dtype != expected.dtype:
        text = say("the dtype is {found}, expected {expected}", found.dtype, expected.dtype)
        return say("the values are right, but {text}", text)
    return ""


def number(answer: Any, name: str) -> float:
    """Return a learner's number, if it is one."""
    found = as_array(answer)
    if found is None or found.ndim or found.dtype.kind == "b":
        raise NotYet("{name} is {found}, expected a number", name, describe(answer))
    return float(found)


def as_array(answer: Any) -> np.ndarray | None:
    """Return numbers of any kind as an array; None if they are no numbers."""
    try:
        if hasattr(answer, "detach"):  # a tensor, which may lie on a GPU
            answer = answer.detach().cpu()
        found = np.asarray(answer)
    except Exception:
        return None
    return found if found.dtype.kind in "biuf" else None


def describe(value: Any) -> str:
    """Name a value in words that are the same in every run."""
    if value is None:
        return say("None (is there a `return`?)")
    if value is Ellipsis:
        return say("still `...`")
    if isinstance(value, (bool, int, float, np.number)):
        return f"{value:.6g}" if isinstance(value, (float, np.floating)) else f"{value}"[:40]
    if isinstance(value, str):
        return say("the string {text!r}", value[:40])
    if isinstance(value, np.ndarray) and value.ndim:
        return say("an array of shape {shape}", _shape(value))
    if isinstance(value, np.ndarray):
        return say("a number")
    kind = type(value).__name__
    starts_with_vowel = kind[0] in "aeiouAEIOU"
    return say("an {kind}" if starts_with_vowel else "a {kind}", kind)


def _unlike(found: str, expected: str) -> str:
    return say("the result is {found}, expected {expected}", found, expected)


def _first_key(answer: Any, expected: Mapping) -> str:
    if not isinstance(answer, Mapping):
        return say("the result is {found}, expected a dictionary", describe(answer))
    for key in [*expected, *answer]:
        if key not in answer:
            return say("{name} is missing", _name(key))
        if key not in expected:
            return say("{name} should not be there", _name(key))
        if compare(answer[key], expected[key]):
            pair = describe(answer[key]), describe(expected[key])
            return say("{name} is {found}, expected {expected}", _name(key), *pair)
    return ""


def _name(key: Any) -> str:
    if isinstance(key, tuple) and as_array(key) is not None:
        return say("colour {color}", tuple(as_array(key).tolist()))[:60]
    return repr(key[:40]) if isinstance(key, str) else describe(key)


def _first_difference(found: np.ndarray, expected: np.ndarray, wrong: np.ndarray) -> str:
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    pair = describe(found[index]), describe(expected[index])
    if not found.ndim:
        return _unlike(*pair)
    count = say("{wrong} of {size} values differ", wrong.sum(), wrong.size)
    if wrong.sum() == 1:
        count = say("1 of {size} values differs", wrong.size)
    text = say(
        "{count}, the first at {index}: {found}, expected {expected}", count, list(index), *pair
    )
    largest = np.abs(found.astype(np.float64) - expected.astype(np.float64)).max()
    if found.dtype.kind == "f" and 0 < largest < 0.01:
        text = say("{text} (near: they differ by {largest:.1g} at most)", text, largest)
    return text


def _shape(array: np.ndarray) -> str:
    return str(tuple(map(int, array.shape))) if array.ndim else say("that of one number")


def _one_line(error: Exception) -> str:
    """An error's name and first line, without addresses, which differ from run to run."""
    try:
        first = (str(error).strip().splitlines() or [""])[0]
    except Exception:  # a learner's own class of errors may fail at this, too
        first = ""
    first = re.sub(r"0x[0-9a-fA-F]+", "0x...", first)[:160]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _hinting(hint: str, text: str) -> NotYet:
    if not hint:
        return NotYet("{text}", text)
    return NotYet("{text}. {hint}", text.rstrip("."), f"{hint[0].upper()}{hint[1:]}")
