"""What is uploaded arrives whole, says what it is, and holds no secret; nothing goes by itself."""

import hashlib
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hub_content import folder
from loopback_hub import LoopbackHub, files_holding
from samples import save_encoder, write_ade_folder

from helpers import training_sharing as sharing
from helpers.profiles import BUNDLED, REPOSITORY

TOKEN = "hf_" + "c4n4ry" * 6


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        hub.tokens[TOKEN] = "learner"
        yield hub


def metadata(card: bytes) -> dict:
    return yaml.safe_load(card.decode().split("---\n")[1])


def test_the_search_finds_what_is_packed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", f"padding padding {TOKEN} padding padding")
    assert files_holding(tmp_path, TOKEN) == [tmp_path / "a.bin"]


# --- the card -------------------------------------------------------------------------------------


def test_card_names_data_metric_and_license_and_leaves_out_what_is_no_number(
    tmp_path: Path,
) -> None:
    save_encoder(tmp_path / "mine")
    metrics = {
        "eval_mean_iou": 0.512345,
        "eval_loss": math.nan,
        "eval_overall_accuracy": math.inf,
        "eval_runtime": 3.0,
        "eval_samples_per_second": 3.0,
        "per_category_iou": [0.5, math.nan],
        "epoch": 2.0,
    }
    card = sharing.model_card(
        tmp_path / "mine", metrics, "merve/scene_parse_150", "apache-2.0", "nvidia/mit-b0"
    )
    data = metadata(str(card).encode())
    json.dumps(data, allow_nan=False)
    assert data["license"] == "apache-2.0"
    assert data["datasets"] == ["merve/scene_parse_150"]
    assert data["base_model"] == "nvidia/mit-b0"
    assert data["pipeline_tag"] == "image-segmentation"
    (entry,) = data["model-index"]
    assert entry["name"] == "mine"
    (result,) = entry["results"]
    assert result["dataset"]["type"] == "merve/scene_parse_150"
    assert result["metrics"] == [{"type": "mean_iou", "value": 0.5123, "name": "mean IoU"}]
    for word in ("NaN", "nan", "inf", "runtime"):
        assert word not in str(card).replace("finetuned", "")
    assert not (tmp_path / "mine" / "README.md").exists(), "model_card writes nothing"


def test_card_tells_of_a_local_data_set_its_name_and_not_its_path(tmp_path: Path) -> None:
    save_encoder(tmp_path / "mine")
    for source, name in ((BUNDLED / "scenes", "toy-scenes"), (tmp_path / "facades", "facades")):
        card = sharing.model_card(
            tmp_path / "mine",
            {"mean_iou": 0.5},
            str(source),
            base_model=str(BUNDLED / "checkpoints" / "mit-toy"),
        )
        data = metadata(str(card).encode())
        assert "datasets" not in data
        assert "base_model" not in data
        assert data["model-index"][0]["results"][0]["dataset"]["name"] == name
        assert "mit-toy" in str(card)
        assert str(tmp_path) not in str(card)
        assert str(REPOSITORY) not in str(card)


def test_card_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no config\.json in .*save_pretrained"):
        sharing.model_card(tmp_path, {"mean_iou": 0.5}, "a/b")
    save_encoder(tmp_path)
    with pytest.raises(ValueError, match=r"no finite score among \['mean_iou'\]"):
        sharing.model_card(tmp_path, {"mean_iou": math.nan}, "a/b")


# --- the upload -----------------------------------------------------------------------------------

UPLOAD = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from datasets import Dataset, load_dataset
from hub_content import encoded, folder
from huggingface_hub import ModelCard, hf_hub_download
from samples import draw_blocks
from helpers.data import load_scenes
from helpers.inference import load_model, segment
from helpers.profiles import get_profile
from helpers.training_sharing import model_card, push

work = Path(sys.argv[1])
trained = work / "trained"
trained.mkdir()
for name, content in folder("segformer-toy").items():
    (trained / name).write_bytes(content)
(trained / "README.md").unlink()
model, image_processor = load_model(trained)
with torch.no_grad():  # so that it differs from every model that is there already
    model.decode_head.classifier.bias.add_(0.1 * torch.randn(150))
model.save_pretrained(trained)
(trained / "training_args.bin").write_bytes(b"stays")
(trained / "checkpoints" / "checkpoint-1").mkdir(parents=True)
(trained / "checkpoints" / "checkpoint-1" / "model.safetensors").write_bytes(b"stays")

