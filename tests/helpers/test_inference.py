"""From an image to its label map at the image's own size, at once or through windows."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from samples import FRUIT, draw_blocks, small_model, small_processor
from torch.nn.functional import interpolate
from transformers import (
    DPTImageProcessor,
    MobileNetV2ImageProcessor,
    MobileViTImageProcessor,
    SegformerForSemanticSegmentation,
)
from transformers.modeling_outputs import SemanticSegmenterOutput

from helpers.evaluation import Protocol, segment_by_protocol
from helpers.inference import (
    argmax_of_strips,
    load_labels,
    load_model,
    segment,
    segment_batch,
    segment_windows,
    upsampled_argmax,
    upsampled_strips,
    window_starts,
)
from helpers.labels import ADE20K, Labels
from helpers.profiles import BUNDLED, REPOSITORY
from tools.drawing.scenes import draw_scene


@pytest.fixture(scope="module")
def model() -> SegformerForSemanticSegmentation:
    return small_model().eval()


SIZES = [(60, 40), (40, 60), (33, 33), (1, 1), (1, 3), (3, 1), (200, 3), (3, 200), (5_000, 1)]


@pytest.mark.parametrize("size", SIZES)
def test_segment_is_processor_logits_upsampling_argmax(
    model: SegformerForSemanticSegmentation, size: tuple[int, int]
) -> None:
    image = draw_blocks(1, size)[0] if min(size) > 1 else Image.new("RGB", size, (10, 200, 30))
    processor = small_processor()
    label_map = segment(image, model, processor)
    assert label_map.dtype == np.uint8
    with torch.no_grad():
        logits = model(**processor(image, return_tensors="pt")).logits
    upsampled = interpolate(logits, size=size[::-1], mode="bilinear")
    assert (label_map == upsampled.argmax(dim=1)[0].numpy()).all()


def test_a_batch_equals_its_images_one_by_one(model: SegformerForSemanticSegmentation) -> None:
    sizes = [(60, 40), (40, 60), (33, 33), (200, 3), (64, 64)]
    images = [draw_blocks(seed, size)[0] for seed, size in enumerate(sizes)]
    images[1] = images[1].convert("L")
    together = segment_batch(images, model, small_processor())
    assert [one.shape for one in together] == [size[::-1] for size in sizes]
    for image, label_map in zip(images, together, strict=True):
        alone = segment(image, model, small_processor())
        assert label_map.dtype == alone.dtype
        assert (label_map == alone).mean() > 0.999  # two classes may be as good as equal
    assert segment_batch([], model, small_processor()) == []


def test_images_whose_inputs_differ_in_size_go_through_apart(
    model: SegformerForSemanticSegmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A processor that keeps the image's shape gives inputs that cannot be stacked."""
    processor, shapes, forward = small_processor(), [], model.forward
    processor.do_resize = False
    sizes = [(64, 32), (32, 64), (64, 32)]
    monkeypatch.setattr(
        model, "forward", lambda pixels: (shapes.append(tuple(pixels.shape)), forward(pixels))[1]
    )
    images = [draw_blocks(seed, size)[0] for seed, size in enumerate(sizes)]
    label_maps = segment_batch(images, model, processor)
    assert [one.shape for one in label_maps] == [size[::-1] for size in sizes]
    assert sorted(shapes) == [(1, 3, 64, 32), (2, 3, 32, 64)]


