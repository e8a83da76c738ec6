"""Timing of commands side by side: alternating, medians, peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One run of a command: wall time and processor time in seconds, peak memory in MiB, its words.

    Processor time and memory are of the process and of those that it waited for.
    """

    wall_s: float
    memory_mb: float
    stdout: str
    cpu_s: float = 0.0


def run(command: Sequence[str | Path], cwd: Path | None = None) -> Sample:
    """Run a command to its end; a failure is an error here."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command], cwd=cwd, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    text = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} failed with {process.returncode}")
    return Sample(wall, usage.ru_maxrss / 1024, text, usage.ru_utime + usage.ru_stime)


def alternate(runs: int, actions: Mapping[str, Callable[[], Sample]]) -> dict[str, list[Sample]]:
    """Run every action in turn, `runs` times over, so that the machine's moods hit all alike."""
    samples: dict[str, list[Sample]] = {name: [] for name in actions}
    for _ in range(runs):
        for name, action in actions.items():
            samples[name].append(action())
    return samples


def report(samples: Mapping[str, Sequence[Sample]]) -> dict[str, float]:
    """Print medians, spread and memory; give the medians in seconds."""
    medians: dict[str, float] = {}
    for name, taken in samples.items():
        walls = [sample.wall_s for sample in taken]
        medians[name] = statistics.median(walls)
        memory = max(sample.memory_mb for sample in taken)
        cpu = statistics.median(sample.cpu_s for sample in taken)
        print(
            f"{name:<34} median {medians[name] * 1000:8.1f} ms   "
            f"({min(walls) * 1000:.1f} to {max(walls) * 1000:.1f}, {len(walls)} runs)   "
            f"cpu {cpu * 1000:8.1f} ms   peak {memory:.0f} MiB"
        )
    return medians
