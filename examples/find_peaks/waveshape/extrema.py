"""Peaks and troughs of a rhythm, found between the zero crossings of its band."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from waveshape.filt import band_pass, low_pass

Indices = npt.NDArray[np.int64]

SMOOTHING = 3.0  # times the upper edge of the band: keeps the waveform, drops the fuzz on it


def zero_crossings(x: npt.ArrayLike) -> tuple[Indices, Indices]:
    """Where a signal changes its sign.

    x: the signal, shape (n,).
    Returns (rises, falls), each int64 and ascending: the first sample at or above zero after one
    below it, and the first one below zero after one at or above it. The two alternate.
    """
    above = np.asarray(x) >= 0
    change = np.flatnonzero(above[1:] != above[:-1]) + 1
    return change[above[change]].astype(np.int64), change[~above[change]].astype(np.int64)


def find_extrema(
    x: npt.ArrayLike, rate: float, band: tuple[float, float]
) -> tuple[Indices, Indices]:
    """Peaks and troughs of the rhythm in a band.

    The band-passed signal says where one half-cycle ends and the next begins; the peak and the
    trough themselves are looked for in the signal, lightly smoothed, because a band-pass makes
    every waveform a symmetric one.

    x: the recording, shape (n,), any unit.
    rate: samples per second, Hz.
    band: lower and upper edge of the rhythm's band, Hz.
    Returns (peaks, troughs): indices into x, int64, ascending, alternating. A half-cycle that the
    recording's start or end cuts is left out: its largest value need not be its peak.
    Raises ValueError, as band_pass does.
    """
    low, high = band
    rises, falls = zero_crossings(band_pass(x, rate, low, high))
    smooth = low_pass(x, rate, min(SMOOTHING * high, 0.45 * rate))
    crossings = np.sort(np.concatenate([rises, falls]))
    starts_high = len(rises) > 0 and crossings[0] == rises[0]
    peaks: list[int] = []
    troughs: list[int] = []
    for number, (start, end) in enumerate(pairwise(crossings)):
        half_cycle = smooth[start:end]
        if (number % 2 == 0) == starts_high:
            peaks.append(int(start + np.argmax(half_cycle)))
        else:
            troughs.append(int(start + np.argmin(half_cycle)))
    return np.array(peaks, dtype=np.int64), np.array(troughs, dtype=np.int64)
