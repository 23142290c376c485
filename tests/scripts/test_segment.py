"""The command that segments many images: what it finds, writes, refuses, and resumes."""

import builtins
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from samples import draw_blocks, save_encoder, small_model, small_processor
from transformers import (
    DPTConfig,
    DPTForSemanticSegmentation,
    DPTImageProcessor,
    MobileNetV2Config,
    MobileNetV2ForSemanticSegmentation,
    MobileNetV2ImageProcessor,
    ViTConfig,
    ViTForImageClassification,
)

import scripts.results
import scripts.segment
import scripts.segmenter
import scripts.torch_segmenter
from helpers.images import load_image
from helpers.inference import load_labels, load_model, segment
from helpers.labels import ADE20K
from helpers.profiles import REPOSITORY
from helpers.visualize import overlay
from scripts.segment import main
from scripts.sources import find_sources

RUNNING_AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def save_model(folder: Path, num_labels: int = 150, seed: int = 0) -> Path:
    """A small model whose weights give several classes an image."""
    model = small_model(num_labels)
    torch.manual_seed(seed)
    torch.nn.init.normal_(model.decode_head.classifier.weight, std=2)
    model.save_pretrained(folder)
    small_processor().save_pretrained(folder)
    return folder


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
    exif = Image.Exif()
    exif[0x0112] = 6
    draw_blocks(5, (36, 48))[0].save(folder / "turned.png", exif=exif)
    return folder


def run(*arguments: object) -> int:
    return main([str(one) for one in arguments])


def content(folder: Path) -> dict[str, bytes]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


# --- what is written ---------------------------------------------------------------------------


