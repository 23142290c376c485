"""A mask becomes a label map, or it is said what is wrong with it and which option settles it.

Where a mask's `image` is given as well, the mask is turned upright as its image is: see
`helpers.images.load_mask`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from helpers.images import (
    FileFault,
    Source,
    header,
    load_image,
    load_mask,
    name_of,
    orientation,
    size_of,
)
from helpers.labels import IGNORE_INDEX, Color, Labels
from helpers.pairs import Pair

Convert = Callable[[Path, Path], "np.ndarray | Image.Image"]
"""From the files of a mask and of its image to the label map, (height, width) uint8."""

NOTICES = (
    "turned by the camera's note, and so are the masks that were stored the same way. Where the "
    "size of a mask does not show which it is, only an overlay can",
    "without a bright pixel: perhaps 12 bits were stored in 16, which looks almost black",
    "of several pages or frames, of which only the first is used",
)
"""What deserves a look in an image."""

_COLUMNS = ("image", "image_size", "image_mode", "mask", "mask_size", "mask_mode", "values")
_LISTED = 12  # values or colors that are listed; a mask of soft edges has hundreds
_DARK = 64  # of 255: below this, the brightest pixel of an image is far from white
_SEEN = 512  # side of the square that a model sees, pixels
_SOFT = 24  # more unexpected values than this are not a slip of the brush
_OTHER_SHAPE = "it may be the mask of another image: put the right one there, or --drop FILE"
_EXPORT_AGAIN = (
    "so many come from JPEG compression or soft edges (export the masks again as PNG without "
    "smoothing), or from numbered objects (--format objects and --format coco read such exports)"
)


def labels_from_values(
    mask: Source, values: Mapping[int, int], image: Source | None = None
) -> Image.Image:
    """Turn a mask whose *values* mean classes into one of mode L.

    Args:
        mask: see `helpers.images.load_mask`; of a palette PNG the indices count, not the colors.
        values: from stored value to label, 0-255, for example {0: 0, 255: 1}.
        image: see this module's first lines.

    Raises:
        FileFault: a value that occurs has no label, or the mask is color-coded.
    """
    name, stored = name_of(mask, "mask"), load_mask(mask, image)
    if stored.ndim == 3:
        cause = "is in color, expected one value per pixel"
        raise FileFault(name, cause, "labels_from_colors turns colors into labels (--colors FILE)")
    present = _values_in(stored)
    if unknown := [value for value in present if value not in values]:
        raise FileFault(
            name,
            f"holds the value {unknown[0]} in {np.count_nonzero(stored == unknown[0])} pixels, "
            f"expected {', '.join(map(str, values))}",
            "give it a label (--values), or 255 for pixels without a class (--ignore "
            f"{','.join(map(str, unknown[:_SOFT]))})",
        )
    return _labelled(stored, {value: values[value] for value in present})


def labels_from_colors(
    mask: Source, colors: Mapping[Color, int], image: Source | None = None
) -> Image.Image:
    """Turn a mask whose *colors* mean classes into one of mode L.

    Args:
        mask: see `helpers.images.load_mask`; of a palette PNG the colors count, not the indices.
        colors: from (red, green, blue) to label, 0-255.
        image: see this module's first lines.

    Raises:
        FileFault: a color that occurs has no label.
    """
    numbers = _as_numbers(load_mask(mask, image, in_colors=True))
    present = {_color_of(number): number for number in _values_in(numbers)}
    if unknown := [color for color in present if color not in colors]:
        count = np.isin(numbers, [present[color] for color in unknown]).sum()
        raise FileFault(
            name_of(mask, "mask"),
            f"holds the color {unknown[0]}, and {count} pixels of {len(unknown)} unknown colors in "
            f"all, expected one of {', '.join(map(str, colors))}",
            "add a line for it to the file of --colors. Many in-between colors mean JPEG "
            "compression or soft edges: export the masks again as PNG without smoothing",
        )
    return _labelled(numbers, {number: colors[color] for color, number in present.items()})


def resize_labels(labels: Image.Image, image: Source) -> Image.Image:
    """Resize a mask of mode L to its upright image, by nearest neighbour, or raise FileFault: their
    shapes differ, so it may be the mask of another image."""
    size = size_of(image)
    if not _have_one_shape(labels.size, size):
        found = "has a mask of {} x {} pixels and is {} x {} itself".format(*labels.size, *size)
        raise FileFault(name_of(image, "image"), f"{found}, expected equal shapes", _OTHER_SHAPE)
    return labels.resize(size, Image.Resampling.NEAREST)


def label_map_of(
    pair: Pair, labels: Labels, convert: Convert | None, read: np.ndarray | None = None
) -> np.ndarray:
    """What is stored of a mask that may be read already: label ids and 255, of its image's size."""
    image, mask = pair
    if convert is None:
        label_map = labels.to_label_map(load_mask(mask, image) if read is None else read)
    else:
        converted = np.asarray(convert(mask, image))
        try:
            label_map = Labels(labels.names).to_label_map(converted)
        except ValueError as error:
            raise FileFault(f"mask {mask}", f"is not converted to label ids ({error})") from error
    if label_map.shape != size_of(image)[::-1]:
        raise _of_other_size(f"mask {mask}", label_map.shape[::-1], size_of(image))
    return label_map


