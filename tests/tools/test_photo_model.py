"""The bundled model of the photographs: what it computes, and what takes it."""

import re

import pytest
import torch
from PIL import Image

from helpers.inference import load_model, segment
from helpers.labels import Labels
from tools.photos import heads
from tools.photos.finetuning import crops
from tools.photos.model import FOLDER, LONGEST_SIDE, PHOTOGRAPHS, as_upernet, scores


@pytest.fixture(scope="module")
def photographs() -> tuple[dict, Labels]:
    return heads.photographs(PHOTOGRAPHS)


def test_a_upernet_computes_what_a_linear_head_does(photographs) -> None:
    _, labels = photographs
    torch.manual_seed(0)
    layer = torch.nn.Linear(496, labels.num_labels)
    head = heads.LinearHead(layer, torch.randn(496), torch.rand(496) + 0.5)
    model = as_upernet(head, labels)
    # Maps of one size, since the two do not upsample in the same steps.
    maps = [torch.randn(1, channels, 5, 7) for channels in model.decode_head.in_channels]
    with torch.inference_mode():
        torch.testing.assert_close(model.decode_head(maps), head(maps), rtol=0, atol=1e-4)


def test_a_training_starts_from_the_model_that_was_scored(photographs) -> None:
    """Batches that nothing is learned from change the statistics of batch normalisation alone."""
    (train, _, _), (model, image_processor) = photographs[0].values(), load_model(FOLDER)
    pairs = [heads.tensors(row, image_processor) for row in train]
    torch.manual_seed(0)
    model.train()
    with torch.no_grad():
        for _, (pixel_values, _) in zip(range(10), crops(pairs), strict=False):
            model(pixel_values)
    validation = {"validation": photographs[0]["validation"]}
    assert scores(model.eval(), image_processor, validation)["validation"] >= 0.70


def test_it_scores_on_other_places_what_its_card_says(photographs) -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    promised = [float(one) for one in re.findall(r"^\|.*\| (0\.\d{4}) \|$", card, re.MULTILINE)]
    found = scores(*load_model(FOLDER), photographs[0])
    assert [*found.values()] == pytest.approx(promised, abs=0.01)
    assert found["test"] >= 0.70


@pytest.mark.parametrize(
    ("size", "seen"),
    [((1280, 854), (427, 640)), ((640, 427), (427, 640)), ((300, 400), (640, 480))],
)
def test_the_longer_side_is_scaled_to_that_of_its_training(size, seen) -> None:
    model, image_processor = load_model(FOLDER)
    image = Image.new("RGB", size)
    assert image_processor(image, return_tensors="pt")["pixel_values"].shape[2:] == seen
    assert max(seen) == LONGEST_SIDE
    assert segment(image, model, image_processor).shape == size[::-1]
