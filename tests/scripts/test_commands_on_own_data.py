"""The commands on data with labels of its own: its names, colours and reduction throughout."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.custom import make_dataset, write_parquet
from helpers.inference import load_labels, load_model
from helpers.labels import Labels
from helpers.profiles import BUNDLED
from scripts.evaluate import main as evaluate
from scripts.segment import main as segment
from scripts.train import main as train

LABELS = Labels(["table", "apple", "pear"], [(210, 200, 190), (220, 30, 40), (60, 160, 70)])


def draw(folder: Path, reduce: bool) -> list[tuple[Path, Path]]:
    """Coloured squares on a table; where labels are reduced, 0 is a border that has no class."""
    folder.mkdir()
    pairs = []
    for index in range(10):
        random, mask = np.random.default_rng(index), np.zeros((72, 96), dtype=np.uint8)
        for label in (1, 2):
            row, column = random.integers(4, 40), random.integers(4, 60)
            mask[row : row + 28, column : column + 32] = label
        pixels = LABELS.palette[mask] + random.integers(0, 9, (72, 96, 3), dtype=np.uint8)
        mask += np.uint8(reduce)
        if reduce:
            mask[:2] = 0
        pairs.append((folder / f"{index}.jpg", folder / f"{index}.png"))
        Image.fromarray(pixels).save(pairs[-1][0], quality=95)
        Image.fromarray(mask).save(pairs[-1][1])
    return pairs


@pytest.mark.slow
@pytest.mark.parametrize("reduce", [False, True], ids=["0 is a class", "0 is no class"])
def test_train_resume_evaluate_and_predict(tmp_path, monkeypatch, capsys, reduce: bool) -> None:
    labels = Labels(LABELS.names, LABELS.colors, reduce)
    pairs, data, model = draw(tmp_path / "files", reduce), tmp_path / "fruit", tmp_path / "model"
    write_parquet(make_dataset(pairs, 0.3), data, labels)
    monkeypatch.setenv("SEG_DATA", str(data))
    command = ["--output-dir", str(model), "--save-steps", "10"]
    assert train([*command, "--max-steps", "20"]) == 0
    assert train([*command, "--max-steps", "30", "--resume"]) == 0

    assert Labels.load(model) == load_labels(model) == labels
    assert load_model(model)[1].do_reduce_labels is reduce
    assert json.loads((model / "config.json").read_text())["id2label"]["1"] == "apple"

    assert evaluate(["--model", str(model), "--json", str(tmp_path / "scores.json")]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert list(scores["iou"]) == list(labels.names)
    assert scores["mean_iou"] > 0.6  # by colour alone: a shift of the labels would give 0

    image, results = str(pairs[0][0]), tmp_path / "results"
    assert segment([image, "--model", str(model), "--output", str(results)]) == 0
    label_map = Image.open(results / "labels" / "0.png")
    assert label_map.getpalette()[:9] == [part for color in LABELS.colors for part in color]
    assert {"table", "apple"} <= set(json.loads((results / "shares.json").read_text())[image])
    capsys.readouterr()


@pytest.mark.slow
def test_a_model_of_other_classes_gets_a_new_layer_or_is_refused(
    tmp_path, monkeypatch, capsys
) -> None:
    data, toy = tmp_path / "fruit", str(BUNDLED / "checkpoints" / "segformer-toy")
    write_parquet(make_dataset(draw(tmp_path / "files", False), 0.3), data, LABELS)
    monkeypatch.setenv("SEG_DATA", str(data))
    assert evaluate(["--model", toy]) == 1
    assert "3 labels in the data and 150 in the model" in capsys.readouterr().err
    command = ["--output-dir", str(tmp_path / "model"), "--max-steps", "2", "--start-from", toy]
    assert train(command) == 0
    assert "the last layer is new" in capsys.readouterr().out
    assert load_labels(tmp_path / "model") == LABELS
