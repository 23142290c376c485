"""The bundled photographs: their masks, splits, sources and sizes, and the tool that makes them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.data import load_scenes
from helpers.labels import ADE20K, Labels
from helpers.profiles import get_profile
from tools.photos import dataset
from tools.photos.dataset import FOLDER, PHOTOGRAPHS, SPLITS, read_photographs
from tools.photos.masks import LABELS, SECOND, draw_mask, read_polygons

SIDE = 20


@pytest.fixture(scope="module")
def photographs() -> dict[str, tuple[Image.Image, np.ndarray]]:
    return read_photographs()


def test_stored_masks_are_those_that_the_polygons_draw(photographs) -> None:
    polygons = read_polygons()
    assert polygons.keys() == photographs.keys() == PHOTOGRAPHS.keys()
    for name, (image, mask) in photographs.items():
        assert np.array_equal(draw_mask(polygons[name], image), mask), name


def in_split(name: str, split: str) -> bool:
    return PHOTOGRAPHS[name]["split"] == split


def test_course_reads_them_with_their_third_split(photographs) -> None:
    profile = replace(get_profile("tiny"), dataset=str(FOLDER))
    scenes = load_scenes(profile, splits=("train", "test", "third"))
    assert [len(split) for split in scenes.values()] == [12, 4, 6]
    assert profile.labels == Labels.load(FOLDER) == LABELS
    assert not profile.labels.reduce
    for label, name in LABELS.id2label.items():
        assert LABELS.colors[label] == ADE20K.colors[ADE20K.short_names.index(name)]
    for theirs, split in zip(scenes.values(), SPLITS, strict=True):
        ours = [mask for name, (_, mask) in photographs.items() if in_split(name, split)]
        for one, mask in zip(theirs["annotation"], ours, strict=True):
            assert np.array_equal(one, mask)


def test_card_says_what_is_measured_and_whose_photographs_these_are(photographs) -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert dataset.measured_tables(photographs) in card
    for photo in PHOTOGRAPHS.values():
        assert all(photo[key] for key in ("author", "license", "package", "file", "sha256"))
    assert set(read_polygons(SECOND)) < PHOTOGRAPHS.keys()


def test_later_shapes_lie_over_earlier_ones_and_ignore_over_all() -> None:
    image = Image.new("RGB", (SIDE, SIDE), (0, 0, 200))
    image.paste((0, 0, 90), (0, 0, SIDE // 2, SIDE))
    everything = [-1, -1, SIDE, -1, SIDE, SIDE, -1, SIDE]
    right = [15, -1, SIDE, -1, SIDE, SIDE, 15, SIDE]
    corner = [0, 0, 2, 0, 2, 2, 0, 2]
    mask = draw_mask([["ignore", corner], ["tree/sky", 150, everything], ["road", right]], image)
    tree, sky, road = (LABELS.label2id[name] for name in ("tree", "sky", "road"))
    row = [tree] * 10 + [sky] * 5 + [255, 255] + [road] * 3
    assert mask[10].tolist() == row  # a rim along the polygon, on the side without a threshold
    assert np.all(mask[:3, :3] == 255)
    assert mask[4, 4] == tree


def test_a_missing_or_other_package_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"mvtb_data.* mvtb-data 1\.6\.1 from PyPI"):
        dataset.read_source(tmp_path, "campus_491")
    (tmp_path / dataset.PACKAGES["mvtb-data"]["file"]).write_bytes(b"another")
    with pytest.raises(ValueError, match=r"mvtb_data.* has the SHA-256 .*, expected 0ca9c30e"):
        dataset.read_source(tmp_path, "campus_491")
