"""Who goes on with a workflow is the only one who does."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from osgbatch.errors import BusyError
from osgbatch.life.naming import shown_path
from osgbatch.workflows.folder import Workflow


@contextmanager
def held(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock on a folder. Raises BlockingIOError when another has it, unless told to wait.

    Some network file systems have no locks for folders: there nobody is kept out.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)


@contextmanager
def alone(workflow: Workflow, *, pools_too: bool = False) -> Iterator[None]:
    """Be the only one who goes on with a workflow of which something runs on this machine.

    pools_too: also where all of it runs in the pool. Raises BusyError when another osgbatch does.
    """
    if not pools_too and not any(workflow.backend(step) == "local" for step in workflow.steps):
        yield
        return
    try:
        with held(workflow.folder, wait=False):
            yield
    except BlockingIOError:
        name = shown_path(workflow.folder)
        raise BusyError(
            "another osgbatch goes on with this",
            where=str(workflow.folder),
            fix=f"`osgbatch status {name}` shows how far it is, `osgbatch watch {name}` follows "
            "it.",
        ) from None
