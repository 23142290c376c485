"""A folder of one's own images and masks: paired, looked at, converted, made a data set."""

from helpers import face

__getattr__, __all__ = face(
    __name__,
    pairs="Pairs find_pairs",
    masks="Report labels_from_colors labels_from_values report_pairs",
    dataset="class_palette make_dataset read_id2label write_id2label write_parquet",
)
