"""Images too large for one pass: windows that overlap, each pixel from one of them."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from helpers.inference import load_model, segment, segment_windows, window_starts
from helpers.profiles import BUNDLED, REPOSITORY
from tools.drawing.scenes import draw_scene

ROOT = REPOSITORY
MODEL = BUNDLED / "checkpoints" / "segformer-toy"


@pytest.fixture(scope="module")
def model_and_processor():
    return load_model(MODEL)


@pytest.fixture(scope="module")
def street() -> Image.Image:
    return draw_scene(2086, kind="street", size=(320, 240)).image


def test_one_window_over_the_whole_image_is_one_pass(model_and_processor, street) -> None:
    model, image_processor = model_and_processor
    with torch.inference_mode():
        inputs = image_processor(street, do_resize=False, return_tensors="pt")
        logits = interpolate(model(**inputs).logits, street.size[::-1], mode="bilinear")
    found = segment_windows(street, model, image_processor, window=320)
    assert (found == logits[0].argmax(dim=0).numpy()).all()


@pytest.mark.parametrize("size", [(320, 240), (317, 121), (301, 77)], ids=str)
@pytest.mark.parametrize(("window", "stride"), [(128, 64), (161, 119), (128, 128)])
def test_each_pixel_is_taken_from_the_window_in_whose_middle_it_lies(
    model_and_processor, street, size, window, stride
) -> None:
    image, (width, height) = street.resize(size), size
    nearest = np.full((height, width), np.inf)
    expected = np.empty((height, width), np.uint8)
    for top in window_starts(height, window, stride):
        for left in window_starts(width, window, stride):
            right, bottom = min(left + window, width), min(top + window, height)
            part = image.crop((left, top, right, bottom))
            seen = segment_windows(part, *model_and_processor, window=320)
            y = np.abs(np.arange(top, bottom) + 0.5 - (top + bottom) / 2)
            x = np.abs(np.arange(left, right) + 0.5 - (left + right) / 2)
            here, distance = np.s_[top:bottom, left:right], y[:, None] + x  # from its middle
            nearer = distance <= nearest[here]
            nearest[here] = np.where(nearer, distance, nearest[here])
            expected[here] = np.where(nearer, seen, expected[here])
    found = segment_windows(image, *model_and_processor, window, stride)
    assert (found != expected).mean() < 1e-4


@pytest.mark.parametrize("size", [(1, 1), (20, 31), (300, 7)], ids=str)
def test_an_image_smaller_than_any_window(model_and_processor, street, size) -> None:
    found = segment(street.resize(size), *model_and_processor, window=128)
    assert found.shape == size[::-1]


def test_segment_and_what_is_no_window(model_and_processor, street) -> None:
    found = segment(street, *model_and_processor, window=128)
    assert (found == segment_windows(street, *model_and_processor, 128)).all()
    for window, stride in [(31, None), (-64, None), (128, 129), (128, 0)]:
        with pytest.raises(ValueError, match="expected a window of at least 32 pixels"):
            segment_windows(street, *model_and_processor, window, stride)


MEASURED = f"""
from PIL import Image
from helpers.inference import load_model, segment_windows
from tests.benchmarks.measuring import peak_memory
model, image_processor = load_model({str(MODEL)!r})
image = Image.new("RGB", (10_000, HEIGHT), (90, 120, 60))
assert segment_windows(image, model, image_processor, 512).shape == (HEIGHT, 10_000)
print(peak_memory() / 1e3)
"""


@pytest.mark.slow
def test_memory_grows_with_the_image_itself_and_not_with_its_logits() -> None:
    def peak(height: int) -> float:
        """GB."""
        script = MEASURED.replace("HEIGHT", str(height))
        return float(subprocess.check_output([sys.executable, "-c", script], text=True, cwd=ROOT))

    low, high = peak(512), peak(1_280)
    # 768 rows more are 23 MB of image and 8 MB of label map, and would be 4.6 GB of logits.
    assert high - low < 0.2
    assert low + (high - low) * (10_000 - 512) / 768 < 2.5  # of 10,000 x 10,000 pixels
