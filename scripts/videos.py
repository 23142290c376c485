"""A video, frame by frame: an overlay video in the same time, and class shares over time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import av
import numpy as np
from PIL import Image

from helpers.processes import progress
from helpers.visualize import overlay

if TYPE_CHECKING:
    from scripts.results import Results
    from scripts.segmenter import Segmenter
    from scripts.sources import Input

# Seconds: 24, 25, 30, 60, 29.97 and 23.976 frames a second are exact in it; MPEG-4 is coarser.
_TICKS = {"libx264": Fraction(1, 120_000), "mpeg4": Fraction(1, 60_000)}


@dataclass(frozen=True)
class _Frame:
    """A frame as it is shown: upright RGB, and when."""

    image: Image.Image
    time: Fraction  # seconds since the first frame; no two frames have the same
    duration: Fraction  # seconds, as the file has it or guesses it
    aspect: Fraction  # width of a pixel by its height


def segment_video(source: Input, name: PurePath, results: Results, segmenter: Segmenter) -> None:
    """Write overlays/NAME.mp4 (without sound) and shares/NAME.json; a batch of frames in memory.

    The record holds `shares` over the whole video, `frame_rate` (the mean), and `seconds`: the
    shares of the first second, of the next, and so on. A frame counts for as long as it is shown:
    phones and recorders of screens write a frame when they have one, not at a constant rate.
    """
    areas = _Areas(segmenter.labels.num_labels)

    with _frames(source.path) as (frames, rate, total):

        def segmented() -> Iterator[tuple[_Frame, np.ndarray]]:
            shown = iter(progress(frames, source.path.name, total, delay=2))
            while batch := list(islice(shown, segmenter.batch_size)):
                label_maps = segmenter.segment([frame.image for frame in batch])
                for frame, label_map in zip(batch, label_maps, strict=True):
                    areas.add(frame, label_map)
                    yield frame, label_map
            if not areas.count:
                raise ValueError(f"{source.path}: none of its frames can be read, it is damaged")
            areas.end()

        if segmenter.alpha is None:
            for _ in segmented():
                pass
        else:
            results.write(
                name, "overlays", ".mp4", lambda file: _encode(file, segmented(), rate, segmenter)
            )
    results.finish(
        source,
        name,
        frame_rate=round(float(areas.rate or rate), 2),
        shares=segmenter.shares(np.sum(areas.seconds, axis=0)),
        seconds=[segmenter.shares(one) for one in areas.seconds],
    )


class _Areas:
    """The pixels of each label, times how long they are shown, for each second of a video."""

    def __init__(self, num_labels: int) -> None:
        self.seconds: list[np.ndarray] = []  # of each frame would grow for ever
        self.count = 0
        self._num_labels = num_labels

    def add(self, frame: _Frame, label_map: np.ndarray) -> None:
        """Count the frame before this one, which is shown until now."""
        if self.count:
            self._show_until(frame.time)
        self.count += 1
        self._frame = frame
        self._counts = np.bincount(label_map.ravel(), minlength=self._num_labels)

    @property
    def rate(self) -> Fraction | None:
        """Frames a second, the mean; None of a single one."""
        return (self.count - 1) / self._frame.time if self.count > 1 else None

    def end(self) -> None:
        """Count the last frame."""
        last = self._frame
        until = last.time + last.duration
        whole = math.floor(until)
        # Clocks tick: a tenth more is no further second.
        self._show_until(Fraction(whole) if last.time < whole > until - Fraction(1, 10) else until)

    def _show_until(self, until: Fraction) -> None:
        begin = self._frame.time
        for second in range(math.floor(begin), math.ceil(until)):
            if second == len(self.seconds):
                self.seconds.append(np.zeros(self._num_labels))
            share = min(until, second + 1) - max(begin, second)
            self.seconds[second] += self._counts * float(share)


@contextmanager
def _frames(path: Path) -> Iterator[tuple[Iterator[_Frame], Fraction, int | None]]:
    """The frames of a video, their rate a second as the file guesses it, and their number.

    The file's own number counts frames that are not shown where it was cut without encoding it
    again; a file that ends too early is found by the half frame at its end.
    """
    problem = f"{path} cannot be read as a video ({{}}): the file is damaged or incomplete"
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise ValueError(problem.format(error.strerror)) from error
    with container:
        if not container.streams.video:
            raise ValueError(problem.format("it has no images"))
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        # Browsers write an average of 1,000; the guess looks at the first frames, too.
        rate = stream.guessed_rate or stream.average_rate or Fraction(25)
        aspect = stream.sample_aspect_ratio or Fraction(1)

        def frames() -> Iterator[_Frame]:
            begin = time = None
            try:
                for packet in container.demux(stream):
                    if packet.is_corrupt:
                        raise ValueError(problem.format("it ends within a frame"))
                    for frame in packet.decode():
                        stamp = None if frame.pts is None else frame.pts * frame.time_base
                        if time is None:
                            begin, time = stamp or 0, Fraction(0)
                        elif stamp is None or stamp - begin <= time:  # no clock, or one set back
                            time += 1 / rate
                        else:
                            time = stamp - begin
                            steady = round(time * rate) / rate
                            if abs(steady - time) < frame.time_base / 2:  # Matroska has whole ms
                                time = steady
                        duration = max((frame.duration or 0) * frame.time_base, 1 / rate)
                        image = frame.to_image().rotate(frame.rotation, expand=True)
                        lies = frame.rotation % 180 == 90
                        yield _Frame(image, time, duration, 1 / aspect if lies else aspect)
            except av.FFmpegError as error:
                raise ValueError(problem.format(error.strerror)) from error

        yield frames(), rate, (stream.frames or None)


def _encode(
    file: Path, segmented: Iterator[tuple[_Frame, np.ndarray]], rate: Fraction, segmenter: Segmenter
) -> None:
    """Write overlays as H.264 that browsers play: 4:2:0, of even width and height."""
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    tick = _TICKS[codec]
    with av.open(str(file), "w", format="mp4") as container:
        # Frames that are decoded in another order than shown would end the track too early.
        stream = container.add_stream(codec, rate=rate, options={"bf": "0"})
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = tick
        for frame, label_map in segmented:
            shown = overlay(frame.image, label_map, segmenter.alpha, segmenter.labels)
            width, height = shown.width + shown.width % 2, shown.height + shown.height % 2
            if stream.codec_context.is_open is False:
                stream.width, stream.height = width, height
                stream.codec_context.sample_aspect_ratio = frame.aspect
            # Beyond the image, `crop` gives black.
            written = av.VideoFrame.from_image(shown.crop((0, 0, width, height)))
            written.pts, written.time_base = round(frame.time / tick), tick
            container.mux(stream.encode(written))
        container.mux(stream.encode())
