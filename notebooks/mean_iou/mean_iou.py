"""Mean IoU as an `evaluate` metric, for use without a network.

`evaluate.load("mean_iou")` looks for `mean_iou/mean_iou.py` in the working
directory before it asks the Hub, so next to this folder it finds this file.
Arguments, result keys and edge cases are those of the published module
(`evaluate-metric/mean_iou`); the counting is done by `helpers.metrics`. With a
network, `evaluate.load("evaluate-metric/mean_iou")` loads the published one, to
compare: it fetches a program from the Hub and runs it, as every metric of
`evaluate` is one. The course never does that by itself.
"""

import datasets
import evaluate
import numpy as np

from helpers.metrics import ConfusionMatrix, scores_from_areas

_DESCRIPTION = """
IoU is the area of overlap between the predicted and the labelled region of a
class, divided by the area of their union. For the mean, areas are summed over
all images before dividing, and classes that neither predictions nor references
hold are left out.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (List[ndarray]): label maps of shape (height, width).
    references (List[ndarray]): label maps of the same shapes.
    num_labels (int): number of classes.
    ignore_index (int): pixels with this reference value are left out.
    nan_to_num (int, optional): replaces NaN in the results.
    label_map (dict, optional): old to new values for the references.
    reduce_labels (bool): subtract 1 from the references, with 0 becoming 255.

Returns:
    Dict[str, float | ndarray]: mean_iou, mean_accuracy, overall_accuracy,
    per_category_iou (num_labels,), per_category_accuracy (num_labels,).

Examples:
    >>> import numpy as np
    >>> mean_iou = evaluate.load("mean_iou")
    >>> actual_1 = np.array([[0, 1], [1, 2]])
    >>> predicted_1 = np.array([[0, 1], [2, 2]])
    >>> scores = mean_iou.compute(
    ...     predictions=[predicted_1], references=[actual_1],
    ...     num_labels=3, ignore_index=255)
    >>> round(scores["mean_iou"], 3)
    0.667
"""

_CITATION = """
@software{mmsegmentation,
author = {{MMSegmentation Contributors}},
title = {{OpenMMLab Semantic Segmentation Toolbox and Benchmark}},
url = {https://github.com/open-mmlab/mmsegmentation},
year = {2020}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(
    _DESCRIPTION, _KWARGS_DESCRIPTION
)
class MeanIoU(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                predictions=datasets.Image(), references=datasets.Image()
            ),
        )

    def _compute(
        self,
        predictions,
        references,
        num_labels,
        ignore_index,
        nan_to_num=None,
        label_map=None,
        reduce_labels=False,
    ):
        # Values that are no label are dropped, as the published module does:
        # they count in one class more, whose areas are left out at the end.
        matrix = ConfusionMatrix(num_labels + 1, ignore_index=None)
        for prediction, reference in zip(predictions, references, strict=True):
            prediction, reference = np.asarray(prediction), np.array(reference)
            if prediction.shape != reference.shape:
                raise ValueError(
                    f"a prediction has shape {prediction.shape}, its reference "
                    f"{reference.shape}: expected equal shapes"
                )
            for old, new in (label_map or {}).items():
                reference[reference == old] = new
            if reduce_labels:
                reference[reference == 0] = 255
                reference = reference - 1
                reference[reference == 254] = 255
            kept = reference != ignore_index
            matrix.update(
                *(
                    np.where(
                        (values >= 0) & (values < num_labels),
                        values,
                        num_labels,
                    )
                    for values in (prediction[kept], reference[kept])
                )
            )
        scores = scores_from_areas(
            matrix.counts.diagonal()[:num_labels],
            matrix.counts.sum(axis=0)[:num_labels],
            matrix.counts.sum(axis=1)[:num_labels],
        )
        if nan_to_num is not None:
            scores = {
                key: np.nan_to_num(value, nan=nan_to_num)
                for key, value in scores.items()
            }
        return scores