told = {}
try:
    push(trained, "learner/street")
except FileNotFoundError as error:
    told["without a card"] = str(error)
card = model_card(trained, {"eval_mean_iou": 0.5}, "merve/scene_parse_150",
                  base_model="nvidia/mit-b0")
card.save(trained / "README.md")
told["url"] = push(trained, "learner/street")

scene = draw_blocks(7, (160, 120))[0]
before = segment(scene, model, image_processor)
again, again_processor = load_model("learner/street")
told["same by helper"] = bool((segment(scene, again, again_processor) == before).all())
told["classes"] = len(np.unique(before))
told["card"] = ModelCard.load("learner/street").data.to_dict()["license"]

# The same with the libraries' own calls.
model.push_to_hub("plain", private=True)
image_processor.push_to_hub("plain")
card.push_to_hub("learner/plain")
again, again_processor = load_model("learner/plain")
told["same by libraries"] = bool((segment(scene, again, again_processor) == before).all())

# A second upload replaces what changed.
(trained / "README.md").write_text(str(card) + "More.")
push(trained, "learner/street")

scenes = load_scenes(get_profile("tiny"), check=False)
few = {name: split.select(range(3)) for name, split in scenes.items()}
from datasets import DatasetDict
DatasetDict(train=few["train"], validation=few["test"]).push_to_hub("learner/scenes", private=True)
loaded = load_dataset("learner/scenes")
told["splits"] = {name: len(split) for name, split in loaded.items()}
told["features"] = loaded["train"].features.to_dict() == few["train"].features.to_dict()
told["pixels"] = all(
    np.array_equal(np.asarray(a[column]), np.asarray(b[column]))
    for a, b in zip(few["train"], loaded["train"], strict=True)
    for column in ("image", "annotation")
)
try:
    push(trained, "somebody/else")
except PermissionError as error:
    told["not ours"] = str(error)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def upload(hub: LoopbackHub, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str, Path]:
    """What the script above told, everything it printed, and the folder it worked in."""
    work = tmp_path_factory.mktemp("upload")
    begin = len(hub.requests)
    done = hub.run("-c", UPLOAD, work, home=work / "home", token=TOKEN)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    told["requests"] = [f"{m} {path}" for m, path, _ in hub.requests[begin:]]
    return told, done.stdout + done.stderr, work


@pytest.mark.slow
def test_model_processor_and_card_arrive_whole(upload, hub: LoopbackHub) -> None:
    told, _, work = upload
    assert told["url"] == f"{hub.url}/learner/street"
    expected = {"config.json", "preprocessor_config.json", "model.safetensors", "README.md"}
    assert set(hub.repositories["model", "learner/street"].files) == expected
    for name in expected - {"README.md"}:
        sent = (work / "trained" / name).read_bytes()
        there = hub.repositories["model", "learner/street"].files[name]
        assert hashlib.sha256(sent).digest() == hashlib.sha256(there).digest()
    assert hub.repositories["model", "learner/street"].files["README.md"].endswith(b"More.")
    assert hub.repositories["model", "learner/street"].private
    assert told["same by helper"]
    assert told["classes"] > 1
    assert folder("segformer-toy")["model.safetensors"] != there


@pytest.mark.slow
def test_the_libraries_own_calls_arrive_too(upload, hub: LoopbackHub) -> None:
    told, _, _ = upload
    assert told["same by libraries"]
    files = hub.repositories["model", "learner/plain"].files
    assert {"config.json", "preprocessor_config.json", "model.safetensors", "README.md"} <= {*files}
    assert metadata(files["README.md"])["datasets"] == ["merve/scene_parse_150"]
    for name, content in files.items():
        if name.endswith(".json"):
            json.loads(content, parse_constant=pytest.fail)


@pytest.mark.slow
def test_a_data_set_arrives_whole(upload, hub: LoopbackHub) -> None:
    told, _, _ = upload
    assert told["splits"] == {"train": 3, "validation": 3}
    assert told["features"]
    assert told["pixels"]
    assert hub.repositories["dataset", "learner/scenes"].private


