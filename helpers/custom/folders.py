"""Folders that annotation tools export: their splits, and the names and colors of their labels."""

from __future__ import annotations

import csv
from pathlib import Path

from helpers.custom.pairs import find_pairs, name_key
from helpers.labels import Labels

_SPLITS = {"val": "validation"}


def read_voc(folder: Path) -> dict[str, list[tuple[Path, Path]]]:
    """The pairs of a folder laid out as PASCAL VOC and CVAT do, by split.

    Their masks are mostly in colors: `labels_from_colors(mask, labels)` converts them, and knows
    the border of VOC's objects.

    Args:
        folder: JPEGImages, SegmentationClass and ImageSets/Segmentation/*.txt, with one name per
            line. Images that no list names are left out, as those without a mask are in VOC.

    Returns:
        {split: [(image, mask), ...]}, named after the lists, with "validation" for "val". Where
        there is "train", "trainval" is left out, because it repeats both.

    Raises:
        FileNotFoundError: a folder or list is missing, or a listed name has no files.
    """
    images = folder / "JPEGImages"
    found = find_pairs(images, folder / "SegmentationClass").pairs
    by_name = {
        _name(image.relative_to(images).with_suffix("")): (image, mask) for image, mask in found
    }
    lists = {file.stem: file for file in sorted((folder / "ImageSets/Segmentation").glob("*.txt"))}
    if not lists:
        raise FileNotFoundError(f"there is no list in {folder / 'ImageSets/Segmentation'}")
    if "train" in lists:
        lists.pop("trainval", None)
    splits = {}
    for split, file in lists.items():
        # Names with spaces are in quotes.
        names = [line.strip().strip('"') for line in file.read_text("utf-8").splitlines()]
        names = [name for name in names if name]
        for name in names:
            if _name(name) not in by_name:
                raise FileNotFoundError(
                    f"{file} lists {name}, which has no image in JPEGImages, or no mask in "
                    "SegmentationClass"
                )
        splits[_SPLITS.get(split, split)] = [by_name[_name(name)] for name in names]
    return splits


def read_labels(file: Path) -> Labels:
    """The labels of a `labelmap.txt` (VOC, CVAT) or a `_classes.csv` (Roboflow).

    Args:
        file: lines `name:red,green,blue:parts:actions`; or, ending in .csv, `value, name` below a
            header. Value 0 is a class, most often the background.

    Raises:
        ValueError: a line has another form, or the values are not 0 to n - 1.
    """
    rows = file.read_text("utf-8-sig").splitlines()
    try:
        if file.suffix.lower() == ".csv":
            names = {int(row[0]): row[1] for row in csv.reader(rows[1:]) if row}
            if sorted(names) != list(range(len(names))):
                raise ValueError(f"its values are {sorted(names)}, expected 0 to {len(names) - 1}")
            return Labels([names[value] for value in range(len(names))])
        fields = [row.split(":") for row in rows if row.strip() and not row.startswith("#")]
        colors = [tuple(int(number) for number in field[1].split(",")) for field in fields]
        return Labels([field[0] for field in fields], colors)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{file} does not hold labels ({error})") from error


def _name(path: Path | str) -> str:
    return name_key(Path(path).as_posix())
