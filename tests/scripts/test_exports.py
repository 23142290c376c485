"""What annotation tools export: written in the tool's format from a known mask, and read back."""

import base64
import json
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from samples import encoded

from helpers.custom import labels_from_colors, labels_from_values
from helpers.images import load_mask
from helpers.labels import Labels
from scripts.exports import Export, read_export
from scripts.outlines import runs_of_polygons
from scripts.prepare import main as prepare

CLASSES = ("background", "apple", "pear")
CATEGORIES = [{"id": 7, "name": "pear"}, {"id": 3, "name": "apple"}]  # ids with gaps, any order
VALUES = {3: 1, 7: 2}
CATEGORY = {1: 3, 2: 7}
SIZE = (30, 20)
COLORS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\napple:128,0,0::\npear:0,128,0::\n"
WITHOUT_COLORS = "# label:color_rgb:parts:actions\nbackground:::\napple:::\npear:::\n"
PHOTO = Image.new("RGB", SIZE, (90, 120, 60))

known_masks = st.integers(0, 10_000).map(lambda seed: draw_mask(seed))
few = settings(max_examples=20, deadline=None)


def draw_mask(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 3, (4, 6)).astype(np.uint8)
    return np.kron(values, np.ones((5, 5), dtype=np.uint8))


def save(folder: Path, files: dict[str, object]) -> Path:
    """Write images, arrays as images, text, and anything else as JSON."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, np.ndarray):
            content = Image.fromarray(content)
        if isinstance(content, Image.Image):
            content.save(folder / name)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text, encoding="utf-8")
    return folder


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
        if export.values is not None:
            opened = labels_from_values(mask, export.values)
        found[image.name] = np.asarray(opened)
    return found


def blocks(mask: np.ndarray) -> list[tuple[int, tuple[int, int, int, int]]]:
    """(value, (left, top, right, bottom)) of each square that is no background."""
    places = [(x, y) for y in range(0, SIZE[1], 5) for x in range(0, SIZE[0], 5)]
    return [(int(mask[y, x]), (x, y, x + 5, y + 5)) for x, y in places if mask[y, x]]


def corners(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


# --- COCO -----------------------------------------------------------------------------------------


def square(category: int, *boxes: tuple[int, int, int, int], **more) -> dict:
    outlines = [np.ravel(corners(*box)).tolist() for box in boxes]
    return {"category_id": category, "segmentation": outlines, **more}


def polygons(mask: np.ndarray) -> list[dict]:
    """An annotation for each class, of a polygon for each square."""
    squares = groupby(sorted(blocks(mask)), key=lambda block: block[0])
    return [square(CATEGORY[value], *(box for _, box in boxes)) for value, boxes in squares]


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
    codes = [coco_mask.encode(np.asfortranarray(mask == value, np.uint8)) for value in (1, 2)]
    return [
        {"category_id": category, "segmentation": code | {"counts": code["counts"].decode()}}
        for category, code in zip(VALUES, codes, strict=True)
    ]


def coco(annotations: list[dict], name: str = "1.jpg", size: tuple = SIZE, **more) -> dict:
    image = {"id": 11, "file_name": name, "width": size[0], "height": size[1]}
    annotations = [{"id": k, "image_id": 11, **each} for k, each in enumerate(annotations)]
    return {"images": [image], "annotations": annotations, "categories": CATEGORIES, **more}


def write_coco(folder: Path, mask: np.ndarray, form: Callable) -> None:
    save(folder, {"annotations/instances_default.json": coco(form(mask), "fruit/1.jpg")})
    save(folder, {"images/default/fruit/1.jpg": PHOTO})


def random_outlines(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    angles, radii = np.sort(rng.uniform(0, 2 * np.pi, (2, 12))), rng.uniform(20, 220, (2, 12))
    around = np.stack([np.cos(angles), np.sin(angles)], axis=2)
    return [*(np.array([150, 100]) + radii[..., None] * around)]


@few
@given(st.integers(0, 10_000))
def test_outlines_are_those_of_labelme_but_for_a_rim(seed: int) -> None:
    points = random_outlines(seed)[0]
    ours = coco_mask.decode(runs_of_polygons([points], (200, 300))) > 0
    theirs = Image.new("L", (300, 200))
    ImageDraw.Draw(theirs).polygon([*map(tuple, points)], fill=255)  # as Labelme's converter does
    differ = np.argwhere((np.asarray(theirs) > 0) != ours)[:, ::-1] + 0.5
    away = np.full(len(differ), np.inf)
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        along = np.clip((differ - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        nearest = start + along[:, None] * (end - start)
        away = np.minimum(away, np.hypot(*(differ - nearest).T))
    assert away.max() < 1.5  # pixels, from the outline to the middle of one that differs


def test_of_two_objects_the_smaller_lies_on_top_whatever_their_order(tmp_path: Path) -> None:
    expected = np.zeros((20, 30), dtype=np.uint8)
    expected[2:18, 2:28] = 1
    expected[5:10, 5:10] = 2
    both = [square(3, (2, 2, 28, 18)), square(7, (5, 5, 10, 10))]
    for order in (both, both[::-1]):
        export = read("coco", save(tmp_path / "coco", {"a.json": coco(order), "1.jpg": PHOTO}))
        assert np.array_equal(masks_of(export)["1.jpg"], expected)
        assert export.notices == ["objects of two classes share 25 pixels: the smaller lies on top"]


@pytest.mark.parametrize("project", ["apple", "a project"])
def test_roboflows_placeholder_is_left_out_and_folders_are_splits(tmp_path, project) -> None:
    categories = [{"id": 0, "name": project, "supercategory": "none"}, *CATEGORIES]
    content = coco([square(3, (5, 5, 25, 15))], "1.jpg", categories=categories)
    for split in ("train", "valid"):
        save(tmp_path / "export" / split, {"_annotations.coco.json": content, "1.jpg": PHOTO})
    export = read("roboflow", tmp_path / "export")
    assert export.labels.names == CLASSES
    assert [*export.splits] == ["train", "validation"]
    assert export.splits["train"][0][0] == tmp_path / "export/train/1.jpg"
    assert "_annotations.coco.json: the category 0" in export.notices[0]


def test_splits_are_in_the_names_of_coco_files(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):
        content = coco(polygons(draw_mask(1)), f"{split}.jpg")
        save(tmp_path / "coco", {f"annotations/instances_{split}.json": content})
        save(tmp_path / "coco", {f"{split}/{split}.jpg": PHOTO})
    save(tmp_path / "coco", {"annotations/captions_val2017.json": {"images": []}})
    splits = read("coco", tmp_path / "coco").splits
    assert {name: pairs[0][0].parent.name for name, pairs in splits.items()} == {
        "train": "train2017",
        "validation": "val2017",
    }


def test_images_that_are_missing_or_empty_are_told(tmp_path: Path) -> None:
    content = coco([square(3, (5, 5, 25, 15)), square(3, (0, 0, 5, 5), image_id=99)])
    for number, name in ((12, "sub\\2.jpg"), (13, "missing/5.jpg"), (14, "C:\\data\\4.JPG")):
        content["images"].append({**content["images"][0], "id": number, "file_name": name})
    save(tmp_path / "coco", {"result.json": content})
    places = ("1.jpg", "sub/2.png", "a/2.png", "a/3.jpg")
    folder = save(tmp_path / "photos", dict.fromkeys(places, PHOTO))
    save(tmp_path / "elsewhere", {"4.jpg": PHOTO})
    (folder / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(ValueError, match=r'"sub.2\.jpg", .* are .*a.2\.png and .*sub.2\.png'):
        read("coco", tmp_path / "coco", images=folder)
    (folder / "a/2.png").unlink()
    export = read("coco", tmp_path / "coco", images=folder)
    assert sorted(image.name for image, _ in export.pairs) == ["1.jpg", "2.png", "4.jpg"]
    assert [file.name for file in export.images_alone] == ["3.jpg"]
    assert not masks_of(export)["2.png"].any()
    told = " ".join(export.notices)
    assert "result.json has no object in 3 of its images (sub\\2.jpg, say): their masks are" in told
    assert "1 of 4 images that the export names are not in" in told
    assert "(missing/5.jpg): they are left out" in told
    assert "result.json has objects of 1 images that it does not list" in told
    with pytest.raises(ValueError, match=r"is annotated: say with --images .*4 of 4 images"):
        read("coco", tmp_path / "coco", images=tmp_path / "coco")


# --- ids per object -------------------------------------------------------------------------------


def object_ids(mask: np.ndarray, mode: str, start: int = 1) -> tuple[Image.Image, list[dict]]:
    """A PNG in which each square is an object of its own, and the list of objects."""
    ids, objects = np.zeros(mask.shape, dtype="<u4"), []
    for number, (value, (left, top, right, bottom)) in enumerate(blocks(mask), start=start):
        ids[top:bottom, left:right] = number
        objects.append({"id": number, "category_id": CATEGORY[value]})
    channels = ids.view(np.uint8).reshape(*ids.shape, 4).copy()
    channels[..., 3] = 255
    return Image.fromarray(ids.astype(np.uint8) if mode == "L" else channels).convert(mode), objects


def write_panoptic(folder: Path, mask: np.ndarray, start: int = 1) -> dict:
    bitmap, objects = object_ids(mask, "RGB", start)
    annotation = {"image_id": 11, "file_name": "1.png", "segments_info": objects}
    content = coco([], "1.png") | {"annotations": [annotation]}
    save(folder, {"panoptic_examples.json": content, "panoptic_examples/1.png": bitmap})
    save(folder, {"images/1.png": PHOTO})  # of the same name
    return content


@few
@given(known_masks, st.integers(1, 60_000).map(lambda start: start * 257))
def test_panoptic_coco_comes_back_and_void_has_no_class(tmp_path_factory, mask, start) -> None:
    folder = tmp_path_factory.mktemp("panoptic") / "export"
    content = write_panoptic(folder, mask, start)
    export = read("coco", folder)
    assert export.labels.names == CLASSES[1:]
    assert np.array_equal(masks_of(export)["1.png"], mask - np.uint8(1))  # 0 wraps round to 255
    assert export.images_alone == []
    content["categories"] = [*CATEGORIES, {"id": 0, "name": "background"}]
    save(folder, {"panoptic_examples.json": content})  # a class without an object is what is left
    assert np.array_equal(masks_of(read("coco", folder))["1.png"], mask)


def write_segments(folder: Path, mask: np.ndarray, mode: str = "RGBA") -> None:
    bitmap, objects = object_ids(mask, mode, {"L": 1, "RGB": 257, "RGBA": 65793}[mode])
    places = {"1.jpg": PHOTO, "2.jpg": PHOTO, "1_label_ground-truth.png": bitmap}
    save(folder / "segments", places)
    label = {"label_status": "LABELED", "attributes": {"annotations": objects}}
    samples = [
        {"name": "1.jpg", "labels": {"ground-truth": label}},
        {"name": "2.jpg", "labels": {"ground-truth": None}},
    ]
    colored = [{**each, "color": [*COLORS[VALUES[each["id"]]], 255]} for each in CATEGORIES]
    dataset = {"name": "fruit", "task_attributes": {"categories": colored}, "samples": samples}
    save(folder, {"fruit-v1.json": {"name": "v1", "dataset": dataset}})


# --- Labelme --------------------------------------------------------------------------------------


def labelme(shapes: list[dict], image: str = "1.jpg") -> dict:
    size = {"imageHeight": SIZE[1], "imageWidth": SIZE[0]}
    return {"version": "5.5.0", "shapes": shapes, "imagePath": image, "imageData": None, **size}


def shape(label: str, kind: str | None, points: list, **more: str) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, **more}


def five_by_five() -> str:
    return base64.b64encode(encoded(Image.fromarray(np.full((5, 5), True)))).decode()


def write_labelme(folder: Path, mask: np.ndarray, kind: str | None) -> None:
    more = {"mask": five_by_five()} if kind == "mask" else {}
    shapes = []
    for value, box in blocks(mask):
        points = corners(*box) if kind in ("polygon", None) else [box[:2], box[2:]]
        shapes.append(shape(CLASSES[value], kind, points, **more))
    save(folder, {"json/1.json": labelme(shapes, "..\\photos\\1.jpg"), "photos/1.jpg": PHOTO})


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 1, 3, 0)])
def test_labelmes_own_names_are_no_classes_wherever_they_are_listed(tmp_path, order) -> None:
    write_labelme(tmp_path / "export", draw_mask(0), "rectangle")
    names = np.array(["__ignore__", "_background_", "apple", "pear"])[[*order]]
    save(tmp_path / "export", {"labels.txt": "\n".join(names)})
    export = read("labelme", tmp_path / "export")
    assert export.labels.names == CLASSES
    assert np.array_equal(masks_of(export)["1.jpg"], draw_mask(0))


def test_labelme_knows_circles_background_and_ignore(tmp_path: Path) -> None:
    shapes = [
        shape("_background_", "rectangle", [[12, 8], [16, 12]]),  # smaller: on top, a hole
        shape("apple", "rectangle", [[10, 5], [20, 15]]),
        shape("__ignore__", "circle", [[25, 10], [25, 12]]),
        shape("pear", "mask", [[-2, -1], [2, 3]], mask=five_by_five()),  # reaches beyond the image
        shape("pear", "mask", [[27, 18], [31, 22]], mask=five_by_five()),
    ]
    expected = np.zeros((20, 30), dtype=np.uint8)
    expected[5:15, 10:20] = 1
    expected[8:12, 12:16] = 0
    expected[8:12, 23:27] = 255
    expected[[8, 8, 11, 11], [23, 26, 23, 26]] = 0
    expected[:4, :3] = expected[18:, 27:] = 2
    export = read("labelme", save(tmp_path / "export", {"1.json": labelme(shapes), "1.jpg": PHOTO}))
    assert np.array_equal(masks_of(export)["1.jpg"], expected)
    assert export.labels.names == CLASSES


# --- VOC, CVAT, Roboflow --------------------------------------------------------------------------


def with_border(seed: int) -> np.ndarray:
    mask = draw_mask(seed)
    mask[3:5] = 255
    return mask


def write_voc(folder: Path, mode: str, more: dict[str, str]) -> Path:
    """As VOC has it (palette), CVAT (RGB) or others (L); a border of VOC's color."""
    colors = np.zeros((256, 3), dtype=np.uint8)
    colors[:3], colors[255] = COLORS, (224, 224, 192)
    for seed, name in enumerate(("a/2007_1", "a/my image", "b/2007.3")):
        mask = Image.fromarray(with_border(seed))
        if mode != "L":
            mask.putpalette(colors.ravel().tolist())
        save(folder, {f"JPEGImages/{name}.jpg": PHOTO})
        save(folder, {f"SegmentationClass/{name}.png": mask.convert(mode)})
    return save(folder, {"JPEGImages/b/bare.jpg": PHOTO, **more})


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
    write_voc(tmp_path / "export/VOCdevkit/VOC2012", mode, {file: content} if file else {})
    export = read("voc", tmp_path / "export", names=None if file else CLASSES)
    assert (export.labels.names, export.splits) == (CLASSES, None)
    assert (export.labels.colors is not None) == (file == "labelmap.txt" or mode == "RGB")
    found = masks_of(export)
    for seed, name in enumerate(("2007_1.jpg", "my image.jpg", "2007.3.jpg")):
        assert np.array_equal(found[name], with_border(seed))
    assert [image.name for image in export.images_alone] == ["bare.jpg"]
    if file:
        chosen = read("voc", tmp_path / "export", names=["pear", "background"])
        expected = np.array([1, 1, 0, *[255] * 253])[with_border(1)]
        assert np.array_equal(masks_of(chosen)["my image.jpg"], expected)
        assert chosen.notices[0] == "left out: apple; their pixels are background"


