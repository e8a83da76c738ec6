"""Runs once, over all results: draws the recordings with what was found, and writes a table.

osgbatch starts it in the batch's results/ folder, in the environment of the tasks. There it finds
results.csv, one row per task, and each task's outputs as <index>/outputs/…. OSGBATCH_SPEC_DIR is
the folder of sweep.yaml, to which the paths in the column `lfp` are relative.

Writes peaks.png and peaks.csv. Only tasks that succeeded are used; the others are named.
"""

from __future__ import annotations

import csv
import os
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

RATE = 1000.0  # samples per second
EXCERPT = (1.0, 2.5)  # seconds of each recording that are drawn
MOST_PANELS = 20  # a picture with more of them cannot be read
TRACE, PEAK, TROUGH = "#4d4d4d", "#d55e00", "#0072b2"  # Okabe and Ito: safe for the colour-blind
COLUMNS = (
    "recording",
    "peaks",
    "troughs",
    "cycle_ms",
    "rise_ms",
    "decay_ms",
    "rise_decay_asymmetry",
)


@dataclass(frozen=True)
class Found:
    """One recording and what its task found in it.

    name: the path as sweep.yaml has it.
    samples: shape (n,), microvolts.
    peaks, troughs: indices into samples, ascending, alternating.
    """

    name: str
    samples: npt.NDArray[np.float64]
    peaks: npt.NDArray[np.int64]
    troughs: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """Means over the cycles of one recording, in ms; NaN where there is none to average.

    asymmetry: (decay - rise) / (decay + rise): 0 is symmetric, above 0 rises faster than it decays.
    """

    cycle: float
    rise: float
    decay: float
    asymmetry: float


def cycle_shape(peaks: npt.NDArray[np.int64], troughs: npt.NDArray[np.int64]) -> Shape:
    """Length and shape of the cycles between alternating peaks and troughs (sample indices)."""
    places = np.concatenate([peaks, troughs])
    is_trough = np.repeat([False, True], [len(peaks), len(troughs)])
    order = np.argsort(places)
    steps = np.diff(places[order]) * 1000 / RATE
    from_trough = is_trough[order][:-1]
    rise, decay = _mean(steps[from_trough]), _mean(steps[~from_trough])
    cycle = _mean(np.diff(peaks) * 1000 / RATE)
    return Shape(cycle, rise, decay, (decay - rise) / (decay + rise))


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def read_results(results: Path, spec_folder: Path) -> tuple[list[Found], list[str]]:
    """What the tasks found, in order of their index, and a word on each that did not succeed."""
    found: list[Found] = []
    missing: list[str] = []
    with (results / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["index"]))
    for row in rows:
        if row["state"] != "succeeded":
            missing.append(f"{row['lfp']} ({row['state']})")
            continue
        outputs = results / row["index"] / "outputs"
        found.append(
            Found(
                name=row["lfp"],
                samples=np.load(spec_folder / row["lfp"]).astype(np.float64),
                peaks=np.load(outputs / "peaks.npy"),
                troughs=np.load(outputs / "troughs.npy"),
            )
        )
    return found, missing


def write_table(found: list[Found], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for one in found:
            shape = cycle_shape(one.peaks, one.troughs)
            times = [f"{value:.1f}" for value in (shape.cycle, shape.rise, shape.decay)]
            table.writerow(
                [one.name, len(one.peaks), len(one.troughs), *times, f"{shape.asymmetry:.3f}"]
            )


def draw(found: list[Found], missing: list[str], path: Path) -> None:
    """One panel per recording, the first MOST_PANELS of them, two in a row."""
    shown = found[:MOST_PANELS]
    notes = []
    if len(shown) < len(found):
        notes.append(f"The first {len(shown)} of {len(found)} recordings.")
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        notes.append(f"Not shown: {', '.join(missing[:5])}{more}.")
    note = textwrap.fill(" ".join(notes), 120)

    rows = max(1, (len(shown) + 1) // 2)
    top, bottom = 0.85, 0.65 + 0.2 * len(note.splitlines())  # inches, for title and axis label
    height = 1.55 * rows + top + bottom
    figure, grid = plt.subplots(
        rows, 2, figsize=(12, height), sharex=True, sharey=True, squeeze=False
    )
    figure.subplots_adjust(
        left=0.075,
        right=0.985,
        top=1 - top / height,
        bottom=bottom / height,
        hspace=0.32,
        wspace=0.06,
    )
    for axes, one in zip(grid.flat, shown, strict=False):
        draw_one(axes, one)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_axis_off()
    if len(shown) % 2 and rows > 1:
        grid[-2, 1].tick_params(labelbottom=True)  # nothing below it carries the time

    figure.suptitle(
        "Theta rhythm in local field potentials: peaks and troughs",
        x=0.075,
        y=1 - 0.18 / height,
        ha="left",
        va="top",
        fontsize=15,
    )
    if shown:
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="upper right",
            bbox_to_anchor=(0.985, 1 - 0.12 / height),
            ncols=3,
            frameon=False,
            fontsize=11,
            borderaxespad=0,
        )
    middle = (bottom / height + 1 - top / height) / 2
    figure.supxlabel(
        "Time in the recording (s)", y=(bottom - 0.52) / height, va="bottom", fontsize=12
    )
    figure.supylabel("Local field potential (µV)", x=0.012, y=middle, fontsize=12)
    figure.text(0.075, 0.08 / height, note, ha="left", va="bottom", fontsize=10, parse_math=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_one(axes: Axes, one: Found) -> None:
    start, end = (round(second * RATE) for second in EXCERPT)
    seconds = np.arange(len(one.samples)) / RATE
    axes.plot(
        seconds[start:end],
        one.samples[start:end],
        color=TRACE,
        linewidth=0.9,
        label="recording",
    )
    for places, colour, marker, label in (
        (one.peaks, PEAK, "^", "peak"),
        (one.troughs, TROUGH, "v", "trough"),
    ):
        inside = places[(places >= start) & (places < end)]
        axes.plot(
            seconds[inside],
            one.samples[inside],
            marker,
            color=colour,
            markersize=7,
            markeredgecolor="white",
            markeredgewidth=0.7,
            clip_on=False,
            zorder=3,
            label=label,
        )
    shape = cycle_shape(one.peaks, one.troughs)
    if np.isnan(shape.cycle):
        summary = "no whole cycle found"
    else:
        times = f"rise {shape.rise:.0f} ms, decay {shape.decay:.0f} ms"
        summary = f"cycle {shape.cycle:.0f} ms: {times}"
    # A dollar sign in a file's name is one, not the start of a formula.
    axes.set_title(f"{one.name}    {summary}", loc="left", fontsize=10, pad=4, parse_math=False)
    axes.set_xlim(EXCERPT)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    if "OSGBATCH_SPEC_DIR" not in os.environ:
        sys.exit("gather.py: set OSGBATCH_SPEC_DIR to the folder of sweep.yaml, as osgbatch does")
    results = Path.cwd()
    found, missing = read_results(results, Path(os.environ["OSGBATCH_SPEC_DIR"]))
    for one in missing:
        print(f"not used: {one}")
    write_table(found, results / "peaks.csv")
    draw(found, missing, results / "peaks.png")
    print(f"peaks.png and peaks.csv: {len(found)} of {len(found) + len(missing)} recordings")


if __name__ == "__main__":
    main()
