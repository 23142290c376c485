"""Numbers that differ from CPU to CPU: the stored ones are as the notebooks' texts say.

A notebook prints them after ≈, and the comparison of outputs passes them over; what stands here
holds them. Each refresh of the stored outputs asks again. At the end, the tables of trainings that
`tools.course.sweeps` has measured.
"""

import ast
import re
from functools import cache
from itertools import combinations, product

import nbformat
import numpy as np
import pytest

from helpers.profiles import REPOSITORY, get_profile
from tools.course import sweeps


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
    ("05", "overfit", "step 45: loss", 0, 0.3),
    ("05", "overfit-score", "mean IoU", 0.80, 0.95),
    ("05", "overfit-score", "right", 95, 99),
    ("05", "log-table", r"^30 +≈ [\d.]+ +≈ [\d.]+", 0.65, 0.71),
    ("05", "log-table", "^30 .*", 0.16, 0.22),
    ("05", "plain-classes", "IoU is", 0, 0.05),
    ("05", "train-run", "^80 .*", 0.59, 0.63),
    ("05", "train-run", "^120 .*", 0.60, 0.68),
    ("05", "after", "step 0: pixels right", 0, 5),
    ("05", "after", "step 40: pixels right", 83, 89),
    ("05", "after", "step 120: pixels right", 84, 90),
    ("05", "after", "streetlight,", 5, 25),
    ("05", "spoil-left", "step 2: mean IoU", 0.5, 0.7),
    ("05", "spoil-left", "is left:", 0, 0.3),
    ("05", "resume-score", "`Trainer`:", 0.60, 0.636),
    ("05", "accumulation", "^Trainer .*", 9.5, 10.5),
    ("05", "accumulation", "^SegmentationTrainer .*", 4.5, 5.5),
    ("06", "training-mode", "training mode:", 10, 14),  # more than a tenth
    ("06", "training-mode", "too many:", 0.1, 2),
    ("06", "palette-loop", "at most", 0, 1),
    ("06", "windows-try", "squashed +bus:", 0, 0),
    ("06", "windows-try", "full size +bus:", 40, 60),  # about 50
    ("06", "windows-try", "side by side +bus:", 220, 310),  # five times that
    ("06", "windows-try", "overlap +bus:", 220, 310),
    ("06", "speed", "^bfloat16:", 0.05, 0.2),  # one in a thousand
    ("06", "8c3b1fa9", "^wrong.*above 0.8 in", 28, 39),  # a third
    ("06", "8c3b1fa9", "^wrong.*above 0.9 in", 16, 25),  # a fifth
    ("06", "two-looks-count", "one look :.*", 0.60, 0.67),
    ("06", "calibration", "^one look.*\n.*error", 0, 0.01),
    ("06", "calibration", "^two looks.*\n.*error", 0.01, 0.02),
    ("06", "calibration", "^one look.*\n.*\n.*last bin:", 62, 71),  # two thirds
    ("06", "calibration", "^one look.*\n.*\n.*pixels,", 1, 1.6),
    ("06", "calibration", r"^one look(?:.*\n){3}.*pixels:", 16, 18),  # 17 % and 7 %
    ("06", "calibration", r"^one look(?:.*\n){3}.*0.8,", 6, 8),
    ("07", "custom-50", "accuracy", 0.90, 0.94),
    ("07", "custom-50", "mean IoU", 0.54, 0.60),
    ("07", "worst-class", "worst: pear, IoU", 0.13, 0.24),
    ("07", "worst-class", "  apple", 60, 72),
    ("07", "custom-55", "a class:", 1, 8),
    ("07", "custom-55", "ignored:", 99, 100),
    ("06", "photograph-right", "[01], right:", 80, 90),  # two surprises
    ("06", "photograph-right", "5, right:", 30, 49),  # less than half
    ("06", "photograph-right", "then", 85, 100),
    ("08", "bootstrap", "^mean IoU", 76, 80),
    ("08", "bootstrap", "interval:", 75, 78),
    ("08", "bootstrap", "interval:.*to", 78, 82),
    # What squashing and the flip change, in points: noise, and a real gain.
    ("08", "paired-table", r"squashed(?:.*\n){1} +first 16", -9, -0.8),
    ("08", "paired-table", r"squashed(?:.*\n){2} +last 16", -0.5, 0.5),
    ("08", "paired-table", r"squashed(?:.*\n){3} +all 40", -0.8, 0.2),
    ("08", "paired-table", r"squashed(?:.*\n){2} .*95 %", -9, -0.1),
    ("08", "paired-table", r"squashed(?:.*\n){3} .*95 %", -9, -0.1),
    ("08", "paired-table", "^ .*to", 0.1, 9),
    ("08", "paired-table", r"flip(?:.*\n){1} +first 16", 0.7, 1.8),
    ("08", "paired-table", r"flip(?:.*\n){2} +last 16", 0.7, 1.8),
    ("08", "paired-table", r"flip(?:.*\n){3} +all 40", 0.7, 1.8),
    ("08", "paired-table", "first 16 .*95 %", -9, -0.1),
    ("08", "paired-table", r"flip(?:.*\n){2} .*95 %", 0.1, 9),
    ("08", "paired-table", r"flip(?:.*\n){3} .*95 %", 0.4, 9),
    ("08", "rim-difference", "^IoU.*:", 3.5, 5.5),
    ("08", "rim-difference", "^boundary IoU.*:", 5.5, 8.5),
    ("08", "rim-share", "^", 92, 96),
    ("09", "accumulation", "difference", 0, 0.1),
    ("09", "sixteen-bits", "the same", 95, 100),
    ("09", "interval", "^mean IoU", 60, 68),
    ("09", "interval", "interval", 58, 64),
    ("09", "compare", "timed:", 3, 6),
    ("10", "scores", r"^mean IoU +≈ [\d.]+", 0.79, 0.86),  # more than 0.8 on the campus
    ("10", "scores", r"^mean IoU +≈ [\d.]+ +≈ [\d.]+", 0.77, 0.84),  # about 0.8 elsewhere
    ("10", "scores", r"^mean IoU", 0.9, 1),
    ("10", "random-weights", "^validation mean IoU", 0.40, 0.5),
    ("10", "random-weights", "^elsewhere +mean IoU", 0.35, 0.5),
    ("10", "trap", "as trained", 0.77, 0.84),
    ("10", "trap", "on all sides", 0.68, 0.76),  # nine points
    ("10", "trap", "from 0 to 1", 0.68, 0.76),
    ("10", "trap", "to 448²", 0.72, 0.79),  # five
    ("10", "interval", "^elsewhere", 0.77, 0.84),
    ("10", "interval", "interval", 0.70, 0.77),
    ("10", "interval", "interval.*to", 0.89, 0.97),
    ("10", "interval", "six:", 0.79, 0.86),
    ("10", "finished-scores", "^validation: mean IoU", 0.79, 0.86),
    ("10", "finished-scores", "^elsewhere: mean IoU", 0.77, 0.84),
    ("10", "tune", "^elsewhere: mean IoU", 0.76, 0.84),
    ("11", "app-run", "^memory:", 90, 160),  # a seventh of 870 MB
    ("11", "app-run", "ours:", 0, 0),
    ("11", "same-logits", "difference:", 0, 0.00009),  # in the fifth digit
    ("11", "same-maps", "class:", 0, 0),  # no pixel of two million
    ("11", "same-score", "mean IoU", 0.60, 0.68),
    ("11", "sizes", "by", 0, 0.00009),
    ("11", "left", "^0 to 1 .*", 0.25, 0.38),  # half the score
]
"""Notebook, cell, what precedes the numbers, and within which bounds the text is true."""

