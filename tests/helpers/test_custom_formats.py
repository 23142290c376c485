"""What annotation tools export: written in the tool's format from a known mask, and read back."""

import base64
import io
import json
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from PIL import Image
from pycocotools import mask as coco_mask

from helpers import custom
from helpers.custom.polygons import _inside
from helpers.labels import Labels

LABELS = Labels(["background", "apple", "pear"], [(0, 0, 0), (128, 0, 0), (0, 128, 0)])
CATEGORIES = [{"id": 7, "name": "pear"}, {"id": 3, "name": "apple"}]  # ids with gaps, any order
VALUES = {3: 1, 7: 2}
SIZE = (30, 20)

known_masks = st.integers(0, 10_000).map(lambda seed: draw_mask(seed))
few = settings(max_examples=20, deadline=None)


def draw_mask(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 3, (4, 6)).astype(np.uint8)
    return np.kron(values, np.ones((5, 5), dtype=np.uint8))


def as_array(mask: Image.Image) -> np.ndarray:
    assert mask.mode == "L"
    return np.asarray(mask)


def write_json(folder: Path, content: object) -> Path:
    file = folder / "export.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def as_png(mask: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(mask).save(content, format="PNG")
    return content.getvalue()


def blocks(mask: np.ndarray) -> list[tuple[int, tuple[int, int, int, int]]]:
    """(value, (left, top, right, bottom)) of each square that is no background."""
    corners = [(x, y) for y in range(0, SIZE[1], 5) for x in range(0, SIZE[0], 5)]
    return [(int(mask[y, x]), (x, y, x + 5, y + 5)) for x, y in corners if mask[y, x]]


def corners(box: tuple[int, int, int, int]) -> list[list[int]]:
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


# --- COCO -----------------------------------------------------------------------------------------


def polygons(mask: np.ndarray) -> list[dict]:
    """An annotation for each class, of a polygon for each square."""
    category = {value: each for each, value in VALUES.items()}
    return [
        {
            "category_id": category[value],
            "iscrowd": 0,
            "segmentation": [np.ravel(corners(box)).tolist() for v, box in squares],
        }
        for value, squares in groupby(sorted(blocks(mask)), key=lambda block: block[0])
    ]


def run_lengths(mask: np.ndarray) -> list[dict]:
    """An annotation for each class, of run lengths as a crowd has them."""
    annotations = []
    for category, value in VALUES.items():
        column_by_column = (mask == value).ravel(order="F").tolist()
        runs = [(yes, len([*run])) for yes, run in groupby(column_by_column)]
        counts = [*([0] if runs[0][0] else []), *(length for _, length in runs)]
        segmentation = {"size": [*mask.shape], "counts": counts}
        annotations.append({"category_id": category, "iscrowd": 1, "segmentation": segmentation})
    return annotations


def compressed(mask: np.ndarray) -> list[dict]:
    annotations = []
    for category, value in VALUES.items():
        code = coco_mask.encode(np.asfortranarray(mask == value).astype(np.uint8))
        code["counts"] = code["counts"].decode()
        annotations.append({"category_id": category, "iscrowd": 0, "segmentation": code})
    return annotations


def write_coco(folder: Path, annotations: list[dict]) -> Path:
    image = {"id": 11, "file_name": "fruit/1.jpg", "width": SIZE[0], "height": SIZE[1]}
    annotations = [{"id": k, "image_id": 11, **each} for k, each in enumerate(annotations)]
    return write_json(
        folder, {"images": [image], "annotations": annotations, "categories": CATEGORIES}
    )


def read_one(file: Path) -> np.ndarray:
    _, masks = custom.read_coco(file)
    ((name, mask),) = masks
    assert name == "fruit/1.jpg"
    return as_array(mask)


@few
@given(known_masks, st.sampled_from([polygons, run_lengths, compressed]))
def test_coco_comes_back(tmp_path_factory: pytest.TempPathFactory, mask, form) -> None:
    file = write_coco(tmp_path_factory.mktemp("coco"), form(mask))
    assert custom.read_coco(file)[0].names == LABELS.names
    assert np.array_equal(read_one(file), mask)


