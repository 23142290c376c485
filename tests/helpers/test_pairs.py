"""Images and masks paired by name, what is left out of it, and splits that a model can trust."""

import os
from itertools import chain
from pathlib import Path

import pytest
from datasets import Dataset

from helpers.images import SUFFIXES
from helpers.pairs import check_splits, equal_files, files_below, find_pairs, split_pairs
from scripts.sources import find_sources


def touch(folder: Path, *names: str) -> Path:
    """Files that differ, of no content that pairing would look at."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode(errors="surrogateescape"))
    return folder


def found(folder: Path, **options: object) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Pairs, files alone, and files left out, by what they are called below folders a and b."""
    masks = folder / "b" if (folder / "b").is_dir() else folder / "a"
    there = find_pairs(folder / "a", masks, **options)

    def called(files: list[Path]) -> list[str]:
        return [file.relative_to(folder).as_posix() for file in files]

    pairs = [tuple(called([*pair])) for pair in there.pairs]
    return pairs, called([*there.images_alone, *there.masks_alone]), called(there.left_out)


def test_a_missing_mask_shifts_two_sorts_but_no_pair(tmp_path: Path) -> None:
    touch(tmp_path, "a/0.jpg", "a/1.jpg", "a/2.jpg", "b/0.png", "b/2.png", "b/3.png")
    pairs, alone, left_out = found(tmp_path)
    assert pairs == [("a/0.jpg", "b/0.png"), ("a/2.jpg", "b/2.png")]
    assert (alone, left_out) == (["a/1.jpg", "b/3.png"], [])


def test_every_image_that_is_segmented_is_paired_too(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{part}/{end[1:]}{end}" for part in "ab" for end in SUFFIXES))
    assert [pair[0] for pair in found(tmp_path)[0]] == sorted(f"a/{e[1:]}{e}" for e in SUFFIXES)
    paths = [source.path for source in find_sources([str(tmp_path / "a")])]
    assert sorted(paths) == sorted((tmp_path / "a").iterdir())


def test_names_that_differ_in_case_extension_or_accents_belong_together(tmp_path: Path) -> None:
    names = {
        "Cat.JPG": "cAT.tif",
        "caf\u00e9.jpg": "cafe\u0301.png",  # é as one letter, and as macOS writes it
        "写真\u3000[1] (a)*?.jpg": "写真\u3000[1] (a)*?.png",
        "at::10.00.00\u202fAM.png": "at::10.00.00\u202fAM.png",
    }
    expected = {(f"a/{image}", f"b/{mask}") for image, mask in names.items()}
    touch(tmp_path, *chain(*expected))
    pairs, alone, left_out = found(tmp_path)
    assert ({*pairs}, alone, left_out) == (expected, [], [])


@pytest.mark.parametrize("twins", [("a/0.jpg", "a/0.png"), ("b/0.png", "b/0.tif")])
def test_two_files_with_one_partner_are_refused_until_one_is_dropped(
    tmp_path: Path, twins: tuple[str, str]
) -> None:
    touch(tmp_path, "a/0.jpg", "b/0.png", *twins)
    first, second = (Path(twin).name for twin in twins)
    with pytest.raises(ValueError, match=f"{first} and {second} would share one partner"):
        found(tmp_path)
    pairs, alone, left_out = found(tmp_path, drop=[str(tmp_path / twins[1])])
    assert (pairs, alone, left_out) == ([("a/0.jpg", "b/0.png")], [], [])


@pytest.mark.parametrize(
    ("image", "mask", "names"),
    [
        ("a/city/*.jpg", "b/city/*.png", {}),
        ("a/*.jpg", "a/masks/*.png", {"masks": "a/masks"}),
        ("a/image_*.png", "b/mask_*.png", {"image_name": "image_*", "mask_name": "mask_*"}),
        ("a/*_sat.jpg", "a/*_mask.png", {"image_name": "*_sat", "mask_suffix": "_mask"}),
        ("a/train/*.jpg", "a/train/*_mask.png", {"mask_suffix": "_mask"}),
        ("a/*.jpg", "a/*.png", {"mask_name": "*.png"}),
        ("a/*.png", "a/*_L.png", {"image_name": "*", "mask_name": "*_l"}),
        (
            "a/train/ulm/ulm_*_leftImg8bit.png",
            "b/train/ulm/ulm_*_gtFine_labelIds.png",
            {"image_name": "*_leftImg8bit", "mask_name": "*_gtFine_labelIds"},
        ),
    ],
)
def test_names_of_tools_pair(tmp_path: Path, image: str, mask: str, names: dict) -> None:
    masks = tmp_path / names.pop("masks", mask[0])
    for number in "012":
        touch(tmp_path, image.replace("*", number), mask.replace("*", number))
    if "gtFine" in mask:
        touch(tmp_path, mask.replace("*", "0").replace("labelIds", "instanceIds"))
    there = find_pairs(tmp_path / "a", masks, **names)
    assert there.images_alone == there.masks_alone == []
    assert there.pairs == [
        (tmp_path / image.replace("*", k), tmp_path / mask.replace("*", k)) for k in "012"
    ]


def test_files_beside_sub_folders_and_below_links_are_all_found(tmp_path: Path) -> None:
    for part, end in (("a", "jpg"), ("b", "png")):
        touch(tmp_path, f"{part}/0.{end}", f"{part}/site/1.{end}", f"else-{part}/2.{end}")
        (tmp_path / part / "site 2").symlink_to(tmp_path / f"else-{part}")
        (tmp_path / part / "site" / "up").symlink_to(tmp_path / part)  # leads round in circles
    pairs, alone, left_out = found(tmp_path)
    assert [image for image, _ in pairs] == ["a/0.jpg", "a/site 2/2.jpg", "a/site/1.jpg"]
    assert (alone, left_out) == ([], [])


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="Windows has no such permissions")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir(mode=0)
    user = os.geteuid()
    try:
        if user == 0:  # who may read all
            os.seteuid(65534)
        with pytest.raises(PermissionError, match=r"the folder .* cannot be read \(Permission"):
            files_below(tmp_path)
    finally:
        os.seteuid(user)


