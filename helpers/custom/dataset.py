"""A data set of your own: its splits, and the files to keep or to share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.custom.columns import scene_features, with_masks_turned
from helpers.images import is_turned
from helpers.labels import Labels

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


def make_dataset(
    pairs: Sequence[tuple[Path, Path]] | Mapping[str, Sequence[tuple[Path, Path]]],
    test_fraction: float = 0.2,
    seed: int = 0,
) -> DatasetDict:
    """Pairs of files as a data set with the columns `image` and `annotation`.

    Args:
        pairs: (image, mask) files. They are read when rows are read, except for masks that must be
            turned with their images. Given by split, as in `{"train": [...], "validation":
            [...]}`, they stay in their splits, and nothing is drawn at random.
        test_fraction: the share of the pairs that goes into the split "validation".
        seed: the same seed draws the same split.

    Returns:
        Splits "train" and "validation", or those that were given.

    Raises:
        ValueError: there are too few pairs for two splits, a given split is empty, or an image is
            in two of them.
    """
    from datasets import DatasetDict

    if isinstance(pairs, Mapping):
        of_image: dict[Path, str] = {}
        for name, part in pairs.items():
            if not part:
                raise ValueError(f'the split "{name}" is empty, expected at least one pair')
            for image, _ in part:
                if (other := of_image.setdefault(image, name)) != name:
                    raise ValueError(
                        f'{image} is in the splits "{other}" and "{name}", expected one: what a '
                        "model was trained on says nothing about how good it is"
                    )
        return DatasetDict({name: _rows(part) for name, part in pairs.items()})
    if len(pairs) < 2:
        raise ValueError(f"there are {len(pairs)} pairs, expected at least 2: one for each split")
    split = _rows(pairs).train_test_split(test_fraction, seed=seed)
    return DatasetDict(train=split["train"], validation=split["test"])


def write_parquet(dataset: DatasetDict, folder: Path, labels: Labels) -> None:
    """Write a data set that needs no other files: `data/*.parquet` and its labels.

    `load_dataset(str(folder))` reads it. `Dataset.to_parquet` alone stores the *paths* of files
    on this machine, not what is in them.

    Args:
        dataset: transforms of its splits are left out.
        folder: made if it is missing.
        labels: written as `id2label.json` and `labels.json`; see `helpers.labels`.
    """
    from datasets.table import embed_table_storage

    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, split in dataset.items():
        # A hundred images at a time: a table of a thousand photographs may take gigabytes.
        whole = split.with_format("arrow").map(embed_table_storage, batched=True, batch_size=100)
        whole.with_format(None).to_parquet(
            folder / "data" / f"{name}-00000-of-00001.parquet", batch_size=100
        )
    labels.save(folder)


def _rows(pairs: Sequence[tuple[Path, Path]]) -> Dataset:
    from datasets import Dataset

    rows = {
        "image": [str(image) for image, _ in pairs],
        "annotation": [str(mask) for _, mask in pairs],
    }
    turned = [index for index, (image, mask) in enumerate(pairs) if is_turned(mask, image)]
    return with_masks_turned(Dataset.from_dict(rows, features=scene_features()), turned)
