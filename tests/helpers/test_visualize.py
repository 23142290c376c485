"""Label maps as images, segments in their colors, a model as a diagram."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from samples import FRUIT, draw_blocks, small_model

from helpers.labels import ADE20K, IGNORE_INDEX, Labels
from helpers.visualize import (
    color_of_name,
    colorize,
    draw_segformer,
    largest_labels,
    outline,
    overlay,
    paint_segments,
    segments_of,
    show_images,
)


@pytest.fixture
def image() -> Image.Image:
    return draw_blocks(1, (6, 4))[0]


@pytest.fixture
def label_map() -> np.ndarray:
    labels = np.array([[0, 2, 255], [149, 6, 0]]).repeat(2, axis=0).repeat(2, axis=1)
    return labels.astype(np.uint8)


def test_every_label_gets_its_own_color_and_255_black() -> None:
    most = Labels(map(str, range(255)), [(255, 255, 255)] * 255)
    for labels in (ADE20K, FRUIT, most):
        for dtype in (np.uint8, np.int16, np.int64):
            colors = colorize(np.array([[*range(labels.num_labels), 255]], dtype=dtype), labels)
            assert colors.dtype == np.uint8
            assert (colors == [[*labels.palette, (0, 0, 0)]]).all()
    colors[0, 0] = 7  # it may be written to
    assert ADE20K.palette[ADE20K.label2id["wall"]].tolist() == [120] * 3


@pytest.mark.parametrize("label", [3, 254, 256, 1000, -1])
def test_a_label_without_color_is_named(label: int) -> None:
    with pytest.raises(ValueError, match=f"label id {label} has no color: expected 0-2, or 255"):
        colorize(np.array([[2, label]]), FRUIT)


@pytest.mark.parametrize("alpha", [0, 0.25, 1])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_overlay_blends_and_keeps_ignored_pixels_and_the_image(
    image: Image.Image, label_map: np.ndarray, alpha: float, mode: str
) -> None:
    labels = ADE20K if mode == "RGB" else Labels(ADE20K.names)  # in other colors
    image = image.convert(mode)
    before = np.asarray(image.convert("RGB")).copy()
    shown = overlay(image, label_map, alpha, labels)
    assert (shown.mode, shown.size) == ("RGB", image.size)
    blended = (1 - alpha) * before + alpha * colorize(label_map, labels)
    expected = np.where((label_map == IGNORE_INDEX)[..., None], before, blended)
    rounding = 1 if 0 < alpha < 1 else 0
    assert np.abs(np.asarray(shown).astype(float) - expected).max() <= rounding
    assert (np.asarray(image.convert("RGB")) == before).all()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"label_map": np.zeros((6, 4), np.uint8)}, "label map is 4 x 6 pixels, the image 6 x 4"),
        ({"alpha": -0.1}, r"expected 0 .* to 1"),
        ({"alpha": float("nan")}, r"expected 0 .* to 1"),
    ],
)
def test_what_cannot_be_laid_over_an_image_is_refused(
    image: Image.Image, label_map: np.ndarray, arguments: dict, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        overlay(image, **{"label_map": label_map} | arguments)


def test_the_largest_labels_come_first(label_map: np.ndarray) -> None:
    assert largest_labels(label_map) == [0, 2, 6, 149]
    assert largest_labels(label_map, np.full((9, 9), 149), most=2) == [149, 0]


def test_a_figure_shows_all_titles_images_and_entries(
    image: Image.Image, label_map: np.ndarray
) -> None:
    images = {f"image {index}": image for index in range(4)} | {"labels": colorize(label_map)}
    before = plt.get_fignums()
    figure = show_images(images, legend=[2, 0, IGNORE_INDEX], columns=3)
    assert plt.get_fignums() == before  # closed: a notebook shows it once
    shown = [axes for axes in figure.axes if axes.get_images()]
    assert [axes.get_title() for axes in shown] == list(images)
    assert (shown[-1].get_images()[0].get_array() == colorize(label_map)).all()
    assert not any(axes.axison for axes in figure.axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sky", "wall", "ignored"]
    colors = [np.multiply(patch.get_facecolor()[:3], 255) for patch in legend.get_patches()]
    expected = [*ADE20K.palette[[2, 0]].tolist(), [0, 0, 0]]
    assert np.round(colors).tolist() == expected
    assert not show_images({"one": image}).legends


def test_an_outline_is_the_edge_inside_the_mask() -> None:
    mask = np.zeros((6, 6), dtype=bool)
    mask[1:5, 2:] = True
    edge = mask.copy()
    edge[2:4, 3:] = False
    black = Image.new("RGB", (6, 6))
    assert (np.asarray(outline(black, mask)) == 255 * edge[..., None]).all()
    assert not np.any(outline(black, np.ones((6, 6), dtype=bool)))


def test_outlines_are_drawn_where_the_classes_meet(
    image: Image.Image, label_map: np.ndarray
) -> None:
    figure = show_images(
        {"plain": image, "named": overlay(image, label_map)}, named={"named": label_map}
    )
    plain, named = figure.axes[:2]
    assert not plain.texts
    assert not plain.collections
    borders = sum((np.diff(label_map.astype(int), axis=axis) != 0).sum() for axis in (0, 1))
    assert [len(lines.get_segments()) for lines in named.collections] == [borders, borders]
    with pytest.raises(ValueError, match=r"no image has the title 'two': expected one of \['on"):
        show_images({"one": image}, named={"two": label_map})


def test_a_name_lies_inside_its_segment_and_the_image_and_a_speck_has_none() -> None:
    label_map = np.full((60, 100), 6, dtype=np.uint8)
    label_map[15:45, 30:70] = IGNORE_INDEX  # the road is a frame: its center of mass lies outside
    label_map[20:35, 32:42], label_map[20:35, 55:65] = 20, 20  # two cars
    label_map[20:40, :8], label_map[20:40, -8:], label_map[0, 0] = 80, 12, 4
    figure = show_images({"one": colorize(label_map)}, named={"one": label_map}, width=4)
    figure.canvas.draw()
    frame, names = figure.axes[0].get_window_extent(), []
    for text in figure.axes[0].texts:
        (column, row), extent = text.get_position(), text.get_window_extent()
        assert ADE20K.short_names[label_map[row, column]] == text.get_text()
        assert frame.x0 <= extent.x0 <= extent.x1 <= frame.x1, text.get_text()
        names.append(text.get_text())
    assert sorted(names) == ["bus", "car", "car", "person", "road"]


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


def test_shades_of_a_class_differ_and_go_from_left_to_right() -> None:
    painted = paint_segments(strips(*["car"] * 12), (3, 24))[0, ::2].astype(int)
    differences = np.abs(painted[:, None] - painted[None]).sum(axis=-1)
    assert differences[~np.eye(12, dtype=bool)].min() > 10
    cars = strips("car", "car", "road", "car", "sky")[:4]
    painted = paint_segments(cars, (3, 10))
    assert (paint_segments(cars[::-1], (3, 10)) == painted).all()
    assert (painted[:, :2] == ADE20K.palette[ADE20K.label2id["car"]]).all()
    assert not painted[:, 8:].any()  # black where no segment is
    images = [{**car, "mask": Image.fromarray(car["mask"]).convert("L")} for car in cars]
    assert (paint_segments(images, (3, 10)) == painted).all()


def test_an_unknown_name_borrows_a_color_and_keeps_it() -> None:
    assert color_of_name("car") == tuple(ADE20K.palette[ADE20K.label2id["car"]])
    assert color_of_name("traffic light") == color_of_name("traffic light")
    assert list(color_of_name("traffic light")) in ADE20K.palette.tolist()


def test_the_diagram_shows_the_sizes_of_the_model() -> None:
    config = small_model().config
    figure = draw_segformer(config, 128)
    shown = "\n".join(text.get_text() for text in figure.axes[0].texts)
    for side, channels in zip((4, 8, 16, 32), config.hidden_sizes, strict=True):
        assert f"{128 // side} × {128 // side}\n{channels} channels" in shown
    assert f"{config.num_labels} classes" in shown
