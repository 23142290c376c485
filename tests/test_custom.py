"""A data set of one's own, from files to a trained model: labels, splits, formats, training."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import DatasetDict, load_dataset
from PIL import Image
from samples import draw_blocks, save_encoder, small_model, small_processor, small_profile
from torchvision.datasets import OxfordIIITPet

from helpers.ade20k import IGNORE_INDEX
from helpers.custom.dataset import (
    class_palette,
    make_dataset,
    read_id2label,
    write_id2label,
    write_parquet,
)
from helpers.custom.masks import labels_from_colors, labels_from_values, report_pairs
from helpers.custom.pairs import find_pairs
from helpers.data import check_scenes, load_scenes, warn_of_unseen_classes
from helpers.inference.predict import load_model, segment
from helpers.toy import fruit
from helpers.training.recipe import build_model, build_trainer
from helpers.transforms import load_image_processor, make_eval_transform
from tools import oxford_pets as pets

ID2LABEL = {0: "background", 1: "apple", 2: "pear"}
SIZE = (40, 30)


def draw_mask(seed: int, labels: int = 3) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, labels, (3, 4)).astype(np.uint8)
    return Image.fromarray(np.kron(values, np.ones((10, 10), dtype=np.uint8)))


@pytest.fixture
def pairs(tmp_path: Path) -> list[tuple[Path, Path]]:
    """Ten pairs of files, masks of values 0-2."""
    folder = tmp_path / "files"
    folder.mkdir()
    files = [(folder / f"{seed}.jpg", folder / f"{seed}.png") for seed in range(10)]
    for seed, (image, mask) in enumerate(files):
        draw_blocks(seed, SIZE)[0].save(image)
        draw_mask(seed).save(mask)
    return files


# --- label names ----------------------------------------------------------------------------------


def test_label_names_come_back_as_they_went_but_json_alone_makes_strings(tmp_path: Path) -> None:
    file = tmp_path / "id2label.json"
    write_id2label(file, {1: "pêche", 0: "background"})
    assert list(json.loads(file.read_text(encoding="utf-8"))) == ["0", "1"]
    assert read_id2label(file) == {0: "background", 1: "pêche"}


def test_spaces_around_names_are_dropped(tmp_path: Path) -> None:
    file = tmp_path / "id2label.json"
    file.write_text('{"1": "bed ", "0": "wall"}')
    assert list(read_id2label(file).items()) == [(0, "wall"), (1, "bed")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"1": "a", "2": "b"}', r"labels are \[1, 2\], expected 0 to 1 without gaps"),
        ('{"0": "a", "2": "b"}', r"labels are \[0, 2\], expected 0 to 1 without gaps"),
        ('{"0": "a", "1": "a"}', "two labels are named 'a'"),
        ('{"cat": 0}', "holds no label names"),
        ('["cat", "dog"]', "holds no label names"),
        ("{}", r"labels are \[\]"),
        ("not json", "holds no label names"),
    ],
)
def test_bad_label_names_are_refused(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "id2label.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=told) as error:
        read_id2label(file)
    assert str(file) in str(error.value)


def test_bad_label_names_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without gaps"):
        write_id2label(tmp_path / "id2label.json", {1: "cat"})
    assert not (tmp_path / "id2label.json").exists()


# --- splits and files -----------------------------------------------------------------------------


def test_the_same_seed_draws_the_same_split(pairs: list[tuple[Path, Path]]) -> None:
    first, again, other = (make_dataset(pairs, 0.3, seed) for seed in (1, 1, 2))
    assert {name: len(split) for name, split in first.items()} == {"train": 7, "validation": 3}
    fingerprints = [
        [np.asarray(mask).tobytes() for mask in data["validation"]["annotation"]]
        for data in (first, again, other)
    ]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert first["train"].features == datasets.Features(
        image=datasets.Image(), annotation=datasets.Image()
    )


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pairs_are_refused(pairs: list[tuple[Path, Path]], count: int) -> None:
    with pytest.raises(ValueError, match=f"there are {count} pairs, expected at least 2"):
        make_dataset(pairs[:count])


def test_a_parquet_data_set_outlives_the_files_it_was_made_of(
    pairs: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    dataset = make_dataset(pairs)
    expected = {name: [np.asarray(m) for m in dataset[name]["annotation"]] for name in dataset}
    dataset["train"].to_parquet(tmp_path / "paths-only.parquet")
    write_parquet(dataset, tmp_path / "own", ID2LABEL)
    shutil.rmtree(pairs[0][0].parent)
    back = load_dataset(str(tmp_path / "own"))
    assert {name: len(split) for name, split in back.items()} == {"train": 8, "validation": 2}
    for name, masks in expected.items():
        for mask, row in zip(masks, back[name], strict=True):
            assert (np.asarray(row["annotation"]) == mask).all()
            assert row["image"].size == SIZE
    assert read_id2label(tmp_path / "own" / "id2label.json") == ID2LABEL
    # Why `write_parquet`: the library's own call stores paths, which lead nowhere now.
    lost = load_dataset("parquet", data_files=str(tmp_path / "paths-only.parquet"), split="train")
    with pytest.raises(FileNotFoundError):
        lost[0]


def test_no_path_of_this_machine_is_in_the_parquet_file(
    pairs: list[tuple[Path, Path]], tmp_path: Path
) -> None:
    write_parquet(make_dataset(pairs), tmp_path / "own", ID2LABEL)
    for file in (tmp_path / "own" / "data").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


# --- run_semantic_segmentation.py -----------------------------------------------------------------


def as_the_script_reads(folder: Path) -> tuple[DatasetDict, dict[int, str]]:
    """What transformers' run_semantic_segmentation.py does with a data set before it trains."""
    dataset = load_dataset(str(folder))
    if "pixel_values" in dataset["train"].column_names:
        dataset = dataset.rename_columns({"pixel_values": "image"})
    if "annotation" in dataset["train"].column_names:
        dataset = dataset.rename_columns({"annotation": "label"})
    with open(folder / "id2label.json") as file:  # there: hf_hub_download of the data set's own
        id2label = {int(key): value for key, value in json.load(file).items()}
    return dataset, id2label


