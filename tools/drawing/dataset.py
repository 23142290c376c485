"""Draw what the course bundles: `python -m tools.drawing.dataset [--output DIR]`.

`scenes/` can be given to `datasets.load_dataset` as it is. Its card, README.md, is written by hand
but for the tables between the `<!-- measured -->` markers, which this script fills in. `street/`
holds the two streets of notebook 01, `fruit/` the folder that notebook 07 begins with.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, Features
from datasets import Image as ImageFeature
from PIL import Image
from tqdm.auto import tqdm

from helpers.labels import ADE20K
from helpers.profiles import BUNDLED
from tools.drawing.fruit import write_fruit_folder
from tools.drawing.scenes import (
    CLASS_VALUES,
    MODEL_STREET_SEED,
    SCENE_CATEGORIES,
    STREET_SEED,
    THING_VALUES,
    TRAIN_SEEDS,
    VALIDATION_SEEDS,
    Scene,
    draw_scene,
)

SPLIT_SEEDS = {"train": TRAIN_SEEDS, "validation": VALIDATION_SEEDS}
FEATURES = Features(
    {
        "image": ImageFeature(),
        "annotation": ImageFeature(),
        "instances": ImageFeature(),
        "scene_category": ClassLabel(names=list(SCENE_CATEGORIES)),
    }
)
STREETS = {"overlapping_cars": STREET_SEED, "for_models": MODEL_STREET_SEED}
"""The streets of notebook 01, for its first half and in the place of a photograph."""
MARKERS = ("<!-- measured -->", "<!-- /measured -->")


def encode_scene(scene: Scene, name: str) -> dict[str, object]:
    """Return one row: the image as JPEG, its label maps as PNG, the category's name."""

    def encode(image: Image.Image, suffix: str, **options: object) -> dict[str, object]:
        buffer = io.BytesIO()
        image.save(buffer, **options)
        return {"bytes": buffer.getvalue(), "path": f"{name}{suffix}"}

    return {
        # `progressive` and `optimize` make the file smaller and leave the pixels as they are.
        "image": encode(
            scene.image,
            ".jpg",
            format="JPEG",
            quality=85,
            subsampling=0,
            optimize=True,
            progressive=True,
        ),
        "annotation": encode(scene.annotation, ".png", format="PNG", optimize=True),
        "instances": encode(scene.instances, "_instances.png", format="PNG", optimize=True),
        "scene_category": scene.scene_category,
    }


def measured_tables(scenes: dict[str, list[Scene]]) -> str:
    """Return the card's tables in Markdown: how often scenes and classes occur in each split."""
    lines = ["| scene category | train | validation |", "| --- | ---: | ---: |"]
    for category in SCENE_CATEGORIES:
        counts = [sum(s.scene_category == category for s in scenes[split]) for split in SPLIT_SEEDS]
        lines.append(f"| {category} | {counts[0]} | {counts[1]} |")
    lines += ["", "Objects are counted over both splits; shares are train / validation, in %.", ""]
    lines += ["| value | class | kind | pixels | images | objects |"]
    lines += ["| ---: | --- | --- | ---: | ---: | ---: |"]
    shares = {
        split: np.stack([np.bincount(np.asarray(s.annotation).ravel(), minlength=151)
                         for s in scenes[split]])
        for split in SPLIT_SEEDS
    }  # fmt: skip
    objects = np.zeros(151, dtype=np.int64)
    for scene in (s for split in SPLIT_SEEDS for s in scenes[split]):
        annotation, instances = np.asarray(scene.annotation), np.asarray(scene.instances)
        pairs = np.unique(np.stack([annotation, instances], -1)[instances > 0], axis=0)
        objects += np.bincount(pairs[:, 0], minlength=151)
    for value in (0, *CLASS_VALUES):
        pixels = [100 * float(a[:, value].sum() / a.sum()) for a in shares.values()]
        images = [100 * float((a[:, value] > 0).mean()) for a in shares.values()]
        name = ADE20K.id2label[value - 1].strip() if value else "other"
        kind = "thing" if value in THING_VALUES else "stuff" if value else "–"
        count = str(objects[value]) if value in THING_VALUES else "–"
        lines.append(f"| {value} | {name} | {kind} | {pixels[0]:.1f} / {pixels[1]:.1f} "
                     f"| {images[0]:.0f} / {images[1]:.0f} | {count} |")  # fmt: skip
    return "\n".join(lines)


def build_dataset(output: Path) -> None:
    """Draw both splits and write their Parquet files; refresh the card's tables if it is there."""
    scenes = {
        split: [draw_scene(seed) for seed in tqdm(seeds, desc=split, unit="scene")]
        for split, seeds in SPLIT_SEEDS.items()
    }
    (output / "data").mkdir(parents=True, exist_ok=True)
    for split, seeds in SPLIT_SEEDS.items():
        rows = [
            encode_scene(scene, f"toy_{split}_{seed:08d}")
            for seed, scene in zip(seeds, scenes[split], strict=True)
        ]
        target = output / "data" / f"{split}-00000-of-00001.parquet"
        Dataset.from_list(rows, features=FEATURES).to_parquet(target)
        print(f"{target.name}: {len(rows)} scenes, {target.stat().st_size:,} bytes")
    card = output / "README.md"
    if card.is_file():
        before, rest = card.read_text(encoding="utf-8").split(MARKERS[0])
        after = rest.split(MARKERS[1])[1]
        tables = f"{MARKERS[0]}\n{measured_tables(scenes)}\n{MARKERS[1]}"
        card.write_text(before + tables + after, encoding="utf-8")


def draw_streets(output: Path) -> None:
    """Write image, annotation and instances of each street as PNGs into a folder of its name."""
    for name, seed in STREETS.items():
        folder = output / name
        folder.mkdir(parents=True, exist_ok=True)
        scene = draw_scene(seed, kind="street")
        for part in ("image", "annotation", "instances"):
            getattr(scene, part).save(folder / f"{part}.png", optimize=True)


def main() -> None:
    """Read the command line and draw everything."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.drawing.dataset",
        description="Draw the toy scenes, the streets and the fruit that the course bundles.",
    )
    parser.add_argument(
        "--output", type=Path, default=BUNDLED, metavar="DIR",
        help="folder to write scenes/, street/ and fruit/ into (default: helpers/bundled)",
    )  # fmt: skip
    output = parser.parse_args().output
    build_dataset(output / "scenes")
    draw_streets(output / "street")
    write_fruit_folder(output / "fruit")


if __name__ == "__main__":
    main()
