"""YAML text to Spec; every error with file, line, column and a caret."""
