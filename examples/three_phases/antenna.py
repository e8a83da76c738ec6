"""The field of small antennas: input files, one simulation for each, the peaks of all."""

import csv
import json
import math
import sys
from pathlib import Path

ELEMENTS = (1, 2, 4)
SPACINGS = (0.25, 0.5)


def setup():
    """An input file for each simulation, and a table of them."""
    with open("outputs/simulations.csv", "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["simulation"])
        for elements in ELEMENTS:
            for spacing in SPACINGS:
                name = f"n{elements}-d{spacing}"
                settings = {"elements": elements, "spacing": spacing}
                Path(f"outputs/{name}.json").write_text(json.dumps(settings))
                table.writerow([name])


def run(simulation):
    """The array factor over all angles; spacing is in wavelengths."""
    settings = json.loads(Path(f"inputs/setup/0/outputs/{simulation}.json").read_text())
    with open("outputs/field.csv", "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["angle", "field"])
        for angle in range(181):
            phase = 2 * math.pi * settings["spacing"] * math.cos(math.radians(angle))
            waves = [
                complex(math.cos(k * phase), math.sin(k * phase))
                for k in range(settings["elements"])
            ]
            table.writerow([angle, f"{abs(sum(waves)):.6f}"])


def extract():
    """The largest field of each simulation, in the order of the tasks."""
    with open("inputs/run/results.csv", newline="") as stream:
        tasks = list(csv.DictReader(stream))
    with open("outputs/peaks.csv", "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["simulation", "peak"])
        for task in tasks:
            with open(f"inputs/run/{task['index']}/outputs/field.csv", newline="") as field:
                peak = max(float(row["field"]) for row in csv.DictReader(field))
            table.writerow([task["simulation"], f"{peak:g}"])


if __name__ == "__main__":
    {"setup": setup, "run": run, "extract": extract}[sys.argv[1]](*sys.argv[2:])
