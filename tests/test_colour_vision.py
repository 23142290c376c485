"""Colours that the course chooses can be told apart by readers who see fewer of them.

ADE20K's palette is official and not ours to choose: overlays carry a legend, and may carry outlines
and names.
"""

import ast
from itertools import combinations
from pathlib import Path

import nbformat
import numpy as np
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
LEAST_DIFFERENCE = 20.0  # in CIELAB (CIE 1976); a just noticeable one is about 2.3
# Severity 1.0, for linear RGB: Machado, Oliveira and Fernandes, "A Physiologically-based Model for
# Simulation of Color Vision Deficiency", IEEE TVCG 15 (2009), table 1.
VISIONS = {
    "all colours": np.eye(3),
    "no long waves (protanopia)": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no middle waves (deuteranopia)": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no short waves (tritanopia)": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
_SRGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(colors: list | np.ndarray, vision: str) -> np.ndarray:
    """sRGB colours 0-255, (n, 3), as somebody with that vision sees them, in CIELAB."""
    values = np.asarray(colors, dtype=float) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ VISIONS[vision].T, 0, 1)
    xyz = seen @ _SRGB_TO_XYZ.T / _SRGB_TO_XYZ.sum(axis=1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def least_difference(colors: list, vision: str) -> float:
    """The distance of the two colours of a list that are most alike."""
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(lab(colors, vision), 2))


def chosen_colors() -> list:
    """Each table of colours that a notebook assigns to a name with "colour" in it."""
    found = []
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type != "code" or "colour" not in cell.source:
                continue
            for node in ast.walk(ast.parse(cell.source)):
                if not (isinstance(node, ast.Assign) and "colour" in ast.unparse(node.targets[0])):
                    continue
                for part in ast.walk(node.value):
                    try:
                        table = ast.literal_eval(part)
                    except ValueError:
                        continue
                    if isinstance(table, (list, tuple)) and np.shape(table)[1:] == (3,):
                        found.append(pytest.param(list(table), id=f"{path.stem}-{table[0]}"))
    return found


CHOSEN = chosen_colors()


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("colours", CHOSEN)
def test_chosen_colors_differ_for_every_reader(colors: list, vision: str) -> None:
    assert least_difference(colors, vision) >= LEAST_DIFFERENCE


def test_the_tables_of_colors_are_found() -> None:
    assert {param.id[:2] for param in CHOSEN} >= {"01", "04"}


@pytest.mark.parametrize("vision", VISIONS)
def test_red_for_wrong_pixels_differs_from_every_grey(vision: str) -> None:
    source = (NOTEBOOKS[0]).read_text(encoding="utf-8")
    assert "wrong[..., None], (230, 60, 40)," in source, (
        "notebook 01 marks errors in another colour"
    )
    greys = [(level,) * 3 for level in range(256)]
    red, *others = lab([(230, 60, 40), *greys], vision)
    assert min(np.linalg.norm(red - other) for other in others) >= LEAST_DIFFERENCE


def test_the_simulation_confuses_what_it_should() -> None:
    red_and_green = [(180, 90, 60), (115, 115, 45)]
    assert least_difference(red_and_green, "all colours") > 40
    assert least_difference(red_and_green, "no middle waves (deuteranopia)") < 10
    # The distance itself: red and green of sRGB, from any table of CIELAB values.
    assert lab([(255, 0, 0)], "all colours")[0] == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    assert lab([(0, 255, 0)], "all colours")[0] == pytest.approx([87.73, -86.18, 83.18], abs=0.05)


def plotted(cell_source: str) -> dict[str, list[str]]:
    """Axes to the style of each line plotted there: its format and style arguments."""
    lines: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(cell_source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in {"plot", "axhline"}:
            formats = [a.value for a in node.args if isinstance(a, ast.Constant)]
            keywords = [
                ast.unparse(k.value) for k in node.keywords if k.arg in {"linestyle", "marker"}
            ]
            style = " ".join(str(one) for one in [*formats, *keywords])
            lines.setdefault(ast.unparse(node.func.value), []).append(style)
    return lines


def lines_told_by_color_alone(cell_source: str) -> list[str]:
    """Axes that hold two lines whose dashes and markers are the same."""
    return [axes for axes, styles in plotted(cell_source).items() if len({*styles}) < len(styles)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_lines_of_a_chart_differ_in_dashes_or_markers(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", []):
            assert lines_told_by_color_alone(cell.source) == [], cell.source


def test_two_plain_lines_are_found() -> None:
    assert lines_told_by_color_alone("a.plot(x, y)\na.plot(x, z, color='red')") == ["a"]
    assert lines_told_by_color_alone("a.plot(x, y)\na.plot(x, z, 'o--')\nb.plot(x, y)") == []
