"""Training: exact reload and resume, the scale of the loss, and evaluation.

Where `transformers.Trainer` has a defect that we fix, a test pins the defect as well: when a
newer release fixes it, that test fails and says which of our lines can go.
"""

import math
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
from transformers import (
    AutoModelForSemanticSegmentation,
    SegformerModel,
    Trainer,
    set_seed,
)

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
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training and four test images in ADE20K's layout."""
    return write_ade_folder(tmp_path_factory.mktemp("scenes"), train=8, test=4)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def profile(encoder: Path, folder: Path) -> Profile:
    return small_profile(encoder, folder)


@pytest.fixture(scope="module")
def scenes(profile: Profile) -> DatasetDict:
    return load_scenes(profile)


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
        model=training._start(profile, options["dropout"])[0],  # ours would change it
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


# --- the best checkpoint ------------------------------------------------------------------------


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


# --- resume -------------------------------------------------------------------------------------


def resume_and_compare(
    kind: type[Trainer], profile: Profile, scenes: DatasetDict, folder: Path
) -> tuple[float, bool]:
    """Four steps at a stretch against two and two: difference of weights, and of logged losses."""
    settings = {"load_best_model_at_end": False, "augment": True, "dropout": True}
    whole = make_trainer(kind, profile, scenes, folder / "whole", **settings)
    whole.train()
    resumed = make_trainer(kind, profile, scenes, folder / "resumed", **settings)
    resumed.train(resume_from_checkpoint=str(folder / "whole" / "checkpoint-2"))
    assert resumed.state.global_step == whole.state.global_step == 4
    assert list(losses(whole)) == list(losses(resumed)) == [1, 2, 3, 4]
    return (
        largest_difference(weights(whole.model), weights(resumed.model)),
        losses(whole) == losses(resumed),
    )


def test_a_resumed_run_equals_an_uninterrupted_one(
    profile: Profile, scenes: DatasetDict, tmp_path: Path
) -> None:
    """Bit for bit on the CPU, augmentation and dropout included."""
    difference, same_losses = resume_and_compare(SegmentationTrainer, profile, scenes, tmp_path)
    assert difference == 0
    assert same_losses


def test_upstream_resumes_wrongly(profile: Profile, scenes: DatasetDict, tmp_path: Path) -> None:
    difference, same_losses = resume_and_compare(Trainer, profile, scenes, tmp_path)
    message = "fixed upstream: runs.ExactTrainer._load_from_checkpoint can go"
    assert difference > 0, message
    assert not same_losses, message


