"""Scenes in, `DatasetDict` out: the bundled toy set, a folder in ADE20K's layout, or the Hub.

Whatever the source, `load_scenes` gives splits "train" and "test" with the columns

* `image`: PIL image, RGB and upright;
* `annotation`: PIL image, one channel, whose values the profile's `labels` explain;
* `scene_category`: ClassLabel, if the data has it.

Files are read by `helpers.images` and by nothing else. Data that come in here are sound: each mask
has its image's size and holds values with a meaning. `python -m scripts.prepare` makes them so.
"""

from __future__ import annotations

import glob
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets import ClassLabel, Dataset, DatasetDict, Features, config, load_dataset
from PIL import Image

from helpers.hub import explained
from helpers.images import SUFFIXES, FileFault, load_image, load_mask, name_key
from helpers.labels import ADE20K, Labels
from helpers.language import say
from helpers.processes import is_first_process, progress
from helpers.profiles import Profile

_CATEGORY = "scene_category"
_FEW = 10  # a set of ADE20K scenes has more classes than this, and not just the first of the list
_LAYOUTS = (
    "A data folder holds either images/{training,validation} and annotations/{training,validation},"
    " or Parquet files of the splits train and validation, neither of them empty. "
    "`python -m scripts.prepare FOLDER` makes one of a folder of images and masks, or of what an "
    "annotation tool exports; see notebook 07."
)
_PREPARE = "`python -m scripts.prepare` finds all such files and says what settles them"

# The Hub's client tries five times by itself; twenty times that could take an hour.
config.STREAMING_OPEN_MAX_RETRIES = config.STREAMING_READ_MAX_RETRIES = 1


class ImageFile(datasets.Image):
    """A column of image files, which `load_image` decodes."""

    def decode_example(self, value: dict[str, Any], *args: Any, **kwargs: Any) -> Image.Image:
        return load_image(value)


class MaskFile(datasets.Image):
    """A column of mask files, which `load_mask` decodes."""

    def decode_example(self, value: dict[str, Any], *args: Any, **kwargs: Any) -> Image.Image:
        mask = load_mask(value)
        fits = mask.dtype == bool or (mask.min(initial=0) >= 0 and mask.max(initial=0) <= 255)
        return Image.fromarray(mask.astype(np.uint8 if fits else np.int32))


def load_scenes(
    profile: Profile,
    check: bool = True,
    splits: Sequence[str] = ("train", "test"),
    allow_empty: bool = True,
) -> DatasetDict:
    """Load a profile's data as splits "train" and "test".

    Args:
        profile: its `dataset` is a folder in ADEChallengeData2016 layout, a local data set, or
            a Hub id; its `max_images`, where given, are split with its `seed`.
        check: decode every image and annotation once, so that a broken file is named now and not
            hours later, in the middle of training.
        splits: which to load: "train"; "test", which is the data's validation split, on which
            checkpoints are chosen; and "third", the data's own test split, which few have.
        allow_empty: False refuses a class without a training pixel, if both splits are checked; of
            ADE20K's 150 classes any may be empty.

    Returns:
        The splits, and in their attribute `areas`, if each was checked, by split how many pixels
        each class has, (num_labels,) int64.

    Raises:
        FileNotFoundError: a folder, or the partner of an image, is missing.
        ConnectionError: the Hub is needed and cannot be reached.
        ValueError: a split or a class is empty, or an image and its annotation do not fit together.
    """
    source = Path(profile.dataset)
    if source.is_absolute() and not source.is_dir():
        raise FileNotFoundError(f"there is no data folder {source}: check SEG_DATA")
    if (source / "images").is_dir() or (source / "annotations").is_dir():
        scenes = _load_ade_folder(source)
    elif profile.max_images is not None and not source.is_dir():  # a folder is never capped
        scenes = _load_first(profile)
    else:
        scenes = _load_all(profile)
    if "third" in splits and "third" not in scenes:
        raise ValueError(f'{profile.dataset} has no split "test" beside train and validation')
    scenes = DatasetDict({name: scenes[name] for name in splits})
    if profile.own_labels is None and is_first_process():
        text = "{source} has no id2label.json. It is read as ADE20K is: {labels}."
        print(say(text, source, profile.labels))
    if empty := [name for name, split in scenes.items() if not len(split)]:
        what = f'the "{empty[0]}" split of {profile.dataset} is empty'
        raise ValueError(f"{what}: expected at least one image")
    areas: dict[str, np.ndarray] = {}
    if check:
        areas |= {name: check_scenes(scenes[name], name, profile.labels) for name in scenes}
        if profile.own_labels is None:
            _refuse_other_labels(sum(areas.values()), profile)
        if {"train", "test"} <= areas.keys():
            if not allow_empty and profile.labels.names != ADE20K.names:
                _refuse_empty_classes(areas["train"], profile)
            if is_first_process():
                _warn_of_classes(areas["train"], areas["test"], profile.labels)
    scenes.areas = areas
    return scenes


