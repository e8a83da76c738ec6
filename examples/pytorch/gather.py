"""Runs once, over all results: writes best.csv, the settings in order of their loss.

osgbatch starts it in the batch's results/ folder. results.csv has one row per task; what a task
wrote is in <index>/outputs/. The loss that counts is the one on points that were not fitted to.
"""

from __future__ import annotations

import csv
from pathlib import Path

found: list[tuple[float, str, str]] = []
with open("results.csv", newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file):
        if row["state"] != "succeeded":
            continue
        with Path(row["index"], "outputs/loss.csv").open(newline="") as losses:
            last = list(csv.DictReader(losses))[-1]
        found.append((float(last["new_loss"]), row["rate"], row["hidden"]))
with open("best.csv", "w", newline="") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["loss", "rate", "hidden"])
    table.writerows(sorted(found))
if found:
    loss, rate, hidden = min(found)
    print(f"best.csv: the best of {len(found)} is rate {rate}, hidden {hidden}: loss {loss:.4f}")
