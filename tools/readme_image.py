"""Draw the README's image, a test scene beside its overlay: `python -m tools.readme_image`."""

from __future__ import annotations

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


def draw(file: Path = FILE) -> None:
    """Segment the scene with the bundled model, and write image and overlay with names on it."""
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


if __name__ == "__main__":
    draw()
