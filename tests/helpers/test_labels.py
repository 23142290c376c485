"""What masks mean: names, colors, reduction, the files that hold them; ADE20K's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import color_sequences
from matplotlib.colors import to_rgb
from samples import FRUIT

from helpers.labels import ADE20K, Labels, default_palette, label_set

REDUCED = Labels(["apple", "pear"], reduce=True)

# --- labels ---------------------------------------------------------------------------------------


def test_names_ids_and_their_inverse() -> None:
    labels = Labels([" bed", "pêche "])
    assert labels.num_labels == 2
    assert labels.id2label == {0: "bed", 1: "pêche"}  # spaces around names are dropped
    assert labels.label2id == {"bed": 0, "pêche": 1}
    assert str(labels) == "2 labels (bed, pêche), value 0 is bed"
    assert str(ADE20K) == "150 labels (wall, building, sky, ...), value 0 is no class"
    assert labels == Labels(["bed", "pêche"]) != Labels(["bed", "pêche"], reduce=True)


def test_the_first_of_several_names_is_shown_unless_another_label_has_it_too() -> None:
    assert Labels(["wall", "building, edifice"]).short_names == ("wall", "building")
    assert ADE20K.short_names == ADE20K.names
    fruit = Labels(["table", "fruit, ripe", "fruit, green"])
    assert fruit.short_names == fruit.names


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"names": ["tumour"]}, r"number of labels is 1, expected 2 to 255.*background"),
        ({"names": map(str, range(456))}, r"labels is 456, expected 2 to 255\. 255 stands for"),
        ({"names": ["a", "b", "a "]}, "two labels are named 'a'"),
        ({"names": {0: "a", 1: "b"}}, "expected a list of them in the order of their label ids"),
        ({"names": "ab"}, "the names of labels are 'ab', expected a list"),
        ({"colors": [(0, 0, 0)]}, "for each of 2 labels"),
        ({"colors": [(0, 0, 0), (0, 0, 256)]}, "whole numbers 0-255"),
        ({"colors": ["red", "blue"]}, "red, green and blue"),
    ],
)
def test_what_are_no_labels_is_refused(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Labels(**{"names": ["a", "b"]} | arguments)


def test_a_label_map_is_bytes_of_the_same_shape_and_its_source_is_kept() -> None:
    annotation = np.array([[0, 1, 2], [2, 0, 1]], dtype=np.uint8)
    label_map = REDUCED.to_label_map(annotation)
    assert label_map.dtype == np.uint8
    assert label_map.tolist() == [[255, 0, 1], [1, 255, 0]]
    assert annotation.tolist() == [[0, 1, 2], [2, 0, 1]]
    assert FRUIT.to_label_map(annotation) is not annotation
    assert FRUIT.to_label_map(annotation > 0).tolist() == [[0, 1, 1], [1, 0, 1]]
    most = Labels(map(str, range(255)))
    assert most.to_label_map(np.arange(256)).tolist() == [*range(255), 255]
    with pytest.raises(ValueError, match="a mask holds whole numbers, got"):
        FRUIT.to_label_map(annotation / 2)


@pytest.mark.parametrize(
    ("labels", "values", "told"),
    [
        (FRUIT, [3], r"3, expected 0-2, or 255 for no class: give it a class in id2label\.json"),
        (FRUIT, [0, -1], "-1, expected .* if it stands for pixels to ignore, make it 255"),
        (FRUIT, [9, 2**31 - 1, 7], "7, expected"),
        (FRUIT, range(3, 100), "3, expected .* 97 such values mean JPEG compression or soft edges"),
        (REDUCED, [255], r"255, expected 0-2 \(0 = other\): .* reduced already, and once is"),
    ],
)
def test_the_error_tells_the_likely_cause_and_what_to_do(
    labels: Labels, values: list[int], told: str
) -> None:
    with pytest.raises(ValueError, match=f"holds the value {told}"):
        labels.to_label_map(values)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduce", [False, True])
@pytest.mark.parametrize("colors", [None, [(1, 2, 3), (250, 0, 9)]])
def test_saved_labels_come_back(tmp_path: Path, reduce: bool, colors: list | None) -> None:
    labels = Labels(["background", "pêche"], colors, reduce)
    labels.save(tmp_path / "new" / "folder")
    back = Labels.load(tmp_path / "new" / "folder")
    assert (back.names, back.reduce) == (labels.names, reduce)
    assert (back.palette == labels.palette).all()
    # As `transformers` and its scripts read them.
    stored = (tmp_path / "new" / "folder" / "id2label.json").read_text(encoding="utf-8")
    assert json.loads(stored) == {"0": "background", "1": "pêche"}


def write(folder: Path, names: str, rules: str | None = None) -> Path:
    (folder / "id2label.json").write_text(names, encoding="utf-8")
    if rules is not None:
        (folder / "labels.json").write_text(rules, encoding="utf-8")
    return folder


def test_without_labels_json_ade20ks_names_are_reduced_and_others_are_not(tmp_path: Path) -> None:
    assert Labels.load(write(tmp_path, '{"1": "bed ", "0": "wall"}')) == Labels(["wall", "bed"])
    hub = ADE20K.id2label | {7: "bed "}  # as the Hub's label file has it
    assert Labels.load(write(tmp_path, json.dumps(hub))) == ADE20K
    assert label_set(hub.values(), reduce=False) == Labels(hub.values(), ADE20K.palette.tolist())
    assert Labels.load(write(tmp_path, json.dumps(hub), '{"reduce": false}')).reduce is False


TWO = '{"0": "a", "1": "b"}'


@pytest.mark.parametrize(
    ("names", "rules", "told"),
    [
        ('{"1": "a", "2": "b"}', None, r'from 1 to 2, expected 0 to 1.*"0": "background".*reduce'),
        ('{"0": "a", "2": "b"}', None, r"its labels \[0, 2\], expected 0 to 1 without gaps"),
        ('{"cat": 0}', None, "holds no label names"),
        ("not json", None, "holds no label names"),
        (TWO, "not json", 'expected {"reduce": true or false, "colors"'),
        (TWO, '{"reduce": 1}', "says 1, expected"),
        (TWO, '{"reduce": true, "colors": [[0, 0, 0]]}', "for each of 2 labels"),
    ],
)
def test_a_file_that_holds_something_else_is_named(
    tmp_path: Path, names: str, rules: str | None, told: str
) -> None:
    with pytest.raises(ValueError, match=told) as error:
        Labels.load(write(tmp_path, names, rules))
    assert str(tmp_path) in str(error.value)
    (tmp_path / "id2label.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"id2label\.json"):
        Labels.load(tmp_path)


# --- ADE20K ---------------------------------------------------------------------------------------


def test_the_palette_is_the_official_one_in_rgb_and_wall_is_first() -> None:
    assert (ADE20K.palette.shape, ADE20K.palette.dtype) == ((150, 3), np.uint8)
    # Read off the official color sheet: RGB, not BGR, and not one row off.
    official = {"wall": (0, 120, 120, 120), "bed": (7, 204, 5, 255), "flag": (149, 92, 0, 255)}
    for name, (label, *color) in official.items():
        assert ADE20K.label2id[name] == label
        assert ADE20K.palette[label].tolist() == color
    with pytest.raises(ValueError, match="read-only"):
        ADE20K.palette[0] = 0


def test_names_and_colors_equal_the_official_list(ade20k_dir: Path) -> None:
    classes = json.loads((ade20k_dir / "classes.json").read_text(encoding="utf-8"))
    assert [entry["annotation_value"] for entry in classes] == list(range(1, 151))
    assert ADE20K.names == tuple(entry["hub_name"].strip() for entry in classes)
    assert ADE20K.palette.tolist() == [entry["rgb"] for entry in classes]


@pytest.mark.parametrize("count", [2, 9, 40])
def test_each_class_has_a_color_of_its_own(count: int) -> None:
    palette = default_palette(count)
    assert (palette.shape, palette.dtype) == ((count, 3), np.uint8)
    assert len({tuple(color) for color in palette.tolist()}) == count
    # Published as colors that color-blind eyes tell apart as well; its grey is for the background.
    accessible = [to_rgb(color) for color in color_sequences["petroff8"]][:7]
    assert (palette[1:8] == np.multiply(accessible, 255).round()[: count - 1]).all()
    assert (np.ptp(palette[1:].astype(int), axis=-1) > 40).all()
