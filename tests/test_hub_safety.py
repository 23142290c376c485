"""No code that came with a download is run: no pickle is read, no program of a repository run."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import torch
from hub_content import ENCODER_COMMIT, add_encoder, folder, trap
from IPython.core.inputtransformer2 import TransformerManager
from loopback_hub import LoopbackHub
from samples import save_encoder, small_profile, write_ade_folder

from helpers.profiles import REPOSITORY
from helpers.training import build_trainer

SOURCES = sorted((REPOSITORY / "helpers").rglob("*.py"))
SOURCES += sorted((REPOSITORY / "notebooks").rglob("*.py"))
SOURCES += sorted((REPOSITORY / "notebooks").glob("*.ipynb"))


# --- what is written ------------------------------------------------------------------------------


def calls(path: Path) -> Iterator[ast.Call]:
    """Every call in a module, or in the code cells of a notebook."""
    if path.suffix == ".py":
        code = path.read_text(encoding="utf-8")
    else:
        cells = nbformat.read(path, as_version=4).cells
        shell = TransformerManager()  # lines that begin with ! or % become calls
        code = "\n".join(shell.transform_cell(c.source) for c in cells if c.cell_type == "code")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            yield node


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
    if name == "pipeline" and given.get("model", "").startswith("profile."):
        settings = given.get("model_kwargs", "")
        if settings != "safely" and "use_safetensors" not in settings:
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
        "AutoModel.from_pretrained(here, trust_remote_code=settings.trust)",
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


# --- what happens ---------------------------------------------------------------------------------

SCRIPT = """
import json, sys
from helpers.inference import load_model
from helpers.profiles import get_profile
from helpers.training import build_model
from dataclasses import replace

def told(call):
    try:
        return type(call()).__name__
    except BaseException as error:
        return f"{type(error).__name__}: {error}"

sample = get_profile("sample")
newest = replace(sample, encoder_revision=None)
print(json.dumps({
    "pickle": told(lambda: load_model("evil/pickle")),
    "pickled encoder": told(lambda: build_model(replace(newest, encoder="evil/pickle"))),
    "code": told(lambda: load_model("evil/code")),
    "code in an encoder": told(lambda: build_model(replace(newest, encoder="evil/code"))),
    "encoder": told(lambda: build_model(sample)),
    "another's commit": told(lambda: build_model(replace(sample, encoder="some/converted"))),
}))
"""
CONVERTED = """
from helpers.inference import load_model
print(type(load_model("some/converted")[0]).__name__)
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        add_encoder(hub)
        files = folder("segformer-toy")
        weights = files.pop("model.safetensors")
        hub.add("evil/pickle", files | {"pytorch_model.bin": trap()})
        config = json.loads(files["config.json"]) | {
            "model_type": "evil",
            "auto_map": {
                "AutoConfig": "program.Config",
                "AutoModelForSemanticSegmentation": "program.Model",
            },
        }
        program = b"import pathlib\npathlib.Path('i-was-here').touch()\n"
        hub.add(
            "evil/code",
            files | {"config.json": json.dumps(config).encode(), "program.py": program}
            | {"model.safetensors": weights},
        )  # fmt: skip
        # A repository that somebody else converted, as the encoder's was.
        converted = hub.add("some/converted", files | {"pytorch_model.bin": trap()})
        converted.refs["refs/pr/1"] = converted.refs["main"]
        converted.discussions = [
            one | {"repo": {"name": "some/converted", "type": "model"}}
            for one in hub.repositories["model", "nvidia/mit-b0"].discussions
        ]
        changed = converted.at("main").files | {"model.safetensors": weights}
        converted.commit(converted.discussions[0]["title"], changed, "refs/pr/1")
        yield hub


def run(hub: LoopbackHub, work: Path, code: str, **variables: str) -> str:
    done = hub.run("-c", code, home=work / "home", cwd=work, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def fetched(hub: LoopbackHub, *suffixes: str) -> list[str]:
    return [path for method, path, _ in hub.requests if method == "GET" and path.endswith(suffixes)]


@pytest.mark.slow
def test_pickles_and_programs_of_a_repository_are_refused(hub: LoopbackHub, tmp_path: Path) -> None:
    # Else `transformers` asks a public service to convert the pickle.
    told = json.loads(run(hub, tmp_path, SCRIPT, DISABLE_SAFETENSORS_CONVERSION="1"))
    no_pickle = (
        "ValueError: evil/pickle offers its weights as a pickle alone, which could run any code "
        "when it is read: choose a model with a model.safetensors file."
    )
    no_program = (
        "ValueError: evil/code needs program code that it brings along, which is not run here: "
        "choose a model of a kind that transformers knows."
    )
    assert told == {
        "pickle": no_pickle,
        "pickled encoder": no_pickle,
        "code": no_program,
        "code in an encoder": no_program,
        "encoder": "SegformerForSemanticSegmentation",
        "another's commit": (
            "FileNotFoundError: there is no such file or revision on the Hub: some/converted at "
            f"revision {ENCODER_COMMIT}. See what there is at {hub.url}/some/converted"
        ),
    }
    assert fetched(hub, ".bin", ".py") == []
    assert not (tmp_path / "i-was-here").exists()
    assert hub.strangers == []


@pytest.mark.slow
def test_the_hubs_own_conversion_of_a_pickle_is_found(hub: LoopbackHub, tmp_path: Path) -> None:
    assert run(hub, tmp_path, CONVERTED) == "SegformerForSemanticSegmentation"
    assert any("refs%2Fpr%2F1" in path or "refs/pr/1" in path for _, path, _ in hub.requests)
    assert fetched(hub, ".bin") == []
    assert hub.strangers == []


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
