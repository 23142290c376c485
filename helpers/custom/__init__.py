"""A folder of one's own images and masks: paired, looked at, converted, made a data set."""

from helpers import face

__getattr__, __all__ = face(
    __name__,
    pairs="Pairs find_pairs",
    report="Report report_pairs",
    conversions="labels_from_colors labels_from_values resize_labels",
    dataset="make_dataset write_parquet",
)