def stems_of(pairs: list[tuple[Path, Path]]) -> list[str]:
    return [image.stem for image, _ in pairs]


@pytest.mark.parametrize(
    ("lists", "splits", "stems", "told"),
    [
        (
            {"trainval": "a/2007_1\n", "train": "a/2007_1\n", "val": '"a/my image"\nlost'},
            {"train": ["2007_1"], "validation": ["my image"]},
            ["2007_1", "my image"],
            [
                "val.txt lists 1 names without an image or a mask (lost): they are left out",
                "2 images are left out, because no list names them with a mask",
            ],
        ),
        (
            {"default": "a/2007_1\na/my image\nb/2007.3\n"},
            {},
            ["2007_1", "my image", "2007.3"],
            ["1 images are left out, because no list names them with a mask"],
        ),
    ],
)
def test_lists_of_voc_are_splits_unless_there_is_one(tmp_path, lists, splits, stems, told) -> None:
    files = {f"ImageSets/Segmentation/{name}.txt": text for name, text in lists.items()}
    export = read("voc", write_voc(tmp_path / "voc", "P", {"labelmap.txt": LABELMAP, **files}))
    found = {name: stems_of(part) for name, part in (export.splits or {}).items()}
    assert (found, stems_of(export.pairs)) == (splits, stems)
    assert (export.notices, export.images_alone) == (told, [])


