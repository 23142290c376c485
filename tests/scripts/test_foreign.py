"""Files of other tools: found whatever their folder, and named where they are of no use."""

import json
from pathlib import Path

import pytest

from scripts.exports import read_export
from scripts.foreign import Finder, files_below, foreign, split_of

LABELME = {"shapes": [], "imagePath": "1.jpg", "imageHeight": 2, "imageWidth": 2}


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("1.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0 0 1 1\n", "YOLO outlines in text .* COCO"),
        ("1.txt", "0 0.5 0.5 0.1 0.1\n", "YOLO boxes in text .* boxes name no pixels"),
        ("1.xml", "<annotation><polygon><pt/></polygon></annotation>", "LabelMe's XML"),
        ("1.xml", "<annotation><object><bndbox/></object></annotation>", "XML of boxes"),
        ("1.xml", "<annotations><image/></annotations>", "CVAT's XML .* Segmentation mask"),
        ("1.json", {"a.jpg1": {"filename": "a.jpg", "regions": []}}, r"\(VIA\) .* as COCO"),
        ("1.json", [{"id": 1, "data": {"image": "a.jpg"}, "annotations": []}], "Label Studio's"),
        ("1.json", {"size": {"height": 2}, "objects": [], "tags": []}, "Supervisely's JSON"),
        ("1.json", {"dataset": {"samples": []}}, "a Segments.ai release .* --format objects"),
        ("1.json", LABELME, "a Labelme file .* --format labelme"),
        ("1.json", {"some": 1}, r"has no \"images\", .* found \['some'\]: it may be of"),
        ("1.json", "null", 'has no "images", expected .*, found None'),
        ("1.json", '{"images": [', "is no whole JSON file"),
    ],
)
def test_files_of_other_tools_are_named_with_the_way_out(tmp_path, file, content, told) -> None:
    (tmp_path / "labels").mkdir()
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "labels" / file).write_text(text)
    with pytest.raises(ValueError, match=rf"labels.{file}.*{told}"):
        read_export("coco", tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [("a.txt", "five words of a text\n"), ("b.txt", "1.jpg 2.jpg"), ("c.xml", "<svg/>"), ("d", "")],
)
def test_other_files_are_not_taken_for_a_tools(tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / file).write_text(content)
    assert foreign(tmp_path / file) is None


FILES = ["train/1.jpg", "val/1.jpg", "a/2.jpg", "b/2.png", "3.jpg", "deep/3.jpg", "É.jpg"]


@pytest.mark.parametrize(
    ("name", "beside", "split", "found"),
    [
        ("train/1.jpg", "x.json", None, "train/1.jpg"),
        ("C:\\data\\val\\1.jpg", "x.json", "train", "val/1.jpg"),
        ("1.jpg", "annotations/x.json", "validation", "val/1.jpg"),
        ("1.jpg", "val/x.json", None, "val/1.jpg"),
        ("../b/2.jpg", "a/x.json", None, None),  # not a/2.jpg, which is somebody else's
        ("https://host/b/2.png?x=1", "x.json", None, "b/2.png"),
        ("3.jpg", "x.json", None, "3.jpg"),
        ("e\u0301.PNG", "x.json", None, "É.jpg"),  # saved in another format, by macOS
        ("4.jpg", "x.json", None, None),
    ],
)
def test_the_file_is_found_that_a_tool_means(name: str, beside: str, split, found) -> None:
    wanted = [["a/2.jpg"], ["../b/2.jpg"], ["b/2.png"]]
    finder = Finder([Path("data", file) for file in FILES], wanted)
    file = finder.find(name, Path("data", beside), split)
    assert file == (found and Path("data", found))


def test_two_files_that_may_be_meant_are_both_named() -> None:
    finder = Finder([Path("data", file) for file in FILES])
    with pytest.raises(
        ValueError, match=r'x\.json names "1\.jpg", .*train.1\.jpg and .*val.1\.jpg'
    ):
        finder.find("1.jpg", Path("data/x.json"))


def test_links_are_followed_once_and_hidden_files_are_not_seen(tmp_path: Path) -> None:
    for file in ("a/1.jpg", "a/.thumb.jpg", ".trash/2.jpg", "__MACOSX/3.jpg", "elsewhere/4.JPG"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "a/up").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a/link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    found = files_below(tmp_path / "a", {".jpg"})
    assert [file.relative_to(tmp_path).as_posix() for file in found] == ["a/1.jpg", "a/link/4.JPG"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_val2017", "validation"),
        ("train", "train"),
        ("my-valid_set", "validation"),
        ("Test", "test"),
        ("trainval", None),
        ("latest", None),
        ("instances_default", None),
    ],
)
def test_a_split_is_in_the_name(name: str, split: str | None) -> None:
    assert split_of(name) == split
