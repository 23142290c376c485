"""Mean IoU from a streaming confusion matrix: one pass over the pixels, constant memory.

The definition is that of `evaluate`'s `mean_iou` (and of mmsegmentation, on which that one is
based): intersections and areas are summed over the whole data set, *then* divided.
"""

from __future__ import annotations

import sys
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
        ignore_index: pixels whose *reference* has this value are left out; None: none are.
    """

    def __init__(self, num_labels: int, ignore_index: int | None = 255) -> None:
        if num_labels < 1:
            raise ValueError(f"num_labels is {num_labels}: expected at least 1")
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
        predictions, references = _as_integers(predictions), _as_integers(references)
        if tuple(predictions.shape) != tuple(references.shape):
            raise ValueError(
                f"predictions have shape {tuple(predictions.shape)}, references "
                f"{tuple(references.shape)}: expected equal shapes. Upsample the logits to the "
                "size of the annotation before taking the argmax."
            )
        table = None
        if self.num_labels <= 256 and (self.ignore_index is None or 0 <= self.ignore_index < 256):
            table = _count_pairs_uint8(predictions, references)
        if table is None:  # a value, the labels or the ignore index do not fit in 8 bits
            self.counts += self._count_pairs_any(_to_numpy(predictions), _to_numpy(references))
            return
        if self.ignore_index is not None:
            table[self.ignore_index] = 0
        inside = table[: self.num_labels, : self.num_labels]
        if inside.sum() != table.sum():  # looking for the culprit takes as long as all the rest
            pairs = np.argwhere(table)  # (reference, prediction) values that occur
            reference, prediction = pairs[(pairs >= self.num_labels).any(axis=1)][0]
            self._refuse(prediction, reference)
        self.counts += inside.astype(np.int64, copy=False)

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

    def _count_pairs_any(self, predictions: np.ndarray, references: np.ndarray) -> np.ndarray:
        """The same count for any integers: slower, as it copies the kept pixels as int64."""
        if self.ignore_index is not None:
            kept = references != self.ignore_index
            predictions, references = predictions[kept], references[kept]
        predictions = predictions.ravel().astype(np.int64)
        references = references.ravel().astype(np.int64)
        outside = (predictions < 0) | (predictions >= self.num_labels)
        outside |= (references < 0) | (references >= self.num_labels)
        if outside.any():
            first = int(outside.argmax())
            self._refuse(predictions[first], references[first])
        pairs = references * self.num_labels + predictions
        counts = np.bincount(pairs, minlength=self.num_labels**2)
        return counts.reshape(self.num_labels, self.num_labels)

    def _refuse(self, prediction: int, reference: int) -> None:
        raise ValueError(
            f"a pixel has prediction {prediction} and reference {reference}: expected label ids "
            f"0-{self.num_labels - 1}, or {self.ignore_index} in the reference. "
            "Annotation values (0 = other) go through reduce_labels first, and only once."
        )


def scores_from_areas(
    intersection: np.ndarray, predicted: np.ndarray, labelled: np.ndarray
) -> dict[str, Any]:
    """IoU = I / (P + L - I) and accuracy = I / L for each class, and their means over classes.

    Args:
        intersection, predicted, labelled: (num_labels,) pixel counts over the whole data set.

    Returns:
        The dictionary that `ConfusionMatrix.compute` describes.
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
    the logged metrics are scalars only, because NaN in a list is not valid JSON.
    """

    def __init__(self, num_labels: int, ignore_index: int = 255) -> None:
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


def _is_tensor(values: Maps) -> bool:
    # Without importing torch: if it is not loaded yet, this is no tensor.
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def _to_numpy(values: Maps) -> np.ndarray:
    return values.detach().cpu().numpy() if _is_tensor(values) else np.asarray(values)


def _as_integers(values: Maps) -> Maps:
    """A NumPy array or a torch tensor, with the type checked."""
    if not _is_tensor(values):
        values = np.asarray(values)
        integer = values.dtype.kind in "iub" or values.size == 0
    else:
        integer = not (values.is_floating_point() or values.is_complex())
    if not integer:
        raise TypeError(
            f"label maps hold whole numbers, got {values.dtype}. For logits, take the argmax first."
        )
    return values


def _count_pairs_uint8(predictions: Maps, references: Maps) -> np.ndarray | None:
    """(256, 256) counts, rows = reference; None where a value does not fit in 8 bits.

    One 16-bit key per pixel and one `bincount` are what makes this fast: a key is a quarter of
    the memory traffic of int64 indices, and pixels to ignore are counted too and dropped
    later, in the table, instead of being masked out of the maps.
    """
    if _is_tensor(predictions) and predictions.device.type != "cpu":
        import torch

        if not (_fits_uint8(predictions) and _fits_uint8(references)):
            return None
        references = torch.as_tensor(references, device=predictions.device)
        keys = references.int() * 256 + predictions.int()
        return torch.bincount(keys.flatten(), minlength=65536).reshape(256, 256).cpu().numpy()
    predictions, references = _to_numpy(predictions), _to_numpy(references)
    if not (_fits_uint8(predictions) and _fits_uint8(references)):
        return None
    keys = references.astype(np.uint16)
    keys <<= 8
    keys |= predictions.astype(np.uint8, copy=False)
    return _count_runs(keys.ravel()).reshape(256, 256)


def _count_runs(keys: np.ndarray) -> np.ndarray:
    """`bincount(keys, minlength=65536)`, run by run: labels come in regions, not pixel by pixel.

    Takes half the time of counting pixels where runs are nine pixels long on average, less where
    they are longer, and a sixth more where three pixels in ten differ from their neighbour.
    """
    if keys.size == 0:
        return np.zeros(65536)
    last = np.append(np.flatnonzero(keys[1:] != keys[:-1]), keys.size - 1)
    lengths = np.diff(last, prepend=-1)
    # Weights are summed as float64, which is exact up to 2 ** 53 pixels.
    return np.bincount(keys[last], weights=lengths, minlength=65536)


def _fits_uint8(values: Maps) -> bool:
    if str(values.dtype).endswith("uint8") or str(values.dtype).endswith("bool"):
        return True
    size = values.numel() if _is_tensor(values) else values.size
    return size == 0 or (int(values.min()) >= 0 and int(values.max()) <= 255)
