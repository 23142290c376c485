"""Wrong answers to the exercises, each with a part of the hint that it deserves."""

# ruff: noqa: E501 - a table reads best with one answer in a line

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torchvision.transforms import v2

from helpers.ade20k import ID2LABEL


def keys_of(answer: Callable[[np.ndarray], dict]) -> Callable[[np.ndarray], dict]:
    """A count of things from a function of all (class, id) pairs of pixels."""
    return lambda panoptic: answer(panoptic.reshape(-1, 2))


def by(counted: Callable[[np.ndarray, int], int], ids_from: int = 1) -> Any:
    """Counts for each class that has a pixel whose id is at least `ids_from`."""

    def count(pairs: np.ndarray) -> dict[str, int]:
        classes = {int(label) for label, number in pairs if number >= ids_from}
        return {ID2LABEL.get(k, "(no class)"): counted(pairs, k) for k in classes}

    return keys_of(count)


def counts_ids_once(pairs: np.ndarray) -> dict[str, int]:
    """Each id belongs to the first class that has it."""
    counts: dict[str, int] = {}
    for number in np.unique(pairs[:, 1]):
        if number:
            name = ID2LABEL[int(pairs[pairs[:, 1] == number][0, 0])]
            counts[name] = counts.get(name, 0) + 1
    return counts


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


def picture(x: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    return (255 * (x * deviation + mean)).permute(1, 2, 0)


IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1)
IMAGENET_DEVIATION = torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)


def mirrored(picture: Image.Image) -> Image.Image:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def maybe(move: Callable[[Image.Image, Image.Image], tuple]) -> Any:
    """The pair moved in half of the calls."""
    return lambda image, annotation: (
        move(image, annotation) if torch.rand(()) < 0.5 else (image, annotation)
    )


def flip_with_fixed_dice(image: Image.Image, annotation: Image.Image) -> tuple:
    if np.random.default_rng(0).random() < 0.5:
        return image, annotation
    return mirrored(image), mirrored(annotation)


