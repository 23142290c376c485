"""A folder of your own images and masks: paired, inspected, converted, made into a data set."""

from helpers import face

__getattr__, __all__ = face(
    __name__,
    pairs="Pairs find_pairs",
    report="Report report_pairs",
    conversions="labels_from_colors labels_from_values resize_labels",
    folders="read_labels read_voc",
    objects="labels_from_objects merge_masks read_categories",
    polygons="read_coco read_labelme",
    dataset="make_dataset write_parquet",
)
