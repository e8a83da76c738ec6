"""Spec and rows to Plan to Resolved; pure."""
