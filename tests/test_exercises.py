"""The exercises' checks: solutions pass, wrong answers get a fitting hint, nothing crashes.

The solutions are those that fold out in the notebooks, so what a reader sees is what is tested.
"""

import ast
import math
import random
import re
from collections import Counter
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import minimum_filter
from torchvision.transforms import v2
from transformers import get_polynomial_decay_schedule_with_warmup
from wrong_answers import WRONG, grown

from helpers.evaluation import window_starts
from helpers.labels import ADE20K
from helpers.transforms import resized_size
from notebooks.exercises.core import compare, describe
from notebooks.exercises.segmentation_types import car_probability

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
CHECKS = {
    name: value
    for path in sorted((NOTEBOOKS / "exercises").glob("[a-z]*.py"))
    for name, value in vars(import_module(f"notebooks.exercises.{path.stem}")).items()
    if name.startswith("check_")
}


class Exercise(NamedTuple):
    """One exercise of a notebook: its stub with the check's call, and the solution below it."""

    notebook: str
    check: str
    stub: str
    stored: str
    call: str
    solution: str
    names: dict[str, str]  # each name that the set-up cell imports, and the import


def imports(cell: str) -> dict[str, str]:
    """Name to import statement, for all that a cell imports."""
    found = {}
    for node in ast.walk(ast.parse(cell)):
        for alias in getattr(node, "names", ()) if isinstance(node, ast.ImportFrom) else ():
            found[alias.asname or alias.name] = f"from {node.module} import {ast.unparse(alias)}"
        for alias in node.names if isinstance(node, ast.Import) else ():
            found[alias.asname or alias.name] = f"import {ast.unparse(alias)}"
    return found


def read_exercises() -> list[Exercise]:
    """All exercises of all notebooks, in order."""
    found = []
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        (setup,) = [cell.source for cell in cells if "imports" in cell.metadata.get("tags", [])]
        for cell, following in pairwise(cells):
            calls = re.findall(r"^checks\.(check_\w+)\(.*\)$", cell.source, flags=re.MULTILINE)
            if cell.cell_type != "code" or not calls:
                continue
            (check,) = calls
            solution = re.search(r"```python\n(.*?)```", following.source, flags=re.DOTALL)
            found.append(
                Exercise(
                    notebook=path.stem,
                    check=check,
                    stub=cell.source,
                    stored="".join(output.get("text", "") for output in cell.outputs),
                    call=next(line for line in cell.source.splitlines() if check in line),
                    solution=solution[1] if solution else "",
                    names=imports(setup),
                )
            )
    return found


EXERCISES = read_exercises()
each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.check)


def namespace(exercise: Exercise) -> dict[str, Any]:
    """What the set-up cell imports of what the exercise uses; nothing else of the notebook."""
    space: dict[str, Any] = {"label2id": ADE20K.label2id, "id2label": ADE20K.id2label}
    space["ignore_index"] = 255  # notebook 02 gives these three facts short names
    for name, statement in exercise.names.items():
        if re.search(rf"\b{name}\b", exercise.stub + exercise.solution):
            exec(statement, space)
    return space


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
    assert exercise.stored.strip() == line


@each_exercise
def test_the_notebooks_solution_is_accepted(exercise: Exercise, capsys) -> None:
    space = namespace(exercise)
    exec(exercise.stub, space)
    capsys.readouterr()
    exec(exercise.solution, space)
    exec(exercise.call, space)
    assert re.match(r"Correct: \w.{60,}\.$", told(capsys))


# --- other right answers --------------------------------------------------------------------------


def uint8_all_the_way(annotation: np.ndarray) -> np.ndarray:
    if ((annotation < 0) | (annotation > 150)).any():
        raise ValueError
    return annotation.astype(np.uint8) - np.uint8(1)


def flip_one_call(image: Image.Image, annotation: Image.Image) -> Any:
    return v2.RandomHorizontalFlip()(image, annotation)


def flip_arrays(image: Image.Image, annotation: Image.Image) -> Any:
    if random.random() < 0.5:
        return np.fliplr(image), np.fliplr(annotation)
    return [image, annotation]


