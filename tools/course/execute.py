"""One notebook, headless: execute it, and make its outputs fit to store."""

from __future__ import annotations

import base64
import io
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from helpers.profiles import REPOSITORY

if TYPE_CHECKING:
    from nbformat import NotebookNode

MACHINE_PATH = re.compile(
    r"(?<![\w.~-])(?:/(?:home|root|tmp|Users|private|var/folders|work|mnt|opt)/"
    r"|[A-Za-z]:\\{1,2}(?:Users|Temp|Windows)\b)"
)
"""The start of an absolute path that means something on one machine only."""

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
"""The part of an output that is a widget as long as the kernel that made it runs."""

UNSEEN, HARDLY_SEEN = 2.0, 13
"""How far the colours of a stored figure may be from those that were drawn, of 255."""

FLAT = (7, 7), (5, 12)
"""Heights and widths in pixels of areas whose colour a stored figure keeps: a legend's marker, and
its patch beside small letters."""

MOST_FLAT = 200
"""With more such colours, too few of 256 are left for the rest of the figure."""

TRAINED_FOR = re.compile(r"(\[\d+/\d+) [\d:]+, ")
"""In the table of `Trainer`, "[120/120 00:17, Epoch 6/6]": how long it took here."""


class NotebookError(RuntimeError):
    """A notebook did not run, or left outputs that must not be stored."""

    def __init__(self, message: str, notebook: NotebookNode | None = None) -> None:
        super().__init__(message)
        self.notebook = notebook


def execute(
    path: Path, timeout: int, kernel_name: str = "python3"
) -> tuple[NotebookNode, float, int]:
    """Execute a notebook in its own folder, in a fresh kernel.

    Args:
        path: the notebook; its file is not changed.
        timeout: seconds that a cell may take (a client without a limit can hang for ever).
        kernel_name: of the kernel's specification; "python3" is this environment's own.

    Returns:
        The notebook with its outputs, the seconds it took, and the peak resident memory of its
        kernel and the kernel's child processes in bytes.

    Raises:
        NotebookError: a cell failed; the message says which and why, and `notebook` holds the
            outputs so far.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    started: list[int] = []
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name=kernel_name,
        extra_arguments=["--log-level=40"],  # else each kernel remarks on its transport
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        on_cell_execute=lambda cell, cell_index: started.append(cell_index),
    )
    begin = time.perf_counter()
    try:
        with _peak_memory(client) as peak:
            client.execute()
    except CellExecutionError as error:
        lines = error.evalue.strip().splitlines() or [""]
        reason = f"{error.ename}: {' … '.join(dict.fromkeys([lines[0], lines[-1]]))}"
    except CellTimeoutError:
        reason = f"it did not finish within {timeout} s"
    except DeadKernelError:
        reason = "its kernel died; the machine may have run out of memory"
    else:
        return notebook, time.perf_counter() - begin, peak[0]
    raise NotebookError(f"{path.name}, code cell {len(started)}: {reason}", notebook)


@contextmanager
def _peak_memory(client: Any) -> Iterator[list[int]]:
    """Yield a list whose one item is the most memory the client's kernel was seen to use."""
    import psutil

    peak, done = [0], threading.Event()

    def poll() -> None:
        while not done.wait(0.25):
            pid = getattr(getattr(client.km, "provisioner", None), "pid", None)
            try:
                kernel = psutil.Process(pid) if pid else None
                family = [kernel, *kernel.children(recursive=True)] if kernel else []
                peak[0] = max(peak[0], _memory(family))
            except psutil.Error:
                continue  # a process ended between being listed and being asked

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _memory(family: list[Any]) -> int:
    """Bytes that processes use together; pages that data-loader workers share count once."""
    if len(family) == 1:
        return family[0].memory_info().rss
    shares = [process.memory_full_info() for process in family]
    return sum(getattr(share, "pss", share.rss) for share in shares)  # pss: on Linux


def normalize(notebook: NotebookNode) -> None:
    """Take out, in place, what differs between two machines though the run was the same."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            # Without its kernel JupyterLab shows a box in its place, "model not found", and hides
            # the image that lies beside it in the output; the id is a new one in each run.
            if png := output.get("data", {}).get("image/png"):
                output.data.pop(WIDGET_VIEW, None)
                output.data["image/png"] = smaller_png(png)
            if "text/html" in output.get("data", {}):  # how long `Trainer` trained
                output.data["text/html"] = TRAINED_FOR.sub(r"\1, ", output.data["text/html"])
            if output.output_type == "error":  # a deliberate one; frames name this machine's files
                output.traceback = [f"{output.ename}: {output.evalue}"]


def smaller_png(encoded: str) -> str:
    """A stored figure with 256 colours, in a third of its bytes, where nobody sees the difference.

    The colours of flat areas stay exactly as they are, so that a legend has the colours of its map.
    The rest shares what is left of the 256.

    Args:
        encoded: a PNG in base64.

    Returns:
        The PNG with a palette if colours then differ by at most `UNSEEN` on average, and 99 of 100
        by at most `HARDLY_SEEN`; else, and with more than `MOST_FLAT` flat colours, the one given.
    """
    before = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))
    packed = before @ np.array([65536, 256, 1])
    equal = [minimum_filter(packed, size) == maximum_filter(packed, size) for size in FLAT]
    flat = np.unique(packed[np.logical_or(*equal)])
    if len(flat) > MOST_FLAT:
        return encoded
    indices = np.searchsorted(flat, packed)
    palette = [flat >> 16, flat >> 8 & 255, flat & 255]
    is_rest = ~np.isin(packed, flat)
    if is_rest.any():
        rest = Image.fromarray(before[is_rest][None]).quantize(
            256 - len(flat), Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE
        )
        indices[is_rest] = len(flat) + np.asarray(rest)[0]
        palette = np.append(palette, np.reshape(rest.getpalette(), (-1, 3)).T, axis=1)
    after = Image.fromarray(indices.astype(np.uint8))
    after.putpalette(np.transpose(palette).astype(np.uint8).tobytes())
    error = np.abs(np.subtract(before, after.convert("RGB"), dtype=np.int16))
    if error.mean() > UNSEEN or np.percentile(error, 99) > HARDLY_SEEN:
        return encoded
    buffer = io.BytesIO()
    after.save(buffer, "PNG", optimize=True)
    smaller = base64.b64encode(buffer.getvalue()).decode()
    return min(smaller, encoded, key=len)


def output_problems(notebook: NotebookNode) -> list[str]:
    """Return what makes stored outputs unfit to share: stderr, machine paths, widget state."""
    problems = ["metadata: widget state is stored"] if "widgets" in notebook.metadata else []
    code_cells = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    for number, cell in enumerate(code_cells, start=1):
        for output in cell.outputs:
            if WIDGET_VIEW in output.get("data", {}):
                problems.append(f"code cell {number} stores a widget's view, which needs a kernel")
            if output.get("name") == "stderr":
                problems.append(f"code cell {number} wrote to stderr: {output.text.strip()[:300]}")
            # Images are left out: their base64 may spell anything.
            shown = {k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")}
            text = "\n".join(_strings({**output, "data": shown}))
            here = [
                path for path in (str(REPOSITORY), tempfile.gettempdir()) if path + os.sep in text
            ]
            if match := MACHINE_PATH.search(text):
                here.append(text[match.start() : match.start() + 60].splitlines()[0])
            if here:
                problems.append(f"code cell {number} shows a path of one machine: {here[-1]}")
    return problems


def _strings(value: Any) -> Iterator[str]:
    """Yield each string inside nested lists and dictionaries."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)
