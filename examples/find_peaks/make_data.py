"""Make the ten recordings in data/: theta rhythm with an asymmetric waveform in 1/f noise.

    python make_data.py [FOLDER]

The same seed gives the same bytes on every machine: the samples come from Python's own generator,
whose sequence is guaranteed, and from + - * / and square roots, which IEEE 754 rounds alike
everywhere. (numpy's sines, FFTs and normal deviates may differ in the last bit between versions
and processors.)
"""

from __future__ import annotations

import argparse
import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SEED = 2017
RATE = 1000  # samples per second
SAMPLES = 5000  # per recording
AMPLITUDE = 300.0  # microvolts, from the middle of the rhythm to a peak


@dataclass(frozen=True)
class Recording:
    """How one recording is made.

    theta: frequency of the rhythm, Hz.
    rise: part of a cycle spent rising; 0.5 is symmetric, less is a fast rise and a slow decay.
    noise: standard deviation of the 1/f noise, microvolts.
    """

    theta: float
    rise: float
    noise: float


RECORDINGS = (
    Recording(theta=8.0, rise=0.30, noise=40),
    Recording(theta=7.0, rise=0.37, noise=55),
    Recording(theta=8.6, rise=0.42, noise=45),
    Recording(theta=6.6, rise=0.24, noise=40),
    Recording(theta=7.6, rise=0.50, noise=40),
    Recording(theta=8.3, rise=0.345, noise=60),
    Recording(theta=7.3, rise=0.46, noise=55),
    Recording(theta=6.9, rise=0.27, noise=30),
    Recording(theta=8.8, rise=0.395, noise=50),
    Recording(theta=7.9, rise=0.32, noise=50),
)


def theta_wave(recording: Recording, rng: random.Random) -> list[float]:
    """A rhythm whose cycles vary a little in length, height and shape.

    Returns SAMPLES values in microvolts. Between a trough and the next peak, and back, the curve is
    the cubic that is flat at both ends.
    """
    wave: list[float] = []
    # Starting before 0 lets every recording begin at another phase.
    start = -rng.random() * RATE / recording.theta
    low = -AMPLITUDE
    while len(wave) < SAMPLES:
        period = RATE / recording.theta * (1 + 0.08 * (2 * rng.random() - 1))
        rise = recording.rise + 0.03 * (2 * rng.random() - 1)
        high = AMPLITUDE * (1 + 0.25 * (2 * rng.random() - 1))
        next_low = -AMPLITUDE * (1 + 0.25 * (2 * rng.random() - 1))
        peak, end = start + rise * period, start + period
        while len(wave) < min(end, SAMPLES):
            t = float(len(wave))
            if t < peak:
                wave.append(low + (high - low) * _flat_ended((t - start) / (peak - start)))
            else:
                wave.append(high + (next_low - high) * _flat_ended((t - peak) / (end - peak)))
        start, low = end, next_low
    return wave


def _flat_ended(u: float) -> float:
    return u * u * (3 - 2 * u)


def pink_noise(deviation: float, rng: random.Random) -> list[float]:
    """Noise whose power falls as 1/f from about 0.3 to 40 Hz, and faster above.

    deviation: standard deviation, microvolts.
    Returns SAMPLES values in microvolts: the sum of eight first-order low-passes of white noise
    whose time constants, 4 to 512 ms, are an octave apart.
    """
    keep = [1 - 1 / 2**octave for octave in range(2, 10)]
    # Variance 1 for each: a uniform number in [-1, 1) has variance 1/3.
    gain = [math.sqrt(3 * (1 - k * k)) for k in keep]
    state = [0.0] * len(keep)
    noise: list[float] = []
    run_in = 2048  # samples until the slowest of them has forgotten its start at 0
    for i in range(run_in + SAMPLES):
        total = 0.0
        for j, k in enumerate(keep):
            state[j] = k * state[j] + gain[j] * (2 * rng.random() - 1)
            total += state[j]
        if i >= run_in:
            noise.append(deviation * total / math.sqrt(len(keep)))
    return noise


def make_recording(number: int, seed: int = SEED) -> npt.NDArray[np.int16]:
    """Recording `number` of RECORDINGS: shape (SAMPLES,), 1 count = 1 microvolt."""
    recording = RECORDINGS[number]
    rng = random.Random(seed * 1000 + number)
    wave = theta_wave(recording, rng)
    noise = pink_noise(recording.noise, rng)
    return np.array([round(w + n) for w, n in zip(wave, noise, strict=True)], dtype="<i2")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the recordings of this example.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(RECORDINGS)):
        np.save(arguments.folder / f"{number}.npy", make_recording(number, arguments.seed))


if __name__ == "__main__":
    main()
