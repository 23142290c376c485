"""Notebook 06: the lines that it offers for copying, and what it makes of a mask."""

import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from transformers import pipeline

from helpers.labels import Labels
from helpers.profiles import REPOSITORY, get_profile
from scripts import segment

NOTEBOOK = REPOSITORY / "notebooks" / "06_inference_and_overlays.ipynb"
CELLS = {cell.id: cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells}


def run(space: dict[str, Any], *cells: str) -> dict[str, Any]:
    """What the cells define, given some names."""
    with redirect_stdout(None):
        for cell in cells:
            exec(CELLS[cell], space)
    return space


@pytest.fixture(scope="module")
def loaded() -> dict[str, Any]:
    """The notebook's names once it has loaded the bundled model."""
    profile = get_profile("tiny")
    space = {"PROFILE": "tiny", "source": profile.finetuned_model}
    return run(space, "imports", "f5a3505a", "f8343342")


@pytest.fixture
def space(loaded: dict[str, Any]) -> dict[str, Any]:
    return dict(loaded)


def test_the_lines_for_an_image_of_ones_own(space, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    space["image"].save("my-street.jpg")
    run(space, "photograph-drawn", "photograph-model")
    block = re.search(r"```python\n(.+?)```", CELLS["photograph-read"], flags=re.DOTALL)[1]
    *statements, shown = block.strip().splitlines()
    exec("\n".join(statements), space)
    assert eval(shown, space).size == space["image"].size


def test_the_second_look_that_exercise_2_offers(space) -> None:
    solution = CELLS["exercise-06-2-solution"]
    exec(re.search(r"```python\n(.+?)```", solution, flags=re.DOTALL)[1], space)
    (call,) = re.findall(r"`(image_processor\(photo.+?\))`", solution)
    space["photo"] = space["image"]
    second = space["model"](**eval(call, space)).logits
    first = space["model"](**space["image_processor"](space["photo"], return_tensors="pt")).logits
    assert second.shape[-2:] == (40, 40), "a quarter of 160"
    both = space["average_of_sizes"](first, second, space["image"].size[::-1])
    assert both.shape[-2:] == space["image"].size[::-1]


def test_the_command_and_the_line_that_reads_its_shares(space, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = CELLS["the-same-from-a-shell"]
    python, _, module, *arguments = shlex.split(re.search(r"```sh\n(.+?)```", text, re.DOTALL)[1])
    assert (python, module) == ("python", "scripts.segment")
    model = arguments[arguments.index("--model") + 1]
    arguments = [str(space["source"]) if one == model else one for one in arguments]
    for name in ("holiday/a.png", "more/deep/b.jpg"):
        Path(name).parent.mkdir(parents=True)
        space["image"].save(name)
    assert segment.main(arguments) == 0
    (read,) = re.findall(r"`(pd\.read_json.+?\))`", text)
    assert len(eval(read, {"pd": pd})) == 2
    (file,) = Path("results/labels").rglob("a.png")
    (read,) = re.findall(r"`(np\.asarray\(Image\.open\(file\)\))`", text)
    assert eval(read, {"np": np, "Image": Image, "file": file}).shape == space["image"].size[::-1]


def test_specks_take_the_class_of_what_surrounds_them(space) -> None:
    without_specks = run(space | {"label_map": np.zeros((2, 2), int)}, "mask-specks")[
        "without_specks"
    ]
    label_map = np.zeros((20, 20), np.uint8)
    label_map[:, 10:] = 1
    expected = label_map.copy()
    expected[2:6, 2:7] = 2  # 20 pixels: stays
    label_map[2:6, 2:7] = 2
    label_map[10, 3:8] = 3  # two specks side by side go together
    label_map[11, 3:8] = 4
    label_map[15, 15] = 0
    np.testing.assert_array_equal(without_specks(label_map, 20), expected)


def test_polygons_cover_what_their_masks_do_and_leave_holes_out(space, tmp_path) -> None:
    tidy = np.zeros((12, 16), np.uint8)
    tidy[2:10, 3:13] = 1
    tidy[4:8, 6:10] = 0
    names = {"tidy": tidy, "labels": Labels(("ground", "ring"))}
    run(space := space | names | {"profile": SimpleNamespace(output_dir=tmp_path)}, "mask-polygons")
    areas = dict.fromkeys(names["labels"].names, 0.0)
    for feature in space["features"]:
        for ring in feature["geometry"]["coordinates"]:  # a hole runs the other way round
            assert ring[0] == ring[-1]
            x, y = np.transpose(ring)
            areas[feature["properties"]["class"]] += np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2
    for label, area in enumerate(areas.values()):
        assert abs(area) == pytest.approx((tidy == label).sum(), abs=2)  # corners are cut
    rings = sorted(len(one["geometry"]["coordinates"]) for one in space["features"])
    assert rings == [1, 2, 2], "the inner ground, the ring, and the outer ground"
    x, y = np.concatenate([one["geometry"]["coordinates"][0] for one in space["features"]]).T
    assert (x.min(), y.min(), x.max(), y.max()) == (0, 0, 16, 12), "the image's own edges"


def test_upstream_a_pipeline_leaves_its_model_in_training_mode(space) -> None:
    """Once it does not, the section "A model that is still training" of notebook 06 can go."""
    model = space["model"].train()
    try:
        options = {"model": model, "image_processor": space["image_processor"]}
        assert pipeline("image-segmentation", **options).model.training
    finally:
        model.eval()
