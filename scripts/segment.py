"""The command that segments many images and videos: `python -m scripts.segment --help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import cli
from scripts.cli import WrongUse

if TYPE_CHECKING:
    from scripts.segmenter import Segmenter

_RESUME = "the same command resumes from here"


def main(arguments: list[str] | None = None) -> int:
    """Segment images from the command line; returns the exit status."""
    options = _parse(arguments)
    return cli.status_of(lambda: _run(options), f"interrupted: {_RESUME}")


def _run(options: argparse.Namespace) -> int:
    # Some of it is heavy: not before the options are read.
    from scripts.results import Results, check_folder
    from scripts.segmenter import DONE, FAILED, SKIPPED, OutOfMemory, segment_all
    from scripts.sources import find_sources

    sources = find_sources(options.images)
    check_folder(options.output)  # before a model is loaded
    segmenter = _segmenter(options)
    settings = {"model": options.model} | segmenter.settings()
    results = Results(options.output, settings, options.overwrite)
    try:
        with results:
            counts = segment_all(sources, results, segmenter)
    except OutOfMemory as error:
        raise ValueError(f"{error}: {_RESUME}") from error
    except OSError as error:
        raise ValueError(f"results cannot be written ({error}): {_RESUME}") from error
    print(
        f"{len(sources)} found: {counts[DONE]} segmented, {counts[SKIPPED]} finished before, "
        f"{counts[FAILED]} failed; results in {options.output}"
    )
    return 1 if counts[FAILED] else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = cli.Parser(
        prog="python -m scripts.segment",
        description="Segment images and videos. The output folder gets labels/ (PNG whose values "
        "are label ids, shown in the palette's colours), overlays/, shares/ (the share of each "
        "class, JSON, a file an image), and shares.json, all of them in one. The same command "
        "again resumes where it stopped.",
        epilog="Colours are those of the model's labels.json, ADE20K's for its names, else ones "
        "that colour-blind eyes tell apart too. Videos need the package av, and get an overlay "
        "video and the shares second by second.",
    )
    add = parser.add_argument
    add(
        "images",
        nargs="+",
        metavar="IMAGES",
        help='files, folders (with those inside), patterns ("in/**/*.jpg", quoted); folders whose '
        "name begins with . or @ are passed over",
    )
    add(
        "--model",
        required=True,
        metavar="DIR",
        help="folder written by save_pretrained, or a Hub id; or a file that scripts.export wrote, "
        "which is run by onnxruntime on the CPU, without PyTorch",
    )
    new = "a new folder, or that of an earlier call to resume"
    add("--output", required=True, type=Path, metavar="DIR", help=new)
    together = "images that go through the model together (default: 8)"
    add("--batch-size", type=cli.at_least(1), default=8, metavar="N", help=together)
    add(
        "--window",
        type=int,
        metavar="PIXELS",
        help="for images too large for one pass: look at them at their own resolution, through "
        "overlapping windows of this size (default: one pass at the model's input size)",
    )
    share = cli.a_number(lambda alpha: 0 <= alpha <= 1, "0 (image) to 1 (colours)")
    shown = "overlays: 0 shows the image alone, 1 the colours (default: 0.5)"
    add("--alpha", type=share, default=0.5, metavar="A", help=shown)
    add("--no-overlays", action="store_true", help="label maps and shares alone")
    add("--device", help="cpu, cuda, cuda:1, mps (default: a GPU if there is one)")
    add("--overwrite", action="store_true", help="remove earlier results and start over")
    add("--anew", action="store_true", dest="overwrite", help=argparse.SUPPRESS)  # its old name
    return parser.parse_args(arguments)


def _segmenter(options: argparse.Namespace) -> Segmenter:
    """Of the model that `--model` names: PyTorch is imported for a folder or a Hub id alone."""
    alpha = None if options.no_overlays else options.alpha
    if options.model.lower().endswith(".onnx"):
        from scripts.onnx_segmenter import OnnxSegmenter

        if options.window is not None or options.device not in (None, "cpu"):
            raise WrongUse(
                f"{options.model} runs on the CPU, at the model's input size: for --window or "
                "--device, give --model the folder that it was exported from"
            )
        return OnnxSegmenter(Path(options.model).expanduser(), alpha, options.batch_size)
    from scripts.torch_segmenter import TorchSegmenter, choose_device, load

    device = choose_device(options.device)
    if device.type == "cpu" and options.window is None:
        exported = _exported(options.model, alpha, options.batch_size)
        if exported is not None:
            return exported
    model, image_processor, labels = load(options.model)
    return TorchSegmenter(
        model.to(device), image_processor, labels, alpha, options.batch_size, options.window
    )


def _exported(model: str, alpha: float | None, batch_size: int) -> Segmenter | None:
    """The model.onnx in a model's folder, if it was exported from what lies there now."""
    file = Path(model).expanduser() / "model.onnx"
    if not file.is_file():
        return None
    from scripts.onnx_segmenter import OnnxSegmenter, digest_of

    try:
        exported = OnnxSegmenter(file, alpha, batch_size)
    except ValueError as error:
        why = str(error)
    else:
        if exported.files == digest_of(file.parent):
            print(f"ONNX Runtime runs {file}")
            return exported
        why = f"{file} was exported from other weights, labels or preprocessing"
    print(f"notice: PyTorch is used ({why})", file=sys.stderr)
    return None


if __name__ == "__main__":
    cli.draw_bars_where_somebody_looks()
    sys.exit(main())
