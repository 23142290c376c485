"""Fixtures that the unit tests share; the environment they run in is set in the root's conftest."""

import os
from pathlib import Path

import matplotlib
import pytest

# By call and not by variable: a variable would reach the notebooks' kernels and hide their figures.
matplotlib.use("Agg")

REPOSITORY = Path(__file__).resolve().parent.parent

# Two workers take whole files, in this order: a long file at the end would leave one without work.
LONGEST = ("hub_notebooks", "jupyterlab", "notebooks_on_other_data", "checkpoints", "drawing")
LONGEST += ("processes", "hub", "real_photographs", "share", "custom", "data", "try_page")
LONGEST += ("evaluation", "bundled", "course", "training")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; the others stay in order."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def ade20k_dir() -> Path:
    """The folder of twelve real photographs in ADEChallengeData2016 layout, absolute."""
    given = os.environ.get("SEG_TEST_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "ade20k"
    if not (folder / "images" / "training").is_dir():
        pytest.skip(f"no real photographs in {folder}: set SEG_TEST_DATA to a folder of them")
    return folder.resolve()