class ByColor(torch.nn.Module):
    """Answers 0, 1, 2 where a pixel is red, green, blue; its logits have a stride of eight."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_labels=3)
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=torch.nn.functional.avg_pool2d(pixel_values, 8))


@pytest.mark.parametrize(
    "processor",
    [
        MobileViTImageProcessor(do_flip_channel_order=False, size={"shortest_edge": 140}),
        MobileNetV2ImageProcessor(size={"shortest_edge": 140}),  # and a center of 224
        DPTImageProcessor(do_pad=True, size_divisor=160, size={"height": 100, "width": 300}),
    ],
    ids=lambda processor: type(processor).__name__,
)
@pytest.mark.parametrize(
    "predict",
    [
        segment,
        partial(segment, window=64),
        *(
            partial(segment_by_protocol, protocol=protocol)
            for protocol in (Protocol(), Protocol(140), Protocol(window=64), Protocol(140, 64))
        ),
    ],
)
def test_labels_lie_where_the_pixels_are_though_the_processor_crops_or_pads(
    predict: Callable[..., Any], processor: Any
) -> None:
    expected = np.repeat([0, 1, 2], 120)[None].repeat(120, axis=0)  # thirds, three times as wide
    image = Image.fromarray(np.uint8(255) * (expected[..., None] == np.arange(3)))
    assert (np.asarray(predict(image, ByColor(), processor)) == expected).mean() > 0.97


def test_a_model_in_half_precision_predicts(model: SegformerForSemanticSegmentation) -> None:
    image, _ = draw_blocks(1)
    half = segment(image, small_model().eval().bfloat16(), small_processor())
    assert (half == segment(image, model, small_processor())).mean() > 0.5


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    "predict",
    [segment, partial(segment, window=32), partial(segment_by_protocol, protocol=Protocol(32))],
    ids=["segment", "windows", "protocol"],
)
def test_a_model_predicts_without_dropout_and_each_part_keeps_its_mode(
    predict: Callable[..., Any], fails: bool
) -> None:
    model = small_model().train()
    model.segformer.eval()  # as one freezes an encoder
    modes = [module.training for module in model.modules()]
    image, _ = draw_blocks(1)
    one, other = (predict(image, model, small_processor()) for _ in range(2))
    assert (one == other).all()
    if fails:
        model.decode_head.register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            predict(image, model, small_processor())
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


def test_more_than_256_labels_need_more_than_bytes() -> None:
    label_map = segment(draw_blocks(1)[0], small_model(num_labels=300).eval(), small_processor())
    assert label_map.dtype == np.int64


# --- a saved model --------------------------------------------------------------------------------


def save(folder: Path, num_labels: int = 150, names: list[str] | None = None, **saved: Any) -> Path:
    """A model as a folder; `saved`: what its preprocessor's configuration says of reduction."""
    model = small_model(num_labels)
    if names:
        model.config.id2label = dict(enumerate(names))
    model.save_pretrained(folder)
    small_processor().save_pretrained(folder)
    file = folder / "preprocessor_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    del config["do_reduce_labels"]
    file.write_text(json.dumps(config | saved), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("num_labels", "saved", "rules", "reduces"),
    [
        (3, {"do_reduce_labels": True}, '{"reduce": false}', False),  # labels.json comes first
        (150, {"do_reduce_labels": False}, '{"reduce": true}', True),
        (3, {"do_reduce_labels": True}, None, True),
        (150, {"do_reduce_labels": False}, None, False),
        # Published models spell it so, which the library reads as False without a word.
        (3, {"reduce_labels": True}, None, True),
        (150, {"do_reduce_labels": None, "reduce_labels": False}, None, False),
        (150, {}, None, True),  # by its names
        (3, {}, None, False),
    ],
)
def test_a_model_is_loaded_with_the_reduction_that_it_was_trained_with(
    tmp_path: Path, num_labels: int, saved: dict[str, Any], rules: str | None, reduces: bool
) -> None:
    save(tmp_path, num_labels, **saved)
    if rules is not None:
        (tmp_path / "labels.json").write_text(rules)
    model, processor = load_model(tmp_path)
    assert not model.training
    labels = load_labels(tmp_path)
    assert processor.do_reduce_labels is labels.reduce is reduces
    expected = ADE20K if num_labels == 150 else Labels(["LABEL_0", "LABEL_1", "LABEL_2"])
    assert labels.names == expected.names
    assert (labels.palette == expected.palette).all()


def test_a_model_s_labels_have_the_colors_and_names_that_lie_beside_it(tmp_path: Path) -> None:
    save(tmp_path, 3, ["crack ", "crack", "wall"])
    FRUIT.save(tmp_path)  # its rules; the names are the model's
    labels = load_labels(tmp_path)
    assert labels.names == ("crack (0)", "crack (1)", "wall")  # a name for each
    assert (labels.palette == FRUIT.palette).all()
    (tmp_path / "labels.json").write_text('{"reduce": 3}')
    with pytest.raises(ValueError, match=r"labels\.json says 3, expected"):
        load_model(tmp_path)


def test_a_model_of_one_label_has_no_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="number of labels is 1"):
        load_labels(save(tmp_path, 1))


# --- windows --------------------------------------------------------------------------------------

TOY = BUNDLED / "checkpoints" / "segformer-toy"


@pytest.fixture(scope="module")
def toy() -> tuple:
    return load_model(TOY)


@pytest.fixture(scope="module")
def street() -> Image.Image:
    return draw_scene(2086, kind="street", size=(320, 240)).image


def test_one_window_over_the_whole_image_is_one_pass(toy, street) -> None:
    with torch.inference_mode():
        logits = toy[0](**toy[1](street, do_resize=False, return_tensors="pt")).logits
    expected = interpolate(logits, street.size[::-1], mode="bilinear")[0].argmax(dim=0)
    assert (segment_windows(street, *toy, window=320) == expected.numpy()).all()


