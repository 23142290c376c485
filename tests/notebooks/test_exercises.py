"""The exercises' checks: solutions pass, wrong answers get a fitting hint, nothing crashes.

The solutions are those that fold out in the notebooks, so what a reader sees is what is tested. The
mistakes are those that the checks declare; what is odd in another way stands in a table here.
"""

# ruff: noqa: E501 - a table reads best with one answer in a line

import ast
import math
import random
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Any, NamedTuple

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from helpers.labels import ADE20K
from helpers.language import say
from helpers.profiles import REPOSITORY
from notebooks.exercises import custom_dataset, inference, mean_iou, scaling, scores
from notebooks.exercises.core import compare
from notebooks.exercises.segmentation_types import car_probability
from tools.course.messages import messages
from tools.course.translations import LANGUAGES, TRANSLATED, notebook_file

NOTEBOOKS = REPOSITORY / "notebooks"
CHECKS = {
    name: value
    for path in sorted((NOTEBOOKS / "exercises").glob("[a-z]*.py"))
    for name, value in vars(import_module(f"notebooks.exercises.{path.stem}")).items()
    if name.startswith("check_")
}


class Exercise(NamedTuple):
    """One exercise of a notebook: its stub with the check's call, and the solution below it.

    `stored` is what the stub is answered in each language.
    """

    check: str
    call: str
    stub: str
    stored: dict[str, str]
    solution: str
    setup: str


def read_exercises() -> list[Exercise]:
    """All exercises of all notebooks, in order."""
    found = []
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        translations = {
            code: nbformat.read(notebook_file(path.stem, code), as_version=4).cells
            for code in LANGUAGES
        }
        cells = translations["en"]
        (setup,) = [cell for cell in cells if "imports" in cell.metadata.get("tags", [])]
        for number, (cell, following) in enumerate(pairwise(cells)):
            call = re.search(r"^checks\.(check_\w+)\(.*\)$", cell.source, flags=re.MULTILINE)
            if call and cell.cell_type == "code":
                stored = {
                    code: "".join(output.get("text", "") for output in others[number].outputs)
                    for code, others in translations.items()
                }
                solution = re.search(r"```python\n(.*?)```", following.source, flags=re.DOTALL)
                found.append(
                    Exercise(call[1], call[0], cell.source, stored, solution[1], setup.source)
                )
    return found


EXERCISES = read_exercises()
each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.check)


