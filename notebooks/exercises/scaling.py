"""Checks of notebook 09, scaling and sharing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from helpers.language import say
from notebooks.exercises.core import (
    NotYet,
    answers,
    call,
    describe,
    expect_refusal,
    judge,
    wrong_for,
)

_GENERATOR_MISTAKES = {  # seed, worker
    "all workers draw the same in every epoch: use both arguments": lambda seed, worker: (
        np.random.default_rng(0)
    ),
    "all workers of an epoch draw the same: use the worker's number too": lambda seed, worker: (
        np.random.default_rng(seed)
    ),
    "every epoch draws the same again: use the seed too": lambda seed, worker: (
        np.random.default_rng(worker)
    ),
    "seed + worker is 8 for both: give default_rng the pair": lambda seed, worker: (
        np.random.default_rng(seed + worker)
    ),
    "a product is 0 for every worker 0: give default_rng the pair": lambda seed, worker: (
        np.random.default_rng(seed * worker)
    ),
    "the same two arguments give other numbers each time: nobody can repeat such a run": (
        lambda seed, worker: np.random.default_rng()
    ),
}


@answers(
    "no worker repeats another one, in this epoch or in the next, and the whole run can still be "
    "repeated from its seed.",
    _GENERATOR_MISTAKES,
)
def check_worker_generator(worker_generator: Any) -> None:
    """Give each worker of each epoch a generator of its own."""

    def drawn(seed: int, worker: int) -> tuple[float, ...]:
        given = say("seed {seed} and worker {worker}", seed, worker)
        random = call(worker_generator, seed, worker, given=given)
        if not isinstance(random, np.random.Generator | np.random.RandomState):
            raise wrong_for(given, "the result is {found}, expected a generator", describe(random))
        return tuple(random.random(3))

    hints = [*map(say, _GENERATOR_MISTAKES)]
    if drawn(7, 1) != drawn(7, 1):
        raise NotYet("for seed 7 and worker 1, {hint}", hints[5])
    workers = len({drawn(7, worker) for worker in range(4)}) < 4
    epochs = len({drawn(seed, 1) for seed in range(7, 11)}) < 4
    if workers or epochs:
        raise NotYet("{hint}", hints[0 if workers and epochs else 1 if workers else 2])
    if drawn(7, 0) == drawn(8, 0):
        raise NotYet("seed 7 and seed 8: {hint}", hints[4])
    if drawn(7, 1) == drawn(8, 0):
        text = "worker 1 at seed 7 draws what worker 0 draws at seed 8, one epoch later: {hint}"
        raise NotYet(text, hints[3])
    everyone = [(seed, worker) for seed in range(7, 12) for worker in range(6)]
    seen: dict[tuple[float, ...], tuple[int, int]] = {}
    for pair in everyone:
        twin = seen.setdefault(drawn(*pair), pair)
        if twin != pair:
            raise NotYet("seed and worker {twin} and {pair} draw the same numbers", twin, pair)


def _bottleneck(
    seconds: dict[int, float], whole: Callable[[float], int] = math.ceil
) -> tuple[float, int]:
    computing, alone = seconds[4], seconds[1]
    if computing <= 1.02 * alone / 4:
        raise ValueError("4 workers are too few")
    return computing, whole(alone / computing)


def _measured(seconds: dict[int, float]) -> tuple[float, int]:
    computing = min(seconds.values())
    return computing, min(n for n in seconds if seconds[n] == computing)


_BOTTLENECK_MISTAKES = {
    "the number need not be one that was measured: one worker's time over the GPU's, rounded up": (
        _measured
    ),
    "round up: with a part of a worker too few, the GPU waits": (
        partial(_bottleneck, whole=math.floor)
    ),
    "too many: round up only what is left over": (
        partial(_bottleneck, whole=lambda ratio: math.floor(ratio) + 1)
    ),
    "with one worker the step may wait for images; computing is what remains with enough of them": (
        lambda seconds: (seconds[1], _bottleneck(seconds)[1])
    ),
    "the seconds come first, then the workers": lambda seconds: _bottleneck(seconds)[::-1],
}


@answers(
    "below this number of workers, a faster GPU would only wait longer; above it, more workers "
    "would. Three short measurements tell which of the two to pay for.",
    _BOTTLENECK_MISTAKES,
)
def check_bottleneck(bottleneck: Any) -> None:
    """From the times of a step with 1, 2 and 4 workers to what the step waits for."""
    measured = (
        {1: 0.48, 2: 0.24, 4: 0.15},
        {1: 0.5, 2: 0.4, 4: 0.4},
        {1: 0.9, 2: 0.45, 4: 0.31},
        {1: 0.2, 2: 0.2, 4: 0.2},
    )
    cases = {f"{seconds}": (seconds,) for seconds in measured}
    hint = say("the time with 4 workers is the GPU's; one worker's time divided by it, rounded up")
    judge(bottleneck, lambda one: np.array(_bottleneck(one)), cases, hint, _BOTTLENECK_MISTAKES)
    for seconds in ({1: 0.8, 2: 0.4, 4: 0.2}, {1: 0.8, 2: 0.4, 4: 0.203}):
        hint = say("with 4 workers the time still falls to a quarter: the step waits for images")
        expect_refusal(bottleneck, seconds, given=f"{seconds}", hint=hint)


def _sentence(
    score: float,
    low: float,
    high: float,
    images: int,
    protocol: str,
    digits: int = 1,
    scale: float = 100,
) -> str:
    numbers = (f"{scale * number:.{digits}f}" for number in (score, low, high))
    return "mean IoU {} % ({} to {}, ".format(*numbers) + f"{images} images; {protocol})"


_SENTENCE_MISTAKES = {  # score, low, high, images, protocol
    "a score without its interval says more than you know": (
        lambda score, low, high, images, protocol: f"{100 * score:.1f}, {images}, {protocol}"
    ),
    "the digits after the first are noise beside the interval": partial(_sentence, digits=3),
    "whole percents hide what differs: one digit after the point": partial(_sentence, digits=0),
    "in percent, please: 100 times the fraction": partial(_sentence, digits=3, scale=1),
    "how many images? On ten of them, the same interval would mean little": (
        lambda *given: _sentence(*given[:3], "test", given[4])
    ),
    "without its protocol, nobody can compare the score": lambda *given: _sentence(*given[:4], ""),
}


@answers(
    "score, interval, number of images, protocol: with these four, somebody else can measure the "
    "same and say whether they agree.",
    _SENTENCE_MISTAKES,
)
def check_card_sentence(card_sentence: Any) -> None:
    """Write the sentence of a model card that states the result."""
    cases = (
        (0.6378, 0.6149, 0.6689, 40, "short side 512, whole images"),
        (0.7, 0.66, 0.7512, 120, "the image processor's size, with flip"),
    )
    bare, noisy, whole, fraction, images_missing, protocol_missing = map(say, _SENTENCE_MISTAKES)
    for score, low, high, images, protocol in cases:
        numbers = ", ".join(map(str, (score, low, high, images)))
        given = say("{numbers} and {protocol!r}", numbers, protocol)
        text = call(card_sentence, score, low, high, images, protocol, given=given)
        if not isinstance(text, str):
            raise wrong_for(given, "the result is {found}, expected a text", describe(text))
        if protocol not in text:
            raise wrong_for(given, "the protocol is missing: {hint}", protocol_missing)
        numbers = re.findall(r"\d+(?:\.\d+)?", text.replace(protocol, ""))
        names = say("score"), say("lower end"), say("upper end")
        for name, number in zip(names, (score, low, high), strict=True):
            if f"{100 * number:.1f}" in numbers:
                continue
            near = [one for one in numbers if abs(float(one) - 100 * number) < 0.51]
            digits = max((len(one.partition(".")[2]) for one in near), default=None)
            small = [one for one in numbers if abs(float(one) - number) < 0.006]
            hint = fraction if small else bare
            if digits is not None:
                hint = [whole, say("round it, do not cut it off"), noisy][min(digits, 2)]
            raise wrong_for(
                given, "the {name} is not {percent:.1f}: {hint}", name, 100 * number, hint
            )
        if str(images) not in numbers:
            raise wrong_for(given, "{images} is missing: {hint}", images, images_missing)
