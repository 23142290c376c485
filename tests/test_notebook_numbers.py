"""Numbers that the notebooks print after ≈, held within bounds."""

import re
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from scipy import ndimage
from transformers import pipeline

from helpers.images import load_image
from helpers.inference import load_model, segment
from helpers.labels import ADE20K
from helpers.profiles import REPOSITORY, get_profile
from tools.drawing.scenes import MODEL_STREET_SEED, STREET_SEED, draw_scene

CELLS_06, CELLS_09 = (
    {cell.id: cell for cell in nbformat.read(REPOSITORY / "notebooks" / name, as_version=4).cells}
    for name in ("06_inference_and_overlays.ipynb", "09_scaling_and_sharing.ipynb")
)


def numbers(printed: str) -> list[float]:
    """All that stands after ≈; percentages as shares."""
    found = re.findall(r"≈ ([0-9.]+)(%?)", printed)
    return [float(number) / (100 if percent else 1) for number, percent in found]


def test_notebook_01_the_semantic_toy_model_errs_at_borders_and_on_the_person() -> None:
    model, image_processor = load_model(get_profile("tiny").semantic_model)
    scene = draw_scene(STREET_SEED, kind="street")
    label_map = ADE20K.to_label_map(scene.annotation)
    wrong = segment(scene.image, model, image_processor) != label_map
    labelled = label_map != 255
    border = ndimage.maximum_filter(label_map, 5) != ndimage.minimum_filter(label_map, 5)
    assert 0.92 < 1 - wrong[labelled].mean() < 0.96
    assert 0.25 < wrong[border & labelled].mean() < 0.35
    assert wrong[~border & labelled].mean() < 0.04

    street = draw_scene(MODEL_STREET_SEED, kind="street")
    person = ADE20K.to_label_map(street.annotation) == ADE20K.label2id["person"]
    prediction = segment(street.image, model, image_processor)
    assert 0.6 < np.mean(prediction[person] == ADE20K.label2id["tree"]) < 0.9


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


@pytest.fixture(scope="module")
def notebook_06() -> dict:
    """What notebook 06 defines with the bundled model, and what each cell prints."""
    space, printed = {"PROFILE": "tiny"}, {}
    for cell in (
        *("imports", "source", "f5a3505a", "79e51b9c", "244f01ae", "fd75e1db", "palette-loop"),
        *("8c3b1fa9", "two-looks", "two-looks-count", "calibration", "42c410ed"),
    ):
        with redirect_stdout(StringIO()) as out:
            if cell == "source":  # the bundled model, whatever was trained here
                space["source"] = space["profile"].finetuned_model
            else:
                exec(CELLS_06[cell].source, space)
            if cell == "f5a3505a":  # half of them, to be fast
                space["scenes"] = space["scenes"].select(range(20))
        printed[cell] = out.getvalue()
    plt.close("all")
    return printed


def test_notebook_06_the_bundled_model_is_better_with_two_looks_and_more_modest(
    notebook_06: dict,
) -> None:
    one, two = numbers(notebook_06["two-looks-count"])
    assert 0.76 < one < 0.80
    assert 0.004 < two - one < 0.02
    score, accuracy = numbers(notebook_06["42c410ed"])
    assert score == pytest.approx(one, abs=2e-3), "one look is `evaluate`"
    said, right, error, *_, said_two, right_two, error_two, _, _ = numbers(
        notebook_06["calibration"]
    )
    assert right == pytest.approx(accuracy, abs=2e-3)
    assert error < 0.01 < error_two < 0.02
    assert right < right_two
    assert said_two < said
    assert said_two < right_two, "too modest"


def test_notebook_06_upsampling_comes_first_and_colours_are_equal(notebook_06: dict) -> None:
    argmax_first, upsampled_first = numbers(notebook_06["fd75e1db"])
    assert 0.005 < upsampled_first - argmax_first < 0.04
    assert "0 values differ" in notebook_06["palette-loop"]
    assert numbers(notebook_06["palette-loop"])[0] <= 1
    right, *_, wrong, _, _ = numbers(notebook_06["8c3b1fa9"])
    assert wrong + 0.1 < right


def test_notebook_06_what_its_text_says_of_the_stored_numbers_is_so() -> None:
    """They are those of the model that notebook 05 trains."""
    stored = {
        name: numbers("".join(one.get("text", "") for one in CELLS_06[name].get("outputs", ())))
        for name in (
            "fd75e1db",
            "8c3b1fa9",
            "42c410ed",
            "two-looks-count",
            "calibration",
            "windows-seam",
        )
    }
    first, last = stored["fd75e1db"]
    assert first < last
    _, _, _, _, above_8, above_9 = stored["8c3b1fa9"]
    assert 0.28 < above_8 < 0.39, "a third"
    assert 0.16 < above_9 < 0.25, "a fifth"
    one, two = stored["two-looks-count"]
    assert 0.60 < one < 0.67
    assert 0.005 < two - one < 0.015, "about a point"
    assert stored["42c410ed"][0] == pytest.approx(one, abs=2e-3)
    _, right, error, pixels, wrong, said_two, right_two, error_two, _, _ = stored["calibration"]
    assert error < 0.01 < error_two
    assert right < right_two
    assert said_two < right_two
    assert 0.62 < pixels < 0.71, "two thirds"
    assert 0.01 < wrong < 0.016
    assert 0.055 < pixels * wrong / (1 - right) < 0.085, "7 % of all wrong pixels"
    beside, beside_overall, overlap, overlap_overall = stored["windows-seam"]
    assert 0.05 < overlap - beside < 0.09, "about seven points"
    assert abs(overlap_overall - beside_overall) < 0.03


def test_notebook_09_its_text_draws_no_more_from_the_tables_of_costs_than_they_hold() -> None:
    space = {"PROFILE": "tiny"}
    for name in ("imports", "recipe", "schedule", "flops", "flops-table"):
        exec(CELLS_09[name].source, space)
    read = CELLS_09["flops-read"].source
    flop = {name: float(row[1]) for name, row in space["rows"].items()}
    ratio = flop["SegFormer-B5 at 640"] / flop["SegFormer-B2"]
    assert f"from B2 to B5, another {ratio:.1f} times" in read
    assert [name for name, row in space["rows"].items() if row[3] == "–"] == ["SegFormer-B5"]

    for name in ("recipe-cost", "machines"):
        exec(CELLS_09[name].source, space)
    read = CELLS_09["machines-read"].source
    cpu, t4, four_cores, sixteen_cores, eight_gpus = (
        [float(hours.replace(",", "")) for hours in row] for row in space["rows"].values()
    )
    assert cpu[0] == cpu[1] > 2 * 30 * 24, "measured; more than two months"
    best, worst, images = t4
    assert best > 10, "half a day even at best"
    assert 0.4 < images / best < 0.6, "the images in half of that time"
    for best, _, images in (sixteen_cores, eight_gpus):
        assert images < best / 2, "the GPU decides"
    best, worst, images = four_cores
    assert 0.9 < images / best < 1.2, "as long"
    assert 11.5 < worst / images < 12.5, "twelve times as long"
    public = 45 / (200 * 20_210 / 16) * 160_000
    assert f"{public:.1f} hours for 160,000 steps" in read
    assert best < public < worst
