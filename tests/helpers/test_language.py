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
        ("", "notebooks/ja", "ja"),
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


def test_a_command_speaks_english_and_loads_no_ipython() -> None:
    code = "import sys; from helpers.language import say; print(say('a number'), *sys.modules)"
    folder, path = REPOSITORY / "notebooks" / "zh", {"PYTHONPATH": str(REPOSITORY)}
    told = subprocess.check_output([sys.executable, "-c", code], cwd=folder, text=True, env=path)
    assert told.startswith("a number ")
    assert "IPython" not in told.split()


def test_values_come_in_the_order_of_the_english_names(monkeypatch) -> None:
    text = "the result is {found}, expected {expected}"
    assert say(text, 1, "{2}") == "the result is 1, expected {2}"
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        say(text, 1)
    monkeypatch.setenv("SEG_LANGUAGE", "zh")
    assert say(text, 1, say("a number")) == "结果是 1，应为一个数"
    assert say(text, "数组", 5) == "结果是数组，应为 5"  # no space between Chinese characters
    assert say("a text of no catalogue: {value}", 1) == "a text of no catalogue: 1"
    with language.in_english():  # what is drawn in letters
        assert say("two equal masks") == "two equal masks"
    monkeypatch.setenv("SEG_LANGUAGE", "fr")
    with pytest.raises(ValueError, match=r"SEG_LANGUAGE is 'fr': set it to one of en, ja, zh"):
        say("two equal masks")
