"""Files of other tools are named where they are of no use."""

import json
from pathlib import Path

import pytest
from PIL import Image

from scripts.exports import read_export
from scripts.prepare import main as prepare
from scripts.tool_files import foreign

LABELME = {"shapes": [], "imagePath": "1.jpg", "imageHeight": 2, "imageWidth": 2}
CASES = [
    (".txt", "0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0 0 1 1\n", "outlines of YOLO .* COCO"),
    (".txt", "0 0.5 0.5 0.1 0.1\n", "boxes of YOLO .* boxes name no pixels"),
    (".xml", "<annotation><polygon><pt/></polygon></annotation>", "LabelMe's XML .* datum"),
    (".xml", "<annotation><object><bndbox/></object></annotation>", "XML of boxes"),
    (".xml", "<annotations><image/></annotations>", "CVAT's XML .* Segmentation mask"),
    (".json", {"a.jpg1": {"filename": "a.jpg", "regions": []}}, r"\(VIA\) .* as COCO"),
    (".json", [{"id": 1, "data": {"image": "a.jpg"}, "annotations": []}], "of Label Studio"),
    (".json", {"size": {"height": 2}, "objects": [], "tags": []}, "of Supervisely"),
    (".json", {"dataset": {"samples": []}}, "of Segments.ai .* --format objects"),
    (".json", LABELME, "of Labelme .* --format labelme"),
]


def _written(file: Path, content: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.mark.parametrize(("ending", "content", "told"), CASES)
def test_files_of_other_tools_are_named_with_the_way_out(
    tmp_path, capsys, ending, content, told
) -> None:
    file = _written(tmp_path / f"labels/1{ending}", content)
    with pytest.raises(ValueError, match=rf"labels.1{ending}.*{told}"):
        read_export("coco", tmp_path, tmp_path)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images/1.jpg")
    command = [str(tmp_path), "--masks", "labels", "--classes", "background,pear"]
    assert prepare([*command, "--output", str(tmp_path / "data")]) == 1
    assert str(foreign(file)) in capsys.readouterr().err  # in a mask's place, the same


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.txt", "five words of a text\n"),
        ("b.txt", "1.jpg 2.jpg"),
        ("c.xml", "<svg/>"),
        ("d.json", {"some": 1}),
        ("e", ""),
    ],
)
def test_other_files_are_not_taken_for_a_tools(tmp_path: Path, file: str, content) -> None:
    assert foreign(_written(tmp_path / file, content)) is None
