"""The bundled Mask2Formers: real models, as good as their cards say, through `pipeline`."""

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    AutoModelForUniversalSegmentation,
    ImageSegmentationPipeline,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    SegformerModel,
    pipeline,
)

from helpers.images import load_image
from helpers.labels import ADE20K
from helpers.profiles import BUNDLED, get_profile
from tools.drawing.scenes import (
    CLASS_VALUES,
    HELD_OUT_SEEDS,
    PRETRAINING_SEEDS_START,
    STUFF_VALUES,
    THING_VALUES,
    draw_scene,
)
from tools.drawing.train_panoptic import (
    PanopticScenes,
    backbone_of,
    build_network,
    panoptic_quality,
    segment_numbers,
)
from tools.drawing.train_panoptic import main as train

CHECKPOINTS = BUNDLED / "checkpoints"
NAMES = ["mask2former-toy", "mask2former-toy-instance"]
SCENES = [draw_scene(seed) for seed in HELD_OUT_SEEDS[:30]]


@cache
def segmenter(name: str) -> ImageSegmentationPipeline:
    return pipeline("image-segmentation", model=str(CHECKPOINTS / name))


def masks(entries: list[dict]) -> np.ndarray:
    """(segments, height, width) bool."""
    return np.stack([np.asarray(entry["mask"]) > 0 for entry in entries])


