"""From an image to its label map at the image's own size."""

import json
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
from transformers import (
    DPTImageProcessor,
    MobileNetV2ImageProcessor,
    MobileViTImageProcessor,
    SegformerForSemanticSegmentation,
)

from helpers.data import load_scenes
from helpers.evaluation import Protocol, evaluate, segment_by_protocol
from helpers.inference import labels_of, load_labels, load_model, segment, segment_batch
from helpers.labels import ADE20K, Labels
from helpers.profiles import get_profile


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
    assert label_map.shape == (size[1], size[0])
    assert label_map.dtype == np.uint8
    pixel_values = processor(image, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        logits = model(pixel_values=pixel_values).logits
    upsampled = torch.nn.functional.interpolate(
        logits, size=(size[1], size[0]), mode="bilinear", align_corners=False
    )
    assert (label_map == upsampled.argmax(dim=1)[0].numpy()).all()


def test_a_batch_equals_its_images_one_by_one(
    model: SegformerForSemanticSegmentation,
) -> None:
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
    processor = small_processor()
    processor.do_resize = False
    images = [
        draw_blocks(seed, size)[0] for seed, size in enumerate([(64, 32), (32, 64), (64, 32)])
    ]
    shapes = []
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda pixels: (shapes.append(tuple(pixels.shape)), forward(pixels))[1]
    )
    label_maps = segment_batch(images, model, processor)
    assert [one.shape for one in label_maps] == [(32, 64), (64, 32), (32, 64)]
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


def test_a_model_in_half_precision_predicts() -> None:
    image, _ = draw_blocks(1)
    exact = segment(image, small_model().eval(), small_processor())
    half = segment(image, small_model().eval().bfloat16(), small_processor())
    assert (half == exact).mean() > 0.5


def test_segment_takes_images_of_any_mode(model: SegformerForSemanticSegmentation) -> None:
    image, _ = draw_blocks(1)
    processor = small_processor()
    for mode in ("L", "P", "RGBA", "CMYK", "1", "LA"):
        odd = image.convert(mode)
        same = segment(odd, model, processor) == segment(odd.convert("RGB"), model, processor)
        assert same.all(), mode


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


def test_a_saved_model_is_loaded_ready_to_predict(tmp_path: Path) -> None:
    model, processor = load_model(save(tmp_path))
    assert not model.training
    image, _ = draw_blocks(1)
    expected = segment(image, small_model().eval(), small_processor())
    assert (segment(image, model, processor) == expected).all()


@pytest.mark.parametrize(
    ("num_labels", "saved", "rules", "reduces"),
    [
        (3, {"do_reduce_labels": True}, '{"reduce": false}', False),  # labels.json comes first
        (150, {"do_reduce_labels": False}, '{"reduce": true}', True),
        (3, {"do_reduce_labels": True}, None, True),
        (150, {"do_reduce_labels": False}, None, False),
        # Published models spell it so, which the library reads as False without a word.
        (3, {"reduce_labels": True}, None, True),
        (150, {"reduce_labels": False}, None, False),
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
    assert processor.do_reduce_labels is reduces
    labels = load_labels(tmp_path)
    assert labels.reduce is labels_of(model, processor).reduce is reduces
    names = ADE20K.names if num_labels == 150 else ("LABEL_0", "LABEL_1", "LABEL_2")
    assert labels.names == labels_of(model, processor).names == names
    assert (labels.palette == (ADE20K if num_labels == 150 else Labels(names)).palette).all()


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


def test_the_bundled_model_predicts_toy_scenes() -> None:
    """Far better than chance on images that it was not trained on."""
    profile = get_profile("tiny")
    model, processor = load_model(profile.finetuned_model)
    scenes = load_scenes(profile, check=False)["test"].select(range(4))
    assert evaluate(scenes, model, processor).compute()["overall_accuracy"] > 0.7