def test_a_folder_gives_label_maps_overlays_and_shares(
    folder: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (folder / "notes.txt").write_text("no image, and none is expected")
    (folder / "._one.png").write_bytes(b"what a Mac leaves beside files")
    assert run(folder, "--model", model_dir, "--output", out, "--batch-size", 2) == 0
    assert "5 found: 5 segmented, 0 finished before, 0 failed" in capsys.readouterr().out
    names = ["deep/er/three", "deep/one", "one", "turned", "two"]
    written = {"labels": ".png", "overlays": ".jpg", "shares": ".json"}
    expected = {f"{kind}/{name}{ending}" for kind, ending in written.items() for name in names}
    assert set(content(out)) == expected | {"segmentation.json", "shares.json"}
    model, image_processor = load_model(model_dir)
    table = json.loads((out / "shares.json").read_text())
    for name in names:
        (file,) = folder.glob(f"{name}.*")
        image = load_image(file)
        expected = segment(image, model, image_processor)
        with Image.open(out / "labels" / f"{name}.png") as stored:
            assert stored.mode == "P"
            assert (np.asarray(stored) == expected).all()
            assert (np.asarray(stored.convert("RGB")) == ADE20K.palette[expected]).all()
        with Image.open(out / "overlays" / f"{name}.jpg") as shown:
            painted = np.asarray(overlay(image, expected)).astype(int)
            assert np.abs(np.asarray(shown) - painted).mean() < 6  # JPEG
        record = json.loads((out / "shares" / f"{name}.json").read_text())
        assert (record["width"], record["height"]) == image.size
        shares = record["shares"]
        assert shares == table[str(file)]
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        labels, areas = np.unique(expected, return_counts=True)
        assert len(labels) > 1
        assert shares == {
            ADE20K.id2label[label].strip(): pytest.approx(area / expected.size, abs=1e-6)
            for label, area in zip(labels.tolist(), areas, strict=True)
        }


def test_without_overlays_and_with_another_share_of_color(
    folder: Path, model_dir: Path, tmp_path: Path
) -> None:
    assert run(folder, "--model", model_dir, "--output", tmp_path / "a", "--no-overlays") == 0
    assert not (tmp_path / "a" / "overlays").exists()
    assert (
        run(folder / "one.png", "--model", model_dir, "--output", tmp_path / "b", "--alpha", 0) == 0
    )
    with Image.open(tmp_path / "b" / "overlays" / "one.jpg") as shown:
        difference = np.asarray(shown).astype(int) - np.asarray(load_image(folder / "one.png"))
    assert np.abs(difference).mean() < 6


def test_a_model_of_other_labels_has_colors_of_its_own(folder: Path, tmp_path: Path) -> None:
    model_dir = save_model(tmp_path / "model", num_labels=3)
    out = tmp_path / "out"
    assert run(folder, "--model", model_dir, "--output", out) == 0
    model, image_processor = load_model(model_dir)
    expected = segment(load_image(folder / "one.png"), model, image_processor)
    palette = load_labels(model_dir).palette
    assert len(np.unique(palette, axis=0)) == 3
    with Image.open(out / "labels" / "one.png") as stored:
        assert (np.asarray(stored) == expected).all()
        assert (np.asarray(stored.convert("RGB")) == palette[expected]).all()
    shares = json.loads((out / "shares" / "one.json").read_text())["shares"]
    assert set(shares) <= {"LABEL_0", "LABEL_1", "LABEL_2"}


def test_images_of_all_kinds_work(model_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    image = draw_blocks(1, (60, 40))[0]
    for mode, ending in {"L": "png", "RGBA": "png", "CMYK": "jpg", "1": "png", "P": "gif"}.items():
        image.convert(mode).save(folder / f"{mode}.{ending}")
    grey = np.asarray(image.convert("L"))
    Image.fromarray(grey.astype(np.uint16) * 256).save(folder / "sixteen.png")
    image.convert("P").save(
        folder / "moving.gif", save_all=True, append_images=[Image.new("P", image.size)]
    )
    Image.new("RGB", (1, 1), (9, 9, 9)).save(folder / "dot.png")
    Image.new("RGB", (300, 1), (9, 200, 9)).save(folder / "line.png")
    out = tmp_path / "out"
    assert run(folder, "--model", model_dir, "--output", out) == 0
    maps = {file.stem: np.asarray(Image.open(file)) for file in (out / "labels").iterdir()}
    assert maps["dot"].shape == (1, 1)
    assert maps["line"].shape == (1, 300)
    assert (maps["sixteen"] == maps["L"]).all()  # and not all white
    assert (maps["moving"] == maps["P"]).all()  # the first frame
    assert len(maps) == 9


# --- what is found -----------------------------------------------------------------------------


def test_files_folders_and_patterns_are_found_once(folder: Path) -> None:
    def names(*given: object) -> list[str]:
        return [source.name.as_posix() for source in find_sources([str(one) for one in given])]

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
        assert sorted(one.name.as_posix() for one in find_sources([str(given)])) == expected


def test_what_a_file_server_adds_is_not_the_reader_s(folder: Path) -> None:
    thumbnails = folder / "@eaDir" / "one.png"  # a folder
    thumbnails.mkdir(parents=True)
    shutil.copy(folder / "one.png", thumbnails / "SYNOPHOTO_THUMB_M.jpg")
    shutil.copy(folder / "one.png", folder / "@home.png")
    for given in (folder, folder / "**" / "*.*", folder / "**"):
        names = [one.name.name for one in find_sources([str(given)])]
        assert sorted(names) == ["@home", "one", "one", "three", "turned", "two"]
    assert [one.name.name for one in find_sources([str(folder / "*.png")])] == [
        "@home",
        "one",
        "turned",
    ]
    assert len(find_sources([str(thumbnails)])) == 1  # asked for


def test_names_too_long_for_results_are_cut(
    folder: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a" * 250 + "b", "a" * 251, "写" * 80):
        shutil.copy(folder / "one.png", folder / f"{name}.png")
    common = [folder, "--model", model_dir, "--output", tmp_path / "out", "--batch-size", 2]
    assert run(*common) == 0
    names = [file.stem for file in (tmp_path / "out" / "labels").glob("*.png")]
    assert len(names) == 6
    assert max(len(name.encode()) for name in names) == 211
    assert len(json.loads((tmp_path / "out" / "shares.json").read_text())) == 8
    assert run(*common) == 0
    assert "0 segmented, 8 finished before" in capsys.readouterr().out


def test_images_of_one_name_do_not_overwrite_each_other(
    folder: Path, model_dir: Path, tmp_path: Path
) -> None:
    first, second, out = folder / "one.png", folder / "deep" / "one.png", tmp_path / "out"
    common = ["--model", model_dir, "--output", out]
    assert run(first, *common) == 0
    before = content(out)
    assert run(second, *common) == 0  # a call of its own
    both = content(out)
    assert before["labels/one.png"] == both["labels/one.png"]
    assert len(both) == len(before) + 3
    assert run(second, first, *common) == 0  # together, in another order
    assert content(out) == both
    assert set(json.loads(both["shares.json"])) == {str(first), str(second)}
    model, image_processor = load_model(model_dir)
    for file, (width, height) in ((first, (60, 40)), (second, (47, 31))):
        maps = [np.asarray(Image.open(one)) for one in (out / "labels").iterdir()]
        (stored,) = [one for one in maps if one.shape == (height, width)]
        assert (stored == segment(load_image(file), model, image_processor)).all()


def test_its_own_results_are_no_images(folder: Path, model_dir: Path, tmp_path: Path) -> None:
    common = ["--model", model_dir, "--output"]
    assert run(folder, *common, folder / "results") == 0
    before = content(folder)
    assert run(folder, *common, folder / "results") == 0
    assert content(folder) == before
    assert run(folder, *common, tmp_path / "elsewhere") == 0  # nor those of another output
    assert run(folder / "**" / "*", *common, tmp_path / "elsewhere") == 0
    assert len(list((tmp_path / "elsewhere" / "labels").rglob("*.png"))) == 5
    with pytest.raises(FileNotFoundError, match="not this command's own results"):
        find_sources([str(folder / "results" / "labels")])


@pytest.mark.skipif(not hasattr(os, "pathconf"), reason="Windows says not how long paths may be")
def test_a_file_whose_results_have_too_long_a_path_fails_alone(
    folder: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    folder: Path,
    model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = (folder / "two.JPG").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("not an image")
    (folder / "nowhere.png").symlink_to(folder / "removed.png")
    Image.new("L", (300, 200)).save(folder / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)  # Pillow refuses twice as many
    broken = ["bomb.png", "cut.jpg", "empty.jpg", "nowhere.png", "text.png"]
    if not RUNNING_AS_ROOT:
        shutil.copy(folder / "one.png", folder / "secret.png")
        (folder / "secret.png").chmod(0)
        broken.append("secret.png")
    out = tmp_path / "out"
    assert run(folder, "--model", model_dir, "--output", out, "--batch-size", 3) == 1
    shown = capsys.readouterr()
    for name in broken:
        assert len([line for line in shown.err.splitlines() if f"{folder / name}" in line]) == 1
        assert not list((out / "labels").rglob(f"{Path(name).stem}*"))
    summary = f"5 segmented, 0 finished before, {len(broken)} failed"
    assert summary in shown.out
    assert len(json.loads((out / "shares.json").read_text())) == 5
    # Fixed, it is the only one that is done.
    (folder / "cut.jpg").write_bytes(whole)
    assert run(folder, "--model", model_dir, "--output", out) == 1
    assert "1 segmented, 5 finished before, " in capsys.readouterr().out
    # Damaged afterwards, its results no longer count.
    (folder / "cut.jpg").write_bytes(whole[:100])
    assert run(folder, "--model", model_dir, "--output", out) == 1
    assert str(folder / "cut.jpg") not in json.loads((out / "shares.json").read_text())


def save_other(folder: Path, kind: str) -> Path:
    """A small model whose logits have another stride than SegFormer's quarter."""
    torch.manual_seed(0)
    if kind == "MobileNetV2":
        config = MobileNetV2Config(num_labels=5, depth_multiplier=0.1, output_stride=16)
        MobileNetV2ForSemanticSegmentation(config).save_pretrained(folder)
        MobileNetV2ImageProcessor(size={"shortest_edge": 64}).save_pretrained(folder)
    else:
        sizes = {"hidden_size": 8, "intermediate_size": 8, "fusion_hidden_size": 8}
        layers = {"num_hidden_layers": 4, "num_attention_heads": 1, "patch_size": 16}
        config = DPTConfig(
            num_labels=5,
            image_size=64,
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[8, 8, 8, 8],
            **sizes,
            **layers,
        )
        DPTForSemanticSegmentation(config).save_pretrained(folder)
        DPTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("kind", "alone"), [("MobileNetV2", []), ("DPT", ["line.png"])])
def test_windows_of_other_models_and_an_image_that_fails_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, alone: list[str]
) -> None:
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    sizes = {"a.png": (150, 70), "dot.png": (1, 1), "line.png": (90, 9), "z.png": (64, 64)}
    for name, size in sizes.items():
        Image.new("RGB", size, (90, 200, 90)).save(folder / name)
    model_dir = save_other(tmp_path / "model", kind)
    common = [folder, "--model", model_dir, "--output", out, "--window", 64, "--no-overlays"]
    assert run(*common) == (1 if alone else 0)
    shown = capsys.readouterr()
    assert f"{4 - len(alone)} segmented, 0 finished before, {len(alone)} failed" in shown.out
    failed = [line for line in shown.err.splitlines() if "failed: " in line]
    assert len(failed) == len(alone)  # DPT's windows have to be square
    assert all(f"{folder / name} cannot be segmented (" in failed[0] for name in alone)
    assert len(list((out / "labels").iterdir())) == 4 - len(alone)


def test_a_window_that_a_model_cannot_look_through_is_refused_before_the_first_image(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model_dir, out = save_other(tmp_path / "model", "DPT"), tmp_path / "out"
    model = DPTForSemanticSegmentation.from_pretrained(model_dir)
    model.config.patch_size = 64  # larger than the window
    DPTForSemanticSegmentation(model.config).save_pretrained(model_dir)
    line = refused(capsys, folder, "--model", model_dir, "--output", out, "--window", 40)
    assert "--window 40 cannot be used (" in line
    assert "choose another size" in line
    assert not content(out)


def png_of_16_bits(values: np.ndarray) -> bytes:
    """A PNG of (height, width, 3) uint16, which Pillow cannot write."""
    height, width, _ = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values.astype(">u2")))
    parts = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_pages_that_are_left_out_and_numbers_far_below_white_are_told(
    model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    (folder / "twelve_rgb.png").write_bytes(
        png_of_16_bits(np.asarray(image).astype(np.uint16) << 4)
    )
    Image.new("RGB", (40, 30)).save(folder / "night.png")
    assert run(folder, "--model", model_dir, "--output", tmp_path / "out") == 0
    dark, stack = sorted(
        line for line in capsys.readouterr().err.splitlines() if "notice: " in line
    )[::-1]
    assert f"{folder / 'moving.gif'} (5 pages or frames), {folder / 'stack.tif'} (5 pages" in stack
    assert "only the first page or frame is segmented" in stack
    highest = f"values up to {(int(grey.max()) >> 4 << 8) + 255:,} of 65,535"
    assert f"{folder / 'twelve.png'} ({highest}), {folder / 'twelve.tif'} ({highest}), " in dark
    assert f"{folder / 'twelve_rgb.png'} (values up to " in dark
    assert "phone" not in stack + dark
    assert "night" not in dark


def test_an_image_that_cannot_be_opened_says_why(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(builtins, "open", deny)
    with pytest.raises(ValueError, match="does not grant you permission"):
        load_image(folder / "one.png")


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 2) -> str:
    """The one sentence of a call that is refused before any work."""
    try:
        found = run(*arguments)
    except SystemExit as error:  # argparse
        found = error.code
    assert found == status
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "error: " in one]
    return line


def test_wrong_inputs_are_refused(
    folder: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none").mkdir()
    out = tmp_path / "out"
    common = ["--model", model_dir, "--output", out]
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
    assert not content(out)


def test_wrong_outputs_are_refused(
    folder: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [folder, "--model", model_dir, "--output"]
    before = content(folder)
    assert "is a file" in refused(capsys, *common, folder / "one.png")
    assert "cannot be written to" in refused(capsys, *common, folder / "one.png" / "below")
    assert "not this command's" in refused(capsys, *common, folder)
    (folder / "segmentation.json").write_text('{"made by": "another program"}')
    (folder / "labels").mkdir()
    assert "not this command's" in refused(capsys, *common, folder, "--overwrite")
    assert (folder / "labels").is_dir()
    assert content(folder).keys() - before.keys() == {"segmentation.json"}
    if not RUNNING_AS_ROOT:
        (tmp_path / "locked").mkdir(mode=0o500)
        assert "cannot be written to" in refused(capsys, *common, tmp_path / "locked")


def test_wrong_models_are_refused(
    folder: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = save_encoder(tmp_path / "encoder")
    config = ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        image_size=32,
    )
    ViTForImageClassification(config).save_pretrained(tmp_path / "classifier")
    damaged = shutil.copytree(model_dir, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"damaged")
    unprepared = shutil.copytree(model_dir, tmp_path / "unprepared")
    (unprepared / "preprocessor_config.json").unlink()
    large = save_model(tmp_path / "large", num_labels=300)
    cases = {
        tmp_path / "missing": "there is no model folder",
        tmp_path: "no config.json",
        folder / "one.png": "there is no model folder",
        encoder: "it is a SegformerModel",
        tmp_path / "classifier": "it is a ViTForImageClassification",
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
    assert not content(out)


# --- resuming ----------------------------------------------------------------------------------


def test_a_second_call_does_only_what_is_missing(
    folder: Path,
    model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    common = [folder, "--model", model_dir, "--output", out]
    assert run(*common) == 0
    before = content(out)
    segmented: list[Path] = []

    def counting(path: Path) -> Image.Image:
        segmented.append(path)
        return load_image(path)

    monkeypatch.setattr(scripts.segmenter, "load_image", counting)
    assert run(*common) == 0
    assert segmented == []
    # Missing, empty, or made from an image that has changed since.
    (out / "labels" / "one.png").unlink()
    (out / "overlays" / "two.jpg").write_bytes(b"")
    (out / "shares" / "turned.json").write_text('{"file": "half')
    assert run(*common, "--batch-size", 1) == 0
    assert {path.name for path in segmented} == {"one.png", "two.JPG", "turned.png"}
    assert content(out) == before
    draw_blocks(9, (50, 30))[0].save(folder / "one.png")
    capsys.readouterr()
    assert run(*common) == 0
    assert "1 segmented, 4 finished before" in capsys.readouterr().out
    with Image.open(out / "labels" / "one.png") as stored:
        assert stored.size == (50, 30)


def test_other_settings_are_refused_unless_all_is_overwritten(
    folder: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(folder, "--model", model_dir, "--output", out) == 0
    before = content(out)
    other = save_model(tmp_path / "other", seed=1)
    line = refused(capsys, folder, "--model", other, "--output", out)
    assert "made with other settings" in line
    assert str(other) in line
    assert "--overwrite" in line
    assert "alpha 0.25" in refused(
        capsys, folder, "--model", model_dir, "--output", out, "--alpha", 0.25
    )
    assert content(out) == before
    moved = shutil.copytree(model_dir, tmp_path / "moved")  # the same weights elsewhere
    assert run(folder, "--model", moved, "--output", out) == 0
    assert content(out) == before
    assert run(folder / "one.png", "--model", other, "--output", out, "--overwrite") == 0
    after = content(out)
    assert after["labels/one.png"] != before["labels/one.png"]
    assert "labels/two.png" not in after


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
import scripts.results as files
from scripts.segment import main

replace, left = os.replace, [int(sys.argv[1])]
def dying(part, target):
    left[0] -= 1
    if left[0] < 0:  # half of a file is written, and none has its name
        Path(part).write_bytes(Path(part).read_bytes()[:20])
        os.kill(os.getpid(), signal.SIGKILL)
    replace(part, target)
files.os.replace = dying
main(sys.argv[2:])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_a_killed_run_resumes_and_ends_with_the_same_files(
    folder: Path, model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "killed"
    common = [folder, "--model", model_dir, "--batch-size", 2]
    assert run(*common, "--output", whole) == 0
    arguments = [str(one) for one in (9, *common, "--output", out)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, *arguments], cwd=REPOSITORY, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    finished = len(list((out / "shares").rglob("*.json")))
    assert 0 < finished < 5
    assert "shares.json" not in content(out)
    assert len(content(out)) > 1 + 3 * finished  # begun and not finished
    capsys.readouterr()
    assert run(*common, "--output", out) == 0
    assert f"{5 - finished} segmented, {finished} finished before" in capsys.readouterr().out
    assert content(out) == content(whole)


def test_a_full_disk_ends_the_run_with_a_sentence(
    folder: Path,
    model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
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
    assert run(*common, "--output", out) == 0
    assert content(out) == content(whole)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted: the same command resumes"),
        (torch.OutOfMemoryError("21 GiB"), 1, "choose a smaller --batch-size"),
    ],
)
def test_a_stopped_run_says_how_to_resume(
    folder: Path,
    model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    said: str,
) -> None:
    common = [folder, "--model", model_dir, "--output", tmp_path / "out", "--batch-size", 2]
    segment_batch, left = scripts.torch_segmenter.segment_batch, [2]

    def stopping(*arguments: object) -> list:
        left[0] -= 1
        if left[0] < 0:
            raise error
        return segment_batch(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(scripts.torch_segmenter, "segment_batch", stopping)
        assert run(*common) == status
    assert said in capsys.readouterr().err
    assert run(*common) == 0
    finished = 5 - int(capsys.readouterr().out.split(" segmented")[0].split()[-1])
    assert finished >= 2


def test_huge_images_are_not_decoded_together(
    folder: Path, model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts.segmenter, "_MOST_PIXELS", 60 * 40 + 31 * 47)
    sizes = []
    segment_batch = scripts.torch_segmenter.segment_batch

    def watched(images: list, *rest: object) -> list:
        sizes.append([image.width * image.height for image in images])
        return segment_batch(images, *rest)

    monkeypatch.setattr(scripts.torch_segmenter, "segment_batch", watched)
    assert run(folder, "--model", model_dir, "--output", tmp_path / "out") == 0
    assert sum(map(len, sizes)) == 5
    assert max(map(sum, sizes)) <= 60 * 40 + 31 * 47
    assert max(map(len, sizes)) > 1


def test_an_interrupted_start_is_no_traceback(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scripts.torch_segmenter, "load", interrupt)
    assert run(folder, "--model", tmp_path, "--output", tmp_path / "out") == 130


def test_help_comes_before_anything_heavy_is_imported() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "scripts.segment", "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "--window PIXELS" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in loaded
    assert not loaded & {"numpy", "PIL", "torch", "transformers"}
