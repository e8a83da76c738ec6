"""Environments, libraries and files to archives."""
