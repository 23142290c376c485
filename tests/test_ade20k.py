"""The 150 classes: names, official colours, label reduction."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.ade20k import (
    ID2LABEL,
    IGNORE_INDEX,
    LABEL2ID,
    NUM_LABELS,
    PALETTE,
    SHARED_COLORS,
    reduce_labels,
)


def test_the_palette_has_a_row_of_rgb_bytes_for_each_class_and_wall_is_first() -> None:
    assert PALETTE.shape == (150, 3)
    assert PALETTE.dtype == np.uint8
    # Some rows by name, read off the official colour sheet: RGB, not BGR, and not one row off.
    for name, color in {
        "wall": (120, 120, 120),
        "building": (180, 120, 120),
        "sky": (6, 230, 230),
        "bed": (204, 5, 255),
        "sea": (9, 7, 230),
        "flag": (92, 0, 255),
    }.items():
        assert tuple(PALETTE[LABEL2ID[name]]) == color, name
    assert LABEL2ID["wall"] == 0
    assert LABEL2ID["flag"] == 149


def test_the_palette_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        PALETTE[0] = 0


def test_exactly_the_declared_classes_share_a_color() -> None:
    alike = defaultdict(list)
    for label_id, color in enumerate(PALETTE):
        alike[tuple(color)].append(label_id)
    assert sorted(tuple(ids) for ids in alike.values() if len(ids) > 1) == list(SHARED_COLORS)
    assert [(ID2LABEL[a], ID2LABEL[b]) for a, b in SHARED_COLORS] == [("road", "skyscraper")]


def test_names_and_ids_are_each_other_s_inverse_and_clean() -> None:
    assert NUM_LABELS == len(ID2LABEL) == len(LABEL2ID) == 150
    assert list(ID2LABEL) == list(range(150))
    assert all(LABEL2ID[name] == label_id for label_id, name in ID2LABEL.items())
    assert all(name == name.strip() and name for name in LABEL2ID)
    assert LABEL2ID["bed"] == 7  # "bed " on the Hub


def test_names_and_colors_equal_the_official_list(ade20k_dir: Path) -> None:
    classes = json.loads((ade20k_dir / "classes.json").read_text(encoding="utf-8"))
    assert len(classes) == NUM_LABELS
    for entry in classes:
        label_id = entry["label_id"]
        assert entry["annotation_value"] == label_id + 1
        assert ID2LABEL[label_id] == entry["hub_name"].strip()
        assert PALETTE[label_id].tolist() == entry["rgb"]
    assert [c["label_id"] for c in classes if c["hub_name"] != c["hub_name"].strip()] == [7]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
def test_label_reduction_of_every_value(dtype: type) -> None:
    reduced = reduce_labels(np.arange(151, dtype=dtype))
    assert reduced.dtype == np.uint8
    assert reduced.tolist() == [IGNORE_INDEX, *range(150)]


def test_label_reduction_keeps_the_shape_and_its_input() -> None:
    annotation = np.array([[0, 1, 150], [7, 0, 2]], dtype=np.uint8)
    before = annotation.copy()
    assert reduce_labels(annotation).tolist() == [[255, 0, 149], [6, 255, 1]]
    assert (annotation == before).all()
    assert reduce_labels(Image.fromarray(annotation)).tolist() == [[255, 0, 149], [6, 255, 1]]
    assert reduce_labels(np.zeros((0, 4), dtype=np.uint8)).shape == (0, 4)
    assert reduce_labels([[1, 2]]).tolist() == [[0, 1]]


@pytest.mark.parametrize("value", [151, 254, 255, -1, 300])
def test_label_reduction_refuses_what_is_no_annotation_value(value: int) -> None:
    with pytest.raises(ValueError, match=rf"annotation value {value} found, expected 0-150"):
        reduce_labels(np.array([[3, value]]))


def test_reducing_twice_is_refused() -> None:
    reduced = reduce_labels(np.array([[0, 1, 2]]))
    with pytest.raises(ValueError, match="reduce them only once"):
        reduce_labels(reduced)
