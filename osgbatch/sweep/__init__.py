"""Columns and tables to rows, as a stream."""