def test_a_finished_run_that_is_resumed_trains_no_further(
    profile: Profile, scenes: DatasetDict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three steps end in the middle of an epoch of two."""
    finished = make_trainer(SegmentationTrainer, profile, scenes, tmp_path, max_steps=3)
    finished.train()
    saved = sorted(path.name for path in tmp_path.iterdir())
    assert saved == ["checkpoint-2", "checkpoint-3"]
    capsys.readouterr()
    resumed = make_trainer(SegmentationTrainer, profile, scenes, tmp_path, max_steps=3)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == saved
    assert largest_difference(weights(finished.model), weights(resumed.model)) == 0
    assert resumed.state.best_metric == finished.state.best_metric
    assert "step 3 of 3: nothing is left to train" in capsys.readouterr().out


def test_upstream_trains_a_finished_run_further(
    profile: Profile, scenes: DatasetDict, tmp_path: Path
) -> None:
    make_trainer(Trainer, profile, scenes, tmp_path, max_steps=3).train()
    resumed = make_trainer(Trainer, profile, scenes, tmp_path, max_steps=3)
    resumed.train(resume_from_checkpoint=True)
    message = "fixed upstream: runs.ExactTrainer.set_initial_training_values can go"
    assert resumed.state.global_step == 4, message


# --- the scale of the loss ----------------------------------------------------------------------


def logged_in_parts(
    kind: type[Trainer],
    profile: Profile,
    scenes: DatasetDict,
    output: Path,
    accumulation: int,
    steps: int = 1,
) -> list[dict[str, float]]:
    """What is logged for each step, with batches of 4 in so many parts."""
    trainer = make_trainer(
        kind,
        profile,
        scenes,
        output,
        gradient_accumulation_steps=accumulation,
        max_steps=steps,
        eval_strategy="no",
        save_strategy="no",
        eval_on_start=False,
        load_best_model_at_end=False,
    )
    trainer.model.decode_head.batch_norm.eval()  # its statistics depend on how a batch is cut
    trainer.model.decode_head.batch_norm.train = lambda mode=True: None  # and it stays so
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def first_loss(*setting: Any) -> float:
    return logged_in_parts(*setting)[0]["loss"]


@pytest.fixture(scope="module")
def labelled_unequally(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of which every other one is labelled in its uppermost rows only."""
    folder = write_ade_folder(tmp_path_factory.mktemp("unequal"), train=8, test=1)
    for index, file in enumerate(sorted(folder.glob("annotations/*/*.png"))):
        values = np.asarray(Image.open(file)).copy()
        values[values == 0] = 2
        if index % 2:
            values[6:] = 0
        Image.fromarray(values).save(file)
    return folder


def test_a_run_with_frozen_batch_norm_is_the_same_however_its_batches_are_cut(
    encoder: Path, labelled_unequally: Path, tmp_path: Path
) -> None:
    """Gradients too, over several steps; of six images two are left over each time."""
    profile = small_profile(encoder, labelled_unequally)
    scenes = load_scenes(profile)
    scenes["train"] = scenes["train"].select(range(6))
    one, two = (
        logged_in_parts(SegmentationTrainer, profile, scenes, tmp_path, parts, 4)
        for parts in (1, 2)
    )
    assert len(one) == len(two) == 4
    for whole, cut in zip(one, two, strict=True):
        assert cut["loss"] == pytest.approx(whole["loss"], rel=1e-4)
        assert cut["grad_norm"] == pytest.approx(whole["grad_norm"], rel=1e-3)


def test_fewer_images_than_a_batch_make_a_smaller_one(
    profile: Profile, scenes: DatasetDict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = DatasetDict(scenes, train=scenes["train"].select(range(3)))
    trainer = make_trainer(SegmentationTrainer, profile, few, tmp_path, max_steps=2)
    assert (
        "3 training images do not fill a batch of 4: batches of 3 instead"
        in capsys.readouterr().out
    )
    assert [len(batch["labels"]) for batch in trainer.get_train_dataloader()] == [3]
    in_parts = {"gradient_accumulation_steps": 2}
    trainer = make_trainer(SegmentationTrainer, profile, few, tmp_path, **in_parts)
    assert [len(batch["labels"]) for batch in trainer.get_train_dataloader()] == [1, 1]
    one = DatasetDict(scenes, train=scenes["train"].select([0]))
    with pytest.raises(ValueError, match="1 training images cannot be shared among 2 parts"):
        make_trainer(SegmentationTrainer, profile, one, tmp_path, **in_parts)


def test_every_image_is_drawn_in_its_turn_and_no_batch_is_smaller(
    profile: Profile, scenes: DatasetDict, tmp_path: Path
) -> None:
    seven = DatasetDict(scenes, train=scenes["train"].select(range(7)))
    trainer = make_trainer(SegmentationTrainer, profile, seven, tmp_path)
    drawn = set()
    loader = trainer.get_train_dataloader()
    for _ in range(8):  # epochs; in each other three are left over
        (batch,) = loader
        assert len(batch["labels"]) == 4
        drawn |= {image.sum().item() for image in batch["pixel_values"]}
    assert len(drawn) == 7


def test_upstream_scales_the_loss_wrongly(
    encoder: Path, labelled_unequally: Path, tmp_path: Path
) -> None:
    profile = small_profile(encoder, labelled_unequally)
    scenes = load_scenes(profile)
    one, four = (first_loss(Trainer, profile, scenes, tmp_path, parts) for parts in (1, 4))
    message = "fixed upstream: accepts_loss_kwargs in SegmentationTrainer can go"
    assert four == pytest.approx(4 * one, rel=3e-2), message


# --- a batch without labels ---------------------------------------------------------------------


def ignored_batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "pixel_values": torch.randn(2, 3, SIDE, SIDE),
        "labels": torch.full((2, SIDE, SIDE), IGNORE_INDEX),
    }


def test_upstream_has_no_loss_for_a_batch_without_labels() -> None:
    loss = small_model()(**ignored_batch()).loss
    assert loss.isnan(), "fixed upstream: the 0 of pixel_cross_entropy need not be ours"


# --- evaluation ---------------------------------------------------------------------------------


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


def test_the_model_knows_ade20k_s_names_and_keeps_the_encoder(
    profile: Profile, encoder: Path
) -> None:
    model = build_model(profile)
    assert model.config.id2label == ADE20K.id2label
    assert model.config.label2id == ADE20K.label2id
    pretrained = SegformerModel.from_pretrained(encoder)
    assert largest_difference(weights(model.segformer), weights(pretrained)) == 0


@pytest.mark.parametrize("dropout", [True, False])
def test_dropout_can_be_switched_off(
    profile: Profile, scenes: DatasetDict, tmp_path: Path, dropout: bool
) -> None:
    trainer = make_trainer(SegmentationTrainer, profile, scenes, tmp_path, dropout=dropout)
    model = trainer.model.train()
    model.decode_head.batch_norm.eval()
    pixel_values = ignored_batch()["pixel_values"]
    with torch.no_grad():
        one, other = (model(pixel_values=pixel_values).logits for _ in range(2))
    assert torch.equal(one, other) != dropout


def test_the_decode_head_learns_faster_and_norms_and_biases_do_not_decay(
    profile: Profile, scenes: DatasetDict, tmp_path: Path
) -> None:
    profile = small_profile(
        Path(profile.encoder),
        Path(profile.dataset),
        head_learning_rate_factor=7.0,
        weight_decay=0.05,
    )
    trainer = make_trainer(SegmentationTrainer, profile, scenes, tmp_path)
    optimizer = trainer.create_optimizer()
    assert isinstance(optimizer, torch.optim.AdamW)
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    modules = dict(trainer.model.named_modules())
    norms = (torch.nn.LayerNorm, torch.nn.BatchNorm2d)
    seen = {"head": 0, "encoder": 0, "norm": 0}
    for name, parameter in trainer.model.named_parameters():
        group, owner = group_of.pop(id(parameter)), modules[name.rpartition(".")[0]]
        in_head = name.startswith("decode_head.")
        assert group["lr"] == pytest.approx(1e-3 * (7 if in_head else 1)), name
        spared = isinstance(owner, norms) or name.endswith(".bias")
        assert group["weight_decay"] == (0 if spared else 0.05), name
        seen["head" if in_head else "encoder"] += 1
        seen["norm"] += isinstance(owner, norms)
    assert not group_of  # every parameter once
    assert min(seen.values()) > 0


def test_a_finished_model_is_a_start_too(
    profile: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model()
    model.save_pretrained(tmp_path)
    again = build_model(small_profile(tmp_path, Path(profile.dataset)))
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
    finished = save_family(family, tmp_path / "finished", num_labels=4)
    profile = small_profile(tmp_path / "finished", tmp_path, own=Labels(names), image_size=64)
    trainer = build_trainer(profile, fruit_scenes(), tmp_path / "out", dropout=False)
    assert new_weights(trainer) == {f"{one}.{kind}" for one in last for kind in ("weight", "bias")}
    assert trainer.model.config.num_labels == len(names)
    before, after = weights(finished), weights(trainer.model)
    assert {name for name in before if not torch.equal(before[name], after[name])} == new_weights(
        trainer
    )


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
    profile = small_profile(tmp_path, tmp_path, own=FRUIT)
    trainer = build_trainer(profile, fruit_scenes(), tmp_path / "out")
    own = {f"{finished.base_model_prefix}.{name}" for name in weights(finished.base_model)}
    names = {name for name, _ in trainer.model.named_parameters()}
    assert new_weights(trainer) == names - own
    assert own & names


def test_a_batch_is_shared_among_its_parts(profile: Profile, tmp_path: Path) -> None:
    arguments = build_arguments(profile, tmp_path, gradient_accumulation_steps=2)
    assert arguments.per_device_train_batch_size == 2
    with pytest.raises(ValueError, match=r"batch of 4 images .* 3 parts .* choose a divisor"):
        build_arguments(profile, tmp_path, gradient_accumulation_steps=3)


def test_processes_share_the_batch_too(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "processes", lambda: SimpleNamespace(num_processes=3))
    with pytest.raises(ValueError, match="among 3 parts"):
        build_arguments(profile, tmp_path)


@pytest.mark.parametrize(
    ("gpu", "in_hardware", "expected"),
    [
        (False, False, {"bf16": False, "fp16": False}),
        (True, True, {"bf16": True, "fp16": False}),
        (True, False, {"bf16": False, "fp16": True}),  # a T4
    ],
)
def test_a_gpu_that_only_emulates_bfloat16_uses_float16(
    gpu: bool, in_hardware: bool, expected: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return including_emulation or in_hardware

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    assert sixteen_bits() == expected
