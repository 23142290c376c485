"""Scenes in, `DatasetDict` out: the bundled toy set, a folder in ADE20K's layout, or the Hub.

Whatever the source, `load_scenes` gives splits "train" and "test" with the columns

* `image`: PIL image (of any mode: call `to_rgb` before using it);
* `annotation`: PIL, one channel, annotation values 0-150 (0 = other);
* `scene_category`: ClassLabel.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from helpers.ade20k import ID2LABEL, NUM_LABELS
from helpers.cli import progress
from helpers.custom.pairs import check_pair, find_pairs
from helpers.hub import explained
from helpers.profiles import Profile

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

COLUMNS = ["image", "annotation", "scene_category"]
_LAYOUTS = (
    "A data folder holds either images/{training,validation} and annotations/{training,validation},"
    " or Parquet files of the splits train and validation, neither of them empty."
)


def load_scenes(profile: Profile, check: bool = True) -> DatasetDict:
    """Load a profile's data as splits "train" and "test".

    Args:
        profile: its `dataset` is a folder in ADEChallengeData2016 layout, a local data set, or
            a Hub id; its `max_images`, where given, are split with its `seed`.
        check: decode every image and annotation once, so that a broken file is named now
            and not hours later, in the middle of training.

    Raises:
        FileNotFoundError: a folder, or the partner of an image, is missing.
        ConnectionError: the Hub is needed and cannot be reached.
        ValueError: a split is empty, or an image and its annotation do not fit together.
    """
    source = Path(profile.dataset)
    if source.is_absolute() and not source.is_dir():
        raise FileNotFoundError(f"there is no data folder {source}: check SEG_DATA")
    if (source / "images").is_dir() or (source / "annotations").is_dir():
        scenes = _load_ade_folder(source)
    elif profile.max_images is not None and not source.is_dir():
        scenes = _load_first(profile)
    else:
        scenes = _load_all(profile)
    for name, split in scenes.items():
        if len(split) == 0:
            raise ValueError(
                f'the "{name}" split of {profile.dataset} is empty: expected at least one image'
            )
    if check:
        areas = {name: check_scenes(split, name) for name, split in scenes.items()}
        warn_of_unseen_classes(areas["train"], areas["test"])
    return scenes


def to_rgb(image: Image.Image) -> Image.Image:
    """An image as the models expect it: RGB, upright as its EXIF orientation says.

    ADE20K holds some greyscale images, on which the image processor raises; photographs
    from phones are often stored lying on their side; and of 16 bits a pixel, the upper 8 are kept.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit grey: `convert` would make all above 255 white
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


def check_scenes(
    split: Dataset, name: str, num_labels: int = NUM_LABELS, do_reduce_labels: bool = True
) -> np.ndarray:
    """Decode each pair once; raise ValueError naming the first broken one.

    Args:
        split: columns `image` and `annotation` with the `datasets.Image` feature.
        name: of the split, for messages about images without a file name.
        num_labels: how many classes there are.
        do_reduce_labels: whether annotation value 0 is no class (as in ADE20K) or the first one.

    Returns:
        (num_labels,) int64: how many pixels of the split each class has.
    """
    from datasets import Image as ImageFeature

    undecoded = split.select_columns(["image", "annotation"])
    for column in ("image", "annotation"):
        undecoded = undecoded.cast_column(column, ImageFeature(decode=False))

    def check(index: int) -> np.ndarray:
        image, annotation = undecoded[index]["image"], undecoded[index]["annotation"]
        place = f"{name}[{index}]"
        names = (
            f"image {_file_name(image) or place}",
            f"annotation {_file_name(annotation) or place}",
        )
        _, mask = check_pair(image, annotation, names, num_labels, do_reduce_labels)
        return np.array(mask.histogram()[:256])

    areas = np.zeros(256, dtype=np.int64)
    # Threads: Pillow decodes without holding the interpreter's lock.
    with ThreadPoolExecutor() as pool:
        results = pool.map(check, range(len(undecoded)))
        # A bar where it takes long enough to wonder; for a few hundred images it does not.
        for area in progress(results, f"Checking {name}", len(undecoded), delay=2):
            areas += area
    areas = areas[do_reduce_labels:][:num_labels]
    if len(split) and not areas.any():
        raise ValueError(
            f'no pixel of the "{name}" split has a class: all are ignored, so there is nothing to '
            "learn from. Look at the values of the annotations, and at do_reduce_labels."
        )
    return areas


def warn_of_unseen_classes(
    trained: np.ndarray, tested: np.ndarray, id2label: Mapping[int, str] = ID2LABEL
) -> None:
    """Warn, in one sentence, of classes that are tested and that no training image shows.

    Args:
        trained: (num_labels,) pixels of each class in the training split.
        tested: the same of the split that is tested on.
        id2label: names for the sentence.
    """
    unseen = [id2label[int(label)] for label in np.flatnonzero((tested > 0) & (trained == 0))]
    if unseen:
        names = ", ".join(unseen[:5]) + (f" and {len(unseen) - 5} more" if unseen[5:] else "")
        warnings.warn(
            f"no training image shows {names}, but the test split does: a model cannot learn "
            "what it never sees, so split with another seed or annotate more images",
            stacklevel=2,
        )