def padded(value: int = 0, colour: int = 0, mode: str = "constant", centred: bool = False) -> Any:
    """A padding of both, as arrays."""

    def pad(image: Image.Image, annotation: Image.Image) -> tuple:
        height, width = np.asarray(annotation).shape
        extra = max(height, width) - height, max(height, width) - width
        before = [e // 2 if centred else 0 for e in extra]
        around = [(b, e - b) for b, e in zip(before, extra, strict=True)]
        settings = {"constant_values": value} if mode == "constant" else {}
        return np.pad(image, (*around, (0, 0)), constant_values=colour), np.pad(
            annotation, around, mode=mode, **settings
        )

    return pad


def stretched(image: Image.Image, annotation: Image.Image) -> tuple:
    size = (max(image.size),) * 2
    return image.resize(size, Image.NEAREST), annotation.resize(size, Image.NEAREST)


def ious_of(p: np.ndarray, r: np.ndarray, n: int, labels: Any = None) -> list[float]:
    labels = range(n) if labels is None else labels
    return [((p == k) & (r == k)).sum() / ((p == k) | (r == k)).sum() for k in labels]


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
    ("check_splitting_threshold", (0,), "the whole picture"),
    ("check_splitting_threshold", (float("nan"),), "between 0 and 1"),
    ("check_count_things", (by(lambda p, k: len(np.unique(p[p[:, 0] == k], axis=0)), 0),), "stuff has the id 0"),
    ("check_count_things", (by(lambda p, k: int((p[:, 0] == k).sum())),), "number of its pixels"),
    ("check_count_things", (by(lambda p, k: 1),), "cars that touch are one area"),
    ("check_count_things", (keys_of(counts_ids_once),), "so look at the pairs"),
    ("check_count_things", (keys_of(lambda p: {int(k): 1 for k in np.unique(p[:, 0])}),), "ID2LABEL turns"),
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
    ("check_add_margin", (lambda m, p: m,), "nothing became 255"),
    ("check_add_margin", (margin_by_rolling,), "rolling an array brings the far side in"),
    ("check_add_margin", (margin_in_a_cross,), "along rows and columns only"),
    ("check_add_margin", (margin_on_one_side,), "one side of each border only"),
    ("check_add_margin", (margin_with_zeros_outside,), "edge of the picture was taken for a border"),
    ("check_to_picture", (lambda x, m, d: (255 * (x + m) * d).permute(1, 2, 0).round().clamp(0, 255).byte(),), "opposite order"),
    ("check_to_picture", (lambda x, m, d: (x * d + m).permute(1, 2, 0),), "run from 0 to 1"),
    ("check_to_picture", (lambda x, m, d: (x * d + m).clamp(0, 1).byte().permute(1, 2, 0),), "multiply by 255 first"),
    ("check_to_picture", (lambda x, m, d: picture(x, m, d).round().clamp(0, 255).byte().permute(2, 0, 1),), "channels last"),
    ("check_to_picture", (lambda x, m, d: (picture(x, m, d).round().long() % 256).byte(),), "wrap round"),
    ("check_to_picture", (lambda x, m, d: picture(x, m, d).clamp(0, 255).byte(),), "round before"),
    ("check_to_picture", (picture,), "not whole numbers"),
    ("check_to_picture", (lambda x, m, d: picture(x, IMAGENET_MEAN, IMAGENET_DEVIATION).round().clamp(0, 255).byte(),), "not the notebook's"),
    ("check_random_flip", (maybe(lambda i, a: (mirrored(i), a)),), "throw the dice once"),
    ("check_random_flip", (lambda i, a: (v2.RandomHorizontalFlip()(i), v2.RandomHorizontalFlip()(a)),), "throw the dice once"),
    ("check_random_flip", (lambda i, a: v2.RandomHorizontalFlip()(i, torch.from_numpy(np.array(a))),), "v2 does not move a plain tensor"),
    ("check_random_flip", (maybe(lambda i, a: (i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),) * 2),), "upside down"),
    ("check_random_flip", (lambda i, a: (mirrored(i), mirrored(a)),), "100 of 100 calls"),
    ("check_random_flip", (flip_with_fixed_dice,), "thrown anew in each call"),
    ("check_random_flip", (lambda i, a: mirrored(i),), "expected picture, annotation"),
    ("check_pad_to_square", (lambda i, a: (i, a),), "picture keeps its size"),
    ("check_pad_to_square", (lambda i, a: (padded()(i, a)[0], a),), "annotation keeps its size"),
    ("check_pad_to_square", (padded(value=255),), "which value becomes 255"),
    ("check_pad_to_square", (padded(value=1),), "padding with 1 says that there is wall"),
    ("check_pad_to_square", (padded(mode="edge"),), "edge pixels were repeated"),
    ("check_pad_to_square", (padded(colour=255),), "should be black"),
    ("check_pad_to_square", (padded(centred=True),), "upper left corner"),
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
    ("check_logits_shape", ((8, 19, 384, 512),), "labels' size"),
    ("check_logits_shape", ((8, 150, 96, 128),), "ADE20K's"),
    ("check_logits_shape", ((8, 3, 384, 512),), "colour channels"),
    ("check_logits_shape", ((8, 19, 128, 96),), "rows and columns are exchanged"),
    ("check_logits_shape", ((19, 96, 128),), "a model sees a batch"),
    ("check_logits_shape", ((8, 19, 12, 16),), "a quarter of the picture's"),
    ("check_logits_shape", ((8.5, float("nan"), 1e30, 128),), "number of pictures"),
    ("check_batch_loss", (lambda m, n: m.mean(),), "mean of the means"),
    ("check_batch_loss", (lambda m, n: m.sum(),), "sum of the means"),
    ("check_batch_loss", (lambda m, n: (m * n).sum() / len(n),), "not of parts"),
    ("check_batch_loss", (average_of,), "NaN times 0 is NaN"),
    ("check_batch_loss", (lambda m, n: np.nanmean(m),), "mean of the means"),
    ("check_batch_loss", (lambda m, n: average_of(m[n > 0], n[n > 0]),), "NaN would ruin them all"),
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
    ("check_mirror_average", (lambda a, b: (a + b) / 2,), "not flipped back"),
    ("check_mirror_average", (lambda a, b: (a + b.flip(-2)) / 2,), "upside down"),
    ("check_mirror_average", (lambda a, b: (a + b.flip(1)) / 2,), "classes were flipped"),
    ("check_mirror_average", (lambda a, b: (a.flip(-1) + b) / 2,), "the wrong one"),
    ("check_mirror_average", (lambda a, b: a + b.flip(-1),), "that is the sum"),
    ("check_mirror_average", (lambda a, b: (a + b.flip(-1)).argmax(1),), "the shape is (1, 2, 4), expected (1, 3, 2, 4)"),
    ("check_doubtful_pixels", (doubtful("softmax first"),), "enlarged instead of logits"),
    ("check_doubtful_pixels", (doubtful("argmax first"),), "chosen on the coarse grid"),
    ("check_doubtful_pixels", (doubtful("logits"),), "no probabilities"),
    ("check_doubtful_pixels", (doubtful("columns"),), "dim=1"),
    ("check_doubtful_pixels", (doubtful("never"),), "nothing is left out"),
    ("check_doubtful_pixels", (doubtful("wall"),), "use 255"),
    ("check_doubtful_pixels", (doubtful("turned round"),), "sure pixels were left out"),
    ("check_doubtful_pixels", (lambda x, size, t: x.argmax(1)[0],), "the shape is (3, 5), expected (9, 20)"),
    ("check_doubtful_pixels", (lambda x, size, t: doubtful("right")(x, size[::-1], t),), "the shape is (20, 9), expected (9, 20)"),
]  # fmt: skip
