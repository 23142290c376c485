"""Running and refreshing the course, on throw-away notebooks; and the commands that CI runs."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from matplotlib.colors import TABLEAU_COLORS, to_rgb
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image, ImageSequence
from samples import encoded
from scipy import ndimage

from helpers.labels import ADE20K
from helpers.profiles import REPOSITORY
from tools.course import map as course_map
from tools.course import run as course
from tools.course import translations
from tools.course.address import read_address
from tools.course.execute import HARDLY_SEEN, UNSEEN, NotebookError, execute, smaller_png
from tools.course.pages import write_index, write_markdown_page, write_page
from tools.course.readme_image import moving_picture

RED_DOT = "import matplotlib.pyplot as plt\nplt.plot([1], 'ro')\nplt.show()"


def write(folder: Path, name: str, *sources: str) -> Path:
    """Write a notebook of code cells after one heading; return its path."""
    folder.mkdir(exist_ok=True)
    cells = [new_markdown_cell("# Trial"), *map(new_code_cell, sources)]
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def command(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m tools.course` as a user does, without the tests' own SEG_ settings."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SEG_")} | variables
    return subprocess.run(
        [sys.executable, "-m", "tools.course", *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


# --- run ------------------------------------------------------------------------------------------


def test_the_command_starts_without_pytorch():
    code = "import sys, tools.course.__main__; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd=REPOSITORY, text=True) == "False\n"


def test_run_reports_each_notebook_and_writes_pages_and_results(tmp_path: Path):
    folder, output = tmp_path / "notebooks", tmp_path / "out"
    train = (
        "import json, os, pathlib\n"
        "folder = pathlib.Path(os.environ['SEG_OUTPUT']) / 'tiny'\n"
        "(folder / 'overlays').mkdir(parents=True)\n"
        "(folder / 'eval_results.json').write_text(json.dumps({'eval_mean_iou': 0.61234}))\n"
        "(folder / 'overlays' / 'a.png').write_bytes(b'')\n"
        "ballast = bytes(range(256)) * 1_200_000"
    )
    write(folder, "01_one", "import os\nprint(os.environ['TQDM_DISABLE'])", RED_DOT)
    write(folder, "02_two", train, "import time\ntime.sleep(1)")
    # A caller's MPLBACKEND would take the figures out of the cells.
    done = command("run", "--folder", folder, "--output", output, MPLBACKEND="Agg")
    assert done.returncode == 0, done.stderr
    # They run side by side, and are told as they finish.
    lines = re.findall(r"^(\d\d_\w+) +([\d.]+) s +([\d.]+) GB$", done.stdout, flags=re.MULTILINE)
    (one, _, _), (two, seconds, memory) = sorted(lines)
    assert (one, two) == ("01_one", "02_two")
    assert float(seconds) > 1
    assert 0.3 < float(memory) < 2, "the second notebook holds 0.31 GB of ballast"
    for told in ("Validation mIoU 0.6123", f"{output / 'tiny' / 'model'}", "(1 images)"):
        assert told in done.stdout
    assert f"Pages      {output / 'index.html'}\n" in done.stdout
    index = (output / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'<h2><a href="([^"]+)"', index) == ["01_one.html", "02_two.html"]
    page = (output / "01_one.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    # Each script from elsewhere is one that the page does not wait for.
    assert all("async" in tag for tag in re.findall(r"<script[^>]*src=[^>]*>", page))
    costs = json.loads((output / course_map.COSTS_FILE).read_text(encoding="utf-8"))
    assert costs["profile"] == "tiny"
    assert costs["notebooks"]["02_two"]["seconds"] == float(seconds)
    assert f"{costs['notebooks']['02_two']['peak_memory'] / 1e9:.2f}" == memory


README = """# Course

| notebook | afterwards you can | open in | time | memory |
| --- | --- | --- | --- | --- |
| [01 · One](notebooks/01_one.ipynb) | count to one | [Colab](a) | 3 s | 9.9 GB |
| [02 · Two](notebooks/02_two.ipynb) | count to two | | | |

<!-- measured -->

