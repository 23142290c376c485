"""What is in a folder of images and masks, and what is wrong with it, before training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.custom.conversions import color_of_number, colors_as_numbers
from helpers.custom.pairs import Pairs, check_mask, refuse_lossy
from helpers.images import header, load_image, load_mask, orientation
from helpers.labels import IGNORE_INDEX, Labels
from helpers.processes import progress

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("image", "image_size", "image_mode", "mask", "mask_size", "mask_mode", "values")
_LISTED = 12  # values or colors of a mask that are listed; a mask of soft edges has hundreds
_DARK = 64  # of 255: below this, the brightest pixel of an image is far from white


@dataclass(frozen=True)
class Report:
    """What `report_pairs` found."""

    files: pd.DataFrame
    """A row for each pair: image (its name), image_size, image_mode, mask, mask_size, mask_mode,
    values (those of the mask, or its colors; "-" where it cannot be read) and problem ("" if
    none)."""
    classes: pd.DataFrame
    """A row for each class: label, name, pixels and images (shares, 0 to 1) over all pairs
    without a problem."""
    problems: list[str]
    """What is wrong with each file that cannot be used as it is or has no partner; then the classes
    that no mask shows."""
    notices: list[str]
    """What is not wrong in itself but deserves a look."""


def report_pairs(pairs: Pairs, labels: Labels) -> Report:
    """Decode every image and mask once and report what they hold; bad files do not stop it.

    Args:
        pairs: from `helpers.custom.find_pairs`.
        labels: what the masks' values mean.

    Raises:
        ValueError: there is not one pair.
    """
    import pandas as pd

    if not pairs.pairs:
        raise ValueError(
            "not one image has a mask of the same name: there are "
            f"{len(pairs.images_alone)} images{_such_as(pairs.images_alone)} and "
            f"{len(pairs.masks_alone)} masks{_such_as(pairs.masks_alone)}. If their "
            "names differ in more than case and extension, say how: find_pairs(images, masks, "
            'image_name="*_sat", mask_name="*_mask"). Sub-folders must have the same names on both '
            "sides"
        )
    with ThreadPoolExecutor() as pool:  # Pillow decodes without holding the interpreter's lock
        looks = pool.map(lambda pair: _Look(pair, labels), pairs.pairs)
        looks = list(progress(looks, "Looking at masks", len(pairs.pairs), delay=2))
    areas = np.array([look.areas for look in looks if not look.problem], dtype=np.int64)
    areas = areas.reshape(-1, labels.num_labels)
    problems = [look.problem for look in looks if look.problem]
    problems += [f"image {file} has no mask of its name" for file in pairs.images_alone]
    problems += [f"mask {file} has no image of its name" for file in pairs.masks_alone]
    absent = [name for name, area in zip(labels.names, areas.sum(axis=0), strict=True) if not area]
    if absent:
        problems.append(f"no mask shows {', '.join(absent)}: there is nothing to learn it from")
    classes = pd.DataFrame(
        {
            "label": range(labels.num_labels),
            "name": labels.names,
            "pixels": areas.sum(axis=0) / max(areas.sum(), 1),
            "images": (areas > 0).sum(axis=0) / max(len(areas), 1),
        }
    )
    files = pd.DataFrame([look.row for look in looks])
    return Report(files, classes, [*problems, *_palettes(looks)], _notices(looks))


class _Look:
    """One pair: its row of the report, the pixels of each class, and what was noticed."""

    def __init__(self, pair: tuple[Path, Path], labels: Labels) -> None:
        self.pair = pair
        self.areas = np.zeros(labels.num_labels, dtype=np.int64)
        self.turned = self.dark = self.several = False
        self.palette: dict[int, tuple[int, ...]] = {}
        self.row = dict.fromkeys(_COLUMNS, "-") | {"image": pair[0].name, "mask": pair[1].name}
        self._problems: list[str] = []
        size = self._tried(self._at_image)
        values = self._tried(self._at_mask, size is not None)
        if not self._problems:
            self._tried(self._at_both, size, values, labels)
        self.row["problem"] = self.problem = " ".join(self._problems)

    def _tried(self, look: Callable[..., Any], *given: Any) -> Any:
        try:
            return look(*given)
        except (ValueError, OSError) as error:
            self._problems.append(str(error))

    def _at_image(self) -> tuple[int, int]:
        image, stored = load_image(self.pair[0]), header(self.pair[0])
        self.row |= {"image_size": _size(stored.size), "image_mode": stored.mode}
        self.turned = orientation(stored) != 1
        self.several = getattr(stored, "n_frames", 1) > 1
        self.dark = max(high for _, high in image.getextrema()) < _DARK
        return image.size

    def _at_mask(self, image_is_sound: bool) -> np.ndarray:
        stored = header(self.pair[1], f"mask {self.pair[1]}")
        self.row |= {"mask_size": _size(stored.size), "mask_mode": stored.mode}
        values = load_mask(self.pair[1], self.pair[0] if image_is_sound else None)
        if values.ndim == 3:
            found = np.unique(colors_as_numbers(values)).tolist()
            present = [str(color_of_number(number)) for number in found[:_LISTED]]
        else:
            found = np.unique(values).astype(int).tolist()
            present = [str(value) for value in found[:_LISTED]]
        present += ["..."] if len(found) > _LISTED else []
        self.row["values"] = " ".join(present)
        if stored.mode == "P":
            colors = stored.getpalette() or []
            self.palette = {k: tuple(colors[3 * k : 3 * k + 3]) for k in found}
        refuse_lossy(self.pair[1], f"mask {self.pair[1]}")
        return values

    def _at_both(self, size: tuple[int, int], values: np.ndarray, labels: Labels) -> None:
        name = f"mask {self.pair[1]}"
        check_mask(values, size, name, labels)
        if not labels.reduce and set(np.unique(values).tolist()) == {0, IGNORE_INDEX}:
            raise ValueError(
                f"{name} holds 0 and 255 alone. In many tools 255 means yes; here it marks pixels "
                "to ignore. If it is a class, "
                "helpers.custom.labels_from_values(mask, {0: 0, 255: 1}) makes it one"
            )
        self.areas = labels.count(values)
        if not self.areas.any():
            raise ValueError(f"{name} has no class in any pixel: there is nothing to learn from it")


def _palettes(looks: Sequence[_Look]) -> list[str]:
    """The first index that two palettes paint differently, in which case the colors may count."""
    seen: dict[int, tuple[tuple[int, ...], Path]] = {}
    for look in looks:
        for index, color in look.palette.items():
            before, file = seen.setdefault(index, (color, look.pair[1]))
            if before != color:
                return [
                    f"the palettes of {file} and {look.pair[1]} differ: index {index} is {before} "
                    f"in the first and {color} in the second. If the colors are what counts, "
                    "helpers.custom.labels_from_colors reads them"
                ]
    return []


def _notices(looks: Sequence[_Look]) -> list[str]:
    """One sentence for each kind of thing, with how many images it is about and an example."""
    kinds = {
        "turned": "are turned by the camera's note, and so are the masks that were stored the "
        "same way. Where the size of a mask does not show which it is, only an overlay can",
        "dark": "have no bright pixel: perhaps 12 bits were stored in 16, which looks nearly black",
        "several": "have several pages or frames, of which only the first is used",
    }
    notices = []
    for kind, what in kinds.items():
        if found := [look.pair[0] for look in looks if getattr(look, kind)]:
            notices.append(f"{len(found)} images{_such_as(found)} {what}")
    return notices


def _size(size: tuple[int, int]) -> str:
    return "{} x {}".format(*size)


def _such_as(files: Sequence[Path]) -> str:
    return f" (such as {files[0]})" if files else ""
