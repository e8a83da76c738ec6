"""Pools that osgbatch itself starts: the user's personal one."""
