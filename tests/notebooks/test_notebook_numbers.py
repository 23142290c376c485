"""Numbers that differ from CPU to CPU: the stored ones are as the notebooks' texts say.

A notebook prints them after ≈, and the comparison of outputs passes them over; what stands here
holds them. Each refresh of the stored outputs asks again.
"""

import re
from functools import cache

import nbformat
import pytest

from helpers.profiles import REPOSITORY


@cache
def cells(notebook: str) -> dict[str, nbformat.NotebookNode]:
    """Id to cell of the notebook whose name begins so."""
    (path,) = (REPOSITORY / "notebooks").glob(f"{notebook}_*.ipynb")
    return {cell.id: cell for cell in nbformat.read(path, as_version=4).cells}


def stored(notebook: str, cell: str, before: str) -> list[float]:
    """The numbers after ≈ that follow a pattern in the stored output of a cell, as printed."""
    text = "".join(output.get("text", "") for output in cells(notebook)[cell].outputs)
    found = re.findall(rf"{before}\s*≈ (-?\d+(?:\.\d+)?)", text, flags=re.MULTILINE)
    assert found, f"no number follows {before!r} in:\n{text}"
    return [float(number) for number in found]


BOUNDS = [
    # The semantic toy model on a street: shares of the pixels in %.
    ("01", "b7be05f2", "^sky", 21, 25),
    ("01", "b7be05f2", "^road", 21, 25),
    ("01", "b7be05f2", "^tree", 11, 15),
    ("01", "b7be05f2", "^car", 11, 15),
    ("01", "b7be05f2", "^building", 8, 12),
    ("01", "person-called-tree", "called tree:", 60, 90),
    ("01", "segmentation-41", "right:", 92, 96),
    ("01", "5a15cc89", "called person:", 0, 10),
    # The instance model: scores, and the cars in the second to fourth line.
    ("01", "41782edc", "score", 0.8, 0.98),
    ("01", "41782edc", r"\A(?:.*\n){1}car .*,", 4.2, 6.2),
    ("01", "41782edc", r"\A(?:.*\n){2}car .*,", 4.6, 6.6),
    ("01", "41782edc", r"\A(?:.*\n){3}car .*,", 0.1, 2.0),
    # The universal model: the cars in the third to fifth line, and what is void.
    ("01", "7fec8b7c", r"\A(?:.*\n){2}car .*,", 4.3, 6.3),
    ("01", "7fec8b7c", r"\A(?:.*\n){3}car .*,", 0.1, 1.9),
    ("01", "7fec8b7c", r"\A(?:.*\n){4}car .*,", 4.3, 6.3),
    ("01", "7fec8b7c", "score", 0.91, 1),
    ("01", "7fec8b7c", "^person +score", 0.91, 0.95),
    ("01", "7fec8b7c", "in none:", 0.5, 2.5),
    ("01", "5f6aae25", "0.30: .*,", 1.5, 4),
    ("01", "5f6aae25", "0.99: .*,", 0, 0.5),
    # A trained model, the perfect maps' rival: 0.93 right, and near 0.65 for two invented classes.
    ("04", "nb04-025", "accuracy", 0.91, 0.95),
    ("04", "nb04-025", "mean IoU", 0.60, 0.70),
    ("04", "nb04-051", "once: ", 0.70, 0.77),
    ("04", "nb04-051", "twice:", 0.0001, 0.005),  # "a hair above" zero, "a few thousandths"
    ("05", "first-loss", "loss", 4.5, 5.5),
    ("05", "log-table", "^60 .*", 0.18, 0.28),
    ("05", "train-run", "^120 .*", 0.60, 0.68),
    ("05", "spoil-left", "in the log:", 0.5, 0.7),
    ("05", "spoil-left", "is left:", 0, 0.3),
    ("05", "resume-score", "`Trainer`:", 0.60, 0.636),
    ("06", "palette-loop", "at most", 0, 1),
    ("06", "8c3b1fa9", "^wrong.*above 0.8 in", 28, 39),  # a third
    ("06", "8c3b1fa9", "^wrong.*above 0.9 in", 16, 25),  # a fifth
    ("06", "two-looks-count", "one look :.*", 0.60, 0.67),
    ("06", "calibration", "^one look.*\n.*error", 0, 0.01),
    ("06", "calibration", "^two looks.*\n.*error", 0.01, 0.02),
    ("06", "calibration", "^one look.*\n.*\n.*last bin:", 62, 71),  # two thirds
    ("06", "calibration", "^one look.*\n.*\n.*pixels,", 1, 1.6),
    ("07", "custom-50", "accuracy", 0.90, 0.94),
    ("07", "custom-53", "plain loss:", 0.54, 0.60),
    ("07", "custom-53", "class weights:", 0.60, 0.66),
    ("07", "worst-class", "worst: pear, IoU", 0.13, 0.24),
    ("07", "worst-class", "  apple", 60, 72),
    ("07", "custom-55", "a class:", 3, 12),
    ("07", "custom-55", "ignored:", 99, 100),
    ("08", "bootstrap", "^mean IoU", 76, 80),
    ("08", "bootstrap", "interval:", 75, 78),
    ("08", "bootstrap", "interval:.*to", 78, 82),
    # What squashing and the flip change, in points: noise, and a real gain.
    ("08", "paired-table", r"squashed(?:.*\n){1} +first 16", -9, -0.8),
    ("08", "paired-table", r"squashed(?:.*\n){2} +last 16", -0.5, 0.5),
    ("08", "paired-table", r"squashed(?:.*\n){3} +all 40", -0.8, 0.2),
    ("08", "paired-table", r"squashed(?:.*\n){1} .*95 %", -9, -0.1),
    ("08", "paired-table", r"squashed(?:.*\n){2} .*95 %", -9, -0.1),
    ("08", "paired-table", r"squashed(?:.*\n){3} .*95 %", -9, -0.1),
    ("08", "paired-table", r"squashed(?:.*\n){1} .*to", 0.1, 9),
    ("08", "paired-table", r"squashed(?:.*\n){2} .*to", 0.1, 9),
    ("08", "paired-table", r"squashed(?:.*\n){3} .*to", 0.1, 9),
    ("08", "paired-table", r"flip(?:.*\n){1} +first 16", 0.7, 1.8),
    ("08", "paired-table", r"flip(?:.*\n){2} +last 16", 0.7, 1.8),
    ("08", "paired-table", r"flip(?:.*\n){3} +all 40", 0.7, 1.8),
    ("08", "paired-table", r"flip(?:.*\n){1} .*95 %", -9, -0.1),
    ("08", "paired-table", r"flip(?:.*\n){2} .*95 %", 0.1, 9),
    ("08", "paired-table", r"flip(?:.*\n){3} .*95 %", 0.4, 9),
    ("08", "rim-difference", "^IoU.*:", 3.5, 5.5),
    ("08", "rim-difference", "^boundary IoU.*:", 5.5, 8.5),
    ("09", "accumulation", "difference", 0, 0.1),
    ("09", "sixteen-bits", "the same", 95, 100),
]
"""Notebook, cell, what precedes the numbers, and within which bounds the text is true."""

