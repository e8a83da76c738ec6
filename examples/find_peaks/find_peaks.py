"""The task: find the peaks and troughs of the theta rhythm in one recording.

    python find_peaks.py inputs/data/0.npy --band 4 10

Writes outputs/peaks.npy and outputs/troughs.npy: sample indices, int64, ascending; and how many
there are into outputs/metrics.json, which osgbatch makes columns of results.csv.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from waveshape import find_extrema


def load(path: Path) -> npt.NDArray[np.float64]:
    """Read one recording: a .npy file of finite numbers, shape (n,).

    Raises OSError when it cannot be read, ValueError when it is something else.
    """
    with path.open("rb") as file:
        try:
            samples = np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"not a whole .npy file of numbers: {error}") from error
    if samples.dtype.kind not in "iuf":
        raise ValueError(f"needs numbers, got {samples.dtype}")
    if samples.ndim != 1:
        raise ValueError(f"needs one channel, shape (n,), got shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(samples))} samples are NaN or infinite")
    return samples.astype(np.float64)


def main() -> int:
    parser = argparse.ArgumentParser(description="Find peaks and troughs of a rhythm.")
    parser.add_argument("recording", type=Path, help=".npy file, shape (n,)")
    parser.add_argument(
        "--band", type=float, nargs=2, default=(4.0, 10.0), metavar=("LOW", "HIGH"), help="Hz"
    )
    parser.add_argument("--rate", type=float, default=1000.0, help="samples per second")
    arguments = parser.parse_args()
    low, high = arguments.band

    try:
        samples = load(arguments.recording)
        peaks, troughs = find_extrema(samples, arguments.rate, (low, high))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        print(f"find_peaks.py: {arguments.recording}: {why}", file=sys.stderr)
        return 1

    outputs = Path("outputs")
    outputs.mkdir(exist_ok=True)
    np.save(outputs / "peaks.npy", peaks)
    np.save(outputs / "troughs.npy", troughs)
    found = {"peaks": len(peaks), "troughs": len(troughs), "seconds": len(samples) / arguments.rate}
    (outputs / "metrics.json").write_text(json.dumps(found))
    print(
        f"{arguments.recording}: {len(peaks)} peaks and {len(troughs)} troughs"
        f" between {low:g} and {high:g} Hz in {len(samples) / arguments.rate:g} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
