"""A first sweep: folders to begin with, each complete and running as it stands."""
