"""No code that came with a download is run: no pickle is read, no program of a repository run."""

import ast
from pathlib import Path

import nbformat
import pytest
import torch
from IPython.core.inputtransformer2 import TransformerManager
from samples import save_encoder, small_profile, write_ade_folder

from helpers.profiles import REPOSITORY
from helpers.training import build_trainer

PLACES = ("helpers/**/*.py", "scripts/**/*.py", "notebooks/**/*.py", "notebooks/*.ipynb")
SOURCES = [path for pattern in PLACES for path in sorted(REPOSITORY.glob(pattern))]


def calls(path: Path) -> list[ast.Call]:
    """Every call in a module, or in the code cells of a notebook."""
    if path.suffix == ".py":
        code = path.read_text(encoding="utf-8")
    else:
        cells = nbformat.read(path, as_version=4).cells
        shell = TransformerManager()  # lines that begin with ! or % become calls
        code = "\n".join(shell.transform_cell(c.source) for c in cells if c.cell_type == "code")
    return [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]


def unsafe(call: ast.Call) -> str | None:
    """What is wrong with a call, if anything."""
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg}
    if given.get("trust_remote_code", "False") != "False":
        return "trust_remote_code is on"
    if name == "torch.load" and given.get("weights_only") != "True":
        return "torch.load without weights_only=True"
    if name.split(".")[0] in ("pickle", "dill", "joblib", "cloudpickle"):
        return f"{name} can run any code"
    from_hub = bool(call.args) and ast.unparse(call.args[0]).startswith(("profile.", "source"))
    if name.endswith(".from_pretrained") and "Model" in name and from_hub:
        unpacked = [ast.unparse(k.value) for k in call.keywords if k.arg is None]
        if "SAFE_WEIGHTS" not in unpacked and given.get("use_safetensors") != "True":
            return f"{name} without use_safetensors=True"
    settings = given.get("model_kwargs", "")
    if name == "pipeline" and "safe" not in settings and "profile." in given.get("model", ""):
        return "a pipeline that may read a pickle"
    return None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_asks_for_foreign_code(path: Path) -> None:
    found = [f"line {call.lineno}: {problem}" for call in calls(path) if (problem := unsafe(call))]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "AutoModel.from_pretrained('a/b', trust_remote_code=True)",
        "torch.load('a.pt')",
        "torch.load('a.pt', weights_only=False)",
        "pickle.load(file)",
        "AutoModelForSemanticSegmentation.from_pretrained(profile.encoder)",
        "pipeline('image-segmentation', model=profile.panoptic_model)",
    ],
)
def test_unsafe_calls_are_found(code: str) -> None:
    (call,) = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    assert unsafe(call)


def test_resuming_does_not_run_what_an_optimizer_file_holds(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (exec, (f"open({str(tmp_path / 'i-was-here')!r}, 'w').close()",))

    encoder, data = save_encoder(tmp_path / "encoder"), write_ade_folder(tmp_path / "ade")
    profile = small_profile(encoder, data, eval_steps=1)
    trainer = build_trainer(profile, output_dir=tmp_path / "run", max_steps=1)
    trainer.train()
    checkpoint = tmp_path / "run" / "checkpoint-1"
    torch.save({"state": Trap()}, checkpoint / "optimizer.pt")
    again = build_trainer(profile, output_dir=tmp_path / "run", max_steps=2)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        again.train(resume_from_checkpoint=str(checkpoint))
    assert not (tmp_path / "i-was-here").exists()
    torch.load(checkpoint / "optimizer.pt", weights_only=False)
    assert (tmp_path / "i-was-here").exists(), "the trap was none"
