"""One task: pi by throwing darts, in parts, with what is known saved after each part."""

import json
import os
import random
import sys
from pathlib import Path

PARTS = 3
DARTS = 500_000  # in each part
CHECKPOINT_EXIT_CODE = 85
"""Tells HTCondor that the state is saved, and that the program is to be started again."""

# Go on from the saved state; there is none when the task begins.
state_file = Path("state.json")
state = {"part": 0, "inside": 0, "thrown": 0}
if state_file.exists():
    state = json.loads(state_file.read_text())
print(f"begins with part {state['part'] + 1} of {PARTS}", flush=True)

random.seed(f"{sys.argv[1]} {state['part']}")  # each part has darts of its own
for _ in range(DARTS):
    state["inside"] += random.random() ** 2 + random.random() ** 2 < 1
state["thrown"] += DARTS
state["part"] += 1

# Written under another name first: the state is whole, even when the job ends right now.
Path("state.new").write_text(json.dumps(state))
os.replace("state.new", state_file)
if state["part"] < PARTS:
    sys.exit(CHECKPOINT_EXIT_CODE)

# What a task leaves in outputs/ comes home.
Path("outputs/pi.txt").write_text(f"{4 * state['inside'] / state['thrown']:.4f}\n")
print(f"pi is about {4 * state['inside'] / state['thrown']:.4f}, from {state['thrown']:,} darts")
