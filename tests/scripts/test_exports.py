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
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from helpers.custom import labels_from_colors
from helpers.images import load_mask
from helpers.labels import Labels
from scripts.exports import Export, read_export
from scripts.layers import pixels_of_polygons

CLASSES = ("background", "apple", "pear")
CATEGORIES = [{"id": 7, "name": "pear"}, {"id": 3, "name": "apple"}]  # ids with gaps, any order
VALUES = {3: 1, 7: 2}
SIZE = (30, 20)
COLORS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\napple:128,0,0::\npear:0,128,0::\n"

known_masks = st.integers(0, 10_000).map(lambda seed: draw_mask(seed))
few = settings(max_examples=20, deadline=None)


def draw_mask(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 3, (4, 6)).astype(np.uint8)
    return np.kron(values, np.ones((5, 5), dtype=np.uint8))


def save(file: Path, content: object) -> Path:
    """Write an image, an array as an image, text, or anything else as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray):
        content = Image.fromarray(content)
    if isinstance(content, Image.Image):
        content.save(file)
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        file.write_text(text, encoding="utf-8")
    return file


def photo(*files: Path) -> None:
    for file in files:
        save(file, Image.new("RGB", SIZE, (90, 120, 60)))


def read(format: str, folder: Path, **more) -> Export:
    scratch = folder.parent / f"{folder.name} scratch"
    scratch.mkdir(exist_ok=True)
    return read_export(format, folder, scratch, **more)


def masks_of(export: Export) -> dict[str, np.ndarray]:
    """The label ids of each image, by its name."""
    found = {}
    for image, mask in export.pairs:
        opened = Image.open(mask)
        if export.colors is not None:
            opened = labels_from_colors(mask, export.colors)
        found[image.name] = np.asarray(opened)
    return found


def blocks(mask: np.ndarray) -> list[tuple[int, tuple[int, int, int, int]]]:
    """(value, (left, top, right, bottom)) of each square that is no background."""
    places = [(x, y) for y in range(0, SIZE[1], 5) for x in range(0, SIZE[0], 5)]
    return [(int(mask[y, x]), (x, y, x + 5, y + 5)) for x, y in places if mask[y, x]]


def corners(box: tuple[int, int, int, int]) -> list[list[int]]:
    left, top, right, bottom = box
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def outline(box: tuple[int, int, int, int]) -> list[int]:
    return np.ravel(corners(box)).tolist()


# --- COCO -----------------------------------------------------------------------------------------


def polygons(mask: np.ndarray) -> list[dict]:
    """An annotation for each class, of a polygon for each square."""
    category = {value: each for each, value in VALUES.items()}
    squares = groupby(sorted(blocks(mask)), key=lambda block: block[0])
    return [
        {"category_id": category[value], "segmentation": [outline(box) for _, box in boxes]}
        for value, boxes in squares
    ]


def run_lengths(mask: np.ndarray) -> list[dict]:
    """An annotation for each class, of run lengths as a crowd has them."""
    annotations = []
    for category, value in VALUES.items():
        runs = [(yes, len([*run])) for yes, run in groupby((mask == value).ravel("F").tolist())]
        counts = [*([0] if runs[0][0] else []), *(length for _, length in runs)]
        segmentation = {"size": [*mask.shape], "counts": counts}
        annotations.append({"category_id": category, "iscrowd": 1, "segmentation": segmentation})
    return annotations


def compressed(mask: np.ndarray) -> list[dict]:
    annotations = []
    for category, value in VALUES.items():
        code = coco_mask.encode(np.asfortranarray(mask == value).astype(np.uint8))
        code["counts"] = code["counts"].decode()
        annotations.append({"category_id": category, "segmentation": code})
    return annotations


def coco(annotations: list[dict], name: str = "1.jpg", **more) -> dict:
    image = {"id": 11, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
    annotations = [{"id": k, "image_id": 11, **each} for k, each in enumerate(annotations)]
    return {"images": [image], "annotations": annotations, "categories": CATEGORIES, **more}


def square(category: int, box: tuple[int, int, int, int]) -> dict:
    return {"category_id": category, "segmentation": [outline(box)]}


@few
@given(known_masks, st.sampled_from([polygons, run_lengths, compressed]))
def test_coco_comes_back(tmp_path_factory, mask, form) -> None:
    folder = tmp_path_factory.mktemp("coco") / "export"
    save(folder / "annotations/instances_default.json", coco(form(mask), "fruit/1.jpg"))
    photo(folder / "images/default/fruit/1.jpg", folder / "images/default/2.jpg")
    export = read("coco", folder)
    assert (export.labels, export.splits, export.colors) == (Labels(CLASSES), None, None)
    assert np.array_equal(masks_of(export)["1.jpg"], mask)
    assert [file.name for file in export.images_alone] == ["2.jpg"]
    assert export.pairs[0][1].parts[-2:] == ("fruit", "1.png")  # as messages will name it


def test_of_two_objects_the_smaller_lies_on_top_whatever_their_order(tmp_path: Path) -> None:
    expected = np.zeros((20, 30), dtype=np.uint8)
    expected[2:18, 2:28] = 1
    expected[5:10, 5:10] = 2
    both = [square(3, (2, 2, 28, 18)), square(7, (5, 5, 10, 10))]
    photo(tmp_path / "coco/1.jpg")
    for order in (both, both[::-1]):
        save(tmp_path / "coco/a.json", coco(order))
        assert np.array_equal(masks_of(read("coco", tmp_path / "coco"))["1.jpg"], expected)


@few
@given(st.integers(0, 10_000))
def test_outlines_are_those_of_other_tools_but_for_a_rim(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angle, radius = np.sort(rng.uniform(0, 2 * np.pi, 12)), rng.uniform(20, 220, 12)
    points = np.stack([150 + radius * np.cos(angle), 100 + radius * np.sin(angle)], axis=1)
    ours = np.zeros(300 * 200, dtype=bool)
    ours[pixels_of_polygons([points], (200, 300))] = True
    theirs = Image.new("L", (300, 200))
    ImageDraw.Draw(theirs).polygon([*map(tuple, points)], fill=255)  # as Labelme's converter does
    differ = np.argwhere((np.asarray(theirs) > 0) != ours.reshape(300, 200).T)[:, ::-1] + 0.5
    away = np.full(len(differ), np.inf)
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        along = np.clip((differ - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        nearest = start + along[:, None] * (end - start)
        away = np.minimum(away, np.hypot(*(differ - nearest).T))
    assert away.max() < 1.5  # pixels, from the outline to the middle of one that differs


def test_roboflows_placeholder_is_left_out_and_folders_are_splits(tmp_path: Path) -> None:
    for project in ("apple", "a project"):
        folder = tmp_path / project
        categories = [{"id": 0, "name": project, "supercategory": "none"}, *CATEGORIES]
        content = coco([square(3, (5, 5, 25, 15))], "1.jpg", categories=categories)
        for split in ("train", "valid"):
            save(folder / split / "_annotations.coco.json", content)
            photo(folder / split / "1.jpg")
        export = read("roboflow", folder)
        assert export.labels.names == CLASSES
        assert {name: len(pairs) for name, pairs in export.splits.items()} == {
            "train": 1,
            "validation": 1,
        }
        assert export.splits["train"][0][0] == folder / "train/1.jpg"
        assert "_annotations.coco.json: the category 0" in export.notices[0]


def test_splits_are_in_the_names_of_coco_files(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):  # both with an image of the same name
        save(tmp_path / f"coco/annotations/instances_{split}.json", coco(polygons(draw_mask(1))))
        photo(tmp_path / "coco" / split / "1.jpg")
    save(tmp_path / "coco/annotations/captions_val2017.json", {"images": [], "annotations": []})
    splits = read("coco", tmp_path / "coco").splits
    assert {name: pairs[0][0].parent.name for name, pairs in splits.items()} == {
        "train": "train2017",
        "validation": "val2017",
    }


def test_images_that_are_missing_or_empty_are_told(tmp_path: Path) -> None:
    content = coco([square(3, (5, 5, 25, 15))])
    for number, name in ((12, "sub\\2.jpg"), (13, "missing/5.jpg"), (14, "C:\\data\\4.jpg")):
        content["images"].append({**content["images"][0], "id": number, "file_name": name})
    save(tmp_path / "coco/result.json", content)
    folder = tmp_path / "photos"
    photo(folder / "1.jpg", folder / "sub/2.png", folder / "a/3.jpg", folder / "b/3.jpg")
    (folder / "sub/link").symlink_to(folder, target_is_directory=True)  # round and round
    photo(tmp_path / "elsewhere/4.jpg")
    (folder / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    export = read("coco", tmp_path / "coco", images=folder)
    assert [image.name for image, _ in export.pairs] == ["1.jpg", "2.png", "4.jpg"]
    assert [file.parent.name for file in export.images_alone] == ["a", "b"]
    assert not masks_of(export)["2.png"].any()
    told = " ".join(export.notices)
    assert "result.json has no object in 3 of its images (sub\\2.jpg, say): their masks are" in told
    assert f"1 images that {tmp_path / 'coco/result.json'} names are not in {folder} (miss" in told
    with pytest.raises(ValueError, match=r"4 images that .* and none is: say where .* --images"):
        read("coco", tmp_path / "coco", images=tmp_path / "coco")


BAD_COUNTS = {"size": [20, 30], "counts": "not run lengths"}


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        ({"bbox": [1, 1, 2, 2]}, r"has 1 objects without an outline, .* \(annotations 0\): draw"),
        ({"segmentation": []}, "1 objects without an outline"),
        ({"category_id": 9}, r"gives annotation 0 the category 9, expected one of \[3, 7\]"),
        (
            {"segmentation": {"size": [20, 31], "counts": [620]}},
            "annotation 0 .run lengths for another size",
        ),
        (
            {"segmentation": {"size": [20, 30], "counts": [9]}},
            "annotation 0 .run lengths for another size",
        ),
        ({"segmentation": BAD_COUNTS}, r"not written as expected in annotation 0 \(Invalid RLE"),
        ({"segmentation": {"size": [20, 30]}}, r'has no "counts" in the object \{\'size\''),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "annotation 0 .an odd number of coord"),
        ({"segmentation": [[1, 2, 3e9, 4, 5, 6]]}, "points far outside its image of 30 x 20"),
        ({"segmentation": [["a", 2, 3, 4, 5, 6]]}, "in annotation 0 .could not convert"),
    ],
)
def test_an_object_that_cannot_be_drawn_is_named(tmp_path: Path, annotation, told) -> None:
    sound = square(3, (1, 1, 5, 5))
    sound.pop("segmentation" if "bbox" in annotation else "none", None)
    save(tmp_path / "coco/a.json", coco([{**sound, **annotation}]))
    photo(tmp_path / "coco/1.jpg")
    with pytest.raises(ValueError, match=rf"a\.json .*{told}"):
        read("coco", tmp_path / "coco")


def test_categories_of_one_name_and_two_files_of_one_image_are_refused(tmp_path: Path) -> None:
    photo(tmp_path / "coco/1.jpg")
    twins = [{"id": 1, "name": "apple"}, {"id": 2, "name": "apple"}]
    save(tmp_path / "coco/a.json", coco([], categories=twins))
    with pytest.raises(ValueError, match=r'a\.json names the categories 1 and 2 "apple"'):
        read("coco", tmp_path / "coco")
    for name in ("a", "b"):
        save(tmp_path / f"coco/{name}.json", coco([]))
    with pytest.raises(ValueError, match=r"a\.json and .*b\.json both say what is in .*1\.jpg"):
        read("coco", tmp_path / "coco")


def test_without_pycocotools_one_sentence_names_it(tmp_path: Path, monkeypatch) -> None:
    save(tmp_path / "coco/a.json", coco(polygons(draw_mask(0))))
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ValueError, match="not installed: pip install pycocotools"):
        read("coco", tmp_path / "coco")


# --- ids per object -------------------------------------------------------------------------------


def object_ids(mask: np.ndarray, mode: str, start: int = 1) -> tuple[Image.Image, list[dict]]:
    """A PNG in which each square is an object of its own, and the list of objects."""
    ids, objects = np.zeros(mask.shape, dtype="<u4"), []
    category = {value: each for each, value in VALUES.items()}
    for number, (value, (left, top, right, bottom)) in enumerate(blocks(mask), start=start):
        ids[top:bottom, left:right] = number
        objects.append({"id": number, "category_id": category[value]})
    channels = ids.view(np.uint8).reshape(*ids.shape, 4).copy()
    channels[..., 3] = 255
    return Image.fromarray(ids.astype(np.uint8) if mode == "L" else channels).convert(mode), objects


def write_panoptic(folder: Path, mask: np.ndarray, start: int = 1) -> None:
    bitmap, objects = object_ids(mask, "RGB", start)
    save(folder / "panoptic_examples/1.png", bitmap)
    photo(folder / "images/1.png")  # of the same name
    annotation = {"image_id": 11, "file_name": "1.png", "segments_info": objects}
    content = coco([], "1.png") | {"annotations": [annotation]}
    save(folder / "panoptic_examples.json", content)


@few
@given(known_masks, st.integers(1, 60_000).map(lambda start: start * 257))
def test_panoptic_coco_comes_back_and_void_has_no_class(tmp_path_factory, mask, start) -> None:
    folder = tmp_path_factory.mktemp("panoptic") / "export"
    write_panoptic(folder, mask, start)
    export = read("coco", folder)
    assert export.labels.names == CLASSES[1:]
    assert np.array_equal(masks_of(export)["1.png"], mask - np.uint8(1))  # 0 wraps round to 255
    assert export.images_alone == []
    file = folder / "panoptic_examples.json"  # a background without an object is what is left
    content = json.loads(file.read_text())
    content["categories"].append({"id": 0, "name": "background"})
    save(file, content)
    assert np.array_equal(masks_of(read("coco", folder))["1.png"], mask)


def write_segments(folder: Path, mask: np.ndarray, mode: str = "RGBA", start: int = 1) -> None:
    bitmap, objects = object_ids(mask, mode, start)
    photo(folder / "segments/1.jpg", folder / "segments/2.jpg")
    save(folder / "segments/1_label_ground-truth.png", bitmap)
    label = {"label_status": "LABELED", "attributes": {"annotations": objects}}
    samples = [
        {"name": "1.jpg", "labels": {"ground-truth": label}},
        {"name": "2.jpg", "labels": {"ground-truth": None}},
    ]
    colored = [{**each, "color": [*COLORS[VALUES[each["id"]]], 255]} for each in CATEGORIES]
    dataset = {"name": "fruit", "task_attributes": {"categories": colored}, "samples": samples}
    save(folder / "fruit-v1.json", {"name": "v1", "dataset": dataset})


@few
@given(known_masks, st.sampled_from([("L", 1), ("RGB", 257), ("RGBA", 65793)]))
def test_objects_of_segments_ai_come_back(tmp_path_factory, mask, form) -> None:
    folder = tmp_path_factory.mktemp("segments") / "export"
    write_segments(folder, mask, *form)
    export = read("objects", folder)
    assert export.labels == Labels(CLASSES, COLORS)
    assert np.array_equal(masks_of(export)["1.jpg"], mask)
    assert (len(export.pairs), export.images_alone) == (1, [])
    assert "1 images have no label in fruit-v1.json" in export.notices[0]
    assert "pixels of no object count as background" in export.notices[-1]
    without = read("objects", folder, names=["pear", "apple"])
    expected = np.choose(mask, [255, 1, 0])
    assert np.array_equal(masks_of(without)["1.jpg"], expected)


def test_an_object_that_is_not_listed_is_named(tmp_path: Path) -> None:
    write_segments(tmp_path / "export", draw_mask(0))
    save(tmp_path / "export/segments/1_label_ground-truth.png", np.full((20, 30), 99, np.uint8))
    with pytest.raises(ValueError, match=r"truth\.png holds the object 99, which the JSON"):
        read("objects", tmp_path / "export")


# --- Labelme --------------------------------------------------------------------------------------


def labelme(shapes: list[dict], image: str = "1.jpg") -> dict:
    return {
        "version": "5.5.0", "flags": {}, "shapes": shapes,
        "imagePath": image, "imageData": None, "imageHeight": SIZE[1], "imageWidth": SIZE[0],
    }  # fmt: skip


def shape(label: str, kind: str | None, points: list, **more: str) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, **more}


def as_text(mask: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(mask).save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode()


@few
@given(known_masks, st.sampled_from(["polygon", "rectangle", "mask", None]))
def test_labelme_comes_back(tmp_path_factory, mask, kind) -> None:
    folder = tmp_path_factory.mktemp("labelme") / "export"
    more = {"mask": as_text(np.full((5, 5), True))} if kind == "mask" else {}
    shapes = []
    for value, box in blocks(mask):
        points = corners(box) if kind in ("polygon", None) else [box[:2], box[2:]]
        shapes.append(shape(CLASSES[value], kind, points, **more))
    save(folder / "json/1.json", labelme(shapes, "..\\photos\\1.jpg"))
    photo(folder / "photos/1.jpg")
    for names in ("__ignore__\n_background_\napple\npear", "apple\n_background_\npear\n__ignore__"):
        save(folder / "labels.txt", names)  # Labelme's own names, in any order
        export = read("labelme", folder)
        assert export.labels.names == CLASSES
        assert np.array_equal(masks_of(export)["1.jpg"], mask)


def test_labelme_knows_circles_background_and_ignore(tmp_path: Path) -> None:
    five = as_text(np.full((5, 5), True))
    shapes = [
        shape("_background_", "rectangle", [[12, 8], [16, 12]]),  # smaller: on top, a hole
        shape("apple", "rectangle", [[10, 5], [20, 15]]),
        shape("__ignore__", "circle", [[25, 10], [25, 12]]),
        shape("pear", "mask", [[-2, -1], [2, 3]], mask=five),  # reaches beyond the image
        shape("pear", "mask", [[27, 18], [31, 22]], mask=five),
    ]
    content = labelme(shapes)
    del content["imageHeight"]  # so the first versions
    save(tmp_path / "export/1.json", content)
    photo(tmp_path / "export/1.jpg")
    expected = np.zeros((20, 30), dtype=np.uint8)
    expected[5:15, 10:20] = 1
    expected[8:12, 12:16] = 0
    expected[8:12, 23:27] = 255
    expected[[8, 8, 11, 11], [23, 26, 23, 26]] = 0
    expected[:4, :3] = expected[18:, 27:] = 2
    export = read("labelme", tmp_path / "export")
    assert np.array_equal(masks_of(export)["1.jpg"], expected)
    assert export.labels.names == CLASSES


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            labelme([shape("plum", "polygon", [])]),
            'shape named "plum", expected one of apple, pear',
        ),
        (labelme([shape("pear", "line", [[0, 0], [5, 5]])]), "type line, which has no area"),
        (labelme([{"points": []}]), r"has no \"label\" in the object \{'points': \[\]\}"),
        (labelme([shape("pear", "circle", [[0, 0]])]), 'shape 0, "pear"'),
        ({"images": []}, r"has no \"shapes\", expected shapes, imagePath, found \['images'\]"),
    ],
)
def test_what_labelme_cannot_mean_is_named(tmp_path: Path, content, told) -> None:
    save(tmp_path / "export/1.json", content)
    save(tmp_path / "export/labels.txt", "apple\npear\n")
    photo(tmp_path / "export/1.jpg")
    with pytest.raises(ValueError, match=rf"1\.json .*{told}"):
        read("labelme", tmp_path / "export")


# --- JSON that is not as it should be -------------------------------------------------------------


@pytest.mark.parametrize("format", ["coco", "labelme", "objects", "per-class"])
@pytest.mark.parametrize("content", [5, "text", [5], None])
def test_json_of_no_tool_is_named(tmp_path: Path, format: str, content: object) -> None:
    write_classes(tmp_path / "export", draw_mask(0), PLACES[0])
    save(tmp_path / "export/a.json", json.dumps(content))
    with pytest.raises(ValueError, match=r"a\.json "):
        read(format, tmp_path / "export")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_hole_in_a_json_file_ends_in_a_raw_error(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("holes") / "export"
    format = data.draw(st.sampled_from(["coco", "panoptic", "labelme", "objects"]))
    if format == "coco":
        save(folder / "a.json", coco([*polygons(draw_mask(0)), *compressed(draw_mask(1))]))
    elif format == "panoptic":
        write_panoptic(folder, draw_mask(0))
    elif format == "objects":
        write_segments(folder, draw_mask(0))
    else:
        save(folder / "1.json", labelme([shape("a", "rectangle", [[1, 1], [9, 9]])]))
    photo(folder / "1.jpg")
    (file,) = folder.glob("*.json")
    place = content = json.loads(file.read_text())
    while True:
        key = data.draw(st.sampled_from([*place] if isinstance(place, dict) else range(len(place))))
        inside = place[key]
        if not isinstance(inside, (dict, list)) or not inside or data.draw(st.booleans()):
            break
        place = inside
    place[key] = data.draw(st.sampled_from([None, 5, "text", [], {}, [None], "delete"]))
    if place[key] == "delete":
        del place[key]
    file.write_text(json.dumps(content))
    try:
        read("coco" if format == "panoptic" else format, folder)
        told = str(folder)
    except ValueError as error:
        told = str(error)
    assert str(folder) in told


# --- VOC, CVAT, Roboflow --------------------------------------------------------------------------


def with_border(seed: int) -> np.ndarray:
    mask = draw_mask(seed)
    mask[3:5] = 255
    return mask


def write_voc(folder: Path, mode: str, lists: dict[str, list[str]] | None = None) -> None:
    """As VOC has it (palette), CVAT (RGB) or others (L); a border of VOC's color."""
    for split, names in (lists or {}).items():
        lines = "".join(f'"{name}"\n' if " " in name else f"{name}\n" for name in names)
        save(folder / f"ImageSets/Segmentation/{split}.txt", lines)
    colors = np.zeros((256, 3), dtype=np.uint8)
    colors[:3], colors[255] = COLORS, (224, 224, 192)
    for seed, name in enumerate(("a/2007_1", "a/my image", "b/2007.3")):
        photo(folder / f"JPEGImages/{name}.jpg")
        mask = Image.fromarray(with_border(seed))
        if mode != "L":
            mask.putpalette(colors.ravel().tolist())
        save(folder / f"SegmentationClass/{name}.png", mask.convert(mode))
    photo(folder / "JPEGImages/b/bare.jpg")


