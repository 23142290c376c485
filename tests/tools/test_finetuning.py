"""What notebook 10 says of fine-tuning was measured, and with the parts that the rows name."""

import nbformat
import pytest
import torch

from helpers.profiles import REPOSITORY
from tools.photos import finetuning, heads
from tools.photos.model import PHOTOGRAPHS, new_upernet

NOTEBOOK = nbformat.read(REPOSITORY / "notebooks" / "10_few_images.ipynb", as_version=4)


@pytest.mark.parametrize("row", heads.stored()["starts"], ids=lambda row: row["start"])
def test_the_notebook_shows_the_table_that_was_measured(row: dict) -> None:
    campus, elsewhere = heads.told(row["validation"]), heads.told(row["test"])
    text = "\n".join(cell.source for cell in NOTEBOOK.cells)
    assert f"| {campus} | {elsewhere} |" in text


def test_only_parts_with_a_learning_rate_change() -> None:
    _, labels = heads.photographs(PHOTOGRAPHS)
    torch.manual_seed(0)
    model = new_upernet(labels)
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    side = finetuning.SIDE + 8
    pairs = [(torch.randn(1, 3, side, side), torch.randint(5, (1, side, side)))]
    finetuning.fine_tune(model, pairs, 1, {"decode_head": 1e-3}, train_mode=True)
    changed = {
        name.partition(".")[0]
        for name, tensor in model.named_parameters()
        if not torch.equal(tensor, before[name])
    }
    assert changed == {"decode_head"}
    assert not model.training


def test_a_crop_keeps_its_labels() -> None:
    pixels = torch.arange(400.0).repeat(400, 1)  # a pixel's value is its column, as its label is
    pair = pixels.expand(1, 3, 400, 400), pixels[None]
    torch.manual_seed(0)
    pixel_values, labels = next(finetuning.crops([pair]))
    assert pixel_values.shape == (finetuning.BATCH, 3, finetuning.SIDE, finetuning.SIDE)
    for channel in pixel_values.unbind(dim=1):
        torch.testing.assert_close(channel.long(), labels)