def script_reduces(labels: np.ndarray) -> np.ndarray:
    """What its `--do_reduce_labels` does to a mask: 0 becomes 255, k becomes k - 1."""
    labels = labels.copy()
    labels[labels == 0] = 255
    labels = labels - 1
    labels[labels == 254] = 255
    return labels


@pytest.mark.parametrize("column", ["annotation", "label"])
@pytest.mark.parametrize("reduces", [False, True])
def test_the_script_accepts_what_is_written(
    pairs: list[tuple[Path, Path]], tmp_path: Path, column: str, reduces: bool
) -> None:
    names = {0: "apple", 1: "pear"} if reduces else ID2LABEL
    dataset = make_dataset(pairs)
    if column != "annotation":
        dataset = dataset.rename_column("annotation", column)
    write_parquet(dataset, tmp_path / "own", names)
    read, id2label = as_the_script_reads(tmp_path / "own")
    # With a split "validation" of its own, the script does not draw one without a seed.
    assert set(read) == {"train", "validation"}
    assert id2label == names
    for split in read.values():
        assert {"image", "label"} <= set(split.column_names)
        assert isinstance(split.features["image"], datasets.Image)
        assert isinstance(split.features["label"], datasets.Image)
        for row in split:
            image, target = np.array(row["image"].convert("RGB")), np.array(row["label"])
            assert target.dtype == np.uint8
            assert target.shape == image.shape[:2]
            labels = script_reduces(target) if reduces else target
            assert set(np.unique(labels)) <= {*id2label, IGNORE_INDEX}
            processor = small_processor()
            ours = processor(row["image"], target, do_reduce_labels=reduces, do_resize=False)
            assert (np.asarray(ours["labels"][0]) == labels).all()


# --- a class that training never saw --------------------------------------------------------------


def test_a_class_that_training_never_saw_is_named_in_one_sentence() -> None:
    with pytest.warns(UserWarning, match="no training image shows pear, but the test") as told:
        warn_of_unseen_classes(np.array([9, 1, 0]), np.array([5, 0, 2]), ID2LABEL)
    assert len(told) == 1
    assert str(told[0].message).count("\n") == 0


