"""Oxford-IIIT Pet, from its original files to a folder of images and masks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import draw_blocks
from torchvision.datasets import OxfordIIITPet

from helpers.custom import find_pairs, report_pairs
from helpers.labels import Labels
from tools import oxford_pets as pets


def draw_pet(seed: int) -> tuple[Image.Image, Image.Image]:
    """Something round with a border; a trimap of 1 (pet), 2 (background) and 3 (border)."""
    rows, columns = np.mgrid[:36, :48]
    distance = np.hypot(rows - 18, columns - 20 - seed)
    trimap = np.select([distance < 10, distance < 12], [1, 3], 2).astype(np.uint8)
    return draw_blocks(seed, (48, 36))[0], Image.fromarray(trimap)


@pytest.fixture
def pet_root(tmp_path: Path) -> Path:
    """The unpacked archives' layout, torchvision's `root`: see annotations/README there."""
    base = tmp_path / "root" / "oxford-iiit-pet"
    for part in ("images", "annotations/trimaps", "annotations/xmls"):
        (base / part).mkdir(parents=True)
    breeds = [("Abyssinian", 1, 1), ("beagle", 5, 2)]  # cats in upper case, dogs in lower
    lines = {"trainval": [], "test": []}
    for number in range(1, 7):
        for breed, breed_id, species in breeds:
            image, trimap = draw_pet(number)
            name = f"{breed}_{number}"
            image.save(base / "images" / f"{name}.jpg")
            trimap.save(base / "annotations" / "trimaps" / f"{name}.png")
            # What macOS left in the real archive.
            (base / "annotations" / "trimaps" / f"._{name}.png").write_bytes(b"\0\5\x16\7")
            lines["trainval" if number <= 4 else "test"].append(f"{name} {breed_id} {species} 1")
    for split, rows in lines.items():
        (base / "annotations" / f"{split}.txt").write_text("\n".join(sorted(rows)) + "\n")
    everything = sorted(lines["trainval"] + lines["test"])
    (base / "annotations" / "list.txt").write_text(
        "#Image CLASS-ID SPECIES BREED ID\n" + "\n".join(everything) + "\n"
    )
    return tmp_path / "root"


def test_trimaps_become_a_folder_that_the_course_reads(pet_root: Path, tmp_path: Path) -> None:
    assert len(OxfordIIITPet(pet_root, "trainval", "segmentation", download=False)) == 8
    folder = tmp_path / "pets"
    assert pets.write_pet_folder(pet_root, folder) == 8
    labels = Labels.load(folder)
    assert labels.names == ("pet", "background", "border")
    found = find_pairs(folder / "images", folder / "masks")
    assert (len(found.pairs), report_pairs(found, labels).problems) == (8, [])
    for _, mask in found.pairs:
        number = int(mask.stem.split("_")[1])
        with Image.open(mask) as written:
            assert (np.asarray(written) == np.asarray(draw_pet(number)[1]) - 1).all()


def test_unconverted_trimaps_are_refused(pet_root: Path) -> None:
    base = pet_root / "oxford-iiit-pet"
    found = find_pairs(base / "images", base / "annotations" / "trimaps")
    told = report_pairs(found, pets.LABELS)
    assert told.files["problem"].str.contains("holds the value 3, expected 0-2, or 255").all()
    assert told.problems[0].endswith(": --reduce: the classes are 1 to n, and 0 is none")


def test_the_command_writes_pets_of_all_breeds_and_says_what_to_set(
    pet_root, tmp_path, capsys
) -> None:
    folder = tmp_path / "pets"
    options = ["--output", str(folder), "--root", str(pet_root), "--no-download"]
    assert pets.main([*options, "--max-images", "4"]) == 0
    assert "4 pairs: set FOLDER = " in capsys.readouterr().out
    written = {file.name.split("_")[0] for file in (folder / "images").iterdir()}
    assert written == {"Abyssinian", "beagle"}
    assert pets.main([*options, "--split", "test"]) == 0
    assert "4 pairs" in capsys.readouterr().out


def test_missing_pets_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--output", str(tmp_path / "pets"), "--no-download"]
    assert pets.main(options) == 1
    assert "there is no data set in" in capsys.readouterr().err


def test_without_a_network_the_pets_say_so(tmp_path, monkeypatch, capsys) -> None:
    # Nothing listens there: the download itself is torchvision's, on a dead address.
    dead = [("http://127.0.0.1:9/images.tar.gz", "0" * 32)]
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", dead)
    assert pets.main(["--output", str(tmp_path / "pets")]) == 1
    assert "Oxford-IIIT Pet cannot be downloaded" in capsys.readouterr().err
