"""`scripts.prepare`: what it says settles what it refuses, and the rest becomes a data set."""

import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

from helpers.labels import Labels
from helpers.pairs import groups_by_name
from helpers.profiles import REPOSITORY
from scripts import segment
from scripts.prepare import _neighbors, main

SIZE = (48, 36)
CLASSES = {2: "table,fruit", 3: "table,apple,pear"}


def write(
    folder: Path, values: list, numbers: range = range(6), end: str = "jpg", sub: str = ""
) -> Path:
    """Pairs of files; the masks hold these values, or colors, all of them in each."""
    for number in numbers:
        random = np.random.default_rng(number)
        index = random.integers(0, len(values), (6, 8))
        index[0, : len(values)] = range(len(values))
        mask = np.array(values, dtype=np.uint8)[np.kron(index, np.ones((6, 6), dtype=int))]
        image = random.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
        for part, ending, content in (("images", end, image), ("masks", "png", mask)):
            (folder / part / sub).mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(folder / part / sub / f"{number}.{ending}")
    return folder


def stored(data: Path) -> dict[str, list[np.ndarray]]:
    """The label maps of each split."""
    return {
        name: [np.asarray(mask) for mask in split["annotation"]]
        for name, split in load_dataset(str(data)).items()
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the reader stands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def status_of(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as stop:  # argparse's
        return stop.code


# --- following what is printed --------------------------------------------------------------------


def halve(folder: Path) -> None:
    for file in [*(folder / "masks").iterdir()][:3]:
        mask = Image.open(file)
        mask.resize((SIZE[0] // 2, SIZE[1] // 2), Image.Resampling.NEAREST).save(file)


def part(folder: Path) -> None:
    (folder / "masks" / "1.png").unlink()
    (folder / "masks" / "2.png").unlink()
    (folder / "images" / "3.jpg").unlink()


def empty(folder: Path) -> None:
    for number in (0, 4):
        Image.new("L", SIZE, 255).save(folder / "masks" / f"{number}.png")


REMEDIES = {
    "0 and 255": ([0, 255], 2, None, ["--values", "0,255"]),
    "other values": ([0, 100, 200], 3, None, ["--values", "0,100,200"]),
    "1 to n": ([1, 2, 3], 3, None, ["--reduce"]),
    "1 to n and 255": ([1, 2, 3, 255], 3, None, ["--reduce", "--ignore", "255"]),
    "two of three": ([100, 200, 255], 2, None, ["--values", "100,200"]),
    "a stray 7": ([0, 1, 7], 2, None, ["--ignore", "7"]),
    "two strays": ([0, 1, 7, 9], 2, None, ["--ignore", "7,9"]),
    "half-size masks": ([0, 1], 2, halve, ["--resize-masks"]),
    "files alone": ([0, 1], 2, part, ["--drop-unpaired"]),
    "empty masks": ([0, 1], 2, empty, ["--drop", "photos/masks/0.png", "photos/masks/4.png"]),
    "colors": ([(0, 0, 0), (9, 9, 9), (200, 30, 30)], 3, None, ["--colors", "FILE"]),
}


@pytest.mark.parametrize("kind", REMEDIES)
def test_what_a_refusal_prints_settles_it(here, capsys, kind: str) -> None:
    values, count, spoil, expected = REMEDIES[kind]
    folder = write(here / "photos", values)
    if spoil:
        spoil(folder)
    command = ["photos", "--classes", CLASSES[count], "--output", "data"]
    assert main(command) == 1
    told = capsys.readouterr()
    assert told.err.startswith("error: nothing was written to data: settle each problem above")
    assert not (here / "data").exists()
    # The options as a reader copies them, with what follows each.
    problems = " ".join(told.out.split("\n\n")[1].split())
    copied = r"--[a-z-]+(?: (?:--[a-z-]+|[\d,]*\d|[^ ]+\.png|FILE))*"
    options = re.search(copied, problems)[0].split()
    assert options == expected
    if kind == "colors":
        colors = re.findall(r"\d+,\d+,\d+", problems.split("for each of")[1])
        assert len(colors) == count
        names = CLASSES[count].split(",")
        lines = [f"{name},{color}" for color, name in zip(colors, names, strict=True)]
        (here / "FILE").write_text("\n".join(lines) + "\n")
    assert main([*command, *options]) == 0, capsys.readouterr()
    masks = [*chain(*stored(here / "data").values())]
    assert len(masks) == {"files alone": 3, "empty masks": 4}.get(kind, 6)
    for mask in masks:
        assert mask.shape == SIZE[::-1]
        assert {*range(count)} <= {*np.unique(mask)} <= {*range(count), 255}


def test_the_next_commands_are_filled_in_and_relative(here, capsys) -> None:
    write(here / "my photos", [0, 255])
    options = ["--classes", "table,fruit", "--values", "0,255", "--output", "sub/my data"]
    assert main([str(here / "my photos"), *options]) == 0
    out = capsys.readouterr().out
    train, then = (shlex.split(line) for line in out.splitlines() if "python -m" in line)
    assert train[:3] == ["python", "-m", "scripts.train"]
    given = dict(zip(train[3::2], train[4::2], strict=True))
    assert given["--data"] == "sub/my data"
    assert (Path(given["--data"]) / "data").is_dir()
    assert then[:3] == ["python", "-m", "scripts.segment"]
    parsed = segment._parse(then[3:])
    assert given["--output-dir"] == str(parsed.model) == "sub/my data-model"
    assert "my photos/images" in [str(place) for place in then]
    assert (here / "sub" / "my data-overlays.png").stat().st_size > 10_000
    assert "to look at: sub/my data-overlays.png" in out
    assert re.search(r"written: 4 train, 2 validation images", out)
    assert re.search(r"\d\d\.\d\d%    100%  \d+ x \d+ pixels +fruit\n", out)
    assert str(here) not in out


def test_colors_and_values_in_one_folder_are_told_apart_by_their_files(here, capsys) -> None:
    colors = [(0, 0, 0), (255, 255, 255), (200, 30, 30)]  # two of them are grey
    write(write(here / "photos", colors), [0, 1, 2], range(6, 12))
    white = Image.open(here / "photos" / "masks" / "0.png").convert("L").convert("RGB")
    white.point(lambda value: 255 * (value > 200)).save(here / "photos" / "masks" / "0.png")
    (here / "FILE").write_text("table,0,0,0\napple,255,255,255\npear,200,30,30\n")
    command = ["photos", "--classes", CLASSES[3], "--output", "data"]
    assert main(command) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "(and 5 more: 1.png, 2.png, ...): --colors FILE --values 0,1,2, with a line" in out
    assert "for each of 0,0,0 200,30,30 255,255,255" in out
    assert main([*command, "--colors", "FILE"]) == 1
    assert "holds the color (1, 1, 1)" in capsys.readouterr().out
    assert main([*command, "--colors", "FILE", "--values", "0,1,2"]) == 0
    masks = [*chain(*stored(here / "data").values())]
    assert [{*np.unique(mask)} for mask in masks].count({0, 1, 2}) == 11
    assert {0, 1} in [{*np.unique(mask)} for mask in masks]  # white is apple, and is not left out


# --- splits ---------------------------------------------------------------------------------------


def test_given_splits_stay(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def sizes() -> list[int]:
        return [len(part) for part in stored(here / "data").values()]

    for split, numbers in (("train", range(5)), ("val", range(5, 7)), ("Test", range(7, 10))):
        write(here, [0, 1], numbers, sub=split)
    command = [".", "--classes", "a,b", "--output", "data"]
    assert main([*command, "--test-fraction", "0.5"]) == 0
    assert "splits are given, so that --group-by and --test-fraction" in capsys.readouterr().out
    assert sizes() == [5, 2, 3]
    shutil.copy(here / "images" / "train" / "0.jpg", here / "images" / "val" / "5.jpg")
    assert main(command) == 1
    (drop,) = re.findall(r"--drop .*", capsys.readouterr().err)
    assert main([*command, *shlex.split(drop)]) == 0
    assert sizes() == [4, 2, 3]
    shutil.rmtree(here / "images" / "val")
    assert main([*command, "--drop-unpaired"]) == 0
    assert sizes() == [4, 1, 3]  # validation images are drawn of those for training
    write(here, [0, 1], range(10, 12), sub="more")
    assert main([*command, "--drop-unpaired"]) == 1
    assert "beside them more: which split is that?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "count", "what", "grouped"),
    [
        ("{1:03}_jpg.rf.{2}", 12, "augmented copies", True),
        ("{3}_{0:05}", 12, "are numbered", True),
        ("frame_{0:05}", 60, "are numbered", True),
        ("frame_{0:05}", 12, "are numbered", False),
        ("{3}", 12, None, False),
    ],
)
def test_images_that_resemble_each_other_are_noticed_and_kept_together(name, count, what, grouped):
    new = [(k, k // 2, f"{k:08x}", "abcdefghijkl"[k % 12]) for k in range(count)]
    images = [Path(f"{name.format(*parts)}.jpg") for parts in new]
    told = " ".join(_neighbors([(image, image) for image in images]))
    assert bool(told) == (what is not None)
    assert (what or "") in told
    assert ("--group-by" in told) == grouped
    if grouped:
        (pattern,) = re.findall(r"--group-by ('.*?')", told)
        assert len({*groups_by_name(images, *shlex.split(pattern)).values()}) >= 5


def test_an_export_brings_names_and_masks_and_files_of_it_can_be_dropped(here, capsys) -> None:
    photos = write(here / "photos", [0, 1], end="png") / "images"
    shutil.rmtree(here / "photos" / "masks")
    half = [[0, 0], [24, 0], [24, 36], [0, 36]]
    for number in range(4):
        shape = {"label": "fruit", "points": half, "shape_type": "polygon"}
        outlines = {"shapes": [shape], "imagePath": f"{number}.png", "imageData": None}
        outlines |= {"imageHeight": SIZE[1], "imageWidth": SIZE[0], "version": "5.5.0", "flags": {}}
        (photos / f"{number}.json").write_text(json.dumps(outlines))
    command = ["photos", "--format", "labelme", "--output", "data"]
    assert main(command) == 1
    assert "4.png has no mask of its name (and 1 more:" in capsys.readouterr().out
    for settled in (["--drop-unpaired"], ["--drop", "photos/images/4.png", "5.png"]):
        assert main([*command, *settled]) == 0
        masks = [*chain(*stored(here / "data").values())]
        assert [mask.mean() for mask in masks] == pytest.approx([0.5] * 4, abs=0.02)
    assert main([*command, "--drop", "[345].png", "3.png"]) == 1
    assert "no file is named [345].png, to be dropped" in capsys.readouterr().err
    assert Labels.load(here / "data").names == ("background", "fruit")


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        ("", 2, "FOLDER, --output"),
        ("ok --output data", 2, "--classes is missing, as in --classes background,apple,pear"),
        ("ok --output data --classes apple", 2, "--classes is apple, expected two names or more"),
        ("ok --output data --classes a,a", 2, "--classes is a,a, expected a name of its own"),
        (
            "ok --output data --classes a,b --values 0,1,2",
            2,
            "--values has 3 different numbers and",
        ),
        ("ok --output data --classes a,b --values 0,x", 2, "expected whole numbers with commas"),
        ("ok --output data --classes a,b --values 0,1 --reduce", 2, "--values and --reduce do not"),
        ("ok --output data --format voc --mask-suffix _m", 2, "--format and --mask-suffix do not"),
        ("ok --output data --classes a,b --group-by (", 2, "'(' is no regular expression"),
        ("ok --output data --classes a,b --validation-fraction 0", 2, "--validation-fraction is 0"),
        ("ok --output . --classes a,b", 2, ". is where you stand, expected a folder below it"),
        ("ok --output ok --classes a,b", 2, "ok holds images, expected a new or empty folder"),
        ("ok --output notes.txt --classes a,b", 2, "notes.txt is a file, expected a folder"),
        ("ok --output notes.txt/data --classes a,b", 2, "notes.txt is a file, expected a folder"),
        ("ok --output a::b --classes a,b", 2, 'has "::" in its path, which load_dataset takes for'),
        ("ok --output ok/masks/data --classes a,b", 1, "lies in ok/masks, where the next run"),
        (
            "notes.txt --output data --classes a,b",
            1,
            "notes.txt is a file (unpack an archive first)",
        ),
        ("nowhere --output data --classes a,b", 1, "nowhere is not there, expected a folder"),
        (
            "ok --masks labels --output data --classes a,b",
            1,
            "ok has the folders images, masks: say",
        ),
        ("ok --masks images --output data --classes a,b", 1, "--mask-suffix _mask"),
        ("ok --output data --classes a,b --drop 9.png", 1, "no file is named 9.png, to be dropped"),
        (". --output data --classes a,b", 1, "but ok/images: move it to images/ok, and all such"),
        ("void --output data --classes a,b", 1, "there are 0 images, 0 masks"),
        ("one --output data --classes a,b", 1, "the number of pairs is 1, in 1 groups"),
    ],
)
def test_wrong_use_is_one_sentence_and_writes_nothing(here, capsys, options, status, told) -> None:
    write(here / "ok", [0, 1])
    write(here / "one", [0, 1], range(1))
    (here / "notes.txt").touch()
    for name in ("images", "masks"):
        (here / "void" / name).mkdir(parents=True)
    before = sorted(here.rglob("*"))
    assert status_of(options.split()) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told in line
    after = [file for file in sorted(here.rglob("*")) if not file.name.endswith("-overlays.png")]
    assert after == before


def run(*arguments: str, size: int | None = None, **options: object) -> subprocess.CompletedProcess:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "scripts.prepare", *arguments]
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=limit if size else None,
        errors="replace",
        **options,
    )


def test_a_full_disk_is_one_sentence_and_the_older_data_set_is_whole(here: Path) -> None:
    command = [str(write(here / "photos", [0, 1, 2])), "--classes", "a,b,c", "--output", "data"]
    assert main(command) == 0
    before = {file: file.read_bytes() for file in (here / "data").rglob("*.*")}
    done = run(*command, size=5_000)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.match(r"error: data-overlays\.png cannot be written \(.*too large", line)
    assert {file: file.read_bytes() for file in (here / "data").rglob("*.*")} == before
    assert sorted(os.listdir(here)) == ["data", "photos"]


def test_names_of_any_alphabet_are_written_and_others_named(here: Path) -> None:
    write(here / "写真 [1]", [0, 1], sub="り\u3000")
    command = ["写真 [1]", "--classes", "背景,梨", "--output", "出力 [2]/data"]
    assert main(command) == 0
    assert Labels.load(here / "出力 [2]" / "data").names == ("背景", "梨")
    place = os.fsencode(here / "写真 [1]" / "images" / "り\u3000")
    os.rename(os.path.join(place, b"0.jpg"), os.path.join(place, b"ni\xf1o.jpg"))
    done = run(*command)
    assert done.returncode == 1
    assert "ni\\udcf1o.jpg has no mask of its name" in done.stdout
    assert "Traceback" not in done.stderr