DIFFERENCES = [
    ("06", "fd75e1db", "argmax first:", "fd75e1db", "upsample first:", 0.5, 4),
    ("06", "speed", "^pipeline", "speed", "^segment", 0.2, 9),
    ("06", "speed", "^segment", "speed", "^batch of 8 ", 0.2, 9),
    ("06", "mask-specks-count", "^predictions.*", "mask-specks-count", "^without.*", -0.002, 0.002),
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
    ("10", "finished-scores", "^validation.*", "tune", "^validation.*", 0.005, 0.04),  # a point
    ("10", "finished-scores", "^elsewhere.*", "tune", "^elsewhere.*", -0.03, 0.01),  # no gain
    ("11", "same-score", "PyTorch:.*", "same-score", "32 bits:.*", 0, 0),
    ("11", "left", "^nearest pixels.*", "left", "^as trained.*", 0.01, 0.03),  # two or three points
    ("11", "left", "^blue first.*", "left", "^as trained.*", 0.01, 0.04),
    ("11", "left", "^0 to 255.*", "left", "^as trained.*", 0.05, 0.1),
    ("11", "left", "^as trained.*", "left", "^not resized.*", 0.01, 0.06),
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


def test_notebook_06_counts_pieces_as_its_text_reads_them() -> None:
    areas, counts = (
        cells("06")[name].outputs[0].text for name in ("mask-areas", "mask-specks-count")
    )
    rows = {line.split()[0]: line.split()[-2:] for line in areas.splitlines()[1:]}
    assert rows["car"] == ["3", "3"]
    assert rows["person"] == ["4", "1"]
    found = re.findall(r"([\d,]+) pieces, (\d+)", counts)
    (_, missed), (pieces, specks), (_, left) = ((int(a.replace(",", "")), int(b)) for a, b in found)
    assert 200 < missed < 250, "more than 200"
    assert 0.3 < specks / pieces < 0.37, "a third"
    assert left == 0


def table(notebook: str, cell: str) -> dict[str, list[str]]:
    """The table that a cell shows: name to entries."""
    lines = cells(notebook)[cell].outputs[0].data["text/plain"].splitlines()[1:]
    found = (re.split(r"\s{2,}", line.strip().replace(",", "")) for line in lines)
    return {name: entries for name, *entries in found}


def test_notebook_08_plans_test_images_as_its_text_reads_the_table() -> None:
    score, proportions, flip = (
        [int(entry.removeprefix("≈ ")) for entry in row] for row in table("08", "planner").values()
    )
    assert 90 <= score[1] <= 115, "about a hundred"
    assert (proportions[1], flip[1]) == pytest.approx((27, 7), rel=0.25)
    assert 500 < flip[3] < proportions[3] < 4000, "hundreds to thousands, for a difference"


def test_notebook_08_knows_some_classes_well_and_others_hardly() -> None:
    ends = {
        name: [float(one) for one in re.findall(r"[\d.]+(?=%)", " ".join(row))]
        for name, row in table("08", "class-intervals").items()
    }
    for name in ("sky", "wall"):
        assert ends[name][2] - ends[name][1] < 4, "to within two points"
    assert ends["fence"] == pytest.approx([64.8, 53, 84], abs=2)


def test_notebook_09_its_text_draws_no_more_from_the_table_of_costs_than_it_holds() -> None:
    cpu, b0, b1, quick = ([float(n) for n in row] for row in table("09", "hours").values())
    assert 5 * 7 * 24 < cpu[1] < 6 * 7 * 24, "more than five weeks"
    assert (b0[1], b1[1]) == pytest.approx((1.2 * 24, 1.5 * 24), rel=0.05)
    assert b0[0] == pytest.approx(0.64, abs=0.01)
    assert (b0[2], quick[2]) == (1, 6), "workers"


def test_notebook_11_reads_its_times_and_sizes_as_they_are() -> None:
    network, inside, outside = (
        stored("11", "argmax-ways", f"^{name}")[0]
        for name in ("network alone", "argmax inside", "argmax outside")
    )
    assert inside - network > 2 * network, "upsampling takes several times as long"
    assert outside < inside / 2
    rows = table("11", "variants-table")
    numbers = {
        name: [float(one) for one in re.findall(r"-?\d+\.\d+", " ".join(row))]
        for name, row in rows.items()
    }
    size, _, _, _, _, _, whole = numbers["32 bits"]
    for name, (megabytes, moved, _, *change, milliseconds) in numbers.items():
        assert moved < 1, "of a thousand pixels, a few"
        assert max(map(abs, change)) <= 0.3, "within a few tenths of a point"
        if name in ("8 bits dynamic", "8 bits static"):
            assert megabytes < size / 3
            assert milliseconds > 1.1 * whole, "smaller is not faster"
    assert numbers["16 bits"][0] == pytest.approx(size / 2, rel=0.1)
    assert numbers["8 bits matrices"][-1] == pytest.approx(whole, rel=0.3), "next to nothing"
    change, low, high = numbers["8 bits static"][3:6]
    told = cells("11")["variants-read"].source
    assert f"{abs(change):.1f} points, 95 % interval −{-low:.1f} to {high:+.1f}, 40 images" in told


def test_notebook_11_reads_its_speeds_as_they_are() -> None:
    names = ("pipeline", "PyTorch", "PyTorch, bfloat16", "all in the file", "file, 32 bits")
    pipeline, torch, bfloat16, inside, file = (
        stored("11", "speed", f"^{name} +")[0] for name in names
    )
    assert torch < inside < pipeline
    assert 1.4 < torch / file < 2.2, "one and a half times as fast, or better"
    assert bfloat16 > 0.8 * torch, "gains little or nothing"
    (eight,) = stored("11", "speed", "^file, 8 bits, matrices +")
    assert eight == pytest.approx(file, rel=0.3)


# --- the tables of trainings ----------------------------------------------------------------------

SHOWN_IN = {"heads": "05", "rates": "05", "split": "07"}
"""The notebook that shows each sweep's table. Notebook 07 draws figures of two more, and quotes the
others."""


@pytest.mark.parametrize("name", sweeps.SWEEPS)
def test_a_sweep_was_measured_with_the_present_settings(name: str) -> None:
    measured, present = sweeps.stored()[name], sweeps.settings(get_profile("tiny"), name)
    assert measured["settings"] == present, f"run `python -m tools.course sweeps {name}`"


@pytest.mark.parametrize("name", SHOWN_IN)
def test_the_notebook_shows_what_was_measured(name: str) -> None:
    table = sweeps.markdown(sweeps.stored()[name]["rows"])
    assert any(table in cell.source for cell in cells(SHOWN_IN[name]).values()), table


def test_the_table_of_losses_is_as_the_text_of_notebook_07_reads_it() -> None:
    found = {(row["steps"], row["loss"]): row for row in sweeps.stored()["losses"]["rows"]}

    def above(column: str, steps: int, better: str, worse: str) -> bool:
        return min(found[steps, better][column]) > max(found[steps, worse][column])

    pear, cherry, mean = "IoU of the pear", "IoU of the cherry", "mean IoU"
    for loss in ("class weights", "focal", "dice", "dice+cross-entropy"):
        assert above(pear, 60, loss, "cross-entropy")
        assert above(mean, 60, loss, "cross-entropy")
        best, plain = max(found[120, loss][mean]), min(found[120, "cross-entropy"][mean])
        assert best - plain < 0.05, "little is left"
    for dice in ("dice", "dice+cross-entropy"):
        for loss in ("class weights", "focal", "sampling"):
            assert np.mean(found[60, dice][cherry]) > np.mean(found[60, loss][cherry])
            assert above(cherry, 120, dice, loss)
    for loss in ("cross-entropy", "class weights", "focal", "sampling"):
        assert above(cherry, 60, "dice", loss)
        assert above(cherry, 120, "dice", loss)
    assert above(cherry, 120, "cross-entropy", "class weights")
    for steps, column in product((60, 120), (pear, cherry, mean)):
        assert not above(column, steps, "sampling", "cross-entropy")
        assert not above(column, steps, "cross-entropy", "sampling")
    # The notebook trains seed 0 of the first row.
    (shown,) = stored("07", "custom-50", "mean IoU")
    assert shown == pytest.approx(found[60, "cross-entropy"][mean][0], abs=0.03)
    pairs = [
        (above(column, steps, one, other) or above(column, steps, other, one))
        for steps in (60, 120)
        for column in (pear, cherry, mean)
        for one, other in combinations([loss for of, loss in found if of == steps], 2)
    ]
    text = cells("07")["custom-54"].source
    assert f"Here are {len(pairs)} comparisons" in text
    assert f"nine are expected to lie apart by luck alone, and {sum(pairs)} do" in text


def test_notebook_07_quotes_what_was_measured() -> None:
    rows = [row for name in ("images", "start", "sizes") for row in sweeps.stored()[name]["rows"]]
    measured = sweeps.markdown(sweeps.stored()["split"]["rows"])
    measured += "".join(sweeps.markdown([row]) for row in rows)
    for cell in ("learning-curve-read", "better-runs", "which-split"):
        quoted = re.findall(r"\d\.\d\d to \d\.\d\d", cells("07")[cell].source)
        assert quoted
        assert [one for one in quoted if one not in measured] == []
    told = cells("07")["prepare-writes"].outputs[0].text
    (small,) = re.findall(r"(\d+) x \d+ pixels +cherry", told)
    widths = [
        round(int(small) * row["image size"] / 512) for row in sweeps.stored()["sizes"]["rows"]
    ]
    assert widths == [4, 7, 9, 13]


def test_notebook_07_its_commands_learn_something_in_thirty_steps() -> None:
    told = cells("07")["train-command"].outputs[0].text
    scores = [float(one) for one in re.findall(r"^step \d+ of 30: mIoU (\S+)", told, re.MULTILINE)]
    assert scores == sorted(scores), "it is still rising"
    assert len(scores) == 3
    assert scores[0] < 0.02
    assert 1 / 3 < scores[-1] < 0.5, "above a third"


def test_the_tables_of_the_fruit_say_what_notebook_07_draws_from_them() -> None:
    images, split, start, sizes = (
        {next(iter(row.values())): row for row in sweeps.stored()[name]["rows"]}
        for name in ("images", "split", "start", "sizes")
    )
    mean, cherry = "mean IoU", "IoU of the cherry"
    assert min(images[12][mean]) > max(images[6][mean])
    assert max(images[12][mean]) > min(images[46][mean]), "no difference in so few steps"
    assert min(split["at random"]["difference"]) > 0.04, "a random split flatters"
    assert -0.04 < min(split["by table"]["difference"]) < 0, "one by table errs both ways"
    assert 0 < max(split["by table"]["difference"]) < 0.04
    assert min(start["finished model"][mean]) > max(start["pretrained encoder"][mean])
    assert min(start["pretrained encoder"][mean]) > max(start["random weights"][mean])
    for small, large in ((64, 96), (96, 128), (128, 192)):
        assert min(sizes[large][cherry]) > max(sizes[small][cherry])
        assert min(sizes[large][mean]) > max(sizes[small][mean])


def test_the_table_of_heads_is_as_the_text_of_notebook_05_reads_it() -> None:
    rows = {row["rate of the head"]: row["mean IoU"] for row in sweeps.stored()["heads"]["rows"]}
    assert 0.20 < rows["1 × 4e-4"] < 0.30
    assert 0.60 < rows["30 × 4e-4"] < 0.68


def test_notebook_08_draws_the_seeds_that_were_measured() -> None:
    source = cells("08")["seeds-figure"].source
    shown = ast.literal_eval(source.partition("runs = ")[2].partition("\nfound")[0])
    rows = sweeps.stored()["seeds"]["rows"]
    assert shown == {row["seed"]: (row["mean IoU"], row["low"], row["high"]) for row in rows}
    scores, lows, highs = np.array([*shown.values()]).T
    assert np.ptp(scores) == pytest.approx(1), "within one point"
    assert highs - lows == pytest.approx(5, abs=0.5), "about five points long"
    from_seeds, from_images = scores.std(ddof=1), (highs - lows).mean() / 3.92
    both = np.hypot(from_seeds, from_images)
    assert (from_seeds, from_images, both) == pytest.approx((0.5, 1.3, 1.4), abs=0.05)


@pytest.mark.slow
def test_notebook_00_what_the_heads_rate_does(tmp_path, monkeypatch) -> None:
    """Its cells to the end of the training without the head's rate, beside the stored table."""
    monkeypatch.chdir(REPOSITORY / "notebooks")
    monkeypatch.setenv("SEG_OUTPUT", str(tmp_path))
    page, source = {"PROFILE": "tiny"}, {name: cell.source for name, cell in cells("00").items()}
    assert source["model"].count("rate * factor") == 1
    source["model"] = source["model"].replace("rate * factor", "rate")
    needed = "imports guide load label-maps processor transforms metric count model arguments train"
    for name in needed.split():
        exec(source[name], page)
    without = page["trainer"].evaluate()["eval_mean_iou"]
    table = cells("00")["train"].outputs[0].data["text/html"]
    *_, stored_last, _ = map(float, re.findall(r"<td>(\d\.\d+)</td>", table))
    told = [float(one) for one in re.findall(r"≈ (0\.\d\d)", source["training"])]
    assert [without, stored_last] == pytest.approx(told, abs=0.03)
