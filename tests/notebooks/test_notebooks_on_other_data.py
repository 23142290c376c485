"""With `SEG_DATA` naming other data, the notebooks run unchanged."""

import os
import shutil
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image
from samples import contents, without_commands

from helpers.labels import Labels
from helpers.profiles import REPOSITORY, folder_name, get_profile
from tools.course.__main__ import main
from tools.course.run import choose_notebooks
from tools.drawing import fruit

NOTEBOOKS = REPOSITORY / "notebooks"
LABELS = Labels(["table", "apple", "pear"])


def labels_of_its_own(folder: Path) -> Path:
    """Fruit on a table, value 0 a class, with `id2label.json` and `labels.json`; grey images."""
    for index in range(16):
        part, random = "training" if index < 12 else "validation", np.random.default_rng(index)
        mask = np.zeros((96, 128), dtype=np.uint8)
        for label in (1, 2):
            row, column = random.integers(0, 66), random.integers(0, 98)
            mask[row : row + 30, column : column + 30] = label
        colors = LABELS.palette[mask] + random.integers(0, 9, (96, 128, 3), dtype=np.uint8)
        grey = Image.fromarray(colors).convert("L")
        for kind, image in (("images", grey), ("annotations", Image.fromarray(mask))):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
            image.save(folder / kind / part / f"fruit_{index}.png")
    LABELS.save(folder)
    return folder


