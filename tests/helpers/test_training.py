"""Training: exact reload and resume, the scale of the loss, and evaluation.

Where `transformers.Trainer` has a defect that we fix, a test pins the defect as well: when a
newer release fixes it, that test fails and says which of our lines can go.
"""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import DatasetDict
from PIL import Image
from samples import (
    FAMILIES,
    FRUIT,
    SIDE,
    WorseEachTime,
    fruit_scenes,
    save_encoder,
    save_family,
    small_model,
    small_profile,
    write_ade_folder,
)
from transformers import AutoModelForSemanticSegmentation, SegformerModel, Trainer, set_seed

from helpers import training
from helpers.data import load_scenes
from helpers.labels import ADE20K, IGNORE_INDEX, Labels
from helpers.metrics import StreamingMeanIoU
from helpers.profiles import Profile
from helpers.training import (
    SegmentationTrainer,
    build_arguments,
    build_model,
    build_trainer,
    sixteen_bits,
)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A small encoder, and eight training and four test images in ADE20K's layout."""
    folder = tmp_path_factory.mktemp("sources")
    data = write_ade_folder(folder / "scenes", train=8, test=4)
    return small_profile(save_encoder(folder / "encoder"), data)


@pytest.fixture(scope="module")
def scenes(profile: Profile) -> DatasetDict:
    return load_scenes(profile)


def first_images(scenes: DatasetDict, count: int) -> DatasetDict:
    return DatasetDict(scenes, train=scenes["train"].select(range(count)))


def make_trainer(
    kind: type[Trainer], profile: Profile, scenes: DatasetDict, output: Path, **overrides: Any
) -> Trainer:
    """`build_trainer` with our trainer, or the same parts in a plain `transformers.Trainer`."""
    options = {"augment": False, "dropout": False, **overrides}
    ours = build_trainer(profile, scenes, output, **options)
    if kind is SegmentationTrainer:
        return ours
    set_seed(ours.args.seed)
    return kind(
        model=build_model(profile, options["dropout"]),  # ours would change it
        args=ours.args,
        train_dataset=ours.train_dataset,
        eval_dataset=ours.eval_dataset,
        processing_class=ours.processing_class,
        compute_metrics=StreamingMeanIoU(150),
        preprocess_logits_for_metrics=ours.preprocess_logits_for_metrics,
    )


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name].double() - other[name].double()).abs().max().item() for name in one)


def losses(trainer: Trainer) -> dict[int, float]:
    return {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}


# --- checkpoints --------------------------------------------------------------------------------


def test_upstream_reloads_the_best_checkpoint_wrongly(
    profile: Profile, scenes: DatasetDict, tmp_path: Path
) -> None:
    """That ours is exact is shown in test_checkpoints.py."""
    trainer = make_trainer(Trainer, profile, scenes, tmp_path, eval_on_start=False)
    trainer.compute_metrics = WorseEachTime(150)
    trainer.train()
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-2")
    best = AutoModelForSemanticSegmentation.from_pretrained(trainer.state.best_model_checkpoint)
    difference = largest_difference(weights(trainer.model), weights(best))
    assert difference > 0, "fixed upstream: runs.ExactTrainer._load_best_model can go"


