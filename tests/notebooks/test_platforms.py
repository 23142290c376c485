"""The course where other people run it: Colab, the lowest versions, other Pythons, Binder.

Each needs environments of its own, gigabytes of them, so `make test-platforms` runs this file and
`make test` does not. The environments lie in build/platforms and are kept for the next run.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import pytest

from helpers.profiles import REPOSITORY
from tools.course.address import read_address
from tools.course.execute import execute
from tools.course.run import choose_notebooks

pytestmark = pytest.mark.platforms

NOTEBOOKS = choose_notebooks(REPOSITORY / "notebooks")
ENVIRONMENTS = REPOSITORY / "build" / "platforms"

# That every cell runs is the question here, not what 120 steps learn.
SHORT = {"SEG_MAX_STEPS": "20"}

# A Colab session as of August 2026; `evaluate` and `nbval` are absent there. Whether it has the
# others is not known: what is absent, a set-up cell installs.
ABSENT = ("evaluate", "timm", "onnx", "onnxruntime")
COLAB_PYTHON = "3.13"
COLAB = """
accelerate==1.14.*
datasets==4.0.*
huggingface_hub==1.27.*
ipykernel==6.17.*
ipython==7.34.*
ipywidgets==7.7.1
matplotlib==3.10.*
numpy==2.1.*
pandas==2.2.*
pip
scipy
torch==2.11.*
torchvision==0.26.*
transformers==5.15.*
"""


def environment(name: str, version: str, requirements: str) -> Path:
    """Make a virtual environment once; returns its interpreter.

    Args:
        name: of its folder.
        version: of Python, such as "3.12": one on the path or among pyenv's.
        requirements: the text of a requirements file.
    """
    folder = ENVIRONMENTS / f"{name}-{version}"
    made, stamp = folder / "bin" / "python", folder / "made"
    recipe = hashlib.sha256(requirements.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == recipe:
        return made
    shutil.rmtree(folder, ignore_errors=True)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [*map(str, pyenv.glob(f"versions/{version}.*/bin")), os.environ["PATH"]]
    own = os.environ | {"PATH": os.pathsep.join(places), "UV_PYTHON_DOWNLOADS": "never"}
    uv = [sys.executable, "-m", "uv"]
    if subprocess.run([*uv, "venv", "--quiet", "--python", version, folder], env=own).returncode:
        pytest.skip(f"there is no Python {version} on this machine")
    listed = folder / "requirements.txt"
    listed.write_text(requirements)
    install = [*uv, "pip", "install", "--quiet", "--python", made, "-r", listed]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stamp.write_text(recipe)
    return made


def bare_variables() -> dict[str, str]:
    """This process's variables without the settings of the tests."""
    ours = ("SEG_", "HF_", "PYTHON", "PYTEST", "TQDM", "JUPYTER", "MPL")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)}


# --- the lowest versions --------------------------------------------------------------------------


def lowest(requirements: str) -> str:
    """Each `>=` of a requirements file turned into `==`."""
    assert "<=" not in requirements
    return re.sub(r">=([\w.]+)(,<\w+)?", r"==\1", requirements)


# On the oldest Python all notebooks; on the next the guide and the commands. Colab has the newest,
# in nearly the same versions.
PART = ["--notebooks", "00", "07"]


@pytest.mark.parametrize(("version", "chosen"), [("3.11", []), ("3.12", PART)])
def test_the_course_runs_on_the_lowest_versions(version: str, chosen: list, tmp_path: Path):
    listed = lowest((REPOSITORY / "requirements.txt").read_text(encoding="utf-8"))
    interpreter = environment("lowest", version, requirements=listed)
    variables = bare_variables() | SHORT | {"HF_HOME": str(tmp_path / "huggingface")}
    run = partial(subprocess.run, cwd=REPOSITORY, env=variables, check=True, timeout=1500)
    run([interpreter, "-m", "tools.course", "run", "--output", tmp_path, *chosen])
    for notebook in choose_notebooks(REPOSITORY / "notebooks", chosen[1:]):
        assert (tmp_path / f"{notebook.stem}.html").is_file()
    if not chosen:  # sliders are where the lowest ipywidgets, which is Colab's, differs most
        sliders = REPOSITORY / "tests" / "helpers" / "test_widgets.py"
        run([interpreter, "-m", "pytest", "-q", sliders])


def test_the_newest_python_has_the_lowest_versions(tmp_path: Path):
    listed = tmp_path / "requirements.txt"
    listed.write_text(lowest((REPOSITORY / "requirements.txt").read_text(encoding="utf-8")))
    built = ["--python-version", COLAB_PYTHON, "--only-binary", ":all:"]
    subprocess.run([sys.executable, "-m", "uv", "pip", "compile", "-q", *built, listed], check=True)


