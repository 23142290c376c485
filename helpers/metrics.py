"""Mean IoU from a streaming confusion matrix: one pass over the pixels, constant memory.

The definition is that of `evaluate`'s `mean_iou` (and of mmsegmentation, on which that one is
based): intersections and areas are summed over the whole data set, *then* divided.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import EvalPrediction

Maps = Any
"""An array-like of label ids: NumPy array, torch tensor, PIL image, nested lists."""


class ConfusionMatrix:
    """Counts pixels by (reference, prediction) over any number of label maps.

    Args:
        num_labels: number of classes n; label ids are 0 to n - 1.
        ignore_index: pixels whose *reference* has this value are left out; None: all are counted.

    Raises:
        ValueError: there is no class, or `ignore_index` is one of them.
    """

    def __init__(self, num_labels: int, ignore_index: int | None = 255) -> None:
        if num_labels < 1:
            raise ValueError(f"num_labels is {num_labels}: expected at least 1")
        if ignore_index is not None and 0 <= ignore_index < num_labels:
            raise ValueError(
                f"ignore_index is {ignore_index}, which is one of the {num_labels} classes (0 to "
                f"{num_labels - 1}): its pixels would be left out. Give a number that is no class, "
                "or None to count all pixels"
            )
        self.num_labels = num_labels
        self.ignore_index = ignore_index
        self.counts = np.zeros((num_labels, num_labels), dtype=np.int64)
        """(num_labels, num_labels) int64 pixel counts; rows are references, columns predictions."""

    def update(self, predictions: Maps, references: Maps) -> None:
        """Add one label map, or a batch of them: integer array-likes of equal shape.

        Raises:
            ValueError: the shapes differ, or a value is neither in 0 ... num_labels - 1 nor
                (in a reference) `ignore_index`. Nothing is counted then.
            TypeError: the values are not integers.
        """
        predictions, references = _whole_numbers(predictions), _whole_numbers(references)
        if predictions.shape != references.shape:
            raise ValueError(
                f"predictions have shape {predictions.shape}, references {references.shape}: "
                "expected equal shapes. Upsample the logits to the size of the annotation before "
                "taking the argmax."
            )
        if predictions.size:
            pairs = self._count_bytes(predictions, references)
            # Larger values go the slower way, and wrong ones, which it names.
            self.counts += self._count_any(predictions, references) if pairs is None else pairs

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Add another matrix's counts (of another process, say) to this one, and return it."""
        ours, theirs = (self.num_labels, self.ignore_index), (other.num_labels, other.ignore_index)
        if ours != theirs:
            raise ValueError(
                f"cannot merge matrices of (num_labels, ignore_index) = {ours} and {theirs}"
            )
        self.counts += other.counts
        return self

    def compute(self) -> dict[str, Any]:
        """Scores over all that was counted, under the keys of `evaluate`'s `mean_iou`.

        Returns:
            "mean_iou", "mean_accuracy", "overall_accuracy": floats in 0 ... 1 (NaN where
            nothing was counted); "per_category_iou", "per_category_accuracy": (num_labels,)
            float64. The IoU is NaN for a class that occurs in neither references nor
            predictions, the accuracy for one that does not occur in the references.
        """
        return scores_from_areas(
            self.counts.diagonal(), self.counts.sum(axis=0), self.counts.sum(axis=1)
        )

    def _count_bytes(self, predictions: np.ndarray, references: np.ndarray) -> np.ndarray | None:
        """The counts of maps whose values are all expected and fit in 8 bits; else None.

        One 16-bit key per pixel is a quarter of the memory traffic of int64 indices, pixels to
        ignore are dropped later, in the table, and keys are counted run by run: labels come in
        regions. Each of the three makes it nearly twice as fast.
        """
        predictions, references = _as_bytes(predictions), _as_bytes(references)
        if predictions is None or references is None or self.num_labels > 256:
            return None
        keys = (references.astype(np.uint16) << 8 | predictions).ravel()
        ends = np.append(np.flatnonzero(keys[1:] != keys[:-1]), keys.size - 1)
        # Weights are summed as float64, which is exact up to 2 ** 53 pixels.
        table = np.bincount(keys[ends], weights=np.diff(ends, prepend=-1), minlength=65536)
        table = table.reshape(256, 256).astype(np.int64)
        if self.ignore_index in range(256):
            table[self.ignore_index] = 0
        inside = table[: self.num_labels, : self.num_labels]
        return inside if inside.sum() == table.sum() else None

    def _count_any(self, predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
        """The counts of any integers; ValueError names a pair that is not expected."""
        n = self.num_labels
        if self.ignore_index is not None:
            kept = references != self.ignore_index
            predictions, references = predictions[kept], references[kept]
        outside = (predictions < 0) | (predictions >= n) | (references < 0) | (references >= n)
        if outside.any():
            ignored = self.ignore_index
            ignored = "" if ignored is None else f", or {ignored} in the reference"
            raise ValueError(
                f"a pixel has prediction {predictions[outside][0]} and reference "
                f"{references[outside][0]}: expected label ids 0-{n - 1}{ignored}. Annotation "
                "values (0 = other) go through Labels.to_label_map first, and only once."
            )
        pairs = references.astype(np.int64).ravel() * n + predictions.astype(np.int64).ravel()
        return np.bincount(pairs, minlength=n**2).reshape(n, n)


def scores_from_areas(
    intersection: np.ndarray, predicted: np.ndarray, labelled: np.ndarray
) -> dict[str, Any]:
    """IoU = I / (P + L - I) and accuracy = I / L for each class, and their means over classes.

    Takes (num_labels,) pixel counts over the whole data set; returns the dictionary that
    `ConfusionMatrix.compute` describes.
    """
    intersection, predicted, labelled = (
        np.asarray(area, dtype=np.float64) for area in (intersection, predicted, labelled)
    )
    # 0 / 0 is NaN on purpose: a class that is nowhere has no score, and the means leave it out.
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # mean of an empty slice
        iou = intersection / (predicted + labelled - intersection)
        accuracy = intersection / labelled
        return {
            "mean_iou": float(np.nanmean(iou)),
            "mean_accuracy": float(np.nanmean(accuracy)),
            "overall_accuracy": float(intersection.sum() / labelled.sum()),
            "per_category_iou": iou,
            "per_category_accuracy": accuracy,
        }


class StreamingMeanIoU:
    """`compute_metrics` for a `Trainer` with `batch_eval_metrics=True`: counts batch by batch.

    After each evaluation `matrix` holds the finished confusion matrix, for per-class scores:
    the logged metrics are scalars only, because NaN in a list is not valid JSON. Arguments and
    errors are those of `ConfusionMatrix`.
    """

    def __init__(self, num_labels: int, ignore_index: int | None = 255) -> None:
        self.matrix = ConfusionMatrix(num_labels, ignore_index)
        self._running = ConfusionMatrix(num_labels, ignore_index)

    def reset(self) -> None:
        """Forget the counts of an evaluation that was cut short."""
        self._running = ConfusionMatrix(self.matrix.num_labels, self.matrix.ignore_index)

    def __call__(self, prediction: EvalPrediction, compute_result: bool) -> dict[str, float]:
        self._running.update(prediction.predictions, prediction.label_ids)
        if not compute_result:
            return {}
        self.matrix = self._running
        self.reset()
        scores = self.matrix.compute()
        return {key: value for key, value in scores.items() if isinstance(value, float)}


def _whole_numbers(values: Maps) -> np.ndarray:
    values = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if values.size and values.dtype.kind not in "iub":
        raise TypeError(
            f"label maps hold whole numbers, got {values.dtype}. For logits, take the argmax first."
        )
    return values


def _as_bytes(values: np.ndarray) -> np.ndarray | None:
    """The values as uint8, or None where one does not fit."""
    if values.dtype in (np.uint8, bool) or (values.min() >= 0 and values.max() <= 255):
        return values.astype(np.uint8, copy=False)
    return None
