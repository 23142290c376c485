"""The README's images, each beside its label map: `python -m tools.course readme-image`.

One moves: a scene while the model of notebook 05 trains, which takes a minute or two.
"""

from __future__ import annotations

import argparse
import base64
import io
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from transformers import TrainerCallback

from helpers.data import load_scenes
from helpers.inference import load_model, segment
from helpers.labels import ADE20K, Labels
from helpers.profiles import BUNDLED, REPOSITORY, get_profile
from helpers.training import build_trainer
from helpers.visualize import overlay, show_images
from tools.course.execute import smaller_png

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

FOLDER = REPOSITORY / ".github"
SCENE = 10
"""A street with cars, trees and a house: row of the toy scenes' test split."""
PHOTOGRAPH = 1
"""The Colosseum: row of the photographs' test split."""


def draw_training() -> list[Figure]:
    """A test scene and its label map, every ten steps of the training of notebook 05."""
    profile, figures = get_profile("tiny"), []
    scenes = load_scenes(profile)
    image = scenes["test"][SCENE]["image"]

    class Drawing(TrainerCallback):
        def on_evaluate(self, args, state, control, *, model, metrics, **others) -> None:
            label_map = segment(image, model, trainer.processing_class)
            score = f"validation mIoU {metrics['eval_mean_iou']:.2f}"
            after = f"after {state.global_step} of {state.max_steps} training steps: {score}"
            titles = "a drawn street, kept out of training", after
            figures.append(_side_by_side(titles, image, label_map, ADE20K, alpha=1))

    with tempfile.TemporaryDirectory() as folder:
        every_ten = {"eval_steps": 10, "save_strategy": "no", "load_best_model_at_end": False}
        trainer = build_trainer(profile, scenes, folder, **every_ten)
        trainer.add_callback(Drawing())
        trainer.train()
    return figures


def draw_photograph() -> Figure:
    """A photograph of another place, and what the bundled model sees in it."""
    photographs = replace(get_profile("tiny"), dataset=str(BUNDLED / "photos"))
    image = load_scenes(photographs, splits=["third"])["third"][PHOTOGRAPH]["image"]
    label_map = segment(image, *load_model(photographs.photo_model))
    titles = "a photograph", "the map of a model for which twelve others were labelled"
    return _side_by_side(titles, image, label_map, photographs.labels)


def _side_by_side(
    titles: tuple[str, str],
    image: Image.Image,
    label_map: np.ndarray,
    labels: Labels,
    alpha: float = 0.5,
) -> Figure:
    before, after = titles
    views = {before: image, after: overlay(image, label_map, alpha, labels)}
    return show_images(views, width=10, named={after: label_map}, labels=labels)


def moving_picture(frames: Sequence[Image.Image]) -> bytes:
    """RGB images of one size as an endless GIF: half a second each, the first and last longer.

    Flat areas keep their colors exactly, so that a class has the color of its name's area in all.

    Raises:
        ValueError: 256 colors are too few for the frames together.
    """
    width, height = frames[0].size
    column = Image.new("RGB", (width, height * len(frames)))  # one palette for all
    for number, frame in enumerate(frames):
        column.paste(frame, (0, number * height))
    smaller = smaller_png(base64.b64encode(_encoded(column, "PNG")).decode())
    column = Image.open(io.BytesIO(base64.b64decode(smaller)))
    if column.mode != "P":
        raise ValueError("the frames hold too many colors for one palette of 256: expected fewer")
    tops = range(0, column.height, height)
    first, *others = [column.crop((0, top, width, top + height)) for top in tops]
    seconds = [1, *[0.5] * (len(others) - 1), 4]
    times = [int(1000 * time) for time in seconds]
    return _encoded(first, "GIF", save_all=True, append_images=others, duration=times, loop=0)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _rendered(figure: Figure) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, dpi=90)
    return Image.open(file).convert("RGB")


def main(arguments: list[str] | None = None) -> int:
    """Draw the README's images: a training in motion, and a photograph, with names."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.course readme-image", description=__doc__
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: .github")
    folder = parser.parse_args(arguments).folder
    draw_photograph().savefig(folder / "photograph.jpg", dpi=90, pil_kwargs={"quality": 88})
    frames = [_rendered(figure) for figure in draw_training()]
    (folder / "training.gif").write_bytes(moving_picture(frames))
    return 0