WITHOUT_COLORS = "# label:color_rgb:parts:actions\nbackground:::\napple:::\npear:::\n"
LISTS = {
    "trainval": ["a/2007_1", "a/my image"],
    "train": ["a/2007_1"],
    "val": ["a/my image", "lost"],
}


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("labelmap.txt", LABELMAP),
        ("labelmap.txt", WITHOUT_COLORS),
        ("class_names.txt", "_background_\napple\npear"),
        ("labels.txt", "__ignore__\n_background_\napple\npear\n"),
        (None, None),
    ],
)
def test_a_voc_folder_comes_back(tmp_path: Path, mode: str, file, content) -> None:
    root = tmp_path / "export/VOCdevkit/VOC2012"
    write_voc(root, mode)
    if file:
        save(root / file, content)
    export = read("voc", tmp_path / "export", names=None if file else CLASSES)
    assert (export.labels.names, export.splits) == (CLASSES, None)
    assert (export.labels.colors is not None) == (file == "labelmap.txt" or mode == "RGB")
    found = masks_of(export)
    for seed, name in enumerate(("2007_1.jpg", "my image.jpg", "2007.3.jpg")):
        assert np.array_equal(found[name], with_border(seed))
    assert [image.name for image in export.images_alone] == ["bare.jpg"]
    chosen = read("voc", tmp_path / "export", names=["pear", "background"]) if file else None
    if chosen:  # an apple becomes background
        expected = np.array([1, 1, 0, *[255] * 253])[with_border(1)]
        assert np.array_equal(masks_of(chosen)["my image.jpg"], expected)
        assert chosen.notices[0] == "left out: apple; their pixels are background"


