"""Make a page on which visitors try the models, in the browser: `python -m tools.course try`."""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from helpers.profiles import BUNDLED, REPOSITORY
from tools.course.pages import INDEX, TRY, TRY_TEXTS
from tools.photos.dataset import PHOTOGRAPHS

FOLDER = REPOSITORY / "build" / TRY
SOURCES = TRY_TEXTS.parent
TEXTS = json.loads(TRY_TEXTS.read_text(encoding="utf-8"))
LONGEST = 640
"""Larger images are scaled down to so many pixels: the photographs' model was trained on these."""

RUNTIME, VERSION = "onnxruntime-web", "1.30.0"
_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
# Of its many builds the one for CPUs, whose script is one file.
_RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")

MODELS = {name: BUNDLED / "checkpoints" / name for name in ("campus-upernet", "segformer-toy")}
"""Name on the page to folder; the first one segments what a visitor drops."""


class Example(NamedTuple):
    """An image of a bundled data set that its model was not trained on."""

    model: str
    dataset: str
    file: str


EXAMPLES = {
    "colosseum": Example("campus-upernet", "photos", "elsewhere_colosseum.jpg"),
    "baths": Example("campus-upernet", "photos", "elsewhere_trier_baths.jpg"),
    "campus": Example("campus-upernet", "photos", "campus_504.jpg"),
    "street": Example("segformer-toy", "scenes", "toy_validation_00001010.jpg"),
    "avenue": Example("segformer-toy", "scenes", "toy_validation_00001004.jpg"),
    "buses": Example("segformer-toy", "scenes", "toy_validation_00001030.jpg"),
}
"""By the key of their names in texts.json."""


def main(arguments: list[str] | None = None) -> int:
    """Build the page on which visitors try the models in their browser; needs npm."""
    parser = argparse.ArgumentParser(prog="python -m tools.course try", description=main.__doc__)
    parser.add_argument("--output", type=Path, default=FOLDER, help="default: build/try")
    folder = parser.parse_args(arguments).output.resolve()
    try:
        build(folder)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(
        f"{folder / INDEX}: {size / 1e6:.1f} MB. Browsers load models from a web server alone:\n"
        f"  python -m http.server -d {folder}"
    )
    return 0


def build(folder: Path) -> None:
    """Write the page and all that it loads; index.html comes last, so that it means a whole page.

    Raises:
        ValueError: npm is missing or fails, the runtime is not the pinned one, or a model cannot be
            exported.
    """
    (folder / INDEX).unlink(missing_ok=True)
    for part in ("ort", "models", "examples"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    fetch_runtime(folder / "ort")
    page = {
        "longest": LONGEST,
        "version": VERSION,
        "models": [_export(name, source, folder) for name, source in MODELS.items()],
        "examples": [_example(name, folder) for name in EXAMPLES],
        "texts": TEXTS,
    }
    (folder / "page.json").write_text(json.dumps(page, ensure_ascii=False), encoding="utf-8")
    for name in ("try.css", "try.js", "segment.js"):
        shutil.copy(SOURCES / name, folder)
    template = (SOURCES / INDEX).read_text(encoding="utf-8")
    (folder / INDEX).write_text(_with_words(template), encoding="utf-8")


def fetch_runtime(folder: Path) -> None:
    """Put the files of ONNX Runtime that the page loads into a folder, from npm's package.

    Raises:
        ValueError: npm is missing or fails, or the package is not the pinned one.
    """
    npm, package = shutil.which("npm"), f"{RUNTIME}@{VERSION}"
    if npm is None:
        raise ValueError(f"the page needs {package}, and npm, which fetches it, is missing")
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", "--silent", "--prefer-offline", package]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
        files = [*Path(scratch).glob("*.tgz")]
        if done.returncode or len(files) != 1:
            raise ValueError(f"npm cannot fetch {package}: {(done.stderr or done.stdout).strip()}")
        unpack_runtime(files[0], folder)


def unpack_runtime(archive: Path, folder: Path) -> None:
    """Put what the page loads from npm's archive into a folder.

    Raises:
        ValueError: the archive is not the pinned one.
    """
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != _SHA512:
        raise ValueError(f"{archive.name} has the SHA-512 {found}, expected {_SHA512}")
    with tarfile.open(archive) as package:
        for name in _RUNTIME_FILES:
            content = package.extractfile(f"package/dist/{name}").read()
            (folder / name).write_bytes(content)


def _export(name: str, source: Path, folder: Path) -> dict[str, Any]:
    """Write a model as ONNX; what the page has to know of it, since browsers see no metadata."""
    from scripts import export
    from scripts.onnx_segmenter import OnnxSegmenter

    file = folder / "models" / f"{name}.onnx"
    if export.main(["--model", str(source), "--output", str(file)]):
        raise ValueError(f"{source} cannot be exported, see above")
    exported = OnnxSegmenter(file)
    loaded = [file, *(folder / "ort").iterdir()]
    return {
        "name": name,
        "file": file.relative_to(folder).as_posix(),
        "resize": exported.resize,
        "names": exported.labels.short_names,
        "colors": exported.labels.palette.tolist(),
        "megabytes": round(sum(one.stat().st_size for one in loaded) / 1e6),
    }


def _example(name: str, folder: Path) -> dict[str, str | None]:
    """Write an example as the file that its data set holds; what the page has to know of it."""
    from pyarrow import parquet

    example = EXAMPLES[name]
    for file in sorted((BUNDLED / example.dataset / "data").glob("*.parquet")):
        for cell in parquet.read_table(file, columns=["image"])["image"].to_pylist():
            if cell["path"] == example.file:
                (folder / "examples" / example.file).write_bytes(cell["bytes"])
    return {
        "name": name,
        "model": example.model,
        "file": f"examples/{example.file}",
        "credit": credit_of(example.file),
    }


def credit_of(file: str) -> str | None:
    """Author and license of a photograph; None: it is drawn, and the course's own."""
    photograph = PHOTOGRAPHS.get(Path(file).stem)
    return photograph and f"{photograph['author']}, {photograph['license']}"


def _with_words(template: str) -> str:
    """The page with its English words, for readers before its script runs; without it in all."""

    def word(match: re.Match[str]) -> str:
        text = TEXTS["en"][match[1]].format(longest=LONGEST, version=VERSION)
        return f'data-text="{match[1]}">{html.escape(text)}<'

    said = "\n".join(f'<p lang="{one["tag"]}">{one["server"]}</p>' for one in TEXTS.values())
    return re.sub(r'data-text="([^"]+)"><', word, template.replace("<!-- server -->", said))
