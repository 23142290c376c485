"""What the helpers say when the Hub gives nothing, and that what it gave can be checked."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_content import fill, folder, trap
from loopback_hub import LoopbackHub

from helpers.profiles import get_profile

LOAD = """
import json, sys
from dataclasses import replace
from helpers.data import load_scenes
from helpers.images import load_image
from helpers.inference import load_model
from helpers.profiles import get_profile
from helpers.training import build_model
from helpers.transforms import load_image_processor

sample, full = get_profile("sample"), get_profile("full")
wanted, *names = sys.argv[1:]
for name in names:
    model, image, encoder, data = sample.finetuned_model, sample.street_image, {}, {}
    if name != "the real names":
        model, image = name, f"hf://datasets/{name}/image.jpg"
        encoder, data = {"encoder": name, "encoder_revision": None}, {"dataset": name}
    loads = {
        "load_model": lambda: load_model(model),
        "build_model": lambda: build_model(replace(sample, **encoder)),
        "load_image_processor": lambda: load_image_processor(replace(sample, **encoder)),
        "load_image": lambda: load_image(image),
        "load_scenes, downloaded": lambda: load_scenes(replace(full, **data), check=False),
        "load_scenes, streamed": lambda: load_scenes(replace(sample, **data), check=False),
    }
    for loader in wanted.split(";"):
        try:
            told = str(loads[loader]() and "loaded")
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
        print(json.dumps([name, loader, told]), flush=True)
"""
MODELS = ["load_model", "build_model", "load_image_processor"]
LOADERS = [*MODELS, "load_image", "load_scenes, downloaded", "load_scenes, streamed"]


def load(
    hub: LoopbackHub, home: Path, loaders: list[str], *names: str, **variables: str
) -> dict[tuple[str, str], str]:
    """What each loader tells of each repository, all in one process."""
    done = hub.run("-c", LOAD, ";".join(loaders), *names, home=home, cwd=home.parent, **variables)
    assert done.returncode == 0, done.stderr
    assert hub.strangers == [], "somebody asked for another address"
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    return {(name, loader): told for name, loader, told in map(json.loads, lines)}


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        fill(hub)
        files = folder("checkpoints/segformer-toy") | {"image.jpg": b"", "train.parquet": b""}
        for kind in ("model", "dataset"):
            hub.add("some/private", files, kind, private=True)
            hub.add("some/gated", files, kind, gated=True)
        config = json.loads(files["config.json"]) | {"model_type": "evil"}
        config["auto_map"] = {"AutoConfig": "program.Config"}
        program = b"import pathlib; pathlib.Path('i-was-here').touch()"
        own = {"config.json": json.dumps(config).encode(), "program.py": program}
        hub.add("evil/code", files | own)
        del files["model.safetensors"]
        hub.add("evil/pickle", files | {"pytorch_model.bin": trap()})
        yield hub


@pytest.mark.slow
def test_a_repository_that_is_missing_private_or_gated_is_named(hub, tmp_path: Path) -> None:
    names = ("nobody/nothing", "some/private", "some/gated")
    for (name, loader), told in load(hub, tmp_path / "home", LOADERS, *names).items():
        expected = (
            f"FileNotFoundError: there is no {name} on the Hub, or it is private: check the name; "
            "if it is right, log in with `hf auth login` as somebody who may see it."
        )
        if name == "some/gated":
            page = f"{hub.url}/{'' if loader in MODELS else 'datasets/'}{name}"
            expected = f"PermissionError: {name} is only for those who accept its terms: accept "
            expected += f"them at {page}, log in with `hf auth login`, and run this again."
        assert told == expected


@pytest.mark.slow
def test_pickles_and_programs_of_a_repository_are_refused(hub: LoopbackHub, tmp_path: Path) -> None:
    told = load(hub, tmp_path / "home", MODELS[:2], "evil/pickle", "evil/code")
    for loader in MODELS[:2]:
        assert told["evil/pickle", loader] == (
            "ValueError: evil/pickle offers its weights as a pickle alone, which could run any "
            "code when it is read: choose a model with a model.safetensors file."
        )
        assert "trust_remote_code=True" in told["evil/code", loader]
    asked = [path for _, path, _ in hub.requests]
    assert [path for path in asked if path.endswith((".bin", ".py"))] == []
    # Nor is a public service asked to convert the pickle: it begins with the repository's commits.
    assert [path for path in asked if "/commits/" in path] == []
    assert not (tmp_path / "i-was-here").exists()


@pytest.mark.slow
def test_what_was_loaded_once_needs_no_hub_and_the_rest_names_a_way_out(tmp_path: Path) -> None:
    with LoopbackHub() as hub:
        fill(hub)
        first = load(hub, tmp_path / "home", LOADERS, "the real names")
    assert set(first.values()) == {"loaded"}, first
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    again = load(hub, tmp_path / "home", LOADERS[:-1], "the real names", **offline)
    assert set(again.values()) == {"loaded"}, again
    refused = load(hub, tmp_path / "empty", LOADERS, "the real names", **offline)
    for told in refused.values():
        assert told.endswith(
            " is loaded from the Hugging Face Hub, which cannot be reached: connect to a network, "
            'or use profile "tiny", which works offline.'
        )
    names = [told.removeprefix("ConnectionError: ").split()[0] for told in refused.values()]
    sample = get_profile("sample")
    expected = [sample.finetuned_model, sample.encoder, sample.encoder]
    expected += ["huggingface/documentation-images", sample.dataset, sample.dataset]
    assert names == expected


VERIFY = """
import sys
from pathlib import Path
from huggingface_hub import HfApi, hf_hub_download

name, file = sys.argv[1], Path(hf_hub_download(sys.argv[1], "model.safetensors"))
file.write_bytes(file.read_bytes()[::-1])
print([one["path"] for one in HfApi().verify_repo_checksums(name).mismatches])
"""


@pytest.mark.slow
def test_a_damaged_download_is_found_as_notebook_09_says(hub: LoopbackHub, tmp_path: Path) -> None:
    done = hub.run("-c", VERIFY, get_profile("sample").finetuned_model, home=tmp_path)
    assert done.stdout == "['model.safetensors']\n", done.stderr