def test_no_warning_where_all_that_is_tested_was_seen(recwarn: pytest.WarningsRecorder) -> None:
    warn_of_unseen_classes(np.array([9, 1, 0]), np.array([5, 0, 0]), ID2LABEL)
    assert not recwarn.list


def test_loading_scenes_warns_of_it(tmp_path: Path) -> None:
    for part, values in (("training", (1, 2)), ("validation", (1, 7))):
        for kind in ("images", "annotations"):
            (tmp_path / kind / part).mkdir(parents=True)
        annotation = Image.fromarray(np.array([values] * 8, dtype=np.uint8))
        annotation.save(tmp_path / "annotations" / part / "a.png")
        Image.new("RGB", annotation.size).save(tmp_path / "images" / part / "a.jpg")
    with pytest.warns(UserWarning, match="no training image shows road"):
        load_scenes(small_profile(tmp_path, tmp_path))


def test_a_split_without_one_labelled_pixel_is_refused(pairs: list[tuple[Path, Path]]) -> None:
    for _, mask in pairs:
        Image.new("L", SIZE, 255).save(mask)
    split = make_dataset(pairs)["train"]
    with pytest.raises(ValueError, match='no pixel of the "train" split has a class'):
        check_scenes(split, "train", num_labels=3, do_reduce_labels=False)


def test_a_value_beyond_id2label_is_named_with_its_file(pairs: list[tuple[Path, Path]]) -> None:
    values = np.array(draw_mask(3))
    values[0, 0] = 3
    Image.fromarray(values).save(pairs[3][1])
    everything = datasets.concatenate_datasets([*make_dataset(pairs).values()])
    with pytest.raises(ValueError, match="holds the value 3, expected 0-2 or 255") as error:
        check_scenes(everything, "train", num_labels=3, do_reduce_labels=False)
    assert str(pairs[3][1]) in str(error.value)


# --- background or not; training on another label set ---------------------------------------------


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.mark.parametrize(
    ("reduces", "expected"), [(False, {0, 1, 2}), (True, {255, 0, 1})], ids=["keep", "reduce"]
)
def test_label_reduction_is_the_callers_choice(
    encoder: Path, pairs: list[tuple[Path, Path]], reduces: bool, expected: set[int]
) -> None:
    processor = load_image_processor(small_profile(encoder, encoder), do_reduce_labels=reduces)
    batch = make_eval_transform(processor)(make_dataset(pairs)["train"][:])
    assert set(batch["labels"].unique().tolist()) == expected


@pytest.mark.parametrize("reduces", [False, True])
def test_another_label_set_trains_saves_and_loads(
    encoder: Path, pairs: list[tuple[Path, Path]], tmp_path: Path, reduces: bool
) -> None:
    id2label = {0: "apple", 1: "pear"} if reduces else ID2LABEL
    data = make_dataset(pairs)
    trainer = build_trainer(
        small_profile(encoder, encoder),
        DatasetDict(train=data["train"], test=data["validation"]),
        tmp_path / "checkpoints",
        id2label=id2label,
        do_reduce_labels=reduces,
    )
    trainer.train()
    labelled = np.stack([np.asarray(m) for m in data["validation"]["annotation"]])
    counts = trainer.compute_metrics.matrix.counts
    assert counts.shape == (len(id2label), len(id2label))
    assert trainer.model.config.id2label == id2label
    assert trainer.model.config.label2id == {name: label for label, name in id2label.items()}
    # Whether background pixels are counted tells the two outcomes apart.
    share = counts.sum() / (len(data["validation"]) * 32 * 32)
    assert share == pytest.approx((labelled > 0).mean() if reduces else 1, abs=0.05)
    trainer.save_model(str(tmp_path / "model"))
    model, processor = load_model(tmp_path / "model", len(id2label), do_reduce_labels=reduces)
    assert processor.do_reduce_labels == reduces
    assert segment(data["train"][0]["image"], model, processor).max() < len(id2label)
    with pytest.raises(ValueError, match=f"predicts {len(id2label)} labels, the data has 150"):
        load_model(tmp_path / "model")


