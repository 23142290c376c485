"""The one switch: profiles and the `SEG_...` variables."""

import dataclasses
import re
from pathlib import Path

import pytest

from helpers.labels import ADE20K, Labels
from helpers.profiles import REPOSITORY, folder_name, get_profile


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test from an environment without our variables."""
    for name in ("SEG_PROFILE", "SEG_DATA", "SEG_OUTPUT", "SEG_MAX_STEPS"):
        monkeypatch.delenv(name, raising=False)


def test_tiny_is_the_default_and_lies_in_the_repository_and_the_others_use_the_hub() -> None:
    profile = get_profile()
    assert profile == get_profile("tiny")
    for source in (profile.dataset, profile.encoder, profile.semantic_model):
        assert Path(source).is_relative_to(REPOSITORY)
    assert profile.output_dir == REPOSITORY / "outputs" / "tiny"
    for name, images in (("sample", 50), ("full", None)):
        profile = get_profile(name)
        assert (profile.name, profile.max_images, profile.image_size) == (name, images, 512)
        assert (profile.dataset, profile.encoder) == ("merve/scene_parse_150", "nvidia/mit-b0")
    assert (profile.max_steps, profile.batch_size) == (160_000, 16)  # the published schedule


def test_the_variable_names_a_profile_and_an_argument_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEG_PROFILE", "full")
    assert get_profile().name == "full"
    assert get_profile("sample").name == "sample"
    monkeypatch.setenv("SEG_PROFILE", "")  # as `SEG_PROFILE= python …` sets it
    assert get_profile().name == "tiny"
    monkeypatch.setenv("SEG_PROFILE", "large")
    for given, name in ((None, "large"), ("huge", "huge")):
        told = f"'{name}': expected one of tiny, sample, full.*SEG_PROFILE"
        with pytest.raises(ValueError, match=told):
            get_profile(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{here}/mine", "{here}/mine"),
        ("mine", "{here}/mine"),  # of the working directory
        ("helpers/bundled", f"{REPOSITORY}/helpers/bundled"),  # notebooks run in a folder of theirs
        ("nielsr/ade20k-demo", "nielsr/ade20k-demo"),  # on the Hub
    ],
)
def test_data_may_be_a_folder_or_a_hub_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str, expected: str
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEG_DATA", given.format(here=tmp_path))
    profile = get_profile()
    assert profile.dataset == expected.format(here=tmp_path)
    assert profile.encoder == get_profile("tiny").encoder
    # Results on other data do not overwrite those on the profile's own.
    assert profile.output_dir.name == f"tiny-{folder_name(profile.dataset)}"


def test_data_that_are_asked_for_win_and_count_from_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "helpers" / "bundled").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEG_DATA", "nielsr/ade20k-demo")
    here = get_profile("sample", "helpers/bundled")
    assert here.dataset == str(tmp_path / "helpers" / "bundled")
    assert here.output_dir.name == f"sample-{folder_name(here.dataset)}"
    assert get_profile("sample", "notebooks").dataset == str(REPOSITORY / "notebooks")
    assert get_profile("sample", "merve/scene_parse_150").max_images is None
    told = f"--data is './no/where', and there is no folder {tmp_path / 'no' / 'where'}"
    with pytest.raises(FileNotFoundError, match=re.escape(told)):
        get_profile("sample", "./no/where")


def test_each_data_set_has_one_output_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def output_of(data: Path | str) -> Path:
        monkeypatch.setenv("SEG_DATA", str(data))
        return get_profile().output_dir

    names = ["果物", "写真", "my scenes", "my-scenes", "one/data", "two/data", "+", "-"]
    for name in names:
        (tmp_path / name).mkdir(parents=True)
    outputs = {output_of(tmp_path / name) for name in names}
    outputs |= {output_of(hub_id) for hub_id in ("one/data", "two/data")}
    assert len(outputs) == len(names) + 2
    (tmp_path / "link").symlink_to(tmp_path / "+")
    monkeypatch.chdir(tmp_path)
    same = [tmp_path / "+", f"{tmp_path}/+/", f"{tmp_path}/link", "+", "./+"]
    assert len({output_of(name) for name in same}) == 1


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("果物", "果物-"),
        ("Äpfel & Birnen (2024)", "Äpfel-Birnen-2024-"),
        ("चित्र", "चित्र-"),  # vowel signs are marks, and no letters
        ("\u30ab\u3099\u30e9\u30b9", "ガラス-"),  # as macOS stores it: the voicing marks apart
        ("果" * 85, "果" * 40 + "-"),
        ("...", ""),
        ("😀", ""),
    ],
)
def test_an_output_folder_keeps_the_letters_of_any_script_and_can_be_made(
    name: str, readable: str, tmp_path: Path
) -> None:
    found = folder_name(f"/photos/{name}")
    assert re.fullmatch(f"{re.escape(readable)}[0-9a-f]{{8}}", found)
    (tmp_path / f"sample-{found}").mkdir()


@pytest.mark.parametrize("data", ["/nowhere/at all", "../nowhere", "~/no/where", "scene_parse_150"])
def test_a_missing_data_folder_is_named(monkeypatch: pytest.MonkeyPatch, data: str) -> None:
    monkeypatch.setenv("SEG_DATA", data)
    told = re.escape(f"SEG_DATA is {data!r}, and there is no folder")
    with pytest.raises(FileNotFoundError, match=f"{told}.*annotations/{{training,validation}}"):
        get_profile()


def test_data_bring_their_labels_or_have_ade20ks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("tiny", "sample", "full"):  # whose data no network has to be asked about
        assert get_profile(name).labels is get_profile(name).own_labels is ADE20K
    monkeypatch.setenv("SEG_DATA", str(tmp_path))
    assert get_profile().own_labels is None
    assert get_profile().labels is ADE20K
    labels = Labels(["table", "fruit"], [(0, 0, 0), (9, 8, 7)], reduce=True)
    labels.save(tmp_path)
    assert get_profile().labels == get_profile().own_labels == labels
    own = Labels(["table", "cherry"])
    assert dataclasses.replace(get_profile(), own=own).labels == own
    (tmp_path / "id2label.json").write_text('{"1": "table", "2": "fruit"}')
    profile = get_profile()  # they are read when they are first asked for
    with pytest.raises(ValueError, match="numbers its labels from 1 to 2, expected 0 to 1"):
        _ = profile.labels


def test_output_may_be_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEG_OUTPUT", str(tmp_path))
    assert get_profile().output_dir == tmp_path / "tiny"
    assert get_profile().model_dir == tmp_path / "tiny" / "model"
    monkeypatch.setenv("SEG_OUTPUT", "build/results")
    assert get_profile("full").output_dir == REPOSITORY / "build" / "results" / "full"


def test_max_steps_caps_and_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    full = get_profile("full")
    monkeypatch.setenv("SEG_MAX_STEPS", "3")
    assert get_profile("full").max_steps == 3
    assert get_profile("full").eval_steps == 3  # or the short run would never be evaluated
    monkeypatch.setenv("SEG_MAX_STEPS", "999999999")
    assert get_profile("full") == full


@pytest.mark.parametrize("steps", ["0", "-3", "1e3"])
def test_wrong_max_steps_are_refused(monkeypatch: pytest.MonkeyPatch, steps: str) -> None:
    monkeypatch.setenv("SEG_MAX_STEPS", steps)
    told = f"SEG_MAX_STEPS is '{steps}': expected a positive whole number"
    with pytest.raises(ValueError, match=told):
        get_profile()
