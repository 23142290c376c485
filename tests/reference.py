"""Mean IoU, plainly: written from the definition of `evaluate`'s `mean_iou`, to compare with.

No histogram and no confusion matrix: each class's pixels are counted by comparing, in Python's
whole numbers, so that nothing is shared with what is tested.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

KEYS = [
    "mean_iou",
    "mean_accuracy",
    "overall_accuracy",
    "per_category_iou",
    "per_category_accuracy",
]
"""What the published metric returns, in its order."""


def mean_iou(
    predictions: Sequence[Any],
    references: Sequence[Any],
    num_labels: int,
    ignore_index: int | None,
    nan_to_num: float | None = None,
    label_map: dict[int, int] | None = None,
    reduce_labels: bool = False,
) -> dict[str, Any]:
    """Scores over all maps, under the published metric's argument names and result keys.

    Areas are summed over the whole set, then divided; means leave NaN out; pixels whose
    reference is `ignore_index` do not count, and other values outside 0 ... num_labels - 1 are
    dropped from the areas that they would add to.
    """
    intersection, predicted, labelled = ([0] * num_labels for _ in range(3))
    for prediction, reference in zip(predictions, references, strict=True):
        for guess, truth in zip(np.ravel(prediction), np.ravel(reference), strict=True):
            guess, truth = int(guess), int(truth)
            for old, new in (label_map or {}).items():
                truth = new if truth == old else truth
            if reduce_labels:  # 0 becomes 255, and 255 stays
                truth = 255 if truth in (0, 255) else truth - 1
            if truth == ignore_index:
                continue
            if 0 <= guess < num_labels:
                predicted[guess] += 1
            if 0 <= truth < num_labels:
                labelled[truth] += 1
                intersection[truth] += guess == truth

    def ratio(part: int, whole: int) -> float:
        return part / whole if whole else float("nan")

    def mean(values: list[float]) -> float:
        known = [value for value in values if value == value]
        return sum(known) / len(known) if known else float("nan")

    iou = [ratio(i, p + t - i) for i, p, t in zip(intersection, predicted, labelled, strict=True)]
    accuracy = [ratio(i, t) for i, t in zip(intersection, labelled, strict=True)]
    scores: dict[str, Any] = {
        "mean_iou": mean(iou),
        "mean_accuracy": mean(accuracy),
        "overall_accuracy": ratio(sum(intersection), sum(labelled)),
        "per_category_iou": np.array(iou),
        "per_category_accuracy": np.array(accuracy),
    }
    if nan_to_num is not None:
        scores = {key: np.nan_to_num(value, nan=nan_to_num) for key, value in scores.items()}
    return scores


def assert_equal_scores(scores: dict[str, Any], expected: dict[str, Any]) -> None:
    """All scores to 1e-12, NaN where NaN is expected."""
    assert list(scores) == KEYS
    for key in KEYS:
        np.testing.assert_allclose(scores[key], expected[key], rtol=0, atol=1e-12, err_msg=key)
