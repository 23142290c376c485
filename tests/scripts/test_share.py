"""What is uploaded arrives whole, says what it is, and holds no secret; nothing goes by itself."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from loopback_hub import LoopbackHub, files_holding
from samples import write_ade_folder

from helpers.profiles import REPOSITORY, get_profile
from scripts.share import model_card
from scripts.train import main as train_here

TOKEN = "hf_" + "c4n4ry" * 6
UNKNOWN = "hf_" + "wr0ng0" * 6


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        hub.tokens[TOKEN] = "learner"
        yield hub


def metadata(card: bytes) -> dict:
    return yaml.safe_load(card.decode().split("---\n")[1])


def test_the_card_names_data_and_encoder_where_others_find_them_too() -> None:
    data = metadata(str(model_card("mine", get_profile("sample"), 0.512345)).encode())
    assert data["license"] == "other"
    assert data["datasets"] == "merve/scene_parse_150"
    assert data["base_model"] == "nvidia/mit-b0"
    assert data["pipeline_tag"] == "image-segmentation"
    result = data["model-index"][0]["results"][0]
    assert result["dataset"]["type"] == "merve/scene_parse_150"
    assert result["metrics"] == [{"type": "mean_iou", "value": 0.5123}]


UPLOAD = """
import json, sys
from pathlib import Path
import huggingface_hub as hub
import nbformat
import numpy as np
import torch
from datasets import DatasetDict, load_dataset
from samples import draw_blocks
from helpers.data import load_scenes
from helpers.evaluation import Protocol
from helpers.inference import load_model, segment
from helpers.profiles import REPOSITORY, get_profile
from scripts.share import share

work, profile = Path(sys.argv[1]), get_profile("tiny")
folder, source = work / "trained", profile.finetuned_model
model, image_processor = load_model(source)
with torch.no_grad():  # so that it differs from every model that is there already
    model.decode_head.classifier.bias.add_(0.1 * torch.randn(150))
model.save_pretrained(folder)
image_processor.save_pretrained(folder)
profile.labels.save(folder)
(folder / "training_args.bin").write_bytes(b"stays")

# Notebook 09's own cells, with the names that they find there.
notebook = nbformat.read(REPOSITORY / "notebooks" / "09_scaling_and_sharing.ipynb", as_version=4)
cells = {cell.id: cell.source for cell in notebook.cells}
labels, protocol, trained_here = profile.labels, Protocol(), False
score, low, high, count = 0.5, 0.45, 0.55, 40
PUSH_TO = "learner/street"
for wanted in ("card", "card-text", "push"):
    exec(cells[wanted])

told = {}
scene = draw_blocks(7, (160, 120))[0]
before = segment(scene, model, image_processor)
assert len(np.unique(before)) > 1
model.push_to_hub("plain", private=True)  # as in notebook 00
image_processor.push_to_hub("plain")
for name in ("street", "plain"):
    again = segment(scene, *load_model(f"learner/{name}"))
    told[name] = bool((again == before).all())

scenes = load_scenes(profile, check=False)
few = {name: split.select(range(3)) for name, split in scenes.items()}
DatasetDict(train=few["train"], validation=few["test"]).push_to_hub("learner/scenes", private=True)
loaded = load_dataset("learner/scenes")
told["pixels"] = all(
    np.array_equal(np.asarray(a[column]), np.asarray(b[column]))
    for a, b in zip(few["train"], loaded["train"], strict=True)
    for column in ("image", "annotation")
)
try:
    share(folder, "somebody/else", card)
except PermissionError as error:
    told["not ours"] = str(error)