# --- Colab ----------------------------------------------------------------------------------------


def publish(folder: Path, ref: str) -> None:
    """Make a bare repository that holds this checkout, uncommitted changes and all, as a tag."""
    own = os.environ | {"GIT_INDEX_FILE": str(folder.with_suffix(".index"))}

    def git(*arguments: object) -> str:
        command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *arguments]
        return subprocess.check_output(command, cwd=REPOSITORY, env=own, text=True).strip()

    git("init", "--quiet", "--bare", folder)
    git("read-tree", "HEAD")
    git("add", "--all")
    commit = git("commit-tree", git("write-tree"), "-m", "as it is")
    git("push", "--quiet", folder, f"{commit}:refs/tags/{ref}")


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The interpreter of a Colab session, which the kernel "colab" runs in."""
    interpreter = environment("colab", COLAB_PYTHON, requirements=COLAB)
    uninstall = [sys.executable, "-m", "uv", "pip", "uninstall", "--quiet", *ABSENT]
    subprocess.run([*uninstall, "--python", interpreter], check=True)  # of an earlier run
    folder = tmp_path_factory.mktemp("colab")
    address = read_address()
    published = folder / "published.git"
    publish(published, address.ref)
    (folder / "gitconfig").write_text(
        f'[url "{published.as_uri()}"]\n\tinsteadOf = https://github.com/{address.repository}\n'
        "[advice]\n\tdetachedHead = false\n"
    )
    stub = folder / "stub" / "google" / "colab"
    stub.mkdir(parents=True)
    (stub / "__init__.py").touch()
    kernel = folder / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    command = [str(interpreter), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    specification = {"argv": command, "display_name": "Colab", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(specification))
    before, bare = os.environ.copy(), bare_variables()
    os.environ.clear()  # the kernel gets this process's variables
    os.environ.update(
        bare | SHORT,
        COLAB_RELEASE_TAG="release-colab_20260801",
        GIT_CONFIG_GLOBAL=str(folder / "gitconfig"),
        HF_HOME=str(folder / "huggingface"),
        HF_HUB_DISABLE_TELEMETRY="1",
        JUPYTER_PATH=str(folder / "jupyter"),
        PYTHONPATH=str(folder / "stub"),
    )
    yield interpreter
    os.environ.clear()
    os.environ.update(before)


def installed(interpreter: Path) -> dict[str, str]:
    """Name to version of every package of an environment."""
    code = "import json, importlib.metadata as m\n"
    code += "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
    return json.loads(subprocess.check_output([interpreter, "-c", code], text=True))


@pytest.fixture(scope="module")
def session(colab: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    """The packages that are there before, and what lies beside each notebook at its end.

    Each is opened alone. The first installs what is absent; then two run at once, short ones last.
    """

    def run(path: Path) -> set[str]:
        folder = tmp_path_factory.mktemp(path.stem)
        shutil.copy(path, folder)
        _, seconds, peak = execute(folder / path.name, timeout=900, kernel_name="colab")
        print(f"{path.stem}: {seconds:.0f} s, {peak / 1e9:.2f} GB")
        return {item.name for item in folder.iterdir()}

    before, (first, *others) = installed(colab), NOTEBOOKS
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // 2))
    with ThreadPoolExecutor(2) as pool:
        wait([running := pool.submit(run, first)])
        return before, {first: running} | {path: pool.submit(run, path) for path in others[::-1]}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_opened_alone_in_colab_runs_to_its_end(path: Path, session: tuple):
    assert session[1][path].result() == {path.name, "course"}


def test_a_colab_session_gets_what_is_absent_and_keeps_its_packages(session: tuple, colab: Path):
    before, after = session[0], installed(colab)
    assert before.items() <= after.items(), "a package that was there has been changed"
    assert {*ABSENT} <= after.keys()
    assert not {"nbval", "jupyterlab"} & (after.keys() - before.keys())


# --- Binder ---------------------------------------------------------------------------------------


def test_binder_renders_a_dockerfile():
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = environment("binder", version, requirements="jupyter-repo2docker\nsetuptools\n")
    command = [interpreter.with_name("jupyter-repo2docker"), "--no-build", "--debug", "."]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "Building conda environment for python=3.12" in told
    for line in ("chmod +x binder/postBuild", "chmod +x", '-r "binder/requirements.txt"'):
        assert line in told, told
