"""Images with sliders: each function returns an `Explorer`, a cell's last value.

In all of them `image` is a PIL image, a label map is (height, width) label ids or 255, of the
image's size, and `labels` says what the label ids mean; where it is no argument, they are ADE20K's.
Where no kernel runs, as on GitHub, the same output is a still image. What is told below the images
is in the notebook's language, the lettering of controls and images is English.
"""

from __future__ import annotations

import base64
import html
import io
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets
import numpy as np
import torch
from ipywidgets import Dropdown, FloatSlider, IntSlider
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageOps
from scipy import ndimage
from torch.nn.functional import interpolate
from torchvision import tv_tensors

from helpers import visualize
from helpers.images import load_image
from helpers.labels import ADE20K, IGNORE_INDEX, Labels
from helpers.language import in_english, say
from helpers.visualize import largest_labels, overlay, paint_segments, show_images

# Near-white, blue and orange: told apart by color-blind eyes and on a grey print alike.
_PARTS = Labels(
    ["in both: intersection", "in the mask only", "in the moved mask only"],
    [(245, 245, 245), (0, 90, 160), (230, 159, 0)],
)
_SHARE = {"min": 0.0, "max": 1.0, "step": 0.05}
# Images by title, the label ids of their legend, one or two sentences on what they show.
Shown = tuple[Mapping[str, Image.Image], Sequence[int], str]