Every notebook begins with a title.
"""


@pytest.fixture
def costs(tmp_path: Path) -> Path:
    """What two notebooks cost; the second was run first."""
    file = tmp_path / course_map.COSTS_FILE
    course_map.note_costs(file, "tiny", "02_two", 63.04, 980_000_000)
    course_map.note_costs(file, "tiny", "01_one", 27.4, 1_180_000_000)
    course_map.note_total(file, 71.2)
    return file


def test_map_writes_the_last_run_into_the_readme(costs: Path, tmp_path: Path):
    readme = tmp_path / "README.md"
    readme.write_text(README, encoding="utf-8")
    done = command("map", "--costs", costs, "--readme", readme)
    assert done.returncode == 0, done.stderr
    text = readme.read_text(encoding="utf-8")
    one, two = (read_address().buttons(f"notebooks/{name}.ipynb") for name in ("01_one", "02_two"))
    assert f"| count to one | {one} | 27 s | 1.2 GB |\n" in text
    assert f"| count to two | {two} | 63 s | 1.0 GB |\n" in text
    assert "\n<!-- measured -->All together: 1 min 11 s, and at most 1.2 GB for a" in text
    assert str(date.today().year) in text
    assert text.splitlines()[:4] == README.splitlines()[:4]
    assert text.endswith("Every notebook begins with a title.\n")


def test_map_refuses_figures_that_do_not_fit(costs: Path, tmp_path: Path):
    readme = tmp_path / "README.md"
    readme.write_text(README.replace("<!-- measured -->", ""), encoding="utf-8")
    with pytest.raises(ValueError, match="holds no line that begins with"):
        course_map.write_map(costs, readme)
    readme.write_text(README, encoding="utf-8")
    with pytest.raises(FileNotFoundError, match="run the whole course first"):
        course_map.write_map(tmp_path / "none.json", readme)
    course_map.note_costs(costs, "tiny", "01_one", 27.4, 1_180_000_000)  # run again, alone
    with pytest.raises(ValueError, match="run the whole course first"):
        course_map.write_map(costs, readme)
    course_map.note_costs(costs, "full", "01_one", 900.0, 3_000_000)  # does not compare with tiny
    assert list(json.loads(costs.read_text(encoding="utf-8"))["notebooks"]) == ["01_one"]


def test_the_readme_gives_every_notebook_a_time_and_a_memory():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    stems = {path.stem for path in (REPOSITORY / "notebooks").glob("[0-9]*.ipynb")}
    row = r"\(notebooks/(\w+)\.ipynb\) \|(?: [^|]+ \|){2} (\d+) s \| ([\d.]+) GB \|"
    rows = re.findall(row, text)
    assert {stem for stem, _, _ in rows} == stems, "`python -m tools.course map` lists them"
    assert "<!-- measured -->All together: " in text


def test_run_stops_at_a_failing_cell_and_names_it(tmp_path: Path):
    folder = tmp_path / "notebooks"
    write(folder, "01_one", "1", "", "raise ValueError('annotation 7.png holds 151')", "2")
    write(folder, "02_two", "import time\ntime.sleep(3)")  # may have begun beside the first
    write(folder, "03_three", "print('not reached')")
    done = command("run", "--folder", folder, "--output", tmp_path)
    assert done.returncode == 1
    message = "error: 01_one.ipynb, code cell 2: ValueError: annotation 7.png holds 151"
    assert done.stderr.splitlines()[-1] == message
    assert "03_three" not in done.stdout
    assert "annotation 7.png" in (tmp_path / "01_one.html").read_text(encoding="utf-8")


def test_execute_names_the_cell_that_takes_too_long(tmp_path: Path):
    path = write(tmp_path, "01_one", "1", "import time\ntime.sleep(60)")
    with pytest.raises(NotebookError, match="code cell 2: it did not finish within 2 s"):
        execute(path, timeout=2)


def test_notebooks_are_chosen_by_number_or_name(tmp_path: Path):
    for name in ("02_two", "01_one", "10_ten"):
        write(tmp_path, name, "1")
    chosen = [path.stem for path in course.choose_notebooks(tmp_path, ["10", "01_one.ipynb"])]
    assert chosen == ["01_one", "10_ten"]
    with pytest.raises(ValueError, match="no notebook '07'; there are 01_one, 02_two, 10_ten"):
        course.choose_notebooks(tmp_path, ["07"])
    with pytest.raises(ValueError, match="there is no notebook in"):
        course.choose_notebooks(tmp_path / "empty")


# --- refresh --------------------------------------------------------------------------------------


def test_refresh_stores_one_clean_run(tmp_path: Path):
    deliberate = "import json\njson.loads('{')"
    path = write(
        tmp_path, "01_one", "import os\nprint(os.environ['SEG_PROFILE'])", "", RED_DOT, deliberate
    )
    before = nbformat.read(path, as_version=4)
    before.metadata = {"widgets": {}, "language_info": {"version": "3.9"}}
    before.cells[1].metadata.execution = {"shell.execute_reply": "2026"}
    before.cells[4].metadata.tags = ["raises-exception"]
    nbformat.write(before, path)
    done = command("refresh", "--folder", tmp_path, SEG_PROFILE="sample")
    assert done.returncode == 0, done.stderr
    after = nbformat.read(path, as_version=4)
    assert [cell.id for cell in after.cells] == [cell.id for cell in before.cells]
    assert [c.execution_count for c in after.cells[1:]] == [1, None, 2, 3]
    assert after.cells[1].outputs[0].text == "tiny\n"
    assert "image/png" in after.cells[3].outputs[-1].data
    # The frames of a deliberate error name files of this machine; its last line does not.
    (error,) = after.cells[4].outputs
    assert error.traceback == [f"JSONDecodeError: {error.evalue}"]
    assert after.metadata.language_info == {"name": "python"}
    assert after.metadata.kernelspec.name == "python3"
    assert "widgets" not in after.metadata
    assert all("execution" not in cell.metadata for cell in after.cells)
    assert path.read_text(encoding="utf-8").endswith("}\n")


def test_refresh_refuses_unclean_outputs_and_leaves_the_file_alone(tmp_path: Path):
    path = write(
        tmp_path,
        "01_one",
        "1",
        "import warnings\nwarnings.warn('old')",
        "import os\nprint(os.getcwd() + os.sep)",
        "os.environ['SEG_OUTPUT']",
    )
    before = path.read_bytes()
    done = command("refresh", "--folder", tmp_path)
    assert done.returncode == 1
    assert "error: 01_one.ipynb, not stored:" in done.stderr
    assert "code cell 2 wrote to stderr: " in done.stderr
    assert "UserWarning: old" in done.stderr
    assert "code cell 3 shows a path of one machine: " in done.stderr
    assert "code cell 4 shows a path of one machine: " in done.stderr
    assert path.read_bytes() == before


def test_refresh_runs_what_a_notebook_reads_from_and_does_not_store_it(tmp_path: Path):
    note = "import os, pathlib\nnote = pathlib.Path(os.environ['SEG_OUTPUT'])\n"
    first = write(tmp_path, "05_training", f"{note}note.mkdir()")
    second = write(tmp_path, "06_inference_and_overlays", f"{note}print(note.exists())")
    before = first.read_bytes()
    done = command("refresh", "--folder", tmp_path, "--notebooks", "06")
    assert done.returncode == 0, done.stderr
    assert first.read_bytes() == before
    assert nbformat.read(second, as_version=4).cells[1].outputs[0].text == "True\n"


def test_refresh_stores_the_texts_of_a_language_and_the_english_figures(tmp_path: Path):
    folder = tmp_path / "notebooks"
    says = "from pathlib import Path\nzh = Path.cwd().name == 'zh'\nprint('好' if zh else 'good')"
    path = write(
        folder, "01_one", says, f"{RED_DOT}\nprint(2 if zh else 1)", "'好' if zh else 'ok'"
    )
    (folder / "zh").mkdir()
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    done = command("refresh", "--folder", folder)
    assert done.returncode == 0, done.stderr
    assert "\nzh/01_one " in done.stdout
    english, chinese = (
        nbformat.read(file, as_version=4).cells for file in (path, folder / "zh" / path.name)
    )
    assert [cell.source for cell in english] == [cell.source for cell in chinese]
    assert (english[1].outputs[0].text, chinese[1].outputs[0].text) == ("good\n", "好\n")
    assert english[2].outputs == chinese[2].outputs  # what is in no language is the English run's
    assert chinese[3].outputs[0].data == {"text/plain": "'好'"}
    # A translation without a run keeps them, but not those of other code.
    english[1].source = f"{says}  # changed"
    nbformat.write(new_notebook(cells=english), path)
    file, text = translations.built("01_one", "zh", tmp_path)
    cells = nbformat.reads(text, as_version=4).cells
    assert file == folder / "zh" / path.name
    assert (cells[1].outputs[0].text, cells[3].outputs) == ("good\n", chinese[3].outputs)


def in_base64(image: Image.Image) -> str:
    """An image as a PNG, as notebooks store it."""
    return base64.b64encode(encoded(image)).decode()


def decoded(png: str) -> np.ndarray:
    """The colours of a stored PNG, (height, width, 3), as whole numbers that may be subtracted."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    return np.asarray(image, dtype=int)


