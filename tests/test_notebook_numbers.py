"""Numbers that the notebooks print after ≈, held within bounds."""

import numpy as np
from scipy import ndimage

from helpers.ade20k import LABEL2ID, reduce_labels
from helpers.inference import load_model, segment
from helpers.profiles import get_profile
from helpers.toy.scenes import MODEL_STREET_SEED, STREET_SEED, draw_scene


def test_notebook_01_the_semantic_toy_model_errs_at_borders_and_on_the_person() -> None:
    model, image_processor = load_model(get_profile("tiny").semantic_model)
    scene = draw_scene(STREET_SEED, kind="street")
    label_map = reduce_labels(scene.annotation)
    wrong = segment(scene.image, model, image_processor) != label_map
    labelled = label_map != 255
    border = ndimage.maximum_filter(label_map, 5) != ndimage.minimum_filter(label_map, 5)
    assert 0.92 < 1 - wrong[labelled].mean() < 0.96
    assert 0.25 < wrong[border & labelled].mean() < 0.35
    assert wrong[~border & labelled].mean() < 0.04

    street = draw_scene(MODEL_STREET_SEED, kind="street")
    person = reduce_labels(street.annotation) == LABEL2ID["person"]
    prediction = segment(street.image, model, image_processor)
    assert np.mean(prediction[person] == LABEL2ID["tree"]) > 0.6
