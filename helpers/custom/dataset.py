"""A data set of one's own: its label names, its splits, the files to keep or to share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from datasets import DatasetDict


def write_id2label(file: Path, id2label: Mapping[int, str]) -> None:
    """Write label names as JSON; its keys become strings, since JSON knows no others."""
    _check_labels(id2label, file)
    names = {str(label): id2label[label] for label in sorted(id2label)}
    file.write_text(json.dumps(names, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_id2label(file: Path) -> dict[int, str]:
    """Read label names from JSON, with the keys as numbers again.

    Raises:
        ValueError: the file is no such JSON, or its labels are not 0 to n - 1.
    """
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        id2label = {int(label): str(name).strip() for label, name in stored.items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f'{file} holds no label names ({error}): expected {{"0": "background", ...}}'
        ) from error
    _check_labels(id2label, file)
    return dict(sorted(id2label.items()))


def make_dataset(
    pairs: Sequence[tuple[Path, Path]], test_fraction: float = 0.2, seed: int = 0
) -> DatasetDict:
    """Pairs of files as a data set with the columns `image` and `annotation`.

    Args:
        pairs: (image, mask) files; they are read when rows are.
        test_fraction: what share of the pairs the split "validation" gets.
        seed: the same seed draws the same split.

    Returns:
        Splits "train" and "validation".

    Raises:
        ValueError: there are too few pairs for two splits.
    """
    from datasets import Dataset, DatasetDict, Features
    from datasets import Image as ImageFeature

    if len(pairs) < 2:
        raise ValueError(f"there are {len(pairs)} pairs, expected at least 2: one for each split")
    rows = {
        "image": [str(image) for image, _ in pairs],
        "annotation": [str(mask) for _, mask in pairs],
    }
    features = Features(image=ImageFeature(), annotation=ImageFeature())
    split = Dataset.from_dict(rows, features=features).train_test_split(test_fraction, seed=seed)
    return DatasetDict(train=split["train"], validation=split["test"])


def write_parquet(dataset: DatasetDict, folder: Path, id2label: Mapping[int, str]) -> None:
    """Write a data set that needs no other file: `data/*.parquet` and `id2label.json`.

    `load_dataset(str(folder))` reads it. `Dataset.to_parquet` alone stores the *paths* of files
    on this machine, not what is in them.

    Args:
        dataset: its splits' transforms are left out.
        folder: made where it is missing.
        id2label: see `write_id2label`.
    """
    from datasets.table import embed_table_storage

    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, split in dataset.items():
        # A hundred images at a time: a table of a thousand photographs may take gigabytes.
        whole = split.with_format("arrow").map(embed_table_storage, batched=True, batch_size=100)
        whole.with_format(None).to_parquet(
            folder / "data" / f"{name}-00000-of-00001.parquet", batch_size=100
        )
    write_id2label(folder / "id2label.json", id2label)


def class_palette(num_labels: int) -> np.ndarray:
    """Colours for a label set of one's own, told apart by colour-blind eyes as well.

    Light grey for label 0, which most often is the background, then matplotlib's sequence
    "petroff8" (Petroff, "Accessible Color Sequences for Data Visualization", arXiv 2107.02270);
    more classes than that get colours evenly spaced in hue, which no eye tells apart.

    Returns:
        (num_labels, 3) uint8 RGB.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba_array

    more = max(0, num_labels - 9)
    spaced = colormaps["hsv"](np.linspace(0, 1, more, endpoint=False))[:, :3]
    colors = np.concatenate([[(0.85, 0.85, 0.85)], to_rgba_array(_PETROFF8)[:, :3], spaced])
    return (255 * colors[:num_labels]).round().astype(np.uint8)


# Written out, because matplotlib before 3.11 does not know the sequence.
_PETROFF8 = ["#1845fb", "#ff5e02", "#c91f16", "#c849a9", "#adad7d", "#86c8dd", "#578dff", "#656364"]


def _check_labels(id2label: Mapping[int, str], file: Path) -> None:
    if sorted(id2label) != list(range(len(id2label))) or not id2label:
        raise ValueError(
            f"{file}: the labels are {sorted(id2label)}, expected 0 to {max(len(id2label) - 1, 0)} "
            "without gaps, as the model's outputs are numbered"
        )
    if len(set(id2label.values())) < len(id2label):
        twice = next(n for n in id2label.values() if list(id2label.values()).count(n) > 1)
        raise ValueError(f"{file}: two labels are named {twice!r}, expected a name for each")
