"""The exit codes of the command line, in their one place."""

OK = 0
"""All tasks succeeded, or the command did what it was asked."""
SOME_FAILED = 1
"""Some task did not succeed."""
BAD_INPUT = 2
"""The spec, an argument or a named batch is wrong; nothing was changed."""
PACKING = 3
"""An archive could not be made."""
STAGING = 4
"""An object could not be staged."""
HTCONDOR = 5
"""HTCondor could not be reached, or refused."""
BUSY = 6
"""Another process is working on this batch."""
INTERRUPTED = 130
"""Stopped by Ctrl-C."""
