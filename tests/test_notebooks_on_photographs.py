"""With `SEG_DATA` naming a folder of real photographs, notebooks 02-06 run unchanged."""

from pathlib import Path

import pytest

from tools.course import choose_notebooks, main

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


@pytest.mark.slow
def test_notebooks_run_on_real_photographs(
    ade20k_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("SEG_DATA", str(ade20k_dir))
    monkeypatch.setenv("SEG_OUTPUT", str(tmp_path / "outputs"))
    monkeypatch.setenv("SEG_MAX_STEPS", "8")  # that it runs is the question, not what it learns
    status = main(["run", "--notebooks", "02", "03", "04", "05", "06", "--output", str(tmp_path)])
    told = capsys.readouterr()
    assert status == 0, told.err
    run = tmp_path / "outputs" / f"tiny-{ade20k_dir.name}"
    assert (run / "model" / "model.safetensors").is_file()
    assert len(list((run / "overlays").glob("*.png"))) == 6
    for notebook in choose_notebooks(NOTEBOOKS, ["02", "03", "04", "05", "06"]):
        assert (tmp_path / f"{notebook.stem}.html").is_file()