def write_roboflow(folder: Path, *splits: str, names: str = "background, apple, pear") -> Path:
    rows = [f"{value}, {name.strip()}" for value, name in enumerate(names.split(","))]
    for split in splits:
        save(folder / split, {"_classes.csv": "\n".join(["Pixel Value, Class", *rows])})
        for seed in range(2):
            name = f"{seed}_jpg.rf.0a1b"
            save(folder / split, {f"{name}.jpg": PHOTO, f"{name}_mask.png": draw_mask(seed)})
    return folder


def test_roboflows_masks_come_back_with_their_splits(tmp_path: Path) -> None:
    folder = write_roboflow(tmp_path / "export", "train", "valid", "test")
    export = read("roboflow", folder)
    assert export.labels == Labels(CLASSES)
    counts = {split: len(pairs) for split, pairs in export.splits.items()}
    assert counts == {"train": 2, "validation": 2, "test": 2}
    assert np.array_equal(masks_of(export)["1_jpg.rf.0a1b.jpg"], draw_mask(1))
    chosen = read("roboflow", folder, names=["apple", "pear"])
    assert np.array_equal(masks_of(chosen)["1_jpg.rf.0a1b.jpg"], draw_mask(1) - np.uint8(1))
    assert "left out: background; their pixels have no class (255)" in chosen.notices


