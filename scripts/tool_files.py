"""Files of annotation tools: JSON is read in one way, and of a file that is of no use here it is
told whose it is, with the way out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from helpers.images import FileFault
from helpers.pairs import files_below

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


def jsons_below(folder: Path, expected: str) -> list[Path]:
    """The JSON files in a folder and its sub-folders; ValueError where there are none."""
    files = files_below(folder)
    if found := [file for file in files if file.suffix.lower() == ".json"]:
        return found
    faults = filter(None, map(foreign, files))
    raise next(faults, ValueError(f"there is no JSON file in {folder}, expected {expected}"))


def read_json(file: Path, *keys: str) -> Any:
    """The content of a JSON file, with these keys if any are given; FileFault where it is another,
    which names the tool if it is known."""
    with understood(file):
        content = json.loads(file.read_text("utf-8-sig"))
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        found = shortened([*content] if isinstance(content, dict) else content)
        cause = f'has no "{missing[0]}", expected {", ".join(keys)}, found {found}'
        remedy = "it may be of another tool, or of another task: move it away, or export again"
        raise foreign(file) or FileFault(str(file), cause, remedy)
    return content


@contextmanager
def understood(file: Path, what: str = "") -> Iterator[None]:
    """A FileFault that names a file and a part of it, in place of Python's errors while reading."""
    try:
        yield
    except FileFault:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        found = f'there is no "{error.args[0]}"' if isinstance(error, KeyError) else error
        cause = f"is not written as expected{f' in {what}' if what else ''} ({found})"
        raise FileFault(str(file), cause, "correct it in the tool, and export again") from error