def test_of_two_objects_the_smaller_lies_on_top_whatever_their_order(tmp_path: Path) -> None:
    def annotation(category: int, box: tuple[int, int, int, int]) -> dict:
        return {"category_id": category, "segmentation": [np.ravel(corners(box)).tolist()]}

    expected = np.zeros((20, 30), dtype=np.uint8)
    expected[2:18, 2:28] = 1
    expected[5:10, 5:10] = 2
    both = [annotation(3, (2, 2, 28, 18)), annotation(7, (5, 5, 10, 10))]
    for order in (both, both[::-1]):
        assert np.array_equal(read_one(write_coco(tmp_path, order)), expected)


def test_an_outline_that_runs_to_a_hole_and_back_has_the_hole(tmp_path: Path) -> None:
    ring = [*corners((5, 5, 25, 15)), [5, 5], *corners((10, 8, 20, 12)), [10, 8]]
    expected = np.zeros((20, 30), dtype=np.uint8)
    expected[5:15, 5:25] = 1
    expected[8:12, 10:20] = 0
    file = write_coco(tmp_path, [{"category_id": 3, "segmentation": [np.ravel(ring).tolist()]}])
    assert np.array_equal(read_one(file), expected)


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        ({"category_id": 3, "bbox": [1, 1, 2, 2]}, "annotation 0 of .* no outline, perhaps only a"),
        (
            {"category_id": 9, "segmentation": [[0, 0, 5, 0, 5, 5]]},
            r"category 9, expected one of \[3, 7\]",
        ),
        ({"category_id": 3, "segmentation": {"size": [20, 31], "counts": [620]}}, "another size"),
    ],
)
def test_an_object_that_cannot_be_drawn_is_named(tmp_path: Path, annotation, told) -> None:
    with pytest.raises(ValueError, match=told):
        read_one(write_coco(tmp_path, [annotation]))


def test_without_pycocotools_one_sentence_names_it(tmp_path: Path, monkeypatch) -> None:
    mask = draw_mask(0)
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(ImportError, match="compressed run lengths: pip install pycocotools"):
        read_one(write_coco(tmp_path, compressed(mask)))
    for form in (polygons, run_lengths):  # needs nothing
        assert np.array_equal(read_one(write_coco(tmp_path, form(mask))), mask)


@few
@given(st.integers(0, 10_000))
def test_pixels_are_inside_by_their_center(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 12))
    radius = rng.uniform(20, 220, 12)  # reaches beyond the image
    points = np.stack([150 + radius * np.cos(angle), 100 + radius * np.sin(angle)], axis=1)
    ours = _inside(points, (200, 300))
    y, x = np.mgrid[:200, :300] + 0.5
    by_definition = Outline(points).contains_points(np.stack([x.ravel(), y.ravel()], axis=1))
    assert np.array_equal(ours, by_definition.reshape(200, 300))
    # The tool's own drawing rounds borders in its own way.
    code = coco_mask.merge(coco_mask.frPyObjects([points.ravel().tolist()], 200, 300))
    assert (ours != coco_mask.decode(code)).mean() < 0.003


# --- Labelme --------------------------------------------------------------------------------------


def labelme(shapes: list[dict]) -> dict:
    return {
        "version": "5.5.0", "flags": {}, "shapes": shapes,
        "imagePath": "1.jpg", "imageData": None, "imageHeight": SIZE[1], "imageWidth": SIZE[0],
    }  # fmt: skip


def shape(label: str, kind: str, points: list, **more: str) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, **more}


@few
@given(known_masks, st.sampled_from(["polygon", "rectangle", "mask"]), st.booleans())
def test_labelme_comes_back(tmp_path_factory, mask, kind, reduce) -> None:
    labels = Labels(LABELS.names[1:], reduce=True) if reduce else LABELS
    shapes = []
    for value, box in blocks(mask):
        points = corners(box) if kind == "polygon" else [box[:2], box[2:]]
        more = {}
        if kind == "mask":
            content = as_png(np.full((5, 5), True))
            more = {"mask": base64.b64encode(content).decode()}
        shapes.append(shape(LABELS.names[value], kind, points, **more))
    file = write_json(tmp_path_factory.mktemp("labelme"), labelme(shapes))
    assert np.array_equal(as_array(custom.read_labelme(file, labels)), mask)