def test_the_command_reads_masks_as_the_chosen_classes_say(tmp_path: Path, capsys) -> None:
    folder = write_roboflow(tmp_path / "export", "train", "valid")
    for k, image in enumerate(folder.rglob("*.jpg")):
        Image.new("RGB", SIZE, (k, 0, 0)).save(image)
    command = [str(folder), "--format", "roboflow", "--classes", "pear,apple"]
    assert prepare([*command, "--output", str(tmp_path / "data")]) == 0
    row = load_dataset("parquet", data_dir=str(tmp_path / "data"), split="train")[1]
    assert np.array_equal(row["annotation"], np.choose(draw_mask(1), [255, 1, 0]))
    save(folder, {"train/0_jpg.rf.0a1b_mask.png": draw_mask(0) + np.uint8(1)})
    assert prepare([*command, "--output", str(tmp_path / "other")]) == 1
    assert "holds the value 3" in capsys.readouterr().out


# --- a file for each class ------------------------------------------------------------------------


TASK = [{"id": 57, "data": {"image": "/data/upload/1/0a1b2c3d-1.jpg"}}]


def write_classes(folder: Path, mask: np.ndarray, place: str, yes: int = 255) -> Path:
    """A file for each class, named by a pattern."""
    files = {place.format(name): (mask == k) * np.uint8(yes) for k, name in enumerate(CLASSES) if k}
    return save(folder, {"images/1.jpg": PHOTO, "project.json": TASK, **files})