DIFFERENCES = [
    ("06", "fd75e1db", "argmax first:", "fd75e1db", "upsample first:", 0.5, 4),
    ("06", "8c3b1fa9", "^wrong pixels: p", "8c3b1fa9", "^right pixels: p", 0.1, 1),
    ("06", "two-looks-count", "one look :.*", "42c410ed", "^mean IoU.*", -0.002, 0.002),
    ("06", "two-looks-count", "one look :.*", "two-looks-count", "two looks:.*", 0.005, 0.015),
    ("06", "calibration", "^one look.*right", "42c410ed", "accuracy", -0.002, 0.002),
    ("06", "calibration", "^one look.*right", "calibration", "^two looks.*right", 0.001, 1),
    ("06", "calibration", "^two looks.*said", "calibration", "^one look.*said", 0.001, 1),
    ("06", "calibration", "^two looks.*said", "calibration", "^two looks.*right", 0.001, 1),
    ("06", "windows-seam", "^side by side +right:", "windows-seam", "^overlapping +right:", 5, 9),
    ("06", "windows-seam", "^side by side.*,", "windows-seam", "^overlapping.*,", -3, 3),
    ("08", "bootstrap", "interval:", "bootstrap", "interval:.*to", 2.8, 3.6),
    ("08", "bootstrap", "interval:", "bootstrap", "^mean IoU", 0.1, 9),
    ("08", "bootstrap", "^mean IoU", "bootstrap", "interval:.*to", 0.1, 9),
    ("08", "bootstrap", "test sets", "bootstrap", "^mean IoU", 0.1, 0.6),
]
"""Notebook, two numbers, and within which bounds the second less the first is as the text says."""