def run(data: Path, notebooks: list[str], output: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("SEG_DATA", str(data))
    monkeypatch.setenv("SEG_OUTPUT", str(output / "outputs"))
    monkeypatch.setenv("SEG_MAX_STEPS", "8")  # that it runs is the question, not what it learns
    return main(["run", "--notebooks", *notebooks, "--output", str(output)])


@pytest.mark.slow
def test_notebooks_run_on_real_photographs(ade20k_dir, tmp_path, monkeypatch, capsys) -> None:
    status = run(ade20k_dir, ["02", "03", "04", "05", "06"], tmp_path, monkeypatch)
    assert status == 0, capsys.readouterr().err
    result = tmp_path / "outputs" / f"tiny-{folder_name(ade20k_dir.resolve())}"
    assert (result / "model" / "model.safetensors").is_file()
    assert len(list((result / "overlays").glob("*.png"))) == 6


@pytest.mark.slow
def test_notebooks_run_on_labels_of_one_s_own(tmp_path, monkeypatch, capsys) -> None:
    data = labels_of_its_own(tmp_path / "fruit")
    status = run(data, ["05", "06", "08", "09", "11"], tmp_path, monkeypatch)
    assert status == 0, capsys.readouterr().err
    result = tmp_path / "outputs" / f"tiny-{folder_name(data)}"
    assert Labels.load(result / "model") == Labels(LABELS.names, LABELS.palette)
    with pytest.raises(AssertionError, match="this notebook is about ADE20K's numbering"):
        run_cells("02")


# --- other data at the same path ------------------------------------------------------------------


def run_cells(name: str, last: str = "", only: str = "", **variables: Any) -> None:
    """The code of a notebook after its set-up cell in a namespace of its own: `only` some cells, or
    all to the `last`.

    Variables are set instead of what the notebook sets them to.
    """
    (path,) = choose_notebooks(NOTEBOOKS, [name])
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    namespace = {"PROFILE": "tiny", "__name__": "__main__", "os": os}
    for cell in cells[1:]:
        if not only or cell.id in only.split():
            exec(compile(without_commands(cell.source), f"{name}, {cell.id}", "exec"), namespace)
            namespace |= variables
            pyplot.close("all")
        if cell.id == last:
            return


def draw_folder(folder: Path, seed: int = 0, spoil: Any = lambda number, mask: mask) -> Path:
    """Ten images of fruit and their masks."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(10):
        image, mask = fruit.draw_fruit(seed + number)
        image.save(folder / "images" / f"{number}.png")
        spoil(number, mask).save(folder / "masks" / f"{number}.png")
    return folder


@pytest.mark.slow
def test_notebook_05_deletes_the_checkpoints_of_no_other_data(tmp_path, monkeypatch) -> None:
    data, claim = labels_of_its_own(tmp_path / "fruit"), "imports scenes claim"
    monkeypatch.setenv("SEG_DATA", str(data))
    monkeypatch.setenv("SEG_OUTPUT", str(tmp_path / "outputs"))
    run_cells("05", only=claim)
    checkpoints = get_profile("tiny").output_dir / "checkpoints"
    (checkpoints / "checkpoint-2").mkdir(parents=True)
    before = contents(tmp_path / "outputs")
    shutil.copytree(data, tmp_path / "kept")
    for kind in ("images", "annotations"):
        (data / kind / "training" / "fruit_3.png").unlink()
    with pytest.raises(ValueError, match="there are 11 training images in the data and 12 in"):
        run_cells("05", only=claim)
    assert contents(tmp_path / "outputs") == before
    assert (checkpoints / "checkpoint-2").is_dir()
    shutil.rmtree(data)
    (tmp_path / "kept").rename(data)
    run_cells("05", only=claim)
    assert not checkpoints.exists()  # those of an earlier run on the same data


@pytest.mark.slow
def test_notebook_07_overwrites_nothing_of_other_data(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SEG_OUTPUT", str(tmp_path / "outputs"))
    first, second = (
        draw_folder(tmp_path / name / "data", 100 * seed)
        for seed, name in enumerate(("果物", "写真"))
    )
    own = tmp_path / "outputs" / "tiny" / "own"
    run_cells("07", last="custom-42", FOLDER=str(first))
    before = contents(own)
    assert any(file.endswith(".parquet") for file in before)
    run_cells("07", last="custom-42", FOLDER=str(second))
    assert before.items() < contents(own).items()
    before = contents(own)
    shutil.rmtree(first)
    second.rename(first)
    with pytest.raises(ValueError, match=f"{folder_name(first)} belongs to other data"):
        run_cells("07", last="custom-42", FOLDER=str(first))
    assert contents(own) == before


@pytest.mark.slow
def test_notebook_07_decides_nothing_about_a_folder_of_one_s_own(tmp_path, monkeypatch) -> None:
    """A stray value, and colours that the drawn fruit's table would explain."""
    monkeypatch.setenv("SEG_OUTPUT", str(tmp_path / "outputs"))

    def spoil(number: int, mask: Image.Image) -> Image.Image:
        if number == 4:
            mask.paste(7, (0, 0, 2, 3))
        if number == 8:
            red_green_blue = np.zeros((*mask.size[::-1], 3), dtype=np.uint8)
            red_green_blue[:9] = 255, 0, 0
            return Image.fromarray(red_green_blue)
        return mask

    given = {"FOLDER": str(draw_folder(tmp_path / "table", spoil=spoil))}
    with pytest.raises(ValueError, match=r"4\.png holds the value 7 in 6 pixels"):
        run_cells("07", last="custom-24", **given)
    given |= {"VALUES": {7: 255}}
    with pytest.raises(ValueError, match=r"8\.png"):
        run_cells("07", last="custom-24", **given)
    run_cells("07", last="custom-24", **given, COLORS={(0, 0, 0): 0, (255, 0, 0): 4})
    clean = tmp_path / "outputs" / "tiny" / "workshop" / "clean"
    assert np.unique(Image.open(clean / "8.png")).tolist() == [0, 4]
    assert (np.asarray(Image.open(clean / "4.png"))[:3, :2] == 255).all()


@pytest.mark.slow
def test_notebook_07_goes_to_its_end_with_two_classes(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(NOTEBOOKS)
    monkeypatch.setenv("SEG_OUTPUT", str(tmp_path / "outputs"))
    monkeypatch.setenv("SEG_MAX_STEPS", "2")
    folder = draw_folder(tmp_path / "fruit", spoil=lambda _, mask: mask.point(lambda v: min(v, 1)))
    given = {"CLASSES": ["background", "fruit"], "STEPS": 12}
    run_cells("07", last="learning-curve", FOLDER=str(folder), **given)