PLACES = ["masks/{}/1.png", "{}/1.png", "masks/1/{}.png", "1/masks/{}_0.png"]
PLACES += ["task-57-annotation-11-by-a@b.c-tag-{}-0.png"]


FORMS = [("coco", write_coco, {"form": form}) for form in (polygons, run_lengths, compressed)]
FORMS += [("labelme", write_labelme, {"kind": kind}) for kind in ("polygon", "rectangle", "mask")]
FORMS += [("labelme", write_labelme, {"kind": None})]
FORMS += [("objects", write_segments, {"mode": mode}) for mode in ("L", "RGB", "RGBA")]
FORMS += [("per-class", write_classes, {"place": place, "yes": 1}) for place in PLACES]
FORMS += [("per-class", write_classes, {"place": place}) for place in PLACES]


@pytest.mark.parametrize(("format", "write", "form"), FORMS)
@settings(max_examples=5, deadline=None)
@given(known_masks)
def test_an_export_comes_back(tmp_path_factory, format: str, write, form, mask) -> None:
    folder = tmp_path_factory.mktemp(format) / "export"
    write(folder, mask, **form)
    export = read(format, folder)
    assert (export.labels.names, export.splits, export.colors) == (CLASSES, None, None)
    assert (export.images_alone, export.masks_alone) == ([], [])
    assert np.array_equal(masks_of(export)["1.jpg"], mask)
    chosen = read(format, folder, names=["pear", "apple"])
    assert np.array_equal(masks_of(chosen)["1.jpg"], np.choose(mask, [255, 1, 0]))
    assert "left out: background; their pixels have no class (255)" in chosen.notices


