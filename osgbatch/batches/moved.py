"""A batch folder that was moved while jobs were queued: what HTCondor delivers to the old place.

HTCondor knows the absolute paths that a round was submitted with. Seen on 25.14.1 after `mv` on one
file system: a job that runs goes on writing to the moved event log, but its archive goes to the old
place, where HTCondor makes the folders anew; a job that starts later is held, since its executable
is gone, and a new event log is begun there.
"""