def test_labelme_knows_circles_background_and_ignore(tmp_path: Path) -> None:
    shapes = [
        shape("_background_", "rectangle", [[12, 8], [16, 12]]),  # smaller: on top, a hole
        shape("apple", "rectangle", [[10, 5], [20, 15]]),
        shape("__ignore__", "circle", [[25, 10], [25, 12]]),
    ]
    mask = as_array(custom.read_labelme(write_json(tmp_path, labelme(shapes)), LABELS))
    expected = np.zeros((20, 30), dtype=np.uint8)
    expected[5:15, 10:20] = 1
    expected[8:12, 12:16] = 0
    expected[8:12, 23:27] = 255
    expected[[8, 8, 11, 11], [23, 26, 23, 26]] = 0
    assert np.array_equal(mask, expected)


def test_a_labelme_mask_may_reach_beyond_the_image(tmp_path: Path) -> None:
    five = base64.b64encode(as_png(np.full((5, 5), True))).decode()
    shapes = [
        shape("apple", "mask", [[-2, -1], [2, 3]], mask=five),
        shape("pear", "mask", [[27, 18], [31, 22]], mask=five),
    ]
    mask = as_array(custom.read_labelme(write_json(tmp_path, labelme(shapes)), LABELS))
    expected = np.zeros((20, 30), dtype=np.uint8)
    expected[:4, :3] = 1
    expected[18:, 27:] = 2
    assert np.array_equal(mask, expected)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            labelme([shape("plum", "polygon", [])]),
            "'plum', expected one of background, apple, pear",
        ),
        (labelme([shape("pear", "line", [[0, 0], [5, 5]])]), "type line, which has no area"),
        ({"images": []}, "has no shapes, expected shapes, imageHeight"),
    ],
)
def test_what_labelme_cannot_mean_is_named(tmp_path: Path, content, told) -> None:
    with pytest.raises(ValueError, match=told) as error:
        custom.read_labelme(write_json(tmp_path, content), LABELS)
    assert "export.json" in str(error.value)


# --- VOC, CVAT, Roboflow --------------------------------------------------------------------------

LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\napple:128,0,0::\npear:0,128,0::\n"


def write_voc(folder: Path, lists: dict[str, list[str]], palette: bool) -> None:
    """As VOC has it (palette PNGs) or as CVAT exports it (RGB); a border of VOC's color."""
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    for split, names in lists.items():
        lines = "".join(f'"{name}"\n' if " " in name else f"{name}\n" for name in names)
        (folder / "ImageSets/Segmentation" / f"{split}.txt").write_text(lines)
    colors = np.zeros((256, 3), dtype=np.uint8)
    colors[:3], colors[255] = LABELS.palette, (224, 224, 192)
    for seed, name in enumerate(sorted({name for names in lists.values() for name in names})):
        Image.new("RGB", SIZE).save(folder / "JPEGImages" / f"{name}.jpg")
        mask = Image.fromarray(with_border(seed))
        mask.putpalette(colors.ravel().tolist())
        mask = mask if palette else mask.convert("RGB")
        mask.save(folder / "SegmentationClass" / f"{name}.png")
    Image.new("RGB", SIZE).save(folder / "JPEGImages" / "without mask.jpg")
    (folder / "labelmap.txt").write_text(LABELMAP)


def with_border(seed: int) -> np.ndarray:
    mask = draw_mask(seed)
    mask[3:5] = 255
    return mask


@pytest.mark.parametrize("palette", [True, False], ids=["VOC", "CVAT"])
def test_a_voc_folder_comes_back_with_its_splits(tmp_path: Path, palette: bool) -> None:
    names = {"train": ["2007_1", "my image"], "val": ["2007_3"]}
    write_voc(tmp_path, {**names, "trainval": [*names["train"], *names["val"]]}, palette)
    labels = custom.read_labels(tmp_path / "labelmap.txt")
    assert labels == LABELS
    splits = custom.read_voc(tmp_path)
    assert {k: [image.stem for image, _ in pairs] for k, pairs in splits.items()} == {
        "train": ["2007_1", "my image"],
        "validation": ["2007_3"],
    }
    for seed, mask in ((0, splits["train"][0][1]), (1, splits["validation"][0][1])):
        clean = as_array(custom.labels_from_colors(mask, labels))
        assert np.array_equal(clean, with_border(seed))