def test_segments_ai_has_colors_and_images_without_labels(tmp_path: Path) -> None:
    write_segments(tmp_path / "export", draw_mask(0))
    export = read("objects", tmp_path / "export")
    assert export.labels == Labels(CLASSES, COLORS)
    assert "1 images have no label in fruit-v1.json" in export.notices[0]
    assert "pixels of no object count as background" in export.notices[-1]


def test_files_of_objects_of_one_class_are_united(tmp_path: Path) -> None:
    folder = save(tmp_path / "export", {"00ae/images/00ae.png": PHOTO})  # as the Data Science Bowl
    for number, (_, (left, top, right, bottom)) in enumerate(blocks(draw_mask(0))):
        mask = np.zeros((20, 30), dtype=np.uint8)
        mask[top:bottom, left:right] = 255
        save(folder, {f"00ae/masks/f0{number}.png": mask})
    export = read("per-class", folder, names=["background", "nucleus"])
    assert export.labels.names == ("background", "nucleus")
    assert np.array_equal(masks_of(export)["00ae.png"], draw_mask(0) > 0)


def test_classes_that_are_named_like_splits_are_none(tmp_path: Path) -> None:
    places = ("images/1.jpg", "images/2.jpg", "train/1.png", "test/2.png")
    export = read("per-class", save(tmp_path / "export", dict.fromkeys(places, PHOTO.convert("L"))))
    assert (export.labels.names, export.splits) == (("background", "test", "train"), None)


def test_soft_edges_are_cut_in_the_middle_and_masks_of_no_image_are_told(tmp_path: Path) -> None:
    apple, pear = np.zeros((2, 20, 30), dtype=np.uint8)
    apple[:, :20] = pear[:4, 10:] = 255
    pear[4, :], pear[5, :] = 150, 100
    folder = save(tmp_path / "export", {"images/1.jpg": PHOTO, "1/apple.png": apple})
    save(folder, {"1/pear.png": pear, "apple/2.png": pear})
    export = read("per-class", folder)
    assert np.bincount(masks_of(export)["1.jpg"].ravel()).tolist() == [150, 340, 110]
    assert export.notices == ["objects of two classes share 60 pixels: the smaller lies on top"]
    assert [file.name for file in export.masks_alone] == ["2.png"]


@pytest.mark.parametrize("format", ["coco", "objects", "per-class"])
def test_masks_of_a_photograph_that_lies_on_its_side_are_turned_with_it(tmp_path, format) -> None:
    folder, mask = tmp_path / "export", draw_mask(0)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side, as phones do
    if format == "coco":
        save(folder, {"a.json": coco(polygons(mask)), "1.jpg": PHOTO})
    elif format == "objects":
        write_segments(folder, mask)
    else:
        write_classes(folder, mask, "1/{}.png")
    (photo,) = folder.rglob("1.jpg")
    PHOTO.save(photo, exif=exif)
    ((image, drawn),) = read(format, folder).pairs
    assert np.array_equal(load_mask(drawn, image), np.rot90(mask, -1))


