"""Wrong answers to the exercises, each with a part of the hint that it deserves."""

# ruff: noqa: E501 - a table reads best with one answer in a line

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import binary_erosion
from torch.nn.functional import interpolate
from torchvision.transforms import v2

from helpers.labels import ADE20K


def keys_of(answer: Callable[[np.ndarray], dict]) -> Callable[[np.ndarray], dict]:
    """A count of things from a function of all (class, id) pairs of pixels."""
    return lambda panoptic: answer(panoptic.reshape(-1, 2))


def grown(logits: torch.Tensor, size: tuple[int, int], align_corners: bool = False) -> torch.Tensor:
    """Logits at `size`."""
    return interpolate(logits, size=size, mode="bilinear", align_corners=align_corners)


def by(counted: Callable[[np.ndarray, int], int], ids_from: int = 1) -> Any:
    """Counts for each class that has a pixel whose id is at least `ids_from`."""

    def count(pairs: np.ndarray) -> dict[str, int]:
        classes = {int(label) for label, number in pairs if number >= ids_from}
        return {ADE20K.id2label.get(k, "(no class)"): counted(pairs, k) for k in classes}

    return keys_of(count)


def counts_ids_once(pairs: np.ndarray) -> dict[str, int]:
    """Each id belongs to the first class that has it."""
    counts: dict[str, int] = {}
    for number in np.unique(pairs[:, 1]):
        if number:
            name = ADE20K.id2label[int(pairs[pairs[:, 1] == number][0, 0])]
            counts[name] = counts.get(name, 0) + 1
    return counts


def reduced_below_151(annotation):
    if annotation.max() > 150:
        raise ValueError("reduced before")
    return reduced(annotation)


def reduced_in_place(annotation: np.ndarray) -> np.ndarray:
    annotation -= 1
    annotation[annotation < 0] = 255
    return annotation.astype(np.uint8)


def reduced(annotation: np.ndarray) -> np.ndarray:
    return np.where(annotation == 0, 255, annotation.astype(int) - 1).astype(np.uint8)


def clamped(annotation: np.ndarray) -> np.ndarray:
    return np.maximum(annotation.astype(int) - 1, 0).astype(np.uint8)


def margin_by_rolling(label_map: np.ndarray, pixels: int) -> np.ndarray:
    border = np.zeros(label_map.shape, dtype=bool)
    for rows in range(-pixels, pixels + 1):
        for columns in range(-pixels, pixels + 1):
            border |= np.roll(label_map, (rows, columns), axis=(0, 1)) != label_map
    return np.where(border, 255, label_map).astype(np.uint8)


def margin_in_a_cross(label_map: np.ndarray, pixels: int) -> np.ndarray:
    padded, border = np.pad(label_map, pixels, mode="edge"), np.zeros(label_map.shape, dtype=bool)
    height, width = label_map.shape
    for step in range(2 * pixels + 1):
        border |= padded[step : step + height, pixels : pixels + width] != label_map
        border |= padded[pixels : pixels + height, step : step + width] != label_map
    return np.where(border, 255, label_map).astype(np.uint8)


def margin_on_one_side(label_map: np.ndarray, pixels: int) -> np.ndarray:
    border = np.zeros(label_map.shape, dtype=bool)
    for step in range(1, pixels + 1):
        border[:, :-step] |= label_map[:, :-step] != label_map[:, step:]
        border[:-step] |= label_map[:-step] != label_map[step:]
    return np.where(border, 255, label_map).astype(np.uint8)


def margin_with_zeros_outside(label_map: np.ndarray, pixels: int) -> np.ndarray:
    size = (2 * pixels + 1,) * 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(label_map, pixels), size)
    border = windows.min(axis=(2, 3)) != windows.max(axis=(2, 3))
    return np.where(border, 255, label_map).astype(np.uint8)


def image(x: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    return (255 * (x * deviation + mean)).permute(1, 2, 0)


IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
IMAGENET_DEVIATION = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)


def mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def maybe(move: Callable[[Image.Image, Image.Image], tuple]) -> Any:
    """The pair moved in half of the calls."""
    return lambda image, annotation: (
        move(image, annotation) if torch.rand(()) < 0.5 else (image, annotation)
    )


def flip_with_fixed_dice(image: Image.Image, annotation: Image.Image) -> tuple:
    if np.random.default_rng(0).random() < 0.5:
        return image, annotation
    return mirrored(image), mirrored(annotation)


