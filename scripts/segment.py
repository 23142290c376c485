"""The command that segments many images and videos: `python -m scripts.segment --help`."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import torch
from PIL import Image
from tqdm.auto import tqdm

from helpers.hub import explained
from helpers.inference import load_labels, load_model
from helpers.labels import Labels
from helpers.processes import progress
from scripts.cli import at_least, sentence
from scripts.results import Results, check_folder
from scripts.segmenter import DONE, FAILED, Segmenter, segment_images
from scripts.sources import Input, find_sources

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

SKIPPED = "skipped"


def main(arguments: list[str] | None = None) -> int:
    """Segment images from the command line; returns the exit status."""
    options = _parse(arguments)
    try:
        sources = find_sources(options.images)
        check_folder(options.output)  # before a model is loaded
        segmenter = _segmenter(options)
        settings = {"model": options.model} | segmenter.settings()
        results = Results(options.output, settings, options.overwrite)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        with results:
            counts = _segment_all(sources, results, segmenter)
    except KeyboardInterrupt:
        return _stopped("interrupted", 130)
    except torch.OutOfMemoryError:
        return _stopped(
            f"error: a batch of {options.batch_size} does not fit into the memory of "
            f"{segmenter.model.device}, choose a smaller --batch-size"
        )
    except OSError as error:
        return _stopped(f"error: results cannot be written ({error})")
    print(
        f"{len(sources)} found: {counts[DONE]} segmented, {counts[SKIPPED]} finished before, "
        f"{counts[FAILED]} failed; results in {options.output}"
    )
    return 1 if counts[FAILED] else 0


def _stopped(why: str, status: int = 1) -> int:
    print(f"{why}: the same command resumes from here", file=sys.stderr)
    return status


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.segment",
        description="Segment images and videos. The output folder gets labels/ (PNG whose values "
        "are label ids, shown in the palette's colours), overlays/, shares/ (the share of each "
        "class, JSON, a file an image), and shares.json, all of them in one. The same command "
        "again resumes where it stopped.",
        epilog="Colours are those of the model's labels.json, ADE20K's for its names, else ones "
        "that colour-blind eyes tell apart too. Videos need the package av, and get an overlay "
        "video and the shares second by second. Exit status: 0 all done, 1 something failed, 2 "
        "refused before any work.",
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGES",
        help='files, folders (with those inside), patterns ("in/**/*.jpg", quoted)',
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="DIR",
        help="folder written by save_pretrained, or a Hub id",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="a new folder, or that of an earlier call to resume",
    )
    parser.add_argument(
        "--batch-size",
        type=at_least(1),
        default=8,
        metavar="N",
        help="images that go through the model together (default: 8)",
    )
    parser.add_argument(
        "--window",
        type=int,
        metavar="PIXELS",
        help="for images too large for one pass: look at them at their own resolution, through "
        "overlapping windows of this size (default: one pass at the model's input size)",
    )
    parser.add_argument(
        "--alpha",
        type=_alpha,
        default=0.5,
        metavar="A",
        help="overlays: 0 shows the image alone, 1 the colours (default: 0.5)",
    )
    parser.add_argument("--no-overlays", action="store_true", help="label maps and shares alone")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: a GPU if there is one)")
    parser.add_argument(
        "--overwrite", action="store_true", help="remove earlier results and start over"
    )
    parser.add_argument(  # its old name
        "--anew", action="store_true", dest="overwrite", help=argparse.SUPPRESS
    )
    return parser.parse_args(arguments)


def _alpha(text: str) -> float:
    """A `type` for argparse."""
    try:
        alpha = float(text)
    except ValueError:
        alpha = None
    if alpha is None or not 0 <= alpha <= 1:
        raise argparse.ArgumentTypeError(f"it is {text}, expected 0 (image) to 1 (colours)")
    return alpha


def _segmenter(options: argparse.Namespace) -> Segmenter:
    device = _choose_device(options.device)
    model, image_processor, labels = _load(options.model)
    alpha = None if options.no_overlays else options.alpha
    return Segmenter(
        model.to(device), image_processor, labels, alpha, options.batch_size, options.window
    )


def _choose_device(name: str | None) -> torch.device:
    found = torch.accelerator.current_accelerator(check_available=True)
    if name is None:
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ValueError(
            f"--device {name} is not available here: expected cpu{f' or {found}' if found else ''}"
        ) from None
    return device


def _load(source: str) -> tuple[PreTrainedModel, BaseImageProcessor, Labels]:
    """As `load_model`, with the labels; refuses what is no semantic segmentation model."""
    from transformers import AutoConfig

    folder = Path(source).expanduser()
    if folder.is_dir():
        source = str(folder)
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"--model {source} has no config.json: expected a folder written by save_pretrained"
            )
    elif folder.exists() or folder.is_absolute() or source.count("/") != 1 or source[0] in ".~":
        raise ValueError(f"there is no model folder {source}")
    try:
        with explained(source):
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        kinds = config.architectures or []
        if kinds and not any("SemanticSegmentation" in kind for kind in kinds):
            raise ValueError(
                f"it is a {kinds[0]}, and this command needs a model for semantic segmentation, "
                "such as SegformerForSemanticSegmentation"
            )
        labels = load_labels(source)
        return *load_model(source), labels
    except Exception as error:
        raise ValueError(f"--model {source} cannot be used: {sentence(error)}") from error


def _segment_all(
    sources: Sequence[Input], results: Results, segmenter: Segmenter
) -> dict[str, int]:
    """Segment what is not finished, and name what fails; how many were done, skipped, failed."""
    counts = dict.fromkeys((DONE, SKIPPED, FAILED), 0)
    with warnings.catch_warnings():
        # Between 90 and 180 megapixels Pillow only warns; beyond, it refuses.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        steps = _segment(sources, results, segmenter)
        for _, outcome, why in progress(steps, "Segmenting", len(sources)):
            counts[outcome] += 1
            if why:
                tqdm.write(f"failed: {why}", file=sys.stderr)
    return counts


def _segment(
    sources: Sequence[Input], results: Results, segmenter: Segmenter
) -> Iterator[tuple[Input, str, str]]:
    """Segment what is not finished: images, then videos; yields as `segment_images`."""
    images, videos = [], []
    for source in sources:
        name = results.claim(source)
        if results.is_finished(source, name, _endings(source, segmenter)):
            yield source, SKIPPED, ""
        else:
            results.forget(name)
            (videos if source.is_video else images).append((source, name))
    yield from segment_images(images, results, segmenter)
    yield from _segment_videos(videos, results, segmenter)


def _endings(source: Input, segmenter: Segmenter) -> dict[str, str]:
    labels = {} if source.is_video else {"labels": ".png"}
    shown = {"overlays": ".mp4" if source.is_video else ".jpg"}
    return labels | ({} if segmenter.alpha is None else shown)


def _segment_videos(
    videos: Sequence[tuple[Input, PurePath]], results: Results, segmenter: Segmenter
) -> Iterator[tuple[Input, str, str]]:
    if videos and not find_spec("av"):
        # Said once, counted for each.
        why = f"{videos[0][0].path} and any other video needs a package to be read: pip install av"
        for source, _ in videos:
            yield source, FAILED, why
            why = ""
        return
    for source, name in videos:
        from scripts.videos import segment_video  # it imports av

        try:
            segment_video(source, name, results, segmenter)
        except ValueError as error:
            yield source, FAILED, sentence(error)
        else:
            yield source, DONE, ""


if __name__ == "__main__":
    sys.exit(main())
