"""No code that came with a download is run: no pickle is read, no program of a repository run.

`test_hub.py` shows it of the helpers; here, every source and every notebook is searched.
"""

import re
from pathlib import Path

import nbformat
import pytest

from helpers.profiles import REPOSITORY

PLACES = ("helpers/**/*.py", "scripts/**/*.py", "notebooks/**/*.py", "notebooks/*.ipynb")
SOURCES = [path for pattern in PLACES for path in sorted(REPOSITORY.glob(pattern))]
INSIDE = r"\((?:[^()]|\([^()]*\))*\)"
"""The arguments of a call, with calls among them."""


def code_of(path: Path) -> str:
    if path.suffix == ".py":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def unsafe_calls(code: str) -> list[str]:
    """Calls that may run what a file or a repository brings along."""
    found = re.findall(rf"trust_remote_code=True|\b(?:pickle|dill|joblib)\.\w+{INSIDE}", code)
    loads = re.findall(rf"torch\.load{INSIDE}", code)
    found += [call for call in loads if "weights_only=True" not in call]
    source = r"(?:Model\w*\.from_pretrained|\bpipeline)\((?=[^)]*(?:profile\.|source))"
    for call in re.finditer(source, code):
        arguments = re.match(INSIDE, code[call.end() - 1 :])[0]
        if not re.search(r"SAFE_WEIGHTS|use_safetensors=True|model_kwargs=safe", arguments):
            found.append(call[0] + arguments[1:])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_asks_for_foreign_code_or_reports_to_onnx_runtimes_makers(path: Path) -> None:
    code = code_of(path)
    assert unsafe_calls(code) == []
    if imported := re.search(r"^ *(?:from|import) onnxruntime", code, flags=re.MULTILINE):
        before = code[: imported.start()]
        assert re.search(r"ORT_DISABLE_TELEMETRY|^from helpers", before, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(file(), weights_only=False)",
        "AutoModelForSemanticSegmentation.from_pretrained(profile.encoder)",
        "pipeline('image-segmentation', model=profile.panoptic_model)",
    ],
)
def test_unsafe_calls_are_found(code: str) -> None:
    assert unsafe_calls(code)