@pytest.mark.parametrize("size", [(9, 9), (5, 12)])
def test_legends_keep_their_colors_exactly_in_a_smaller_figure(size: tuple[int, int]) -> None:
    # Every class's patch, on white, above a large image of soft colours with grain.
    height, width = size
    legend = np.full((10 * 20, 15 * 20, 3), 255, np.uint8)
    corners = [(row, column) for row in range(4, 200, 20) for column in range(3, 300, 20)]
    for (row, column), color in zip(corners, ADE20K.palette, strict=True):
        legend[row : row + height, column : column + width] = color
    soft = np.mgrid[:900, :300].sum(0)[..., None] // np.array([20, 30, 40]) + 40
    grain = np.random.default_rng(0).integers(0, 6, soft.shape)
    figure = in_base64(Image.fromarray(np.vstack([legend, soft + grain]).astype(np.uint8)))
    smaller = smaller_png(figure)
    assert len(smaller) < len(figure)
    assert (decoded(smaller)[:200] == legend).all()
    error = np.abs(decoded(smaller) - decoded(figure))
    assert error.mean() <= UNSEEN
    assert np.percentile(error, 99) <= HARDLY_SEEN


def legend_patches(figure: np.ndarray) -> np.ndarray:
    """The colours of small filled rectangles on white, (n, 3): the patches of a figure's legend."""
    areas, _ = ndimage.label((figure != 255).any(-1))
    colors = []
    for number, box in enumerate(ndimage.find_objects(areas), start=1):
        height, width = areas[box].shape
        if 7 <= height <= 16 and 8 <= width <= 40 and (areas[box] == number).mean() > 0.9:
            inside = np.unique(figure[box][2:-2, 2:-2].reshape(-1, 3), axis=0)
            if len(inside) == 1:
                colors.append(inside[0])
    return np.array(colors).reshape(-1, 3)