def test_lists_of_voc_are_splits_unless_there_is_one(tmp_path: Path) -> None:
    write_voc(tmp_path / "voc", "P", LISTS)
    save(tmp_path / "voc/labelmap.txt", LABELMAP)
    export = read("voc", tmp_path / "voc")
    stems = {split: [image.stem for image, _ in pairs] for split, pairs in export.splits.items()}
    assert stems == {"train": ["2007_1"], "validation": ["my image"]}
    assert export.notices == [
        "val.txt lists 1 names without an image or a mask (lost): they are left out",
        "1 images with a mask are left out, because no list names them",
        "1 images are left out: they have no mask, and no list names them",
    ]
    (tmp_path / "voc/ImageSets/Segmentation/train.txt").unlink()
    (tmp_path / "voc/ImageSets/Segmentation/val.txt").unlink()
    save(tmp_path / "voc/ImageSets/Segmentation/default.txt", "a/2007_1\nb/2007.3\nb/bare")
    export = read("voc", tmp_path / "voc")
    assert (export.splits, len(export.pairs)) == (None, 3)
    assert [image.stem for image in export.images_alone] == ["bare"]


def write_roboflow(folder: Path, split: str, names: str = "background, apple, pear") -> None:
    rows = [f"{value}, {name.strip()}" for value, name in enumerate(names.split(","))]
    save(folder / split / "_classes.csv", "\n".join(["Pixel Value, Class", *rows]))
    for seed in range(2):
        photo(folder / split / f"{seed}_jpg.rf.0a1b.jpg")
        save(folder / split / f"{seed}_jpg.rf.0a1b_mask.png", draw_mask(seed))


