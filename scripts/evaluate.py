"""The command that scores a model: `python -m scripts.evaluate --help`.

The published 37.4 mIoU of SegFormer-B0 on ADE20K's 2,000 validation images, measured again
(with a network; `accelerate launch -m` in place of `python -m` shares the work among GPUs):

    python -m scripts.evaluate --profile full --model nvidia/segformer-b0-finetuned-ade-512-512
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.processes import processes
from scripts import cli

if TYPE_CHECKING:
    from helpers.evaluation import Protocol

_SPLITS = {"validation": "test", "test": "third"}
"""The data's own name of a split: that of `load_scenes`."""


def main(arguments: list[str] | None = None) -> int:
    """Evaluate from the command line; returns the exit status."""
    options, protocol = _parse(arguments)
    if (count := cli.processes_wanted()) > 1:
        return cli.start_processes(count, "scripts.evaluate", arguments or sys.argv[1:])
    try:
        _evaluate_and_tell(options, protocol)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, cli.WrongUse) else 1
    return 0


def _parse(arguments: list[str] | None) -> tuple[argparse.Namespace, Protocol]:
    parser = cli.Parser(
        prog="python -m scripts.evaluate",
        description="Score a model on images that it was not trained on, each at its original "
        "size. Several processes: accelerate launch -m scripts.evaluate ...",
    )
    whole = cli.at_least(1)
    add = parser.add_argument
    cli.add_data_options(parser)
    add(
        "--split",
        choices=_SPLITS,
        default="validation",
        help="validation: where the best checkpoint was chosen (default); test: the data's third "
        "split, if there is one",
    )
    add("--model", help="folder or Hub id (default: the profile's finished model)")
    add("--short-side", type=whole, metavar="PIXELS", help="default: the size of the model's input")
    add("--window", type=whole, metavar="PIXELS", help="slide a square window")
    add("--stride", type=whole, metavar="PIXELS", help="between windows (default: 2/3 of one)")
    add("--flip", action="store_true", help="average with the mirror image")
    add("--max-images", type=whole, metavar="N", help="only the first N images")
    add("--max-pictures", type=whole, dest="max_images", help=argparse.SUPPRESS)
    add("--num-workers", type=cli.at_least(0), metavar="N", help="default: the profile's")
    add("--json", type=Path, metavar="FILE", help="write protocol and scores here")
    options = parser.parse_args(arguments)
    if options.json and not options.json.resolve().parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.resolve().parent}")
    from helpers.evaluation import Protocol

    try:  # before anything is loaded; a short side that is not given is known only then
        protocol = Protocol(options.short_side or 512, options.window, options.stride, options.flip)
    except ValueError as error:
        parser.error(str(error))
    return options, protocol


def _evaluate_and_tell(options: argparse.Namespace, protocol: Protocol) -> None:
    from helpers.data import check_scenes, load_scenes
    from helpers.evaluation import evaluate
    from helpers.inference import load_model

    state = processes()
    profile, split = cli.chosen_profile(options), _SPLITS[options.split]
    source = options.model or profile.finetuned_model
    with state.main_process_first():  # which fills the cache and looks for broken files
        model, image_processor = load_model(source)
        scenes = load_scenes(profile, check=False, splits=[split])[split]
        if options.max_images:
            scenes = scenes.select(range(min(options.max_images, len(scenes))))
        check_scenes(scenes, options.split, profile.labels)
    if options.short_side is None:
        size = image_processor.size
        protocol = replace(protocol, short_side=size.get("height") or size.get("shortest_edge"))
    workers = profile.num_workers if options.num_workers is None else options.num_workers
    begin = time.monotonic()
    model.to(state.device)
    matrix = evaluate(scenes, model, image_processor, protocol, profile.labels, workers)
    seconds = time.monotonic() - begin
    state.destroy_process_group()  # or a process may abort while it ends
    if not state.is_main_process:
        return
    scores = matrix.compute()
    print(f"{source} on {len(scenes)} {options.split} images of {profile.dataset}")
    print(f"{protocol}, {seconds:.0f} s")
    for name in ("mean_iou", "mean_accuracy", "overall_accuracy"):
        print(f"{name:<17} {scores[name]:.4f}")
    if options.json:
        result = {
            "model": str(source),
            "data": profile.dataset,
            "split": options.split,
            "images": len(scenes),
            "labelled_pixels": int(matrix.counts.sum()),
            "protocol": asdict(protocol),
            "processes": state.num_processes,
            "seconds": round(seconds, 2),
            **_as_json(scores, model.config.id2label),
        }
        options.json.write_text(json.dumps(result, indent=2, allow_nan=False), encoding="utf-8")


def _as_json(scores: dict[str, Any], id2label: dict[int, str]) -> dict[str, Any]:
    """Scores with class names for keys; None for what is NaN, which JSON does not have."""

    def number(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    means = {key: number(value) for key, value in scores.items() if isinstance(value, float)}
    iou = scores["per_category_iou"]
    return means | {"iou": {id2label[k]: number(value) for k, value in enumerate(iou)}}


if __name__ == "__main__":
    cli.draw_bars_where_somebody_looks()
    sys.exit(main())
