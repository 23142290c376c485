"""Videos through the command that segments images."""

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from samples import draw_blocks, save_model, small_processor

import scripts.segmenter
from helpers.inference import load_model, segment
from helpers.labels import ADE20K
from helpers.visualize import overlay
from scripts.segment import main

av = pytest.importorskip("av")

RATE = 12
SIZE = (62, 47)  # odd: H.264 for browsers has even sizes only


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


def write_video(file: Path, frames: int, size: tuple[int, int] = (62, 48), **options: str) -> Path:
    """A video without loss, so that its frames are known, of scenes that change twice a second."""
    with av.open(str(file), "w", options=options) as container:
        stream = container.add_stream("libx264rgb", rate=RATE, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = *size, "rgb24"
        for index in range(frames):
            image, _ = draw_blocks(index // (RATE // 2), size)
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    return file


def read_video(file: Path) -> list[np.ndarray]:
    with av.open(str(file)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def run(*arguments: object) -> int:
    return main([str(one) for one in arguments])


@pytest.fixture(scope="module")
def results(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder with a video of two and a half seconds and an image, and its results."""
    folder, out = tmp_path_factory.mktemp("media"), tmp_path_factory.mktemp("out")
    write_video(folder / "ride.mkv", RATE * 5 // 2, SIZE)
    draw_blocks(1)[0].save(folder / "image.png")
    assert run(folder, "--model", model_dir, "--output", out, "--batch-size", 7) == 0
    return folder, out


def test_an_overlay_video_has_the_frames_and_the_rate(results, model_dir) -> None:
    folder, out = results
    assert (out / "labels" / "image.png").is_file()
    with av.open(str(out / "overlays" / "ride.mp4")) as container:
        assert container.streams.video[0].average_rate == RATE
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    shown, given = read_video(out / "overlays" / "ride.mp4"), read_video(folder / "ride.mkv")
    assert len(shown) == len(given) == RATE * 5 // 2
    model, image_processor = load_model(model_dir)
    for index in (0, 20, 29):
        frame = Image.fromarray(given[index])
        expected = np.asarray(overlay(frame, segment(frame, model, image_processor))).astype(int)
        assert shown[index].shape == (48, 62, 3)
        # Lossy, and at half the resolution in colour; the wrong frame is some 50 off.
        assert np.abs(shown[index][:47] - expected).mean() < 15


def test_shares_over_time(results: tuple[Path, Path], model_dir: Path) -> None:
    folder, out = results
    record = json.loads((out / "shares" / "ride.json").read_text())
    assert record["frame_rate"] == RATE
    assert len(record["seconds"]) == 3  # the last one is half
    model, image_processor = load_model(model_dir)
    areas = np.zeros((3, 150))
    for index, frame in enumerate(read_video(folder / "ride.mkv")):
        label_map = segment(Image.fromarray(frame), model, image_processor)
        areas[index // RATE] += np.bincount(label_map.ravel(), minlength=150)
    parts = [*zip(areas, record["seconds"], strict=True), (areas.sum(axis=0), record["shares"])]
    for area, shares in parts:
        expected = {
            ADE20K.id2label[label].strip(): pytest.approx(area[label] / area.sum(), abs=2e-6)
            for label in np.flatnonzero(area)
        }
        assert shares == expected
    assert json.loads((out / "shares.json").read_text())[record["file"]] == record["shares"]


def test_a_finished_video_is_skipped(results, model_dir, capsys) -> None:
    folder, out = results
    before = (out / "overlays" / "ride.mp4").stat().st_mtime_ns
    assert run(folder, "--model", model_dir, "--output", out) == 0
    assert "0 segmented, 2 finished before" in capsys.readouterr().out
    assert (out / "overlays" / "ride.mp4").stat().st_mtime_ns == before


def test_shares_alone(model_dir: Path, tmp_path: Path) -> None:
    video, out = write_video(tmp_path / "short.mp4", 3), tmp_path / "out"
    assert run(video, "--model", model_dir, "--output", out, "--no-overlays") == 0
    assert not (out / "overlays").exists()
    assert len(json.loads((out / "shares" / "short.json").read_text())["seconds"]) == 1


def turn(video: Path, size: tuple[int, int]) -> Path:
    """As phones store it: a matrix in the file says how the camera was held."""
    data = video.read_bytes()
    start = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes
    matrix = [0, 1 << 16, 0, -1 << 16, 0, 0, size[1] << 16, 0, 1 << 30]
    turned = np.array(matrix, dtype=">i4").tobytes()
    video.write_bytes(data[:start] + turned + data[start + 36 :])
    return video


def test_a_turned_video_comes_upright(model_dir: Path, tmp_path: Path) -> None:
    video = turn(write_video(tmp_path / "lying.mp4", 2, (64, 48)), (64, 48))
    with av.open(str(video)) as container:
        rotation = next(container.decode(video=0)).rotation
    assert rotation == -90  # counterclockwise: the image is shown turned to the right
    out = tmp_path / "out"
    assert run(video, "--model", model_dir, "--output", out) == 0
    shown, given = read_video(out / "overlays" / "lying.mp4")[0], read_video(video)[0]
    assert shown.shape == (64, 48, 3)
    model, image_processor = load_model(model_dir)
    upright = Image.fromarray(given).transpose(Image.Transpose.ROTATE_270)
    expected = np.asarray(overlay(upright, segment(upright, model, image_processor))).astype(int)
    assert np.abs(shown - expected).mean() < 15


def write_timed(
    file: Path, times: list[float], black_from: float = 1e9, rate: int = 30, **settings: Any
) -> Path:
    """A video whose frames have times of their own, and go black at one of them, seconds."""
    tick, (scene, _) = Fraction(1, 1000), draw_blocks(1, (64, 48))
    codec = "libvpx" if file.suffix == ".webm" else "libx264"
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *scene.size, "yuv420p"
        stream.codec_context.time_base = tick
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        for time in times:
            image = scene if time < black_from else Image.new("RGB", scene.size)
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = round(time / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


PHONE = [k / 10 for k in range(50)] + [5 + k / 30 for k in range(150)]
SCREEN = [0, 0.1, 0.2, 7, 9.9]  # nothing moved in between
BROWSER = [k / 10 for k in range(30)]


@pytest.mark.parametrize(
    ("name", "times", "rate", "changes", "shown_black"),
    [
        ("phone.mp4", PHONE, 30, 5, 0.5),
        ("phone.mkv", PHONE, 30, 5, 0.5),
        ("screen.mkv", SCREEN, 30, 7, 0.3),
        ("late.mkv", [20 + time for time in PHONE], 30, 5, 0.5),  # its clock does not begin at 0
        ("browser.webm", BROWSER, 1000, 2, 1 / 3),
    ],
)
def test_a_video_keeps_its_own_time(
    model_dir, tmp_path, name, times, rate, changes, shown_black
) -> None:
    video, out = write_timed(tmp_path / name, times, times[0] + changes, rate), tmp_path / "out"
    assert run(video, "--model", model_dir, "--output", out, "--batch-size", 16) == 0
    record = json.loads((out / "shares" / f"{video.stem}.json").read_text())
    length = round(times[-1] - times[0] + 0.1)
    assert len(record["seconds"]) == length
    before, after = record["seconds"][0], record["seconds"][-1]

    def differ(one: dict[str, float], other: dict[str, float]) -> float:
        names = one.keys() | other.keys()
        return sum(abs(one.get(name, 0) - other.get(name, 0)) for name in names) / 2

    assert differ(before, after) > 0.3
    for second, shares in enumerate(record["seconds"]):
        assert differ(shares, after if second >= changes else before) < 0.1
    far = differ(record["shares"], before) / differ(before, after)
    assert far == pytest.approx(shown_black, abs=0.05)
    assert record["frame_rate"] == pytest.approx((len(times) - 1) / (times[-1] - times[0]), 0.01)
    with av.open(str(out / "overlays" / f"{video.stem}.mp4")) as container:
        stamps = [frame.time for frame in container.decode(video=0)]
        assert float(container.duration) / 1e6 == pytest.approx(length, abs=0.15)
    assert np.subtract(stamps, stamps[0]) == pytest.approx(np.subtract(times, times[0]), abs=2e-3)


def test_two_recordings_in_one_file_last_as_long_as_both(model_dir: Path, tmp_path: Path) -> None:
    """The second one's clock begins again, as in recordings that are put together byte by byte."""
    video, out = tmp_path / "tape.mpg", tmp_path / "out"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(25):
            container.mux(stream.encode(av.VideoFrame.from_image(draw_blocks(1, (64, 48))[0])))
        container.mux(stream.encode())
    video.write_bytes(2 * video.read_bytes())
    assert run(video, "--model", model_dir, "--output", out, "--batch-size", 16) == 0
    record = json.loads((out / "shares" / "tape.json").read_text())
    assert (len(record["seconds"]), record["frame_rate"]) == (2, 25)
    with av.open(str(out / "overlays" / "tape.mp4")) as container:
        assert container.duration == 2_000_000


@pytest.mark.parametrize("turned", [False, True])
def test_pixels_that_are_not_square_are_shown_as_wide(model_dir, tmp_path, turned: bool) -> None:
    aspect = Fraction(64, 45)
    video = write_timed(tmp_path / "dv.mp4", [0, 0.1], rate=10, sample_aspect_ratio=aspect)
    if turned:
        turn(video, (64, 48))
    assert run(video, "--model", model_dir, "--output", tmp_path / "out") == 0
    with av.open(str(tmp_path / "out" / "overlays" / "dv.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio == (1 / aspect if turned else aspect)
        assert (stream.width, stream.height) == ((48, 64) if turned else (64, 48))


def test_a_video_on_which_the_model_fails_fails_alone(tmp_path, capsys) -> None:
    folder, model_dir = tmp_path / "media", save_model(tmp_path / "model")
    folder.mkdir()
    processor = small_processor()
    processor.do_resize = False  # and the model cannot look at 16 pixels
    processor.save_pretrained(model_dir)
    for name, size in (("a.mp4", (16, 16)), ("z.mp4", (64, 48))):
        write_video(folder / name, 2, size)
    assert run(folder, "--model", model_dir, "--output", tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert f"failed: {folder / 'a.mp4'} cannot be segmented (" in shown.err
    assert "1 segmented, 0 finished before, 1 failed" in shown.out


def test_a_video_trimmed_without_encoding_it_again_works(model_dir, tmp_path, capsys) -> None:
    """Packets before the cut stay in the file, since others depend on them, and are not shown."""
    whole, trimmed = write_video(tmp_path / "whole.mp4", 2 * RATE), tmp_path / "trimmed.mp4"
    options = {"avoid_negative_ts": "disabled", "use_editlist": "1"}
    with av.open(str(whole)) as given, av.open(str(trimmed), "w", options=options) as container:
        stream = given.streams.video[0]
        copy = container.add_stream_from_template(stream)
        cut = round(10 / RATE / stream.time_base)
        for packet in given.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - cut, packet.dts - cut, copy
                container.mux(packet)
    frames = read_video(trimmed)
    with av.open(str(trimmed)) as container:
        assert 0 < len(frames) < container.streams.video[0].frames
    out = tmp_path / "out"
    assert run(trimmed, "--model", model_dir, "--output", out) == 0, capsys.readouterr().err
    assert len(read_video(out / "overlays" / "trimmed.mp4")) == len(frames)


def test_damaged_videos_are_named_and_the_rest_goes_on(model_dir, tmp_path, capsys) -> None:
    folder, out = tmp_path / "media", tmp_path / "out"
    folder.mkdir()
    whole = write_video(folder / "whole.mp4", 10).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    # With its index at the beginning, as for streaming, it can be opened however short it is.
    fast = write_video(folder / "short.mp4", 10, movflags="faststart").read_bytes()
    (folder / "short.mp4").write_bytes(fast[: len(fast) * 2 // 3])
    (folder / "empty.avi").write_bytes(b"")
    (folder / "text.mov").write_text("no video")
    # Its index is whole, its images are not.
    write_video(folder / "holes.mp4", 10)
    data = bytearray((folder / "holes.mp4").read_bytes())
    begin = data.index(b"mdat") + 4
    data[begin + len(data) // 3 : begin + len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    (folder / "holes.mp4").write_bytes(data)
    assert run(folder, "--model", model_dir, "--output", out) == 1
    shown = capsys.readouterr()
    for name in ("cut.mp4", "empty.avi", "holes.mp4", "short.mp4", "text.mov"):
        assert len([line for line in shown.err.splitlines() if str(folder / name) in line]) == 1
        assert not (out / "shares" / name).with_suffix(".json").exists()
        assert not (out / "overlays" / name).with_suffix(".mp4").exists()
    assert (out / "overlays" / "whole.mp4").is_file()


def test_without_av_one_sentence_names_the_package(
    model_dir, tmp_path, capsys, monkeypatch
) -> None:
    (tmp_path / "media").mkdir()
    for name in ("a.mp4", "b.mov"):
        (tmp_path / "media" / name).write_bytes(b"not looked at")
    draw_blocks(1)[0].save(tmp_path / "media" / "image.png")
    monkeypatch.setattr(scripts.segmenter, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "av", None)  # an import would fail
    assert run(tmp_path / "media", "--model", model_dir, "--output", tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert shown.err.count("pip install av") == 1
    assert "1 segmented, 0 finished before, 2 failed" in shown.out
