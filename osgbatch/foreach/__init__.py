"""Scatter/gather from one script: `osgbatch foreach`, as a workflow of up to three steps."""
