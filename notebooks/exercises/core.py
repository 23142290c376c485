"""What all checks share: call the learner's function, compare, answer in one line."""

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


def answers(reason: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Turn a function that raises `NotYet` into a check that prints one line.

    Args:
        reason: why it matters; follows the word "Correct".

    Returns:
        A decorator. The decorated check prints "Correct: ..." or "Not yet: ..." and returns None.
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

        return answer

    return decorate


def call(function: Any, *arguments: Any, given: str, hint: str = "") -> Any:
    """Return what the learner's function answers; it works on copies of the arguments.

    Args:
        function: the learner's.
        arguments: arrays, tensors, images or plain values.
        given: the arguments in words, for the message.
        hint: what to say to an error, if these arguments are an edge case.

    Raises:
        NotYet: it is no function, it raises an error, or it changes an argument in place.
    """
    if not callable(function):
        raise NotYet(
            f"expected the function itself, without brackets, and got {describe(function)}"
        )
    handed = copy.deepcopy(arguments)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # 0 / 0 and its like: the result is what is judged
            result = function(*handed)
    except Exception as error:
        told = f"for {given} the function raises {_one_line(error)}"
        raise NotYet(told + (f". {_capital(hint)}" if hint else "")) from None
    for before, after in zip(arguments, handed, strict=True):
        if isinstance(before, np.ndarray) and _differ(before, after):
            raise NotYet(
                f"for {given} the function changes the array that it was given, so the caller's "
                "data are lost; work on a copy (`array.copy()`)"
            )
    return result


def expect_refusal(function: Any, *arguments: Any, given: str, hint: str) -> None:
    """Make sure that the learner's function raises ValueError for what it should refuse.

    Args:
        function: the learner's.
        arguments: as for `call`.
        given: the arguments in words, for the message.
        hint: why they should be refused.

    Raises:
        NotYet: it returns something, or raises another error.
    """
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


def expect(
    answer: Any,
    expected: Any,
    given: str,
    hint: str = "",
    mistakes: Mapping[str, Any] | None = None,
    tolerance: float = 0.0,
) -> None:
    """Compare, and say what the difference suggests.

    Args:
        answer: the learner's.
        expected: number or array, compared with values, shape and dtype as `compare` does.
        given: what was asked, in words.
        hint: for a difference that none of `mistakes` explains.
        mistakes: hint to the answer that a likely misunderstanding gives.
        tolerance: largest absolute difference of values that passes.

    Raises:
        NotYet: the answer differs.
    """
    if not (difference := compare(answer, expected, tolerance)):
        return
    if difference.startswith("the values are right"):
        raise NotYet(f"for {given}, {difference}")
    for likely, wrong in (mistakes or {}).items():
        if not compare(answer, wrong, tolerance, dtypes=False):
            hint = likely
            break
    raise NotYet(f"for {given}, {difference}" + (f". {_capital(hint)}" if hint else ""))


def compare(answer: Any, expected: Any, tolerance: float = 0.0, dtypes: bool = True) -> str:
    """Say how an answer differs from what is expected.

    Args:
        answer: anything; arrays, tensors on any device, PIL images and numbers are understood.
        expected: number or array; two NaN count as equal.
        tolerance: largest absolute difference that passes.
        dtypes: whether an array of integers must have the very dtype that is expected.

    Returns:
        One phrase on kind, shape, values or dtype, whichever differs first; "" where none does.
    """
    expected = np.asarray(expected)
    found = as_array(answer)
    if found is None:
        return f"the result is {describe(answer)}, expected {describe(expected)}"
    if found.shape != expected.shape:
        return f"the shape is {_shape(found)}, expected {_shape(expected)}"
    wrong = _differ_at(found, expected, tolerance)
    if wrong.any():
        return _first_difference(found, expected, wrong)
    strict = dtypes and expected.ndim and expected.dtype.kind in "iub"
    if strict and found.dtype != expected.dtype:
        return f"the values are right, but the dtype is {found.dtype}, expected {expected.dtype}"
    return ""


def number(answer: Any, name: str) -> float:
    """Return a learner's number as a float.

    Raises:
        NotYet: it is still `...`, or something else than one number.
    """
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


def _differ_at(found: np.ndarray, expected: np.ndarray, tolerance: float) -> np.ndarray:
    # As floats: in uint8, 0 - 255 would be 1.
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        close = (found == expected) | (np.abs(found - expected) <= tolerance)
    return ~(close | (np.isnan(found) & np.isnan(expected)))


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


def _differ(before: np.ndarray, after: Any) -> bool:
    return before.shape != after.shape or bool(_differ_at(after, before, 0).any())


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


def _capital(text: str) -> str:
    return text if text.startswith("`") else text[:1].upper() + text[1:]
