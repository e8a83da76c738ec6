"""Python as it is on macOS: on PYTHONPATH, this takes away what only Linux has.

Source: the availability notes of the library reference. The system's own calls stay but for two.
"""

import ctypes
import os
import resource
import select
import signal
from typing import Any

GONE = {
    os: "copy_file_range pidfd_open pipe2 posix_fadvise posix_fallocate sched_getaffinity "
    "getrandom getxattr listxattr setxattr memfd_create eventfd splice fdatasync getresuid "
    "setresuid unshare O_DIRECT O_NOATIME O_PATH O_TMPFILE P_PIDFD POSIX_FADV_DONTNEED "
    "ST_NOATIME ST_NODEV ST_NOEXEC",
    resource: "prlimit RLIMIT_OFILE RUSAGE_THREAD",
    select: "epoll",
    signal: "pidfd_send_signal sigtimedwait sigwaitinfo SIGPOLL SIGRTMAX SIGRTMIN",
}
for module, names in GONE.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

confstr = os.confstr


def confstr_of_macos(name: str) -> str | None:
    """As os.confstr, which knows no glibc there."""
    if name.startswith("CS_GNU"):
        raise ValueError("unrecognized configuration name")
    return confstr(name)


class Library(ctypes.CDLL):
    """Without the calls that only Linux has."""

    def __getattr__(self, name: str) -> Any:
        if name in ("prctl", "syncfs"):
            raise AttributeError(name)
        return super().__getattr__(name)


setattr(os, "confstr", confstr_of_macos)  # noqa: B010
setattr(ctypes, "CDLL", Library)  # noqa: B010
