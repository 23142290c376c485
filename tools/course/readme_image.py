"""The README's images, each beside its label map: `python -m tools.course readme-image`."""

from __future__ import annotations

import argparse
import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from helpers.data import load_scenes
from helpers.inference import load_model, segment, upsampled_argmax
from helpers.labels import ADE20K, Labels
from helpers.profiles import BUNDLED, REPOSITORY, get_profile
from helpers.visualize import overlay, show_images
from tools.course.execute import smaller_png
from tools.photos import heads

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from PIL import Image

FOLDER = REPOSITORY / ".github"
SCENE = 10
"""A street with cars, trees, houses and a bus: row of the toy scenes' test split."""
PHOTOGRAPH = 1
"""The Colosseum: row of the photographs' test split."""


def draw_street() -> Figure:
    """A test scene, and what the bundled SegFormer sees in it."""
    profile = get_profile("tiny")
    image = load_scenes(profile)["test"][SCENE]["image"]
    label_map = segment(image, *load_model(profile.finetuned_model))
    titles = "a drawn street", "what the bundled SegFormer sees in it"
    return _side_by_side(titles, image, label_map, ADE20K)


def draw_photograph() -> Figure:
    """A photograph of another place, and what notebook 10's linear layer sees in it."""
    folder = str(BUNDLED / "photos")
    splits, labels = heads.photographs(folder)
    photographs = heads.Photographs(folder, "ImageNet")
    torch.manual_seed(0)
    head = photographs.linear()
    maps, annotation = photographs.scored["test"][PHOTOGRAPH]
    with torch.inference_mode():
        label_map = upsampled_argmax(head(maps)[0], annotation.shape)
    titles = "a photograph", "the map of a linear layer, trained on twelve others"
    return _side_by_side(titles, splits["test"][PHOTOGRAPH]["image"], label_map, labels)


def _side_by_side(
    titles: tuple[str, str], image: Image.Image, label_map: np.ndarray, labels: Labels
) -> Figure:
    before, after = titles
    views = {before: image, after: overlay(image, label_map, labels=labels)}
    return show_images(views, width=10, named={after: label_map}, labels=labels)


def main(arguments: list[str] | None = None) -> int:
    """Draw the README's images: a drawn street and a photograph, with overlays and names."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.course readme-image", description=__doc__
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: .github")
    folder = parser.parse_args(arguments).folder
    drawn = io.BytesIO()
    draw_street().savefig(drawn, dpi=90)
    encoded = base64.b64encode(drawn.getvalue()).decode()
    (folder / "overlay.png").write_bytes(base64.b64decode(smaller_png(encoded)))
    draw_photograph().savefig(folder / "photograph.jpg", dpi=90, pil_kwargs={"quality": 88})
    return 0
