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


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_every_label_gets_its_own_color_and_255_black(dtype: type) -> None:
    labels = np.array([*range(150), 255], dtype=dtype).reshape(1, -1)
    colors = colorize(labels)
    assert colors.shape == (1, 151, 3)
    assert colors.dtype == np.uint8
    assert (colors[0, :150] == ADE20K.palette).all()
    assert colors[0, 150].tolist() == [0, 0, 0]
    assert colors[0, ADE20K.label2id["wall"]].tolist() == [120] * 3  # not black, not building's
    colors[0, 0] = 7
    assert (colorize(labels[:, ::2])[0, :75] == ADE20K.palette[::2]).all()


def test_labels_of_ones_own_have_their_own_colors_and_names(image: Image.Image) -> None:
    labels = Labels(["table", "fruit, ripe"], [(1, 2, 3), (4, 5, 6)])
    label_map = np.array([[1, 0, 255]])
    assert colorize(label_map, labels).tolist() == [[[4, 5, 6], [1, 2, 3], [0, 0, 0]]]
    shown = overlay(image.resize((3, 1)), label_map, 1, labels)
    assert np.asarray(shown)[0, :2].tolist() == [[4, 5, 6], [1, 2, 3]]
    figure = show_images({"one": image}, [1], labels=labels)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["fruit"]
    most = Labels(map(str, range(255)), [(255, 255, 255)] * 255)  # 255 is ignored all the same
    assert colorize(np.array([[254, 255]]), most).tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("label", [3, 254, 256, 1000, -1])
def test_a_label_without_color_is_named(label: int) -> None:
    with pytest.raises(ValueError, match=f"label id {label} has no color: expected 0-2, or 255"):
        colorize(np.array([[2, label]]), FRUIT)


@pytest.mark.parametrize("alpha", [0, 0.25, 1])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_overlay_blends_and_keeps_ignored_pixels_and_the_image(
    image: Image.Image, label_map: np.ndarray, alpha: float, mode: str
) -> None:
    image = image.convert(mode)
    before = np.asarray(image.convert("RGB")).copy()
    shown = overlay(image, label_map, alpha=alpha)
    assert (shown.mode, shown.size) == ("RGB", image.size)
    blended = (1 - alpha) * before + alpha * colorize(label_map)
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


def test_a_name_lies_inside_its_segment_and_a_speck_has_none() -> None:
    label_map = np.full((40, 40), 6, dtype=np.uint8)
    label_map[10:30, 10:30] = IGNORE_INDEX  # the road is a frame: its center of mass lies outside
    label_map[13:18, 13:18], label_map[13:18, 22:27] = 20, 20  # two cars
    label_map[0, 0] = 12  # a speck
    figure = show_images({"one": colorize(label_map)}, named={"one": label_map})
    places = [(text.get_text(), text.get_position()) for text in figure.axes[0].texts]
    assert [name for name, _ in places] == ["road", "car", "car"]
    assert all(label_map[row, column] in (6, 20) for _, (column, row) in places)
    assert [place for _, place in places[1:]] == [(15, 15), (24, 15)]


def test_an_outline_is_the_edge_inside_the_mask() -> None:
    mask = np.zeros((6, 6), dtype=bool)
    mask[1:5, 2:] = True
    edge = mask.copy()
    edge[2:4, 3:] = False
    black = Image.new("RGB", (6, 6))
    assert (np.asarray(outline(black, mask)) == 255 * edge[..., None]).all()
    assert not np.any(outline(black, np.ones((6, 6), dtype=bool)))


def test_names_and_outlines_are_drawn_where_the_classes_are(
    image: Image.Image, label_map: np.ndarray
) -> None:
    figure = show_images(
        {"plain": image, "named": overlay(image, label_map)}, named={"named": label_map}
    )
    plain, named = figure.axes[:2]
    assert not plain.texts
    assert not plain.collections
    assert {text.get_text() for text in named.texts} == {"wall", "sky", "flag", "road"}
    for text in named.texts:
        column, row = text.get_position()
        assert ADE20K.short_names[label_map[row, column]] == text.get_text()
    borders = sum((np.diff(label_map.astype(int), axis=axis) != 0).sum() for axis in (0, 1))
    assert [len(lines.get_segments()) for lines in named.collections] == [borders, borders]
    figure.canvas.draw()
    with pytest.raises(ValueError, match=r"no image has the title 'two': expected one of \['on"):
        show_images({"one": image}, named={"two": label_map})


def test_a_name_at_the_edge_is_not_cut() -> None:
    label_map = np.full((60, 100), 6, dtype=np.uint8)
    label_map[20:40, :8], label_map[20:40, -8:] = 80, 12
    figure = show_images({"one": colorize(label_map)}, named={"one": label_map}, width=4)
    figure.canvas.draw()
    frame = figure.axes[0].get_window_extent()
    assert {text.get_text() for text in figure.axes[0].texts} == {"road", "bus", "person"}
    for text in figure.axes[0].texts:
        extent = text.get_window_extent()
        assert frame.x0 <= extent.x0, text.get_text()
        assert extent.x1 <= frame.x1, text.get_text()


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