@pytest.mark.slow
def test_what_cannot_be_uploaded_is_told_in_a_sentence(upload, hub: LoopbackHub) -> None:
    told, _, work = upload
    place = work / "trained"
    advice = "write it with helpers.training.model_card"
    assert told["without a card"] == f"there is no README.md in {place}: {advice}"
    assert "does not let your token write to somebody/else" in told["not ours"]
    assert not any("somebody" in repo_id for _, repo_id in hub.repositories)


@pytest.mark.slow
def test_the_token_goes_to_the_hub_and_nowhere_else(upload, hub: LoopbackHub) -> None:
    told, printed, work = upload
    assert any(token == TOKEN for _, _, token in hub.requests), "it was never used"
    assert TOKEN not in printed
    assert files_holding(work, TOKEN) == []
    for repository in hub.repositories.values():
        for content in repository.files.values():
            assert TOKEN.encode() not in content
    assert not any(TOKEN in line for line in told["requests"])
    assert hub.strangers == []


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ade_folder(tmp_path_factory.mktemp("data") / "blocks", train=8, test=2)


@pytest.mark.slow
def test_training_uploads_when_asked_and_keeps_the_secret(
    hub: LoopbackHub, small_data: Path, tmp_path: Path
) -> None:
    done = hub.run(
        *("-m", "scripts.train", "--profile", "tiny", "--output-dir", tmp_path / "out"),
        *("--max-steps", "2", "--save-steps", "1", "--push-to-hub", "learner/blocks"),
        home=tmp_path / "home",
        token=TOKEN,
        SEG_DATA=str(small_data),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"uploaded to {hub.url}/learner/blocks"
    files = hub.repositories["model", "learner/blocks"].files
    assert {*files} == {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
        "README.md",
        "id2label.json",
        "labels.json",
    }
    assert files["model.safetensors"] == (tmp_path / "out" / "model.safetensors").read_bytes()
    card = metadata(files["README.md"])
    assert card["model-index"][0]["name"] == "blocks"
    assert card["model-index"][0]["results"][0]["dataset"]["name"] == "blocks"
    json.dumps(card, allow_nan=False)
    # Checkpoints, TrainingArguments and caches included.
    assert (tmp_path / "out" / "checkpoints" / "checkpoint-1" / "training_args.bin").is_file()
    assert files_holding(tmp_path, TOKEN) == []
    assert TOKEN not in done.stdout + done.stderr
    weights = [file.name for file in (tmp_path / "out").rglob("*") if "model" in file.name]
    assert set(weights) == {"model.safetensors"}, "checkpoints are safetensors"
    assert hub.strangers == []


@pytest.mark.slow
def test_without_a_token_training_does_not_begin(
    hub: LoopbackHub, small_data: Path, tmp_path: Path
) -> None:
    before = len(hub.requests)
    done = hub.run(
        *("-m", "scripts.train", "--profile", "tiny", "--output-dir", tmp_path / "out"),
        *("--push-to-hub", "learner/never"),
        home=tmp_path / "home",
        SEG_DATA=str(small_data),
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: uploading to learner/never needs a token with the right to write: log in with "
        "`hf auth login`, or set HF_TOKEN"
    )
    assert not (tmp_path / "out").exists()
    assert hub.requests[before:] == [], "without a token nothing is asked"


@pytest.mark.slow
def test_training_that_is_not_asked_to_upload_asks_the_hub_nothing(
    hub: LoopbackHub, small_data: Path, tmp_path: Path
) -> None:
    before = len(hub.requests)
    done = hub.run(
        *("-m", "scripts.train", "--profile", "tiny", "--output-dir", tmp_path / "out"),
        *("--max-steps", "1"),
        home=tmp_path / "home",
        token=TOKEN,
        SEG_DATA=str(small_data),
    )
    assert done.returncode == 0, done.stderr
    assert hub.requests[before:] == []
    assert hub.strangers == []


@pytest.mark.slow
def test_a_token_that_the_hub_does_not_know_stops_before_training(
    hub: LoopbackHub, small_data: Path, tmp_path: Path
) -> None:
    done = hub.run(
        *("-m", "scripts.train", "--profile", "tiny", "--output-dir", tmp_path / "out"),
        *("--push-to-hub", "learner/never"),
        home=tmp_path / "home",
        token="hf_" + "wr0ng0" * 6,
        SEG_DATA=str(small_data),
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the Hub does not let your token write")
    assert "wr0ng0" not in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()
