"""What all checks share: call the learner's function, compare, name the mistake in one line.

An answer may be anything: numbers, arrays, tensors on any device, PIL images and dictionaries are
compared, all else is described. `given` says in words what was asked, `hint` what to think of. Each
function raises `NotYet` where an answer is not right yet.
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


class NotYet(Exception):
    """An answer that is not right yet; the message says what differs and gives a hint."""


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
                line = f"Not yet: {problem}"
            else:
                line = f"Correct: {reason}"
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
        likely = ""
        if compare(answer, expected):
            likely = _likely(function, mistakes or {}, arguments, list(cases.values()))
        expect(answer, expected, given, likely or hint)


def _likely(function: Any, mistakes: Mapping, arguments: tuple, others: list[tuple]) -> str:
    """The hint to the mistake that gives this answer; of several, the one with most others."""
    agreeing = {
        hint: sum(_agree(function, mistake, other) for other in others)
        for hint, mistake in mistakes.items()
        if _agree(function, mistake, arguments)
    }
    return max(agreeing, key=agreeing.__getitem__, default="")


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
        raise NotYet(f"expected the function itself, without brackets, not {describe(function)}")
    handed = copy.deepcopy(arguments)
    try:
        with _quiet():
            result = function(*handed)
    except Exception as error:
        raise NotYet(_with(hint, f"for {given} the function raises {_one_line(error)}")) from None
    for before, after in zip(arguments, handed, strict=True):
        if isinstance(before, np.ndarray) and compare(after, before):
            raise NotYet(
                f"for {given} the function changes the array that it was given, so the caller's "
                "data are lost; work on a copy (`array.copy()`)"
            )
    return result


def expect_refusal(function: Any, *arguments: Any, given: str, hint: str) -> None:
    """Make sure that the learner's function raises ValueError for what it should refuse."""
    try:
        answer = function(*copy.deepcopy(arguments))
    except ValueError:
        return
    except Exception as error:
        what = f"the function raises {type(error).__name__}"
    else:
        what = f"the function returns {describe(answer)}"
        found = as_array(answer)
        if found is not None and found.ndim and found.size <= 6:
            what = f"the function returns {found.tolist()} without a word"
    raise NotYet(f"for {given} {what}, expected a ValueError: {hint}")


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
        only_the_dtype = difference.startswith("the values are right")
        raise NotYet(_with("" if only_the_dtype else hint, f"for {given}, {difference}"))


def compare(answer: Any, expected: Any, dtypes: bool = True) -> str:
    """Say whether kind, shape, values or dtype (of integers) differ first; "" if none does.

    `expected` is a number, an array or a dictionary of numbers; two NaN count as equal.
    """
    if isinstance(expected, Mapping):
        return _first_key(answer, expected)
    found, expected = as_array(answer), np.asarray(expected)
    if found is None:
        return f"the result is {describe(answer)}, expected {describe(expected)}"
    if found.shape != expected.shape:
        return f"the shape is {_shape(found)}, expected {_shape(expected)}"
    # As floats: in uint8, 0 - 255 would be 1.
    values, wanted = found.astype(np.float64), expected.astype(np.float64)
    # As equal as sums in float32 are, and as schedules are that end at 1e-7 instead of 0.
    close = 2e-7 + 1e-5 * np.abs(wanted[np.isfinite(wanted)]).max(initial=0)
    wrong = ~np.isclose(values, wanted, rtol=0, atol=close, equal_nan=True)
    if wrong.any():
        return _first_difference(found, expected, wrong)
    strict = dtypes and expected.ndim and expected.dtype.kind in "iub"
    if strict and found.dtype != expected.dtype:
        return f"the values are right, but the dtype is {found.dtype}, expected {expected.dtype}"
    return ""


def number(answer: Any, name: str) -> float:
    """Return a learner's number, if it is one."""
    found = as_array(answer)
    if found is None or found.ndim or found.dtype.kind == "b":
        raise NotYet(f"{name} is {describe(answer)}, expected a number")
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
        return "None (is there a `return`?)"
    if value is Ellipsis:
        return "still `...`"
    if isinstance(value, (bool, int, float, np.number)):
        return f"{value:.6g}" if isinstance(value, (float, np.floating)) else f"{value}"[:40]
    if isinstance(value, str):
        return f"the string {value[:40]!r}"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {_shape(value)}"
    if isinstance(value, np.ndarray):
        return "a number"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def _first_key(answer: Any, expected: Mapping) -> str:
    if not isinstance(answer, Mapping):
        return f"the result is {describe(answer)}, expected a dictionary"
    for key in [*expected, *answer]:
        if key not in answer:
            return f"{_name(key)} is missing"
        if key not in expected:
            return f"{_name(key)} should not be there"
        if compare(answer[key], expected[key]):
            return f"{_name(key)} is {describe(answer[key])}, expected {describe(expected[key])}"
    return ""


def _name(key: Any) -> str:
    if isinstance(key, tuple) and as_array(key) is not None:
        return f"colour {tuple(as_array(key).tolist())}"[:60]
    return repr(key[:40]) if isinstance(key, str) else describe(key)


def _first_difference(found: np.ndarray, expected: np.ndarray, wrong: np.ndarray) -> str:
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    pair = f"{describe(found[index])}, expected {describe(expected[index])}"
    if not found.ndim:
        return f"the result is {pair}"
    values = "values differs" if wrong.sum() == 1 else "values differ"
    text = f"{wrong.sum()} of {wrong.size} {values}, the first at {list(index)}: {pair}"
    largest = np.abs(found.astype(np.float64) - expected.astype(np.float64)).max()
    if found.dtype.kind == "f" and 0 < largest < 0.01:
        text += f" (near: they differ by {largest:.1g} at most)"
    return text


def _shape(array: np.ndarray) -> str:
    return str(tuple(int(side) for side in array.shape)) if array.ndim else "that of one number"


def _one_line(error: Exception) -> str:
    """An error's name and first line, without addresses, which differ from run to run."""
    try:
        first = (str(error).strip().splitlines() or [""])[0]
    except Exception:  # a learner's own class of errors may fail at this, too
        first = ""
    first = re.sub(r"0x[0-9a-fA-F]+", "0x...", first)[:160]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _with(hint: str, text: str) -> str:
    return f"{text.rstrip('.')}. {hint[0].upper()}{hint[1:]}" if hint else text
