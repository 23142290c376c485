"""Evaluation in constant memory, each measurement in a process of its own; small sizes.

tests/benchmarks/bench_evaluation_memory.py does the same for 2,000 images of 512 x 512.
"""

import importlib.util
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parent / "benchmarks" / "bench_evaluation_memory.py"
SIDE = 128


@pytest.fixture(scope="module")
def measured() -> dict[tuple[str, int], dict[str, float]]:
    spec = importlib.util.spec_from_file_location("bench_evaluation_memory", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    cases = [("ours", 20), ("ours", 200), ("guide", 20), ("guide", 60)]
    return {(way, count): benchmark.measure(way, count, SIDE) for way, count in cases}


def test_ten_times_the_images_take_the_same_memory(
    measured: dict[tuple[str, int], dict[str, float]],
) -> None:
    few, many = (measured["ours", count]["peak"] for count in (20, 200))
    assert many < 1.1 * few
    few, many = (measured["guide", count]["peak"] for count in (20, 60))
    assert many > 1.2 * few  # and if every logit were kept, this would show it


def test_both_ways_come_to_the_same(measured: dict[tuple[str, int], dict[str, float]]) -> None:
    ours, guide = (measured[way, 20] for way in ("ours", "guide"))
    assert ours["mean_iou"] == pytest.approx(guide["mean_iou"], rel=1e-6)
    assert ours["loss"] == pytest.approx(guide["loss"], rel=1e-5)
