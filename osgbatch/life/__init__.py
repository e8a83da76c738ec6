"""A submitted batch: its states, what its tasks print, why, and what can be done with it."""
