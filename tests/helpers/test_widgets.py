"""Images with sliders: every control matters, what is told is right, and one output shows it."""

import base64
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime

import ipywidgets
import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image
from samples import draw_blocks, encoded
from torchvision.transforms import v2
from transformers import pipeline

from helpers import widgets
from helpers.images import load_image
from helpers.inference import load_model, segment
from helpers.labels import ADE20K, Labels
from helpers.metrics import ConfusionMatrix
from helpers.profiles import get_profile
from helpers.widgets import Explorer
from tools.course.execute import WIDGET_VIEW, normalize, output_problems
from tools.drawing.scenes import draw_scene

PROFILE = get_profile("tiny")
SCENE = draw_scene(2000, kind="street")
LABEL_MAP = ADE20K.to_label_map(SCENE.annotation)


@pytest.fixture(scope="module")
def semantic():
    return load_model(PROFILE.finetuned_model)


@pytest.fixture(scope="module")
def segments_at() -> Callable:
    """As notebook 01 has it: of the street, by score and overlap."""
    finder = pipeline("image-segmentation", model=PROFILE.panoptic_model)
    answers = finder.forward(finder.preprocess(load_image(PROFILE.street_image)))
    return lambda score, overlap: finder.postprocess(
        answers, subtask="panoptic", threshold=score, overlap_mask_area_threshold=overlap
    )


def recipe_of(color: float, smallest: float) -> v2.Compose:
    jitter = v2.ColorJitter(brightness=min(1.0, 0.2 * color))
    return v2.Compose([v2.RandomResizedCrop(48, scale=(smallest, 1.0)), jitter])


@pytest.fixture(scope="module")
def explorers(semantic, segments_at) -> dict[str, Explorer]:
    model, image_processor = semantic
    with torch.inference_mode():
        logits = model(**image_processor(SCENE.image, return_tensors="pt")).logits[0]
    maps = {"annotation": LABEL_MAP, "prediction": segment(SCENE.image, *semantic)}
    street = load_image(PROFILE.street_image)
    return {
        "overlay": widgets.explore_overlay(SCENE.image, maps),
        "augmentation": widgets.explore_augmentation(SCENE.image, SCENE.annotation, recipe_of),
        "iou": widgets.explore_iou(SCENE.image, LABEL_MAP, [6, 20]),
        "panoptic": widgets.explore_panoptic(street, segments_at),
        "probabilities": widgets.explore_probabilities(SCENE.image, logits, row=9, column=9),
        "upload": widgets.segment_upload(SCENE.image, lambda photo: segment(photo, *semantic)),
    }


def pngs(explorer: Explorer) -> list[bytes]:
    return [bytes(image.value) for image in explorer.images]


