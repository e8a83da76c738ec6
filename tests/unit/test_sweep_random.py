"""Random columns and samples: the same for ever, independent, and distributed as they say."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osgbatch.spec.load import load_spec
from osgbatch.sweep.draws import below, generator, sample
from osgbatch.sweep.expand import expand


def column(folder: Path, random: str, name: str = "x") -> list[Any]:
    (folder / "sweep.yaml").write_text(f"command: echo\nsweep: {{{name}: {{random: {random}}}}}\n")
    return [row[0].value for row in expand(load_spec(folder / "sweep.yaml")).rows()]


PINNED = [
    ("uniform: [0, 1]", [0.4045553249063848, 0.24810045537505354, 0.6745563398716898]),
    ("uniform: [-5, 5]", [-0.9544467509361523, -2.5189954462494644, 1.7455633987168984]),
    ("loguniform: [0.001, 1]", [0.01635558094436723, 0.005550107130333823, 0.10560124043212792]),
    ("normal: [0, 1]", [-0.5573071166261113, -1.4708563757660116, 0.27672016689788753]),
    ("integers: [1, 6]", [3, 2, 5]),
    ("choice: [a, 2.50, true]", [2.5, "a", True]),
]


@pytest.mark.parametrize(("distribution", "expected"), PINNED)
def test_values_are_the_same_for_ever(
    tmp_path: Path, distribution: str, expected: list[Any]
) -> None:
    assert column(tmp_path, f"{{{distribution}, n: 3, seed: 42}}") == expected
    assert column(tmp_path, f"{{{distribution}, n: 50, seed: 42}}")[:3] == expected


def test_samples_are_the_same_for_ever() -> None:
    assert sample(100, 5, 0) == [1, 23, 36, 81, 96]
    assert sample(10**20, 2, 1) == [567954260522658597, 59423670922362851600]


def test_columns_of_one_seed_and_seeds_of_one_column_differ(tmp_path: Path) -> None:
    x = column(tmp_path, "{uniform: [0, 1], n: 500, seed: 1}")
    y = column(tmp_path, "{uniform: [0, 1], n: 500, seed: 1}", "y")
    z = column(tmp_path, "{uniform: [0, 1], n: 500, seed: 2}")
    assert abs(_correlation(x, y)) < 0.2
    assert abs(_correlation(x, z)) < 0.2


def _correlation(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = statistics.mean(x), statistics.mean(y)
    both = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return both / (len(x) * statistics.pstdev(x) * statistics.pstdev(y))


def test_distributions_are_what_they_say(tmp_path: Path) -> None:
    uniform = column(tmp_path, "{uniform: [2, 4], n: 20000, seed: 7}")
    assert 2 <= min(uniform) < 2.01 and 3.99 < max(uniform) <= 4
    assert math.isclose(statistics.mean(uniform), 3, abs_tol=0.03)
    normal = column(tmp_path, "{normal: [10, 2], n: 20000, seed: 7}")
    assert math.isclose(statistics.mean(normal), 10, abs_tol=0.06)
    assert math.isclose(statistics.stdev(normal), 2, abs_tol=0.05)
    assert math.isclose(sum(abs(v - 10) < 2 for v in normal) / 20000, 0.6827, abs_tol=0.015)
    log = [math.log10(v) for v in column(tmp_path, "{loguniform: [0.001, 10], n: 9000, seed: 7}")]
    assert min(log) >= -3 and max(log) <= 1
    assert math.isclose(statistics.mean(log), -1, abs_tol=0.05)
    dice = column(tmp_path, "{integers: [1, 6], n: 12000, seed: 7}")
    assert all(abs(dice.count(side) - 2000) < 200 for side in range(1, 7))
    assert column(tmp_path, "{integers: [3, 3], n: 4, seed: 7}") == [3] * 4
    coins = column(tmp_path, "{choice: [heads, tails], n: 2000, seed: 7}")
    assert abs(coins.count("heads") - 1000) < 120


@given(st.integers(1, 10**30), st.integers())
def test_a_whole_number_is_below_its_limit(limit: int, seed: int) -> None:
    draw = generator(seed, "x")
    assert all(0 <= below(draw, limit) < limit for _ in range(5))
    assert below(lambda: 1 - 2**-53, limit) == limit - 1 or limit > 2**53


@given(st.integers(1, 60), st.data())
def test_a_sample_is_a_subset_in_order(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, total))
    found = sample(total, count, data.draw(st.integers()))
    assert len(found) == count
    assert found == sorted(set(found))
    assert found[0] >= 0 and found[-1] < total


def test_every_row_is_as_likely_in_a_sample() -> None:
    hits = [0] * 10
    for seed in range(2000):
        for number in sample(10, 3, seed):
            hits[number] += 1
    assert all(abs(hit - 600) < 90 for hit in hits)