@cache
def imported(setup: str) -> dict[str, Any]:
    """What a set-up cell imports, and nothing else of it."""
    space: dict[str, Any] = {}
    for node in ast.walk(ast.parse(setup)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(ast.unparse(node), space)
    return space


def namespace(exercise: Exercise) -> dict[str, Any]:
    # Notebook 02 gives these three facts short names.
    facts = {"label2id": ADE20K.label2id, "id2label": ADE20K.id2label, "ignore_index": 255}
    return {**imported(exercise.setup), **facts}


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a check printed."""
    printed = capsys.readouterr().out
    assert printed.endswith("\n")
    assert printed.count("\n") == 1
    assert len(printed) < 420, "nobody reads a line that long"
    return printed.strip()


def test_every_check_belongs_to_an_exercise() -> None:
    assert sorted(exercise.check for exercise in EXERCISES) == sorted(CHECKS)


@each_exercise
def test_the_stub_runs_as_given_and_says_not_yet(exercise: Exercise, capsys) -> None:
    exec(exercise.stub, namespace(exercise))
    assert (line := told(capsys)).startswith("Not yet: ")
    assert exercise.stored["en"].strip() == line


@each_exercise
def test_the_notebooks_solution_is_accepted(exercise: Exercise, capsys) -> None:
    space = namespace(exercise)
    exec(exercise.stub, space)
    capsys.readouterr()
    exec(exercise.solution, space)
    exec(exercise.call, space)
    assert re.match(r"Correct: \w.{60,}\.$", told(capsys))


# --- other right answers --------------------------------------------------------------------------


def labels_by_table(mask: Image.Image, table: Any = {0: 255, 10: 0, 20: 1, 30: 2}) -> np.ndarray:  # noqa: B006
    values = np.asarray(mask)
    if unknown := set(values.ravel().tolist()) - set(table):
        raise ValueError(unknown)
    return np.vectorize(table.get, otypes=[np.uint8])(values)


ALSO_RIGHT: list[tuple[str, Any]] = [
    ("check_areas_and_cars", (3.0, np.int64(3), 7)),
    ("check_splitting_threshold", (np.float32(0.8),)),
    ("check_count_things", (lambda p: {
        ADE20K.id2label[k]: np.int64(len({i for c, i in p.reshape(-1, 2).tolist() if c == k and i}))
        for k in {c for c, i in p.reshape(-1, 2).tolist() if i}
    },)),
    ("check_mislabelled_class", (" Person",)),
    ("check_random_flip", (lambda image, annotation: v2.RandomHorizontalFlip()(image, annotation),)),
    ("check_iou", (lambda p, r: np.divide((p & r).sum(), (p | r).sum()),)),
    ("check_iou", (lambda p, r: torch.tensor(float((p & r).sum() / (p | r).sum())),)),
    ("check_two_pixels", ([[0, 0, 1, 1], [0, 0, 1, 2], [0, 2, 1, 1], [2, 2, 2, 1]],)),
    ("check_logits_shape", (torch.Size([8, 19, 96, 128]),)),
    ("check_target_size", ([(480, 640)],)),
    ("check_to_labels", (labels_by_table,)),
    ("check_group_split", (custom_dataset._split_by(lambda train, val: [np.array(train), np.array(val)]),)),
    ("check_bootstrap_mean_iou", (lambda areas, draws: scores._resampled(areas, draws).tolist(),)),
    ("check_worker_generator", (lambda seed, worker: np.random.default_rng([worker, seed]),)),
    ("check_worker_generator", (lambda seed, worker: np.random.RandomState(100 * seed + worker),)),
    ("check_bottleneck", (lambda seconds: list(scaling._bottleneck(seconds)),)),
    ("check_card_sentence", (lambda *given: f"在 {given[3]} 张图像上 {scaling._sentence(*given)}",)),
    ("check_compare_models", (lambda *given: tuple(scores._compared(*given)),)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "answer"), ALSO_RIGHT, ids=lambda v: v if isinstance(v, str) else ""
)
def test_other_right_answers_are_accepted(check: str, answer: tuple, capsys) -> None:
    CHECKS[check](*answer)
    assert told(capsys).startswith("Correct: ")


# --- wrong answers --------------------------------------------------------------------------------


def reduced(annotation: np.ndarray) -> np.ndarray:
    if annotation.max() > 150:
        raise ValueError("reduced before")
    return np.where(annotation == 0, 255, annotation.astype(int) - 1).astype(np.uint8)


def reduced_in_place(annotation: np.ndarray) -> np.ndarray:
    annotation -= 1
    return annotation


def mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def maybe(move: Callable[[Image.Image, Image.Image], tuple]) -> Any:
    """The pair moved in half of the calls."""
    return lambda image, annotation: (
        move(image, annotation) if torch.rand(()) < 0.5 else (image, annotation)
    )


def iou_of_counts(p: np.ndarray, r: np.ndarray, n: int) -> float:
    """Mean IoU from a confusion matrix whose keys are uint8, and overflow."""
    p, r = p[r < 255], r[r < 255]
    counts = np.bincount(n * r + p, minlength=n**2)[: n**2].reshape(n, n)
    both, areas = counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1)
    return np.nanmean(both / (areas - both))


FOUR = [[0, 0, 0, 1], [0, 0, 1, 1], [0, 2, 1, 1], [2, 2, 2, 1]]
FIXED = [[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 1, 1], [2, 2, 2, 2]]
WORSE = [[0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 2]]

ODD: list[tuple[str, tuple, str]] = [
    ("check_splitting_threshold", (0.7,), "still one"),
    ("check_splitting_threshold", (0.9,), "the near cars are parted, but the far one, nowhere above 0.83, is gone"),
    ("check_splitting_threshold", (0,), "the whole image"),
    ("check_splitting_threshold", (float("nan"),), "between 0 and 1"),
    ("check_count_things", (lambda p: {ADE20K.id2label[k]: 1 for k in p[..., 0].ravel().tolist()},), "255 is void and has no name"),
    ("check_count_things", (lambda p: dict.fromkeys(p[..., 0].ravel().tolist(), 1),), "ADE20K.id2label turns"),
    ("check_count_things", (lambda p: {"road": 1, "car": 2, "person": 1},), "stuff has the id 0"),
    ("check_count_things", (lambda p: {"car": {1, 2}, "person": {3}},), "`len` tells"),
    ("check_count_things", (lambda p: len(np.unique(p[..., 1])) - 1,), "expected a dictionary"),
    ("check_mislabelled_class", ("pavement",), "none of the 150 names"),
    ("check_reduce_labels", (reduced_in_place,), "changes the array that it was given"),
    ("check_reduce_labels", (lambda a: reduced(a % 151),), "expected a ValueError"),
    ("check_reduce_labels", (reduced,), "nothing below 0 has a meaning"),
    ("check_random_flip", (maybe(lambda i, a: (mirrored(i), a)),), "throw the dice once"),
    ("check_random_flip", (lambda i, a: v2.RandomHorizontalFlip()(i, torch.from_numpy(np.array(a))),), "v2 does not move a plain tensor"),
    ("check_random_flip", (maybe(lambda i, a: (i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),) * 2),), "upside down"),
    ("check_random_flip", (lambda i, a: (mirrored(i), mirrored(a)),), "100 of 100 calls"),
    ("check_random_flip", (lambda i, a: (mirrored(i), mirrored(a)) if np.random.default_rng(0).random() > 0.5 else (i, a),), "thrown again in each call"),
    ("check_pad_to_square", (lambda i, a: (np.pad(i, ((0, 2), (0, 0), (0, 0))), a),), "annotation keeps its size"),
    ("check_iou", (lambda p, r: (p & r).sum() / max(1, (p | r).sum()),), "0 / 0 is neither"),
    ("check_two_pixels", ([[0, 0, 1, 1], *FOUR[1:]],), "1 pixel is changed"),
    ("check_two_pixels", (FIXED,), "15 pixels are right"),
    ("check_two_pixels", (WORSE,), "the mean IoU falls"),
    ("check_two_pixels", ([[3, 0, 1, 1], *FOUR[1:]],), "none of 0, 1 and 2"),
    ("check_mean_iou", (lambda p, r, n: np.nan_to_num(mean_iou._mean_iou(p, r, n)),), "no class has a score"),
    ("check_mean_iou", (iou_of_counts,), "wraps at 256"),
    ("check_logits_shape", ((8, 19, 384, 512),), "labels' size"),
    ("check_logits_shape", ((8, 150, 96, 128),), "ADE20K's"),
    ("check_logits_shape", ((8, 19, 128, 96),), "rows and columns are exchanged"),
    ("check_logits_shape", ((19, 96, 128),), "a model sees a batch"),
    ("check_batch_loss", (lambda m, n: (m * n)[n > 0].sum() / n.sum(),), "spread to every average"),
    ("check_learning_rate", (lambda s, p, w, t: min(p * s / w, p * (t - s) / (t - w)),), "division by zero. Without a warm-up"),
    ("check_target_size", (480,), "expected two numbers"),
    ("check_average_of_sizes", (lambda a, b, size: (a + b) / 2,), "raises RuntimeError"),
    ("check_doubtful_pixels", (lambda x, size, t: inference._doubtful(x, size[::-1], t),), "the shape is (20, 9), expected (9, 20)"),
    ("check_to_labels", (lambda m: Image.fromarray(labels_by_table(m)),), "np.asarray turns one into the other"),
    ("check_to_labels", (lambda m: labels_by_table(m.convert("L")),), "(mode P) the function raises ValueError"),
    ("check_to_labels", (lambda m: np.asarray(m.convert("L")) // 10 - np.uint8(1),), "in a palette PNG the indices are the values"),
    ("check_to_labels", (lambda m: np.asarray(m) // 10 - np.uint8(1),), "holds 40 the function returns [[255, 0], [3, 2]] without a word"),
    ("check_group_split", (custom_dataset._split_by(lambda train, val: (sorted(train + val), val)),), "is in both parts"),
    ("check_group_split", (custom_dataset._split_by(lambda train, val: (train[1:], val)),), "is in neither part"),
    ("check_group_split", (custom_dataset._split_by(lambda train, val: (train, val + val)),), "in one part twice"),
    ("check_group_split", (custom_dataset._split_by(lambda train, val: ([k + 1 for k in train], [k + 1 for k in val])),), "holds 20, expected two lists, training and validation, of indices from 0 to 19"),
    ("check_group_split", (custom_dataset._split_by(count_of=math.ceil),), "2 of 4 groups go to validation, expected 1"),
    ("check_group_split", (lambda groups, fraction, seed: custom_dataset._split_by()(groups, fraction, np.random.mtrand._rand.randint(10)),), "two calls give two splits"),
    ("check_worker_generator", (lambda seed, worker: seed + worker,), "expected a generator"),
    ("check_worker_generator", (lambda seed, worker: np.random.default_rng(2 * seed + worker),), "(7, 2) and (8, 0) draw the same"),
    ("check_bottleneck", (lambda seconds: (seconds[4], math.ceil(seconds[1] / seconds[4])),), "the function returns [0.2, 4.0] without a word"),
    ("check_card_sentence", (lambda *given: given,), "expected a text"),
    ("check_card_sentence", (lambda *given: scaling._sentence(*given).replace("66.9", "66.8"),), "the upper end is not 66.9: round it"),
    ("check_boundary_iou", (lambda *given: np.nan_to_num(scores._iou_of(scores._rim)(*given)),), "return NaN"),
    ("check_bootstrap_mean_iou", (lambda a, d: scores._resampled(a, d).mean(),), "expected (4,)"),
    ("check_compare_models", (lambda *given: scores._compared(*given)[0],), "expected (3,)"),
    ("check_compare_models", (lambda *given: scores._compared(*given)[[0, 2, 1]],), "percentiles 2.5 and 97.5"),
]  # fmt: skip


def arguments_of(check: str) -> int:
    return CHECKS[check].__wrapped__.__code__.co_argcount


DECLARED = [
    (check, answer if arguments_of(check) > 1 else (answer,), hint)
    for check, function in CHECKS.items()
    for hint, answer in function.mistakes.items()
]
WRONG = DECLARED + ODD


@pytest.mark.parametrize(("check", "answer", "hint"), WRONG, ids=[f"{c}-{h}" for c, _, h in WRONG])
def test_a_wrong_answer_gets_a_fitting_hint(check: str, answer: tuple, hint: str, capsys) -> None:
    CHECKS[check](*answer)
    line = told(capsys)
    assert line.startswith("Not yet: ")
    assert hint.casefold() in line.casefold()
    CHECKS[check](*answer)
    assert told(capsys) == line, "the same answer got another line"


# --- in other languages ---------------------------------------------------------------------------

BEGIN = {"zh": ("还不对：", "正确："), "ja": ("まだです：", "正解です：")}
# What is English in every language: code, strings, and what an error says.
KEPT = re.compile(r"`[^`]+`|'[^']*'|\"[^\"]*\"|Error: .+?(?=。)|PIL|NumPy")


def english_in(line: str) -> list[str]:
    """Two words of English beside one another, which no formula has."""
    return re.findall(r"[A-Za-z]{2,} [a-z]{2,}", KEPT.sub("", line))


def test_every_hint_is_in_the_catalogues() -> None:
    hints = {hint for function in CHECKS.values() for hint in function.mistakes}
    assert hints <= set(messages())


@pytest.mark.parametrize("language", TRANSLATED)
@each_exercise
def test_stub_and_solution_are_answered_in_the_notebooks_language(
    exercise, language, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("SEG_LANGUAGE", language)
    space = namespace(exercise)
    exec(exercise.stub, space)
    exec(exercise.solution, space)
    exec(exercise.call, space)
    lines = capsys.readouterr().out.splitlines()
    for line, beginning in zip(lines, BEGIN[language], strict=True):
        assert line.startswith(beginning)
        assert english_in(line) == []
    assert exercise.stored[language].strip() == lines[0], "run `make refresh`"


@pytest.mark.parametrize("language", TRANSLATED)
@pytest.mark.parametrize(("check", "answer", "hint"), WRONG, ids=[f"{c}-{h}" for c, _, h in WRONG])
def test_a_wrong_answer_gets_its_hint_in_the_notebooks_language(
    check, answer, hint, language, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("SEG_LANGUAGE", language)
    CHECKS[check](*answer)
    line = told(capsys)
    assert line.startswith(BEGIN[language][0])
    assert english_in(line) == []
    if hint in CHECKS[check].mistakes:
        assert say(hint) != hint
        assert say(hint) in line


# --- whatever a learner may return ----------------------------------------------------------------


class Hostile:
    """Fails at whatever NumPy asks it."""

    def __array__(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("no")

    def detach(self) -> None:
        raise RuntimeError("no")


def fails(*_: Any) -> None:
    raise KeyError("wall at 0x7f00deadbeef\nand more")


VALUES = [
    *(None, ..., "text", "", 3.5, True, float("nan"), 10**400, 1j, b"\0", object(), Hostile()),
    *([], [[1], [2, 3]], [Hostile()] * 2, (None, None), ("a", "b"), np.array(["a"])),
    *({}, {"car": None}, {1: 2, "a": 3}, {(float("nan"), 1): 0}, np.array(None)),
    *(np.zeros((0, 0)), torch.zeros(0), Image.new("RGB", (2, 2))),
]


@pytest.mark.parametrize("check", CHECKS)
def test_no_answer_makes_a_check_fail(check: str, capsys) -> None:
    count = arguments_of(check)
    for value in VALUES:
        for answer in (value, lambda *_, value=value: value, lambda value=value: value):
            CHECKS[check](*[answer] * count)
            line = told(capsys)
            assert line.startswith("Not yet: "), value
            assert "0x7" not in line


@pytest.mark.parametrize(
    "check", [c for c in CHECKS if any(callable(a[0]) for n, a, _ in WRONG if n == c)]
)
def test_an_error_in_the_learners_function_is_named(check: str, capsys) -> None:
    CHECKS[check](fails)
    assert "the function raises KeyError: 'wall at 0x...\\nand more'" in told(capsys)


def test_a_check_leaves_the_notebooks_dice_alone(capsys) -> None:
    def throws() -> list[float]:
        return [float(torch.rand(())), random.random(), float(np.random.random())]  # noqa: NPY002

    def seeded() -> None:
        torch.manual_seed(5)
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002

    seeded()
    expected = throws()
    for exercise in EXERCISES:
        space = namespace(exercise)
        exec(exercise.stub, space)
        seeded()
        exec(exercise.call, space)
        assert throws() == expected, exercise.check
    capsys.readouterr()


# --- the shared core ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (torch.ones(2, requires_grad=True), np.ones(2), ""),
        (0.5001, 0.5, "the result is 0.5001, expected 0.5"),
        (np.array([1, 5, 3]), np.array([1, 2, 3]), "1 of 3 values differs, the first at [1]: 5"),
        (np.ones(1), 1.0, "the shape is (1,), expected that of one number"),
        (np.ones(2), np.ones(2, bool), "the dtype is float64, expected bool"),
        (np.array([0.5, 0.501]), np.array([0.5, 0.5]), "near: they differ by 0.001 at most"),
        ({"car": 2}, {"car": 2, "sky": 1}, "'sky' is missing"),
    ],
)
def test_a_comparison_says_what_differs_first(answer: Any, expected: Any, said: str) -> None:
    assert (said in compare(answer, expected)) if said else compare(answer, expected) == ""


# --- what the exercises claim ---------------------------------------------------------------------


def test_the_thresholds_that_split_the_cars_are_those_that_are_told() -> None:
    from scipy import ndimage

    probability = car_probability()
    near, far = probability[2:], probability[:2]
    for threshold in np.arange(0.05, 1.0, 0.01):
        parted = ndimage.label(near > threshold)[1] == 2
        seen = bool((far > threshold).any())
        assert (parted and seen) == (0.71 - 1e-9 <= threshold < 0.83 - 1e-9), threshold


def test_sidewalks_color_in_the_guides_palette_stands_for_person() -> None:
    guide_palette = np.vstack([[0, 0, 0], ADE20K.palette])
    (label,) = np.flatnonzero((guide_palette[:150] == ADE20K.palette[11]).all(axis=1))
    assert (ADE20K.id2label[11], ADE20K.id2label[int(label)]) == ("sidewalk", "person")
