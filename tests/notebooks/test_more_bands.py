"""Notebook 07's fold-out on more than three channels: a reader's run of it, and what it claims."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from samples import without_commands
from torchvision.transforms import v2
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
from transformers.utils import logging

from helpers.data import load_scenes
from helpers.inference import label_maps
from helpers.metrics import ConfusionMatrix
from helpers.profiles import REPOSITORY, get_profile

CELLS = nbformat.read(REPOSITORY / "notebooks" / "07_custom_dataset.ipynb", as_version=4).cells
PLACES = {cell.id: place for place, cell in enumerate(CELLS)}
TEXT = CELLS[PLACES["more-bands"]].source
CODE = re.search(r"^```python\n(.+?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)[1]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The names of a reader who has run the cells above the fold-out, and then its code."""
    names, verbosity = {"PROFILE": "tiny", "os": os}, logging.get_verbosity()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY / "notebooks")
        patch.setenv("SEG_OUTPUT", str(tmp_path_factory.mktemp("outputs")))
        for cell in CELLS[PLACES["imports"] : PLACES["more-bands"]]:
            if cell.cell_type == "code":
                exec(without_commands(cell.source), names)
        pyplot.close("all")
        yield run(CODE, names)
    logging.set_verbosity(verbosity)


def run(code: str, names: dict) -> SimpleNamespace:
    """The names after the code has run, and `printed`."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    return SimpleNamespace(**names | {"printed": printed.getvalue()})


def logits(model: torch.nn.Module, image_processor, image: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return model(**image_processor(image, return_tensors="pt")).logits


def first_weight(model: torch.nn.Module) -> torch.Tensor:
    """A copy of the weight of the convolution that sees the image."""
    convolutions = (part for part in model.modules() if isinstance(part, torch.nn.Conv2d))
    return next(convolutions).weight.detach().clone()


def with_six_channels(source: str, **options) -> torch.nn.Module:
    """What the fold-out warns of."""
    return AutoModelForSemanticSegmentation.from_pretrained(source, num_channels=6, **options)


def test_code_fits_eighty_columns():
    assert max(map(len, CODE.splitlines())) <= 80


def test_wider_model_predicts_as_before_whatever_the_further_bands_hold(reader):
    assert float(reader.printed.removeprefix("largest difference: ")) <= 1e-5
    assert first_weight(reader.model).shape[1] == reader.six.shape[-1] == 6
    for further in (0, 255, 255 - reader.rgb):
        six = reader.six.copy()
        six[..., 3:] = further
        of_six = logits(reader.model, reader.image_processor, six)
        torch.testing.assert_close(of_six, reader.of_rgb, rtol=0, atol=1e-5)


def test_four_bands_go_the_same_way_as_six(reader, tmp_path: Path):
    code = CODE
    for six, four in (
        ("size=rgb.shape", "size=(*rgb.shape[:2], 1)"),
        ("0.5, 0.5, 0.5", "0.5"),
        ("0.25, 0.25, 0.25", "0.25"),
    ):
        assert six in code
        code = code.replace(six, four)
    result = run(code, vars(reader) | {"own": replace(reader.own, output_root=tmp_path)})
    assert result.loaded.config.num_channels == 4
    assert first_weight(result.loaded).shape[1] == 4
    torch.testing.assert_close(result.of_six, reader.of_rgb, rtol=0, atol=1e-5)


def test_training_step_changes_the_weights_of_the_further_bands(reader):
    model = AutoModelForSemanticSegmentation.from_pretrained(reader.saved).train()
    before = first_weight(model)
    assert not before[:, 3:].any()
    mask = np.zeros(reader.six.shape[:2], dtype=np.uint8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    model(**reader.image_processor(reader.six, mask, return_tensors="pt")).loss.backward()
    optimizer.step()
    changed = first_weight(model) != before
    assert changed.any(dim=(0, 2, 3)).tolist() == [True] * 6
    assert changed[:, 3:].float().mean() > 0.9


def test_saved_and_loaded_again_it_has_its_weights(reader):
    assert reader.loaded.config.num_channels == 6
    for name, weight in reader.model.state_dict().items():
        assert torch.equal(weight, reader.loaded.state_dict()[name]), name
    image_processor = AutoImageProcessor.from_pretrained(reader.saved)
    of_loaded = logits(reader.loaded, image_processor, reader.six)
    torch.testing.assert_close(of_loaded, reader.of_six, rtol=0, atol=1e-6)


def test_image_processor_stops_where_the_text_says(reader):
    image_processor = AutoImageProcessor.from_pretrained(reader.own.encoder)
    too_few = "The size of tensor a (6) must match the size of tensor b (3)"
    not_told = "Unable to infer channel dimension format"
    assert f"`{too_few}`" in TEXT
    assert f"`{not_told}`" in TEXT
    with pytest.raises(ValueError, match=not_told):
        image_processor(reader.six)
    with pytest.raises(RuntimeError, match=re.escape(too_few)):
        image_processor(reader.six, input_data_format="channels_last")


def test_sixteen_bits_need_their_own_rescale_factor(reader):
    image_processor = AutoImageProcessor.from_pretrained(reader.saved)
    sixteen = reader.six.astype(np.uint16) * 257
    pixels = image_processor(sixteen, return_tensors="pt")["pixel_values"]
    assert pixels.max() > 100
    of_eight = image_processor(reader.six.astype(np.float32), return_tensors="pt")["pixel_values"]
    image_processor.rescale_factor = 1 / 65535
    pixels = image_processor(sixteen, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(pixels, of_eight, rtol=0, atol=1e-3)
    image_processor.do_rescale = False
    pixels = image_processor(np.float32(reader.six / 255), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(pixels, of_eight, rtol=0, atol=1e-4)


def test_color_jitter_is_the_augmentation_that_takes_no_further_bands(reader):
    six = torch.from_numpy(reader.six).permute(2, 0, 1)
    assert v2.RandomHorizontalFlip(p=1)(v2.RandomCrop(32)(six)).shape == (6, 32, 32)
    with pytest.raises(TypeError, match="1 or 3"):
        v2.ColorJitter(brightness=0.2)(six)


def test_trap_throws_the_pretrained_filters_away_without_a_message(reader, capfd):
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        with_six_channels(reader.own.encoder)
    capfd.readouterr()
    trapped = with_six_channels(reader.own.encoder, ignore_mismatched_sizes=True)
    assert "mismatch" not in "".join(capfd.readouterr()).lower()
    assert not (first_weight(trapped)[:, :3] == first_weight(reader.model)[:, :3]).any()


def test_finished_model_loses_its_score_in_the_trap_and_keeps_it_when_widened(reader):
    finished, trapped, widened = map(float, re.search(
        r"falls from (0\.\d+) to (0\.\d+)\. Widened as above it stays at (0\.\d+)\.", TEXT
    ).groups())  # fmt: skip
    source, scenes = reader.own.finetuned_model, load_scenes(get_profile("tiny"))["test"]
    image_processor = AutoImageProcessor.from_pretrained(source)
    annotations = [np.array(annotation) for annotation in scenes["annotation"]]
    inputs = image_processor(list(scenes["image"]), annotations, return_tensors="pt")
    noise = torch.randn(inputs["pixel_values"].shape, generator=torch.Generator().manual_seed(0))
    six = torch.cat([inputs["pixel_values"], noise], dim=1)

    def mean_iou(model: torch.nn.Module) -> float:
        with torch.inference_mode():
            found = model(six[:, : model.config.num_channels]).logits
        matrix = ConfusionMatrix(model.config.num_labels)
        for label_map, truth in zip(
            label_maps(found, [mask.shape for mask in annotations]), annotations, strict=True
        ):
            matrix.update(label_map.numpy(), truth - np.uint8(1))  # 0, no class, becomes 255
        return matrix.compute()["mean_iou"]

    model = AutoModelForSemanticSegmentation.from_pretrained(source)
    assert mean_iou(model) == pytest.approx(finished, abs=0.01)
    torch.manual_seed(0)
    assert mean_iou(with_six_channels(source, ignore_mismatched_sizes=True)) == pytest.approx(
        trapped, abs=0.02
    )
    widening = CODE[CODE.index("first = ") : CODE.index("image_processor.image_mean = ")]
    exec(widening, {"torch": torch, "model": model, "bands": 6})
    assert mean_iou(model) == pytest.approx(widened, abs=0.01)