class Explorer:
    """Controls, and what `draw` makes of their values whenever one changes, as one output.

    It needs only what ipywidgets 7.7 and 8 have in common. `sentence` is for whoever has neither
    the widgets nor the still image.
    """

    def __init__(
        self, controls: dict[str, Any], draw: Callable[..., Shown], sentence: str, labels: Labels
    ) -> None:
        self.controls, self._draw, self._sentence, self._labels = controls, draw, sentence, labels
        self.titles, self.images, self.told = [], [], ipywidgets.HTML()
        self._follow()
        row = ipywidgets.HBox([*controls.values()], layout={"flex_flow": "row wrap"})
        panels = map(ipywidgets.VBox, zip(self.titles, self.images, strict=True))
        self.view = ipywidgets.VBox([row, ipywidgets.HBox([*panels]), self.told])
        for control in controls.values():
            control.style.description_width = "initial"
            control.observe(self._follow, names="value")

    def _follow(self, change: Any = None) -> None:
        images, legend, words = self._draw(**self._values())
        for number, (title, image) in enumerate(images.items()):
            if number == len(self.images):
                self.titles.append(ipywidgets.Label())
                self.images.append(ipywidgets.Image(layout={"max_width": "100%"}))
            self.titles[number].value = title
            self.images[number].value = _png(_scaled(image, 960 // len(images)))
        entries = ""
        for label in legend:
            color = tuple(self._labels.palette[label].tolist())
            entries += f'<span style="background: rgb{color}; border: 1px solid">&emsp;</span> '
            entries += f"{html.escape(self._labels.short_names[label])}&emsp;"
        # A status is read aloud by a screen reader whenever it changes.
        self.told.value = f'{entries}<p role="status">{html.escape(words)}</p>'

    def _values(self) -> dict[str, Any]:
        return {name: control.value for name, control in self.controls.items()}

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        with in_english():
            images, legend, words = self._draw(**self._values())
        figure = show_images(images, legend, len(images), width=9.6, labels=self._labels)
        figure.savefig(buffer := io.BytesIO(), dpi=100, bbox_inches="tight")
        upper = Image.open(buffer).convert("RGB")
        names = ", ".join(control.description.lower() for control in self.controls.values())
        note = f"Still image. Run this cell in Jupyter to change: {names}."
        lines = [*textwrap.wrap(words, 140), note]
        still = ImageOps.expand(upper, (0, 0, 0, 20 * len(lines)), "white")
        pen = ImageDraw.Draw(still)
        pen.text((10, upper.height), "\n".join(lines), "black", font_size=14)
        # From the model's id, since widgets of ipywidgets 7 have no bundle of their own to extend.
        view = {"version_major": 2, "version_minor": 0, "model_id": self.view.model_id}
        return {
            "text/plain": self._sentence,
            "image/png": base64.b64encode(_png(still)).decode(),
            "application/vnd.jupyter.widget-view+json": view,
        }


def explore_overlay(
    image: Image.Image, label_maps: Mapping[str, np.ndarray], labels: Labels = ADE20K
) -> Explorer:
    """Lay label maps over their image: a slider for the opacity, a list to pick one class.

    Of two `label_maps`, by title, the first is taken as the truth, the second has a class at every
    pixel, and the IoU of the class that is picked is told.
    """
    image, maps = load_image(image), {name: np.asarray(one) for name, one in label_maps.items()}
    found = largest_labels(*maps.values(), most=labels.num_labels)

    def draw(opacity: float, label: int) -> Shown:
        images = {"image": image}
        if label < 0:
            images |= {name: overlay(image, one, opacity, labels) for name, one in maps.items()}
            text = "Opacity {opacity:.0%}. {count} classes, each in its colour."
            return images, found[:12], say(text, opacity, len(found))
        for name, label_map in maps.items():
            only = np.where(label_map == label, label, IGNORE_INDEX)
            images[name] = visualize.outline(overlay(image, only, opacity, labels), only == label)
        text = "{share:.1%} of the {map}"
        told = ", ".join(say(text, np.mean(one == label), name) for name, one in maps.items())
        if len(maps) == 2:
            truth, prediction = maps.values()
            counted = truth != IGNORE_INDEX
            told += f"; IoU {_iou(truth == label, (prediction == label) & counted):.2f}"
        name = labels.short_names[label]
        return images, [label], say("Opacity {opacity:.0%}. {name}: {told}.", opacity, name, told)

    opacity = FloatSlider(0.5, description="Opacity", **_SHARE)
    controls = {"opacity": opacity, "label": _picker(found, labels, "all classes")}
    names = say(" and its ").join(maps)
    sentence = say("An image with its {maps} laid over it.", names)
    return Explorer(controls, draw, sentence, labels)


def explore_augmentation(
    image: Image.Image,
    annotation: Image.Image,
    make_augment: Callable[[float, float], Callable[..., tuple[Any, Any]]],
) -> Explorer:
    """Augment one scene with strengths of your choice: colors, smallest piece, throw of the dice.

    Given the strength of the color changes, 0-5, and the smallest share of the image that is kept,
    0.1-1, `make_augment` returns a transform of (image, mask).
    """
    image, mask = load_image(image), tv_tensors.Mask(torch.from_numpy(np.array(annotation)))
    grey = np.mean(image)
    before = largest_labels(ADE20K.to_label_map(annotation), most=ADE20K.num_labels)

    def draw(color: float, smallest: float, version: int) -> Shown:
        with torch.random.fork_rng(devices=[]):  # the notebook's own dice stay as they are
            torch.manual_seed(version)
            changed, its_mask = make_augment(color, smallest)(image, mask)
        label_map = ADE20K.to_label_map(its_mask)
        images = {
            "as it is": image,
            "as the model sees it": changed,
            "with its annotation": overlay(changed, label_map),
        }
        left = largest_labels(label_map, most=ADE20K.num_labels)
        text = (
            "Version {version}: {left} of {all} classes are left. Mean grey level {level:.0f}, "
            "before it was {before:.0f}."
        )
        told = say(text, version, len(left), len(before), np.mean(changed), grey)
        return images, before[:12], told

    controls = {
        "color": FloatSlider(1.0, min=0.0, max=5.0, step=0.25, description="Colour strength"),
        "smallest": FloatSlider(0.4, min=0.1, max=1.0, step=0.05, description="Smallest piece"),
        "version": IntSlider(1, min=1, max=30, description="Version"),
    }
    return Explorer(controls, draw, say("A scene beside a randomly changed version of it."), ADE20K)


def explore_iou(image: Image.Image, label_map: np.ndarray, classes: Sequence[int]) -> Explorer:
    """Drag the mask of one of the `classes`, label ids, away from itself and see its IoU fall."""
    image, label_map = load_image(image), np.asarray(label_map)
    dim = image.convert("L").point(lambda level: 0.45 * level)

    def draw(label: int, right: int, down: int) -> Shown:
        mask, name = label_map == label, ADE20K.short_names[label]
        moved = ndimage.shift(mask, (down, right), order=0)  # what leaves the image is lost
        parts = np.select([mask & moved, mask, moved], [0, 1, 2], IGNORE_INDEX)
        both, union, iou = np.sum(mask & moved), np.sum(mask | moved), _iou(mask, moved)
        images = {
            f"{name}, outlined": visualize.outline(image, mask),
            f"moved: IoU {iou:.2f}": overlay(dim, parts, 1, _PARTS),
        }
        text = (
            "{name}, moved {right} pixels right and {down} down: {both:,} pixels in both, "
            "{union:,} in either, IoU {iou:.2f}."
        )
        return images, range(3), say(text, name, right, down, both, union, iou)

    down, right = (side // 4 for side in label_map.shape)
    controls = {
        "label": _picker(classes, ADE20K),
        "right": IntSlider(right // 8, min=-right, max=right, description="Right"),
        "down": IntSlider(0, min=-down, max=down, description="Down"),
    }
    return Explorer(controls, draw, say("A mask, a shifted copy of it, and their overlap."), _PARTS)


def explore_panoptic(
    image: Image.Image, segments_at: Callable[[float, float], Sequence[Mapping[str, Any]]]
) -> Explorer:
    """Set the two thresholds of a panoptic answer and see which segments stay.

    Given the lowest score and the smallest overlap, `segments_at` returns the segments of the
    image as `pipeline` does: each with its "label", "score" and "mask".
    """
    image = load_image(image)
    small = _scaled(image, min(image.width, 480))

    def draw(score: float, overlap: float) -> Shown:
        segments, counts, void = segments_at(score, overlap), Counter(), 1.0
        painted = _scaled(Image.fromarray(paint_segments(segments, image.size[::-1])), 480)
        for one in segments:
            name, mask = one["label"].split(",")[0], np.asarray(one["mask"]) > 0
            counts[name] += 1
            void -= mask.mean()
            if mask.mean() > 0.002:
                visualize.write_on(painted, f"{name} {one['score']:.2f}", mask)
        listed = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
        text = (
            "Score from {score:.2f}, overlap from {overlap:.2f}: {segments}. In no segment: "
            "{void:.1%} of the pixels."
        )
        told = say(text, score, overlap, listed or say("nothing"), abs(void))
        return {"image": small, f"{len(segments)} segments": painted}, [], told

    controls = {
        "score": FloatSlider(0.9, min=0.0, max=0.99, step=0.01, description="Score"),
        "overlap": FloatSlider(0.5, description="Overlap", **_SHARE),
    }
    sentence = say("A street, and the segments that two thresholds let through.")
    return Explorer(controls, draw, sentence, ADE20K)


def explore_probabilities(
    image: Image.Image, logits: torch.Tensor, row: int, column: int, labels: Labels = ADE20K
) -> Explorer:
    """Point at a pixel: its most likely classes; pick a class: where the model sees it.

    The `logits` are (num_labels, height, width), as the model gives them, on its coarse grid.
    """
    image = load_image(image)
    small = _scaled(image, min(image.width, 360))
    upsampled = interpolate(logits.detach()[None].float(), small.size[::-1], mode="bilinear")
    probabilities = upsampled[0].softmax(dim=0).half().cpu().numpy()  # half: 150 maps add up
    winner = probabilities.argmax(axis=0)

    def draw(row: int, column: int, label: int) -> Shown:
        y, x = row * small.height // image.height, column * small.width // image.width
        here = probabilities[:, y, x]
        best = np.argsort(-here, kind="stable")[:5]
        chosen = best[0] if label < 0 else label
        name = labels.short_names[chosen]
        heat = Image.fromarray(colormaps["viridis"](probabilities[chosen], bytes=True)[..., :3])
        images = {
            f"row {row}, column {column}": visualize.cross(small, y, x),
            f"probability of {name}: dark 0, bright 1": visualize.cross(heat, y, x),
        }
        listed = ", ".join(f"{labels.short_names[k]} {here[k]:.2f}" for k in best)
        text = (
            "Row {row}, column {column}: {best}. {name}: probability {here:.2f} here, wins "
            "{share:.1%} of the image."
        )
        share = np.mean(winner == chosen)
        return images, [], say(text, row, column, listed, name, here[chosen], share)

    found = largest_labels(winner, most=labels.num_labels)
    controls = {
        "row": IntSlider(row, min=0, max=image.height - 1, description="Row"),
        "column": IntSlider(column, min=0, max=image.width - 1, description="Column"),
        "label": _picker(found, labels, "the best at this pixel"),
    }
    sentence = say("A pixel of an image, and the probability map of a class.")
    return Explorer(controls, draw, sentence, labels)


def segment_upload(
    image: Image.Image, segment: Callable[[Image.Image], np.ndarray], labels: Labels = ADE20K
) -> Explorer:
    """Segment an image that the reader uploads; a damaged one is named and changes nothing.

    `segment` returns the label map of an image. Each is shrunk to 1024 pixels at most.
    """

    def read(name: str, source: Any) -> tuple[str, Image.Image, np.ndarray]:
        chosen = load_image(source, name).copy()
        chosen.thumbnail((1024, 1024))
        return name, chosen, segment(chosen)

    latest, content = read("", image), None

    def draw(upload: Any, opacity: float) -> Shown:
        nonlocal latest, content
        problem = ""
        if isinstance(upload, Mapping):  # of ipywidgets 7
            upload = [{"name": name, **file} for name, file in upload.items()]
        if upload and upload[-1]["content"] != content:
            content = bytes(upload[-1]["content"])
            try:
                latest = read(upload[-1]["name"], content)
            except ValueError as error:
                problem = say("{error}. The last one stays. ", error)
        name, chosen, label_map = latest
        found = largest_labels(label_map, most=12)
        images = {"image": chosen, "prediction": overlay(chosen, label_map, opacity, labels)}
        shares = [f"{labels.short_names[k]} {np.mean(label_map == k):.0%}" for k in found[:5]]
        told, name = ", ".join(shares), name or say("the image above")
        told = say("{name}, {width} x {height} pixels: {shares}.", name, *chosen.size, told)
        return images, found, problem + told

    upload = ipywidgets.FileUpload(accept="image/*", description="Image")
    controls = {"upload": upload, "opacity": FloatSlider(0.5, description="Opacity", **_SHARE)}
    sentence = say("An image with the model's prediction laid over it.")
    return Explorer(controls, draw, sentence, labels)


def _iou(mask: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two (height, width) bool; NaN where both are empty."""
    union = np.sum(mask | other)
    return np.sum(mask & other) / union if union else np.nan


def _picker(classes: Sequence[int], labels: Labels, first: str | None = None) -> Dropdown:
    """A list of classes by name, under `first`, which stands for -1."""
    options = [(first, -1)] if first else []  # a list shows no name for None
    options += [(labels.names[label], label) for label in classes]
    return Dropdown(options=options, description="Class", layout={"width": "260px"})


def _scaled(image: Image.Image, width: int) -> Image.Image:
    """The image at a width in pixels, without smoothing where it grows."""
    height = round(width * image.height / image.width)
    return image.resize((width, height), Image.Resampling.BOX)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()
