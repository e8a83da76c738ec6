"""osgbatch: parameter sweeps on HTCondor and the Open Science Pool, with checked results."""

from osgbatch.version import __version__

__all__ = ["__version__"]