def test_stored_legends_have_the_official_colors() -> None:
    charts = np.multiply([to_rgb(name) for name in TABLEAU_COLORS], 255).round()
    own = [(110, 120, 140), (200, 25, 30), (70, 200, 140), (255, 225, 70), (110, 20, 140)]
    official = np.vstack([ADE20K.palette, own, charts]).astype(int)  # own: notebook 07's fruit
    exact = 0
    for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                if png := output.get("data", {}).get("image/png"):
                    for color in legend_patches(decoded(png)):
                        distance = np.abs(official - color).max(axis=1).min()
                        assert distance == 0 or distance > 12, (path.name, cell.id, color)
                        exact += distance == 0
    assert exact > 300


# --- the README's moving picture ------------------------------------------------------------------


def frames_of(source: Path | io.BytesIO) -> tuple[list[np.ndarray], list[int], int]:
    """The frames of a GIF, (height, width, 3) each, their milliseconds, and its repetitions."""
    frames, times = [], []
    with Image.open(source) as opened:
        for frame in ImageSequence.Iterator(opened):
            frames.append(np.array(frame.convert("RGB")))
            times.append(frame.info["duration"])
        return frames, times, opened.info["loop"]


def test_a_moving_picture_keeps_the_colors_of_classes_and_rests_at_its_end() -> None:
    grain = np.random.default_rng(0).integers(90, 110, (60, 80, 3), dtype=np.uint8)
    frames = []
    for shift in range(4):
        classes = ADE20K.palette[np.arange(shift, shift + 80) // 20][None].repeat(60, axis=0)
        frames.append(np.hstack([grain, classes]))
    moving = moving_picture([Image.fromarray(frame) for frame in frames])
    found, times, loop = frames_of(io.BytesIO(moving))
    assert (times, loop) == ([1000, 500, 500, 4000], 0)
    for frame, before in zip(found, frames, strict=True):
        assert (frame[:, 80:] == before[:, 80:]).all()
        assert np.abs(frame[:, :80] - before[:, :80].astype(int)).max() <= HARDLY_SEEN
    noise = np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="too many colors"):
        moving_picture([Image.fromarray(frame) for frame in noise])


