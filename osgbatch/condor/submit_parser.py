"""HTCondor's own parsers of submit files and expressions, where its bindings are installed."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from typing import Any

from osgbatch import personal_pool
from osgbatch.condor.commands import SYSTEM_CONFIGS


def quiet_environment() -> dict[str, str]:
    """Without this HTCondor complains on a machine that has no configuration of it."""
    personal_pool.use()
    if "CONDOR_CONFIG" in os.environ or any(map(os.path.exists, SYSTEM_CONFIGS)):
        return {}
    return {"CONDOR_CONFIG": os.devnull}


@cache
def bindings() -> tuple[Any, Any] | None:
    """The modules htcondor2 and classad2; None where they are not installed."""
    quiet = quiet_environment()
    before = os.environ.get("CONDOR_CONFIG")
    if before not in (None, "ONLY_ENV") and not _can_be_read(before or ""):
        quiet = {"CONDOR_CONFIG": os.devnull}  # the library would end the process, with exit code 1
    os.environ.update(quiet)
    try:
        import classad2
        import htcondor2
    except ImportError:
        return None
    finally:
        if quiet and before is None:
            del os.environ["CONDOR_CONFIG"]
        elif before is not None:
            os.environ["CONDOR_CONFIG"] = before
    return htcondor2, classad2


def _can_be_read(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.R_OK)


def refused_text(text: str) -> str | None:
    """Why HTCondor refuses a submit file up to its first queue; empty when it takes it.

    None where its bindings are not installed. Nothing is submitted; the caller takes `include`
    out, which would run programs. Seen on 25.14.1.
    """
    modules = bindings()
    if modules is None:
        return None
    if "\0" in text:
        return "embedded null character"
    said = ""
    try:
        with _Stderr() as stderr:
            modules[0].Submit(text)
    except Exception as error:
        said = f"{stderr.text} {error}".strip()
    return " ".join(said.split())


def refused_expression(text: str) -> bool | None:
    """Whether HTCondor refuses a ClassAd expression; None where its bindings are not installed."""
    modules = bindings()
    if modules is None:
        return None
    try:
        modules[1].ExprTree(text)
    except Exception:
        return True
    return False


def refused_queue(text: str) -> bool | None:
    """Whether HTCondor refuses what stands behind `queue`; None without its bindings.

    text: without macros, and with a list in brackets: a file would be read, a program run.
    """
    modules = bindings()
    if modules is None:
        return None
    try:
        with _Stderr():
            modules[0].Submit("executable = /bin/true\n").itemdata(text)
    except ValueError as error:
        return "invalid qargs" not in str(error)  # the bindings' own words for an empty item
    except Exception:
        return True
    return False


class _Stderr:
    """Keeps what the library writes to file descriptor 2 while it parses."""

    text = ""

    def __enter__(self) -> _Stderr:
        self._file = tempfile.TemporaryFile()
        self._saved = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        return self

    def __exit__(self, *error: object) -> None:
        os.dup2(self._saved, 2)
        os.close(self._saved)
        with self._file as file:
            file.seek(0)
            self.text = file.read().decode("utf-8", "replace")
