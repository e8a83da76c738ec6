"""One task: fits a polynomial to noisy points, and tells how well it foresees new ones."""

import sys

import numpy as np

seed, degree = int(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(seed)
x = random.uniform(-1, 1, 30)
y = np.sin(3 * x) + random.normal(0, 0.1, x.size)

fitted = np.polyfit(x[:15], y[:15], degree)
error = float(np.sqrt(np.mean((np.polyval(fitted, x[15:]) - y[15:]) ** 2)))

# What a task leaves in outputs/ comes home.
with open("outputs/fit.csv", "w") as file:
    file.write(f"seed,degree,error\n{seed},{degree},{error:.4f}\n")
print(f"degree {degree}: off by {error:.4f}")