# --- exports that are not as they should be -------------------------------------------------------


def drawn_so(**segmentation) -> dict:
    return {"a.json": coco([square(3, (1, 1, 5, 5)) | segmentation])}


def in_labelme(*shapes: dict) -> dict:
    return {"1.json": labelme([*shapes]), "labels.txt": "apple\npear\n"}


STROKE = "task-57-annotation-{}-by-1-tag-pear-0.png"
TWO_OF_ONE_ID = [{"id": 11, "file_name": f"{k}.jpg", "width": 30, "height": 20} for k in (1, 2)]
TWINS = [{"id": 1, "name": "apple"}, {"id": 2, "name": "apple"}]
MANY = [{"id": k, "name": f"part {k}"} for k in range(456)]
SMALL, FOUR = np.eye(8, dtype=np.uint8), np.diag([0, 1, 2, 255]).astype(np.uint8)
COLORED = np.arange(1800, dtype=np.uint16).astype(np.uint8).reshape(20, 30, 3)


@pytest.mark.parametrize(
    ("format", "files", "told"),
    [
        ("coco", drawn_so(segmentation=None), r"a\.json .* annotation 0 \(it has no outline"),
        ("coco", drawn_so(category_id=9), r"annotation 0 .* is 9, expected one of \[3, 7\]"),
        ("coco", drawn_so(segmentation={"size": [20, 31], "counts": [620]}), "0 .* another size"),
        ("coco", drawn_so(segmentation={"size": [20, 30], "counts": [9]}), "0 .* another size"),
        ("coco", drawn_so(segmentation={"size": [20, 30], "counts": "no"}), "0 .*Invalid RLE"),
        ("coco", drawn_so(segmentation={"size": [20, 30], "counts": "11"}), "0 .* another size"),
        ("coco", drawn_so(segmentation={"size": [20, 30]}), 'annotation 0 .there is no "counts"'),
        ("coco", drawn_so(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "annotation 0 .*size 7"),
        ("coco", drawn_so(segmentation=[[1, 2, 3e9, 4, 5, 6]]), "far outside its image of 30 x 20"),
        ("coco", drawn_so(segmentation=[["a", 2, 3, 4, 5, 6]]), "annotation 0 .could not convert"),
        ("coco", {"a.json": coco([]) | {"images": TWO_OF_ONE_ID}}, "two images have one id"),
        ("coco", {"a.json": coco([], categories=TWINS)}, 'categories 1 and 2 "apple"'),
        ("coco", {"a.json": coco([]), "b.json": coco([])}, r"a\.json and .*b\.json both .*1\.jpg"),
        ("coco", {"a.json": coco([], categories=MANY)}, r"is 457, expected 2 to 255\D.*--classes"),
        ("labelme", in_labelme(shape("plum", "polygon", [])), '"plum" .*one of apple, pear'),
        ("labelme", in_labelme(shape("pear", "line", [[0, 0], [5, 5]])), "is line, .* no area"),
        ("labelme", in_labelme({"points": []}), r'1\.json .*there is no "label"'),
        ("labelme", in_labelme(shape("pear", "circle", [[0, 0]])), 'shape 0, "pear"'),
        ("labelme", {"1.json": {"a": []}}, r"no \"shapes\", expected shapes, .*found \['a'\]"),
        ("voc", {}, "0 folders SegmentationClass"),
        ("voc", {"SegmentationClass/1.png": FOUR}, r"no folder .*JPEGImages: .*--images"),
        ("roboflow", {}, "there is no JSON file in .*, expected .* COCO"),
        ("per-class", {"apples/2.png": FOUR}, r"none of the 1 masks .* there are apples.2\.png"),
        ("per-class", {"1/a.png": SMALL, "1/b.png": PHOTO.convert("L")}, "image 1.jpg .* sizes"),
        ("per-class", {"1/a.png": FOUR}, r"1.a\.png holds the values \[0, 1, 2, 255\]"),
        ("per-class", {"1/a.png": COLORED}, r"1.a\.png holds colors"),
        (
            "per-class",
            {STROKE.format(1): SMALL, "a.json": [{"id": 57, "data": {"text": "a tree"}}]},
            "which image task 57 is about",
        ),
        ("per-class", {STROKE.format(1): SMALL}, "which image task 57 is about: export .* JSON"),
        (
            "per-class",
            {STROKE.format(1): SMALL, STROKE.format(2): SMALL, "a.json": TASK},
            "task 57 has 2 annotations: merged",
        ),
        ("yolo", {}, "the format is 'yolo', expected one of coco, labelme"),
    ],
)
def test_what_cannot_be_right_is_named(tmp_path: Path, format, files, told) -> None:
    images = {"images/1.jpg": PHOTO}
    with pytest.raises(ValueError, match=told):
        read(format, save(tmp_path / "export", images | files))


def test_other_refusals(tmp_path: Path, monkeypatch) -> None:
    write_segments(tmp_path / "objects", draw_mask(0))
    strange = {"segments/1_label_ground-truth.png": np.full((20, 30), 99, np.uint8)}
    with pytest.raises(ValueError, match=r"truth\.png holds the object 99, which fruit-v1\.json"):
        read("objects", save(tmp_path / "objects", strange))
    folder = write_roboflow(tmp_path / "roboflow", "train")
    with pytest.raises(ValueError, match="beside their masks: leave out --images"):
        read("roboflow", folder, images=tmp_path)
    write_roboflow(folder, "valid", names="background, pear, apple")
    with pytest.raises(ValueError, match=r"_classes\.csv names background, apple, pear, and .*va"):
        read("roboflow", folder)
    coco_folder = save(tmp_path / "coco", {"a.json": coco(polygons(draw_mask(0))), "1.jpg": PHOTO})
    for names, told in (
        (["plum", "pear"], "no class 'plum': --classes may name background, apple, pe"),
        (["pear"], r"coco: the number of labels is 1, expected 2 .* --classes"),
    ):
        with pytest.raises(ValueError, match=told):
            read("coco", coco_folder, names=names)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ImportError, match="not installed: pip install pycocotools"):
        read("coco", coco_folder)


