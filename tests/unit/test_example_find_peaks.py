"""The example find_peaks: its data, its task and its gather step, run as osgbatch runs them."""

from __future__ import annotations

import csv
import json
import os
import runpy
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "find_peaks"
RATE = 1000.0
BAND = (4.0, 10.0)


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-B", *map(str, command)],
        cwd=cwd,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def load(number: int) -> Any:
    return np.load(EXAMPLE / "data" / f"{number}.npy")


@pytest.fixture
def make_data(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return example_module("make_data", monkeypatch)


@pytest.fixture
def waveshape(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return example_module("waveshape", monkeypatch)


def example_module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(EXAMPLE)
    return __import__(name)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A task's working folder, as the shim makes it."""
    folder = tmp_path / "tasks" / "0"
    (folder / "inputs" / "data").mkdir(parents=True)
    (folder / "outputs").mkdir()
    shutil.copy(EXAMPLE / "find_peaks.py", folder)
    shutil.copy(EXAMPLE / "data" / "0.npy", folder / "inputs" / "data")
    shutil.copytree(
        EXAMPLE / "waveshape",
        tmp_path / "lib" / "waveshape",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return folder


def run_task(task: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    library = task.parents[1] / "lib"
    return run("find_peaks.py", *arguments, cwd=task, PYTHONPATH=str(library))


def test_the_shipped_recordings_are_regenerated_byte_for_byte(tmp_path: Path) -> None:
    done = run(EXAMPLE / "make_data.py", tmp_path / "data", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    made = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    shipped = {path.name: path.read_bytes() for path in (EXAMPLE / "data").iterdir()}
    assert sorted(made) == [f"{number}.npy" for number in range(10)]
    assert made == shipped


def test_another_seed_gives_other_recordings(make_data: ModuleType) -> None:
    assert not np.array_equal(make_data.make_recording(0), make_data.make_recording(0, seed=1))


def test_no_two_recordings_are_alike_and_none_is_clipped(make_data: ModuleType) -> None:
    recordings = [load(number) for number in range(len(make_data.RECORDINGS))]
    assert len({recording.tobytes() for recording in recordings}) == 10
    for recording in recordings:
        assert (recording.dtype, recording.shape) == (np.dtype("int16"), (5000,))
        assert np.abs(recording.astype(int)).max() < 1000


@pytest.mark.parametrize("number", range(10))
def test_peaks_and_troughs_alternate_and_number_one_per_cycle(
    number: int, make_data: ModuleType, waveshape: ModuleType
) -> None:
    samples = load(number)
    peaks, troughs = waveshape.find_extrema(samples, RATE, BAND)
    assert peaks.dtype == troughs.dtype == np.int64
    kinds = [kind for _, kind in sorted([(p, "p") for p in peaks] + [(t, "t") for t in troughs])]
    assert all(a != b for a, b in pairwise(kinds))
    cycles = make_data.RECORDINGS[number].theta * len(samples) / RATE
    assert abs(len(peaks) - cycles) <= 1.5
    assert abs(len(troughs) - cycles) <= 1.5
    assert np.median(samples[peaks]) > 200 > -200 > np.median(samples[troughs])


def test_extrema_of_a_clean_wave_are_where_they_were_put(
    make_data: ModuleType, waveshape: ModuleType
) -> None:
    for rise in (0.25, 0.5, 0.7):
        period, first = 125, 40  # samples
        t = (np.arange(2000) - first) % period / period
        up, down = t / rise, (t - rise) / (1 - rise)
        wave = np.where(t < rise, 2 * up**2 * (3 - 2 * up) - 1, 1 - 2 * down**2 * (3 - 2 * down))
        peaks, troughs = waveshape.find_extrema(wave, RATE, BAND)
        true_troughs = np.arange(first, 2000, period)
        true_peaks = true_troughs + rise * period
        for found, true in ((peaks, true_peaks), (troughs, true_troughs)):
            off = np.abs(found[:, None] - true[None, :])
            # 6 ms: the smoothing moves the sharp side of a skewed extremum towards the flat one.
            assert off.min(axis=1).max() <= 6
            assert len(found) >= 15
            assert np.array_equal(off.argmin(axis=1), np.unique(off.argmin(axis=1)))


def test_asymmetry_orders_the_recordings_as_they_were_made(
    make_data: ModuleType, waveshape: ModuleType
) -> None:
    measured = []
    for number in range(10):
        peaks, troughs = waveshape.find_extrema(load(number), RATE, BAND)
        places = np.sort(np.concatenate([peaks, troughs]))
        rising = np.isin(places[:-1], troughs)
        steps = np.diff(places)
        measured.append(steps[rising].mean() / (steps[rising].mean() + steps[~rising].mean()))
    made = [recording.rise for recording in make_data.RECORDINGS]
    assert list(np.argsort(measured)) == list(np.argsort(made))
    assert np.abs(np.array(measured) - made).max() < 0.1


def test_half_cycles_cut_by_the_ends_are_left_out(waveshape: ModuleType) -> None:
    # Starts and ends on a slope: the largest values at the ends are no peaks.
    t = np.arange(2000) / RATE
    wave = np.cos(2 * np.pi * 8 * t - 0.3 * np.pi)
    peaks, troughs = waveshape.find_extrema(wave, RATE, BAND)
    assert min(peaks[0], troughs[0]) > 20
    assert max(peaks[-1], troughs[-1]) < 1980
    assert wave[peaks].min() > 0.99
    assert wave[troughs].max() < -0.99


def test_a_silent_recording_has_no_extrema(waveshape: ModuleType) -> None:
    peaks, troughs = waveshape.find_extrema(np.zeros(2000), RATE, BAND)
    assert (len(peaks), len(troughs)) == (0, 0)


def test_zero_crossings_alternate_and_a_zero_counts_as_above(waveshape: ModuleType) -> None:
    rises, falls = waveshape.zero_crossings([-1, 0, 2, -3, -1, 4])
    assert (rises.tolist(), falls.tolist()) == ([1, 5], [3])


def test_task_writes_both_outputs(task: Path) -> None:
    done = run_task(task, "inputs/data/0.npy", "--band", "4", "10")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "inputs/data/0.npy: 39 peaks and 39 troughs between 4 and 10 Hz in 5 s\n"
    )
    for name in ("peaks", "troughs"):
        found = np.load(task / "outputs" / f"{name}.npy")
        assert (found.dtype, found.shape) == (np.dtype("int64"), (39,))
    told = json.loads((task / "outputs" / "metrics.json").read_text())
    assert told == {"peaks": 39, "troughs": 39, "seconds": 5.0}
    assert sorted(path.name for path in (task / "outputs").iterdir()) == [
        "metrics.json",
        "peaks.npy",
        "troughs.npy",
    ]


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, [], "No such file"),
        (b"not numpy", [], "not a whole .npy file"),
        (np.zeros((2, 3000)), [], "shape (2, 3000)"),
        (np.full(3000, np.nan), [], "3000 samples are NaN"),
        (np.array(["a", "b"]), [], "needs numbers"),
        (np.zeros(100), [], "100 samples are too few"),
        (np.zeros(3000), ["--band", "10", "4"], "band 10 to 4 Hz"),
        (np.zeros(3000), ["--band", "4", "600"], "500 Hz"),
    ],
)
def test_task_says_what_is_wrong_and_fails(
    task: Path,
    content: Any,
    arguments: list[str],
    message: str,
    waveshape: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    recording = task / "inputs" / "data" / "bad.npy"
    if isinstance(content, bytes):
        recording.write_bytes(content)
    elif content is not None:
        np.save(recording, content)
    # in this process: to import SciPy takes a second
    monkeypatch.chdir(task)
    monkeypatch.setattr(sys, "argv", ["find_peaks.py", "inputs/data/bad.npy", *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path("find_peaks.py", run_name="__main__")
    said = capfd.readouterr().err
    assert ended.value.code == 1
    assert said.startswith("find_peaks.py: inputs/data/bad.npy: ")
    assert message in said
    assert len(said.splitlines()) == 1
    assert list((task / "outputs").iterdir()) == []


def make_results(
    tmp_path: Path, waveshape: ModuleType, states: dict[int, str], names: dict[int, str]
) -> Path:
    """A results folder as collect leaves it; the spec's folder beside it."""
    results, spec = tmp_path / "results", tmp_path / "spec"
    (spec / "data").mkdir(parents=True)
    results.mkdir()
    with (results / "results.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["index", "lfp", "state", "reason"])
        for index, state in states.items():
            name = names.get(index, f"data/{index}.npy")
            table.writerow([index, name, state, ""])
            shutil.copy(EXAMPLE / "data" / f"{index % 10}.npy", spec / name)
            (results / str(index)).mkdir()
            if state == "succeeded":
                outputs = results / str(index) / "outputs"
                outputs.mkdir()
                peaks, troughs = waveshape.find_extrema(load(index % 10), RATE, BAND)
                np.save(outputs / "peaks.npy", peaks)
                np.save(outputs / "troughs.npy", troughs)
    return results


def gather(results: Path) -> subprocess.CompletedProcess[str]:
    spec = str(results.parent / "spec")
    return run(EXAMPLE / "gather.py", cwd=results, OSGBATCH_SPEC_DIR=spec)


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def read_table(results: Path) -> list[dict[str, str]]:
    with (results / "peaks.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_gather_draws_and_tabulates_what_succeeded_and_names_the_rest(
    tmp_path: Path, waveshape: ModuleType
) -> None:
    states = dict.fromkeys(range(10), "succeeded") | {3: "failed", 7: "held"}
    results = make_results(tmp_path, waveshape, states, names={5: "data/cost $5, or $6.npy"})
    done = gather(results)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "not used: data/3.npy (failed)\n"
        "not used: data/7.npy (held)\n"
        "peaks.png and peaks.csv: 8 of 10 recordings\n"
    )
    width, height = png_size(results / "peaks.png")
    assert 1200 <= width <= 2000
    assert 700 <= height <= 2000
    assert (results / "peaks.png").stat().st_size > 50_000

    table = read_table(results)
    assert [row["recording"] for row in table] == [
        "data/0.npy",
        "data/1.npy",
        "data/2.npy",
        "data/4.npy",
        "data/cost $5, or $6.npy",
        "data/6.npy",
        "data/8.npy",
        "data/9.npy",
    ]
    first = table[0]
    assert (first["peaks"], first["troughs"]) == ("39", "39")
    cycle, rise, decay = (float(first[name]) for name in ("cycle_ms", "rise_ms", "decay_ms"))
    assert abs(cycle - 125) < 3
    assert abs(rise + decay - cycle) < 3
    assert abs(float(first["rise_decay_asymmetry"]) - (decay - rise) / (decay + rise)) < 0.002
    assert float(first["rise_decay_asymmetry"]) > 0.2


def test_gather_keeps_the_order_of_the_tasks_whatever_that_of_the_table(
    tmp_path: Path, waveshape: ModuleType
) -> None:
    results = make_results(tmp_path, waveshape, dict.fromkeys((10, 9, 2), "succeeded"), names={})
    assert gather(results).returncode == 0
    names = [row["recording"] for row in read_table(results)]
    assert names == ["data/2.npy", "data/9.npy", "data/10.npy"]


def test_gather_draws_no_more_panels_than_can_be_read(
    tmp_path: Path, waveshape: ModuleType
) -> None:
    results = make_results(tmp_path, waveshape, dict.fromkeys(range(23), "succeeded"), names={})
    assert gather(results).returncode == 0
    assert len(read_table(results)) == 23
    assert png_size(results / "peaks.png")[1] <= 2500


def test_gather_of_nothing_but_failures_says_so(tmp_path: Path, waveshape: ModuleType) -> None:
    results = make_results(tmp_path, waveshape, {0: "failed", 1: "removed"}, names={})
    done = gather(results)
    assert (done.returncode, done.stderr) == (0, "")
    assert "peaks.png and peaks.csv: 0 of 2 recordings" in done.stdout
    assert read_table(results) == []
    png_size(results / "peaks.png")


def test_gather_outside_osgbatch_says_what_to_set(tmp_path: Path) -> None:
    done = run(EXAMPLE / "gather.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "OSGBATCH_SPEC_DIR" in done.stderr
    assert "Traceback" not in done.stderr
