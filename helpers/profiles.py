"""The one switch of the course: a profile says which data, checkpoints, sizes and schedule.

Every notebook cell reads these fields and none asks which profile it got: each source is a
"Hub id or local path", which `load_dataset` and `from_pretrained` take alike.

Environment variables, read each time `get_profile` is called:

* `SEG_PROFILE`: the profile's name when none is given ("tiny" otherwise);
* `SEG_DATA`: replaces the data by a folder or by a Hub id, all of it;
* `SEG_OUTPUT`: where checkpoints and figures go (default: `outputs/` in the repository);
* `SEG_MAX_STEPS`: caps the training steps, to try a profile out.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from helpers.hub import optional_file
from helpers.labels import ADE20K, NAMES_FILE, RULES_FILE, Labels

REPOSITORY = Path(__file__).resolve().parent.parent
BUNDLED = REPOSITORY / "helpers" / "bundled"
_READABLE = 40  # characters of a name: in some scripts four bytes each, and a file system takes 255


@dataclass(frozen=True)
class Profile:
    """What one run of the course uses; `from_pretrained` and `load_dataset` take the sources."""

    name: str
    description: str
    dataset: str
    """Hub id, local Parquet data set, or folder in ADEChallengeData2016 layout."""
    max_images: int | None
    """Take only the first so many training images and split those; None: all, as split."""
    encoder: str
    """A pretrained Mix Transformer (MiT), to fine-tune."""
    photo_encoder: str
    """One pretrained on photographs, for notebook 10."""
    photo_model: str
    """A finished model for photographs, for notebooks 01, 06 and 10."""
    encoder_revision: str | None
    """The commit that holds the weights of both as safetensors; None: the newest."""
    semantic_model: str
    """A finished semantic segmentation model, for notebook 01."""
    finetuned_model: str
    """A model with ADE20K's 150 labels, for notebook 06 where notebook 05 has not run."""
    instance_model: str
    panoptic_model: str
    """Universal: it does instance and semantic segmentation as well."""
    street_image: str
    """For notebooks 00 and 01: a file, or hf://datasets/OWNER/NAME/PATH on the Hub."""
    label_file: str
    """For notebook 00: the names of ADE20K's 150 labels, in the same form."""
    image_size: int
    """Images are resized to image_size x image_size pixels for the model."""
    max_steps: int
    warmup_steps: int
    batch_size: int
    learning_rate: float
    """Of the encoder; the decode head learns `head_learning_rate_factor` times as fast."""
    head_learning_rate_factor: float
    eval_steps: int
    """Evaluate and save a checkpoint every so many steps."""
    logging_steps: int
    num_workers: int = 0
    weight_decay: float = 0.01
    test_fraction: float = 0.2
    """Of `max_images`, where that is given."""
    random_scale: tuple[float, float] | None = None
    """Augment as the published recipe does, scaling by a factor in this range before a crop of
    image_size; None: crop and resize as in notebook 03."""
    seed: int = 0
    own: Labels | None = None
    """What the numbers in the masks mean, whatever the data say; None: as they say."""
    output_root: Path = REPOSITORY / "outputs"
    run_name: str = ""
    """Names the output folder: the profile, and the data where `SEG_DATA` replaced it."""

    @cached_property
    def own_labels(self) -> Labels | None:
        """`own`, or what `id2label.json` beside the data says; None: nothing does."""
        if self.own is not None:
            return self.own
        if self.dataset in {profile.dataset for profile in _PROFILES.values()}:
            return ADE20K
        file = optional_file(self.dataset, NAMES_FILE, "dataset")
        if file is None:
            return None
        optional_file(self.dataset, RULES_FILE, "dataset")  # arrives beside the other
        return Labels.load(file.parent)

    @property
    def labels(self) -> Labels:
        """What the numbers in the data's masks mean: its own labels, else ADE20K's."""
        return self.own_labels or ADE20K

    def capped(self, steps: int) -> Profile:
        """The same profile, which trains for so many steps at most."""
        fields = ("max_steps", "eval_steps", "logging_steps")
        return replace(self, **{name: min(getattr(self, name), steps) for name in fields})

    @property
    def output_dir(self) -> Path:
        """Where this run's checkpoints, scores and images go."""
        return self.output_root / (self.run_name or self.name)

    @property
    def model_dir(self) -> Path:
        """Where notebook 05 saves the best model, and notebook 06 looks for it."""
        return self.output_dir / "model"


