"""Runs once, over all results: writes one table of them, and draws it.

osgbatch starts it in the batch's results/ folder, in the environment of the tasks. results.csv has
one row per task; what a task returned is in <index>/outputs/result.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

tasks = pd.read_csv("results.csv")
tasks = tasks[tasks["state"] == "succeeded"]
returned = [
    json.loads(Path(str(index), "outputs/result.json").read_text()) for index in tasks["index"]
]
table = tasks[["r0", "vaccinated"]].reset_index(drop=True)
for name in ("ill", "peak", "peak_day"):
    table[name] = [one[name] for one in returned]
table.to_csv("table.csv", index=False)

grid = table.pivot(index="r0", columns="vaccinated", values="ill")
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
shown = axes.imshow(grid, cmap="viridis", vmin=0, vmax=1, origin="lower", aspect="auto")
axes.set_xticks(range(len(grid.columns)), [f"{value:.0%}" for value in grid.columns])
axes.set_yticks(range(len(grid.index)), [f"{value:g}" for value in grid.index])
axes.set_xlabel("Vaccinated")
axes.set_ylabel("People infected by one, R0")
for row, r0 in enumerate(grid.index):
    for column, vaccinated in enumerate(grid.columns):
        ill = grid.loc[r0, vaccinated]
        colour = "white" if ill < 0.6 else "black"
        axes.text(column, row, f"{ill:.0%}", ha="center", va="center", color=colour)
figure.colorbar(shown, label="Part of the people that falls ill")
figure.savefig("map.png", dpi=120)
print(f"table.csv and map.png: {len(table)} settings")
