"""What the numbers in a mask mean: names, colors, and whether value 0 is a class.

Two numberings exist, and mixing them up is the most common mistake in segmentation:

* an *annotation value* is what a mask file holds;
* a *label id*, 0 to n - 1, is what a model predicts, and 255 stands for pixels to ignore.

`Labels.to_label_map` goes from the first to the second. Labels travel with the data: a folder or
data set holds them in `id2label.json` and `labels.json`, and so does the folder of a model that was
trained on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import PretrainedConfig

IGNORE_INDEX = 255

NAMES_FILE = "id2label.json"
RULES_FILE = "labels.json"
_ADE20K = Path(__file__).parent / "bundled" / "ade20k"
# Written out, because matplotlib before 3.11 does not know the sequence. Its last color is grey, in
# which a class looks unlabelled: purple stands for it.
_PETROFF8 = ["#1845fb", "#ff5e02", "#c91f16", "#c849a9", "#adad7d", "#86c8dd", "#578dff", "#500090"]

_SOFT = 24  # more unexpected values than this are not a slip of the brush

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Labels:
    """The classes of a data set, in the order of their label ids.

    Raises:
        ValueError: fewer than 2 names or more than 255, a name that occurs twice, or colors that
            are not three numbers 0-255 for each name.
    """

    names: Sequence[str]
    """A name for each label id 0 to n - 1."""
    colors: Sequence[Color] | None = None
    """(red, green, blue), 0-255, for each name; None: `default_palette`."""
    reduce: bool = False
    """Whether annotation value 0 is no class and value k is label id k - 1, as in ADE20K; if not,
    annotation values are label ids, and 255 is no class."""

    def __post_init__(self) -> None:
        if isinstance(self.names, (Mapping, str)):  # tuple() would take the keys, or the letters
            raise ValueError(
                f"the names of labels are {self.names!r}, expected a list of them in the order of "
                "their label ids, as list(id2label.values()) is"
            )
        object.__setattr__(self, "names", tuple(str(name).strip() for name in self.names))
        if not 2 <= len(self.names) <= IGNORE_INDEX:
            why = "255 stands for pixels without a class"
            if len(self.names) < 2:
                why = "One alone cannot be told from anything, so name its surroundings too, as in "
                why += "background"
            raise ValueError(
                f"the number of labels is {len(self.names)}, expected 2 to {IGNORE_INDEX}. {why}"
            )
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ValueError(f"two labels are named {twice!r}, expected a name of its own for each")
        if self.colors is not None:
            try:
                colors = np.asarray(self.colors)
                fit = colors.shape == (len(self.names), 3) and colors.dtype.kind in "ui"
                fit = fit and colors.min() >= 0 and colors.max() <= 255
            except ValueError:  # rows of unequal length
                fit = False
            if not fit:
                raise ValueError(
                    f"expected red, green and blue, whole numbers 0-255, for each of "
                    f"{len(self.names)} labels, got {self.colors}"
                )
            object.__setattr__(self, "colors", tuple(map(tuple, colors.tolist())))

    def __str__(self) -> str:
        shown = ", ".join(self.names[:3]) + (", ..." if len(self.names) > 3 else "")
        zero = "is no class" if self.reduce else f"is {self.names[0]}"
        return f"{self.num_labels} labels ({shown}), value 0 {zero}"

    @property
    def num_labels(self) -> int:
        return len(self.names)

    @cached_property
    def id2label(self) -> dict[int, str]:
        """Label id to name."""
        return dict(enumerate(self.names))

    @cached_property
    def label2id(self) -> dict[str, int]:
        """Name to label id."""
        return {name: label for label, name in enumerate(self.names)}

    @cached_property
    def short_names(self) -> tuple[str, ...]:
        """The first of each label's names, for legends: ADE20K's longer list has several, separated
        by commas. Where two labels share their first name, all keep their full ones."""
        first = tuple(name.split(",")[0] for name in self.names)
        return first if len(set(first)) == len(first) else self.names

    @cached_property
    def palette(self) -> np.ndarray:
        """(num_labels, 3) uint8 RGB: `palette[label_id]` is the class's color. Read-only."""
        palette = np.array(self.colors or default_palette(self.num_labels), dtype=np.uint8)
        palette.setflags(write=False)
        return palette

    @property
    def expected_values(self) -> str:
        """What a mask may hold, in words."""
        if self.reduce:
            return f"0-{self.num_labels} (0 = other)"
        return f"0-{self.num_labels - 1}, or {IGNORE_INDEX} for no class"

    def to_label_map(self, annotation: np.ndarray) -> np.ndarray:
        """Turn annotation values into label ids, and values without a class into 255.

        Args:
            annotation: whole numbers of any shape, such as (height, width), or an image of mode L.

        Returns:
            uint8 array of the same shape, values 0 ... num_labels - 1 or 255.

        Raises:
            ValueError: a value has no meaning here, or is no whole number. Reduced labels that hold
                a 255, as most do, end here and are not shifted once more.
        """
        values = np.asarray(annotation)
        if values.dtype.kind not in "uib":
            raise ValueError(f"a mask holds whole numbers, got {values.dtype}")
        if values.size and (values.min() < 0 or values.max() >= self.num_labels + self.reduce):
            self._refuse(values)
        # In uint8, 0 - 1 wraps round to 255: exactly the ignore index.
        return values.astype(np.uint8) - np.uint8(self.reduce)

    def save(self, folder: str | Path) -> None:
        """Write `id2label.json` ({label id: name}) and `labels.json` (the colors, and `reduce`)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        names = json.dumps(self.id2label, indent=1, ensure_ascii=False)
        (folder / NAMES_FILE).write_text(f"{names}\n", encoding="utf-8")
        rows = ",\n  ".join(map(str, self.palette.tolist()))
        rules = f'{{\n "reduce": {json.dumps(self.reduce)},\n "colors": [\n  {rows}\n ]\n}}\n'
        (folder / RULES_FILE).write_text(rules, encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Labels:
        """Read what `save` writes; a file that is missing or holds something else is named. Without
        a `labels.json`, value 0 is no class if the names are ADE20K's 150, and otherwise it is the
        first class."""
        names, rules_file = _read_names(Path(folder) / NAMES_FILE), Path(folder) / RULES_FILE
        rules = read_rules(rules_file) if rules_file.is_file() else ()
        try:
            return label_set(names, *rules)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error

    def _refuse(self, values: np.ndarray) -> None:
        """Raise for the first value without a meaning, if there is one."""
        wrong = (values < 0) | (values >= self.num_labels + self.reduce)
        if not self.reduce:
            wrong &= values != IGNORE_INDEX
        found = np.unique(values[wrong])
        if not len(found):
            return
        hint = f"give it a class in {NAMES_FILE}, or make it {IGNORE_INDEX}"
        if self.reduce and IGNORE_INDEX in found:
            hint = "a 255 often means that the labels were reduced already, and once is enough"
        elif found[0] < 0:
            hint = f"if it stands for pixels to ignore, make it {IGNORE_INDEX}"
        elif len(found) > _SOFT:
            hint = (
                f"{len(found)} such values mean JPEG compression or soft edges: export the mask "
                "again, as PNG and without smoothing"
            )
        raise ValueError(
            f"the annotation holds the value {found[0]}, expected {self.expected_values}: {hint}"
        )


def label_set(
    names: Sequence[str], reduce: bool | None = None, colors: Sequence[Color] | None = None
) -> Labels:
    """Labels from their names in the order of the label ids; what is not given is ADE20K's if the
    names are, and otherwise as `Labels` has it."""
    names = tuple(str(name).strip() for name in names)
    if names == _read_names(_ADE20K / NAMES_FILE):
        its_reduce, its_colors = read_rules(_ADE20K / RULES_FILE)
        reduce, colors = its_reduce if reduce is None else reduce, colors or its_colors
    return Labels(names, colors, bool(reduce))


def label_names(config: PretrainedConfig) -> tuple[str, ...]:
    """A name for each label id of a model; one that occurs twice gets its id appended."""
    names = [str(config.id2label.get(label, label)).strip() for label in range(config.num_labels)]
    return tuple(f"{n} ({k})" if names.count(n) > 1 else n for k, n in enumerate(names))


def names_differ(data: Sequence[str], other: Sequence[str], where: str) -> str | None:
    """Where the label names of the data first differ from those of `where` ("the model", say), in
    words; None where they are equal."""
    if len(data) != len(other):
        return f"there are {len(data)} labels in the data and {len(other)} in {where}"
    for label, (ours, theirs) in enumerate(zip(data, other, strict=True)):
        if ours != theirs:
            return f"label id {label} is {ours!r} in the data and {theirs!r} in {where}"
    return None


def read_rules(file: Path) -> tuple[bool, Sequence[Color] | None]:
    """What `labels.json` says, or ValueError: whether labels are reduced, and the colors."""
    try:
        rules = json.loads(file.read_text(encoding="utf-8"))
        reduce, colors = rules["reduce"], rules.get("colors")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reduce, colors = error, None
    if not isinstance(reduce, bool):
        raise ValueError(
            f'{file} says {reduce!r}, expected {{"reduce": true or false, "colors": [[red, green, '
            "blue], ...]}, with a color for each label"
        )
    return reduce, colors


def default_palette(num_labels: int) -> np.ndarray:
    """Colors for labels that have none, (num_labels, 3) uint8 RGB.

    Light grey for label 0, which most often is the background, then colors that color-blind eyes
    tell apart as well: matplotlib's "petroff8" (Petroff, "Accessible Color Sequences for Data
    Visualization", arXiv 2107.02270). More get colors evenly spaced in hue, which no eye tells
    apart.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba_array

    more = max(0, num_labels - 9)
    spaced = colormaps["hsv"](np.linspace(0, 1, more, endpoint=False))[:, :3]
    colors = np.concatenate([[(0.85, 0.85, 0.85)], to_rgba_array(_PETROFF8)[:, :3], spaced])
    return (255 * colors[:num_labels]).round().astype(np.uint8)