_TINY = Profile(
    name="tiny",
    description="200 toy scenes and a small encoder, bundled: offline, two CPU cores",
    dataset=str(BUNDLED / "scenes"),
    max_images=None,
    encoder=str(BUNDLED / "checkpoints" / "mit-toy"),
    photo_encoder=str(BUNDLED / "checkpoints" / "efficientnet-lite0"),
    photo_model=str(BUNDLED / "checkpoints" / "campus-upernet"),
    encoder_revision=None,
    semantic_model=str(BUNDLED / "checkpoints" / "segformer-toy"),
    finetuned_model=str(BUNDLED / "checkpoints" / "segformer-toy"),
    instance_model=str(BUNDLED / "checkpoints" / "mask2former-toy-instance"),
    panoptic_model=str(BUNDLED / "checkpoints" / "mask2former-toy"),
    street_image=str(BUNDLED / "street" / "for_models" / "image.png"),
    label_file=str(BUNDLED / "ade20k" / NAMES_FILE),
    image_size=128,
    max_steps=120,
    warmup_steps=10,
    batch_size=8,
    # High rates: a hundred steps are all that a minute on a laptop allows.
    learning_rate=4e-4,
    head_learning_rate_factor=30.0,
    eval_steps=40,
    logging_steps=10,
)
_SAMPLE = Profile(
    name="sample",
    description="the first 50 images of SceneParse150 and MiT-B0: network, a free GPU",
    dataset="merve/scene_parse_150",
    max_images=50,
    encoder="nvidia/mit-b0",
    photo_encoder="nvidia/mit-b0",
    photo_model="nvidia/segformer-b0-finetuned-ade-512-512",
    # The Hub's own conversion to safetensors; the main branch holds a pickle alone.
    encoder_revision="25ce79d97e6d9d509ed12e17cb2eb89b0a83a2dc",
    semantic_model="nvidia/segformer-b1-finetuned-cityscapes-1024-1024",
    finetuned_model="nvidia/segformer-b0-finetuned-ade-512-512",
    instance_model="facebook/mask2former-swin-large-cityscapes-instance",
    panoptic_model="facebook/mask2former-swin-large-cityscapes-panoptic",
    # Of Hugging Face's guide to image segmentation.
    street_image="hf://datasets/huggingface/documentation-images/"
    "transformers/tasks/segmentation_input.jpg",
    label_file="hf://datasets/huggingface/label-files/ade20k-id2label.json",
    image_size=512,
    max_steps=1000,
    warmup_steps=50,
    batch_size=4,
    learning_rate=6e-5,
    head_learning_rate_factor=10.0,
    eval_steps=100,
    logging_steps=10,
    num_workers=2,
)
# The recipe published with SegFormer (arXiv 2105.15203) for ADE20K.
_FULL = replace(
    _SAMPLE,
    name="full",
    description="all 20,210 + 2,000 images of SceneParse150 and MiT-B0: network, GPUs",
    max_images=None,
    max_steps=160_000,
    warmup_steps=1500,
    batch_size=16,
    eval_steps=4000,
    logging_steps=50,
    num_workers=4,
    random_scale=(0.5, 2.0),
)
_PROFILES = {profile.name: profile for profile in (_TINY, _SAMPLE, _FULL)}


def get_profile(name: str | None = None, data: str | None = None) -> Profile:
    """Return the named profile, with the `SEG_...` variables applied.

    Args:
        name: "tiny", "sample" or "full"; None reads `SEG_PROFILE`, else "tiny".
        data: in place of `SEG_DATA`: a folder, relative to where one stands, or a Hub id.

    Raises:
        ValueError: unknown name, or a `SEG_MAX_STEPS` that is not a positive whole number.
        FileNotFoundError: the data look like a path, and no such folder exists.
    """
    name = name or os.environ.get("SEG_PROFILE") or "tiny"
    if name not in _PROFILES:
        raise ValueError(
            f"unknown profile {name!r}: expected one of {', '.join(_PROFILES)}. "
            "Set PROFILE in the set-up cell, or the variable SEG_PROFILE, to one of them."
        )
    profile = _PROFILES[name]
    if dataset := data or os.environ.get("SEG_DATA"):
        dataset = _resolve_data(dataset, typed=bool(data))
        profile = replace(
            profile,
            dataset=dataset,
            max_images=None,
            description=f"{profile.description.split(':')[0]}, on the data of SEG_DATA",
            run_name=f"{name}-{folder_name(dataset)}",
        )
    if output := os.environ.get("SEG_OUTPUT"):
        profile = replace(profile, output_root=_from_repository(output))
    if steps := os.environ.get("SEG_MAX_STEPS"):
        if not steps.isdecimal() or int(steps) == 0:
            raise ValueError(f"SEG_MAX_STEPS is {steps!r}: expected a positive whole number")
        profile = profile.capped(int(steps))
    return profile


def folder_name(source: str | Path) -> str:
    """A name for the folder of what is made from one data set, and from no other.

    It ends in eight hexadecimal digits that stand for the whole path or Hub id: many a data set is
    called "data". Before them, letters, marks and digits of any script stay.
    """
    whole = unicodedata.normalize("NFC", str(source))  # macOS takes accents and letters apart
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in Path(whole).name[:_READABLE])
    digits = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return "-".join([*"".join(kept).split(), digits])


def _from_repository(path: str) -> Path:
    """A relative path counts from the repository, whichever folder a notebook runs in."""
    return (REPOSITORY / Path(path).expanduser()).resolve()


def _resolve_data(data: str, typed: bool) -> str:
    """A folder's absolute path, or a Hub id; what is not typed here counts from the repository."""
    candidates = [_from_repository(data), Path(data).expanduser().resolve()]
    if typed:
        candidates.reverse()
    for folder in candidates:
        if folder.is_dir():
            return str(folder)
    if re.fullmatch(r"[\w.-]*\w[\w.-]*/[\w.-]*\w[\w.-]*", data) and not data.startswith("."):
        return data
    raise FileNotFoundError(
        f"{'--data' if typed else 'SEG_DATA'} is {data!r}, and there is no folder {candidates[0]}. "
        "Expected a folder with images/{training,validation} and annotations/"
        "{training,validation} inside, one that scripts.prepare wrote (relative paths count from "
        f"{'here' if typed else 'the repository'}), or a Hub id such as merve/scene_parse_150."
    )
