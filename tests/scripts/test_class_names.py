"""Lists of classes, as tools write them."""

from pathlib import Path

import pytest

from scripts.class_names import read_colors, read_names

CLASSES = ["background", "apple", "pear"]
COLORS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\napple:128,0,0::\npear:0,128,0::\n"
WITHOUT_COLORS = "# label:color_rgb:parts:actions\nbackground:::\napple:::\npear:::\n"


def _written(file: Path, content: str) -> Path:
    file.write_text(content, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("file", "content", "colors"),
    [
        ("labelmap.txt", LABELMAP, COLORS),
        ("labelmap.txt", WITHOUT_COLORS, COLORS),
        ("label_colors.txt", "0 0 0\tbackground\n128 0 0\tapple\n0 128 0\tpear\n", COLORS),
        ("class_dict.csv", "name,r,g,b\nbackground,0,0,0\napple,128,0,0\npear,0,128,0\n", COLORS),
        ("my colors.txt", "0,0,0,background\n128,0,0,apple\n0,128,0,pear", COLORS),
        ("_classes.csv", "Pixel Value, Class\n0, background\n1, apple\n2, pear\n", None),
        ("codes.txt", "\ufeffbackground\napple\n\npear\n", None),
    ],
)
def test_lists_of_classes_are_read(tmp_path: Path, file: str, content: str, colors) -> None:
    path = _written(tmp_path / file, content)
    assert read_names(path) == (CLASSES, colors)
    if colors:
        assert read_colors(path) == (CLASSES, dict(zip(COLORS, range(3), strict=True)))
    else:
        with pytest.raises(ValueError, match="has names and no colors: write lines such as"):
            read_colors(path)


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("_classes.csv", "Pixel Value, Class\n1, a\n2, b\n", r"values \[1, 2\], expected 0 to 1"),
        ("class_dict.csv", "name,r,g,b\na,1,2,3\nb,1,2,x\n", 'has the line "b,1,2,x": expected'),
        ("labelmap.txt", "a:0,0::\nb:1,1,1::\n", 'has the line "a:0,0::"'),
        ("labelmap.txt", "a:0,0,0::\nb:::\n", 'has the line "b:::"'),
        ("labelmap.txt", "a:0,0,0::\nb:0,0,0::\n", r"gives a and b one color, \(0, 0, 0\)"),
        ("codes.txt", "\n", "names no class"),
    ],
)
def test_a_list_that_is_no_list_is_refused(tmp_path: Path, file, content, told) -> None:
    with pytest.raises(ValueError, match=told):
        read_colors(_written(tmp_path / file, content))
