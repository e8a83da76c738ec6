"""One task: a population that grows, and is held back by its own size (the logistic map)."""

import csv
import sys

growth, population = float(sys.argv[1]), float(sys.argv[2])
low = high = population
for year in range(1000):
    population = growth * population * (1 - population)
    if year == 900:  # by then it has settled, where it settles at all
        low = high = population
    low, high = min(low, population), max(high, population)

# What a task leaves in outputs/ comes home.
with open("outputs/result.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["low", "high"])
    table.writerow([f"{low:.4f}", f"{high:.4f}"])
print(f"growth {growth:g}: between {low:.4f} and {high:.4f}")