def test_what_is_not_paired_is_named_and_what_nobody_wrote_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "a/0.jpg", "a/notes.txt", "b/0_mask.png", "b/0_mask_1.png", "b/_classes.csv")
    hidden = ("Thumbs.db", "._0.jpg", ".hidden.png", "@eaDir/0.jpg", "__MACOSX/0.jpg")
    touch(tmp_path, *(f"{part}/{name}" for part in "ab" for name in hidden))
    pairs, alone, left_out = found(tmp_path, mask_suffix="_mask")
    assert (pairs, alone) == ([("a/0.jpg", "b/0_mask.png")], [])
    assert left_out == ["a/notes.txt", "b/0_mask_1.png", "b/_classes.csv"]


def test_what_lies_where_a_mask_should_is_paired_unless_there_is_a_mask(tmp_path: Path) -> None:
    touch(tmp_path, "a/0.jpg", "a/1.jpg", "b/0.txt", "b/1.png", "b/1.json")
    pairs, alone, left_out = found(tmp_path)
    assert pairs == [("a/0.jpg", "b/0.txt"), ("a/1.jpg", "b/1.png")]
    assert (alone, left_out) == ([], ["b/1.json"])


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({"mask_suffix": "_masks"}, r'none of the 6 files in .* named "\*_masks": .* 0_mask\.png'),
        ({}, r'mask_suffix="_mask" \(--mask-suffix _mask\), mask_name="mask_\*"'),
        ({"mask_name": "_mask"}, r'"_mask" does not say .*: expected one star, as in "\*_mask"'),
        ({"mask_suffix": "_mask", "drop": ["3.jgp"]}, "no file is named 3.jgp, to be dropped"),
    ],
)
def test_a_name_that_no_file_has_is_told(tmp_path: Path, names: dict, told: str) -> None:
    touch(tmp_path, *(f"a/{k}{end}" for k in range(3) for end in (".jpg", "_mask.png")))
    with pytest.raises(ValueError, match=told):
        found(tmp_path, **names)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*labels"):
        find_pairs(tmp_path / "a", tmp_path / "labels")


