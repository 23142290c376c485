"""Checks for the notebooks' exercises: `check_...(answer)` prints one line, right or not yet.

A check takes the learner's value or function and tries the latter on several inputs, edge cases
among them. What it prints begins with "Correct" and says why it matters, or with "Not yet" and says
what differs and what may have been misunderstood. Whatever an answer is, no check raises.

There is one module for each notebook; `core` holds what they share.
"""

from helpers.exercises.custom_dataset import (
    check_discover_colors,
    check_stratified_split,
    check_to_labels,
)
from helpers.exercises.inference import (
    check_average_of_sizes,
    check_doubtful_pixels,
    check_target_size,
)
from helpers.exercises.labels import (
    check_add_margin,
    check_mislabelled_class,
    check_reduce_labels,
)
from helpers.exercises.mean_iou import check_iou, check_mean_iou, check_two_pixels
from helpers.exercises.preprocessing import (
    check_pad_to_square,
    check_random_flip,
    check_to_image,
)
from helpers.exercises.scaling import (
    check_accumulation_steps,
    check_effective_batch_size,
    check_training_hours,
)
from helpers.exercises.scores import (
    check_bootstrap_mean_iou,
    check_boundary_iou,
    check_count_windows,
)
from helpers.exercises.segmentation_types import (
    car_probability,
    check_areas_and_cars,
    check_count_things,
    check_splitting_threshold,
)
from helpers.exercises.training import (
    check_batch_loss,
    check_learning_rate,
    check_logits_shape,
)

__all__ = [
    "car_probability",
    "check_accumulation_steps",
    "check_add_margin",
    "check_areas_and_cars",
    "check_average_of_sizes",
    "check_batch_loss",
    "check_bootstrap_mean_iou",
    "check_boundary_iou",
    "check_count_things",
    "check_count_windows",
    "check_discover_colors",
    "check_doubtful_pixels",
    "check_effective_batch_size",
    "check_iou",
    "check_learning_rate",
    "check_logits_shape",
    "check_mean_iou",
    "check_mislabelled_class",
    "check_pad_to_square",
    "check_random_flip",
    "check_reduce_labels",
    "check_splitting_threshold",
    "check_stratified_split",
    "check_target_size",
    "check_to_image",
    "check_to_labels",
    "check_training_hours",
    "check_two_pixels",
]
