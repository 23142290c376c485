"""Several processes: real ones, over gloo, that must train and score what one process does."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from parallel_run import CASES
from PIL import Image
from samples import save_encoder, small_model, small_profile, write_ade_folder

from helpers.labels import Labels
from helpers.profiles import REPOSITORY
from helpers.training import SegmentationTrainer, build_arguments, build_trainer

HERE = REPOSITORY / "tests"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def make_scenes(folder: Path, train: int, test: int) -> Path:
    """Images with noise (equal pixels round alike, and all at once), labelled unequally."""
    write_ade_folder(folder, train, test)
    rng = np.random.default_rng(0)
    for file in sorted(folder.glob("images/*/*.jpg")):
        image = np.asarray(Image.open(file)) * 0.7 + rng.uniform(0, 70, (1, 1, 3))
        image = image + rng.normal(0, 15, image.shape)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(file, quality=95)
    for index, file in enumerate(sorted(folder.glob("annotations/*/*.png"))):
        values = np.asarray(Image.open(file)).copy()
        if index % 2:
            values[12:] = 0
        Image.fromarray(values).save(file)
    return folder


def start(*command: str | Path, **variables: str | Path) -> subprocess.Popen:
    settings = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    return subprocess.Popen(
        [str(word) for word in command],
        cwd=REPOSITORY,
        env=os.environ | settings | {name: str(value) for name, value in variables.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process: subprocess.Popen, timeout: float = 300) -> str:
    """What the process has written; it must end well."""
    told, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, told
    return told


# --- one process and two --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An encoder, and nine training and five test images."""
    folder = tmp_path_factory.mktemp("sources")
    return save_encoder(folder / "encoder"), make_scenes(folder / "scenes", train=9, test=5)


