"""Workflows: steps that are batches, one after the other, here and in the pool."""
