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


def test_tiny_is_the_default_and_lies_in_the_repository() -> None:
    profile = get_profile()
    assert profile == get_profile("tiny")
    assert profile.name == "tiny"
    for source in (profile.dataset, profile.encoder, profile.semantic_model):
        assert Path(source).is_relative_to(REPOSITORY)
    assert profile.output_dir == REPOSITORY / "outputs" / "tiny"


@pytest.mark.parametrize("name", ["sample", "full"])
def test_the_other_profiles_use_the_hub(name: str) -> None:
    profile = get_profile(name)
    assert profile.name == name
    assert profile.dataset == "merve/scene_parse_150"
    assert profile.encoder == "nvidia/mit-b0"
    assert profile.image_size == 512
    assert profile.max_images == {"sample": 50, "full": None}[name]


def test_a_profile_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_profile().image_size = 64  # type: ignore[misc]


def test_the_variable_names_a_profile_and_an_argument_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEG_PROFILE", "full")
    assert get_profile().name == "full"
    assert get_profile("sample").name == "sample"
    monkeypatch.setenv("SEG_PROFILE", "")  # as `SEG_PROFILE= python …` sets it
    assert get_profile().name == "tiny"


@pytest.mark.parametrize("as_variable", [True, False])
def test_an_unknown_profile_is_refused_with_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, as_variable: bool
) -> None:
    monkeypatch.setenv("SEG_PROFILE", "large" if as_variable else "tiny")
    with pytest.raises(ValueError, match="'large': expected one of tiny, sample, full") as error:
        get_profile(None if as_variable else "large")
    assert "SEG_PROFILE" in str(error.value)


def test_data_may_be_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "my scenes"
    folder.mkdir()
    monkeypatch.setenv("SEG_DATA", str(folder))
    profile = get_profile()
    assert profile.dataset == str(folder)
    assert profile.encoder == get_profile("tiny").encoder
    # Results on other data do not overwrite those on the profile's own.
    assert profile.output_dir.name == f"tiny-{folder_name(str(folder))}"


def test_a_relative_data_folder_counts_from_the_repository(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # notebooks run in a folder of their own
    monkeypatch.setenv("SEG_DATA", "helpers/bundled")
    assert get_profile().dataset == str(REPOSITORY / "helpers" / "bundled")


def test_data_may_be_a_folder_of_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEG_DATA", "mine")
    assert get_profile().dataset == str(tmp_path / "mine")


def test_data_may_be_a_hub_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEG_DATA", "nielsr/ade20k-demo")
    profile = get_profile("sample")
    assert profile.dataset == "nielsr/ade20k-demo"
    assert profile.max_images is None  # all of it, and not the first 50 images
    assert profile.output_dir.name == f"sample-{folder_name('nielsr/ade20k-demo')}"


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


def output_of(data: Path | str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEG_DATA", str(data))
    return get_profile().output_dir


def test_two_data_sets_never_share_an_output_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [
        "果物",
        "写真",
        "my scenes",
        "my-scenes",
        "one/data",
        "two/data",
        "数据/data",
        "+",
        "-",
    ]
    for name in names:
        (tmp_path / name).mkdir(parents=True)
    outputs = {output_of(tmp_path / name, monkeypatch) for name in names}
    outputs |= {output_of(hub_id, monkeypatch) for hub_id in ("one/data", "two/data")}
    assert len(outputs) == len(names) + 2


def test_a_data_set_has_one_output_folder_however_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    names = [tmp_path / "mine", f"{tmp_path}/mine/", f"{tmp_path}/link", "mine", "./mine"]
    assert len({output_of(name, monkeypatch) for name in names}) == 1


@pytest.mark.parametrize(
    ("source", "readable"),
    [
        ("/photos/果物", "果物"),
        ("/photos/Äpfel & Birnen (2024)", "Äpfel-Birnen-2024"),
        ("/photos/चित्र", "चित्र"),  # vowel signs are marks, and no letters
        (
            "/photos/\u30ab\u3099\u30e9\u30b9",
            "ガラス",
        ),  # as macOS stores it: the voicing marks apart
        ("nielsr/ade20k-demo", "ade20k-demo"),
    ],
)
def test_an_output_folder_keeps_the_letters_of_any_script(source: str, readable: str) -> None:
    assert re.fullmatch(f"{re.escape(readable)}-[0-9a-f]{{8}}", folder_name(source))


@pytest.mark.parametrize("name", ["果" * 85, "a" * 255, "...", "😀"])
def test_any_data_folder_s_output_folder_can_be_made(name: str, tmp_path: Path) -> None:
    (tmp_path / f"sample-{folder_name(f'/data/{name}')}").mkdir()


@pytest.mark.parametrize(
    "data", ["/nowhere/at all", "../nowhere", "./no/where", "~/no/where", "scene_parse_150"]
)
def test_a_missing_data_folder_is_named(monkeypatch: pytest.MonkeyPatch, data: str) -> None:
    monkeypatch.setenv("SEG_DATA", data)
    with pytest.raises(FileNotFoundError, match="SEG_DATA") as error:
        get_profile()
    message = str(error.value)
    assert repr(data) in message
    assert "annotations/{training,validation}" in message


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


@pytest.mark.parametrize("steps", ["0", "-3", "ten", "1.5", "1e3"])
def test_wrong_max_steps_are_refused(monkeypatch: pytest.MonkeyPatch, steps: str) -> None:
    monkeypatch.setenv("SEG_MAX_STEPS", steps)
    with pytest.raises(ValueError, match="expected a positive whole number") as error:
        get_profile()
    assert f"SEG_MAX_STEPS is '{steps}'" in str(error.value)
