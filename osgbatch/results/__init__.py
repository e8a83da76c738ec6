"""From what came back to results: taken, gathered, tabulated, reported, and how they were made."""
