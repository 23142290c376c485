"""The notebooks as a reader has them: a real JupyterLab, driven in a headless Chromium.

Each with sliders is opened, read without a kernel, run from top to bottom and played with. All
happens on a copy with a server, a browser and settings of its own; images go to build/screenshots.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from browser import chromium
from PIL import Image

from helpers.profiles import REPOSITORY
from tools.course.run import choose_notebooks

pytestmark = pytest.mark.slow

SCREENSHOTS = REPOSITORY / "build" / "screenshots"
SETTINGS = {
    # Every cell is in the page, also those that are scrolled out of sight.
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": '{"windowingMode": "none"}',
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": (
        '{"fetchNews": "false", "checkForUpdates": false}'
    ),
}
SECONDS = 300  # that one notebook may take

QUICKSTART, *OTHERS = choose_notebooks(REPOSITORY / "notebooks")
# Those with sliders, and one without: the others show text and images, which nbval compares.
NOTEBOOKS = [QUICKSTART, *(path for path in OTHERS if "widgets." in path.read_text("utf-8"))]


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    """Address, token and root folder of a JupyterLab on a copy of the course."""
    folder = tmp_path_factory.mktemp("lab")
    root, settings = folder / "course", folder / "settings"
    for name in ("notebooks", "helpers", "scripts", "tools"):
        leave = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(REPOSITORY / name, root / name, ignore=leave)
    for name, content in SETTINGS.items():
        (settings / name).parent.mkdir(parents=True, exist_ok=True)
        (settings / name).write_text(content)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    names = ["IPYTHONDIR", "SEG_OUTPUT", "JUPYTERLAB_WORKSPACES_DIR"]
    names += ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"]
    environment = os.environ | {name: str(folder / name) for name in names}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(settings)}
    environment |= {"SEG_MAX_STEPS": "4", "SEG_PROFILE": "tiny"}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--expose-app-in-browser", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--ServerApp.root_dir={root}", "--LabApp.extension_manager=readonly"]
    address, log = f"http://127.0.0.1:{port}", folder / "server.log"
    with log.open("w") as writing:
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdout=writing,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 120
        while not answers(f"{address}/api/status?token={token}"):
            if time.monotonic() > end or process.poll() is not None:
                pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.3)
        yield address, token, root
    finally:
        process.terminate()  # it ends its kernels first
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    with chromium(tmp_path_factory.mktemp("chromium"), 1300, 1000) as context:
        yield context


RUN_ALL = """async limit => {
    const run = window.jupyterapp.commands.execute('notebook:run-all-cells');
    const late = new Promise(done => setTimeout(() => done('late'), limit));
    return await Promise.race([run, late]);
}"""
SAVE = "async () => await window.jupyterapp.commands.execute('docmanager:save')"
SHUT_DOWN = "async () => await window.jupyterapp.shell.currentWidget.sessionContext.shutdown()"
# The bytes behind an image as text; its address alone changes with every message.
CONTENT = """async image => {
    const bytes = await (await fetch(image.src)).arrayBuffer();
    const digest = await crypto.subtle.digest('SHA-1', bytes);
    return Array.from(new Uint8Array(digest)).join(' ');
}"""
LIVE = ".jp-OutputArea-output:has(.widget-image)"


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def opened(request, browser, server):
    """A page with one notebook, its kernel idle, nothing run; and the notebook's file."""
    address, token, root = server
    file = root / "notebooks" / request.param.name
    page = browser.new_page()
    try:
        page.goto(f"{address}/lab/tree/notebooks/{file.name}?reset&token={token}")
        page.get_by_text("| Idle").wait_for()
        yield page, file
        page.evaluate(SHUT_DOWN)
    finally:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{file.stem}_last.png")
        page.close()


def test_notebook_in_jupyterlab(opened, tmp_path: Path) -> None:
    page, file = opened
    before = nbformat.read(file, as_version=4)
    explorers = [
        index
        for index, cell in enumerate(before.cells)
        if cell.cell_type == "code" and re.search(r"^widgets\.", cell.source, re.MULTILINE)
    ]
    # Not yet run: stored images are seen, and no box where a widget would need its kernel.
    for index in explorers:
        assert page.locator(".jp-Notebook-cell").nth(index).locator("img").count() == 1
    assert page.get_by_text("Error displaying widget").count() == 0
    assert page.evaluate(RUN_ALL, SECONDS * 1000) != "late", f"not done in {SECONDS} s"
    page.evaluate(SAVE)
    after = nbformat.read(file, as_version=4)
    code = [cell for cell in after.cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in code), "not every cell was run"
    for cell in code:
        assert not any(one.output_type == "error" for one in cell.outputs), cell.source
    assert page.locator(LIVE).count() == len(explorers)
    for number in range(len(explorers)):
        output = page.locator(LIVE).nth(number)
        output.scroll_into_view_if_needed()
        output.screenshot(path=SCREENSHOTS / f"{file.stem}_widget{number + 1}.png")
        move_everything(page, output)
        if output.locator("button.widget-upload").count():
            upload(page, output, tmp_path)
        output.screenshot(path=SCREENSHOTS / f"{file.stem}_widget{number + 1}_moved.png")


def changed_from(page, image, before: str) -> str:
    """Wait until an image's content is another, and return it."""
    for _ in range(100):
        now = image.evaluate(CONTENT)
        if now != before:
            return now
        page.wait_for_timeout(100)
    pytest.fail("the image did not change within ten seconds")


def settled(page, image) -> str:
    """An image's content once no message is under way any more."""
    content = None
    while (now := image.evaluate(CONTENT)) != content:
        content = now
        page.wait_for_timeout(600)
    return content


def move_everything(page, output) -> None:
    """Move each slider from one end to the other by keyboard, and choose from each list."""
    image = output.locator("img.widget-image").last
    handles = output.locator(".noUi-handle[role=slider]")
    assert handles.count() > 0
    for number in range(handles.count()):
        handles.nth(number).focus()
        page.keyboard.press("End")
        before = settled(page, image)
        page.keyboard.press("Home")
        changed_from(page, image, before)
    for number in range(output.locator("select").count()):
        before = settled(page, image)
        chosen = output.locator("select").nth(number)
        options = chosen.locator("option").all_text_contents()
        chosen.select_option(label=options[-1])
        changed_from(page, image, before)


def upload(page, output, folder: Path) -> None:
    """A good image is shown and named; a damaged one is named and leaves the image."""
    image, button = output.locator("img.widget-image").last, output.locator("button.widget-upload")
    Image.linear_gradient("L").convert("RGB").resize((300, 200)).save(folder / "mine.png")
    (folder / "broken.png").write_bytes((folder / "mine.png").read_bytes()[:200])
    for name, told in (("mine.png", "300 x 200 pixels"), ("broken.png", "the file is damaged")):
        before = settled(page, image)
        with page.expect_file_chooser() as choosing:
            button.click()
        choosing.value.set_files(folder / name)
        output.get_by_text(told).wait_for()
        assert name in output.get_by_role("status").inner_text()
        assert (settled(page, image) != before) == (name == "mine.png")
