"""Fixtures that the unit tests share; the environment they run in is set in the root's conftest."""

import os
from pathlib import Path

import matplotlib
import pytest

# By call and not by variable: a variable would reach the notebooks' kernels and hide their figures.
matplotlib.use("Agg")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def ade20k_dir() -> Path:
    """The folder of twelve real photographs in ADEChallengeData2016 layout, absolute."""
    given = os.environ.get("SEG_TEST_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "ade20k"
    if not (folder / "images" / "training").is_dir():
        pytest.skip(f"no real photographs in {folder}: set SEG_TEST_DATA to a folder of them")
    return folder.resolve()
