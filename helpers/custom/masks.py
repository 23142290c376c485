"""Masks of any origin: what is in them, what is wrong with them, and how they become labels.

`report_pairs` says which masks cannot be used as they are; `labels_from_values` and
`labels_from_colors` convert them. Before comes `helpers.pairs`, after it `helpers.custom`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from helpers.cli import progress
from helpers.custom.pairs import Pairs, check_pair, decode

if TYPE_CHECKING:
    import pandas as pd

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Report:
    """What `report_pairs` found."""

    files: pd.DataFrame
    """A row for each pair: image, mask (names), image_size, image_mode, mask_size,
    mask_mode, values (those of the mask, "-" where it cannot be read) and problem ("" if none)."""
    classes: pd.DataFrame
    """A row for each class: label, name, pixels and images (shares, 0 to 1) over all pairs
    without a problem."""
    problems: list[str]
    """What is wrong with each file that cannot be used as it is, or has no partner; last, which
    classes no mask shows."""


def report_pairs(
    found: Pairs, id2label: Mapping[int, str], do_reduce_labels: bool = False
) -> Report:
    """Decode every image and mask once and tell what they hold; bad files do not stop it.

    Args:
        found: from `helpers.pairs.find_pairs`.
        id2label: names of the labels 0 to n - 1.
        do_reduce_labels: whether mask value 0 is no class and value k is label k - 1; if not,
            values are labels, and 255 is no class.

    Raises:
        ValueError: there is not one pair.
    """
    import pandas as pd

    if not found.pairs:
        raise ValueError(
            "not one image has a mask of the same name: there are "
            f"{len(found.images_alone)} images{_such_as(found.images_alone)} and "
            f"{len(found.masks_alone)} masks{_such_as(found.masks_alone)}"
        )

    def look(pair: tuple[Path, Path]) -> tuple[dict[str, object], np.ndarray]:
        row, areas = _look_at(pair, len(id2label), do_reduce_labels)
        return row, areas[do_reduce_labels:][: len(id2label)]

    pixels = np.zeros(len(id2label), dtype=np.int64)
    images = np.zeros(len(id2label), dtype=np.int64)
    rows = []
    with ThreadPoolExecutor() as pool:  # Pillow decodes without holding the interpreter's lock
        results = pool.map(look, found.pairs)
        for row, areas in progress(results, "Looking at masks", len(found.pairs), delay=2):
            rows.append(row)
            if not row["problem"]:
                pixels += areas
                images += areas > 0
    problems = [row["problem"] for row in rows if row["problem"]]
    problems += [f"image {file} has no mask of its name" for file in found.images_alone]
    problems += [f"mask {file} has no image of its name" for file in found.masks_alone]
    sound = sum(not row["problem"] for row in rows)
    classes = pd.DataFrame(
        {
            "label": list(id2label),
            "name": list(id2label.values()),
            "pixels": pixels[list(id2label)] / max(pixels.sum(), 1),
            "images": images[list(id2label)] / max(sound, 1),
        }
    )
    if absent := [name for label, name in id2label.items() if not pixels[label]]:
        problems.append(f"no mask shows {', '.join(absent)}: there is nothing to learn it from")
    return Report(pd.DataFrame(rows), classes, problems)


def labels_from_values(mask: Image.Image, values: Mapping[int, int] | None = None) -> Image.Image:
    """Turn a mask whose *values* mean classes into one of mode L.

    Args:
        mask: mode 1, L, P (its indices count, not its colours), I;16 or I; or grey stored as
            RGB or RGBA, all channels equal.
        values: stored value to label, for example {0: 0, 255: 1}; each value that occurs needs
            an entry. None: values are labels already.

    Returns:
        Mode L, labels 0-255.

    Raises:
        ValueError: a value has no label, or the mask is colour-coded.
    """
    name = _name_of(mask)
    stored = np.asarray(mask)
    if stored.ndim == 3:
        if mask.mode in ("RGB", "RGBA") and (stored[..., :3] != stored[..., :1]).any():
            raise ValueError(
                f"{name} is in colour (mode {mask.mode}), expected one value a pixel: "
                "labels_from_colors turns colours into labels"
            )
        stored = stored[..., 0]
    known = range(256) if values is None else values
    present = [int(value) for value in np.unique(stored)]
    if unknown := [value for value in present if value not in known]:
        expected = "0-255" if values is None else ", ".join(map(str, values))
        raise ValueError(
            f"{name} holds the value {unknown[0]} in {np.count_nonzero(stored == unknown[0])} "
            f"pixels, expected {expected}: give it a label, or 255 for pixels without a class"
        )
    labels = np.zeros(stored.shape, dtype=np.uint8)
    for value in present:
        labels[stored == value] = value if values is None else values[value]
    return Image.fromarray(labels)


def labels_from_colors(
    mask: Image.Image, colors: Mapping[Color, int], unknown: int | None = None
) -> Image.Image:
    """Turn a mask whose *colours* mean classes into one of mode L.

    Args:
        mask: of a mode that converts to RGB; of a palette PNG the colours count, not the indices.
        colours: (red, green, blue) to label.
        unknown: the label of other colours, such as 255 for "no class"; None: refuse them.

    Returns:
        Mode L, labels 0-255.

    Raises:
        ValueError: a pixel has a colour that `colours` does not hold.
    """
    rgb = np.asarray(mask.convert("RGB")).astype(np.uint32)
    codes = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    present, where = np.unique(codes, return_inverse=True)
    lookup = {r << 16 | g << 8 | b: label for (r, g, b), label in colors.items()}
    labels = [lookup.get(int(code), unknown) for code in present]
    if None in labels:
        missing = labels.index(None)
        code, count = int(present[missing]), np.count_nonzero(codes == present[missing])
        raise ValueError(
            f"{_name_of(mask)} holds the colour {(code >> 16, code >> 8 & 255, code & 255)} in "
            f"{count} pixels ({labels.count(None)} such colours), expected one of "
            f"{', '.join(map(str, colors))}. Many in-between colours mean JPEG compression or "
            "soft edges: export the masks again as PNG without smoothing."
        )
    return Image.fromarray(np.array(labels, dtype=np.uint8)[where].reshape(codes.shape))


def _look_at(
    pair: tuple[Path, Path], num_labels: int, reduces: bool
) -> tuple[dict[str, object], np.ndarray]:
    """A row of the report, and the mask's pixels by value (256,)."""
    row: dict[str, object] = {"image": pair[0].name, "mask": pair[1].name}
    problems, areas = [], np.zeros(256, dtype=np.int64)
    opened = []
    for kind, file in zip(("image", "mask"), pair, strict=True):
        try:
            decoded = decode(file, f"{kind} {file}")
        except ValueError as error:
            problems.append(str(error))
            row |= {f"{kind}_size": "-", f"{kind}_mode": "-"}
        else:
            row |= {f"{kind}_size": "{} x {}".format(*decoded.size), f"{kind}_mode": decoded.mode}
            opened.append(decoded)
    row["values"] = "-"
    if len(opened) == 2:
        image, mask = opened
        try:
            check_pair(image, mask, (f"image {pair[0]}", f"mask {pair[1]}"), num_labels, reduces)
        except ValueError as error:
            problems.append(str(error))
        if mask.mode in ("L", "P"):
            areas = np.array(mask.histogram()[:256])
            row["values"] = " ".join(map(str, np.flatnonzero(areas)))
            if not problems and not areas[reduces : num_labels + reduces].any():
                problems.append(f"mask {pair[1]} has no class in any pixel: nothing to learn from")
    row["problem"] = " ".join(problems)
    return row, areas


def _such_as(files: Sequence[Path]) -> str:
    return f" (such as {files[0]})" if files else ""


def _name_of(mask: Image.Image) -> str:
    return f"mask {getattr(mask, 'filename', '') or ''}".strip()
