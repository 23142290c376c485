"""The course's images with sliders: each function returns an `Explorer`, a cell's last value.

Where widgets do not run, the same output is a still image; see `helpers.widgets.explorer`.
"""

from helpers import face

__getattr__, __all__ = face(
    __name__,
    label_maps="explore_augmentation explore_iou explore_overlay",
    models="explore_panoptic explore_probabilities segment_upload",
)