def test_a_listed_name_without_mask_is_named(tmp_path: Path) -> None:
    write_voc(tmp_path, {"default": ["1", "2"]}, palette=True)
    assert [*custom.read_voc(tmp_path)] == ["default"]
    (tmp_path / "SegmentationClass" / "2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"default\.txt lists 2, which has no"):
        custom.read_voc(tmp_path)


def test_roboflow_lists_its_classes_in_a_table(tmp_path: Path) -> None:
    file = tmp_path / "_classes.csv"
    file.write_text("Pixel Value, Class\n0, background\n1, apple\n2, pear\n")
    assert custom.read_labels(file).names == LABELS.names
    file.write_text("Pixel Value, Class\n1, apple\n2, pear\n")
    with pytest.raises(
        ValueError, match=r"_classes\.csv does not hold labels .* are \[1, 2\], expected 0 to 1"
    ):
        custom.read_labels(file)


# --- one file a class -----------------------------------------------------------------------------


@few
@given(known_masks, st.sampled_from([np.uint8(1), np.uint8(255), True]))
def test_one_file_a_class_comes_back(tmp_path_factory, mask, yes) -> None:
    folder = tmp_path_factory.mktemp("label-studio")
    files = []
    for value, name in enumerate(LABELS.names[1:], start=1):
        files.append((name, folder / f"task-1-annotation-1-by-1-tag-{name}-0.png"))
        Image.fromarray((mask == value) * yes).save(files[-1][1])
    merged, overlaps = custom.merge_masks(files, LABELS)
    assert np.array_equal(as_array(merged), mask)
    assert overlaps == {}


def test_later_masks_lie_on_top_and_overlaps_are_counted() -> None:
    apple, pear = np.zeros((2, 20, 30), dtype=np.uint8)
    apple[:, :20] = pear[:4, 10:] = 255
    pear[4], pear[5] = 150, 100  # a soft edge
    apple[0, 25] = 200
    masks = {"apple": as_png(apple), "pear": as_png(pear)}
    merged, overlaps = custom.merge_masks(masks.items(), LABELS)
    assert overlaps == {("apple", "pear"): 61}
    assert np.bincount(as_array(merged).ravel()).tolist() == [150, 340, 110]
    _, overlaps = custom.merge_masks([*masks.items()][::-1], LABELS)
    assert overlaps == {("pear", "apple"): 61}


def test_masks_that_are_not_of_one_class_and_one_image_are_refused() -> None:
    one, several = as_png(np.eye(9, dtype=np.uint8)), np.diag([0, 1, 2, 255]).astype(np.uint8)
    for masks, told in (
        ([("plum", one)], "'plum', expected one of background, apple, pear"),
        ([("apple", one), ("pear", as_png(np.eye(8, dtype=np.uint8)))], "8 x 8 .* it 9 x 9"),
        ([("apple", as_png(several))], "more than two values"),
        ([], "there is no mask"),
    ):
        with pytest.raises(ValueError, match=told):
            custom.merge_masks(masks, LABELS)


# --- ids per object -------------------------------------------------------------------------------


@few
@given(known_masks, st.sampled_from(["L", "RGB", "RGBA"]), st.integers(1, 60_000))
def test_object_ids_come_back(mask, mode: str, start: int) -> None:
    """Each square an object of its own, as Segments.ai (RGBA) and COCO (RGB) write them."""
    start = 1 if mode == "L" else start * 257  # ids that are grey, and ids that need three bytes
    ids, objects = np.zeros(mask.shape, dtype="<u4"), []
    category = {value: each for each, value in VALUES.items()}
    for number, (value, (left, top, right, bottom)) in enumerate(blocks(mask), start=start):
        ids[top:bottom, left:right] = number
        objects.append({"id": number, "category_id": category[value]})
    if mode == "L":
        bitmap = Image.fromarray(ids.astype(np.uint8))
    else:
        channels = ids.view(np.uint8).reshape(*ids.shape, 4).copy()
        channels[..., 3] = 255
        bitmap = Image.fromarray(channels).convert(mode)
    labels, values = custom.read_categories(CATEGORIES)
    assert (labels.names, values) == (LABELS.names, VALUES)
    assert np.array_equal(as_array(custom.labels_from_objects(bitmap, objects, values)), mask)


def test_a_grey_id_of_three_bytes_is_read_as_one() -> None:
    bitmap = Image.new("RGBA", SIZE, (1, 1, 1, 255))
    objects = [{"id": 1 + 256 + 65536, "category_id": 7}]
    assert np.unique(custom.labels_from_objects(bitmap, objects, VALUES)).tolist() == [2]
    with pytest.raises(ValueError, match=r"holds the object 65793, expected one of"):
        custom.labels_from_objects(bitmap, [{"id": 1, "category_id": 7}], VALUES)


def test_categories_may_name_the_background_and_bring_colors() -> None:
    categories = [
        {"id": 0, "name": "background", "color": [9, 9, 9]},
        {"id": 5, "name": "apple", "color": [128, 0, 0]},
    ]
    labels, values = custom.read_categories(categories)
    assert (labels.names, values) == (("background", "apple"), {0: 0, 5: 1})
    assert labels.colors == ((0, 0, 0), (128, 0, 0))


# --- names of pairs -------------------------------------------------------------------------------


def write_pairs(folder: Path, image: str, mask: str, count: int = 3) -> None:
    """Pairs of such paths; a star is their number."""
    for number in range(count):
        for pattern, content in ((image, Image.new("RGB", SIZE)), (mask, Image.new("L", SIZE))):
            file = folder / pattern.replace("*", f"{number}")
            file.parent.mkdir(parents=True, exist_ok=True)
            content.save(file, **({"format": "JPEG"} if file.suffix == ".JFIF" else {}))


@pytest.mark.parametrize(
    ("image", "mask", "names"),
    [
        ("a/*.JFIF", "b/*.png", {}),
        ("a/*.jpg", "b/*.gif", {}),
        ("a/city/*.jpg", "b/city/*.png", {}),
        ("a/image_*.png", "b/mask_*.png", {"image_name": "image_*", "mask_name": "mask_*"}),
        ("a/*_sat.jpg", "a/*_mask.png", {"image_name": "*_sat", "mask_suffix": "_mask"}),
        ("a/train/*.jpg", "a/train/*_mask.png", {"mask_suffix": "_mask"}),
        ("a/*.jpg", "a/*.png", {"mask_name": "*.png"}),
        ("a/*.png", "a/*_L.png", {"image_name": "*", "mask_name": "*_l"}),
        (
            "a/train/ulm/ulm_*_leftImg8bit.png",
            "b/train/ulm/ulm_*_gtFine_labelIds.png",
            {"image_name": "*_leftImg8bit", "mask_name": "*_gtFine_labelIds"},
        ),
    ],
)
def test_names_of_tools_pair(tmp_path: Path, image: str, mask: str, names: dict) -> None:
    write_pairs(tmp_path, image, mask)
    masks = tmp_path / mask[0]
    (masks / "_classes.csv").write_text("Pixel Value, Class\n0, background\n")
    if "gtFine" in mask:
        Image.new("L", SIZE).save(masks / "train/ulm/ulm_0_gtFine_instanceIds.png")
        (masks / "train/ulm/ulm_0_gtFine_polygons.json").write_text("{}")
    found = custom.find_pairs(tmp_path / "a", masks, **names)
    assert found.images_alone == found.masks_alone == []
    assert [(i.relative_to(tmp_path).as_posix(), m.relative_to(tmp_path).as_posix())
            for i, m in found.pairs] == [
        (image.replace("*", f"{k}"), mask.replace("*", f"{k}")) for k in range(3)
    ]  # fmt: skip
    assert custom.report_pairs(found, Labels(["a", "b"])).problems == [
        "no mask shows b: there is nothing to learn it from"
    ]


def test_sub_folders_are_left_alone_where_a_folder_holds_files_itself(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a/*.jpg", "a/masks/*.png")
    write_pairs(tmp_path, "a/backup/*.jpg", "a/masks/.trash/*.png")
    found = custom.find_pairs(tmp_path / "a", tmp_path / "a/masks")
    assert (len(found.pairs), found.images_alone, found.masks_alone) == (3, [], [])


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({"mask_suffix": "_masks"}, r'none of the 6 files in .* named "\*_masks": .* 0_mask\.png'),
        ({}, 'mask_suffix="_mask", mask_name="mask_\\*" or mask_name="\\*.png"'),
        (
            {"mask_name": "_mask"},
            r'"_mask" does not say how files are named: expected one star, as in "\*_mask"',
        ),
    ],
)
def test_a_name_that_no_file_has_is_told(tmp_path: Path, names: dict, told: str) -> None:
    write_pairs(tmp_path, "*.jpg", "*_mask.png")
    with pytest.raises(ValueError, match=told):
        custom.find_pairs(tmp_path, tmp_path, **names)


def test_names_that_differ_tell_how_to_say_it(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a/image_*.png", "b/mask_*.png")
    found = custom.find_pairs(tmp_path / "a", tmp_path / "b")
    with pytest.raises(ValueError, match=r"image_0\.png.*mask_0\.png.*image_name=.*mask_name="):
        custom.report_pairs(found, LABELS)


@pytest.mark.parametrize(
    ("suffix", "told"),
    [
        (".jpg", r"mask .*1\.jpg is a JPEG file, which changes the values .* again, as PNG"),
        (".npy", r"mask .*1\.npy cannot be read as an image: it holds an array, no image: PIL"),
        (".json", r"mask .*1\.json .* outlines, .* no pixels: `python -m scripts\.prepare`"),
        (".png", r"mask .*1\.png is a JPEG file"),  # whatever its name says
    ],
)
def test_a_file_that_is_no_mask_is_told_as_such(tmp_path: Path, suffix: str, told: str) -> None:
    write_pairs(tmp_path, "a/*.jpg", "b/*.png")
    (tmp_path / "b/1.png").unlink()
    file = tmp_path / f"b/1{suffix}"
    if suffix == ".npy":
        np.save(file, np.zeros(SIZE[::-1], dtype=np.uint8))
    elif suffix == ".json":
        file.write_text(json.dumps(labelme([])))
    else:
        Image.new("L", SIZE).save(file, format="JPEG")
    found = custom.find_pairs(tmp_path / "a", tmp_path / "b")
    problems = custom.report_pairs(found, Labels(["a", "b"])).problems
    assert len(problems) == 2  # and that no mask shows b
    assert_matches(problems[0], told)


def assert_matches(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        raise ValueError(text)


def test_a_preview_beside_a_mask_is_passed_over(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a/*.jpg", "b/*.png")
    write_pairs(tmp_path, "b/*.jpg", "b/*.json.png")
    for file in (tmp_path / "b").glob("*.json.png"):
        file.unlink()
    found = custom.find_pairs(tmp_path / "a", tmp_path / "b")
    assert [mask.suffix for _, mask in found.pairs] == [".png"] * 3


# --- given splits ---------------------------------------------------------------------------------


def test_given_splits_stay_as_given(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a/*.jpg", "b/*.png", count=4)
    pairs = custom.find_pairs(tmp_path / "a", tmp_path / "b").pairs
    dataset = custom.make_dataset({"train": pairs[:1], "validation": pairs[1:3], "test": pairs[3:]})
    assert {name: len(split) for name, split in dataset.items()} == {
        "train": 1,
        "validation": 2,
        "test": 1,
    }
    assert dataset["train"].features == custom.make_dataset(pairs)["train"].features
    with pytest.raises(ValueError, match='the split "validation" is empty'):
        custom.make_dataset({"train": pairs, "validation": []})
    with pytest.raises(ValueError, match=r'1\.jpg is in the splits "train" and "validation"'):
        custom.make_dataset({"train": pairs[:2], "validation": pairs[1:]})