class Look:
    """One pair: its row of the report, the pixels of each class, and what was noticed."""

    def __init__(self, pair: Pair, labels: Labels, convert: Convert | None) -> None:
        self.pair, self.name = pair, f"mask {pair[1]}"
        self.faults: list[Exception] = []
        self.areas = np.zeros(labels.num_labels, dtype=np.int64)
        self.objects: list[np.ndarray] = [np.empty(0)] * labels.num_labels  # their areas
        self.notices: list[str] = []
        self.values: list[int] = []  # those of a mask that is not in colors
        self.colors: list[Color] = []  # those of one that is
        self.palette: dict[int, tuple[int, ...]] = {}
        image, mask = (_printable(Path(file.name)) for file in pair)
        self.row = dict.fromkeys(_COLUMNS, "-") | {"image": image, "mask": mask}
        for kind, file in zip(("image", "mask"), map(str, pair), strict=True):
            if _printable(file) != file:
                cause = "has a name that is not UTF-8, which no data set can hold"
                remedy = "rename it, as convmv does for all"
                self.faults.append(FileFault(f"{kind} {_printable(file)}", cause, remedy))
        if not self.faults:
            self._tried(self._at_image)
            read = self._tried(self._at_mask)
        if not self.faults:
            self._tried(self._at_both, read, labels, convert)

    def _tried(self, look: Callable[..., Any], *given: Any) -> Any:
        try:
            return look(*given)
        except (ValueError, OSError) as error:
            self.faults.append(error)

    def refuse(self, cause: str, remedy: str) -> None:
        self.faults.append(FileFault(self.name, cause, remedy))
        self.areas = np.zeros_like(self.areas)

    def _at_image(self) -> None:
        image, stored = load_image(self.pair[0]), header(self.pair[0])
        self.row |= {"image_size": "{} x {}".format(*stored.size), "image_mode": stored.mode}
        dark = max(high for _, high in image.getextrema()) < _DARK
        applies = (orientation(stored) != 1, dark, getattr(stored, "n_frames", 1) > 1)
        self.notices = [what for what, is_so in zip(NOTICES, applies, strict=True) if is_so]

    def _at_mask(self) -> np.ndarray:
        stored = header(self.pair[1], self.name)
        self.row |= {"mask_size": "{} x {}".format(*stored.size), "mask_mode": stored.mode}
        mask = load_mask(self.pair[1], None if self.faults else self.pair[0])
        if mask.ndim == 3:
            self.colors = [_color_of(k) for k in _values_in(_as_numbers(mask))]
        else:
            self.values = _values_in(mask)
            if stored.mode == "P":
                colors = stored.getpalette() or []
                self.palette = {k: tuple(colors[3 * k : 3 * k + 3]) for k in self.values}
        self.row["values"] = listed(self.colors or self.values)
        return mask

    def _at_both(self, mask: np.ndarray, labels: Labels, convert: Convert | None) -> None:
        from scipy.ndimage import label

        if convert is None and (self.colors or {*self.values} - _known(labels)):
            return  # what all masks hold shows what to do: see refuse_unexplained
        label_map = label_map_of(self.pair, labels, convert, mask)
        areas = np.bincount(label_map.ravel(), minlength=256)[: labels.num_labels]
        if not areas.any():
            raise FileFault(self.name, "has no class in any pixel", "annotate it, or --drop FILE")
        self.areas = areas
        seen = Image.fromarray(label_map).resize((_SEEN, _SEEN), Image.Resampling.NEAREST)
        parts = (label(np.asarray(seen) == k)[0] for k in labels.id2label)
        self.objects = [np.bincount(part.ravel())[1:] for part in parts]


