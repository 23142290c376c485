"""A video, frame by frame: an overlay video of the same frame rate, and class shares over time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


def segment_video(source: Input, name: PurePath, results: Results, segmenter: Segmenter) -> None:
    """Write overlays/NAME.mp4 (without sound) and shares/NAME.json; a batch of frames in memory.

    The record holds `shares` over the whole video, `frame_rate`, and `seconds`: the shares over
    the frames of the first second, of the next, and so on.

    Raises:
        ValueError: the file is no video, or a damaged one.
        OSError: the results cannot be written.
    """
    num_labels = segmenter.labels.num_labels
    areas: list[np.ndarray] = []  # of each second; of each frame would grow for ever

    with _frames(source.path) as (frames, rate, total):

        def segmented() -> Iterator[tuple[Image.Image, np.ndarray]]:
            index = 0
            shown = iter(progress(frames, source.path.name, total, delay=2))
            while batch := list(islice(shown, segmenter.batch_size)):
                for image, label_map in zip(batch, segmenter.segment(batch), strict=True):
                    if index // rate == len(areas):
                        areas.append(np.zeros(num_labels, dtype=np.int64))
                    areas[-1] += np.bincount(label_map.ravel(), minlength=num_labels)
                    index += 1
                    yield image, label_map
            if index == 0:
                raise ValueError(f"{source.path}: none of its frames can be read, it is damaged")

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
        frame_rate=float(rate),
        shares=segmenter.shares(np.sum(areas, axis=0)),
        seconds=[segmenter.shares(one) for one in areas],
    )


@contextmanager
def _frames(path: Path) -> Iterator[tuple[Iterator[Image.Image], Fraction, int | None]]:
    """Upright RGB frames of a video, their rate a second, and a guess of their number.

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

        def frames() -> Iterator[Image.Image]:
            try:
                for packet in container.demux(stream):
                    if packet.is_corrupt:
                        raise ValueError(problem.format("it ends within a frame"))
                    for frame in packet.decode():
                        yield frame.to_image().rotate(frame.rotation, expand=True)
            except av.FFmpegError as error:
                raise ValueError(problem.format(error.strerror)) from error

        yield (
            frames(),
            stream.average_rate or stream.guessed_rate or Fraction(25),
            (stream.frames or None),
        )


def _encode(
    file: Path,
    segmented: Iterator[tuple[Image.Image, np.ndarray]],
    rate: Fraction,
    segmenter: Segmenter,
) -> None:
    """Write overlays as H.264 that browsers play: 4:2:0, of even width and height."""
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(file), "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.pix_fmt = "yuv420p"
        for image, label_map in segmented:
            shown = overlay(image, label_map, segmenter.alpha, segmenter.labels)
            width, height = shown.width + shown.width % 2, shown.height + shown.height % 2
            if stream.codec_context.is_open is False:
                stream.width, stream.height = width, height
            # Beyond the image, `crop` gives black.
            frame = av.VideoFrame.from_image(shown.crop((0, 0, width, height)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
