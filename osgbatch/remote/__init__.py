"""A host that is reached by ssh: commands there, files both ways by rsync."""
