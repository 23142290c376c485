"""From an image to its label map at the image's own size."""

from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from samples import draw_blocks, small_model, small_processor, write_ade_folder
from transformers import SegformerForSemanticSegmentation

from helpers.ade20k import reduce_labels
from helpers.data import load_scenes, to_rgb
from helpers.inference.predict import (
    evaluate_scenes,
    load_image,
    load_model,
    segment,
    segment_batch,
)
from helpers.metrics import ConfusionMatrix
from helpers.profiles import get_profile


@pytest.fixture(scope="module")
def model() -> SegformerForSemanticSegmentation:
    return small_model().eval()


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (33, 33), (1, 1), (200, 3)])
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
        same = segment(odd, model, processor) == segment(to_rgb(odd), model, processor)
        assert same.all(), mode


def test_segment_returns_the_upright_size(
    model: SegformerForSemanticSegmentation, tmp_path: Path
) -> None:
    upright, _ = draw_blocks(1, (48, 36))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = tmp_path / "turned.png"
    upright.transpose(Image.Transpose.ROTATE_90).save(file, exif=exif)
    expected = segment(upright, model, small_processor())
    assert expected.shape == (36, 48)
    with Image.open(file) as stored:
        assert (segment(stored, model, small_processor()) == expected).all()
    assert (segment(load_image(file), model, small_processor()) == expected).all()


@pytest.mark.parametrize("training", [True, False])
def test_segment_predicts_without_dropout_and_leaves_the_mode(training: bool) -> None:
    model = small_model().train(training)
    image, _ = draw_blocks(1)
    one, other = (segment(image, model, small_processor()) for _ in range(2))
    assert (one == other).all()
    assert model.training is training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_more_than_256_labels_need_more_than_bytes() -> None:
    label_map = segment(draw_blocks(1)[0], small_model(num_labels=300).eval(), small_processor())
    assert label_map.dtype == np.int64


def test_a_saved_model_is_loaded_ready_to_predict(tmp_path: Path) -> None:
    saved = small_model()
    saved.save_pretrained(tmp_path)
    small_processor().save_pretrained(tmp_path)
    model, processor = load_model(tmp_path)
    assert not model.training
    assert processor.do_reduce_labels is True
    image, _ = draw_blocks(1)
    expected = segment(image, saved.eval(), small_processor())
    assert (segment(image, model, processor) == expected).all()


def test_a_model_of_other_labels_is_refused(tmp_path: Path) -> None:
    small_model(num_labels=19).save_pretrained(tmp_path)
    small_processor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="predicts 19 labels, the data has 150") as error:
        load_model(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert load_model(tmp_path, num_labels=19)[0].config.num_labels == 19


def test_the_bundled_model_predicts_toy_scenes() -> None:
    """Far better than chance on images that it was not trained on."""
    profile = get_profile("tiny")
    model, processor = load_model(profile.finetuned_model)
    scenes = load_scenes(profile, check=False)["test"].select(range(4))
    assert evaluate_scenes(scenes, model, processor).compute()["overall_accuracy"] > 0.7


def test_evaluation_equals_a_plain_loop(
    model: SegformerForSemanticSegmentation, tmp_path: Path
) -> None:
    folder = write_ade_folder(tmp_path, train=1, test=5)
    scenes = load_scenes(replace(get_profile("tiny"), dataset=str(folder)))["test"]
    processor = small_processor()
    matrix = evaluate_scenes(scenes, model, processor)
    expected = ConfusionMatrix(150)
    for index in range(5):
        name = f"scene_{1000 + index}"
        image = Image.open(folder / "images" / "validation" / f"{name}.jpg")
        annotation = Image.open(folder / "annotations" / "validation" / f"{name}.png")
        expected.update(segment(image, model, processor), reduce_labels(np.asarray(annotation)))
    assert expected.counts.sum() > 0
    assert (matrix.counts == expected.counts).all()


def test_an_image_is_read_upright_and_in_color(tmp_path: Path) -> None:
    image, _ = draw_blocks(1)
    image.convert("L").save(tmp_path / "grey.png")
    grey = load_image(tmp_path / "grey.png")
    assert (grey.mode, grey.size) == ("RGB", image.size)
    assert (np.asarray(grey)[..., 0] == np.asarray(image.convert("L"))).all()
    # The file is closed: on Windows it could not be removed else.
    (tmp_path / "grey.png").unlink()
    assert grey.getpixel((0, 0)) == (grey.getpixel((0, 0))[0],) * 3


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no image") as error:
        load_image(tmp_path / "nowhere.jpg")
    assert "nowhere.jpg" in str(error.value)


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "huge"])
def test_a_damaged_image_is_named(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "broken.jpg"
    draw_blocks(1, (300, 200))[0].save(file)
    if kind == "truncated":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif kind == "huge":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses twice as many
    else:
        file.write_bytes({"text": b"no image at all", "empty": b""}[kind])
    with pytest.raises(ValueError, match="cannot be read as an image") as error:
        load_image(file)
    assert str(file) in str(error.value)


def test_a_long_image_is_shrunk_in_shape(tmp_path: Path) -> None:
    for size, expected in [((800, 600), (200, 150)), ((90, 300), (60, 200)), ((40, 30), (40, 30))]:
        file = tmp_path / "image.png"
        Image.new("L", size, 90).save(file)
        image = load_image(file, longest_side=200)
        assert (image.size, image.mode) == (expected, "RGB")
    assert load_image(file).size == (40, 30)


def test_an_image_on_the_hub_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> str:
        raise httpx.ConnectError("no route")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", no_network)
    with pytest.raises(ConnectionError, match='use profile "tiny"'):
        load_image(get_profile("sample").street_image)
