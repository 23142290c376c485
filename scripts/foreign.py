"""Files of annotation tools that hold no masks: whose they are, and the way out."""

from __future__ import annotations

import re
from pathlib import Path

from helpers.images import FileFault

_COCO = "export it there as COCO, for --format coco"
_BOXES = "boxes name no pixels: draw outlines or masks"
_NUMBERS = r"\A\s*\d+( +[-+.e\d]+){%s}\s*?$"  # the first line of a file of YOLO
_SIGNS = (  # ending, what the text holds, whose file it is, the way out
    (".txt", [_NUMBERS % "6,"], "outlines of YOLO", "export COCO or masks from the tool"),
    (".txt", [_NUMBERS % "4,5"], "boxes of YOLO", _BOXES),
    (".xml", ["<annotations>"], "CVAT's XML", f"{_COCO}, or as Segmentation mask, for voc"),
    (".xml", ["<annotation", "<polygon"], "LabelMe's XML", "convert it with datum convert to COCO"),
    (".xml", ["<annotation", "<bndbox"], "XML of boxes", _BOXES),
    (".json", ['"dataset"', '"samples"'], "of Segments.ai", "read its folder: --format objects"),
    (".json", ['"shapes"', '"imagePath"'], "of Labelme", "read its folder: --format labelme"),
    (".json", ['"images"', '"categories"'], "of COCO", "read its folder: --format coco"),
    (".json", ['"regions"', '"filename"'], "of VGG Image Annotator (VIA)", _COCO),
    (".json", ['"objects"', '"size"'], "of Supervisely", f"{_COCO}, or as masks"),
    (
        ".json",
        [r'"data"|"annotation_id"', '"id"'],
        "of Label Studio",
        f"{_COCO}, or brush labels as PNG, for --format per-class",
    ),
)


def foreign(file: Path) -> FileFault | None:
    """What is wrong with a file of outlines or boxes where a mask should be, or another tool's
    file; None where nothing shows whose it is."""
    signs = [sign for sign in _SIGNS if sign[0] == file.suffix.lower()]
    text = file.read_text("utf-8", errors="replace") if signs else ""
    for _, patterns, whose, remedy in signs:
        if all(re.search(pattern, text, re.MULTILINE) for pattern in patterns):
            return FileFault(str(file), f"is {whose} and holds no mask", remedy)
    return None
