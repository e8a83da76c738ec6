"""Tells somebody that a batch has ended: by mail, or by a command of theirs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable

from osgbatch.errors import OsgbatchError
from osgbatch.life.following import Status

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")
_LIMIT_S = 60


def check(whom: str) -> None:
    """Raises OsgbatchError when nobody can be told so: better now than after a day."""
    if not whom or not _ADDRESS.fullmatch(whom) or shutil.which("mail"):
        return
    raise OsgbatchError(
        "this machine has no `mail` command to write to an address with",
        where=f"--notify {whom}",
        fix="Give a command instead, which is run at the end: --notify 'curl …'.",
    )


def notify_end(whom: str, now: Status, counts: str, say: Callable[[str], None]) -> None:
    """Tell of a batch that has ended. What goes wrong is said, and is no error of the batch.

    counts: how many tasks are in which state, in words. whom: a mail address, or a command for the
    shell, which is given the text on its stdin and OSGBATCH_BATCH, OSGBATCH_NAME and
    OSGBATCH_ENDED (0: all succeeded) in its environment.
    """
    if not whom:
        return
    what = "was stopped" if now.open_tasks else "has ended"
    subject = f"osgbatch: {now.batch.name} {what}: {counts}"
    text = f"{subject}\n{now.batch.folder}\n"
    command = ["mail", "-s", subject, whom] if _ADDRESS.fullmatch(whom) else ["sh", "-c", whom]
    environment = {
        **os.environ,
        "OSGBATCH_BATCH": str(now.batch.folder),
        "OSGBATCH_NAME": now.batch.name,
        "OSGBATCH_ENDED": str(now.exit_code),
    }
    try:
        # A file, no pipe: a command that does not read its stdin would break that, and end us.
        with tempfile.TemporaryFile() as stdin:
            stdin.write(text.encode("utf-8", "surrogateescape"))
            stdin.seek(0)
            done = subprocess.run(
                command, stdin=stdin, env=environment, timeout=_LIMIT_S, check=False
            )
        problem = f"exit code {done.returncode}" if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem:
        say(f"note: --notify {whom}: {problem}")
