"""The command that segments many images: what it finds, writes, refuses, and resumes."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from samples import contents, draw_blocks, png_file, save_family, save_model, save_turned
from transformers import DPTForSemanticSegmentation

import scripts.results
import scripts.segmenter
import scripts.torch_segmenter
from helpers.images import load_image
from helpers.inference import load_labels, load_model, segment
from helpers.labels import ADE20K
from helpers.profiles import get_profile
from helpers.visualize import overlay
from scripts.segment import main
from scripts.sources import find_sources

RUNNING_AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images: two share a stem, one lies on its side, one has another ending."""
    folder = tmp_path / "images"
    (folder / "deep" / "er").mkdir(parents=True)
    draw_blocks(1, (60, 40))[0].save(folder / "one.png")
    draw_blocks(2, (31, 47))[0].save(folder / "two.JPG", quality=95)
    draw_blocks(3, (47, 31))[0].save(folder / "deep" / "one.png")
    draw_blocks(4, (40, 40))[0].save(folder / "deep" / "er" / "three.webp")
    save_turned(draw_blocks(5, (48, 36))[0], folder / "turned.png", 6)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def common(model_dir: Path, out: Path) -> list[object]:
    """Options that nearly every call has."""
    return ["--model", model_dir, "--output", out]


def run(*arguments: object) -> int:
    return main([str(one) for one in arguments])


# --- what is written ---------------------------------------------------------------------------


@pytest.mark.parametrize("num_labels", [ADE20K.num_labels, 3])
def test_a_folder_gives_label_maps_overlays_and_shares(
    folder, tmp_path, out, capsys, num_labels
) -> None:
    model_dir = save_model(tmp_path / "model", num_labels)
    (folder / "notes.txt").write_text("no image, and none is expected")
    (folder / "._one.png").write_bytes(b"what a Mac leaves beside files")
    assert run(folder, "--model", model_dir, "--output", out, "--batch-size", 2) == 0
    assert "5 found: 5 segmented, 0 finished before, 0 failed" in capsys.readouterr().out
    names = ["deep/er/three", "deep/one", "one", "turned", "two"]
    written = {"labels": ".png", "overlays": ".jpg", "shares": ".json"}
    expected = {f"{kind}/{name}{ending}" for kind, ending in written.items() for name in names}
    assert set(contents(out)) == expected | {"segmentation.json", "shares.json"}
    model, image_processor = load_model(model_dir)
    labels = load_labels(model_dir)
    table = json.loads((out / "shares.json").read_text())
    for name in names:
        (file,) = folder.glob(f"{name}.*")
        image = load_image(file)
        expected = segment(image, model, image_processor)
        with Image.open(out / "labels" / f"{name}.png") as stored:
            assert stored.mode == "P"
            assert (np.asarray(stored) == expected).all()
            assert (np.asarray(stored.convert("RGB")) == labels.palette[expected]).all()
        with Image.open(out / "overlays" / f"{name}.jpg") as shown:
            painted = np.asarray(overlay(image, expected, labels=labels)).astype(int)
            assert np.abs(np.asarray(shown) - painted).mean() < 6  # JPEG
        record = json.loads((out / "shares" / f"{name}.json").read_text())
        assert (record["width"], record["height"]) == image.size
        shares = record["shares"]
        assert shares == table[str(file)]
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        present, areas = np.unique(expected, return_counts=True)
        assert len(present) > 1
        assert shares == {
            labels.id2label[label]: pytest.approx(area / expected.size, abs=1e-6)
            for label, area in zip(present.tolist(), areas, strict=True)
        }


def test_overlays_have_the_share_of_color_asked_for(folder: Path, common: list, out: Path) -> None:
    assert run(folder / "one.png", *common, "--alpha", 0) == 0
    with Image.open(out / "overlays" / "one.jpg") as shown:
        difference = np.asarray(shown).astype(int) - np.asarray(load_image(folder / "one.png"))
    assert np.abs(difference).mean() < 6


# --- what is found -----------------------------------------------------------------------------


def names(*given: object) -> list[str]:
    """What the results of the images that are found are called."""
    return [source.name.as_posix() for source in find_sources([str(one) for one in given])]


