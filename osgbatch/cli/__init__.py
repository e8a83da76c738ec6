"""Typer commands: read arguments, call one function, print."""