@pytest.mark.parametrize("size", [(320, 240), (317, 121), (301, 77)], ids=str)
@pytest.mark.parametrize(("window", "stride"), [(128, 64), (161, 119), (128, 128)])
def test_each_pixel_is_taken_from_the_window_in_whose_middle_it_lies(
    toy, street, size, window, stride
) -> None:
    image, (width, height) = street.resize(size), size
    nearest = np.full((height, width), np.inf)
    expected = np.empty((height, width), np.uint8)
    for top in window_starts(height, window, stride):
        for left in window_starts(width, window, stride):
            right, bottom = min(left + window, width), min(top + window, height)
            seen = segment_windows(image.crop((left, top, right, bottom)), *toy, window=320)
            y = np.abs(np.arange(top, bottom) + 0.5 - (top + bottom) / 2)
            x = np.abs(np.arange(left, right) + 0.5 - (left + right) / 2)
            here, distance = np.s_[top:bottom, left:right], y[:, None] + x  # from its middle
            nearer = distance <= nearest[here]
            nearest[here] = np.where(nearer, distance, nearest[here])
            expected[here] = np.where(nearer, seen, expected[here])
    found = segment_windows(image, *toy, window, stride)
    assert (found != expected).mean() < 1e-4


@pytest.mark.parametrize("size", [(1, 1), (20, 31), (300, 7), (320, 240)], ids=str)
def test_an_image_may_be_smaller_than_any_window(toy, street, size) -> None:
    found = segment(street.resize(size), *toy, window=128)
    assert found.shape == size[::-1]
    assert (found == segment_windows(street.resize(size), *toy, 128)).all()


@pytest.mark.parametrize(
    ("window", "stride"), [(31, None), (-64, None), (128, 129), (128, 0)], ids=str
)
def test_what_is_no_window_is_refused(toy, street, window: int, stride: int | None) -> None:
    with pytest.raises(ValueError, match="expected a window of at least 32 pixels"):
        segment_windows(street, *toy, window, stride)


MEASURED = f"""
from PIL import Image
from helpers.inference import load_model, segment_windows
from tests.benchmarks.measuring import peak_memory
model, image_processor = load_model({str(TOY)!r})
image = Image.new("RGB", (10_000, HEIGHT), (90, 120, 60))
assert segment_windows(image, model, image_processor, 512).shape == (HEIGHT, 10_000)
print(peak_memory() / 1e3)
"""


@pytest.mark.slow
def test_memory_grows_with_the_image_itself_and_not_with_its_logits() -> None:
    low, high = (
        float(  # GB
            subprocess.check_output(
                [sys.executable, "-c", MEASURED.replace("HEIGHT", str(height))], cwd=REPOSITORY
            )
        )
        for height in (512, 1_280)
    )
    # 768 rows more are 23 MB of image and 8 MB of label map, and would be 4.6 GB of logits.
    assert high - low < 0.2
    assert low + (high - low) * (10_000 - 512) / 768 < 2.5  # of 10,000 x 10,000 pixels


# --- upsampling -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(33, 50), (8, 12), (5, 3), (1, 1), (8, 1), (300, 7)])
@pytest.mark.parametrize("smooth", [False, True])
def test_the_short_cut_of_the_cpu_gives_the_same_labels(
    size: tuple[int, int], smooth: bool
) -> None:
    """Noise: all neighbours disagree; one large, smooth region a class: nearly all agree."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, 150, 3, 4) if smooth else (1, 150, 8, 12)
    logits = torch.randn(shape, generator=generator)
    logits = interpolate(logits, size=(8, 12), mode="bicubic")
    outputs = SemanticSegmenterOutput(logits=logits)
    (expected,) = small_processor().post_process_semantic_segmentation(outputs, [size])
    assert torch.equal(upsampled_argmax(logits[0], size).long(), expected)
    half = logits[0].bfloat16()  # is upsampled in single precision
    assert torch.equal(upsampled_argmax(half, size), upsampled_argmax(half.float(), size))


@pytest.mark.parametrize(("num_labels", "count"), [(5, 1), (150, 8), (1500, 61)])
def test_rows_at_a_time_are_the_two_interpolations(num_labels: int, count: int) -> None:
    logits = torch.randn(num_labels, 9, 12, generator=torch.Generator().manual_seed(0))
    sizes = [(35, 470), (61, 400)]
    expected = logits[None]
    for size in sizes:
        expected = interpolate(expected, size=size, mode="bilinear", align_corners=False)
    strips = list(upsampled_strips(logits, sizes))
    torch.testing.assert_close(torch.cat(strips, dim=1), expected[0], atol=1e-5, rtol=0)
    assert len(strips) == count
    found = argmax_of_strips(strips)
    assert (found.long() != expected[0].argmax(dim=0)).float().mean() < 1e-4  # as good as equal
    assert found.dtype == (torch.uint8 if num_labels <= 256 else torch.int64)
