"""The commands on data with labels of its own: its names, colours and reduction throughout."""

import json
import re
import shlex
from pathlib import Path

import nbformat
import numpy as np
import pytest
from datasets import Image as ImageFeature
from datasets import load_dataset
from PIL import Image

from helpers.inference import load_labels, load_model
from helpers.labels import Labels
from helpers.profiles import BUNDLED, REPOSITORY
from scripts import evaluate as evaluate_script
from scripts import prepare as prepare_script
from scripts import segment as segment_script
from scripts import train as train_script
from scripts.evaluate import main as evaluate
from scripts.segment import main as segment
from scripts.train import main as train

LABELS = Labels(["table", "apple", "pear"], [(210, 200, 190), (220, 30, 40), (60, 160, 70)])


def draw(folder: Path, reduce: bool) -> Path:
    """Coloured squares on a table, in ADE20K's layout; where labels are reduced, 0 is a border that
    has no class."""
    for index in range(10):
        random, mask = np.random.default_rng(index), np.zeros((72, 96), dtype=np.uint8)
        for label in (1, 2):
            row, column = random.integers(4, 40), random.integers(4, 60)
            mask[row : row + 28, column : column + 32] = label
        pixels = LABELS.palette[mask] + random.integers(0, 9, (72, 96, 3), dtype=np.uint8)
        if reduce:
            mask += 1
            mask[:2] = 0
        part = "training" if index < 7 else "validation"
        for kind in ("images", "annotations"):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "images" / part / f"{index}.jpg", quality=95)
        Image.fromarray(mask).save(folder / "annotations" / part / f"{index}.png")
    return folder


@pytest.mark.slow
def test_train_resume_evaluate_and_predict(tmp_path, capsys) -> None:
    """Where 0 is no class; where it is one, the commands of notebook 07 show below."""
    labels = Labels(LABELS.names, LABELS.colors, reduce=True)
    data, model = draw(tmp_path / "fruit", reduce=True), tmp_path / "model"
    labels.save(data)
    command = ["--data", str(data), "--output-dir", str(model), "--save-steps", "10"]
    assert train([*command, "--max-steps", "20"]) == 0
    assert train([*command, "--max-steps", "30", "--resume"]) == 0

    assert Labels.load(model) == load_labels(model) == labels
    assert load_model(model)[1].do_reduce_labels
    assert json.loads((model / "config.json").read_text())["id2label"]["1"] == "apple"

    options = ["--data", str(data), "--model", str(model), "--json", str(tmp_path / "scores.json")]
    assert evaluate(options) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert list(scores["iou"]) == list(labels.names)
    assert scores["mean_iou"] > 0.6  # by colour alone: a shift of the labels would give 0

    image, results = str(data / "images" / "training" / "0.jpg"), tmp_path / "results"
    assert segment([image, "--model", str(model), "--output", str(results)]) == 0
    label_map = Image.open(results / "labels" / "0.png")
    assert label_map.getpalette()[:9] == [part for color in LABELS.colors for part in color]
    assert {"table", "apple"} <= set(json.loads((results / "shares.json").read_text())[image])
    capsys.readouterr()


# --- the commands that notebook 07 shows ----------------------------------------------------------

CELLS = nbformat.read(REPOSITORY / "notebooks" / "07_custom_dataset.ipynb", as_version=4).cells
SCRIPTS = {
    "scripts.prepare": prepare_script,
    "scripts.train": train_script,
    "scripts.segment": segment_script,
    "scripts.evaluate": evaluate_script,
}


def shown(cell: nbformat.NotebookNode) -> list[tuple[str, list[str]]]:
    """The commands of the course that a cell offers for copying: the module, and its options."""
    blocks = re.findall(r"^```sh\n(.+?)^```", cell.source, flags=re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line) for line in lines if line.startswith("python -m scripts.")]
    return [(module, options) for _, _, module, *options in words]


def test_notebook_07_shows_options_that_the_commands_have() -> None:
    commands = [command for cell in CELLS for command in shown(cell)]
    assert {module for module, _ in commands} == SCRIPTS.keys()
    for module, options in commands:
        SCRIPTS[module]._parse(options)


@pytest.mark.slow
@pytest.mark.parametrize("cells", [["short-path", "better-runs"], ["which-split"]])
def test_the_commands_that_notebook_07_shows_lead_to_the_end(
    cells, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "drawn", reduce=False)
    for part, kind in (("images", "images"), ("annotations", "masks")):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for file in (tmp_path / "drawn" / part).rglob("*.*"):
            name = f"day{int(file.stem) // 2}_{file.stem}{file.suffix}"
            file.rename(tmp_path / "photos" / kind / name)
    (tmp_path / "new-photos").mkdir()
    image = next((tmp_path / "photos" / "images").iterdir())
    (tmp_path / "new-photos" / "new.jpg").write_bytes(image.read_bytes())
    nearer = {  # without a network, and on a CPU
        "sample": "tiny",
        "nvidia/segformer-b0-finetuned-ade-512-512": str(BUNDLED / "checkpoints" / "segformer-toy"),
        "640": "96",
    }
    for module, options in [one for cell in CELLS if cell.id in cells for one in shown(cell)]:
        options = [nearer.get(option, option) for option in options]
        if module == "scripts.train":
            options += ["--max-steps", "20", "--save-steps", "10"]
        assert SCRIPTS[module].main(options) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    if "which-split" in cells:
        (score,) = re.findall(r"^mean_iou +(0\.\d+)$", told, flags=re.MULTILINE)
        assert float(score) > 0.5  # by colour alone: a shift of the labels would give 0
        data = load_dataset(str(tmp_path / "outputs" / "by-day"))
        files = {
            name: part.cast_column("image", ImageFeature(decode=False))
            for name, part in data.items()
        }
        days = [{image["path"].split("_")[0] for image in part["image"]} for part in files.values()]
        assert sorted(map(len, days)) == [1, 1, 3]
        assert len(set.union(*days)) == 5
