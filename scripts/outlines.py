"""What the JSON files of COCO, Labelme and Segments.ai say of each image, as layers: a class and
its pixels, which `pycocotools` draws."""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np
from PIL import Image

from helpers.images import SUFFIXES, FileFault, header, load_mask
from helpers.labels import Color
from helpers.pairs import files_below, name_key
from scripts.class_names import BACKGROUND, class_name
from scripts.tool_files import jsons_below, read_json, understood

_IGNORE = "__ignore__"  # Labelme's own name for pixels without a class
_OTHER_TASKS = ("captions_", "person_keypoints_", "image_info_")  # files beside COCO's instances
_FAR = 100  # times the image's size: pycocotools walks along an outline pixel by pixel

Entry = Mapping[str, Any]  # an object of a JSON file
Shape = tuple[int, int]  # (height, width)
Layer = tuple[str | None, dict]  # a class, or None for no class, and its pixels as run lengths


@dataclass(frozen=True)
class Sheet:
    """What a tool says of one image."""

    name: str  # of the image, as the tool has it: a path on whatever system
    file: Path  # the tool's file
    shape: Shape | None  # of the mask; None: the image is not annotated
    layers: Sequence[Layer]
    split: str | None = None


@dataclass
class Annotated:
    """What a tool says of all images: filled file by file."""

    classes: dict[str, Color | None] = field(default_factory=dict)
    """In the order of their label ids."""
    sheets: list[Sheet] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    rest: str | None = BACKGROUND  # the class of pixels that no layer covers; None: they have none
    masks: set[Path] = field(default_factory=set)  # files that are masks, and no images
    masks_alone: list[Path] = field(default_factory=list)


def find(name: str, beside: Path, files: Mapping[str, Sequence[Path]]) -> Path | None:
    """The file that a tool means, whatever folder it was in when the tool saw it.

    Of several of its name, one whose path ends as the tool has it; of these, one beside its file.
    """
    path = name_key(name.replace("\\", "/")).lstrip("./")
    last = Path(path).name
    found = files.get(Path(last).stem if Path(last).suffix in SUFFIXES else last, [])
    exact = [file for file in found if name_key(file.as_posix()).endswith(f"/{path}")]
    near = [file for file in exact or found if file.is_relative_to(beside.parent)]
    found = near or exact or found
    if len(found) > 1:
        raise ValueError(
            f'{beside} names "{name}", and there are {found[0]} and {found[1]}: say with '
            "--images which folder is meant"
        )
    return found[0] if found else None