def promised(name: str) -> list[float]:
    """The figures in a model's card."""
    card = (CHECKPOINTS / name / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| 0\.\d{4}.*\|$", card, re.MULTILINE)
    return [float(figure) for figure in re.findall(r"0\.\d{4}", row)]


# --- the files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_loads_completely(name: str) -> None:
    model, report = AutoModelForUniversalSegmentation.from_pretrained(
        CHECKPOINTS / name, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert model.config.id2label == ADE20K.id2label
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert 1e6 <= sum(parameter.numel() for parameter in model.parameters()) <= 2e6
    stored = load_file(CHECKPOINTS / name / "model.safetensors").values()
    assert {tensor.dtype for tensor in stored if tensor.is_floating_point()} == {torch.float16}


def test_the_cards_promise_what_was_asked_for() -> None:
    everything, things, _ = promised("mask2former-toy")  # on 200 scenes that no training saw
    assert everything >= 0.65
    assert things >= 0.50
    (things,) = promised("mask2former-toy-instance")
    assert things >= 0.50


@pytest.mark.parametrize("name", NAMES)
def test_keeps_what_its_card_promises(name: str) -> None:
    """Thirty of the two hundred scenes: the rest is chance, and a damaged file scores near 0."""
    figures = promised(name)
    model = segmenter(name).model
    subtask, threshold = ("panoptic", 0.5) if len(figures) > 1 else ("instance", 0.8)
    image_processor = segmenter(name).image_processor
    scores = panoptic_quality(SCENES, model, image_processor, threshold, subtask)
    assert scores["things"] > (figures[1] if len(figures) > 1 else figures[0]) - 0.1
    if len(figures) > 1:
        assert scores["all"] > figures[0] - 0.08
        assert scores["stuff"] > figures[2] - 0.08


def test_panoptic_quality_is_1_for_the_truth_and_0_for_nothing() -> None:
    """Fed with the annotation instead of a model's answer."""

    class Truth(torch.nn.Module):
        device = "cpu"

        def forward(self, **_: object) -> None:
            return None

    class FromAnnotation:
        def __init__(self, scenes: list, share: float) -> None:
            self.scenes, self.share = iter(scenes), share

        def __call__(self, *_: object, **__: object) -> "FromAnnotation":
            return self

        def to(self, _: str) -> dict:
            return {}

        def post_process_panoptic_segmentation(self, *_: object, **__: object) -> list[dict]:
            numbers = segment_numbers(next(self.scenes))
            segments = np.zeros(numbers.shape, dtype=np.int32)
            found = [number for number in np.unique(numbers) if number >= 256]
            info = []
            for index, number in enumerate(found[: round(self.share * len(found))], start=1):
                segments[numbers == number] = index
                info.append({"id": index, "label_id": int(number) // 256 - 1})
            return [{"segmentation": torch.from_numpy(segments), "segments_info": info}]

    scenes = SCENES[:5]
    perfect = panoptic_quality(scenes, Truth(), FromAnnotation(scenes, 1.0))
    assert perfect == {"all": 1.0, "things": 1.0, "stuff": 1.0}
    half = panoptic_quality(scenes, Truth(), FromAnnotation(scenes, 0.5))
    assert 0.1 < half["all"] < 0.9
    assert panoptic_quality(scenes, Truth(), FromAnnotation(scenes, 0.0))["all"] == 0


# --- through `pipeline` ---------------------------------------------------------------------------


def test_profile_tiny_names_them() -> None:
    profile = get_profile("tiny")
    assert [Path(profile.panoptic_model).name, Path(profile.instance_model).name] == NAMES
    assert Path(profile.street_image).is_file()


def test_semantic_entries_are_classes_without_a_score() -> None:
    for name in ("segformer-toy", "mask2former-toy"):
        for scene in SCENES[:6]:
            entries = segmenter(name)(scene.image, subtask="semantic")
            labels = [entry["label"] for entry in entries]
            assert len(set(labels)) == len(labels)
            assert {entry["score"] for entry in entries} == {None}
            assert (masks(entries).sum(axis=0) == 1).all()


def test_panoptic_maps_cover_every_pixel_once() -> None:
    covered = []
    for scene in SCENES:
        claims = masks(segmenter("mask2former-toy")(scene.image, subtask="panoptic")).sum(axis=0)
        assert claims.max() == 1
        covered.append(claims.mean())
        # Nothing is dropped for having lost most of its mask to others: then nothing is void.
        keep_all = {"mask_threshold": 0.0, "overlap_mask_area_threshold": 0.0}
        entries = segmenter("mask2former-toy")(scene.image, subtask="panoptic", **keep_all)
        assert (masks(entries).sum(axis=0) == 1).all()
    assert np.mean(covered) > 0.98


def test_instances_are_things_only() -> None:
    things = {ADE20K.id2label[value - 1] for value in THING_VALUES}
    stuff = {ADE20K.id2label[value - 1] for value in STUFF_VALUES}
    found = set()
    for scene in SCENES:
        entries = segmenter("mask2former-toy-instance")(scene.image, subtask="instance")
        assert all(0 < entry["score"] <= 1 for entry in entries)
        found |= {entry["label"] for entry in entries}
    assert found <= things
    assert not found & stuff
    assert len(found) >= 12


@pytest.mark.parametrize(
    ("name", "subtask", "threshold"), [(NAMES[0], "panoptic", 0.5), (NAMES[1], "instance", 0.8)]
)
def test_instances_of_a_class_do_not_merge(name: str, subtask: str, threshold: float) -> None:
    """Of the things that can be seen well, most have a mask of their own, and few share one."""
    seen = own = shared = shared_cars = 0
    for scene in SCENES:
        entries = segmenter(name)(scene.image, subtask=subtask, threshold=threshold)
        numbers = segment_numbers(scene)
        things, areas = np.unique(numbers[numbers % 256 > 0], return_counts=True)
        for value in np.unique(things // 256):
            truths = [numbers == n for n in things[(things // 256 == value) & (areas >= 300)]]
            mine = [entry for entry in entries if entry["label"] == ADE20K.id2label[value - 1]]
            predicted = masks(mine) if mine else []
            for truth in truths:
                ious = [(truth & one).sum() / (truth | one).sum() for one in predicted]
                seen += 1
                own += max(ious, default=0) > 0.5
            melted = sum(
                sum((truth & one).sum() > 0.5 * truth.sum() for truth in truths) > 1
                for one in predicted
            )
            shared += melted
            shared_cars += melted * (ADE20K.id2label[value - 1] == "car")
    assert seen > 150
    assert own > 0.65 * seen
    assert shared < 0.1 * seen  # trees before trees, mostly
    assert shared_cars <= 1  # of dozens


@pytest.mark.parametrize("subtask", ["semantic", "instance", "panoptic"])
@pytest.mark.parametrize(
    ("mode", "size", "shown"),
    [
        ("L", (1, 1), (1, 1)),
        ("RGBA", (500, 20), (500, 20)),
        ("L", (33, 70), (33, 70)),
        ("RGB", (8000, 6000), (1024, 768)),
    ],
)
def test_odd_images_work_as_notebook_01_reads_them(
    subtask: str, mode: str, size: tuple[int, int], shown: tuple[int, int], tmp_path: Path
) -> None:
    file = tmp_path / "image.png"
    Image.new(mode, size, 200).save(file)
    image = load_image(file)
    image.thumbnail((1024, 1024))
    for name in NAMES:
        entries = segmenter(name)(image, subtask=subtask)
        assert all(entry["mask"].size == shown for entry in entries)


# --- training -------------------------------------------------------------------------------------


def test_the_backbone_computes_what_the_encoder_does() -> None:
    encoder = SegformerModel.from_pretrained(CHECKPOINTS / "mit-toy").eval()
    model = build_network(CHECKPOINTS / "mit-toy", seed=0).eval()
    pixel_values = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = encoder(pixel_values, output_hidden_states=True).hidden_states
        features = backbone_of(model)(pixel_values).feature_maps
    for ours, theirs in zip(features, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("things_only", [False, True])
def test_training_rows_are_the_segments_of_the_scene(things_only: bool) -> None:
    start = PRETRAINING_SEEDS_START
    rows = PanopticScenes(range(start, start + 2), Mask2FormerImageProcessor(), things_only)
    rows.augment = lambda image, mask: (image, mask)  # as drawn
    scene = draw_scene(start)
    numbers = segment_numbers(scene)
    row = rows[0]
    values = CLASS_VALUES if not things_only else THING_VALUES
    expected = {int(n) for n in np.unique(numbers) if n >= 256 and n // 256 in values}
    small = {n for n in expected if (numbers == n).sum() < 16}
    assert len(row["class_labels"]) == len(row["mask_labels"]) == len(expected - small)
    for label, mask in zip(row["class_labels"].tolist(), row["mask_labels"], strict=True):
        (number,) = np.unique(numbers[mask.numpy() > 0])
        assert number // 256 == label + 1
        assert mask.sum() == (numbers == number).sum()
    assert row["pixel_values"].shape == (3, 128, 128)


@pytest.mark.slow
def test_training_runs_from_the_encoder_and_goes_on_with_things(tmp_path: Path) -> None:
    options = ["--scenes", "4", "--steps", "2", "--batch-size", "2", "--evaluate-on", "1"]
    options += ["--evaluate-every", "100", "--output", str(tmp_path / "made")]
    train([*options, "--work-dir", str(tmp_path / "all")])
    train([*options, "--work-dir", str(tmp_path / "things"), "--things-only"])
    for name in NAMES:
        made = {file.name for file in (tmp_path / "made" / name).iterdir()}
        assert made == {file.name for file in (CHECKPOINTS / name).iterdir()}
        Mask2FormerForUniversalSegmentation.from_pretrained(tmp_path / "made" / name)