# --- pages ----------------------------------------------------------------------------------------


def test_pages_keep_answers_folded_and_link_to_pages(tmp_path: Path) -> None:
    (tmp_path / "GLOSSARY.md").write_text("# Glossary\n\n## label id\n\nA number.\n")
    write_markdown_page(tmp_path / "GLOSSARY.md", tmp_path / "GLOSSARY.html")
    assert 'id="label-id"' in (tmp_path / "GLOSSARY.html").read_text(encoding="utf-8")
    text = "A [label id](GLOSSARY.md#label-id), [next](02_two.ipynb), [a guide](https://a.b/c.md)"
    text += "\n\n<details><summary>Why?</summary>\n\nBecause **so**.\n\n</details>"
    write_page(new_notebook(cells=[new_markdown_cell(text)]), tmp_path / "01_one.html")
    page = (tmp_path / "01_one.html").read_text(encoding="utf-8")
    links = re.findall(r'<a href="([^"]+)">(?:label id|next|a guide)<', page)
    assert links == ["GLOSSARY.html#label-id", "02_two.html", "https://a.b/c.md"]
    details = re.search(r"<details>.*?</details>", page, re.DOTALL)
    assert "<strong>so</strong>" in details.group()


def test_a_run_writes_the_pages_of_every_language_and_waits_for_what_is_read(tmp_path: Path):
    folder, output = tmp_path / "notebooks", tmp_path / "build"
    title = nbformat.read(REPOSITORY / "notebooks" / "04_mean_iou.ipynb", as_version=4).cells[0]
    path = write(folder, "04_mean_iou", RED_DOT)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0] = title
    nbformat.write(notebook, path)
    note = "import os, pathlib, time\nnote = pathlib.Path(os.environ['SEG_OUTPUT']) / 'note'\n"
    write(folder, "05_training", note + "time.sleep(2)\nnote.write_text('trained')")
    write(folder, "06_inference_and_overlays", note + "print(note.read_text())")
    (folder / "zh").mkdir()
    (folder / "zh" / "GLOSSARY.md").write_text("# 术语表\n", encoding="utf-8")
    done = command("run", "--folder", folder, "--output", output)
    assert done.returncode == 0, done.stderr
    assert "trained" in (output / "06_inference_and_overlays.html").read_text(encoding="utf-8")
    assert "平均交并比" in (output / "zh" / "04_mean_iou.html").read_text(encoding="utf-8")
    assert "术语表" in (output / "zh" / "GLOSSARY.html").read_text(encoding="utf-8")
    index = (output / "zh" / "index.html").read_text(encoding="utf-8")
    assert '<html lang="zh-Hans">' in index
    assert '<a href="GLOSSARY.html">术语表</a>' in index
    course_title = (REPOSITORY / "README.zh.md").read_text(encoding="utf-8").partition("\n")[0]
    assert f"<h1>{course_title.removeprefix('# ')}</h1>" in index
    assert '<a href="../index.html">English</a> · <a href="../zh/index.html">简体中文</a>' in index
    assert '<a href="04_mean_iou.html">04 · 平均交并比</a>' in index
    assert '<a href="zh/index.html">简体中文</a>' in (output / "index.html").read_text("utf-8")


