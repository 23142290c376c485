"""A folder of your own images and masks: paired, inspected, converted, made into a data set."""

from helpers.custom.conversions import labels_from_colors, labels_from_values, resize_labels
from helpers.custom.dataset import make_dataset, write_parquet
from helpers.custom.folders import read_labels, read_voc
from helpers.custom.objects import labels_from_objects, merge_masks, read_categories
from helpers.custom.pairs import Pairs, find_pairs
from helpers.custom.polygons import read_coco, read_labelme
from helpers.custom.report import Report, report_pairs

__all__ = [
    "Pairs",
    "Report",
    "find_pairs",
    "labels_from_colors",
    "labels_from_objects",
    "labels_from_values",
    "make_dataset",
    "merge_masks",
    "read_categories",
    "read_coco",
    "read_labelme",
    "read_labels",
    "read_voc",
    "report_pairs",
    "resize_labels",
    "write_parquet",
]
