"""With `SEG_DATA` naming other data, the notebooks run unchanged."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.labels import Labels
from tools.course.__main__ import main
from tools.course.run import choose_notebooks
from tools.drawing.scenes import draw_scene

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LABELS = Labels(["table", "apple", "pear"])


def few_grey_scenes(folder: Path) -> Path:
    """ADE20K's labels, six greyscale images to train on and three to test on."""
    for index, seed in enumerate(range(900, 909)):
        scene, part = draw_scene(seed), "training" if index < 6 else "validation"
        for kind, image, ending in (
            ("images", scene.image.convert("L"), ".jpg"),
            ("annotations", scene.annotation, ".png"),
        ):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
            image.save(folder / kind / part / f"scene_{seed}{ending}")
    return folder


def labels_of_its_own(folder: Path) -> Path:
    """Fruit on a table, value 0 a class, with `id2label.json` and `labels.json`."""
    for index in range(16):
        part, random = "training" if index < 12 else "validation", np.random.default_rng(index)
        mask = np.zeros((96, 128), dtype=np.uint8)
        for label in (1, 2):
            row, column = random.integers(0, 66), random.integers(0, 98)
            mask[row : row + 30, column : column + 30] = label
        colors = LABELS.palette[mask] + random.integers(0, 9, (96, 128, 3), dtype=np.uint8)
        for kind, image in (("images", colors), ("annotations", mask)):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / kind / part / f"fruit_{index}.png")
    LABELS.save(folder)
    return folder


def run(data: Path, notebooks: list[str], output: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("SEG_DATA", str(data))
    monkeypatch.setenv("SEG_OUTPUT", str(output / "outputs"))
    monkeypatch.setenv("SEG_MAX_STEPS", "8")  # that it runs is the question, not what it learns
    return main(["run", "--notebooks", *notebooks, "--output", str(output)])


@pytest.mark.slow
def test_notebooks_run_on_real_photographs(ade20k_dir, tmp_path, monkeypatch, capsys) -> None:
    notebooks = ["02", "03", "04", "05", "06"]
    status = run(ade20k_dir, notebooks, tmp_path, monkeypatch)
    assert status == 0, capsys.readouterr().err
    result = tmp_path / "outputs" / f"tiny-{ade20k_dir.name}"
    assert (result / "model" / "model.safetensors").is_file()
    assert len(list((result / "overlays").glob("*.png"))) == 6
    for notebook in choose_notebooks(NOTEBOOKS, notebooks):
        assert (tmp_path / f"{notebook.stem}.html").is_file()


@pytest.mark.slow
def test_notebooks_run_on_few_grey_images(tmp_path, monkeypatch, capsys) -> None:
    notebooks = ["02", "03", "04", "05", "06", "08", "09"]
    status = run(few_grey_scenes(tmp_path / "grey"), notebooks, tmp_path, monkeypatch)
    assert status == 0, capsys.readouterr().err


@pytest.mark.slow
def test_notebooks_run_on_labels_of_one_s_own(tmp_path, monkeypatch, capsys) -> None:
    data = labels_of_its_own(tmp_path / "fruit")
    status = run(data, ["05", "06", "08", "09"], tmp_path, monkeypatch)
    assert status == 0, capsys.readouterr().err
    assert Labels.load(tmp_path / "outputs" / "tiny-fruit" / "model") == LABELS.__class__(
        LABELS.names, LABELS.palette, False
    )
    assert run(data, ["02"], tmp_path, monkeypatch) == 1
    assert "this notebook is about ADE20K's numbering" in capsys.readouterr().err
