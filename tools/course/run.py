"""Run the notebooks without a browser, and refresh the outputs stored in them."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.profiles import Profile, get_profile
from tools.course.execute import NotebookError, execute, normalize, output_problems
from tools.course.map import COSTS_FILE, note_costs, note_total
from tools.course.pages import INDEX, write_index, write_markdown_page, write_page
from tools.course.translations import LANGUAGES, built, folder_of, translated

if TYPE_CHECKING:
    from nbformat import NotebookNode

READS_OUTPUT_OF = {
    "06_inference_and_overlays": "05_training",
    "09_scaling_and_sharing": "05_training",
    "11_export": "05_training",
}
"""A notebook whose outputs depend on files that an earlier one wrote."""

_QUIET = {
    "DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else each kernel warns about frozen modules
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}
# Linux's allocator gives a large array back to the system at once, and each training step asks for
# the same ones again: kept instead, notebook 05 takes three quarters of the time and 0.2 GB more.
_KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**30)}
# `evaluate` has a flag of its own and does not look at the Hub's.
_OFFLINE = {"HF_DATASETS_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}


def headless_environment(profile_name: str) -> dict[str, str]:
    """Return the variables for a run that nobody watches: no progress bars and no telemetry.

    The tiny profile is also kept off the network, so that a run proves that it needs none.
    Set them before `datasets`, `evaluate` or `transformers` is imported: they read them once.
    """
    return {**_QUIET, **_KEEP_MEMORY, **(_OFFLINE if profile_name == "tiny" else {})}


def cell_timeout(profile_name: str) -> int:
    """Return the seconds that a cell may take: minutes on toy scenes, else days of training."""
    return 900 if profile_name == "tiny" else 14 * 24 * 3600


def choose_notebooks(folder: Path, wanted: list[str] | None = None) -> list[Path]:
    """Return the notebooks in `folder`, in order; `wanted` holds numbers or names ("05").

    Raises:
        ValueError: the folder holds no notebooks, or none begins with a wanted name.
    """
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise ValueError(f"there is no notebook in {folder}")
    if not wanted:
        return found
    stems = [Path(name).stem for name in wanted]
    for stem in stems:
        if not any(path.stem.startswith(stem) for path in found):
            raise ValueError(f"no notebook {stem!r}; there are {', '.join(p.stem for p in found)}")
    return [path for path in found if path.stem.startswith(tuple(stems))]


def run(paths: list[Path], output: Path) -> None:
    """Execute notebooks, write their pages in every language, and say what came out.

    Args:
        paths: the English notebooks; translations lie in folders beside them, such as zh.
        output: where pages go, and model and overlays unless SEG_OUTPUT moves them.

    Raises:
        NotebookError: a cell failed; the English page of that notebook shows how far it came.
    """
    import nbformat

    if not os.environ.get("SEG_OUTPUT"):
        os.environ["SEG_OUTPUT"] = str(output)
    profile = get_profile()
    os.environ.update(headless_environment(profile.name))
    print(f"Profile {profile.name}: {profile.description}", flush=True)
    begin, folder = time.time(), paths[0].parent
    languages = [code for code in LANGUAGES if (folder / folder_of(code)).is_dir()]
    for language in languages:
        pages = output / folder_of(language)
        pages.mkdir(parents=True, exist_ok=True)
        for text in (folder / folder_of(language)).glob("*.md"):  # the glossary
            write_markdown_page(text, pages / f"{text.stem}.html", language)
    executed = {}
    for path, done in _execute_all(paths, profile.name):
        try:
            executed[path.stem], *costs = done.result()
        except NotebookError as error:
            print(f"{path.stem:<34}  FAILED", flush=True)
            write_page(error.notebook, output / f"{path.stem}.html")
            raise
        _tell_cost(path, *costs)
        note_costs(output / COSTS_FILE, profile.name, path.stem, *costs)
        for language in languages:
            page = output / folder_of(language) / f"{path.stem}.html"
            write_page(translated(executed[path.stem], path.stem, language), page, language)
    # The indexes also link what an earlier run left, with the figure that is stored.
    shown = {
        path.stem: executed.get(path.stem) or nbformat.read(path, as_version=4)
        for path in choose_notebooks(folder)
        if (output / f"{path.stem}.html").is_file()
    }
    for language in languages:
        notebooks = {stem: translated(one, stem, language) for stem, one in shown.items()}
        write_index(notebooks, output / folder_of(language), language, languages)
    seconds = time.time() - begin
    if len(executed) == len(choose_notebooks(folder)):
        note_total(output / COSTS_FILE, seconds)
    print(f"{'all':<34}{seconds:8.1f} s\n\nPages      {output / INDEX}", flush=True)
    _tell_results(profile, since=begin)


def refresh(paths: list[Path], languages: Iterable[str] = LANGUAGES) -> None:
    """Execute notebooks on the tiny profile and store the outputs in them.

    Args:
        paths: the English notebooks; translations lie in folders beside them, such as zh.
        languages: whose notebooks are run; of the translated ones the texts in their language are
            stored, and the English figures.

    Raises:
        NotebookError: a cell failed, wrote to stderr or shows a path of this machine; that
            notebook's file is left as it was.
    """
    import nbformat

    chosen = {path.stem for path in paths}
    needed = {READS_OUTPUT_OF[stem] for stem in chosen if stem in READS_OUTPUT_OF} - chosen
    for name in [name for name in os.environ if name.startswith("SEG_")]:
        del os.environ[name]  # the stored outputs are those of the defaults
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        os.environ.update(headless_environment("tiny"), HF_HOME=scratch, SEG_PROFILE="tiny")
        os.environ["SEG_OUTPUT"] = str(Path(scratch) / "outputs")
        english = [*(paths if "en" in languages else []), *map(paths[0].with_stem, needed)]
        for path in sorted(english):
            notebook = _execute_cleanly(path)
            if path.stem in chosen:
                nbformat.write(notebook, path)
        others = [code for code in languages if code != "en" and (paths[0].parent / code).is_dir()]
        for language, path in product(others, paths):
            there, text = built(path.stem, language, path.parent.parent)
            there.write_text(text, encoding="utf-8", newline="\n")  # it has the present code
            spoken, notebook = _execute_cleanly(there), nbformat.read(path, as_version=4)
            notebook = translated(notebook, path.stem, language, path.parent.parent, spoken)
            nbformat.write(notebook, there)


def _execute_cleanly(path: Path) -> NotebookNode:
    """Execute a notebook on the tiny profile; what cannot be stored is an error."""
    notebook, *costs = execute(path, cell_timeout("tiny"))
    _tell_cost(path, *costs)
    normalize(notebook)
    if problems := output_problems(notebook):
        raise NotebookError(f"{path.name}, not stored:\n  " + "\n  ".join(problems))
    return notebook


def _execute_all(paths: list[Path], profile_name: str) -> Iterator[tuple[Path, Future]]:
    """Execute notebooks, each after the one that it reads from, and yield them as they finish.

    Toy scenes leave a core idle now and then, so two notebooks run at once, with half of the cores
    each. Real data may need the memory of a whole GPU: one at a time.
    """
    cores = os.cpu_count() or 1
    at_once = 2 if profile_name == "tiny" and cores > 1 else 1
    if at_once > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(cores // at_once))
    running: dict[str, Future] = {}

    def execute_in_turn(path: Path) -> tuple[NotebookNode, float, int]:
        try:
            if first := running.get(READS_OUTPUT_OF.get(path.stem, "")):
                first.result()
            return execute(path, cell_timeout(profile_name))
        except NotebookError:
            pool.shutdown(wait=False, cancel_futures=True)  # before this thread takes another
            raise

    pool = ThreadPoolExecutor(at_once)
    try:
        # What others wait for begins first, so that nobody waits for one that has not begun.
        for path in sorted(paths, key=lambda path: path.stem not in READS_OUTPUT_OF.values()):
            running[path.stem] = pool.submit(execute_in_turn, path)
        by_future = {running[path.stem]: path for path in paths}
        for future in as_completed(by_future):
            yield by_future[future], future
    finally:
        pool.shutdown(cancel_futures=True)


def _tell_cost(path: Path, seconds: float, peak: int) -> None:
    language = f"{path.parent.name}/" if path.parent.name in LANGUAGES else ""
    print(f"{language + path.stem:<34}{seconds:8.1f} s {peak / 1e9:7.2f} GB", flush=True)


def _tell_results(profile: Profile, since: float) -> None:
    """Print where model and overlays are and the validation mIoU, each if this run wrote it."""
    scores = profile.output_dir / "eval_results.json"
    trained = scores.is_file() and scores.stat().st_mtime >= since
    if trained:
        print(f"Model      {profile.model_dir}")
    images = profile.output_dir.glob("overlays/*.png")
    if count := sum(image.stat().st_mtime >= since for image in images):
        print(f"Overlays   {profile.output_dir / 'overlays'} ({count} images)")
    if trained:
        mean_iou = json.loads(scores.read_text(encoding="utf-8"))["eval_mean_iou"]
        print(f"Validation mIoU {mean_iou:.4f}")