def test_the_index_shows_each_notebook_and_links_what_else_is_there(tmp_path: Path) -> None:
    opening = "# 01 · Sky & sea\n\n<!-- badges -->\n\nAfter this you can run `fit`, and more."
    figure = {"image/png": in_base64(Image.new("RGB", (1200, 600), "red"))}
    shown = new_code_cell("plot()", outputs=[new_output("display_data", figure)])
    said = new_markdown_cell('*Figure: a "red" field.*\n\nAll of it is red.')
    first = new_notebook(cells=[new_markdown_cell(opening), shown, said])
    (tmp_path / "GLOSSARY.md").write_text("# Glossary & more\n", encoding="utf-8")
    write_markdown_page(tmp_path / "GLOSSARY.md", tmp_path / "GLOSSARY.html")
    page = write_index({"01_sky": first, "02_bare": new_notebook()}, tmp_path).read_text("utf-8")
    assert '<h2><a href="01_sky.html">01 · Sky &amp; sea</a></h2>' in page
    assert "<p>After this you can run fit, and more.</p>" in page
    (thumbnail,) = re.findall(r'<img alt="a &quot;red&quot; field." src="data:[^,]*,(.*?)"', page)
    assert Image.open(io.BytesIO(base64.b64decode(thumbnail))).size == (600, 300)
    assert '<h2><a href="02_bare.html">02_bare</a></h2>' in page
    links = re.findall(r'<p><a href="(.*?)">(.*?)</a></p>', page)
    assert links == [("GLOSSARY.html", "Glossary &amp; more")]


# --- the commands that CI runs --------------------------------------------------------------------


def test_ci_and_the_workflow_run_what_make_runs():
    text = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    steps = {name: str(job["steps"]) for name, job in workflow["jobs"].items()}
    assert "make test-all" in steps["linux"]
    assert "python -m pytest tests" in steps["other-systems"]
    assert all(job["timeout-minutes"] <= 90 for job in workflow["jobs"].values())
    assert workflow["permissions"] == {"contents": "read"}
    assert (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").endswith("\nmake test-all\n")


def test_a_workflow_publishes_the_pages_and_the_try_it_page():
    file = REPOSITORY / ".github" / "workflows" / "pages.yml"
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    commands = [step["run"] for step in build["steps"] if "run" in step]
    order = ["make .venv/.course", "tools.course try", "make course", "build/try build/site"]
    assert all(part in command for part, command in zip(order, commands, strict=True))
    assert build["steps"][-1]["with"] == {"path": "build/site"}
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert all(job["timeout-minutes"] <= 45 for job in (build, publish))


def test_a_codespace_opens_a_notebook_that_is_there_with_the_course_s_python():
    file = REPOSITORY / ".devcontainer" / "devcontainer.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    assert settings["postCreateCommand"] == "make .venv/.course"
    for name in settings["customizations"]["codespaces"]["openFiles"]:
        assert (REPOSITORY / name).is_file(), name
    python = settings["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert python == ".venv/bin/python"


@pytest.mark.skipif(os.name != "posix", reason="the Makefile is for Linux and macOS")
def test_make_test_lints_and_compares_outputs_strictly():
    make = ["make", "--dry-run", "--always-make", "lint", "unit", "notebooks", "course"]
    plan = subprocess.check_output(make, cwd=REPOSITORY, text=True)
    assert "--keep-going lint unit notebooks" in Path(REPOSITORY, "Makefile").read_text()
    assert "ruff check ." in plan
    assert "ruff format --check ." in plan
    assert "pytest tests" in plan
    assert "SEG_PROFILE=tiny" in plan
    strict = "pytest --nbval --nbval-current-env --nbval-cell-timeout=600 --nbval-sanitize-with"
    assert f"{strict} tests/approximate.cfg notebooks" in " ".join(plan.replace("\\\n", "").split())
    assert "-m tools.course run" in plan


def test_constraints_pin_the_requirements_and_name_no_address():
    listed = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    pins = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    names = re.findall(r"^[\w.-]+", listed, flags=re.MULTILINE)
    assert [name for name in names if f"\n{name}==" not in pins] == []
    assert "/" not in re.sub(r"^#.*$", "", pins, flags=re.MULTILINE)