def test_files_folders_and_patterns_are_found_once(folder: Path) -> None:
    everything = ["deep/er/three", "deep/one", "one", "turned", "two"]
    assert sorted(names(folder)) == everything
    assert sorted(names(folder / "**" / "*")) == everything
    assert names(folder / "*.png") == ["one", "turned"]
    assert names(folder / "**" / "one.*") == ["deep/one", "one"]
    assert names(folder / "deep" / "*") == ["one"]
    assert names(folder / "one.png", folder / "deep" / "one.png") == ["one", "one"]
    assert sorted(names(folder / "one.png", folder, folder / "*.png")) == everything
    odd = folder / "odd[1].png"
    shutil.copy(folder / "one.png", odd)
    assert names(odd) == ["odd[1]"]  # a file's name before a pattern


def test_links_to_folders_are_followed_and_not_in_circles(folder: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    shutil.copy(folder / "one.png", disk / "b.png")
    (folder / "site").symlink_to(disk)
    (disk / "up").symlink_to(folder)
    (folder / "deep" / "top").symlink_to(tmp_path)
    (folder / "gone.png").symlink_to(folder / "removed.png")  # named when it cannot be read
    expected = ["deep/er/three", "deep/one", "gone", "one", "site/b", "turned", "two"]
    for given in (folder, folder / "**", folder / "**" / "*"):
        assert sorted(names(given)) == expected


def test_what_a_file_server_adds_is_not_the_reader_s(folder: Path) -> None:
    thumbnails = folder / "@eaDir" / "one.png"  # a folder
    thumbnails.mkdir(parents=True)
    shutil.copy(folder / "one.png", thumbnails / "SYNOPHOTO_THUMB_M.jpg")
    shutil.copy(folder / "one.png", folder / "@home.png")
    for given in (folder, folder / "**" / "*.*", folder / "**"):
        everything = ["@home", "deep/er/three", "deep/one", "one", "turned", "two"]
        assert sorted(names(given)) == everything
    assert names(folder / "*.png") == ["@home", "one", "turned"]
    assert len(names(thumbnails)) == 1  # asked for


def test_names_too_long_for_results_are_cut(folder, common, out, capsys) -> None:
    for name in ("a" * 250 + "b", "a" * 251, "写" * 80):
        shutil.copy(folder / "one.png", folder / f"{name}.png")
    assert run(folder, *common) == 0
    names = [file.stem for file in (out / "labels").glob("*.png")]
    assert len(names) == 6
    assert max(len(name.encode()) for name in names) == 211
    assert len(json.loads((out / "shares.json").read_text())) == 8
    assert run(folder, *common) == 0
    assert "0 segmented, 8 finished before" in capsys.readouterr().out


def test_images_of_one_name_do_not_overwrite_each_other(folder, model_dir, common, out) -> None:
    first, second = folder / "one.png", folder / "deep" / "one.png"
    assert run(first, *common) == 0
    before = contents(out)
    assert run(second, *common) == 0  # a call of its own
    both = contents(out)
    assert before["labels/one.png"] == both["labels/one.png"]
    assert len(both) == len(before) + 3
    assert run(second, first, *common) == 0  # together, in another order
    assert contents(out) == both
    assert set(json.loads(both["shares.json"])) == {str(first), str(second)}
    model, image_processor = load_model(model_dir)
    for file, (width, height) in ((first, (60, 40)), (second, (47, 31))):
        maps = [np.asarray(Image.open(one)) for one in (out / "labels").iterdir()]
        (stored,) = [one for one in maps if one.shape == (height, width)]
        assert (stored == segment(load_image(file), model, image_processor)).all()


def test_its_own_results_are_no_images(folder: Path, model_dir: Path, tmp_path: Path) -> None:
    common = ["--model", model_dir, "--output"]
    assert run(folder, *common, folder / "results") == 0
    before = contents(folder)
    assert run(folder, *common, folder / "results") == 0
    assert contents(folder) == before
    assert run(folder, *common, tmp_path / "elsewhere") == 0  # nor those of another output
    assert run(folder / "**" / "*", *common, tmp_path / "elsewhere") == 0
    assert len(list((tmp_path / "elsewhere" / "labels").rglob("*.png"))) == 5
    with pytest.raises(FileNotFoundError, match="not this command's own results"):
        find_sources([str(folder / "results" / "labels")])


@pytest.mark.skipif(not hasattr(os, "pathconf"), reason="Windows says not how long paths may be")
def test_a_file_whose_results_have_too_long_a_path_fails_alone(
    folder, model_dir, tmp_path, capsys
) -> None:
    long = folder / f"{'a' * 150}.png"
    shutil.copy(folder / "one.png", long)
    out, room = tmp_path, os.pathconf(tmp_path, "PC_PATH_MAX") - 100  # for what is shorter
    while (left := room - len(os.fsencode(out))) > 1:
        out /= "d" * min(left - 1, 100)
    common = [folder, "--model", model_dir, "--output", out, "--batch-size", 2]
    assert run(*common) == 1
    shown = capsys.readouterr()
    assert f"failed: {long}: no result can have such a long name here" in shown.err
    assert "5 segmented, 0 finished before, 1 failed" in shown.out
    assert len(json.loads((out / "shares.json").read_text())) == 5


# --- what fails --------------------------------------------------------------------------------


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(
    folder, common, out, capsys, monkeypatch
) -> None:
    whole = (folder / "two.JPG").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("not an image")
    (folder / "nowhere.png").symlink_to(folder / "removed.png")
    Image.new("L", (300, 200)).save(folder / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)  # Pillow refuses twice as many
    broken = ["bomb.png", "cut.jpg", "empty.jpg", "nowhere.png", "text.png"]
    assert run(folder, *common, "--batch-size", 3) == 1
    shown = capsys.readouterr()
    for name in broken:
        assert len([line for line in shown.err.splitlines() if f"{folder / name}" in line]) == 1
        assert not list((out / "labels").rglob(f"{Path(name).stem}*"))
    assert f"5 segmented, 0 finished before, {len(broken)} failed" in shown.out
    assert len(json.loads((out / "shares.json").read_text())) == 5
    # Fixed, it is the only one that is done.
    (folder / "cut.jpg").write_bytes(whole)
    assert run(folder, *common) == 1
    assert "1 segmented, 5 finished before, " in capsys.readouterr().out
    # Damaged afterwards, its results no longer count.
    (folder / "cut.jpg").write_bytes(whole[:100])
    assert run(folder, *common) == 1
    assert str(folder / "cut.jpg") not in json.loads((out / "shares.json").read_text())


@pytest.mark.parametrize(("family", "alone"), [("mobilenet_v2", []), ("dpt", ["line.png"])])
def test_windows_of_other_models_and_an_image_that_fails_alone(
    tmp_path, out, capsys, family, alone
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    sizes = {"a.png": (150, 70), "dot.png": (1, 1), "line.png": (90, 9), "z.png": (64, 64)}
    for name, size in sizes.items():
        Image.new("RGB", size, (90, 200, 90)).save(folder / name)
    save_family(family, tmp_path / "model", num_labels=5)
    common = ["--model", tmp_path / "model", "--output", out]
    assert run(folder, *common, "--window", 64, "--no-overlays") == (1 if alone else 0)
    shown = capsys.readouterr()
    assert f"{4 - len(alone)} segmented, 0 finished before, {len(alone)} failed" in shown.out
    failed = [line for line in shown.err.splitlines() if "failed: " in line]
    assert len(failed) == len(alone)  # DPT's windows have to be square
    assert all(f"{folder / name} cannot be segmented (" in failed[0] for name in alone)
    assert len(list((out / "labels").iterdir())) == 4 - len(alone)
    assert not (out / "overlays").exists()


def test_a_window_that_a_model_cannot_look_through_is_refused_before_the_first_image(
    folder, tmp_path, capsys
) -> None:
    model_dir, out = tmp_path / "model", tmp_path / "out"
    config = save_family("dpt", model_dir, num_labels=5).config
    config.patch_size = 64  # larger than the window
    DPTForSemanticSegmentation(config).save_pretrained(model_dir)
    line = refused(capsys, folder, "--model", model_dir, "--output", out, "--window", 40)
    assert "--window 40 cannot be used (" in line
    assert "choose another size" in line
    assert not contents(out)


def test_pages_that_are_left_out_and_numbers_far_below_white_are_told(
    tmp_path, common, capsys
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    image = draw_blocks(1, (60, 40))[0]
    pages = {"save_all": True, "append_images": [image.rotate(180), image] * 2}
    image.save(folder / "stack.tif", **pages)
    image.save(folder / "moving.gif", **pages)
    image.save(folder / "phone.jpg", format="MPO", **pages)  # with previews
    grey = np.asarray(image.convert("L")).astype(np.uint16)
    for bits, name in ((12, "twelve.png"), (12, "twelve.tif"), (16, "sixteen.png")):
        Image.fromarray(grey << (bits - 8)).save(folder / name)
    twelve = np.asarray(image).astype(np.uint16) << 4
    (folder / "twelve_rgb.png").write_bytes(png_file(twelve, bits=16))
    Image.new("RGB", (1, 1)).save(folder / "night.png")
    Image.new("RGB", (300, 1)).save(folder / "line.png")
    assert run(folder, *common) == 0
    told = capsys.readouterr().err.splitlines()
    stack, dark = sorted(line for line in told if "notice: " in line)
    assert f"{folder / 'moving.gif'} (5 pages or frames), {folder / 'stack.tif'} (5 pages" in stack
    assert "only the first page or frame is segmented" in stack
    highest = f"values up to {(int(grey.max()) >> 4 << 8) + 255:,} of 65,535"
    assert f"{folder / 'twelve.png'} ({highest}), {folder / 'twelve.tif'} ({highest}), " in dark
    assert f"{folder / 'twelve_rgb.png'} (values up to " in dark
    assert "phone" not in stack + dark
    assert "night" not in dark


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 2) -> str:
    """The one sentence of a call that is refused before any work."""
    try:
        found = run(*arguments)
    except SystemExit as error:  # argparse
        found = error.code
    assert found == status
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "error: " in one]
    return line


def test_wrong_inputs_are_refused(folder, tmp_path, common, out, capsys) -> None:
    (tmp_path / "none").mkdir()
    cases = [
        (tmp_path / "missing.jpg", "there is no image or folder"),
        (tmp_path / "none", "no image found in"),
        (tmp_path / "*.jpg", "no image found in"),
    ]
    for given, expected in cases:
        line = refused(capsys, folder, given, *common, status=1)
        assert expected in line
        assert str(given) in line
    assert "expected a whole number >= 1" in refused(capsys, folder, *common, "--batch-size", 0)
    for alpha in ("1.5", "-0.1", "nan", "half"):
        assert "expected 0 (image) to 1" in refused(capsys, folder, *common, f"--alpha={alpha}")
    window = refused(capsys, folder, *common, "--window", 31)
    assert "--window 31 cannot be used" in window
    assert "at least 32 pixels" in window
    assert "--device nonsense" in refused(capsys, folder, *common, "--device", "nonsense")
    if not torch.cuda.is_available():
        assert "--device cuda is not available" in refused(
            capsys, folder, *common, "--device", "cuda"
        )
    assert not contents(out)


def test_wrong_outputs_are_refused(folder, model_dir, tmp_path, capsys) -> None:
    common = [folder, "--model", model_dir, "--output"]
    before = contents(folder)
    assert "is a file" in refused(capsys, *common, folder / "one.png")
    assert "cannot be written to" in refused(capsys, *common, folder / "one.png" / "below")
    assert "not this command's" in refused(capsys, *common, folder)
    (folder / "segmentation.json").write_text('{"made by": "another program"}')
    (folder / "labels").mkdir()
    assert "not this command's" in refused(capsys, *common, folder, "--overwrite")
    assert (folder / "labels").is_dir()
    assert contents(folder).keys() - before.keys() == {"segmentation.json"}
    if not RUNNING_AS_ROOT:
        (tmp_path / "locked").mkdir(mode=0o500)
        assert "cannot be written to" in refused(capsys, *common, tmp_path / "locked")


def test_wrong_models_are_refused(folder, model_dir, tmp_path, capsys) -> None:
    damaged = shutil.copytree(model_dir, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"damaged")
    unprepared = shutil.copytree(model_dir, tmp_path / "unprepared")
    (unprepared / "preprocessor_config.json").unlink()
    large = save_model(tmp_path / "large", num_labels=300)
    cases = {
        tmp_path / "missing": "there is no model folder",
        tmp_path: "no config.json",
        folder / "one.png": "there is no model folder",
        get_profile("tiny").encoder: "it is a SegformerModel",
        damaged: "cannot be used",
        unprepared: "cannot be used",
        large: "the number of labels is 300",
        "nobody/nothing": "nobody/nothing",
    }
    out = tmp_path / "out"
    for source, expected in cases.items():
        line = refused(capsys, folder, "--model", source, "--output", out, status=1)
        assert expected in line
        assert str(source) in line
    assert not contents(out)


# --- resuming ----------------------------------------------------------------------------------


def test_a_second_call_does_only_what_is_missing(folder, common, out, capsys, monkeypatch) -> None:
    assert run(folder, *common) == 0
    before = contents(out)
    segmented: list[Path] = []

    def counting(path: Path) -> Image.Image:
        segmented.append(path)
        return load_image(path)

    monkeypatch.setattr(scripts.segmenter, "load_image", counting)
    assert run(folder, *common) == 0
    assert segmented == []
    # Missing, empty, or made from an image that has changed since.
    (out / "labels" / "one.png").unlink()
    (out / "overlays" / "two.jpg").write_bytes(b"")
    (out / "shares" / "turned.json").write_text('{"file": "half')
    assert run(folder, *common, "--batch-size", 1) == 0
    assert {path.name for path in segmented} == {"one.png", "two.JPG", "turned.png"}
    assert contents(out) == before
    draw_blocks(9, (50, 30))[0].save(folder / "one.png")
    capsys.readouterr()
    assert run(folder, *common) == 0
    assert "1 segmented, 4 finished before" in capsys.readouterr().out
    with Image.open(out / "labels" / "one.png") as stored:
        assert stored.size == (50, 30)


def test_other_settings_are_refused_unless_all_is_overwritten(
    folder, model_dir, tmp_path, common, out, capsys
) -> None:
    assert run(folder, *common) == 0
    before = contents(out)
    other = save_model(tmp_path / "other", seed=1)
    line = refused(capsys, folder, "--model", other, "--output", out)
    assert "made with other settings" in line
    assert str(other) in line
    assert "--overwrite" in line
    assert "alpha 0.25" in refused(capsys, folder, *common, "--alpha", 0.25)
    assert contents(out) == before
    moved = shutil.copytree(model_dir, tmp_path / "moved")  # the same weights elsewhere
    assert run(folder, "--model", moved, "--output", out) == 0
    assert contents(out) == before
    assert run(folder / "one.png", "--model", other, "--output", out, "--overwrite") == 0
    after = contents(out)
    assert after["labels/one.png"] != before["labels/one.png"]
    assert "labels/two.png" not in after


def test_after_a_full_disk_the_same_command_ends_with_the_same_files(
    folder, model_dir, tmp_path, capsys, monkeypatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    common = [folder, "--model", model_dir, "--batch-size", 1]
    assert run(*common, "--output", whole) == 0
    replace = os.replace

    def full(part: Path, target: Path) -> None:
        if Path(target).name == "one.png":
            raise OSError(28, "No space left on device")
        replace(part, target)

    with monkeypatch.context() as patch:
        patch.setattr(scripts.results.os, "replace", full)
        assert run(*common, "--output", out) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert "shares.json" not in contents(out)
    (out / ".unfinished-0").mkdir()  # as a killed run leaves it
    (out / ".unfinished-0" / "1.png").write_bytes(b"half of a file")
    assert run(*common, "--output", out) == 0
    assert contents(out) == contents(whole)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted: the same command resumes"),
        (torch.OutOfMemoryError("21 GiB"), 1, "choose a smaller --batch-size"),
    ],
)
def test_a_stopped_run_says_how_to_resume(
    folder, common, capsys, monkeypatch, error, status, said
) -> None:
    segment_batch, left = scripts.torch_segmenter.segment_batch, [2]

    def stopping(*arguments: object) -> list:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return segment_batch(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(scripts.torch_segmenter, "segment_batch", stopping)
        assert run(folder, *common, "--batch-size", 2) == status
    assert said in capsys.readouterr().err
    assert run(folder, *common) == 0
    finished = 5 - int(capsys.readouterr().out.split(" segmented")[0].split()[-1])
    assert finished >= 2


def test_huge_images_are_not_decoded_together(folder, common, monkeypatch) -> None:
    monkeypatch.setattr(scripts.segmenter, "_MOST_PIXELS", 60 * 40 + 31 * 47)
    sizes = []
    segment_batch = scripts.torch_segmenter.segment_batch

    def watched(images: list, *rest: object) -> list:
        sizes.append([image.width * image.height for image in images])
        return segment_batch(images, *rest)

    monkeypatch.setattr(scripts.torch_segmenter, "segment_batch", watched)
    assert run(folder, *common) == 0
    assert sum(map(len, sizes)) == 5
    assert max(map(sum, sizes)) <= 60 * 40 + 31 * 47
    assert max(map(len, sizes)) > 1
