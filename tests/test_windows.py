"""Images too large for one pass: windows that overlap, blended strip by strip."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from helpers.inference import _ramp, _Windows, load_model, segment, segment_windows, window_starts
from helpers.profiles import BUNDLED
from tools.drawing.scenes import draw_scene

ROOT = Path(__file__).parents[1]
MODEL = BUNDLED / "checkpoints" / "segformer-toy"


@pytest.fixture(scope="module")
def model_and_processor():
    return load_model(MODEL)


@pytest.fixture(scope="module")
def street() -> Image.Image:
    return draw_scene(2086, kind="street", size=(320, 240)).image


def at_once(image, model, image_processor, window, stride):
    """The blended logits of the whole grid in memory, then upsampled and decided at once."""
    windows, (width, height) = _Windows(image, model, image_processor), image.size
    columns, rows = -(-width // 4), -(-height // 4)
    across, down = min(window // 4, columns), min(window // 4, rows)
    weights = _ramp(down, window - stride)[:, None] * _ramp(across, window - stride)
    total, seen = torch.zeros(model.config.num_labels, rows, columns), torch.zeros(rows, columns)
    with torch.inference_mode():
        for top in window_starts(rows, down, stride // 4):
            for left in window_starts(columns, across, stride // 4):
                box = (4 * left, 4 * top, 4 * (left + across), 4 * (top + down))
                place = np.s_[..., top : top + down, left : left + across]
                total[place] += weights * windows.logits(box)
                seen[place] += weights
    large = interpolate((total / seen)[None], (4 * rows, 4 * columns), mode="bilinear")
    return large[0].argmax(dim=0)[:height, :width].numpy(), total / seen


def test_one_window_over_the_whole_image_is_one_pass(model_and_processor, street) -> None:
    model, image_processor = model_and_processor
    with torch.inference_mode():
        inputs = image_processor(street, do_resize=False, return_tensors="pt")
        logits = interpolate(model(**inputs).logits, street.size[::-1], mode="bilinear")
    found = segment_windows(street, model, image_processor, window=320)
    assert (found == logits[0].argmax(dim=0).numpy()).all()


@pytest.mark.parametrize("size", [(320, 240), (317, 121), (301, 77)], ids=str)
@pytest.mark.parametrize(("window", "stride"), [(128, 64), (160, 120), (128, 128)])
def test_row_by_row_equals_all_at_once(model_and_processor, street, size, window, stride) -> None:
    image = street.resize(size)
    expected, _ = at_once(image, *model_and_processor, window, stride)
    found = segment_windows(image, *model_and_processor, window, stride)
    assert found.shape == size[::-1]
    assert (found != expected).mean() < 1e-4  # two classes that are as good as equal


def test_logits_jump_no_more_at_a_window_s_edge_than_elsewhere(model_and_processor, street) -> None:
    def jump_at_the_edge(stride: int) -> float:
        """Of the logits, from one column to the next: at the edge, over the median column."""
        _, logits = at_once(street, *model_and_processor, 160, stride)
        jumps = (logits[..., 1:] - logits[..., :-1]).abs().mean(dim=(0, 1))
        return (jumps[39] / jumps.median()).item()  # the first window ends after 160 pixels

    assert jump_at_the_edge(160) > 1.8
    assert jump_at_the_edge(120) < 1.4


def test_segment_and_what_is_no_window(model_and_processor, street) -> None:
    found = segment(street, *model_and_processor, window=128)
    assert (found == segment_windows(street, *model_and_processor, 128)).all()
    for window, stride in [(30, None), (130, None), (128, 130), (128, 0), (128, 66)]:
        with pytest.raises(ValueError, match="expected multiples of 4"):
            segment_windows(street, *model_and_processor, window, stride)


MEASURED = f"""
from PIL import Image
from helpers.inference import load_model, segment_windows
from tests.benchmarks.measuring import peak_memory
model, image_processor = load_model({str(MODEL)!r})
image = Image.new("RGB", (4_000, HEIGHT), (90, 120, 60))
assert segment_windows(image, model, image_processor, 512).shape == (HEIGHT, 4_000)
print(peak_memory() / 1e3)
"""


@pytest.mark.slow
def test_memory_grows_with_the_image_itself_and_not_with_its_logits() -> None:
    def peak(height: int) -> float:
        """GB."""
        script = MEASURED.replace("HEIGHT", str(height))
        return float(subprocess.check_output([sys.executable, "-c", script], text=True, cwd=ROOT))

    low, high = peak(516), peak(900)
    assert high < 1.8
    # 384 rows more are 5 MB of image and 2 MB of label map, and would be 0.9 GB of logits.
    assert high - low < 0.2
