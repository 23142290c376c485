"""When the Hub fails: success after a retry or one clear sentence, and never a poisoned cache."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hub_content import DATASET, ENCODER, METRIC, fill
from loopback_hub import LoopbackHub

from helpers.profiles import get_profile

pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="without symbolic links the cache names no file by its checksum"
)
SAMPLE = get_profile("sample")
IMAGE = SAMPLE.street_image
MODEL = SAMPLE.finetuned_model
# What each loader asks for by name, the repository's page, and the file with its bytes.
LOADERS = {
    "load_scenes, streamed": (DATASET, f"datasets/{DATASET}", r"train\S*\.parquet"),
    "load_scenes, downloaded": (DATASET, f"datasets/{DATASET}", r"train\S*\.parquet"),
    "load_model": (MODEL, MODEL, r"model\.safetensors"),
    "build_model": (ENCODER, ENCODER, r"model\.safetensors"),
    "load_image_processor": (ENCODER, ENCODER, r"preprocessor_config\.json"),
    "load_image": (IMAGE, "datasets/huggingface/documentation-images", r"\.jpg"),
    "evaluate.load": (METRIC, f"spaces/{METRIC}", r"mean_iou\.py"),
}
CHECKED = [name for name in LOADERS if name not in ("load_scenes, streamed", "evaluate.load")]
"""Loaders whose files the cache names by a checksum."""
SOON = {"Retry-After": "0"}
INVALID = "Invalid credentials in Authorization header"


def always(status: int, pattern: str, **headers: str) -> dict:
    return {"pattern": pattern, "times": 999, "status": status, "headers": headers}


def cases() -> list[list]:
    """[name, loader, faults] for everything that is tried."""
    made = []
    for loader, (_, page, file) in LOADERS.items():
        file_request = rf"GET .*{page}/resolve/\S*{file}"

        def add(name: str, *faults: dict, loader: str = loader) -> None:
            made.append([name, loader, list(faults)])

        add("well")
        add("401", always(401, page, **{"X-Error-Message": INVALID}))
        add("403", always(403, page, **{"X-Error-Code": "GatedRepo"}))
        add("404", always(404, page, **{"X-Error-Code": "RepoNotFound"}))
        add("429 once", {"pattern": page, "status": 429, "headers": SOON})
        if loader in ("load_scenes, streamed", "load_model"):  # as 503, of which all are tried
            add("429", always(429, page, **SOON))
        add("503 once", {"pattern": page, "status": 503, "headers": SOON})
        add("503", always(503, page, **SOON))
        add("cut once", {"pattern": file_request, "cut_after": 100})
        add("cut", {"pattern": file_request, "cut_after": 0, "times": 999})
        if loader in CHECKED:
            add("short", {"pattern": file_request, "short": True, "times": 999})
            add("corrupt", {"pattern": file_request, "corrupt": True, "times": 999})
    made.append(["503", "the course's metric", [always(503, ".")]])
    return made


PAIRS = [(name, loader) for name, loader, _ in cases() if loader in LOADERS]


def run(hub: LoopbackHub, home: Path, wanted: list[list], **variables: str) -> list[dict]:
    """What came of each case, all in one process."""
    script = Path(__file__).parent / "faulty_loads.py"
    done = hub.run(script, json.dumps(wanted), home=home, cwd=home.parent, **variables)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict[tuple[str, str], dict]:
    """What came of all cases: two processes with a Hub each, for most of the time is waiting."""
    first = list(LOADERS)[:3]
    halves = [[case for case in cases() if (case[1] in first) is early] for early in (True, False)]

    with LoopbackHub() as early, LoopbackHub() as late, ThreadPoolExecutor(2) as pool:
        hubs = [early, late]
        homes = [tmp_path_factory.mktemp("faults") / "home" for _ in hubs]
        for hub in hubs:
            fill(hub)
        answers = []
        for hub, half in zip(hubs, pool.map(run, hubs, homes, halves), strict=True):
            answers += [answer | {"url": hub.url} for answer in half]
            assert hub.strangers == [], "somebody asked for another address"
    return {(one["name"], one["loader"]): one for one in answers}


@pytest.mark.slow
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("name", ["429 once", "503 once", "cut once"])
def test_a_fault_that_passes_is_survived(told: dict, name: str, loader: str) -> None:
    first = told[name, loader]["first"]
    if loader == "evaluate.load":  # whose client does not try again
        assert re.fullmatch(r"the connection to the Hub broke off while .*", first["message"])
    else:
        assert first == {"digest": told["well", loader]["first"]["digest"]}


@pytest.mark.slow
def test_the_courses_own_metric_needs_no_hub(told: dict) -> None:
    metric = told["503", "the course's metric"]["first"]
    assert metric == told["well", "evaluate.load"]["first"]


SENTENCES = {
    "401": (r"the Hub does not accept your token for {source}: log in again with `hf auth "
            r"login`, or unset HF_TOKEN\."),
    "403": (r"{source} is only for those who accept its terms: log in with `hf auth login`, accept "
            r"them at {page}, and run this again\."),
    "404": (r"there is no {source} on the Hub, or it is private: check the name; if it is right, "
            r"log in with `hf auth login`\."),
    "429": r"the Hub answers with too many requests \(429\) for {source}: wait some minutes and .*",
    "503": r"the Hub answers with a fault of its own \(503\) for {source}: wait some .*",
    "cut": r"the connection to the Hub broke off while {source} was loaded: run this again\. .*",
    "short": r"{source} arrived damaged .*: run this again to fetch it\.",
    "corrupt": r"{source} arrived damaged .*: run this again to fetch it\.",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "loader"),
    [(n, one) for n, one, _ in cases() if n in SENTENCES and one in LOADERS],
    ids=str,
)
def test_a_fault_that_stays_is_told_in_one_sentence(told: dict, name: str, loader: str) -> None:
    source, page, _ = LOADERS[loader]
    page = f"{told[name, loader]['url']}/{page}"
    wanted = SENTENCES[name].format(source=re.escape(source), page=re.escape(page))
    first = told[name, loader]["first"]
    assert "error" in first, "it was not noticed"
    assert re.fullmatch(wanted, first["message"]), first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "loader"),
    [(n, one) for n, one, _ in cases() if n != "well" and one in LOADERS],
    ids=str,
)
def test_after_a_fault_the_cache_is_sound(told: dict, name: str, loader: str) -> None:
    one = told[name, loader]
    assert one["again"] == told["well", loader]["first"]
    assert one["left"] == []


@pytest.mark.slow
def test_with_the_server_gone_the_cached_copies_do(tmp_path: Path) -> None:
    wanted = [loader for loader in LOADERS if loader != "load_scenes, streamed"]
    with LoopbackHub() as hub:
        fill(hub)
        first = run(hub, tmp_path / "home", [["cached", loader, []] for loader in wanted])
        assert hub.strangers == []
    assert all("digest" in one["first"] for one in first), first
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    again = run(hub, tmp_path / "home", [["cached", loader, None] for loader in wanted], **offline)
    assert again == first