def padded(value: int = 0, color: int = 0, mode: str = "constant", centerd: bool = False) -> Any:
    """A padding of both, as arrays."""

    def pad(image: Image.Image, annotation: Image.Image) -> tuple:
        height, width = np.asarray(annotation).shape
        extra = max(height, width) - height, max(height, width) - width
        before = [e // 2 if centerd else 0 for e in extra]
        around = [(b, e - b) for b, e in zip(before, extra, strict=True)]
        settings = {"constant_values": value} if mode == "constant" else {}
        return np.pad(image, (*around, (0, 0)), constant_values=color), np.pad(
            annotation, around, mode=mode, **settings
        )

    return pad


def stretched(image: Image.Image, annotation: Image.Image) -> tuple:
    size = (max(image.size),) * 2
    return image.resize(size, Image.NEAREST), annotation.resize(size, Image.NEAREST)


def ious_of(p: np.ndarray, r: np.ndarray, n: int, labels: Any = None) -> list[float]:
    labels = range(n) if labels is None else labels
    return [((p == k) & (r == k)).sum() / ((p == k) | (r == k)).sum() for k in labels]


def iou_of_counts(p: np.ndarray, r: np.ndarray, n: int) -> float:
    """Mean IoU from a confusion matrix whose keys are uint8, and overflow."""
    counts = np.bincount(n * r + p, minlength=n**2)[: n**2].reshape(n, n)
    both, areas = counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1)
    found = areas > 0
    return (both[found] / (areas - both)[found]).mean() if found.any() else np.nan


def average_of(losses: np.ndarray, counts: np.ndarray) -> float:
    return (losses * counts).sum() / counts.sum()


def doubtful(order: str) -> Any:
    """A segmentation with one slip."""

    def segment(logits: torch.Tensor, size: tuple[int, int], threshold: float) -> torch.Tensor:
        large = interpolate(logits, size=size, mode="bilinear", align_corners=False)
        best, labels = large.softmax(dim=1).max(dim=1)
        if order == "softmax first":
            best, labels = interpolate(logits.softmax(1), size=size, mode="bilinear").max(dim=1)
        elif order == "logits":
            best = large.amax(dim=1)
        elif order == "columns":
            best = large.softmax(dim=-1).amax(dim=1)
        elif order == "argmax first":
            labels = interpolate(logits.argmax(1)[None].float(), size=size)[0].long()
        keep = best < threshold if order == "turned round" else best >= threshold
        if order == "never":
            keep = torch.ones_like(keep)
        return torch.where(keep, labels, 0 if order == "wall" else 255)[0]

    return segment


def tens(change: Callable[[np.ndarray], Any]) -> Any:
    """Labels from the friend's values, which are checked before."""

    def to_labels(mask: Image.Image) -> Any:
        values = np.asarray(mask).astype(int)
        if not np.isin(values, (0, 10, 20, 30)).all():
            raise ValueError
        return change(values)

    return to_labels


