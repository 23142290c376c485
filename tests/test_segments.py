"""Segments and their colors."""

import numpy as np
from PIL import Image

from helpers.labels import ADE20K
from helpers.segments import color_of_name, paint_segments, segments_of


def strips(*names: str) -> list[dict]:
    """A segment for each name, beside each other, each two columns wide."""
    columns = np.arange(2 * len(names)).reshape(1, -1).repeat(3, axis=0)
    return [{"label": name, "mask": columns // 2 == n} for n, name in enumerate(names)]


def test_segments_are_the_pairs_of_class_and_instance() -> None:
    label_map = np.array([[6, 20, 20], [255, 20, 6]])
    instances = np.array([[0, 1, 2], [0, 1, 0]])
    segments = segments_of(label_map, instances)
    assert [(s["label"], s["instance"]) for s in segments] == [("road", 0), ("car", 1), ("car", 2)]
    assert segments[0]["mask"].tolist() == [[True, False, False], [False, False, True]]


def test_a_single_segment_has_the_color_of_its_class_and_the_rest_is_black() -> None:
    (car, _) = strips("car", "road")
    painted = paint_segments([car], (3, 4))
    assert (painted[:, :2] == ADE20K.palette[ADE20K.label2id["car"]]).all()
    assert not painted[:, 2:].any()


def test_shades_of_a_class_differ() -> None:
    painted = paint_segments(strips(*["car"] * 12), (3, 24))[0, ::2].astype(int)
    differences = np.abs(painted[:, None] - painted[None]).sum(axis=-1)
    assert differences[~np.eye(12, dtype=bool)].min() > 10


def test_a_segment_keeps_its_shade_where_others_are_missing() -> None:
    cars = strips("car", "car", "car", "car")
    all_four = paint_segments(cars, (3, 8))
    last_two = paint_segments(cars[2:], (3, 8), like=cars)
    assert (last_two[:, 4:] == all_four[:, 4:]).all()


def test_a_segment_that_is_like_none_takes_a_number_that_is_left() -> None:
    cars = strips("car", "car", "car")
    merged = {"label": "car", "mask": np.ones((3, 6), dtype=bool)}
    assert (
        paint_segments([merged], (3, 6), like=cars) == ADE20K.palette[ADE20K.label2id["car"]]
    ).all()
    second = {"label": "car", "mask": cars[0]["mask"]}
    both = paint_segments([cars[2], second], (3, 6), like=cars[1:2])
    assert both[0, 0].tolist() != both[0, 4].tolist()


def test_masks_may_be_images_and_those_to_be_like_of_another_size() -> None:
    cars = strips("car", "car")
    images = [
        {
            "label": "car",
            "mask": Image.fromarray(one["mask"].repeat(2, 0).repeat(2, 1)).convert("L"),
        }
        for one in cars
    ]
    small = paint_segments(cars[1:], (3, 4), like=images)
    assert (small[:, 2:] == paint_segments(images, (6, 8))[::2, 4::2]).all()


def test_an_unknown_name_borrows_a_color_and_keeps_it() -> None:
    assert color_of_name("car") == tuple(ADE20K.palette[ADE20K.label2id["car"]])
    assert color_of_name("traffic light") == color_of_name("traffic light")
    assert list(color_of_name("traffic light")) in ADE20K.palette.tolist()
