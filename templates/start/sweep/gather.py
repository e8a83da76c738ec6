"""Runs once, over all results, in the folder results/: puts them into one table.

results.csv has a row for each task; what task 7 wrote is in 7/outputs/.
"""

import csv

with open("results.csv", newline="") as file:
    tasks = list(csv.DictReader(file))

with open("table.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["growth", "population", "low", "high"])
    for task in tasks:
        with open(f"{task['index']}/outputs/result.csv", newline="") as returned:
            found = next(csv.DictReader(returned))
        table.writerow([task["growth"], task["population"], found["low"], found["high"]])
print(f"table.csv: {len(tasks)} rows")
