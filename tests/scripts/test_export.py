"""The command that writes a model.onnx, and `scripts.segment`, which runs it without PyTorch."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from PIL import Image
from samples import FRUIT, contents, draw_blocks, save_family, save_model
from torchvision.transforms.v2 import functional
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForSemanticSegmentation,
    SegformerImageProcessor,
)

import scripts.onnx_graph
import scripts.onnx_segmenter
import scripts.segment
from helpers.inference import load_model, segment
from helpers.labels import ADE20K
from helpers.profiles import BUNDLED, REPOSITORY
from scripts.export import main
from scripts.onnx_segmenter import OnnxSegmenter, resized

SIZES = [(60, 40), (31, 47), (47, 31), (1, 1), (200, 9)]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of ADE20K's labels with its model.onnx."""
    folder = save_model(tmp_path_factory.mktemp("model"))
    assert export("--model", folder) == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, size in enumerate(SIZES):
        draw_blocks(seed, size)[0].save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def upernet_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled encoder under a UPerNet's head of random weights, for images of any size."""
    return save_upernet(tmp_path_factory.mktemp("upernet"), pool_scales=[])


def save_upernet(folder: Path, pool_scales: list[int]) -> Path:
    encoder = BUNDLED / "checkpoints" / "efficientnet-lite0"
    config = AutoConfig.from_pretrained(encoder, num_labels=3, pool_scales=pool_scales)
    torch.manual_seed(0)
    model = AutoModelForSemanticSegmentation.from_pretrained(encoder, config=config)
    torch.nn.init.normal_(model.decode_head.classifier.weight)  # logits of a trained head's size
    model.save_pretrained(folder)
    AutoImageProcessor.from_pretrained(encoder, do_resize=False).save_pretrained(folder)
    return folder


def export(*arguments: object) -> int:
    return main([str(one) for one in arguments])


def run(*arguments: object) -> int:
    return scripts.segment.main([str(one) for one in arguments])


