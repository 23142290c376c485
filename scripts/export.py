"""The command that writes a model for ONNX Runtime: `python -m scripts.export --help`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from scripts import cli
from scripts.cli import WrongUse

if TYPE_CHECKING:
    from PIL import Image

_ODD_SIZES = ((97, 33), (331, 517), (61, 200), (500, 375), (1, 1))  # width, height


def main(arguments: list[str] | None = None) -> int:
    """Export from the command line; returns the exit status."""
    options = _parse(arguments)
    return cli.status_of(lambda: _export(options))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = cli.Parser(
        prog="python -m scripts.export",
        description="Write a model as one file that ONNX Runtime runs, after its label maps have "
        "been compared with those of scripts.segment, which takes it too: --model model.onnx.",
        epilog="Inputs: image, (batch, height, width, 3) uint8 RGB, of the height and width, or "
        "scaled to those at most, that the metadata name under resize; size, the height and width "
        "of the label maps. Outputs: label_map, (batch, height, width) uint8; logits. The metadata "
        "hold the labels, too.",
    )
    file = "ends in .onnx; an older one is overwritten (default: DIR/model.onnx)"
    images = "compare on these images (default: bundled ones, at several sizes)"
    parser.add_argument("--model", required=True, metavar="DIR", help="as scripts.segment takes it")
    parser.add_argument("--output", type=Path, metavar="FILE", help=file)
    parser.add_argument("--images", metavar="FOLDER", help=images)
    return parser.parse_args(arguments)


def _export(options: argparse.Namespace) -> None:
    folder = Path(options.model).expanduser()
    output = options.output or folder / "model.onnx"
    if output.suffix.lower() != ".onnx" or not output.resolve().parent.is_dir():
        raise WrongUse(
            f"--output is {output}, expected NAME.onnx in a folder that exists (for a model from "
            "the Hub, it has to be given)"
        )
    from scripts.onnx_segmenter import OnnxSegmenter, digest_of, need

    need("onnx")
    need("onnxruntime")
    from scripts.onnx_graph import Graph, compare_label_maps, compare_logits, resize_of, write
    from scripts.torch_segmenter import TorchSegmenter, load

    images = _images_in(options.images) if options.images else _bundled_images()
    model, image_processor, labels = load(options.model)
    with tempfile.TemporaryDirectory(dir=output.resolve().parent, prefix=".export-") as scratch:
        part = Path(scratch) / output.name
        try:
            names = {"names": labels.names, "colors": labels.palette.tolist()}
            about = {
                "labels": json.dumps(names | {"reduce": labels.reduce}),
                "resize": json.dumps(resize_of(image_processor)),
                "weights": TorchSegmenter(model, image_processor, labels).settings()["weights"],
                "files": digest_of(folder),
            }
            graph = Graph(model, image_processor)
            write(part, graph, about)
            exported = OnnxSegmenter(part)
            compare_logits(exported, graph)
        except Exception as error:  # PyTorch and ONNX Runtime have many
            raise ValueError(
                f"{options.model} cannot be exported: {cli.sentence(error)}"
            ) from error
        told = compare_label_maps(exported, graph, image_processor, images)
        os.replace(part, output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {labels}; {told}")


def _bundled_images() -> Iterator[tuple[str, Image.Image]]:
    """The street, as it is and at odd sizes, and the photographs of the validation split."""
    from pyarrow import parquet

    from helpers.images import load_image
    from helpers.profiles import REPOSITORY

    bundled = REPOSITORY / "helpers" / "bundled"
    street = load_image(bundled / "street" / "for_models" / "image.png")
    for size in (street.size, *_ODD_SIZES):
        yield "the bundled street at {} x {} pixels".format(*size), street.resize(size)
    for file in sorted((bundled / "photos").rglob("validation-*.parquet")):
        for cell in parquet.read_table(file, columns=["image"])["image"].to_pylist():
            yield f"a bundled photograph, {cell['path']}", load_image(cell)


def _images_in(folder: str) -> Iterator[tuple[str, Image.Image]]:
    from helpers.images import load_image
    from scripts.sources import find_sources

    files = [source.path for source in find_sources([folder]) if not source.is_video]
    if not files:
        raise ValueError(f"there is no image in {folder}, expected some to compare label maps on")
    return ((str(file), load_image(file)) for file in files)


if __name__ == "__main__":
    cli.draw_bars_where_somebody_looks()
    sys.exit(main())