def _read_names(file: Path) -> tuple[str, ...]:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        names = {int(label): str(name) for label, name in stored.items()}
    except (ValueError, AttributeError) as error:
        expected = 'expected {"0": "background", ...}'
        raise ValueError(f"{file} holds no label names ({error}): {expected}") from error
    count = len(names)
    if sorted(names) == list(range(1, count + 1)):
        raise ValueError(
            f"{file} numbers its labels from 1 to {count}, expected 0 to {count - 1}, as a model's "
            'outputs are numbered. If value 0 of the masks is a class, name it, as in "0": '
            '"background"; if it is no class, subtract 1 from each number and write '
            f'{{"reduce": true}} into {RULES_FILE} beside it'
        )
    if sorted(names) != list(range(count)):
        raise ValueError(
            f"{file} numbers its labels {sorted(names)}, expected 0 to {count - 1} without gaps, "
            "as a model's outputs are numbered"
        )
    return tuple(names[label] for label in range(count))


ADE20K = Labels.load(_ADE20K)
"""SceneParse150's 150 classes and their official colors (`color150` of CSAILVision/sceneparsing).
Annotation value 0 ("other") is not a class, so value k is label id k - 1. The names are those of
the Hub's label file, except that its `"bed "` loses the space. Road and skyscraper share a color,
so no legend can tell them apart."""