def by_stem(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Files by their names without extensions, for `find`."""
    found = defaultdict(list)
    for file in files:
        found[name_key(file.stem)].append(file)
    return found


def split_of(name: str) -> str | None:
    """The split that a name of a file or folder tells, as `instances_val2017` does."""
    found = re.search(r"(?<![a-z])(train|val|valid|validation|test)(?![a-z])", name.lower())
    return found and ("validation" if found[1].startswith("val") else found[1])


# --- pixels, as run lengths -----------------------------------------------------------------------


def pycocotools() -> Any:
    """Its module `mask`; ImportError with the remedy where it is not installed."""
    try:
        from pycocotools import mask
    except ImportError as error:
        missing = "masks are drawn by pycocotools, which is not installed: pip install pycocotools"
        raise ImportError(missing) from error
    return mask


def runs_of_mask(inside: np.ndarray) -> dict:
    """The run lengths of a mask (height, width), in which 0 is outside."""
    return pycocotools().encode(np.asfortranarray(inside, dtype=np.uint8))


def runs_of_polygons(polygons: Sequence[Any], shape: Shape) -> dict:
    """The run lengths of the union of polygons, each [x, y, x, y, ...]."""
    outlines = [np.array(points, dtype=float).reshape(-1, 2) for points in polygons]
    if not all((np.abs(points) < _FAR * max(shape)).all() for points in outlines):
        raise ValueError(f"points far outside its image of {shape[1]} x {shape[0]}")
    # One point and two have no area, and pycocotools would take two for a box.
    outlines = [points.ravel().tolist() for points in outlines if len(points) > 2]
    if not outlines:
        return runs_of_mask(np.zeros(shape))
    return pycocotools().merge(pycocotools().frPyObjects(outlines, *shape))


def _runs_of_coco(drawn: Any, shape: Shape) -> dict:
    """The run lengths of COCO's `segmentation`: polygons, or run lengths, compressed or a list."""
    if not drawn:
        raise ValueError("it has no outline, perhaps a box only: draw one, or delete it")
    if isinstance(drawn, list):
        return runs_of_polygons(drawn, shape)
    codec, counts = pycocotools(), drawn["counts"]
    runs = codec.frPyObjects(drawn, *shape) if isinstance(counts, list) else drawn
    short = isinstance(counts, list) and sum(counts) != np.prod(shape)
    # What is behind the last run is not even zero.
    if [*drawn["size"]] != [*shape] or short or codec.area(runs) != codec.decode(runs).sum():
        raise ValueError(f"run lengths of another size than its image, {shape[1]} x {shape[0]}")
    return runs


# --- COCO -----------------------------------------------------------------------------------------


def read_coco(folder: Path) -> Annotated:
    """What COCO's files say: outlines, run lengths, or panoptic PNGs of object ids."""
    found = Annotated()
    for file in jsons_below(folder, "one of COCO"):
        if not file.name.startswith(_OTHER_TASKS):
            content = read_json(file, "images", "annotations", "categories")
            with understood(file):
                _read_coco(content, file, found)
    return found


def _read_coco(content: Entry, file: Path, found: Annotated) -> None:
    images, annotations = content["images"], content["annotations"]
    split = split_of(file.stem) or split_of(file.parent.name)
    panoptic = any("segments_info" in each for each in annotations)
    objects = [part for each in annotations for part in each.get("segments_info", [each])]
    used = {each["category_id"] for each in objects}
    if not panoptic:
        found.classes.setdefault(BACKGROUND, (0, 0, 0))
    names = _categories(content["categories"], used, file, found)
    if panoptic and BACKGROUND in {names[category] for category in names.keys() - used}:
        found.notices.append(f"{file.name} shows background by no object: its id 0 is background")
    elif panoptic:
        found.rest = None
    of_image: dict[Any, list[Entry]] = {image["id"]: [] for image in images}
    if len(of_image) < len(images):
        raise ValueError("two images have one id")
    for each in annotations:
        of_image.setdefault(each["image_id"], []).append(each)
    empty = []
    for image in images:
        name, its = str(Path(image["file_name"])), of_image[image["id"]]
        shape, layers = None, []
        with understood(file, f"the image {name}"):
            if not panoptic:
                shape = int(image["height"]), int(image["width"])
                for each in its:
                    with understood(file, f"annotation {each['id']}"):
                        runs = _runs_of_coco(each.get("segmentation"), shape)
                        layers.append((_class_of(each, names), runs))
            elif its and (png := file.with_suffix("") / its[0]["file_name"]).is_file():
                found.masks.add(png)
                shape, layers = _layers_of_ids(png, its[0]["segments_info"], names, file)
        found.sheets.append(Sheet(name, file, shape, layers, split))
        empty += [] if layers else [name]
    if empty:
        no_png = f", or no PNG in {file.with_suffix('')}: they are left out"
        found.notices.append(
            f"{file.name} has no object in {len(empty)} of its images ({empty[0]}, say)"
            f"{no_png if panoptic else ': their masks are all background'}"
        )
    if strange := len(of_image) - len(images):
        found.notices.append(f"{file.name} has objects of {strange} images that it does not list")


def _categories(
    categories: Sequence[Entry], used: set[Any], file: Path, found: Annotated
) -> dict[Any, str]:
    """Category id to name, in the order of the ids."""
    names: dict[Any, str] = {}
    for category in sorted(categories, key=lambda category: category["id"]):
        number, name = category["id"], class_name(category["name"])
        if number == 0 and category.get("supercategory") == "none" and 0 not in used:
            found.notices.append(
                f'{file.name}: the category 0 ("{name}") is left out, because no object uses it: '
                "Roboflow names the project there"
            )
            continue
        if other := [known for known, taken in names.items() if taken == name]:
            cause = f'names the categories {other[0]} and {number} "{name}", expected two names'
            raise FileFault(str(file), cause, "rename one of them and export again")
        names[number], color = name, category.get("color")
        found.classes.setdefault(name, tuple(color[:3]) if isinstance(color, list) else None)
    return names


def _class_of(each: Entry, names: Mapping[Any, str]) -> str:
    if (category := each["category_id"]) not in names:
        raise ValueError(f"its category is {category}, expected one of {shortened([*names])}")
    return names[category]


def _layers_of_ids(
    png: Path, objects: Sequence[Entry], names: Mapping[Any, str], file: Path
) -> tuple[Shape, list[Layer]]:
    """The objects of a PNG of object ids: grey, or red + 256 green + 65,536 blue; 0 is none."""
    ids = load_mask(png)
    if header(png).mode in ("RGB", "RGBA"):  # a grey color is an id of three bytes, too
        ids = load_mask(png, in_colors=True) @ np.array([1, 256, 65536], dtype=np.uint32)
    with understood(file, png.name):
        class_of = {each["id"]: _class_of(each, names) for each in objects}
    present = [each for each in np.unique(ids).tolist() if each]
    if unknown := [each for each in present if each not in class_of]:
        cause = f"holds the object {unknown[0]}, which {file.name} does not list for it"
        raise FileFault(str(png), cause, "export both together")
    return ids.shape, [(class_of[each], runs_of_mask(ids == each)) for each in present]


# --- Labelme --------------------------------------------------------------------------------------


def read_labelme(folder: Path, listed: Sequence[str] | None) -> Annotated:
    """What Labelme's files say, a file an image: polygons, rectangles, circles and masks.

    Args:
        folder: JSON files, also in its sub-folders.
        listed: the names of a labels.txt, in the order of the label ids; None: by alphabet.
    """
    known = listed and [class_name(name) for name in listed]
    found, used = Annotated(), set()
    for file in jsons_below(folder, "those of Labelme"):
        content = read_json(file, "shapes", "imagePath")
        with understood(file):
            shape, layers = (int(content["imageHeight"]), int(content["imageWidth"])), []
            for number, each in enumerate(content["shapes"]):
                name = class_name(each["label"])
                with understood(file, f'shape {number}, "{name}"'):
                    if known and name not in (*known, BACKGROUND, _IGNORE):
                        raise ValueError(f"expected one of {', '.join(known)}, as labels.txt lists")
                    layers.append((None if name == _IGNORE else name, _runs(each, shape)))
                used.add(name)
            found.sheets.append(Sheet(str(Path(content["imagePath"])), file, shape, layers))
    found.classes = dict.fromkeys([BACKGROUND, *(known or sorted(used))])
    found.classes.pop(_IGNORE, None)
    return found


def _runs(drawn: Entry, shape: Shape) -> dict:
    """The run lengths of a shape of Labelme."""
    kind = drawn.get("shape_type") or "polygon"  # Labelme's first versions had no other
    points = np.array(drawn["points"], dtype=float).reshape(-1, 2)
    if kind == "mask":
        canvas = Image.new("1", shape[::-1])
        inside = load_mask(base64.b64decode(drawn["mask"]), name="its mask") > 0
        canvas.paste(Image.fromarray(inside), tuple(points[0].astype(int).tolist()))
        return runs_of_mask(np.asarray(canvas))
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    elif kind == "circle":
        center, edge = points
        angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
        around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = center + np.hypot(*(edge - center)) * around
    elif kind not in ("polygon", "rectangle", "oriented_rectangle"):
        raise ValueError(f"its type is {kind}, which has no area: draw a polygon, or delete it")
    return runs_of_polygons([points], shape)


# --- Segments.ai ----------------------------------------------------------------------------------


def read_segments(folder: Path) -> Annotated:
    """What a release of Segments.ai says: a JSON file, and PNG files of object ids as its Python
    client saves them, `NAME_label_ground-truth.png`."""
    file, *others = jsons_below(folder, "the release file of Segments.ai")
    if others:
        raise ValueError(f"there are {file} and {others[0]}, expected one release of Segments.ai")
    found, pngs = Annotated({BACKGROUND: (0, 0, 0)}), by_stem(files_below(folder))
    dataset = read_json(file, "dataset")["dataset"]
    with understood(file):
        names = _categories(dataset["task_attributes"]["categories"], {0}, file, found)
        for sample in dataset["samples"]:
            name, label = sample["name"], sample["labels"].get("ground-truth")
            png = find(f"{Path(name).with_suffix('')}_label_ground-truth.png", file, pngs)
            shape, layers = None, []
            if png and label:
                found.masks.add(png)
                shape, layers = _layers_of_ids(png, label["attributes"]["annotations"], names, file)
            found.sheets.append(Sheet(name, file, shape, layers))
    if without := [sheet.name for sheet in found.sheets if not sheet.shape]:
        found.notices.append(
            f"{len(without)} images have no label in {file.name}, or no bitmap "
            f"NAME_label_ground-truth.png ({without[0]}, say): they are left out"
        )
    found.notices.append(
        "pixels of no object count as background. If they are only not labeled yet, choose the "
        "classes without background: then such pixels have no class"
    )
    return found