# --- what is written ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 32), (77, 130), (5, 3), (300, 200)])
def test_resizing_is_that_of_the_image_processor(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    processor = SegformerImageProcessor(size={"height": size[0], "width": size[1]})
    for shape in ((40, 60), (517, 331), (331, 517), (7, 300), (64, 2000), (1, 1)):
        pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        plain = {"do_rescale": False, "do_normalize": False, "return_tensors": "np"}
        expected = processor(Image.fromarray(pixels), **plain)["pixel_values"][0]
        assert (resized(pixels, size) == expected.transpose(1, 2, 0)).all()


def test_upstream_pillow_resizes_otherwise() -> None:
    """Where the two are equal, Pillow's will do in scripts/onnx_segmenter.py."""
    pixels = np.random.default_rng(0).integers(0, 256, (517, 331, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    ours = functional.resize(functional.pil_to_tensor(image), [192, 192]).permute(1, 2, 0).numpy()
    assert (ours != np.asarray(image.resize((192, 192), Image.Resampling.BILINEAR))).any()


def test_the_graph_takes_any_batch_and_size(model_dir: Path) -> None:
    model, image_processor = load_model(model_dir)
    session = onnxruntime.InferenceSession(model_dir / "model.onnx")
    for batch, height, width, size in ((1, 32, 32, (9, 70)), (3, 47, 101, (101, 47))):
        shape = (batch, height, width, 3)
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        label_map, logits = session.run(None, {"image": pixels, "size": np.array(size)})
        plain = image_processor(list(pixels), do_resize=False, return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**plain)
        np.testing.assert_allclose(logits, outputs.logits, atol=1e-4)
        expected = image_processor.post_process_semantic_segmentation(outputs, [size] * batch)
        assert label_map.dtype == np.uint8
        assert (label_map != torch.stack(expected).numpy()).mean() < 1e-3


def test_a_upernet_sees_each_image_at_its_own_size(upernet_dir, folder, tmp_path, capsys) -> None:
    file = tmp_path / "model.onnx"
    assert export("--model", upernet_dir, "--output", file, "--images", folder) == 0
    assert "label maps of 5 images are those of scripts.segment, but for" in capsys.readouterr().out
    exported = OnnxSegmenter(file)
    assert exported.resize is None
    graph = scripts.onnx_graph.Graph(*load_model(upernet_dir))
    for height, width in ((1, 1), (35, 36), (97, 33), (64, 102)):  # each padding of each stride
        pixels = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
        label_maps, logits = exported.run(pixels, (height, width))
        with torch.inference_mode():
            expected_maps, expected = graph(torch.from_numpy(pixels), torch.tensor([height, width]))
        assert logits.shape == (3, 3, height, width)
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        assert (label_maps != expected_maps.numpy()).mean() < 1e-3
    assert np.ptp(logits) > 1
    assert len(np.unique(label_maps)) > 1


def test_images_that_are_scaled_to_fit_keep_their_shape(
    upernet_dir, folder, tmp_path, capsys
) -> None:
    copy = shutil.copytree(upernet_dir, tmp_path / "model")
    processor = SegformerImageProcessor(size={"max_height": 64, "max_width": 80})
    processor.save_pretrained(copy)
    assert export("--model", copy, "--images", folder) == 0
    assert "label maps of 5 images are those of scripts.segment, but for" in capsys.readouterr().out
    exported = OnnxSegmenter(copy / "model.onnx")
    assert exported.resize == {"max_height": 64, "max_width": 80}
    for width, height in (*SIZES, (640, 427), (333, 1000), (80, 64)):
        image = draw_blocks(0, (width, height))[0]
        expected = processor(image, do_rescale=False, do_normalize=False)["pixel_values"][0]
        assert (exported.seen(image)[0] == np.asarray(expected).transpose(1, 2, 0)).all()


def test_metadata_name_the_labels_their_colors_and_the_size(model_dir, tmp_path, capsys) -> None:
    about = {one.key: one.value for one in onnx.load(model_dir / "model.onnx").metadata_props}
    labels = json.loads(about["labels"])
    assert labels["names"] == list(ADE20K.names)
    assert labels["colors"] == ADE20K.palette.tolist()
    assert labels["reduce"] is True
    assert json.loads(about["resize"]) == [32, 32]
    fruit = save_model(tmp_path / "fruit", num_labels=3)
    FRUIT.save(fruit)
    model, _ = load_model(fruit)
    model.config.id2label = FRUIT.id2label
    model.save_pretrained(fruit)
    assert export("--model", fruit, "--output", tmp_path / "fruit.onnx") == 0
    told = capsys.readouterr().out
    assert "fruit.onnx: 0." in told
    assert "3 labels (background, apple, pear), value 0 is background" in told
    assert "label maps of 10 images are those of scripts.segment, but for" in told
    assert OnnxSegmenter(tmp_path / "fruit.onnx").labels == FRUIT_WITH_COLORS


FRUIT_WITH_COLORS = type(FRUIT)(FRUIT.names, tuple(map(tuple, FRUIT.palette.tolist())))


# --- what is refused ---------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], status: int, *arguments: object) -> str:
    capsys.readouterr()
    assert export(*arguments) == status
    lines = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(lines) == 1
    return lines[0]


def test_a_graph_that_gives_other_label_maps_is_not_written(
    tmp_path, folder, monkeypatch, capsys
) -> None:
    model_dir = save_model(tmp_path / "model")
    before = contents(model_dir)
    compare, written = scripts.onnx_graph.compare_logits, []

    def another(exported: OnnxSegmenter, graph: torch.nn.Module) -> None:
        compare(exported, graph)
        written.append(exported)
        torch.nn.init.normal_(graph.model.decode_head.classifier.weight)

    with monkeypatch.context() as patch:
        patch.setattr(scripts.onnx_graph, "compare_logits", another)
        line = refused(capsys, 1, "--model", model_dir, "--images", folder)
    assert f"on {folder / '0.png'}, " in line
    assert "of the pixels get another class, with logits up to" in line
    assert written
    assert contents(model_dir) == before

    def other_mean(graph: torch.nn.Module, *_: object) -> None:
        graph.mean += 100

    with monkeypatch.context() as patch:
        write = scripts.onnx_graph.write
        patch.setattr(
            scripts.onnx_graph, "write", lambda *parts: (write(*parts), other_mean(parts[1]))
        )
        line = refused(capsys, 1, "--model", model_dir, "--images", folder)
    assert "cannot be exported: its logits differ by" in line
    assert contents(model_dir) == before


def test_padding_of_the_sample_that_stays_in_the_graph_is_refused(
    upernet_dir, tmp_path, monkeypatch, capsys
) -> None:
    """timm pads a convolution of stride 2 by its input's size, which tracing has to follow."""
    padding = timm.layers.padding.get_same_padding
    monkeypatch.setattr(
        timm.layers.padding, "get_same_padding", lambda *sizes: padding(*map(int, sizes))
    )
    line = refused(capsys, 1, "--model", upernet_dir, "--output", tmp_path / "model.onnx")
    assert "cannot be exported: its logits differ by" in line
    assert not list(tmp_path.iterdir())


def test_pooling_that_depends_on_the_images_size_is_refused(tmp_path, capsys) -> None:
    line = refused(capsys, 1, "--model", save_upernet(tmp_path, pool_scales=[1, 2, 3, 6]))
    assert "its config.json has pool_scales [1, 2, 3, 6]" in line
    assert line.endswith("expected none above 1; train it with pool_scales=[1] or []")
    assert not list(tmp_path.rglob("*.onnx"))


def test_pixels_as_good_as_tied_may_differ_but_few_of_them(model_dir, monkeypatch) -> None:
    exported = OnnxSegmenter(model_dir / "model.onnx")
    model, image_processor = load_model(model_dir)
    with torch.no_grad():  # two classes that are always equal
        model.decode_head.classifier.weight[1] = model.decode_head.classifier.weight[0]
        model.decode_head.classifier.bias[:2] = 100
    image = draw_blocks(0, (60, 40))[0]
    graph = scripts.onnx_graph.Graph(model, image_processor)
    expected = segment(image, model, image_processor)
    assert set(np.unique(expected)) <= {0, 1}
    for changed, fits in ((2, True), (3, False)):  # of 2,400
        found = expected.copy()
        found.reshape(-1)[:changed] = 1 - found.reshape(-1)[:changed]
        monkeypatch.setattr(exported, "segment", lambda images, found=found: [found])
        monkeypatch.setattr(exported, "run", lambda *_, found=found: [found[None]])
        compared = (exported, graph, image_processor, [("an image", image)])
        if fits:
            told = scripts.onnx_graph.compare_label_maps(*compared)
            assert told.endswith("but for 2 of 2,400 pixels")
        else:
            with pytest.raises(ValueError, match=r"on an image, 0\.12% of the pixels"):
                scripts.onnx_graph.compare_label_maps(*compared)


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("dpt", "DPTImageProcessor resizes to"),
        ("mobilevit", "MobileViTImageProcessor resizes to"),
        ("mobilenet_v2", "MobileNetV2ImageProcessor resizes to"),
    ],
)
def test_models_that_see_images_otherwise_are_refused(tmp_path, capsys, family, why) -> None:
    save_family(family, tmp_path / "model", 3)
    line = refused(capsys, 1, "--model", tmp_path / "model")
    assert f"model cannot be exported: its {why}" in line
    assert "expected a height and a width (or max_height and max_width), and resample 2" in line
    assert not list(tmp_path.rglob("*.onnx"))


def test_wrong_use_and_missing_models_are_refused(tmp_path, model_dir, folder, capsys) -> None:
    common = ["--model", model_dir, "--output"]
    assert "expected NAME.onnx" in refused(capsys, 2, *common, tmp_path / "model.pt")
    assert "in a folder that exists" in refused(capsys, 2, *common, tmp_path / "no" / "a.onnx")
    assert "expected NAME.onnx" in refused(capsys, 2, "--model", "somebody/segformer")
    line = refused(capsys, 1, "--model", tmp_path, "--output", tmp_path / "a.onnx")
    assert f"{tmp_path} has no config.json" in line
    line = refused(capsys, 1, *common, tmp_path / "a.onnx", "--images", tmp_path / "no")
    assert "there is no image or folder" in line
    (folder / "0.png").write_bytes(b"no image")
    line = refused(capsys, 1, *common, tmp_path / "a.onnx", "--images", folder)
    assert str(folder / "0.png") in line
    assert not list(tmp_path.glob("*.onnx"))
    assert not list(tmp_path.glob(".export-*"))


def test_onnx_runtime_reports_to_nobody(model_dir: Path, folder: Path, tmp_path: Path) -> None:
    """Unless told otherwise before it is imported, it numbers the machine and reports sessions."""
    own = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-m", "scripts.segment", folder, "--output", tmp_path / "results"]
    subprocess.run(
        [*command, "--model", model_dir / "model.onnx"],
        cwd=REPOSITORY,
        env=own | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        check=True,
    )
    assert not list(tmp_path.glob("cache/Microsoft/**/*"))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(
    model_dir, folder, tmp_path, package, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(scripts.onnx_segmenter, "find_spec", lambda name: name != package)
    line = refused(capsys, 1, "--model", model_dir, "--output", tmp_path / "a.onnx")
    assert line.endswith(f"model.onnx needs a package that is missing: pip install {package}")
    if package == "onnxruntime":
        common = [folder, "--model", model_dir / "model.onnx", "--output", tmp_path / "out"]
        assert run(*common) == 1
        assert "pip install onnxruntime" in capsys.readouterr().err


# --- what scripts.segment does with it ------------------------------------------------------------


def test_segment_runs_it_without_pytorch(model_dir: Path, folder: Path, tmp_path: Path) -> None:
    script = "import sys; from scripts.segment import main; status = main(sys.argv[1:]); "
    script += "heavy = {'torch', 'transformers', 'torchvision'} & {*sys.modules}; "
    script += "sys.exit(f'{status} {heavy}')"
    out = tmp_path / "out"
    command = [sys.executable, "-c", script, folder, "--model", model_dir / "model.onnx"]
    done = subprocess.run(
        [*map(str, command), "--output", str(out)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1] == "0 set()"
    assert "5 found: 5 segmented, 0 finished before, 0 failed" in done.stdout
    model, image_processor = load_model(model_dir)
    for seed in range(len(SIZES)):
        with Image.open(folder / f"{seed}.png") as image:
            expected = segment(image, model, image_processor)
        with Image.open(out / "labels" / f"{seed}.png") as stored:
            assert (np.asarray(stored) != expected).mean() < 1e-3
            assert (np.asarray(stored.convert("RGB")) == ADE20K.palette[np.asarray(stored)]).all()
        assert (out / "overlays" / f"{seed}.jpg").is_file()


def test_a_run_resumes_with_either_of_the_two(model_dir, folder, tmp_path, capsys) -> None:
    both = tmp_path / "both"
    assert run(folder / "0.png", "--model", model_dir / "model.onnx", "--output", both) == 0
    plain = shutil.copytree(model_dir, tmp_path / "plain", ignore=lambda *_: ["model.onnx"])
    assert run(folder, "--model", plain, "--output", both) == 0
    assert "4 segmented, 1 finished before" in capsys.readouterr().out


def test_a_folder_with_its_model_onnx_uses_it_on_a_cpu_while_it_fits(
    model_dir, folder, tmp_path, capsys
) -> None:
    copy = shutil.copytree(model_dir, tmp_path / "copy")
    common = [folder, "--model", copy, "--device", "cpu", "--no-overlays", "--output"]
    assert run(*common, tmp_path / "a") == 0
    assert f"ONNX Runtime runs {copy / 'model.onnx'}" in capsys.readouterr().out
    assert run(*common, tmp_path / "window", "--window", 32) == 0
    assert "ONNX" not in capsys.readouterr().out
    save_model(copy, seed=1)
    assert run(*common, tmp_path / "b") == 0
    shown = capsys.readouterr()
    assert "ONNX" not in shown.out
    assert "model.onnx was exported from other weights, labels or preprocessing" in shown.err
    assert contents(tmp_path / "a" / "labels") != contents(tmp_path / "b" / "labels")
    (copy / "model.onnx").write_bytes(b"no graph")
    assert run(*common, tmp_path / "c") == 0
    assert "notice: PyTorch is used (--model" in capsys.readouterr().err
    assert contents(tmp_path / "c" / "labels") == contents(tmp_path / "b" / "labels")


def test_files_that_are_not_ours_and_what_needs_pytorch_are_refused(
    model_dir, folder, tmp_path, capsys
) -> None:
    def line_of(status: int, file: Path, *options: object) -> str:
        assert run(folder, "--model", file, "--output", tmp_path / "out", *options) == status
        return capsys.readouterr().err

    foreign, broken = tmp_path / "foreign.onnx", tmp_path / "broken.onnx"
    graph = onnx.load(model_dir / "model.onnx")
    del graph.metadata_props[:]
    onnx.save(graph, foreign)
    assert "expected a file that python -m scripts.export wrote" in line_of(1, foreign)
    broken.write_bytes(b"no graph")
    assert f"--model {broken} cannot be used: " in line_of(1, broken)
    assert "there is no model file" in line_of(1, tmp_path / "no.onnx")
    assert "runs on the CPU" in line_of(2, model_dir / "model.onnx", "--window", 64)
    assert "runs on the CPU" in line_of(2, model_dir / "model.onnx", "--device", "cuda")
