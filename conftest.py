"""What every test and every notebook kernel under pytest starts from; see also tests/conftest.py.

It lies in the root because pytest reads no conftest from `tests` when it runs `notebooks`.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tools.course.run import READS_OUTPUT_OF, headless_environment

_BUILD = Path(__file__).parent / "build"

# The libraries read their variables when they are imported, so this comes before any of them is;
# kernels and xdist's workers inherit what is set here.
_PROFILE = os.environ.setdefault("SEG_PROFILE", "tiny")
os.environ.update(headless_environment(_PROFILE))
os.environ.pop("MPLBACKEND", None)  # kernels choose the inline backend themselves
if _PROFILE == "tiny":  # a developer's own cache must not stand in for what the tests lack
    for _name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_MODULES_CACHE"):
        os.environ.pop(_name, None)
    os.environ["HF_HOME"] = str(_BUILD / "huggingface")
if _workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    # Each worker and its children get their share of the cores: where two processes have a thread
    # a core each, torch's threads spend most of their time waiting for one another.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(_workers))))
if not os.environ.get("SEG_OUTPUT"):
    _BUILD.mkdir(exist_ok=True)
    os.environ["SEG_OUTPUT"] = tempfile.mkdtemp(prefix="test-", dir=_BUILD)
    atexit.register(shutil.rmtree, os.environ["SEG_OUTPUT"], ignore_errors=True)

_first_failure: dict[Path, str] = {}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Where two processes share the notebooks, each is run whole by one of them, and by the same
    one after those that it continues. Tests are shared as xdist does."""
    if not config.getoption("nbval"):
        return None
    from xdist.scheduler import LoadScopeScheduling  # only where somebody asked for processes

    class NotebooksWhole(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            notebook = Path(nodeid.partition("::")[0]).stem
            return READS_OUTPUT_OF.get(notebook, notebook)

    return NotebooksWhole(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the cells that follow a failed one: what they would report is its echo."""
    if failed := _first_failure.get(item.path):
        pytest.skip(f"{failed} of this notebook failed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """Remember the first failed cell of each notebook."""
    report = yield
    if report.failed and item.path.suffix == ".ipynb":
        _first_failure.setdefault(item.path, item.name)
    return report
