"""Many images and videos through a model: decode, predict and write side by side."""

from __future__ import annotations

import errno
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from helpers.images import header, load_image, size_of
from helpers.labels import Labels
from helpers.processes import progress
from helpers.visualize import overlay
from scripts.cli import sentence
from scripts.results import Results
from scripts.sources import Input

if TYPE_CHECKING:
    from pathlib import Path

DONE, SKIPPED, FAILED = "done", "skipped", "failed"
Step = tuple[Input, str, str]
"""What became of an image or video, when it is through: which of these, and why it failed."""

_MOST_PIXELS = 2**25  # decoded in a batch: 100 MB of RGB; a larger image is a batch of its own
_PAGES = "only the first page or frame is segmented; to segment all, save each as a file"
_DARK = 64  # of 255: a quarter of white
_DARK_CAUSE = "read as nearly black, since white is the largest number that the file can hold; if "
_DARK_CAUSE += "it holds numbers of fewer bits, such as 12, scale them so that white is 65,535"


class OutOfMemory(Exception):
    """A batch is too large for the device; says so, and what to do."""


class Segmenter:
    """A model's label maps, and what is made of them; `segment` and `settings` are its kinds'.

    Args:
        labels: names and colours of the model's classes.
        alpha: share of colour in overlays; None: no overlays.
        batch_size: images or frames that are segmented together.
    """

    def __init__(self, labels: Labels, alpha: float | None, batch_size: int) -> None:
        self.labels, self.alpha, self.batch_size = labels, alpha, batch_size

    def settings(self) -> dict[str, Any]:
        """All that the results depend on, as JSON."""
        raise NotImplementedError

    def segment(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        """The label map of each image, at its own size; OutOfMemory where they are too many."""
        raise NotImplementedError

    def shares(self, areas: np.ndarray) -> dict[str, float]:
        """Areas of all labels, in any unit, as shares of their sum by class name, largest first."""
        total = float(areas.sum())
        found = {self.labels.names[label]: float(areas[label]) for label in np.flatnonzero(areas)}
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        return {name: round(area / total, 6) for name, area in ordered}


def segment_all(sources: Sequence[Input], results: Results, segmenter: Segmenter) -> dict[str, int]:
    """Segment what is not finished, say what fails and what to look at; how many were "done",
    "skipped" and "failed"."""
    counts = dict.fromkeys((DONE, SKIPPED, FAILED), 0)
    notices: dict[str, list[str]] = {}
    with warnings.catch_warnings():
        # Between 90 and 180 megapixels Pillow only warns; beyond, it refuses.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        steps = _segment(sources, results, segmenter, notices)
        try:
            for _, outcome, why in progress(steps, "Segmenting", len(sources)):
                counts[outcome] += 1
                if why:
                    tqdm.write(f"failed: {why}", file=sys.stderr)
        finally:
            for cause, files in notices.items():
                more = f" and {len(files) - 3:,} more" if len(files) > 3 else ""
                tqdm.write(f"notice: {', '.join(files[:3])}{more}: {cause}", file=sys.stderr)
    return counts


def _segment(
    sources: Sequence[Input], results: Results, segmenter: Segmenter, notices: dict[str, list[str]]
) -> Iterator[Step]:
    """Segment what is not finished: images, then videos."""
    images, videos = [], []
    for source in sources:
        name = results.claim(source)
        if results.is_finished(source, name, _endings(source, segmenter)):
            yield source, SKIPPED, ""
        else:
            results.forget(name)
            (videos if source.is_video else images).append((source, name))
    yield from _segment_images(images, results, segmenter, notices)
    yield from _segment_videos(videos, results, segmenter)


def _endings(source: Input, segmenter: Segmenter) -> dict[str, str]:
    labels = {} if source.is_video else {"labels": ".png"}
    shown = {"overlays": ".mp4" if source.is_video else ".jpg"}
    return labels | ({} if segmenter.alpha is None else shown)


def _segment_images(
    images: Sequence[tuple[Input, PurePath]],
    results: Results,
    segmenter: Segmenter,
    notices: dict[str, list[str]],
) -> Iterator[Step]:
    """Decode, predict and write images side by side, in constant memory."""
    batches = _batches(images, segmenter.batch_size)
    with ThreadPoolExecutor() as pool:

        def decode(batch: list[tuple[Input, PurePath]]) -> list[tuple]:
            return [(*one, pool.submit(_read, one[0].path)) for one in batch]

        coming, writing = decode(next(batches, [])), []
        while coming:
            current, coming = coming, decode(next(batches, []))
            readable = []
            for source, name, future in current:
                try:
                    image, found = future.result()
                except Exception as error:
                    yield source, FAILED, sentence(error)
                    continue
                readable.append((source, name, image))
                for cause, file in found.items():
                    notices.setdefault(cause, []).append(file)
            label_maps = _label_maps([image for _, _, image in readable], segmenter)
            yield from _written(writing)  # the batch before: so many images wait, not more
            writing = []
            for one, label_map in zip(readable, label_maps, strict=True):
                if isinstance(label_map, Exception):
                    why = f"{one[0].path} cannot be segmented ({sentence(label_map)})"
                    yield one[0], FAILED, why
                else:
                    task = pool.submit(_write_image, results, segmenter, *one, label_map)
                    writing.append((one[0], task))
        yield from _written(writing)


def _batches(
    images: Sequence[tuple[Input, PurePath]], size: int
) -> Iterator[list[tuple[Input, PurePath]]]:
    """At most `size` images at a time, and fewer of huge ones."""
    batch, pixels = [], 0
    for one in images:
        area = _pixels(one[0].path)
        if batch and (len(batch) == size or pixels + area > _MOST_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(one)
        pixels += area
    if batch:
        yield batch


def _pixels(file: Path) -> int:
    """Of an image, read from the beginning of its file; 0 where that is impossible."""
    try:
        return math.prod(size_of(file))
    except Exception:  # said when it is decoded
        return 0


def _read(file: Path) -> tuple[Image.Image, dict[str, str]]:
    """The image, and what is to be said of the file: by cause, the file with a number."""
    image, found = load_image(file), {}
    with header(file) as opened:
        deep = opened.mode.startswith("I") or any(";16" in str(one.args) for one in opened.tile)
        if (pages := _pages(opened)) > 1:
            found[_PAGES] = f"{file} ({pages:,} pages or frames)"
    if deep and (brightest := max(high for _, high in image.getextrema())) < _DARK:
        # `load_image` keeps the upper 8 bits of each number.
        found[_DARK_CAUSE] = f"{file} (values up to {256 * brightest + 255:,} of 65,535)"
    return image, found


def _pages(opened: Image.Image) -> int:
    """How many pages or frames an image has; a photograph's previews do not count."""
    try:
        return 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)
    except Exception:  # damage behind the first one
        return 1


def _label_maps(
    images: Sequence[Image.Image], segmenter: Segmenter
) -> list[np.ndarray | Exception]:
    """The label map of each image, or why there is none: what fails together is tried apart."""
    try:
        return segmenter.segment(images)
    except OutOfMemory:
        raise
    except Exception as error:
        if len(images) == 1:
            return [error]
    return [one for image in images for one in _label_maps([image], segmenter)]


def _write_image(
    results: Results,
    segmenter: Segmenter,
    source: Input,
    name: PurePath,
    image: Image.Image,
    label_map: np.ndarray,
) -> None:
    indexed = Image.fromarray(label_map)
    indexed.putpalette(segmenter.labels.palette.tobytes())
    results.write(name, "labels", ".png", indexed.save)
    if segmenter.alpha is not None:
        shown = overlay(image, label_map, segmenter.alpha, segmenter.labels)
        shown.thumbnail((65_500, 65_500))  # JPEG has no longer ones
        # JPEG: a PNG of a photograph takes longer to write than to predict. Full colour
        # resolution, or the borders between classes would blur.
        results.write(
            name, "overlays", ".jpg", lambda file: shown.save(file, quality=90, subsampling=0)
        )
    areas = np.array(indexed.histogram()[: segmenter.labels.num_labels])
    results.finish(
        source, name, width=image.width, height=image.height, shares=segmenter.shares(areas)
    )


def _written(writing: list[tuple[Input, Future]]) -> Iterator[Step]:
    for source, future in writing:
        yield _outcome(source, future.result)


def _segment_videos(
    videos: Sequence[tuple[Input, PurePath]], results: Results, segmenter: Segmenter
) -> Iterator[Step]:
    if videos and not find_spec("av"):
        # Said once, counted for each.
        why = f"{videos[0][0].path} and any other video needs a package to be read: pip install av"
        for source, _ in videos:
            yield source, FAILED, why
            why = ""
        return
    for source, name in videos:
        from scripts.videos import segment_video  # it imports av

        yield _outcome(source, partial(segment_video, source, name, results, segmenter))


def _outcome(source: Input, work: Callable[[], None]) -> Step:
    """Do the last of the work on a source; what is wrong with it alone stops no other."""
    try:
        work()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # a full disk, say
            raise
        return source, FAILED, f"{source.path}: no result can have such a long name here"
    except OutOfMemory:
        raise
    except Exception as error:
        why = sentence(error)
        named = str(source.path) in why
        return source, FAILED, why if named else f"{source.path} cannot be segmented ({why})"
    return source, DONE, ""