@pytest.mark.parametrize("kind", [SegmentationTrainer, Trainer], ids=["ours", "upstream"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    kind: type[Trainer], profile: Profile, scenes: DatasetDict, tmp_path: Path
) -> None:
    """Bit for bit on the CPU, augmentation and dropout included; upstream's does not."""
    settings = {"load_best_model_at_end": False, "augment": True, "dropout": True}
    whole = make_trainer(kind, profile, scenes, tmp_path / "whole", **settings)
    whole.train()
    resumed = make_trainer(kind, profile, scenes, tmp_path / "resumed", **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert resumed.state.global_step == whole.state.global_step == 4
    assert list(losses(whole)) == list(losses(resumed)) == [1, 2, 3, 4]
    equal = largest_difference(weights(whole.model), weights(resumed.model)) == 0
    message = "fixed upstream: runs.ExactTrainer._load_from_checkpoint can go"
    assert equal == (losses(whole) == losses(resumed)) == (kind is not Trainer), message


@pytest.mark.parametrize("kind", [SegmentationTrainer, Trainer], ids=["ours", "upstream"])
def test_a_finished_run_that_is_resumed_trains_no_further(
    kind: type[Trainer],
    profile: Profile,
    scenes: DatasetDict,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three steps end in the middle of an epoch of two."""
    finished = make_trainer(kind, profile, scenes, tmp_path, max_steps=3)
    finished.train()
    capsys.readouterr()
    resumed = make_trainer(kind, profile, scenes, tmp_path, max_steps=3)
    resumed.train(resume_from_checkpoint=True)
    message = "fixed upstream: runs.ExactTrainer.set_initial_training_values can go"
    assert resumed.state.global_step == (4 if kind is Trainer else 3), message
    if kind is SegmentationTrainer:
        saved = {path.name for path in tmp_path.glob("checkpoint-*")}
        assert saved == {"checkpoint-2", "checkpoint-3"}
        assert largest_difference(weights(finished.model), weights(resumed.model)) == 0
        assert resumed.state.best_metric == finished.state.best_metric
        assert "step 3 of 3: nothing is left to train" in capsys.readouterr().out


# --- the scale of the loss ----------------------------------------------------------------------


def logged_in_parts(
    kind: type[Trainer], profile: Profile, output: Path, accumulation: int, steps: int
) -> list[dict[str, float]]:
    """What is logged for each step, with batches of 4 of six images in so many parts."""
    settings = {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    settings |= {"eval_on_start": False, "gradient_accumulation_steps": accumulation}
    scenes = first_images(load_scenes(profile), 6)
    trainer = make_trainer(kind, profile, scenes, output, max_steps=steps, **settings)
    trainer.model.decode_head.batch_norm.eval()  # its statistics depend on how a batch is cut
    trainer.model.decode_head.batch_norm.train = lambda mode=True: None  # and it stays so
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


@pytest.fixture(scope="module")
def labelled_unequally(profile: Profile, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Every other image is labelled in its uppermost rows only."""
    folder = write_ade_folder(tmp_path_factory.mktemp("unequal"), train=8, test=1)
    for index, file in enumerate(sorted(folder.glob("annotations/*/*.png"))):
        values = np.asarray(Image.open(file)).copy()
        values[values == 0] = 2
        if index % 2:
            values[6:] = 0
        Image.fromarray(values).save(file)
    return replace(profile, dataset=str(folder))


def test_a_run_with_frozen_batch_norm_is_the_same_however_its_batches_are_cut(
    labelled_unequally: Profile, tmp_path: Path
) -> None:
    """Gradients too, over several steps; of six images two are left over each time."""
    one, two = (
        logged_in_parts(SegmentationTrainer, labelled_unequally, tmp_path, parts, 4)
        for parts in (1, 2)
    )
    assert len(one) == len(two) == 4
    for whole, cut in zip(one, two, strict=True):
        assert cut["loss"] == pytest.approx(whole["loss"], rel=1e-4)
        assert cut["grad_norm"] == pytest.approx(whole["grad_norm"], rel=1e-3)


def test_upstream_scales_the_loss_wrongly(labelled_unequally: Profile, tmp_path: Path) -> None:
    (one,), (four,) = (
        logged_in_parts(Trainer, labelled_unequally, tmp_path, parts, 1) for parts in (1, 4)
    )
    message = "fixed upstream: accepts_loss_kwargs in SegmentationTrainer can go"
    assert four["loss"] == pytest.approx(4 * one["loss"], rel=3e-2), message


def test_upstream_has_no_loss_for_a_batch_without_labels() -> None:
    nothing = torch.full((2, SIDE, SIDE), IGNORE_INDEX)
    loss = small_model()(pixel_values=torch.randn(2, 3, SIDE, SIDE), labels=nothing).loss
    assert loss.isnan(), "fixed upstream: the 0 of pixel_cross_entropy need not be ours"


def test_fewer_images_than_a_batch_make_a_smaller_one(
    profile: Profile, scenes: DatasetDict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, in_parts = first_images(scenes, 3), {"gradient_accumulation_steps": 2}
    trainer = make_trainer(SegmentationTrainer, profile, few, tmp_path)
    told = "3 training images do not fill a batch of 4: batches of 3 instead"
    assert told in capsys.readouterr().out
    assert [len(batch["labels"]) for batch in trainer.get_train_dataloader()] == [3]
    trainer = make_trainer(SegmentationTrainer, profile, few, tmp_path, **in_parts)
    assert [len(batch["labels"]) for batch in trainer.get_train_dataloader()] == [1, 1]
    with pytest.raises(ValueError, match="1 training images cannot be shared among 2 parts"):
        make_trainer(SegmentationTrainer, profile, first_images(scenes, 1), tmp_path, **in_parts)


def test_every_image_is_drawn_in_its_turn_and_no_batch_is_smaller(
    profile: Profile, scenes: DatasetDict, tmp_path: Path
) -> None:
    trainer = make_trainer(SegmentationTrainer, profile, first_images(scenes, 7), tmp_path)
    drawn, loader = set(), trainer.get_train_dataloader()
    for _ in range(8):  # epochs; in each other three are left over
        (batch,) = loader
        assert len(batch["labels"]) == 4
        drawn |= {image.sum().item() for image in batch["pixel_values"]}
    assert len(drawn) == 7


def test_the_trainer_s_scores_are_those_of_a_plain_loop(
    profile: Profile, scenes: DatasetDict, tmp_path: Path
) -> None:
    trainer = make_trainer(SegmentationTrainer, profile, scenes, tmp_path)
    metrics = trainer.evaluate()
    model, counts = trainer.model.eval(), np.zeros((150, 150), dtype=np.int64)
    for row in trainer.eval_dataset:
        with torch.no_grad():
            logits = model(pixel_values=row["pixel_values"][None].to(model.device)).logits.cpu()
        size = row["labels"].shape
        maps = torch.nn.functional.interpolate(logits, size, mode="bilinear").argmax(1)[0]
        kept = row["labels"] != IGNORE_INDEX
        np.add.at(counts, (row["labels"][kept], maps[kept]), 1)
    assert (trainer.compute_metrics.matrix.counts == counts).all()
    assert metrics["eval_overall_accuracy"] == counts.trace() / counts.sum()


# --- model, optimiser, arguments ----------------------------------------------------------------


def test_the_model_has_ade20k_s_names_and_keeps_the_encoder(profile: Profile) -> None:
    model = build_model(profile)
    assert model.config.id2label == ADE20K.id2label
    assert model.config.label2id == ADE20K.label2id
    pretrained = SegformerModel.from_pretrained(profile.encoder)
    assert largest_difference(weights(model.segformer), weights(pretrained)) == 0


def test_the_decode_head_learns_faster_and_norms_and_biases_do_not_decay(
    profile: Profile, scenes: DatasetDict, tmp_path: Path
) -> None:
    profile = replace(profile, head_learning_rate_factor=7.0, weight_decay=0.05)
    trainer = make_trainer(SegmentationTrainer, profile, scenes, tmp_path)
    optimizer = trainer.create_optimizer()
    assert isinstance(optimizer, torch.optim.AdamW)
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    modules, seen = dict(trainer.model.named_modules()), set()
    for name, parameter in trainer.model.named_parameters():
        group, owner = group_of.pop(id(parameter)), modules[name.rpartition(".")[0]]
        in_head = name.startswith("decode_head.")
        assert group["lr"] == pytest.approx(1e-3 * (7 if in_head else 1)), name
        is_norm = isinstance(owner, (torch.nn.LayerNorm, torch.nn.BatchNorm2d))
        spared = is_norm or name.endswith(".bias")
        assert group["weight_decay"] == (0 if spared else 0.05), name
        seen.add((in_head, is_norm))
    assert not group_of  # every parameter once
    assert len(seen) == 4


def test_a_finished_model_is_a_start_too(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model()
    model.save_pretrained(tmp_path)
    again = build_model(replace(profile, encoder=str(tmp_path)))
    assert largest_difference(weights(again), weights(model)) == 0
    assert f"no weight of {tmp_path} is new" in capsys.readouterr().out


def new_weights(trainer: SegmentationTrainer) -> set[str]:
    """The names of those that learn faster than the slowest."""
    groups = trainer.create_optimizer().param_groups
    slowest = min(group["lr"] for group in groups)
    fast = {id(p) for group in groups if group["lr"] > slowest for p in group["params"]}
    return {name for name, weight in trainer.model.named_parameters() if id(weight) in fast}


@pytest.mark.parametrize("names", [FRUIT.names, ("one", "two", "three", "four")], ids=len)
@pytest.mark.parametrize(("family", "last"), FAMILIES.items())
def test_a_model_of_any_family_is_a_start_and_its_new_weights_learn_faster(
    tmp_path: Path, family: str, last: list[str], names: tuple[str, ...]
) -> None:
    """Four labels have the model's shape, but not its names: its last layer means nothing then."""
    before = weights(save_family(family, tmp_path / "finished", num_labels=4))
    profile = small_profile(tmp_path / "finished", tmp_path, own=Labels(names), image_size=64)
    trainer = build_trainer(profile, fruit_scenes(), tmp_path / "out", dropout=False)
    new, after = new_weights(trainer), weights(trainer.model)
    assert new == {f"{one}.{kind}" for one in last for kind in ("weight", "bias")}
    assert new == {name for name in before if not torch.equal(before[name], after[name])}
    assert trainer.model.config.num_labels == len(names)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_any_family_trains_and_is_resumed(tmp_path: Path, family: str) -> None:
    save_family(family, tmp_path, num_labels=4)
    profile = small_profile(tmp_path, tmp_path, own=FRUIT, image_size=64)
    build_trainer(profile, fruit_scenes(), tmp_path / "out", max_steps=2).train()
    trainer = build_trainer(profile, fruit_scenes(), tmp_path / "out", dropout=False, max_steps=4)
    chances = {k: v for k, v in trainer.model.config.to_dict().items() if "drop" in k}
    assert set(chances.values()) == {0.0}
    assert trainer.train_dataset[0]["pixel_values"].shape == (3, 64, 64)  # nothing is cut off
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 4
    assert math.isfinite(trainer.evaluate()["eval_loss"])


@pytest.mark.parametrize("family", FAMILIES)
def test_all_that_an_encoder_lacks_learns_faster(tmp_path: Path, family: str) -> None:
    finished = save_family(family, tmp_path, num_labels=4)
    finished.base_model.save_pretrained(tmp_path)
    trainer = build_trainer(
        small_profile(tmp_path, tmp_path, own=FRUIT), fruit_scenes(), tmp_path / "out"
    )
    own = {f"{finished.base_model_prefix}.{name}" for name in weights(finished.base_model)}
    names = {name for name, _ in trainer.model.named_parameters()}
    assert new_weights(trainer) == names - own
    assert own & names


@pytest.mark.parametrize(("processes", "accumulation"), [(1, 3), (3, 1)])
def test_a_batch_is_shared_among_processes_and_steps(
    profile: Profile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    processes: int,
    accumulation: int,
) -> None:
    arguments = build_arguments(profile, tmp_path, gradient_accumulation_steps=2)
    assert arguments.per_device_train_batch_size == 2
    monkeypatch.setattr(training, "processes", lambda: SimpleNamespace(num_processes=processes))
    with pytest.raises(ValueError, match=r"batch of 4 images .* 3 parts .* choose a divisor"):
        build_arguments(profile, tmp_path, gradient_accumulation_steps=accumulation)


@pytest.mark.parametrize(
    ("gpu", "in_hardware", "expected"),
    [(False, False, None), (True, True, "bf16"), (True, False, "fp16")],  # the last: a T4
)
def test_a_gpu_that_only_emulates_bfloat16_uses_float16(
    gpu: bool, in_hardware: bool, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or in_hardware,
    )
    assert sixteen_bits() == {name: name == expected for name in ("bf16", "fp16")}