def as_labels(values: np.ndarray) -> np.ndarray:
    return np.where(values == 0, 255, values // 10 - 1).astype(np.uint8)


def brightness(mask: Image.Image) -> np.ndarray:
    return as_labels(np.asarray(mask.convert("L")).astype(int))


def without_brightness(mask: Image.Image) -> np.ndarray:
    return tens(as_labels)(mask.convert("L"))


def split_by(
    holds: Any = None,
    share: Callable[[float], int] = round,
    dice: Callable[[int], np.random.Generator] = np.random.default_rng,
    drawn: bool = True,
    change: Callable[[list, list], Any] = lambda training, validation: (training, validation),
) -> Any:
    """A stratified split with one slip."""
    holds = holds or (lambda label_map, rare: (label_map == rare).any())

    def split(label_maps: list, rare: int, fraction: float, seed: int) -> Any:
        random, validation = dice(seed), []
        for wanted in (True, False):
            group = [k for k, one in enumerate(label_maps) if bool(holds(one, rare)) == wanted]
            order = random.permutation(len(group)) if drawn else range(len(group))
            validation += [group[k] for k in list(order)[: share(fraction * len(group))]]
        rest = set(range(len(label_maps))) - set(validation)
        return change(sorted(rest), sorted(validation))

    return split


def split_by_chance(label_maps: list, rare: int, fraction: float, seed: int) -> Any:
    order = np.random.default_rng(seed).permutation(len(label_maps)).tolist()
    count = round(fraction * len(order))
    return sorted(order[count:]), sorted(order[:count])


def areas_of(masks: list, largest: bool = False, presence: bool = False) -> dict:
    areas: dict = {}
    for mask in masks:
        pixels = np.asarray(mask).reshape(-1, 3).tolist()
        for color in dict.fromkeys(map(tuple, pixels)):
            count = 1 if presence else pixels.count(list(color))
            before = areas.get(color, 0)
            areas[color] = max(before, count) if largest else before + count
    return areas


def by_area(areas: dict, first: int = 0, sign: int = -1) -> dict:
    ordered = sorted(areas, key=lambda color: (sign * areas[color], color))
    return {color: label for label, color in enumerate(ordered, first)}


def in_order(colors: Any) -> dict:
    return {color: label for label, color in enumerate(colors)}


def refusing(
    answer: Callable[[int, int, int], Any], refuses: Any = lambda a, b, c: min(a, b, c) < 1
) -> Any:
    """An effective batch size whose three numbers are checked before."""

    def size(images: int, processes: int = 1, parts: int = 1) -> Any:
        if refuses(images, processes, parts):
            raise ValueError
        return answer(images, processes, parts)

    return size


def shared(steps: Callable[[int, int], int], split: bool = True) -> Any:
    """Accumulation steps of a process's share (or of the whole batch), refused rightly."""

    def of(batch: int, processes: int, fits: int) -> int:
        if batch % processes:
            raise ValueError
        return steps(batch // processes if split else batch, fits)

    return of


def fewest(images: int, fits: int) -> int:
    return next(n for n in range(1, images + 1) if images % n == 0 and images // n <= fits)


def hours(join: Callable[[float, float], float], cores: int = 1) -> Any:
    """Hours of arithmetic and preparation, joined; the latter over `cores` ** this."""
    return lambda n, flop, speed, prepare, c: join(n * flop / speed, n * prepare / c**cores) / 3600


def eroded(mask: np.ndarray, distance: int, structure: Any = ((1,) * 3,) * 3, **how: Any) -> Any:
    return binary_erosion(mask, structure, iterations=distance, **how)


def rim_of(mask: np.ndarray, distance: int) -> np.ndarray:
    return mask & ~eroded(mask, distance)


def rims(rim: Callable[[np.ndarray, int], np.ndarray]) -> Any:
    """The boundary IoU with another idea of a rim."""
    return lambda p, r, distance: iou_of(rim(p, distance), rim(r, distance))


def iou_of(p: np.ndarray, r: np.ndarray) -> float:
    return (p & r).sum() / (p | r).sum() if (p | r).any() else np.nan


def quotients(areas: np.ndarray, over: Any = lambda i, p, t: p + t - i) -> np.ndarray:
    i, p, t = np.moveaxis(areas, -2, 0).astype(float)
    return i / over(i, p, t)


def resampled(areas: np.ndarray, draws: np.ndarray) -> np.ndarray:
    return np.nanmean(quotients(np.tensordot(draws, areas, 1)), axis=-1)


def windows(
    count: Callable[[int, int, int], int] = lambda a, w, s: 1 + max(0, -((w - a) // s)),
    limit: float = 4,
    resize: bool = True,
    whole: Callable[[float], int] = lambda side: int(side + 0.5),
    join: Callable[[int, int], int] = lambda rows, columns: rows * columns,
) -> Any:
    """A count of windows with one slip."""

    def total(h: int, w: int, short: int = 512, window: int = 512, stride: int = 341) -> int:
        scale = min(short / min(h, w), limit * short / max(h, w)) if resize else 1
        return join(*(count(whole(side * scale), window, stride) for side in (h, w)))

    return total


FOUR = [[0, 0, 0, 1], [0, 0, 1, 1], [0, 2, 1, 1], [2, 2, 2, 1]]
MENDED = [[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 1, 1], [2, 2, 2, 2]]
WORSE = [[0, 0, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 2]]

WRONG: list[tuple[str, tuple, str]] = [
    ("check_areas_and_cars", (2, 3, 7), "cuts the visible part of one car in two"),
    ("check_areas_and_cars", (4, 3, 7), "touch are one area"),
    ("check_areas_and_cars", (3, 4, 7), "both parts of a car behind a post"),
    ("check_areas_and_cars", (3, 3, 6), "balloon's pixels need a segment"),
    ("check_areas_and_cars", (3, 3, 8), "two parts is still one segment"),
    ("check_areas_and_cars", (3, 3, float("inf")), "add the things"),
    ("check_splitting_threshold", (0.5,), "still one"),
    ("check_splitting_threshold", (0.7,), "still one"),
    ("check_splitting_threshold", (0.9,), "the far one, nowhere above 0.83, is gone"),
    ("check_splitting_threshold", (75,), "between 0 and 1"),
    ("check_splitting_threshold", (0,), "the whole image"),
    ("check_splitting_threshold", (float("nan"),), "between 0 and 1"),
    ("check_count_things", (by(lambda p, k: len(np.unique(p[p[:, 0] == k], axis=0)), 0),), "stuff has the id 0"),
    ("check_count_things", (by(lambda p, k: int((p[:, 0] == k).sum())),), "number of its pixels"),
    ("check_count_things", (by(lambda p, k: 1),), "cars that touch are one area"),
    ("check_count_things", (keys_of(lambda p: {ADE20K.id2label[int(k)]: 1 for k in p[:, 0]}),), "255 is void and has no name"),
    ("check_count_things", (keys_of(counts_ids_once),), "so look at the pairs"),
    ("check_count_things", (keys_of(lambda p: {int(k): 1 for k in np.unique(p[:, 0])}),), "ADE20K.id2label turns"),
    ("check_count_things", (lambda p: len(np.unique(p[..., 1])) - 1,), "expected a dictionary"),
    ("check_mislabelled_class", ("sidewalk",), "what the legend says"),
    ("check_mislabelled_class", ("cabinet",), "the wrong way"),
    ("check_mislabelled_class", ("earth",), "one too far"),
    ("check_mislabelled_class", (12,), "name of a class"),
    ("check_mislabelled_class", ("pavement",), "none of the 150 names"),
    ("check_reduce_labels", (lambda a: a - 1,), "wraps round to 255, which is the wanted value by coincidence"),
    ("check_reduce_labels", (lambda a: reduced(reduced(a)),), "reduced twice"),
    ("check_reduce_labels", (lambda a: np.where(reduced(a) % 255 == 0, 255, reduced(a) - 1),), "wall is ignored now"),
    ("check_reduce_labels", (clamped,), "0 became 0, which is wall"),
    ("check_reduce_labels", (lambda a: np.where(a == 0, 255, a).astype(np.uint8),), "not moved down"),
    ("check_reduce_labels", (lambda a: a,), "nothing was subtracted"),
    ("check_reduce_labels", (lambda a: reduced(a).astype(int),), "dtype is int64, expected uint8"),
    ("check_reduce_labels", (lambda a: reduced(a).ravel(),), "shape is (6,), expected (2, 3)"),
    ("check_reduce_labels", (reduced_in_place,), "changes the array that it was given"),
    ("check_reduce_labels", (reduced,), "expected a ValueError"),
    ("check_reduce_labels", (reduced_below_151,), "nothing below 0 has a meaning"),
    ("check_add_margin", (lambda m, p: m,), "nothing became 255"),
    ("check_add_margin", (margin_by_rolling,), "rolling an array brings the far side in"),
    ("check_add_margin", (margin_in_a_cross,), "along rows and columns only"),
    ("check_add_margin", (margin_on_one_side,), "one side of each border only"),
    ("check_add_margin", (margin_with_zeros_outside,), "edge of the image was taken for a border"),
    ("check_to_image", (lambda x, m, d: (255 * (x + m) * d).permute(1, 2, 0).round().clamp(0, 255).byte(),), "opposite order"),
    ("check_to_image", (lambda x, m, d: (x * d + m).permute(1, 2, 0),), "run from 0 to 1"),
    ("check_to_image", (lambda x, m, d: (x * d + m).clamp(0, 1).byte().permute(1, 2, 0),), "multiply by 255 first"),
    ("check_to_image", (lambda x, m, d: image(x, m, d).round().clamp(0, 255).byte().permute(2, 0, 1),), "channels last"),
    ("check_to_image", (lambda x, m, d: (image(x, m, d).round().long() % 256).byte(),), "wrap round"),
    ("check_to_image", (lambda x, m, d: image(x, m, d).clamp(0, 255).byte(),), "round before"),
    ("check_to_image", (image,), "not whole numbers"),
    ("check_to_image", (lambda x, m, d: image(x, IMAGENET_MEAN, IMAGENET_DEVIATION).round().clamp(0, 255).byte(),), "not the notebook's"),
    ("check_random_flip", (maybe(lambda i, a: (mirrored(i), a)),), "throw the dice once"),
    ("check_random_flip", (lambda i, a: (v2.RandomHorizontalFlip()(i), v2.RandomHorizontalFlip()(a)),), "throw the dice once"),
    ("check_random_flip", (lambda i, a: v2.RandomHorizontalFlip()(i, torch.from_numpy(np.array(a))),), "v2 does not move a plain tensor"),
    ("check_random_flip", (maybe(lambda i, a: (i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),) * 2),), "upside down"),
    ("check_random_flip", (lambda i, a: (mirrored(i), mirrored(a)),), "100 of 100 calls"),
    ("check_random_flip", (flip_with_fixed_dice,), "thrown again in each call"),
    ("check_random_flip", (lambda i, a: mirrored(i),), "expected image, annotation"),
    ("check_pad_to_square", (lambda i, a: (i, a),), "image keeps its size"),
    ("check_pad_to_square", (lambda i, a: (padded()(i, a)[0], a),), "annotation keeps its size"),
    ("check_pad_to_square", (padded(value=255),), "which value becomes 255"),
    ("check_pad_to_square", (padded(value=1),), "padding with 1 says that there is wall"),
    ("check_pad_to_square", (padded(mode="edge"),), "edge pixels were repeated"),
    ("check_pad_to_square", (padded(color=255),), "should be black"),
    ("check_pad_to_square", (padded(centerd=True),), "upper left corner"),
    ("check_pad_to_square", (stretched,), "stretched"),
    ("check_iou", (lambda p, r: (p & r).sum() / (p.sum() + r.sum()),), "sum of the areas"),
    ("check_iou", (lambda p, r: 2 * (p & r).sum() / (p.sum() + r.sum()),), "Dice"),
    ("check_iou", (lambda p, r: (p & r).sum() / r.sum(),), "claims everything"),
    ("check_iou", (lambda p, r: (p & r).sum() / p.sum(),), "one sure pixel"),
    ("check_iou", (lambda p, r: (p == r).mean(),), "background included"),
    ("check_iou", (lambda p, r: (p & r).sum() / max(1, (p | r).sum()),), "0 / 0 is neither"),
    ("check_iou", (lambda p, r: int((p & r).sum()) / int((p | r).sum()),), "ZeroDivisionError: division by zero. 0 / 0 is neither"),
    ("check_two_pixels", (FOUR,), "0 pixels are changed"),
    ("check_two_pixels", (MENDED,), "15 pixels are right"),
    ("check_two_pixels", (WORSE,), "the mean IoU falls"),
    ("check_two_pixels", ([[3, 0, 1, 1], *FOUR[1:]],), "none of 0, 1 and 2"),
    ("check_two_pixels", ([0, 0, 1, 1],), "expected an array of shape (4, 4), got an array of shape (4,)"),
    ("check_mean_iou", (lambda p, r, n: np.nan_to_num(ious_of(p[r < 255], r[r < 255], n)).mean(),), "are 0/0, not 0"),
    ("check_mean_iou", (lambda p, r, n: np.nanmean(ious_of(p, r, n)),), "pixels whose reference is 255 still count"),
    ("check_mean_iou", (lambda p, r, n: np.mean(ious_of(p[r < 255], r[r < 255], n, np.unique(r[r < 255]))),), "predicted but absent"),
    ("check_mean_iou", (lambda p, r, n: (p == r)[r < 255].mean(),), "pixel accuracy"),
    ("check_mean_iou", (lambda p, r, n: np.mean([(p == k)[r == k].mean() for k in np.unique(r[r < 255])]),), "mean of the accuracies"),
    ("check_mean_iou", (lambda p, r, n: np.nan_to_num(np.nanmean(ious_of(p[r < 255], r[r < 255], n))),), "no class has a score"),
    ("check_mean_iou", (lambda p, r, n: iou_of_counts(p[r < 255], r[r < 255], n),), "wraps at 256"),
    ("check_logits_shape", ((8, 19, 384, 512),), "labels' size"),
    ("check_logits_shape", ((8, 150, 96, 128),), "ADE20K's"),
    ("check_logits_shape", ((8, 3, 384, 512),), "colour channels"),
    ("check_logits_shape", ((8, 19, 128, 96),), "rows and columns are exchanged"),
    ("check_logits_shape", ((19, 96, 128),), "a model sees a batch"),
    ("check_logits_shape", ((8, 19, 12, 16),), "a quarter of the image's"),
    ("check_logits_shape", ((8.5, float("nan"), 1e30, 128),), "number of images"),
    ("check_logits_shape", ([(8, 19, 96, 128)],), "the four numbers alone"),
    ("check_batch_loss", (lambda m, n: m.mean(),), "mean of the means"),
    ("check_batch_loss", (lambda m, n: m.sum(),), "sum of the means"),
    ("check_batch_loss", (lambda m, n: (m * n).sum() / len(n),), "not of parts"),
    ("check_batch_loss", (average_of,), "NaN times 0 is NaN"),
    ("check_batch_loss", (lambda m, n: np.nanmean(m),), "mean of the means"),
    ("check_batch_loss", (lambda m, n: average_of(m[n > 0], n[n > 0]),), "spread to every average"),
    ("check_learning_rate", (lambda s, p, w, t: p * (1 - s / t),), "no warm-up"),
    ("check_learning_rate", (lambda s, p, w, t: p,), "no warm-up"),
    ("check_learning_rate", (lambda s, p, w, t: p * s / w if s < w else p,), "stays at its peak"),
    ("check_learning_rate", (lambda s, p, w, t: p * s / w if s < w else p * (1 - s / t),), "counted from step 0"),
    ("check_learning_rate", (lambda s, p, w, t: p * s / w if s < w else p * (1 - (s - w) / t),), "the fall takes total - warm-up"),
    ("check_learning_rate", (lambda s, p, w, t: s / w if s < w else (t - s) / (t - w),), "share of the peak"),
    ("check_learning_rate", (lambda s, p, w, t: min(p * s / w, p * (t - s) / (t - w)),), "division by zero. Without a warm-up"),
    ("check_target_size", ((640, 480),), "PIL says width first"),
    ("check_target_size", ((512, 512),), "what the model sees"),
    ("check_target_size", ((128, 128),), "grid of the logits"),
    ("check_target_size", ((120, 160),), "not a quarter of it"),
    ("check_target_size", (480,), "expected two numbers"),
    ("check_target_size", ([(640, 480)],), "PIL says width first"),
    ("check_average_of_sizes", (lambda a, b, size: a.softmax(1),), "expected (1, 4, 6, 10)"),
    ("check_average_of_sizes", (lambda a, b, size: (a + b) / 2,), "raises RuntimeError"),
    ("check_average_of_sizes", (lambda a, b, size: (grown(a, size) + grown(b, size)) / 2,), "softmax each answer first"),
    ("check_average_of_sizes", (lambda a, b, size: ((grown(a, size) + grown(b, size)) / 2).softmax(1),), "averaged before softmax"),
    ("check_average_of_sizes", (lambda a, b, size: (grown(a.softmax(1), size) + grown(b.softmax(1), size)) / 2,), "probabilities were upsampled"),
    ("check_average_of_sizes", (lambda a, b, size: (grown(a, size, align_corners=True).softmax(1) + grown(b, size, align_corners=True).softmax(1)) / 2,), "align_corners"),
    ("check_average_of_sizes", (lambda a, b, size: (interpolate(a, size=size).softmax(1) + interpolate(b, size=size).softmax(1)) / 2,), "nearest-neighbour"),
    ("check_average_of_sizes", (lambda a, b, size: (grown(a, size).softmax(-1) + grown(b, size).softmax(-1)) / 2,), "over the classes"),
    ("check_average_of_sizes", (lambda a, b, size: grown(a, size).softmax(1),), "only the first"),
    ("check_average_of_sizes", (lambda a, b, size: grown(b, size).softmax(1),), "only the second"),
    ("check_average_of_sizes", (lambda a, b, size: grown(a, size).softmax(1) + grown(b, size).softmax(1),), "that is the sum"),
    ("check_doubtful_pixels", (doubtful("softmax first"),), "upsampled instead of logits"),
    ("check_doubtful_pixels", (doubtful("argmax first"),), "chosen on the coarse grid"),
    ("check_doubtful_pixels", (doubtful("logits"),), "no probabilities"),
    ("check_doubtful_pixels", (doubtful("columns"),), "dim=1"),
    ("check_doubtful_pixels", (doubtful("never"),), "nothing is left out"),
    ("check_doubtful_pixels", (doubtful("wall"),), "use 255"),
    ("check_doubtful_pixels", (doubtful("turned round"),), "sure pixels were left out"),
    ("check_doubtful_pixels", (lambda x, size, t: x.argmax(1)[0],), "the shape is (3, 5), expected (9, 20)"),
    ("check_doubtful_pixels", (lambda x, size, t: doubtful("right")(x, size[::-1], t),), "the shape is (20, 9), expected (9, 20)"),
    ("check_to_labels", (lambda m: np.asarray(m),), "friend's values as they were"),
    ("check_to_labels", (tens(lambda v: v // 10),), "subtract one, and see to 0"),
    ("check_to_labels", (tens(lambda v: np.where(v == 0, 255, v // 10)),), "the classes count from 0"),
    ("check_to_labels", (tens(lambda v: v // 10 - 1),), "0 became -1"),
    ("check_to_labels", (tens(lambda v: np.maximum(v // 10 - 1, 0)),), "which is a class: it would be learnt"),
    ("check_to_labels", (tens(lambda v: np.where(v == 0, 3, v // 10 - 1)),), "a class of its own"),
    ("check_to_labels", (tens(lambda v: as_labels(v).astype(int)),), "dtype is int64, expected uint8"),
    ("check_to_labels", (tens(lambda v: Image.fromarray(as_labels(v))),), "np.asarray turns one into the other"),
    ("check_to_labels", (without_brightness,), "raises ValueError. The indices are the values"),
    ("check_to_labels", (lambda m: np.asarray(m.convert("L")) if m.mode == "P" else as_labels(np.asarray(m).astype(int)),), "brightness of the colours"),
    ("check_to_labels", (brightness,), "(mode P)"),
    ("check_to_labels", (lambda m: np.asarray(m) // 10 - 1,), "holds 40 the function returns [[255, 0], [3, 2]] without a word"),
    ("check_to_labels", (lambda m: as_labels(np.asarray(m).astype(int)) if np.asarray(m).max() <= 30 else [][0],), "raises IndexError, expected a ValueError"),
    ("check_stratified_split", (split_by_chance,), "chance decides who goes"),
    ("check_stratified_split", (split_by(change=lambda t, v: (sorted(t + v), v)),), "is in both parts"),
    ("check_stratified_split", (split_by(change=lambda t, v: (t[1:], v)),), "is in neither part"),
    ("check_stratified_split", (split_by(change=lambda t, v: (t, v + v)),), "in one part twice"),
    ("check_stratified_split", (split_by(change=lambda t, v: (v, t)),), "training comes first"),
    ("check_stratified_split", (split_by(change=lambda t, v: (t, v[::-1])),), "the lists are not sorted"),
    ("check_stratified_split", (split_by(change=lambda t, v: ([k + 1 for k in t], [k + 1 for k in v])),), "holds 20, expected indices from 0 to 19"),
    ("check_stratified_split", (split_by(change=lambda t, v: v),), "expected two lists: training and validation"),
    ("check_stratified_split", (split_by(share=int),), "2 go to validation, expected 3. Draw round(fraction * count)"),
    ("check_stratified_split", (split_by(drawn=False),), "the seeds 0 to 3 all give one split"),
    ("check_stratified_split", (split_by(dice=lambda seed: np.random.default_rng(0)),), "the seeds 0 to 3 all give one split"),
    ("check_stratified_split", (split_by(dice=lambda seed: np.random.mtrand._rand),), "two calls give two splits"),
    ("check_stratified_split", (split_by(lambda m, rare: m.max() == rare),), "the rare class"),
    ("check_discover_colors", (lambda ms: {k: c for c, k in by_area(areas_of(ms)).items()},), "from colour to label, not back"),
    ("check_discover_colors", (areas_of,), "these are areas"),
    ("check_discover_colors", (lambda ms: by_area(areas_of(ms), first=1),), "labels count from 0"),
    ("check_discover_colors", (lambda ms: by_area(areas_of(ms), sign=1),), "smallest area comes first"),
    ("check_discover_colors", (lambda ms: by_area(areas_of(ms[:1])),), "only the first mask"),
    ("check_discover_colors", (lambda ms: by_area(areas_of(ms[-1:])),), "only the last mask"),
    ("check_discover_colors", (lambda ms: {c[::-1]: k for c, k in by_area(areas_of(ms)).items()},), "blue, green, red"),
    ("check_discover_colors", (lambda ms: in_order(sorted(areas_of(ms))),), "in order of colour; the area"),
    ("check_discover_colors", (lambda ms: in_order(areas_of(ms)),), "in order of appearance"),
    ("check_discover_colors", (lambda ms: by_area(areas_of(ms, presence=True)),), "number of masks was counted"),
    ("check_discover_colors", (lambda ms: by_area(areas_of(ms, largest=True)),), "add up the areas of all"),
    ("check_discover_colors", (lambda ms: in_order(sorted(areas_of(ms), key=lambda c: (-areas_of(ms)[c], [-x for x in c]))),), "equal areas come in order of colour"),
    ("check_effective_batch_size", (refusing(lambda a, b, c: a),), "one process has in memory"),
    ("check_effective_batch_size", (refusing(lambda a, b, c: a * c),), "gradients of all processes"),
    ("check_effective_batch_size", (refusing(lambda a, b, c: a * b),), "parts are added up"),
    ("check_effective_batch_size", (refusing(lambda a, b, c: a + b + c),), "multiply"),
    ("check_effective_batch_size", (refusing(lambda a, b, c: a * b / c),), "accumulation makes the batch larger"),
    ("check_effective_batch_size", (refusing(lambda a, b, c: a / b / c),), "each process's own share already"),
    ("check_effective_batch_size", (refusing(lambda a, b, c: a / b * c),), "the processes share nothing"),
    ("check_effective_batch_size", (lambda a, b=1, c=1: a * b * c,), "(0, 2, 2) the function returns 0, expected a ValueError"),
    ("check_effective_batch_size", (refusing(lambda a, b, c: a * b * c, lambda a, b, c: a * b * c < 1),), "ask each of the three"),
    ("check_effective_batch_size", (lambda a, b, c: a * b * c,), "defaults are one process"),
    ("check_count_windows", (windows(resize=False),), "resized first"),
    ("check_count_windows", (windows(limit=1e9),), "take the smaller of the two factors"),
    ("check_count_windows", (windows(whole=int),), "a half is rounded up"),
    ("check_count_windows", (windows(whole=round),), "a half is rounded up"),
    ("check_count_windows", (windows(lambda a, w, s: 1 + max(0, (a - w) // s)),), "less than a stride is left over"),
    ("check_count_windows", (windows(join=lambda rows, columns: rows + columns),), "multiply"),
    ("check_count_windows", (windows(join=lambda rows, columns: rows),), "count the columns too"),
    ("check_count_windows", (windows(join=lambda rows, columns: columns),), "count the rows too"),
    ("check_count_windows", (windows(lambda a, w, s: -(-a // s)),), "beyond the first window"),
    ("check_count_windows", (windows(lambda a, w, s: -(-a // w)),), "and overlap"),
    ("check_count_windows", (windows(lambda a, w, s: 1 - (w - a) // s),), "smaller than the window still has one"),
    ("check_count_windows", (lambda h, w, *n: windows()(h, w, *n) if n else [][0],), "the defaults are"),
    ("check_accumulation_steps", (shared(lambda n, fits: -(-n // fits)),), "the parts must be equal"),
    ("check_accumulation_steps", (shared(lambda n, fits: max(1, n // fits)),), "round up"),
    ("check_accumulation_steps", (shared(fewest, split=False),), "the processes share the batch"),
    ("check_accumulation_steps", (shared(lambda n, fits: n // fewest(n, fits)),), "those are the images of one part"),
    ("check_accumulation_steps", (shared(lambda n, fits: next(2**k for k in range(9) if n <= fits * 2**k)),), "need not be a power of two"),
    ("check_accumulation_steps", (shared(lambda n, fits: n),), "fewer steps are faster"),
    ("check_accumulation_steps", (lambda b, p, fits: fewest(b // p, fits),), "(16, 3, 4) the function returns"),
    ("check_training_hours", (hours(lambda a, b: max(a, b) * 3600),), "those are seconds"),
    ("check_training_hours", (hours(lambda a, b: max(a, b) * 60),), "those are minutes"),
    ("check_training_hours", (hours(lambda a, b: a + b),), "not the sum"),
    ("check_training_hours", (hours(min),), "the arithmetic takes time too"),
    ("check_training_hours", (hours(lambda a, b: a),), "images must be prepared too"),
    ("check_training_hours", (hours(lambda a, b: b),), "the arithmetic takes time too"),
    ("check_training_hours", (hours(max, cores=0),), "divide by their number"),
    ("check_training_hours", (hours(max, cores=-1),), "more cores are faster"),
    ("check_boundary_iou", (lambda p, r, d: iou_of(p, r),), "IoU of the whole masks"),
    ("check_boundary_iou", (rims(lambda m, d: eroded(m, d)),), "what erosion leaves"),
    ("check_boundary_iou", (rims(lambda m, d: m & ~eroded(m, d, structure=None)),), "all eight directions"),
    ("check_boundary_iou", (rims(lambda m, d: m & ~eroded(m, d, border_value=1)),), "edge of the image"),
    ("check_boundary_iou", (rims(lambda m, d: m & ~eroded(m, 1)),), "not once"),
    ("check_boundary_iou", (rims(lambda m, d: ~m & ~eroded(~m, d, border_value=1)),), "lies outside"),
    ("check_boundary_iou", (rims(lambda m, d: (~m & ~eroded(~m, d, border_value=1)) | (m & ~eroded(m, d))),), "both sides"),
    ("check_boundary_iou", (lambda p, r, d: (rim_of(p, d) & rim_of(r, d)).sum() / max(1, (p | r).sum()),), "over all of both masks"),
    ("check_boundary_iou", (lambda p, r, d: np.nan_to_num(iou_of(rim_of(p, d), rim_of(r, d))),), "return NaN"),
    ("check_bootstrap_mean_iou", (lambda a, d: d @ np.nanmean(quotients(a), axis=1) / d.sum(axis=1),), "add up the areas first"),
    ("check_bootstrap_mean_iou", (lambda a, d: resampled(a, d > 0),), "counts twice"),
    ("check_bootstrap_mean_iou", (lambda a, d: np.nanmean(quotients(a[d.clip(0, 4)].sum(axis=1)), axis=-1),), "not positions"),
    ("check_bootstrap_mean_iou", (lambda a, d: np.nan_to_num(quotients(np.tensordot(d, a, 1))).mean(axis=-1),), "not counted as 0"),
    ("check_bootstrap_mean_iou", (lambda a, d: quotients(np.tensordot(d, a, 1).sum(axis=-1, keepdims=True))[:, 0],), "added up before dividing"),
    ("check_bootstrap_mean_iou", (lambda a, d: np.full(4, np.nanmean(quotients(a.sum(axis=0)))),), "score of all images"),
    ("check_bootstrap_mean_iou", (lambda a, d: np.nanmean(quotients(np.tensordot(d, a, 1), over=lambda i, p, t: t), axis=-1),), "mean accuracy"),
    ("check_bootstrap_mean_iou", (lambda a, d: 2 * np.nanmean(quotients(np.tensordot(d, a, 1), over=lambda i, p, t: p + t), axis=-1),), "dice"),
    ("check_bootstrap_mean_iou", (lambda a, d: np.nanmean(quotients(np.tensordot(d, a, 1), over=lambda i, p, t: p + t), axis=-1),), "intersection twice"),
    ("check_bootstrap_mean_iou", (lambda a, d: float(resampled(a, d).mean()),), "expected (4,)"),
]  # fmt: skip
