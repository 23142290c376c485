"""Oxford-IIIT Pet as a folder of images and masks, which notebook 07 takes as `FOLDER`.

`python -m tools.oxford_pets --output pets` downloads it (about 800 MB) and converts its trimaps.
The data set: Parkhi, Vedaldi, Zisserman, Jawahar, "Cats and dogs", CVPR 2012; CC BY-SA 4.0.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from helpers.custom import labels_from_values
from helpers.labels import Labels
from helpers.processes import progress

LABELS = Labels(["pet", "background", "border"])
"""The trimaps number them from 1."""

_VALUES = {1: 0, 2: 1, 3: 2}


def write_pet_folder(
    root: Path,
    folder: Path,
    split: str = "trainval",
    max_images: int | None = None,
    download: bool = False,
) -> int:
    """Write `images/`, `masks/` (values 0-2) and the labels from the original files.

    Args:
        root: `torchvision.datasets.OxfordIIITPet`'s: holds `oxford-iiit-pet/`.
        folder: where to write; files of the same names are replaced.
        split: "trainval" (3,680 images) or "test" (3,669).
        max_images: so many, evenly spread over the breeds; None: all.
        download: fetch what is not there.

    Returns:
        How many pairs were written.

    Raises:
        FileNotFoundError: the data set is not there, and `download` is False.
        ConnectionError: it cannot be downloaded.
        ValueError: a trimap holds something else than 1, 2 and 3.
    """
    from torchvision.datasets import OxfordIIITPet

    try:
        pets = OxfordIIITPet(root, split, target_types="segmentation", download=download)
    except RuntimeError as error:
        raise FileNotFoundError(
            f"there is no data set in {Path(root) / 'oxford-iiit-pet'} ({error})"
        ) from error
    except OSError as error:
        if not download:
            raise
        raise ConnectionError(
            f"Oxford-IIIT Pet cannot be downloaded ({error}): connect to a network, or put images/ "
            f"and annotations/ of its archives into {Path(root) / 'oxford-iiit-pet'}"
        ) from error
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    count = min(len(pets), max_images or len(pets))
    # The list goes breed by breed, so the first images alone would be of one.
    for index in progress([i * len(pets) // count for i in range(count)], "Converting trimaps"):
        _, trimap = pets[index]
        name = Path(trimap.filename).stem
        labels_from_values(trimap, _VALUES).save(folder / "masks" / f"{name}.png")
        source = Path(root) / "oxford-iiit-pet" / "images" / f"{name}.jpg"
        shutil.copyfile(source, folder / "images" / source.name)
    LABELS.save(folder)
    return count


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.oxford_pets", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--root", type=Path, help="where the archives are unpacked (OUTPUT/source)")
    parser.add_argument("--split", choices=("trainval", "test"), default="trainval")
    parser.add_argument("--max-images", type=int, metavar="N", help="so many over all breeds")
    parser.add_argument("--no-download", action="store_true", help="take what is there already")
    parser.add_argument("--max-pictures", type=int, dest="max_images", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.max_images is not None and options.max_images < 1:
        parser.error(f"--max-images is {options.max_images}: expected at least 1")
    root = options.root or options.output / "source"
    try:
        count = write_pet_folder(
            root, options.output, options.split, options.max_images, not options.no_download
        )
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f'{count} pairs: set FOLDER = "{options.output}" and CLASSES = {[*LABELS.names]}')
    return 0


if __name__ == "__main__":
    sys.exit(main())