def check_scenes(split: Dataset, name: str, labels: Labels) -> np.ndarray:
    """Decode each pair of a split once, or raise ValueError for the first broken one, which is told
    by the split's name if it has none; returns how many pixels each class has, (num_labels,) int64.
    """
    files = split.select_columns(["image", "annotation"])
    for column in files.column_names:
        files = files.cast_column(column, datasets.Image(decode=False))

    def check(index: int) -> np.ndarray:
        row, place = files[index], f"{name}[{index}]"
        names = [f"{kind} {(row[kind] or {}).get('path') or place}" for kind in files.column_names]
        size = load_image(row["image"], names[0]).size
        values = load_mask(row["annotation"], name=names[1])
        if values.ndim == 3:
            expected = f"one number for each pixel, {labels.expected_values}"
            raise FileFault(names[1], f"is in colors, expected {expected}", _PREPARE)
        if values.shape != size[::-1]:
            found = "is {} x {} pixels, its image {} x {}".format(*values.shape[::-1], *size)
            raise FileFault(names[1], f"{found}, expected equal sizes", _PREPARE)
        try:
            label_map = labels.to_label_map(values)
        except ValueError as error:
            raise ValueError(f"{names[1]}: {error}") from error
        return np.bincount(label_map.ravel(), minlength=256)[: labels.num_labels]

    areas = np.zeros(labels.num_labels, dtype=np.int64)
    with ThreadPoolExecutor() as pool:  # Pillow decodes without holding the interpreter's lock
        results = pool.map(check, range(len(files)))
        for area in progress(results, f"Checking {name}", len(files), delay=2):
            areas += area
    if len(split) and not areas.any():
        raise ValueError(
            f'no pixel of the "{name}" split has a class: all are ignored, so there is nothing to '
            "learn from. Look at the values of the annotations, and at what labels.json says."
        )
    return areas


def _warn_of_classes(trained: np.ndarray, tested: np.ndarray, labels: Labels) -> None:
    """Warn where the validation images, whose pixels of each class are `tested`, show what no
    training image does, or one class alone."""
    found = []
    if unseen := _names((tested > 0) & (trained == 0), labels):
        found.append(
            f"no training image shows {unseen}, but the validation images do: a model cannot learn "
            "what it never sees"
        )
    if np.count_nonzero(tested) == 1:
        found.append(
            f"the validation images show only {_names(tested > 0, labels)}: a model that predicts "
            "nothing else has a mean IoU of 1"
        )
    for what in found:
        way_out = "so split with another seed or annotate more images"
        warnings.warn(f"{what}, {way_out}", stacklevel=3)


def _refuse_empty_classes(trained: np.ndarray, profile: Profile) -> None:
    if empty := _names(trained == 0, profile.labels):
        raise ValueError(
            f"no training image of {profile.dataset} shows {empty}, and a model cannot learn what "
            f"it never sees: look at the masks' values (expected {profile.labels.expected_values}),"
            " split with another seed or annotate more images; --allow-empty trains anyway"
        )


def _names(wanted: np.ndarray, labels: Labels) -> str:
    """The names of the labels where this is True, of which five are listed."""
    names = [labels.names[label] for label in np.flatnonzero(wanted)]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")


def _refuse_other_labels(areas: np.ndarray, profile: Profile) -> None:
    """Raise if data without label names can hardly be ADE20K's: it holds values 1 to n alone."""
    present = np.flatnonzero(areas)
    if present.tolist() == list(range(len(present))) and len(present) < _FEW:
        raise ValueError(
            f"the masks of {profile.dataset} hold 0 to {len(present)} and nothing else, which "
            "looks like classes of its own and not like ADE20K's. Write their names into "
            'id2label.json in that folder ({"0": "background", ...}); if they are ADE20K\'s, '
            "helpers.labels.ADE20K.save(folder) writes those"
        )


