"""The batch folder on disk, its registry, its event log and the states that follow."""