def refuse_unexplained(looks: Sequence[Look], labels: Labels) -> None:
    """Refuse masks whose numbers `labels` does not explain, and say which option settles them: what
    all masks hold together shows which."""
    if any(look.colors for look in looks):  # then grey in an RGB file is a color as well
        for look in looks:
            if look.row["mask_mode"].startswith("RGB") and look.values:
                look.colors, look.values = [(value,) * 3 for value in look.values], []
    count = labels.num_labels
    values = sorted({value for look in looks for value in look.values})
    unknown = {*values} - _known(labels)
    settled = _settled(sorted(unknown), values, labels) if unknown else ""
    images_with = Counter(color for look in looks for color in look.colors)
    of_one = sum(number == 1 for number in images_with.values()) if len(looks) > 1 else 0
    many_colors = len(images_with) > _SOFT * count or of_one > max(count, len(images_with) / 2)
    some = " ".join("{},{},{}".format(*color) for color in sorted(images_with))
    numbers = ",".join(map(str, range(labels.reduce, count + labels.reduce)))
    mixed = f" --values {numbers}" if values and "--values" not in settled else ""
    colors = f"--colors FILE{mixed}, with a line `name,red,green,blue` for each of {some}"
    for look in looks:
        wrong = [value for value in look.values if value in unknown]
        if wrong:
            which = f"the value {wrong[0]}"
            if len(wrong) > 1:
                which = f"{len(wrong)} values without a meaning, such as {wrong[0]}"
            look.refuse(f"holds {which}, expected {labels.expected_values}", settled)
        elif not labels.reduce and look.values == [0, IGNORE_INDEX]:
            cause = "holds 0 and 255 alone: 255 means yes in many tools, and here pixels to ignore"
            yes = "makes 255 the second class"
            yes = yes if count == 2 else "is right for two classes, yes and no"
            look.refuse(cause, f"--values 0,255 {yes}, --ignore 255 ignores it")
        elif look.colors:
            cause = f"is in colors, expected one number for each pixel, {labels.expected_values}"
            look.refuse(cause, _EXPORT_AGAIN if many_colors else colors)
    seen: dict[int, tuple[tuple[int, ...], Path]] = {}
    for look in looks:
        for index, color in look.palette.items():
            before, file = seen.setdefault(index, (color, look.pair[1]))
            if before != color:
                remedy = f"--colors FILE if the colors count, --values {numbers} if the indices do"
                cause = f"and {file} have palettes that differ: index {index} is {color} in the "
                look.refuse(f"{cause}first and {before} in the second", remedy)
                return


def _settled(unknown: Sequence[int], values: Sequence[int], labels: Labels) -> str:
    """What settles values without a meaning, given all values of all masks."""
    count = labels.num_labels
    plain = [value for value in values if value != IGNORE_INDEX and (value or not labels.reduce)]
    reduce = "--reduce" + " --ignore 255" * (IGNORE_INDEX in values)
    if len(unknown) > _SOFT:
        return _EXPORT_AGAIN
    if unknown == [IGNORE_INDEX]:  # of labels with reduce
        return "--ignore 255; or labels were reduced already, once is enough: without --reduce"
    if not labels.reduce and plain == list(range(1, count + 1)):
        return f"{reduce}: the classes are 1 to n, and 0 is none"
    if not labels.reduce and plain == list(range(count + 1)):
        return f"name one more class, or {reduce} if 0 means that nobody annotated the pixel"
    for all_of_them in (values, plain):
        if len(all_of_them) == count:
            return f"--values {','.join(map(str, all_of_them))}, in the order of the classes"
    which = ",".join(map(str, unknown))
    return f"name their classes, or --ignore {which} leaves their pixels out of training and scores"


def listed(found: Sequence[Any]) -> str:
    return " ".join([*map(str, found[:_LISTED]), *["..."] * (len(found) > _LISTED)])


def _known(labels: Labels) -> set[int]:
    """The values that a mask may hold."""
    return {*range(labels.num_labels + labels.reduce), *([] if labels.reduce else [IGNORE_INDEX])}


def _of_other_size(name: str, size: tuple[int, int], of_image: tuple[int, int]) -> FileFault:
    cause = "is {} x {} pixels, its image {} x {}, expected equal sizes".format(*size, *of_image)
    resized = "--resize-masks resizes such masks by nearest neighbour"
    return FileFault(name, cause, resized if _have_one_shape(size, of_image) else _OTHER_SHAPE)


def _have_one_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether one size is a multiple of the other, give or take a rounded pixel."""
    return abs(first[0] * second[1] - second[0] * first[1]) <= max(first[0], second[0])


def _labelled(numbers: np.ndarray, labels: Mapping[int, int]) -> Image.Image:
    """The label of each number, of mode L; in ascending order, `labels` has all of them."""
    numbers = numbers.astype(np.uint8) if numbers.dtype == bool else numbers  # of Pillow: 0, 255
    keys = np.array([*labels], dtype=numbers.dtype)
    return Image.fromarray(np.array([*labels.values()], np.uint8)[np.searchsorted(keys, numbers)])


def _values_in(numbers: np.ndarray) -> list[int]:
    """The different numbers, ascending. Where its neighbour is equal, a pixel is passed over: areas
    have long rows of one value."""
    flat = numbers.ravel()
    return np.unique(np.append(flat[:1], flat[1:][flat[1:] != flat[:-1]])).astype(int).tolist()


def _as_numbers(rgb: np.ndarray) -> np.ndarray:
    """Colors as one number for each pixel, (height, width) uint32: `np.unique` takes fifty times as
    long for rows of three."""
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    return red << 16 | green << 8 | blue


def _color_of(number: int) -> Color:
    return tuple(number.to_bytes(3, "big"))


def _printable(path: object) -> str:
    """A path, in which bytes that are not UTF-8 are written out."""
    return str(path).encode(errors="backslashreplace").decode()
