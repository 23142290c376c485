"""In which language a notebook speaks, and how its texts are found and filled."""

import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

from helpers import language
from helpers.language import say
from helpers.profiles import REPOSITORY


@pytest.mark.parametrize(
    ("variable", "folder", "expected"),
    [
        ("", "notebooks", "en"),
        ("", "notebooks/zh", "zh"),
        ("", "notebooks/ja", "ja"),
        ("ja", "notebooks/zh", "ja"),
        ("en", "notebooks/zh", "en"),
        ("", "home/zh", "en"),  # a person's name, say
        ("", "notebooks/exercises", "en"),
    ],
)
def test_the_language_is_that_of_the_notebooks_folder_or_of_the_variable(
    variable: str, folder: str, expected: str, tmp_path, monkeypatch
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("SEG_LANGUAGE", variable)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path / folder)
    shell = InteractiveShell.instance()
    try:
        monkeypatch.chdir(tmp_path)  # as the set-up cell leaves its folder
        assert language.language() == expected
    finally:
        type(shell).clear_instance()


def test_an_unknown_language_is_named(monkeypatch) -> None:
    monkeypatch.setenv("SEG_LANGUAGE", "fr")
    with pytest.raises(ValueError, match=r"SEG_LANGUAGE is 'fr': set it to one of en, ja, zh"):
        say("two equal masks")


def test_a_command_speaks_english_and_loads_no_ipython() -> None:
    code = (
        "import sys, helpers.language as one; print(one.say('a number'), 'IPython' in sys.modules)"
    )
    told = subprocess.check_output(
        [sys.executable, "-c", code], cwd=REPOSITORY / "notebooks" / "zh", text=True,
        env={"PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert told == "a number False\n"


def test_values_come_in_the_order_of_the_english_names(monkeypatch) -> None:
    text = "the result is {found}, expected {expected}"
    assert say(text, 1, "{2}") == "the result is 1, expected {2}"
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        say(text, 1)
    monkeypatch.setenv("SEG_LANGUAGE", "zh")
    assert say(text, 1, say("a number")) == "结果是 1，应为一个数"
    assert say("a text of no catalogue: {value}", 1) == "a text of no catalogue: 1"


def test_no_space_stands_between_chinese_or_japanese_characters(monkeypatch) -> None:
    monkeypatch.setenv("SEG_LANGUAGE", "zh")
    text = "the result is {found}, expected {expected}"
    assert say(text, "数组", 5) == "结果是数组，应为 5"


def test_what_is_drawn_in_letters_is_english(monkeypatch) -> None:
    monkeypatch.setenv("SEG_LANGUAGE", "ja")
    with language.in_english():
        assert say("two equal masks") == "two equal masks"
    assert say("two equal masks") != "two equal masks"