def _file_name(cell: dict[str, Any] | None) -> str | None:
    return cell.get("path") if cell else None


def _load_ade_folder(folder: Path) -> DatasetDict:
    """images/ and annotations/, each with training/ and validation/, paired by file name."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features
    from datasets import Image as ImageFeature

    pairs = {
        split: _pair_files(folder / "images" / part, folder / "annotations" / part)
        for split, part in (("train", "training"), ("test", "validation"))
    }
    categories = _read_categories(folder / "sceneCategories.txt")
    found = {categories.get(image.stem, "unknown") for part in pairs.values() for image, _ in part}
    features = Features(
        image=ImageFeature(),
        annotation=ImageFeature(),
        scene_category=ClassLabel(names=sorted(found)),
    )

    def rows(pairs: list[tuple[Path, Path]]) -> dict[str, list[str]]:
        return {
            "image": [str(image) for image, _ in pairs],
            "annotation": [str(annotation) for _, annotation in pairs],
            "scene_category": [categories.get(image.stem, "unknown") for image, _ in pairs],
        }

    return DatasetDict(
        {split: Dataset.from_dict(rows(part), features=features) for split, part in pairs.items()}
    )


def _pair_files(images: Path, annotations: Path) -> list[tuple[Path, Path]]:
    """Pair images with annotations of the same name; both folders must match completely."""
    for folder in (images, annotations):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"there is no folder {folder}: expected images/training, images/validation, "
                "annotations/training and annotations/validation, as ADEChallengeData2016 has them"
            )
    found = find_pairs(images, annotations)
    if lonely := [*found.images_alone, *found.masks_alone]:
        missing = annotations if found.images_alone else images
        raise FileNotFoundError(
            f"{lonely[0]} has no partner named {lonely[0].stem} in {missing} ({len(lonely)} such "
            "files): images and annotations are paired by name"
        )
    return found.pairs


def _read_categories(file: Path) -> dict[str, str]:
    """`<image name> <scene category>` a line; the file may be absent."""
    if not file.is_file():
        return {}
    lines = file.read_text(encoding="utf-8").splitlines()
    return {line.split()[0]: line.split()[-1] for line in lines if len(line.split()) >= 2}


def _load_all(profile: Profile) -> DatasetDict:
    from datasets import DatasetDict, load_dataset

    source, scenes = profile.dataset, {}
    try:
        with explained(source):
            scenes = load_dataset(source)
    except Exception as error:
        if not Path(source).is_dir():
            # What was prepared from a download that turned out to be damaged must not stay.
            for file in [file for split in scenes.values() for file in split.cache_files]:
                shutil.rmtree(Path(file["filename"]).parent, ignore_errors=True)
            raise
        # Of an empty folder or an empty split, `datasets` does not say what would be right.
        raise ValueError(
            f"{source} cannot be loaded as a data set ({error}). {_LAYOUTS}"
        ) from error
    missing = {"train", "validation"} - set(scenes)
    if missing:
        raise ValueError(
            f"{source} has the splits {sorted(scenes)}, expected train and validation. {_LAYOUTS}"
        )
    # ADE20K's own "test" split has no annotations; "validation" is what everybody tests on.
    splits = {"train": scenes["train"], "test": scenes["validation"]}
    return DatasetDict({name: _only_our_columns(split, source) for name, split in splits.items()})


def _load_first(profile: Profile) -> DatasetDict:
    """The first images of the training split, streamed: no need to fetch gigabytes for 50."""
    from datasets import Dataset, config, load_dataset
    from datasets import Image as ImageFeature

    # The Hub's client tries five times as it is; twenty times that could go on for an hour.
    config.STREAMING_READ_MAX_RETRIES = config.STREAMING_OPEN_MAX_RETRIES = 1
    with explained(profile.dataset):
        stream = load_dataset(profile.dataset, split="train", streaming=True)
        features = stream.features
        for column in ("image", "annotation"):  # keep the files' bytes, do not encode them again
            stream = stream.cast_column(column, ImageFeature(decode=False))
        rows = list(stream.take(profile.max_images))
    images = _only_our_columns(Dataset.from_list(rows, features=features), profile.dataset)
    # The seed matters: a new split at inference would test on training images.
    return images.train_test_split(test_size=profile.test_fraction, seed=profile.seed)


def _only_our_columns(split: Dataset, source: str) -> Dataset:
    missing = set(COLUMNS) - set(split.column_names)
    if missing:
        raise ValueError(
            f"{source} has the columns {split.column_names}, expected {COLUMNS}: rename them "
            "with dataset.rename_column"
        )
    return split.select_columns(COLUMNS)