@pytest.mark.parametrize(("notebook", "cell", "before", "low", "high"), BOUNDS)
def test_a_number_is_as_the_text_says(notebook, cell, before, low, high) -> None:
    assert all(low <= number <= high for number in stored(notebook, cell, before))


@pytest.mark.parametrize(
    ("notebook", "cell", "before", "other", "before_other", "low", "high"), DIFFERENCES
)
def test_a_difference_is_as_the_text_says(
    notebook, cell, before, other, before_other, low, high
) -> None:
    (first,), (second,) = stored(notebook, cell, before), stored(notebook, other, before_other)
    assert low <= round(second - first, 6) <= high


def test_notebook_06_most_pixels_are_in_the_last_bin_and_few_of_the_wrong_ones() -> None:
    right, pixels, wrong = (
        stored("06", "calibration", f"^one look{where}")[0] / scale
        for where, scale in ((".*right", 1), (".*\n.*\n.*bin:", 100), (".*\n.*\n.*pixels,", 100))
    )
    assert 0.055 < pixels * wrong / (1 - right) < 0.085, "7 % of all wrong pixels"


def rows(cell: str) -> dict[str, list[float]]:
    """The table that a cell of notebook 09 shows: name to numbers."""
    lines = cells("09")[cell].outputs[0].data["text/plain"].splitlines()[1:]
    found = (re.split(r"\s{2,}", line.strip().replace(",", "")) for line in lines)
    return {name: [float(one) for one in numbers if one != "–"] for name, *numbers in found}


def test_notebook_09_its_text_draws_no_more_from_the_tables_of_costs_than_they_hold() -> None:
    models = rows("flops-table")
    ratio = models["SegFormer-B5 at 640"][1] / models["SegFormer-B2"][1]
    assert f"from B2 to B5, another {ratio:.1f} times" in cells("09")["flops-read"].source
    assert [name for name, row in models.items() if len(row) < 4] == ["SegFormer-B5"]

    cpu, t4, four_cores, sixteen_cores, eight_gpus = rows("machines").values()
    assert 3.6 * 7 * 24 < cpu[0] == cpu[1] < 4 * 7 * 24, "measured; nearly four weeks"
    best, worst, images = t4
    assert 7.5 < best < 8.5, "eight hours at best"
    assert worst > 48, "days at worst"
    assert images < min(6, best), "less than six hours"
    best, _, images = sixteen_cores
    assert images < best / 2, "the GPU decides"
    assert eight_gpus[2] < eight_gpus[0], "here too, by two numbers of one digit"
    best, worst, images = four_cores
    assert images > 1.5 * best, "longer"
    assert 9.5 < worst / images < 10.5, "ten times as long"
    public = 45 / (200 * 20_210 / 16) * 160_000
    assert f"{public:.1f} hours for 160,000 steps" in cells("09")["machines-read"].source
    assert best < public < worst


@pytest.mark.slow
def test_notebook_00_what_the_heads_rate_does(tmp_path, monkeypatch) -> None:
    """Its cells to the end of the training, with the head's rate and without."""
    monkeypatch.chdir(REPOSITORY / "notebooks")
    monkeypatch.setenv("SEG_OUTPUT", str(tmp_path))
    sources = {name: cell.source for name, cell in cells("00").items()}
    needed = "imports guide load label-maps processor transforms metric count model arguments train"
    reached = []
    for rate in ("rate", "rate * factor"):
        page = {"PROFILE": "tiny"}
        for name in needed.split():
            source = sources[name]
            if name == "model":
                assert source.count("rate * factor") == 1
                source = source.replace("rate * factor", rate)
            exec(source, page)
        reached.append(page["trainer"].evaluate()["eval_mean_iou"])
    told = re.findall(r"≈ (0\.\d\d)", sources["training"])
    assert reached == [pytest.approx(float(one), abs=0.03) for one in told]
