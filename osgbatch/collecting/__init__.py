"""Returned archives to verified results and one table."""
