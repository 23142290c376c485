"""Scenes in, `DatasetDict` out: the bundled toy set, a folder in ADE20K's layout, or the Hub.

Whatever the source, `load_scenes` gives splits "train" and "test" with the columns

* `image`: PIL picture (of any mode: call `to_rgb` before using it);
* `annotation`: PIL, one channel, annotation values 0-150 (0 = other);
* `scene_category`: ClassLabel.
"""

from __future__ import annotations

import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from helpers.ade20k import NUM_LABELS
from helpers.network import explained
from helpers.profiles import Profile
from helpers.progress import progress

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

COLUMNS = ["image", "annotation", "scene_category"]
_ORIENTATION = 0x0112  # EXIF tag: how the camera was held
_LAYOUTS = (
    "A data folder holds either images/{training,validation} and annotations/{training,validation},"
    " or Parquet files of the splits train and validation, neither of them empty."
)


def load_scenes(profile: Profile, check: bool = True) -> DatasetDict:
    """Load a profile's data as splits "train" and "test".

    Args:
        profile: its `dataset` is a folder in ADEChallengeData2016 layout, a local data set, or
            a Hub id; its `max_pictures`, where given, are split anew with its `seed`.
        check: decode every picture and annotation once, so that a broken file is named now
            and not hours later, in the middle of training.

    Raises:
        FileNotFoundError: a folder, or the partner of a picture, is missing.
        ConnectionError: the Hub is needed and cannot be reached.
        ValueError: a split is empty, or a picture and its annotation do not fit together.
    """
    source = Path(profile.dataset)
    if source.is_absolute() and not source.is_dir():
        raise FileNotFoundError(f"there is no data folder {source}: check SEG_DATA")
    if (source / "images").is_dir() or (source / "annotations").is_dir():
        scenes = _load_ade_folder(source)
    elif profile.max_pictures is not None and not source.is_dir():
        scenes = _load_first(profile)
    else:
        scenes = _load_all(profile)
    for name, split in scenes.items():
        if len(split) == 0:
            raise ValueError(
                f'the "{name}" split of {profile.dataset} is empty: expected at least one picture'
            )
        if check:
            check_scenes(split, name)
    return scenes


def to_rgb(image: Image.Image) -> Image.Image:
    """A picture as the models expect it: RGB, upright as its EXIF orientation says.

    ADE20K holds some greyscale pictures, on which the image processor raises; photographs
    from phones are often stored lying on their side.
    """
    image = ImageOps.exif_transpose(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def check_scenes(split: Dataset, name: str) -> None:
    """Decode each pair once; raise ValueError naming the first broken one.

    Args:
        split: columns `image` and `annotation` with the `datasets.Image` feature.
        name: of the split, for messages about pictures without a file name.
    """
    from datasets import Image as ImageFeature

    undecoded = split.select_columns(["image", "annotation"])
    for column in ("image", "annotation"):
        undecoded = undecoded.cast_column(column, ImageFeature(decode=False))

    def check(index: int) -> None:
        row = undecoded[index]
        _check_pair(row["image"], row["annotation"], f"{name}[{index}]")

    # Threads: Pillow decodes without holding the interpreter's lock.
    with ThreadPoolExecutor() as pool:
        results = pool.map(check, range(len(undecoded)))
        # A bar where it takes long enough to wonder; for a few hundred pictures it does not.
        for _ in progress(results, f"Checking {name}", len(undecoded), delay=2):
            pass


def _check_pair(image: dict[str, Any], annotation: dict[str, Any], place: str) -> None:
    picture_name, mask_name = (
        f"{kind} {_file_name(cell) or place}"
        for kind, cell in (("picture", image), ("annotation", annotation))
    )
    picture, mask = _decode(image, picture_name), _decode(annotation, mask_name)
    size = picture.size
    if picture.getexif().get(_ORIENTATION, 1) >= 5:  # 5-8: turned by a quarter
        size = size[::-1]
    if mask.mode not in ("L", "P"):
        raise ValueError(
            f"{mask_name} has mode {mask.mode}, expected one 8-bit channel (mode L or P) whose "
            f"values are classes, 0-{NUM_LABELS}. Convert colour-coded or 16-bit masks first."
        )
    if mask.size != size:
        raise ValueError(
            f"{mask_name} is {mask.size[0]} x {mask.size[1]} pixels, its picture {size[0]} x "
            f"{size[1]}: expected equal sizes. Resize annotations by nearest neighbour."
        )
    highest = int(np.asarray(mask).max())
    if highest > NUM_LABELS:
        raise ValueError(
            f"{mask_name} holds the value {highest}, expected 0-{NUM_LABELS} (0 = other). "
            "A 255 there often means that the labels were reduced already."
        )


def _decode(cell: dict[str, Any], name: str) -> Image.Image:
    """Open and fully decode one undecoded `datasets.Image` cell."""
    if not cell:
        raise ValueError(f"{name} is missing: each picture needs an annotation")
    try:
        image = Image.open(io.BytesIO(cell["bytes"]) if cell["bytes"] else cell["path"])
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{name} cannot be read ({error}). The file is damaged or incomplete: fetch it "
            "again, or remove it together with its partner."
        ) from error
    return image


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
    """Pair pictures with annotations of the same name; both folders must match completely."""
    for folder in (images, annotations):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"there is no folder {folder}: expected images/training, images/validation, "
                "annotations/training and annotations/validation, as ADEChallengeData2016 has them"
            )
    suffixes = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
    pictures: dict[str, Path] = {}
    for file in sorted(images.iterdir()):
        if file.suffix.lower() not in suffixes:
            continue
        if (twin := pictures.setdefault(file.stem, file)) != file:
            raise ValueError(
                f"{twin} and {file.name} would share one annotation: pictures and annotations "
                "are paired by name, so give one of them another"
            )
    masks = {file.stem: file for file in annotations.iterdir() if file.suffix.lower() == ".png"}
    if lonely := sorted(pictures.keys() ^ masks.keys()):
        stem = lonely[0]
        there, missing = (
            (pictures[stem], annotations) if stem in pictures else (masks[stem], images)
        )
        raise FileNotFoundError(
            f"{there} has no partner named {stem} in {missing} ({len(lonely)} such files): "
            "pictures and annotations are paired by name"
        )
    return [(pictures[stem], masks[stem]) for stem in sorted(pictures)]


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
    """The first pictures of the training split, streamed: no need to fetch gigabytes for 50."""
    from datasets import Dataset, config, load_dataset
    from datasets import Image as ImageFeature

    # The Hub's client tries five times as it is; twenty times that could go on for an hour.
    config.STREAMING_READ_MAX_RETRIES = config.STREAMING_OPEN_MAX_RETRIES = 1
    with explained(profile.dataset):
        stream = load_dataset(profile.dataset, split="train", streaming=True)
        features = stream.features
        for column in ("image", "annotation"):  # keep the files' bytes, do not encode anew
            stream = stream.cast_column(column, ImageFeature(decode=False))
        rows = list(stream.take(profile.max_pictures))
    pictures = _only_our_columns(Dataset.from_list(rows, features=features), profile.dataset)
    # The seed matters: a split drawn anew at inference would test on training pictures.
    return pictures.train_test_split(test_size=profile.test_fraction, seed=profile.seed)


def _only_our_columns(split: Dataset, source: str) -> Dataset:
    missing = set(COLUMNS) - set(split.column_names)
    if missing:
        raise ValueError(
            f"{source} has the columns {split.column_names}, expected {COLUMNS}: rename them "
            "with dataset.rename_column"
        )
    return split.select_columns(COLUMNS)
