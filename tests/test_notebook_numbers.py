"""Numbers that the notebooks print after ≈, held within bounds."""

from collections import Counter

import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from scipy import ndimage
from transformers import pipeline

from helpers.ade20k import LABEL2ID, reduce_labels
from helpers.images import load_image
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
    assert 0.6 < np.mean(prediction[person] == LABEL2ID["tree"]) < 0.9


def share(entry: dict) -> float:
    return float(np.mean(np.asarray(entry["mask"]) > 0))


def shares(entries: list[dict], name: str) -> list[float]:
    return sorted(share(entry) for entry in entries if entry["label"] == name)


def test_notebook_01_what_the_semantic_toy_model_returns() -> None:
    segmenter = pipeline("image-segmentation", model=get_profile("tiny").semantic_model)
    by_class = segmenter(load_image(get_profile("tiny").street_image))
    expected = {"sky": 0.23, "road": 0.23, "tree": 0.13, "car": 0.13, "building": 0.10}
    for name, value in expected.items():
        assert shares(by_class, name) == pytest.approx([value], abs=0.02), name
    assert {entry["score"] for entry in by_class} == {None}

    portrait = load_image(get_sample_data("grace_hopper.jpg", asfileobj=False))
    assert sum(shares(segmenter(portrait), "person")) < 0.1


def test_notebook_01_what_the_instance_toy_model_returns() -> None:
    thing_finder = pipeline("image-segmentation", model=get_profile("tiny").instance_model)
    street = load_image(get_profile("tiny").street_image)
    entries = thing_finder(street, subtask="instance", threshold=0.8)
    found = [entry for entry in entries if share(entry) > 0.0005]
    assert Counter(entry["label"] for entry in found) == {
        "car": 3,
        "bus": 1,
        "person": 1,
        "tree": 2,
    }
    assert all(0.8 < entry["score"] < 0.98 for entry in found)
    assert shares(found, "car") == pytest.approx([0.010, 0.052, 0.056], abs=0.01)


def test_notebook_01_what_the_universal_toy_model_returns() -> None:
    universal = pipeline("image-segmentation", model=get_profile("tiny").panoptic_model)
    street = load_image(get_profile("tiny").street_image)
    panoptic, instance, semantic = (
        universal(street, subtask=task) for task in ("panoptic", "instance", "semantic")
    )
    for entries, cars, persons in ((panoptic, 3, 1), (instance, 2, 0), (semantic, 1, 1)):
        counts = Counter(entry["label"] for entry in entries)
        assert (counts["car"], counts["person"], counts["road"], counts["sky"]) == (
            cars,
            persons,
            1,
            1,
        )
    assert shares(panoptic, "car") == pytest.approx([0.009, 0.053, 0.053], abs=0.01)
    assert sorted(entry["score"] for entry in panoptic)[0] == pytest.approx(0.93, abs=0.02)
    assert 0.005 < 1 - sum(share(entry) for entry in panoptic) < 0.025

    few = universal(street, subtask="panoptic", threshold=0.99)
    assert len(few) < len(panoptic) - 5
    assert not {"car", "bus", "person"} & {entry["label"] for entry in few}
    assert abs(1 - sum(share(entry) for entry in few)) < 0.005
    many = universal(street, subtask="panoptic", threshold=0.3)
    assert 0.015 < 1 - sum(share(entry) for entry in many) < 0.04
