"""The README's image, a test scene beside its overlay: `python -m tools.course readme-image`."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from PIL import Image

from helpers.data import load_scenes
from helpers.inference import load_model, segment
from helpers.profiles import REPOSITORY, get_profile
from helpers.visualize import overlay, show_images

FILE = REPOSITORY / ".github" / "overlay.png"
SCENE = 10
"""A street with cars, trees, houses and a bus: row of the test split."""


def main(arguments: list[str] | None = None) -> int:
    """Draw the README's image: a test scene, and the bundled model's overlay with names on it."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.course readme-image", description=__doc__
    )
    parser.add_argument("--file", type=Path, default=FILE, help="default: .github/overlay.png")
    file = parser.parse_args(arguments).file
    profile = get_profile("tiny")
    image = load_scenes(profile)["test"][SCENE]["image"]
    label_map = segment(image, *load_model(profile.finetuned_model))
    segmented = "what the bundled SegFormer sees in it"
    figure = show_images(
        {"a drawn street": image, segmented: overlay(image, label_map)},
        width=10,
        named={segmented: label_map},
    )
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=90)
    few_colors = Image.open(drawn).convert("RGB").quantize(256, kmeans=3)  # a third of the bytes
    few_colors.save(file, optimize=True)
    return 0
