"""Evaluation as papers do it, against a slow, plain implementation that shares no code with it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from datasets import Dataset
from PIL import Image
from samples import (
    draw_blocks,
    save_model,
    small_model,
    small_processor,
    write_ade_folder,
)
from scipy.special import softmax
from torch.nn.functional import interpolate
from transformers import BaseImageProcessor, SegformerForSemanticSegmentation

from helpers.data import load_scenes
from helpers.evaluation import Protocol, evaluate, segment_by_protocol
from helpers.inference import load_model, segment
from helpers.labels import ADE20K, Labels
from helpers.metrics import ConfusionMatrix
from helpers.profiles import REPOSITORY, get_profile
from scripts.evaluate import main
from tests.benchmarks import bench_evaluation_memory

PROTOCOLS = [
    Protocol(32),
    Protocol(32, flip=True),
    Protocol(48, window=32, stride=11),
    Protocol(64, window=32, stride=32),
    Protocol(45, window=33, stride=17, flip=True),
    Protocol(33, window=200),
]
SIZES = [(48, 36), (36, 48), (33, 33), (31, 47), (7, 90), (90, 7), (101, 40), (1, 1), (64, 64)]


# --- the plain implementation -------------------------------------------------------------------


def resize(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    maps = torch.from_numpy(np.ascontiguousarray(maps))[None]
    return interpolate(maps, size=(height, width), mode="bilinear")[0].numpy()


def plain_windows(pixels: torch.Tensor, model, protocol: Protocol) -> np.ndarray:
    """Logits at the size of `pixels`: walk in steps, move the last window back inside."""

    def forward(part: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            logits = model(pixel_values=part[None]).logits[0].double().numpy()
        return resize(logits, *part.shape[-2:])

    _, height, width = pixels.shape
    if protocol.window is None:
        return forward(pixels)
    total, seen = np.zeros((model.config.num_labels, height, width)), np.zeros((height, width))
    for y, bottom in walk(height, protocol):
        for x, right in walk(width, protocol):
            total[:, y:bottom, x:right] += forward(pixels[:, y:bottom, x:right])
            seen[y:bottom, x:right] += 1
    assert seen.min() >= 1
    return total / seen


def walk(length: int, protocol: Protocol) -> Iterator[tuple[int, int]]:
    """Where the windows along a side begin and end."""
    begin = end = 0
    while end < length:
        end = min(begin + protocol.window, length)
        yield max(end - protocol.window, 0), end
        begin += protocol.stride


def plain_scores(
    image: Image.Image, model, processor: BaseImageProcessor, protocol: Protocol
) -> np.ndarray:
    """(num_labels, height, width) scores of an upright RGB image at its own size."""
    width, height = image.size
    scale = protocol.short_side / min(width, height)
    if max(width, height) * scale > 4 * protocol.short_side:
        scale = 4 * protocol.short_side / max(width, height)
    new_width, new_height = (max(32, round(side * scale + 1e-9)) for side in (width, height))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]  # bytes stay bytes
    size = (new_height, new_width)
    pixels = interpolate(pixels, size=size, mode="bilinear", antialias=True)[0].float()
    mean = torch.tensor(processor.image_mean)[:, None, None]
    pixels = (pixels / 255 - mean) / torch.tensor(processor.image_std)[:, None, None]
    scores = resize(plain_windows(pixels, model, protocol), height, width)
    if not protocol.flip:
        return scores
    mirrored = resize(plain_windows(pixels.flip(-1), model, protocol)[:, :, ::-1], height, width)
    return softmax(scores, axis=0) + softmax(mirrored, axis=0)


# --- one image --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> SegformerForSemanticSegmentation:
    """Random weights, the head's large enough that classes differ clearly from pixel to pixel."""
    model = small_model(num_labels=9).eval()
    with torch.no_grad():
        model.decode_head.classifier.weight *= 20
    return model


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_an_image_of_any_size_is_segmented_as_the_plain_way_does(
    model: SegformerForSemanticSegmentation, protocol: Protocol, size: tuple[int, int]
) -> None:
    noise = np.random.default_rng(size).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.blend(Image.fromarray(noise), draw_blocks(1, (90, 90))[0].resize(size), 0.6)
    labels = segment_by_protocol(image, model, small_processor(), protocol).numpy()
    scores = plain_scores(image, model, small_processor(), protocol)
    # Each label has the highest score, or one as good as that up to 32-bit rounding.
    chosen = np.take_along_axis(scores, labels[None], axis=0)[0]
    assert (scores.max(axis=0) - chosen).max() < 1e-4
    assert (labels == scores.argmax(axis=0)).mean() > 0.999
    if min(size) > 30:
        assert len(np.unique(labels)) > 2  # else any map would do


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"short_side": 31}, "short_side is 31: expected at least 32"),
        ({"window": -1}, "window is -1 and stride -1: expected a window of at least 32 pixels"),
        ({"window": 32, "stride": 0}, "and a stride of 1 to the window's size"),
        ({"stride": 5}, "stride is 5 and there is no window"),
    ],
)
def test_a_protocol_that_makes_no_sense_is_refused(settings: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Protocol(**settings)


def test_a_protocol_is_told_with_two_thirds_of_the_window_as_its_stride() -> None:
    told = "short side 512, windows of 512, stride 341, with flip"
    assert str(Protocol(512, 512, flip=True)) == told


# --- a data set ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven test images, which two processes cannot share equally."""
    return write_ade_folder(tmp_path_factory.mktemp("scenes"), train=1, test=7)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model with ADE20K's labels, and its image processor, as a folder."""
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def scenes(folder: Path) -> Dataset:
    return load_scenes(replace(get_profile("tiny"), dataset=str(folder)))["test"]


def test_without_a_protocol_it_counts_what_segment_finds(
    folder: Path, scenes: Dataset, saved: Path
) -> None:
    model, processor = load_model(saved)
    matrix = evaluate(scenes, model, processor)
    expected = ConfusionMatrix(150)
    for index in range(7):
        name = f"scene_{1000 + index}"
        image = Image.open(folder / "images" / "validation" / f"{name}.jpg")
        annotation = Image.open(folder / "annotations" / "validation" / f"{name}.png")
        expected.update(segment(image, model, processor), ADE20K.to_label_map(annotation))
    assert expected.counts.sum() > 0
    assert (matrix.counts == expected.counts).all()
    helped = evaluate(scenes, model, processor, num_workers=2)
    assert (helped.counts == expected.counts).all()


@pytest.mark.parametrize("labels", [None, Labels([f"LABEL_{k}" for k in range(151)])])
def test_annotations_are_read_by_the_labels_of_the_data(
    scenes: Dataset, labels: Labels | None
) -> None:
    """A data set of one's own may have class 0."""
    model, processor = small_model(num_labels=151).eval(), small_processor()
    processor.do_reduce_labels = labels is not None  # what the data says counts, if it says so
    matrix = evaluate(scenes, model, processor, Protocol(32), labels)
    expected = np.bincount(
        np.concatenate([np.ravel(one["annotation"]) for one in scenes]), minlength=151
    )
    assert expected[0] > 0
    assert (matrix.counts.sum(axis=1) == expected).all()


def test_a_model_of_other_labels_is_refused_with_the_first_difference(
    scenes: Dataset, saved: Path
) -> None:
    labels = Labels((*ADE20K.names[:20], "lorry", *ADE20K.names[21:]), reduce=True)
    told = "label id 20 is 'lorry' in the data and 'car' in the model: their scores would mean"
    with pytest.raises(ValueError, match=told):
        evaluate(scenes, *load_model(saved), labels=labels)


def test_an_annotation_of_another_size_is_refused(saved: Path) -> None:
    image, annotation = draw_blocks(1, (48, 36))
    turned = annotation.transpose(Image.Transpose.ROTATE_90)
    wrong = Dataset.from_dict({"image": [image], "annotation": [turned]})
    with pytest.raises(ValueError, match="48 x 36 pixels, its annotation 36 x 48"):
        evaluate(wrong, *load_model(saved))


@pytest.mark.slow
def test_two_processes_count_each_image_once(
    folder: Path, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--model", str(saved), "--max-images", "5", "--window", "32", "--json"]
    monkeypatch.setenv("SEG_DATA", str(folder))
    assert main([*options, str(tmp_path / "1.json")]) == 0
    done = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"),
            *("-m", "scripts.evaluate", *options, str(tmp_path / "2.json")),
        ],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mean_iou") == 1  # one process speaks
    one, two = (json.loads((tmp_path / f"{n}.json").read_text(encoding="utf-8")) for n in (1, 2))
    assert (one.pop("processes"), two.pop("processes")) == (1, 2)
    assert one.pop("seconds") > 0
    assert two.pop("seconds") > 0
    assert one == two
    assert one["labelled_pixels"] > 0


def test_memory_does_not_grow_with_the_number_of_images(saved: Path) -> None:
    """What the guide's evaluation keeps of one image, its logits, would be 8 MB each here."""
    model, processor = load_model(saved)
    images = [draw_blocks(seed, (120, 110)) for seed in range(4)]
    repeated = Dataset.from_dict({"index": list(range(60))}).with_transform(
        lambda rows: {
            "image": [images[index % 4][0] for index in rows["index"]],
            "annotation": [images[index % 4][1] for index in rows["index"]],
        }
    )
    protocol = Protocol(64, window=48)
    evaluate(repeated.select(range(8)), model, processor, protocol)
    process, before = psutil.Process(), psutil.Process().memory_info().rss
    evaluate(repeated, model, processor, protocol)
    grown = (process.memory_info().rss - before) / 2**20
    assert grown < 60, f"{grown:.0f} MiB"  # kept logits: 60 x 7.9 MB = 475 MB


@pytest.mark.slow
def test_the_trainer_s_evaluation_takes_constant_memory_too() -> None:
    """Each measurement in a process of its own; the benchmark has 2,000 images of 512 x 512."""
    few, many = (bench_evaluation_memory.measure("ours", count, 128) for count in (20, 200))
    guide, more = (bench_evaluation_memory.measure("guide", count, 128) for count in (20, 60))
    assert many["peak"] < 1.1 * few["peak"]
    assert more["peak"] > 1.2 * guide["peak"]  # if every logit were kept, this would show it
    assert few["mean_iou"] == pytest.approx(guide["mean_iou"], rel=1e-6)
    assert few["loss"] == pytest.approx(guide["loss"], rel=1e-5)


# --- the command line ---------------------------------------------------------------------------


def test_the_command_tells_scores_and_writes_them(
    saved: Path,
    scenes: Dataset,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SEG_DATA", str(folder))
    file = tmp_path / "scores.json"
    assert main(["--model", str(saved), "--max-images", "4", "--json", str(file)]) == 0
    told = capsys.readouterr().out
    model, processor = load_model(saved)
    matrix = evaluate(scenes.select(range(4)), model, processor, Protocol(32))
    expected = matrix.compute()
    assert f"mean_iou          {expected['mean_iou']:.4f}" in told
    assert "on 4 validation images of" in told
    assert "short side 32, whole images" in told  # the size of the model's input
    result = json.loads(file.read_text(encoding="utf-8"))
    assert result["mean_iou"] == expected["mean_iou"]
    assert result["labelled_pixels"] == matrix.counts.sum()
    assert result["protocol"] == {"short_side": 32, "window": None, "stride": None, "flip": False}
    absent = np.flatnonzero(np.isnan(expected["per_category_iou"]))
    assert result["iou"][ADE20K.id2label[absent[0]]] is None  # NaN is not JSON
    assert len(result["iou"]) == 150


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        (["--profile", "huge"], 2, "unknown profile 'huge'"),
        (["--model", "nowhere/at-all"], 1, "nowhere/at-all is loaded from the Hugging Face Hub"),
        (["--data", "no/such/folder"], 1, "--data is 'no/such/folder', and there is no folder"),
        (["--split", "test"], 1, 'has no split "test"'),
        ([], 1, "scene_1001.jpg"),
    ],
)
def test_what_is_missing_or_broken_is_told_in_one_sentence(
    options: list[str], status: int, told: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    folder = write_ade_folder(tmp_path / "scenes", train=1, test=2)
    image = folder / "images" / "validation" / "scene_1001.jpg"
    image.write_bytes(image.read_bytes()[:300])
    monkeypatch.setenv("SEG_DATA", str(folder))
    assert main(options) == status
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert told in line


@pytest.mark.parametrize(
    "options",
    ["--short-side 0", "--stride 5", "--max-images 0", "--num-workers -1", "--json no/such/file"],
)
def test_wrong_options_are_refused_before_anything_is_loaded(
    options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(options.split())
    assert stop.value.code == 2
    assert "error: " in capsys.readouterr().err