def shown(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def ends(control: ipywidgets.ValueWidget) -> list:
    if isinstance(control, ipywidgets.Dropdown):
        return [control.options[0][1], control.options[-1][1]]
    return [control.min, control.max]


@pytest.mark.parametrize(
    "name", ["overlay", "augmentation", "iou", "panoptic", "probabilities", "upload"]
)
def test_every_control_changes_the_image_and_what_is_told(explorers, name: str) -> None:
    explorer = explorers[name]
    for key, control in explorer.controls.items():
        if isinstance(control, ipywidgets.FileUpload):
            continue  # has tests of its own below
        assert control.description
        assert getattr(control, "readout", True)
        before, seen = control.value, set()
        for value in ends(control):
            control.value = value
            seen.add((pngs(explorer)[-1], explorer.told.value))
        assert len({image for image, _ in seen}) == 2, key
        if (name, key) != ("upload", "opacity"):
            assert len({words for _, words in seen}) == 2, key
        control.value = before
    data = explorer._repr_mimebundle_()
    assert data["text/plain"].endswith(".")
    assert len(data["image/png"]) > 10_000


def test_the_overlay_tells_share_and_iou_of_the_class(explorers, semantic) -> None:
    explorer = explorers["overlay"]
    label = next(v for n, v in explorer.controls["label"].options if n.startswith("road"))
    explorer.controls["label"].value = label
    assert f"{np.mean(label == LABEL_MAP):.1%} of the annotation" in explorer.told.value
    matrix = ConfusionMatrix(150)
    matrix.update(segment(SCENE.image, *semantic), LABEL_MAP)
    assert f"; IoU {matrix.compute()['per_category_iou'][label]:.2f}." in explorer.told.value
    explorer.controls["label"].index = 0
    assert explorer.controls["label"].label == "all classes"


@pytest.mark.parametrize(("right", "down"), [(0, 0), (3, -2), (-4, 5), (10, 7)])
def test_the_iou_of_a_moved_mask_is_that_of_its_pixels(right: int, down: int) -> None:
    image, _ = draw_blocks(1, (40, 28))
    still, moved = np.zeros((2, 28, 40), dtype=bool)
    still[10:20, 12:30] = True
    moved[10 + down : min(20 + down, 28), 12 + right : min(30 + right, 40)] = True
    explorer = widgets.explore_iou(image, np.where(still, 5, 0).astype(np.uint8), [5, 0])
    explorer.controls["right"].value, explorer.controls["down"].value = right, down
    both, union = (moved & still).sum(), (moved | still).sum()
    assert f"{both} pixels in both, {union} in either" in explorer.told.value
    assert f"IoU {both / union:.2f}." in explorer.told.value
    parts = np.asarray(shown(pngs(explorer)[1]).resize((40, 28), Image.Resampling.NEAREST))
    assert (parts[still & moved] == (245, 245, 245)).all()
    assert (parts[still & ~moved] == (0, 90, 160)).all()
    assert (parts[moved & ~still] == (230, 159, 0)).all()


def test_a_version_of_an_augmentation_is_repeatable_and_leaves_other_dice_alone() -> None:
    seen = []
    for _ in range(2):
        torch.manual_seed(5)
        explorer = widgets.explore_augmentation(SCENE.image, SCENE.annotation, recipe_of)
        seen.append((pngs(explorer), torch.rand(1).item()))
    torch.manual_seed(5)
    assert seen[0] == seen[1] == (seen[0][0], torch.rand(1).item())


def test_the_panoptic_answer_counts_its_segments_and_the_pixels_in_none() -> None:
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[:, :15] = 255  # a quarter

    def segments_at(score: float, overlap: float) -> list[dict]:
        car = {"label": "car, auto", "score": 0.91, "mask": Image.fromarray(mask)}
        wall = {"label": "wall", "score": 0.97, "mask": Image.fromarray(255 - mask)}
        return [car, wall] if score < 0.5 and overlap < 0.5 else [car]

    explorer = widgets.explore_panoptic(Image.new("RGB", (60, 40)), segments_at)
    told = "Score from 0.90, overlap from 0.50: 1 car. In no segment: 75.0% of the pixels."
    assert told in explorer.told.value
    explorer.controls["score"].value, explorer.controls["overlap"].value = 0.3, 0.2
    assert "1 car, 1 wall. In no segment: 0.0% of the pixels." in explorer.told.value
    assert explorer.titles[1].value == "2 segments"


def test_a_pixel_tells_its_most_likely_classes_at_its_place() -> None:
    logits = torch.zeros(150, 4, 8)
    logits[20, :, :4] = 9.0  # left: car
    logits[2, :, 4:] = 9.0  # right: sky
    explorer = widgets.explore_probabilities(SCENE.image, logits, row=3, column=5)
    assert "Row 3, column 5: car 0.98" in explorer.told.value
    explorer.controls["column"].value = SCENE.image.width - 1
    assert "sky 0.98" in explorer.told.value
    explorer.controls["label"].value = 20
    assert "car: probability 0.00 here, wins 50.0% of the image." in explorer.told.value


def put(upload: ipywidgets.FileUpload, name: str, content: bytes) -> None:
    """Set the value as a browser does, for ipywidgets 7 or 8."""
    file = {"name": name, "type": "image/png", "size": len(content)}
    file["last_modified"] = datetime.now(UTC)
    if hasattr(upload, "_counter"):
        upload.metadata, upload.data = [file], [content]
        upload._counter += 1
    else:
        upload.set_trait("value", ({**file, "content": memoryview(content)},))


@pytest.mark.parametrize("damage", ["text", "cut", "empty"])
def test_an_upload_is_segmented_and_a_damaged_one_named(damage: str) -> None:
    def segment_it(photo: Image.Image) -> np.ndarray:
        """A quarter of any image is car, the rest is sky."""
        return np.repeat([[20, 2, 2, 2]], photo.width // 4, axis=1).repeat(photo.height, axis=0)

    upload = widgets.segment_upload(SCENE.image, segment_it)
    assert "the image above, " in upload.told.value
    assert "pixels: sky 75%, car 25%" in upload.told.value
    before, whole = pngs(upload), encoded(SCENE.image)
    content = {"text": b"a letter", "cut": whole[: len(whole) // 2], "empty": b""}[damage]
    put(upload.controls["upload"], "<my>.png", content)
    assert pngs(upload) == before
    assert "&lt;my&gt;.png cannot be read as an image" in upload.told.value
    put(upload.controls["upload"], "my.png", encoded(Image.new("LA", (1200, 600), (90, 255))))
    assert pngs(upload) != before
    assert "my.png, 1024 x 512 pixels: sky 75%, car 25%" in upload.told.value
    assert "cannot be read" not in upload.told.value


def test_what_is_told_is_in_the_notebooks_language_and_the_still_image_is_english(
    monkeypatch,
) -> None:
    english = widgets.explore_iou(SCENE.image, LABEL_MAP, [6, 20])
    monkeypatch.setenv("SEG_LANGUAGE", "ja")
    japanese = widgets.explore_iou(SCENE.image, LABEL_MAP, [6, 20])
    assert re.search(r"共通部分は [\d,]+ ピクセル", japanese.told.value)
    ours, theirs = japanese._repr_mimebundle_(), english._repr_mimebundle_()
    assert ours["text/plain"] == "マスクと、それをずらしたもの、そして両者の重なり。"
    assert ours["image/png"] == theirs["image/png"]


def test_names_and_colors_are_those_of_the_labels() -> None:
    labels = Labels(["table", "fruit, ripe"])
    image, label_map = Image.new("RGB", (20, 20)), np.ones((20, 20), dtype=np.uint8)
    overlaid = widgets.explore_overlay(image, {"annotation": label_map}, labels)
    assert overlaid.controls["label"].options[1] == ("fruit, ripe", 1)
    overlaid.controls["opacity"].value = 1.0
    color = tuple(labels.palette[1].tolist())
    assert shown(pngs(overlaid)[1]).getpixel((100, 100)) == color
    assert f"rgb{color}" in overlaid.told.value  # the legend
    assert "> fruit" in overlaid.told.value
    overlaid.controls["label"].index = 1
    assert "IoU" not in overlaid.told.value  # of one map there is none


def test_one_output_holds_the_view_and_the_image_that_is_shown_now() -> None:
    def draw(level: int, name: str) -> tuple[dict[str, Image.Image], list[int], str]:
        return {name: Image.new("RGB", (4, 2), (level, 0, 0))}, [2], f"<{name}> is {level}."

    controls = {
        "level": ipywidgets.IntSlider(100, min=0, max=255, description="Level"),
        "name": ipywidgets.Dropdown(options=["a", "b"], description="Name"),
    }
    explorer = Explorer(controls, draw, "A red image.", ADE20K)
    explorer.controls["level"].value = 200
    explorer.controls["name"].value = "b"
    assert shown(pngs(explorer)[0]).getpixel((480, 200)) == (200, 0, 0)
    assert explorer.titles[0].value == "b"
    assert "&lt;b&gt; is 200." in explorer.told.value  # escaped: names come from models and files
    data, _ = DisplayFormatter().format(explorer)  # as a cell's last value is shown
    assert set(data) == {"text/plain", "image/png", WIDGET_VIEW}
    assert data["text/plain"] == "A red image."
    assert data[WIDGET_VIEW]["model_id"] == explorer.view.model_id
    still = shown(base64.b64decode(data["image/png"]))
    assert still.getpixel((480, 200)) == (200, 0, 0)
    colors = {color for _, color in still.getcolors(still.width * still.height)}
    assert tuple(ADE20K.palette[2].tolist()) in colors  # the legend's
    # Stored, it keeps image and sentence.
    cell = new_code_cell("explorer", outputs=[new_output("execute_result", data)])
    notebook = new_notebook(cells=[cell])
    (problem,) = output_problems(notebook)
    assert "needs a kernel" in problem
    normalize(notebook)
    assert output_problems(notebook) == []
    assert set(notebook.cells[0].outputs[0].data) == {"text/plain", "image/png"}