def _load_ade_folder(folder: Path) -> DatasetDict:
    """images/ and annotations/, each with training/ and validation/, paired by file name."""
    file = folder / "sceneCategories.txt"  # which may be absent
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    categories = {line.split()[0]: line.split()[-1] for line in lines if len(line.split()) >= 2}
    columns = {}
    for split, part in (("train", "training"), ("test", "validation")):
        pairs = _pair_files(folder / "images" / part, folder / "annotations" / part)
        columns[split] = {
            "image": [str(image) for image, _ in pairs],
            "annotation": [str(annotation) for _, annotation in pairs],
            _CATEGORY: [categories.get(image.stem, "unknown") for image, _ in pairs],
        }
    found = {category for split in columns.values() for category in split[_CATEGORY]}
    features = Features(image=ImageFile(), annotation=MaskFile())
    features[_CATEGORY] = ClassLabel(names=sorted(found))
    return DatasetDict({s: Dataset.from_dict(columns[s], features=features) for s in columns})


def _pair_files(images: Path, annotations: Path) -> list[tuple[Path, Path]]:
    """Pair images with annotations of the same name; both folders must match completely."""
    for folder in (images, annotations):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"there is no folder {folder}: expected images/training, images/validation, "
                f"annotations/training and annotations/validation. {_LAYOUTS}"
            )
    found, masks = _by_name(images), _by_name(annotations)
    if lonely := sorted(found.keys() ^ masks.keys()):
        file = (found | masks)[lonely[0]]
        raise FileNotFoundError(
            f"{file} has no partner named {file.stem} in "
            f"{annotations if lonely[0] in found else images} ({len(lonely)} such files): images "
            "and annotations are paired by name"
        )
    return [(found[name], masks[name]) for name in sorted(found)]


def _by_name(folder: Path) -> dict[str, Path]:
    """The image files below a folder by their names, of which case and ending do not count."""
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
            name = name_key(file.relative_to(folder).with_suffix("").as_posix())
            if (twin := found.setdefault(name, file)) != file:
                raise ValueError(f"{twin} and {file.name} would share one partner: rename one")
    return found


def _load_all(profile: Profile) -> DatasetDict:
    source = profile.dataset
    try:
        with explained(source, "dataset"):
            scenes = load_dataset(**_where(source))
    except Exception as error:
        if not Path(source).is_dir():
            raise
        # Of an empty folder or split, `datasets` does not say what would be right.
        raise ValueError(
            f"{source} cannot be loaded as a data set ({error}). {_LAYOUTS}"
        ) from error
    if not {"train", "validation"} <= scenes.keys():
        raise ValueError(
            f"{source} has the splits {sorted(scenes)}, expected train and validation. {_LAYOUTS}"
        )
    # ADE20K's own "test" split has no annotations; "validation" is what everybody tests on.
    called = {"train": "train", "test": "validation", "third": "test"}
    splits = {name: scenes[theirs] for name, theirs in called.items() if theirs in scenes}
    return DatasetDict({name: _only_our_columns(split, source) for name, split in splits.items()})


def _where(source: str) -> dict[str, Any]:
    """What `load_dataset` is given: in a folder's name it would take brackets for a pattern."""
    files: dict[str, list[str]] = {}
    for file in sorted((Path(source) / "data").glob("*.parquet")):
        files.setdefault(file.name.split("-")[0], []).append(glob.escape(str(file)))
    return {"path": "parquet", "data_files": files} if files else {"path": source}


def _load_first(profile: Profile) -> DatasetDict:
    """The first images of the training split, streamed: no need to fetch gigabytes for 50."""
    with explained(profile.dataset, "dataset"):
        stream = load_dataset(profile.dataset, split="train", streaming=True)
        features = stream.features
        for column in ("image", "annotation"):  # keep the files' bytes, do not encode them again
            stream = stream.cast_column(column, datasets.Image(decode=False))
        rows = list(stream.take(profile.max_images))
    images = _only_our_columns(Dataset.from_list(rows, features=features), profile.dataset)
    # The seed matters: a new split at inference would test on training images.
    return images.train_test_split(test_size=profile.test_fraction, seed=profile.seed)


def _only_our_columns(split: Dataset, source: str) -> Dataset:
    if not {"image", "annotation"} <= {*split.column_names}:
        raw = Path(source).is_dir() and "data_files" not in _where(source)
        way_out = _LAYOUTS if raw else "rename them with dataset.rename_column"
        raise ValueError(
            f"{source} has the columns {split.column_names}, expected image and annotation: "
            f"{way_out}"
        )
    kept = ["image", "annotation", *({_CATEGORY} & set(split.column_names))]
    split = split.select_columns(kept)
    return split.cast_column("image", ImageFile()).cast_column("annotation", MaskFile())
