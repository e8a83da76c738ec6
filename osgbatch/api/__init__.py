"""The floor of Python's own interface: map, submit, load, Executor."""