@pytest.mark.parametrize("format", ["coco", "labelme", "objects", "per-class"])
@pytest.mark.parametrize("content", ["5", '"text"', "[5]", "null", '{"images": ['])
def test_json_of_no_tool_is_named(tmp_path: Path, format: str, content: str) -> None:
    write_classes(tmp_path / "export", draw_mask(0), PLACES[-1])
    with pytest.raises(ValueError, match=r"a\.json "):
        read(format, save(tmp_path / "export", {"a.json": content}))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_hole_in_a_json_file_ends_in_a_raw_error(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("holes") / "export"
    format = data.draw(st.sampled_from(["coco", "panoptic", "labelme", "objects"]))
    if format == "coco":
        save(folder, {"a.json": coco([*polygons(draw_mask(0)), *compressed(draw_mask(1))])})
    elif format == "panoptic":
        write_panoptic(folder, draw_mask(0))
    elif format == "objects":
        write_segments(folder, draw_mask(0))
    else:
        save(folder, {"1.json": labelme([shape("a", "rectangle", [[1, 1], [9, 9]])])})
    save(folder, {"1.jpg": PHOTO})
    (file,) = folder.glob("*.json")
    place = content = json.loads(file.read_text())
    while True:
        key = data.draw(st.sampled_from([*place] if isinstance(place, dict) else range(len(place))))
        inside = place[key]
        if not isinstance(inside, (dict, list)) or not inside or data.draw(st.booleans()):
            break
        place = inside
    place[key] = data.draw(st.sampled_from([None, 5, -1, "text", [], {}, [None], "delete"]))
    if place[key] == "delete":
        del place[key]
    file.write_text(json.dumps(content))
    try:
        read("coco" if format == "panoptic" else format, folder)
        told = str(folder)
    except ValueError as error:
        told = str(error)
    assert str(folder) in told
