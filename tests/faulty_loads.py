"""Loads from a Hub that fails in chosen ways, in one process, for test_hub_faults.py.

    python faulty_loads.py CASES

CASES: JSON, a list of [name, loader, faults]. Each case starts with empty caches, loads once under
its faults, and once more when the Hub is well again ("well" and "cached" load once, "cached" with
the caches as they are). Told, as one line of JSON a case: the digest of what was loaded or the
error, both times.
"""

import hashlib
import json
import os
import shutil
import sys
import urllib.request
from pathlib import Path

import datasets
import evaluate
import numpy as np
from hub_content import METRIC
from huggingface_hub import constants
from transformers import PreTrainedModel

from helpers.data import load_scenes
from helpers.hub import explained, remove_damaged
from helpers.images import load_image
from helpers.inference import load_model
from helpers.profiles import REPOSITORY, get_profile
from helpers.training import build_model
from helpers.transforms import load_image_processor

datasets.disable_progress_bars()
SAMPLE, FULL = get_profile("sample"), get_profile("full")


def load_metric() -> evaluate.Metric:
    with explained(METRIC, "space"):
        return evaluate.load(METRIC)


LOADERS = {
    "load_scenes, streamed": lambda: load_scenes(SAMPLE, check=False),
    "load_scenes, downloaded": lambda: load_scenes(FULL, check=False),
    "load_model": lambda: load_model(SAMPLE.finetuned_model),
    "build_model": lambda: build_model(SAMPLE),
    "load_image_processor": lambda: load_image_processor(SAMPLE),
    "load_image": lambda: load_image(SAMPLE.street_image),
    "evaluate.load": load_metric,
    "the course's metric": lambda: evaluate.load(str(REPOSITORY / "notebooks" / "mean_iou")),
}


def digest(loaded: object) -> str:
    """A short checksum of everything that matters in what was loaded."""
    sha = hashlib.sha256()
    whole = isinstance(loaded, tuple)  # load_model; in build_model's the head is new and random
    if whole:
        loaded = loaded[0]
    if isinstance(loaded, PreTrainedModel):
        for name, tensor in loaded.state_dict().items():
            if whole or "decode_head" not in name:
                sha.update(name.encode() + tensor.numpy().tobytes())
    elif isinstance(loaded, datasets.DatasetDict):
        for split in loaded.values():
            for row in split:
                sha.update(np.asarray(row["image"]).tobytes())
                sha.update(np.asarray(row["annotation"]).tobytes())
    elif isinstance(loaded, evaluate.Metric):
        one = np.array([[0, 1], [1, 2]])
        maps = {"predictions": [one], "references": [one]}
        sha.update(str(loaded.compute(**maps, num_labels=3, ignore_index=255)).encode())
    elif hasattr(loaded, "to_dict"):
        sha.update(json.dumps(loaded.to_dict(), sort_keys=True, default=str).encode())
    else:
        sha.update(np.asarray(loaded).tobytes())
    return sha.hexdigest()[:16]


def attempt(loader: str) -> dict[str, str]:
    try:
        return {"digest": digest(LOADERS[loader]())}
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)}


def set_faults(faults: list[dict]) -> None:
    request = urllib.request.Request(
        f"{constants.ENDPOINT}/control/faults", json.dumps(faults).encode(), method="POST"
    )
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30).close()


def forget() -> None:
    shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)
    Path(os.environ["HF_HOME"]).mkdir(parents=True)


def main() -> None:
    for name, loader, faults in json.loads(sys.argv[1]):
        if name != "cached":
            forget()
        if faults is not None:  # None: there is no server
            set_faults(faults)
        told = {"name": name, "loader": loader, "first": attempt(loader)}
        if name not in ("well", "cached"):
            set_faults([])
            told["again"] = attempt(loader)
            # Nothing wrong is left, neither of this repository nor of another.
            told["left"] = []
            for folder in Path(constants.HF_HUB_CACHE).glob("*--*"):
                kinds, *names = folder.name.split("--")
                removed = remove_damaged("/".join(names), kinds.removesuffix("s"))
                told["left"] += map(str, removed)
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
