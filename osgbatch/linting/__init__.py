"""Reads submit files that people wrote by hand, and says what in them could go wrong."""
