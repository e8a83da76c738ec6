"""Filters that do not shift a signal in time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import signal

Samples = npt.NDArray[np.float64]

ORDER = 3  # of the Butterworth filter; running it forwards and backwards doubles it


def band_pass(x: npt.ArrayLike, rate: float, low: float, high: float) -> Samples:
    """Keep what lies between two frequencies.

    x: the signal, shape (n,), any unit.
    rate: samples per second, Hz.
    low, high: edges of the band, Hz; each is 6 dB down, once for each direction of the filter.
    Returns the filtered signal, shape (n,), unit of x, with zero phase: a crossing of zero is where
    the rhythm crosses its middle, not later.
    Raises ValueError when the band does not fit the rate, or the signal is shorter than three
    cycles of `low`.
    """
    if not 0 < low < high < rate / 2:
        raise ValueError(
            f"band {low:g} to {high:g} Hz: needs 0 < low < high < {rate / 2:g} Hz, half the rate"
        )
    return _zero_phase(x, rate, [low, high], "bandpass", low)


def low_pass(x: npt.ArrayLike, rate: float, high: float) -> Samples:
    """Keep what lies below a frequency; otherwise as band_pass."""
    if not 0 < high < rate / 2:
        raise ValueError(
            f"low-pass at {high:g} Hz: needs 0 < edge < {rate / 2:g} Hz, half the rate"
        )
    return _zero_phase(x, rate, high, "lowpass", high)


def _zero_phase(
    x: npt.ArrayLike, rate: float, edges: float | list[float], kind: str, slowest: float
) -> Samples:
    samples = np.asarray(x, dtype=np.float64)
    if samples.ndim != 1:
        raise ValueError(f"needs one channel, shape (n,), got shape {samples.shape}")
    # The signal is continued past each end, turned by 180 degrees, for one cycle of the slowest
    # frequency, so that the filter has settled where the signal begins.
    padding = round(rate / slowest)
    if len(samples) < 3 * padding:
        raise ValueError(
            f"{len(samples)} samples are too few: {slowest:g} Hz at {rate:g} samples per second"
            f" needs {3 * padding}, three cycles"
        )
    sections = signal.butter(ORDER, edges, kind, fs=rate, output="sos")
    filtered: Samples = signal.sosfiltfilt(sections, samples, padlen=padding)
    return filtered