def scheduled(step: int, peak: float, warmup: int, total: int) -> float:
    """What `Trainer` uses for `lr_scheduler_type="polynomial"` with power 1."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = get_polynomial_decay_schedule_with_warmup(optimiser, warmup, total)
    return schedule.lr_lambdas[0](step) * peak


def labels_by_table(mask: Image.Image) -> np.ndarray:
    table = {0: 255, 10: 0, 20: 1, 30: 2}
    values = np.asarray(mask)
    if unknown := set(values.ravel().tolist()) - set(table):
        raise ValueError(unknown)
    return np.vectorize(table.get, otypes=[np.uint8])(values)


def split_with_global_dice(label_maps: list, rare: int, fraction: float, seed: int) -> Any:
    random.seed(seed)
    parts: list[list[int]] = [[], []]
    for wanted in (True, False):
        group = [k for k, one in enumerate(label_maps) if (rare in one) == wanted]
        random.shuffle(group)
        cut = round(fraction * len(group))
        parts[0] += group[cut:]
        parts[1] += group[:cut]
    return [np.sort(parts[0]), np.sort(parts[1])]


def colors_of_pillow(coded_masks: list) -> dict:
    areas: Counter = Counter()
    for mask in coded_masks:
        areas.update({color: count for count, color in mask.getcolors()})
    ordered = sorted(sorted(areas), key=areas.__getitem__, reverse=True)
    return {tuple(np.uint8(color)): np.int64(k) for k, color in enumerate(ordered)}


def multiplied_one_by_one(*numbers: int) -> int:
    size = 1
    for number in numbers:
        if number < 1:
            raise ValueError
        size *= number
    return size


def counted_up(batch: int, processes: int, fits: int) -> int:
    if batch % processes:
        raise ValueError
    parts = [n for n in range(1, batch + 1) if batch % (processes * n) == 0]
    return min(n for n in parts if batch <= processes * n * fits)


def rims_by_filters(prediction: np.ndarray, reference: np.ndarray, distance: int) -> float:
    size, rims = 2 * distance + 1, []
    for mask in (prediction, reference):
        rims.append(mask & ~minimum_filter(mask, size, mode="constant", cval=False))
    union = np.count_nonzero(rims[0] | rims[1])
    return np.count_nonzero(rims[0] & rims[1]) / union if union else float("nan")


def bootstrap_one_by_one(areas: np.ndarray, draws: np.ndarray) -> list[float]:
    scores = []
    for draw in draws:
        (i, p, t), ious = np.repeat(areas, draw, axis=0).sum(axis=0), []
        ious = [a / (b + c - a) for a, b, c in zip(i, p, t, strict=True) if b + c]
        scores.append(sum(ious) / len(ious))
    return scores


def windows_of_the_evaluation(
    height: int, width: int, short_side: int = 512, window: int = 512, stride: int = 341
) -> int:
    sides = resized_size((height, width), short_side)
    return math.prod(len(window_starts(side, window, stride)) for side in sides)


def average_by_stacking(small: torch.Tensor, large: torch.Tensor, size: tuple) -> torch.Tensor:
    return torch.stack([grown(logits, size).softmax(dim=1) for logits in (small, large)]).mean(0)


ALSO_RIGHT: list[tuple[str, Any]] = [
    ("check_areas_and_cars", (3.0, np.int64(3), 7)),
    ("check_splitting_threshold", (0.71,)),
    ("check_splitting_threshold", (np.float32(0.8),)),
    ("check_count_things", (lambda p: {
        ADE20K.id2label[k]: np.int64(len({i for c, i in p.reshape(-1, 2).tolist() if c == k and i}))
        for k in {c for c, i in p.reshape(-1, 2).tolist() if i}
    },)),
    ("check_mislabelled_class", (" Person",)),
    ("check_reduce_labels", (uint8_all_the_way,)),
    ("check_random_flip", (flip_one_call,)),
    ("check_random_flip", (flip_arrays,)),
    ("check_iou", (lambda p, r: np.divide((p & r).sum(), (p | r).sum()),)),
    ("check_iou", (lambda p, r: torch.tensor(float((p & r).sum() / (p | r).sum())),)),
    ("check_two_pixels", ([[0, 0, 1, 1], [0, 0, 1, 2], [0, 2, 1, 1], [2, 2, 2, 1]],)),
    ("check_logits_shape", ([8, 19, 96, 128],)),
    ("check_logits_shape", (torch.Size([8, 19, 96, 128]),)),
    ("check_learning_rate", (scheduled,)),
    ("check_target_size", ([480, 640],)),
    ("check_target_size", ([(480, 640)],)),
    ("check_average_of_sizes", (average_by_stacking,)),
    ("check_to_labels", (labels_by_table,)),
    ("check_stratified_split", (split_with_global_dice,)),
    ("check_discover_colors", (colors_of_pillow,)),
    ("check_effective_batch_size", (multiplied_one_by_one,)),
    ("check_accumulation_steps", (counted_up,)),
    ("check_boundary_iou", (rims_by_filters,)),
    ("check_bootstrap_mean_iou", (bootstrap_one_by_one,)),
    ("check_count_windows", (windows_of_the_evaluation,)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "answer"), ALSO_RIGHT, ids=lambda v: v if isinstance(v, str) else ""
)
def test_other_right_answers_are_accepted(check: str, answer: tuple, capsys) -> None:
    CHECKS[check](*answer)
    assert told(capsys).startswith("Correct: ")


# --- wrong answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(("check", "answer", "hint"), WRONG, ids=[f"{c}-{h}" for c, _, h in WRONG])
def test_a_wrong_answer_gets_a_fitting_hint(check: str, answer: tuple, hint: str, capsys) -> None:
    CHECKS[check](*answer)
    line = told(capsys)
    assert line.startswith("Not yet: ")
    assert hint.casefold() in line.casefold()
    CHECKS[check](*answer)
    assert told(capsys) == line, "the same answer got another line"


def test_every_check_is_tested_with_three_wrong_answers() -> None:
    for check in CHECKS:
        assert sum(name == check for name, _, _ in WRONG) >= 3, check


# --- whatever a learner may return ----------------------------------------------------------------


class Hostile:
    """Fails at whatever NumPy asks it."""

    def __array__(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("no")

    def detach(self) -> None:
        raise RuntimeError("no")


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message either")


def fails(*_: Any) -> None:
    raise KeyError("wall at 0x7f00deadbeef\nand more")


def fails_oddly(*_: Any) -> None:
    raise OddError


VALUES = [
    *(None, ..., "text", "", 3.5, True, float("nan"), 10**400, 1j, b"\0", object(), Hostile()),
    *(
        [],
        {},
        [[1], [2, 3]],
        [Hostile()] * 2,
        (None, None),
        ("a", "b"),
        {"car": None},
        {1: 2, "a": 3},
    ),
    *(np.array(["a"]), np.array(None), np.zeros((0, 0)), torch.zeros(0), Image.new("RGB", (2, 2))),
]


@pytest.mark.parametrize("check", CHECKS)
def test_no_answer_makes_a_check_fail(check: str, capsys) -> None:
    count = CHECKS[check].__wrapped__.__code__.co_argcount
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
    CHECKS[check](fails_oddly)
    assert "the function raises OddError" in told(capsys)


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
        ([1, 2], np.array([1, 2]), ""),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), ""),
        (torch.tensor([1, 2], requires_grad=False), np.array([1, 2]), ""),
        (torch.ones(2, requires_grad=True), np.ones(2), ""),
        (0.5, 0.5, ""),
        (
            np.array([1, 5, 3]),
            np.array([1, 2, 3]),
            "1 of 3 values differs, the first at [1]: 5",
        ),
        (np.zeros(2, np.uint8), np.full(2, 255, np.uint8), "the first at [0]: 0, expected 255"),
        (np.ones(3), np.ones((3, 1)), "the shape is (3,), expected (3, 1)"),
        (np.ones(1), 1.0, "the shape is (1,), expected that of one number"),
        (np.ones(2, np.int32), np.ones(2, np.uint8), "the dtype is int32, expected uint8"),
        (np.ones(2), np.ones(2, bool), "the dtype is float64, expected bool"),
        (np.array([0.5, 0.501]), np.array([0.5, 0.5]), "near: they differ by 0.001 at most"),
        (None, np.ones(2), "the result is None (is there a `return`?), expected an array"),
    ],
)
def test_a_comparison_says_what_differs_first(answer: Any, expected: Any, said: str) -> None:
    assert (said in compare(answer, expected)) if said else compare(answer, expected) == ""


def test_a_comparison_may_be_approximate() -> None:
    assert compare(0.5001, 0.5, tolerance=1e-3) == ""
    assert "0.5001, expected 0.5" in compare(0.5001, 0.5, tolerance=1e-6)


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_a_value_is_described_without_addresses(value: Any) -> None:
    assert describe(value)
    assert not re.search("0x[0-9a-f]{6}", describe(value))


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


def test_half_a_pixel_decides_on_a_column_of_windows() -> None:
    width, (_, half_up) = 2_389 / 2, resized_size((1_024, 2_389), 512)
    assert (half_up, round(width), int(width)) == (1_195, 1_194, 1_194)
    assert len(window_starts(half_up, 512, 341)) == len(window_starts(1_194, 512, 341)) + 1


def test_dividing_by_ten_gives_the_right_labels_and_refuses_nothing() -> None:
    values = np.array([0, 10, 20, 30, 15, 40], dtype=np.uint8)
    assert (values // 10 - 1).tolist() == [255, 0, 1, 2, 0, 3]
