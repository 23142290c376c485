"""The README's image, a test scene beside its overlay: `python -m tools.course readme-image`."""

from __future__ import annotations

import argparse
import base64
import io
from pathlib import Path

from helpers.data import load_scenes
from helpers.inference import load_model, segment
from helpers.profiles import REPOSITORY, get_profile
from helpers.visualize import overlay, show_images
from tools.course.execute import smaller_png

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
    encoded = base64.b64encode(drawn.getvalue()).decode()
    file.write_bytes(base64.b64decode(smaller_png(encoded)))
    return 0