def test_roboflows_masks_come_back_with_their_splits(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write_roboflow(tmp_path / "export", split)
    export = read("roboflow", tmp_path / "export")
    assert export.labels == Labels(CLASSES)
    counts = {split: len(pairs) for split, pairs in export.splits.items()}
    assert counts == {"train": 2, "validation": 2, "test": 2}
    assert np.array_equal(masks_of(export)["1_jpg.rf.0a1b.jpg"], draw_mask(1))
    chosen = read("roboflow", tmp_path / "export", names=["apple", "pear"])
    assert np.array_equal(masks_of(chosen)["1_jpg.rf.0a1b.jpg"], draw_mask(1) - np.uint8(1))
    assert chosen.splits["test"][0] in chosen.pairs
    assert "left out: background; their pixels have no class (255)" in chosen.notices
    mask = next(mask for _, mask in export.splits["test"])
    save(mask, Image.fromarray(draw_mask(0) == 1))  # of one bit a pixel
    chosen = read("roboflow", tmp_path / "export", names=["pear", "apple"])
    assert np.array_equal(
        np.asarray(Image.open(chosen.splits["test"][0][1])) == 1, draw_mask(0) == 1
    )
    save(mask, draw_mask(0) + np.uint8(1))
    with pytest.raises(
        ValueError, match=r"0_jpg.*_mask\.png holds the value 3, expected 0-2, or 255"
    ):
        read("roboflow", tmp_path / "export", names=["apple", "pear"])
    with pytest.raises(ValueError, match="beside their masks: leave out --images"):
        read("roboflow", tmp_path / "export", images=tmp_path)
    write_roboflow(tmp_path / "export", "test", "background, pear, apple")
    with pytest.raises(ValueError, match=r"_classes\.csv names background, pear, apple, and .*tr"):
        read("roboflow", tmp_path / "export")


# --- a file for each class ------------------------------------------------------------------------


def write_classes(folder: Path, mask: np.ndarray, place: str, yes: object = 255) -> None:
    """A file for each class, named by a pattern."""
    photo(folder / "images/1.jpg")
    for value, name in enumerate(CLASSES[1:], start=1):
        save(folder / place.format(name), ((mask == value) * np.uint8(yes)))


PLACES = [
    "task-1-annotation-11-by-a@b.c-tag-{}-0.png",
    "masks/{}/1.png",
    "{}/1.png",
    "masks/1/{}.png",
    "1/masks/{}_0.png",
]


@few
@given(known_masks, st.sampled_from([1, 255]), st.sampled_from(PLACES))
def test_a_file_for_each_class_comes_back(tmp_path_factory, mask, yes, place) -> None:
    folder = tmp_path_factory.mktemp("classes") / "export"
    write_classes(folder, mask, place, yes)
    export = read("per-class", folder)
    assert (export.labels.names, export.masks_alone) == (CLASSES, [])
    assert np.array_equal(masks_of(export)["1.jpg"], mask)
    assert export.notices == ["the names of files and folders give the classes apple, pear"]
    swapped = read("per-class", folder, names=["background", "pear", "apple"])
    assert np.array_equal(masks_of(swapped)["1.jpg"], np.choose(mask, [0, 2, 1]))


@pytest.mark.parametrize("format", ["coco", "objects", "per-class"])
def test_masks_of_a_photograph_that_lies_on_its_side_are_turned_with_it(tmp_path, format) -> None:
    folder, mask = tmp_path / "export", draw_mask(0)
    if format == "coco":
        save(folder / "a.json", coco(polygons(mask)))
    elif format == "objects":
        write_segments(folder, mask)
    else:
        write_classes(folder, mask, "1/{}.png")
    (image,) = [*folder.rglob("1.jpg"), folder / "1.jpg"][:1]
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side, as phones do
    Image.new("RGB", SIZE).save(image, exif=exif)
    ((image, drawn),) = read(format, folder).pairs
    assert np.array_equal(load_mask(drawn, image), np.rot90(mask, -1))


def test_label_studios_tasks_are_found_by_its_json(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    write_classes(folder, draw_mask(0), "task-57-annotation-11-by-1-tag-{}-0.png")
    (folder / "images/1.jpg").rename(folder / "images/tree 1.jpg")
    with pytest.raises(ValueError, match=r"tasks and not images: export the project .* JSON"):
        read("per-class", folder)
    tasks = [{"id": 57, "data": {"image": "/data/upload/1/0a1b2c3d-tree 1.jpg"}}]
    save(folder / "project.json", tasks)
    assert np.array_equal(masks_of(read("per-class", folder))["tree 1.jpg"], draw_mask(0))
    save(folder / "task-57-annotation-12-by-d@e.f-tag-pear-0.png", draw_mask(1))
    with pytest.raises(
        ValueError, match=r"task 57, annotation 11 by 1 and annotation 12 by d@e\.f"
    ):
        read("per-class", folder)


def test_files_of_objects_of_one_class_are_united(tmp_path: Path) -> None:
    folder = tmp_path / "export"  # as in the Data Science Bowl of 2018
    photo(folder / "00ae/images/00ae.png")
    for number, (_, (left, top, right, bottom)) in enumerate(blocks(draw_mask(0))):
        mask = np.zeros((20, 30), dtype=np.uint8)
        mask[top:bottom, left:right] = 255
        save(folder / f"00ae/masks/f0{number}.png", mask)
    export = read("per-class", folder, names=["background", "nucleus"])
    assert export.labels.names == ("background", "nucleus")
    assert np.array_equal(masks_of(export)["00ae.png"], draw_mask(0) > 0)


def test_overlaps_are_told_and_the_smaller_lies_on_top(tmp_path: Path) -> None:
    apple, pear = np.zeros((2, 20, 30), dtype=np.uint8)
    apple[:, :20] = pear[:4, 10:] = 255
    pear[4, :], pear[5, :] = 150, 100  # a soft edge
    apple[0, 25] = 200
    photo(tmp_path / "export/images/1.jpg")
    save(tmp_path / "export/1/apple.png", apple)
    save(tmp_path / "export/1/pear.png", pear)
    export = read("per-class", tmp_path / "export")
    assert np.bincount(masks_of(export)["1.jpg"].ravel()).tolist() == [150, 340, 110]
    assert export.notices[-1].startswith("pear lies on apple in 61 pixels: the smaller")


@pytest.mark.parametrize(
    ("name", "mask", "told"),
    [
        ("1/pear.png", np.eye(8, dtype=np.uint8), "is 8 x 8 pixels, that of another .* 30 x 20"),
        ("1/pear.png", np.diag([0, 1, 2, 255]).astype(np.uint8), r"the values \[0, 1, 2, 255\]"),
        ("1/pear.png", np.arange(1800, dtype=np.uint16).astype(np.uint8).reshape(20, 30, 3), "col"),
    ],
)
def test_masks_that_are_not_of_one_class_and_one_image_are_refused(tmp_path, name, mask, told):
    write_classes(tmp_path / "export", draw_mask(0), "1/{}.png")
    save(tmp_path / "export" / name, mask)
    with pytest.raises(ValueError, match=rf"pear\.png .*{told}"):
        read("per-class", tmp_path / "export")


def test_masks_of_no_image_are_named(tmp_path: Path) -> None:
    write_classes(tmp_path / "export", draw_mask(0), "apples/2{}.png")
    with pytest.raises(ValueError, match=r"none of the 2 masks .* there are apples/2apple\.png"):
        read("per-class", tmp_path / "export")
    write_classes(tmp_path / "export", draw_mask(0), "{}/1.png")
    export = read("per-class", tmp_path / "export")
    assert [mask.name for mask in export.masks_alone] == ["2apple.png", "2pear.png"]


def test_classes_are_chosen_among_what_there_is(tmp_path: Path) -> None:
    save(tmp_path / "coco/a.json", coco([*polygons(draw_mask(0))]))
    photo(tmp_path / "coco/1.jpg")
    with pytest.raises(
        ValueError, match=r"no class 'plum': --classes may name background, apple, pe"
    ):
        read("coco", tmp_path / "coco", names=["plum", "pear"])
    with pytest.raises(
        ValueError, match=r"coco: the number of labels is 1, expected 2 .* --classes"
    ):
        read("coco", tmp_path / "coco", names=["pear"])
    with pytest.raises(ValueError, match="the format is 'yolo', expected one of coco, labelme"):
        read("yolo", tmp_path / "coco")
    many = [{"id": k, "name": f"part {k}"} for k in range(456)]
    content = coco([square(3, (5, 5, 10, 10)), square(7, (10, 5, 15, 10))], categories=many)
    save(tmp_path / "coco/a.json", content)
    with pytest.raises(ValueError, match=r"is 457, expected 2 to 255\D.*--classes chooses") as told:
        read("coco", tmp_path / "coco")
    assert "One alone" not in str(told.value)
    export = read("coco", tmp_path / "coco", names=["part 7", "part 3"])
    mask = masks_of(export)["1.jpg"]
    assert (mask[7, 7], mask[7, 12], mask[0, 0]) == (1, 0, 255)
    assert export.notices[0].startswith("left out: background, part 0, part 1")