@pytest.mark.parametrize(
    ("drop", "kept"),
    [
        (["0.png"], ["x/2.jpg", "x/[1].jpg"]),  # and its image
        (["x"], ["0.jpg"]),
        (["a/x/[1].jpg"], ["0.jpg", "x/2.jpg"]),  # as a message prints it
        (["x/2.*", "0.jpg"], ["x/[1].jpg"]),
    ],
)
def test_a_dropped_file_goes_with_its_partner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drop: list[str], kept: list[str]
) -> None:
    for part, end in (("a", "jpg"), ("b", "png")):
        touch(tmp_path, *(f"{part}/{name}.{end}" for name in ("0", "x/[1]", "x/2")))
    monkeypatch.chdir(tmp_path)
    pairs, alone, left_out = found(Path(), drop=drop)
    assert ([image for image, _ in pairs], alone, left_out) == ([f"a/{k}" for k in kept], [], [])


# --- splits ---------------------------------------------------------------------------------------


@pytest.fixture
def pairs(tmp_path: Path) -> list[tuple[Path, Path]]:
    """Twenty images of four flights."""
    for number in range(20):
        name = f"flight{number // 5}/{number:02}"
        touch(tmp_path, f"a/{name}.jpg", f"b/{name}.png")
    return find_pairs(tmp_path / "a", tmp_path / "b").pairs


def test_the_draw_is_the_library_s_and_the_same_seed_draws_it_again(pairs: list) -> None:
    drawn = split_pairs(pairs, 0.25, seed=3)
    theirs = Dataset.from_dict({"k": range(20)}).train_test_split(0.25, seed=3)
    assert drawn["train"] == [pairs[k] for k in theirs["train"]["k"]]
    assert drawn["validation"] == [pairs[k] for k in theirs["test"]["k"]]
    assert drawn == split_pairs(pairs, 0.25, seed=3) != split_pairs(pairs, 0.25, seed=4)
    three = split_pairs(pairs, 0.2, 0.3)
    assert [len(three[name]) for name in ("train", "validation", "test")] == [10, 4, 6]
    assert sorted(chain(*three.values())) == pairs


@pytest.mark.parametrize("pattern", [r"flight\d", r"flight(\d)", "[^/]+/"])
def test_groups_and_equal_images_stay_together(pairs: list, pattern: str) -> None:
    drawn = split_pairs(pairs, 0.3, 0.2, pattern)
    flights = [{image.parent.name for image, _ in part} for part in drawn.values()]
    assert sorted(chain(*flights)) == [f"flight{k}" for k in range(4)]
    assert len(drawn["validation"]) == 10  # two flights, of five each: 30 % at least
    for first, second in ((0, 7), (7, 12), (3, 4)):
        pairs[second][0].write_bytes(pairs[first][0].read_bytes())
    assert sorted(map(len, equal_files([image for image, _ in pairs]))) == [2, 3]
    for drawn in (split_pairs(pairs, 0.2, 0.2), split_pairs(pairs, 0.2, 0, pattern)):
        check_splits(drawn)
        contents = [{image.read_bytes() for image, _ in part} for part in drawn.values()]
        assert sum(map(len, contents)) == len(set.union(*contents)) == 17


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"validation_fraction": 0}, r"the shares are \{'validation': 0\}, expected more than 0"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "and less than 1 together"),
        ({"group_by": "night"}, "00.jpg does not match the pattern 'night'"),
        ({"group_by": "f"}, "20, in 1 groups .* expected at least 2: .* each of train, validation"),
    ],
)
def test_splits_that_cannot_be_drawn_are_refused(pairs: list, options: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        split_pairs(pairs, **options)


def test_given_splits_that_share_an_image_are_refused(pairs: list, tmp_path: Path) -> None:
    check_splits({"train": pairs[:9], "validation": pairs[9:12], "test": pairs[12:]})
    with pytest.raises(ValueError, match=r"expected train and validation .* validation has none"):
        check_splits({"train": pairs, "validation": []})
    with pytest.raises(ValueError, match=r'01\.jpg is in the splits "train" and "validation"'):
        check_splits({"train": pairs[:2], "validation": pairs[1:]})
    os.link(pairs[0][0], tmp_path / "again.jpg")
    (tmp_path / "link.jpg").symlink_to(pairs[1][0])
    again = [(tmp_path / name, pairs[0][1]) for name in ("again.jpg", "link.jpg")]
    with pytest.raises(ValueError, match=r"equal byte for byte, in .* There are 2 such") as error:
        check_splits({"train": pairs[:9], "validation": again})
    assert str(error.value).endswith(f"--drop {pairs[1][0]} {pairs[0][0]}")