@pytest.fixture(scope="module")
def results(
    sources: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What parallel_run.py comes to on one process, and on two."""
    output = tmp_path_factory.mktemp("results")
    running = {}
    for name, launcher in {"one": [sys.executable], "two": TORCHRUN}.items():
        (output / name).mkdir()
        running[name] = start(*launcher, HERE / "parallel_run.py", output / name, *sources)
    for process in running.values():
        end(process)
    return [torch.load(output / name / "result.pt", weights_only=True) for name in running]


def numbers(history: list[dict[str, float]], name: str) -> list[float]:
    return [entry[name] for entry in history if name in entry]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_do_what_one_does(results: list[dict[str, Any]], case: str) -> None:
    one, two = (result[case] for result in results)
    assert (one["processes"], two["processes"]) == (1, 2)
    names = ["loss", "grad_norm", "epoch", "learning_rate", "train_loss"]
    scores = ["eval_mean_iou", "eval_mean_accuracy", "eval_overall_accuracy"]
    for name in [*names, "eval_loss", *scores]:
        expected, got = (numbers(result["history"], name) for result in (one, two))
        assert expected
        # On an untrained model a pixel of these 4,000 may be undecided between two classes.
        tolerance = 1e-3 if name in scores else 1e-4
        np.testing.assert_allclose(got, expected, rtol=tolerance, err_msg=name)
    assert two["counts"].sum() == one["counts"].sum()  # of five images, not of six
    assert (two["counts"] - one["counts"]).abs().sum() <= 2
    for name, weights in one["weights"].items():
        # Keys' biases have no influence at all, but Adam moves them by their rounding errors.
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(two["weights"][name], weights, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_each_image_is_drawn_once_and_chance_differs(results: list[dict[str, Any]]) -> None:
    one, two = (result["chance"] for result in results)
    assert len(set(one["images"])) == len(one["images"]) == 8  # two batches of nine images
    assert sorted(two["images"]) == sorted(one["images"])
    assert len(set(two["numbers"])) == 2  # else both would crop alike
    assert two["numbers"][0] == one["numbers"][0]


# --- batch normalisation --------------------------------------------------------------------------


def test_upstream_refuses_batch_norm_over_cpus() -> None:
    """If this fails, `SyncBatchNorm` does it, and models._GatheredBatchNorm2d can go."""
    code = """
import torch
from torch import distributed
distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
torch.nn.SyncBatchNorm(3)(torch.zeros(2, 3, 4, 4))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "expected input tensor to be on GPU" in done.stderr


# --- rounding errors that Adam would take for gradients -------------------------------------------

NO_INFLUENCE = {f"decode_head.linear_projections.{stage}.proj.bias" for stage in range(4)}
NO_INFLUENCE |= {"segformer.stages.3.layer_norm.bias"}


@pytest.mark.parametrize("frozen", [False, True])
def test_biases_before_batch_norm_stay_as_they_are_unless_it_is_frozen(
    sources: tuple[Path, Path], tmp_path: Path, frozen: bool
) -> None:
    trainer = build_trainer(small_profile(*sources, max_steps=1, eval_steps=1), output_dir=tmp_path)
    if frozen:
        trainer.model.decode_head.batch_norm.eval()
        trainer.model.decode_head.batch_norm.train = lambda mode=True: None
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved >= {"decode_head.classifier.bias", "segformer.stages.2.layer_norm.bias"}
    assert moved & NO_INFLUENCE == (NO_INFLUENCE if frozen else set())


# --- several GPUs in one process ------------------------------------------------------------------


def test_one_process_takes_one_gpu(
    sources: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = small_profile(*sources)
    arguments = build_arguments(profile, tmp_path)
    assert arguments.n_gpu <= 1
    arguments._n_gpu = 2  # as on a machine with two GPUs
    trainer = SegmentationTrainer(
        model=small_model(), args=arguments, train_dataset=[{}] * 4, eval_dataset=[{}]
    )
    assert trainer.args.n_gpu == 1
    assert trainer.args.train_batch_size == profile.batch_size  # and not twice as much
    told = capsys.readouterr().out
    assert "2 GPUs are visible" in told
    assert "accelerate launch --num_processes 2 -m scripts.train" in told


# --- the command ----------------------------------------------------------------------------------

# Without GPUs accelerate itself would start one process, and say nothing.
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
TRAIN = ["-m", "scripts.train", "--profile", "tiny", "--no-augmentation", "--no-dropout"]


def processes_of(parent: int, rank: str) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(parent).children(recursive=True):
        try:
            if child.environ().get("RANK") == rank and "scripts.train" in child.cmdline():
                found.append(child)
        except psutil.Error:
            continue
    return found


def history_of(checkpoint: Path) -> list[dict[str, float]]:
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return state["log_history"]


@pytest.mark.slow
def test_a_process_is_killed_and_the_run_goes_on(tmp_path: Path) -> None:
    """Batches of 8 from 19 images, with checkpoints in the middle of an epoch."""
    scenes = make_scenes(tmp_path / "scenes", train=19, test=3)
    train = [*TRAIN, "--max-steps", "6", "--save-steps", "3"]
    output = tmp_path / "two"
    command = [*LAUNCH, *train, "--output-dir", output]
    whole = start(sys.executable, *train, "--output-dir", tmp_path / "one", SEG_DATA=scenes)
    killed = start(*command, SEG_DATA=scenes)
    state = output / "checkpoints" / "checkpoint-3" / "trainer_state.json"
    until = time.monotonic() + 200
    while not state.exists() and killed.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    (second,) = processes_of(killed.pid, rank="1")
    second.kill()
    told, _ = killed.communicate(timeout=120)
    assert killed.returncode != 0, told
    assert not (output / "model.safetensors").exists()
    assert not processes_of(os.getpid(), rank="0")  # nobody is left waiting
    end(whole)
    told = end(start(*command, "--resume", SEG_DATA=scenes))
    assert told.count("validation mIoU") == 1
    assert "starts at step 0" not in told
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        assert (output / name).is_file()
    one, two = (
        history_of(tmp_path / name / "checkpoints" / "checkpoint-6") for name in ("one", "two")
    )
    assert (output / "checkpoints" / "checkpoint-6" / "rng_state_1.pth").is_file()
    for name in ("epoch", "eval_loss", "eval_mean_iou"):
        assert len(numbers(one, name)) == 3  # before the first step, at 3 and at 6
        np.testing.assert_allclose(numbers(two, name), numbers(one, name), rtol=1e-3, err_msg=name)


@pytest.mark.slow
def test_a_mistake_is_told_once(tmp_path: Path) -> None:
    data = write_ade_folder(tmp_path / "data")
    for file in data.glob("annotations/*/*.png"):
        Image.open(file).point(lambda value: 0 if value < 20 else 255).save(file)
    Labels(["background", "thing"]).save(data)
    process = start(*LAUNCH, *TRAIN, "--output-dir", tmp_path / "out", SEG_DATA=data)
    printed, _ = process.communicate(timeout=200)
    assert process.returncode != 0
    assert printed.count(f"no training image of {data} shows thing") == 1


@pytest.mark.slow
def test_a_mistake_in_one_process_ends_all(tmp_path: Path) -> None:
    """As when one machine of several lacks the data: the others do not wait for it."""
    script = tmp_path / "script.py"
    script.write_text(
        """
import os
from scripts.cli import WrongUse, together

def step():
    if os.environ["RANK"] == "1":
        raise WrongUse("no data here")

assert together(lambda: 7) == 7
try:
    together(step)
except WrongUse as error:
    print(f"process {os.environ['RANK']}: {error}", flush=True)
""",
        encoding="utf-8",
    )
    told = end(start(*TORCHRUN, script))
    assert "process 0: no data here" in told
    assert "process 1: no data here" in told