def test_a_finished_model_with_other_labels_is_no_encoder(tmp_path: Path) -> None:
    small_model(num_labels=4).save_pretrained(tmp_path)
    profile = replace(small_profile(tmp_path, tmp_path), encoder=str(tmp_path))
    with pytest.raises(ValueError, match="predicts 4 labels, the data has 3"):
        build_model(profile, id2label=ID2LABEL)


def test_one_output_cannot_tell_two_classes_apart() -> None:
    """Why a binary task has two labels: the argmax over one channel is always 0."""
    model = small_model(num_labels=1)
    label_map = segment(draw_blocks(0, SIZE)[0], model, small_processor())
    assert (label_map == 0).all()


# --- colours --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 9, 40])
def test_each_class_has_a_color_of_its_own(count: int) -> None:
    palette = class_palette(count)
    assert palette.shape == (count, 3)
    assert palette.dtype == np.uint8
    assert len({tuple(color) for color in palette.tolist()}) == count


# --- the drawn fruit ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fruit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fruit.write_fruit_folder(tmp_path_factory.mktemp("fruit"), 40)


def test_fruit_is_drawn_the_same_each_time_and_holds_every_class() -> None:
    first, again = fruit.draw_fruit(3), fruit.draw_fruit(3)
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(first, again, strict=True))
    present = np.bincount(
        np.concatenate([np.asarray(fruit.draw_fruit(s)[1]).ravel() for s in range(8)])
    )
    assert len(present) == len(fruit.CLASSES)
    assert (present > 0).all()


def test_the_fruit_folder_has_the_flaws_it_promises(fruit_folder: Path) -> None:
    found = find_pairs(fruit_folder / "images", fruit_folder / "masks")
    assert len(found.pairs) == 39
    told = report_pairs(found, dict(enumerate(fruit.CLASSES)))
    kinds = ["value 7", "cannot be read", *["mode RGB"] * 5, "is 128 x 96"]
    kinds += ["no mask of its name", "no image of its name"]
    assert len(told.problems) == len(kinds)
    for kind, problem in zip(kinds, told.problems, strict=True):
        assert kind in problem
    assert set(told.files["mask_mode"]) == {"L", "P", "RGB"}
    assert {"RGB", "L"} <= set(told.files["image_mode"])
    assert any(name.endswith(".JPG") for name in told.files["image"])


def test_converted_fruit_masks_are_those_that_were_drawn(fruit_folder: Path) -> None:
    for number in (25, 32):  # a palette PNG, a colour-coded one
        with Image.open(fruit_folder / "masks" / f"fruit_{number}.png") as mask:
            labels = (
                labels_from_colors(mask, fruit.COLORS)
                if mask.mode == "RGB"
                else labels_from_values(mask)
            )
        assert (np.asarray(labels) == np.asarray(fruit.draw_fruit(number)[1])).all()


# --- Oxford-IIIT Pet ------------------------------------------------------------------------------


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
    id2label = read_id2label(folder / "id2label.json")
    assert id2label == {0: "pet", 1: "background", 2: "border"}
    found = find_pairs(folder / "images", folder / "masks")
    told = report_pairs(found, id2label)
    assert (len(found.pairs), told.problems) == (8, [])
    for _, mask in found.pairs:
        number = int(mask.stem.split("_")[1])
        with Image.open(mask) as labels:
            assert (np.asarray(labels) == np.asarray(draw_pet(number)[1]) - 1).all()


def test_unconverted_trimaps_are_refused(pet_root: Path) -> None:
    base = pet_root / "oxford-iiit-pet"
    found = find_pairs(base / "images", base / "annotations" / "trimaps")
    told = report_pairs(found, pets.ID2LABEL)
    assert told.files["problem"].str.contains("holds the value 3, expected 0-2 or 255").all()
    assert told.problems[-1].startswith("no mask shows pet, background, border")


def test_the_command_writes_pets_of_all_breeds_and_says_what_to_set(
    pet_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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


def test_without_a_network_the_pets_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing listens there: the download itself is torchvision's, on a dead address.
    dead = [("http://127.0.0.1:9/images.tar.gz", "0" * 32)]
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", dead)
    assert pets.main(["--output", str(tmp_path / "pets")]) == 1
    assert "Oxford-IIIT Pet cannot be downloaded" in capsys.readouterr().err
