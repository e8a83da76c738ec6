"""One task: asks which GPUs it was given, and computes on one where PyTorch is there."""

import json
import subprocess
import sys

size = int(sys.argv[1])
try:
    question = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    gpus = subprocess.run(question, capture_output=True, text=True, check=True).stdout.splitlines()
except (OSError, subprocess.CalledProcessError):
    gpus = []
print("\n".join(gpus) or "There is no GPU here: this runs on the processor.")

try:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    matrix = torch.full((size, size), 0.5, device=device)
    total, computed_on = float((matrix @ matrix).sum()), device
except ImportError:
    total, computed_on = size**3 * 0.25, "cpu, without PyTorch"  # what the sum comes to

# What a task leaves in outputs/ comes home.
with open("outputs/gpu.json", "w") as file:
    json.dump({"gpus": gpus, "computed_on": computed_on, "total": total}, file, indent=1)
print(f"{computed_on}: {total:g}")