print(json.dumps(told))
"""
FILES = {"config.json", "preprocessor_config.json", "model.safetensors", "README.md"}
FILES |= {"id2label.json", "labels.json"}


@pytest.fixture(scope="module")
def upload(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str, Path]:
    """What the script above told, everything it printed, and the folder it worked in."""
    work = tmp_path_factory.mktemp("upload")
    done = hub.run("-c", UPLOAD, work, home=work / "home", token=TOKEN)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return told, done.stdout + done.stderr, work


@pytest.mark.slow
def test_what_notebook_09_uploads_arrives_whole_and_private(upload, hub: LoopbackHub) -> None:
    told, _, work = upload
    there = hub.repositories["model", "learner/street"]
    assert there.private
    assert there.files == {name: (work / "trained" / name).read_bytes() for name in FILES}
    assert metadata(there.files["README.md"])["license"] == "other"
    assert told["street"], "the model that was loaded predicts other labels"


@pytest.mark.slow
def test_push_to_hub_arrives_where_the_token_may_write(upload, hub: LoopbackHub) -> None:
    told, _, _ = upload
    assert told["plain"], "the model that was loaded predicts other labels"
    assert told["pixels"]
    assert hub.repositories["model", "learner/plain"].private
    assert hub.repositories["dataset", "learner/scenes"].private
    assert told["not ours"] == (
        "the Hub does not let your token write to somebody/else: log in again with "
        "`hf auth login`, or set HF_TOKEN"
    )
    assert not any("somebody" in repo_id for _, repo_id in hub.repositories)


@pytest.mark.slow
def test_the_token_goes_to_the_hub_and_nowhere_else(upload, hub: LoopbackHub) -> None:
    _, printed, work = upload
    assert any(token == TOKEN for _, _, token in hub.requests), "it was never used"
    assert TOKEN not in printed
    assert files_holding(work, TOKEN) == []
    for repository in hub.repositories.values():
        for content in repository.files.values():
            assert TOKEN.encode() not in content
    assert not any(TOKEN in path for _, path, _ in hub.requests)
    assert hub.strangers == []


@pytest.fixture(scope="module")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ade_folder(tmp_path_factory.mktemp("data") / "blocks", train=8, test=2)


def train(hub: LoopbackHub, data: Path, work: Path, *options: str, token: str | None):
    """The finished process of a training that takes two steps at most."""
    return hub.run(
        *("-m", "scripts.train", "--profile", "tiny", "--output-dir", work / "out"),
        *("--max-steps", "2", "--save-steps", "1", *options),
        home=work / "home",
        token=token,
        SEG_DATA=str(data),
    )


@pytest.mark.slow
def test_training_uploads_when_asked_and_keeps_the_secret(hub, small_data, tmp_path) -> None:
    done = train(hub, small_data, tmp_path, "--push-to-hub", "learner/blocks", token=TOKEN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"uploaded to {hub.url}/learner/blocks"
    there = hub.repositories["model", "learner/blocks"]
    assert there.private
    assert there.files == {name: (tmp_path / "out" / name).read_bytes() for name in FILES}
    card = metadata(there.files["README.md"])
    assert card["model-index"][0]["name"] == "blocks"
    assert card["model-index"][0]["results"][0]["dataset"]["name"] == "blocks"
    json.dumps(card, allow_nan=False)
    assert "datasets" not in card
    assert "base_model" not in card
    for place in (small_data.parent, REPOSITORY):  # which nobody else has
        assert str(place) not in there.files["README.md"].decode()
    # Checkpoints, TrainingArguments and caches included.
    assert (tmp_path / "out" / "checkpoints" / "checkpoint-1" / "training_args.bin").is_file()
    assert files_holding(tmp_path, TOKEN) == []
    assert TOKEN not in done.stdout + done.stderr
    weights = [file.name for file in (tmp_path / "out").rglob("*") if "model" in file.name]
    assert set(weights) == {"model.safetensors"}, "checkpoints are safetensors"
    assert hub.strangers == []


def test_without_a_token_training_does_not_begin(small_data, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    options = ["--data", small_data, "--output-dir", tmp_path / "out", "--push-to-hub", "me/never"]
    assert train_here([str(one) for one in options]) == 1
    assert capsys.readouterr().err.endswith(
        "error: uploading to me/never needs a token with the right to write: log in with "
        "`hf auth login`, or set HF_TOKEN\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_with_a_token_that_the_hub_does_not_know_training_does_not_begin(
    hub, small_data, tmp_path
) -> None:
    before = len(hub.requests)
    done = train(hub, small_data, tmp_path, "--push-to-hub", "learner/never", token=UNKNOWN)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: the Hub does not let your token write to learner/never: log in again with "
        "`hf auth login`, or set HF_TOKEN"
    )
    assert UNKNOWN not in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()
    assert [path for _, path, _ in hub.requests[before:]] == ["/api/whoami-v2"]


@pytest.mark.slow
def test_training_that_is_not_asked_to_upload_asks_the_hub_nothing(
    hub, small_data, tmp_path
) -> None:
    before = len(hub.requests)
    done = train(hub, small_data, tmp_path, token=TOKEN)
    assert done.returncode == 0, done.stderr
    assert hub.requests[before:] == []
    assert hub.strangers == []
