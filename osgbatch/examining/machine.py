"""Checks of this machine: Python, osgbatch's own parts, the account, the locale, limits."""

from __future__ import annotations

import codecs
import importlib.metadata
import locale
import os
import platform
import re
import resource
import sys

from osgbatch import places
from osgbatch.examining.check import (
    MACHINE,
    Check,
    Found,
    Here,
    failure,
    ok,
    skipped,
    warning,
)
from osgbatch.texts import size
from osgbatch.version import VERSION

OLDEST = (3, 10)
TEMPLATES = ("job.submit.j2", "shim.sh.j2")
"""Without these nothing can be submitted."""
_FEW_FILES = 256
_SMALL_FILE = 1024**3


def python(here: Here) -> Found:
    """Its version."""
    told = f"Python {platform.python_version()} ({sys.executable})"
    if sys.version_info < OLDEST:
        return failure(told, f"osgbatch needs Python {OLDEST[0]}.{OLDEST[1]} or newer.")
    return ok(told, python=platform.python_version())


def install(here: Here) -> Found:
    """Its templates and the packages that it needs."""
    folder = places.template_folder()
    missing = [name for name in TEMPLATES if not (folder / name).is_file()]
    if missing:
        return failure(
            f"osgbatch {VERSION} lacks {' and '.join(missing)} in {folder}", "Install it anew."
        )
    lacking = _packages_lacking()
    if lacking:
        return failure(
            f"osgbatch {VERSION} lacks the packages {', '.join(lacking)}",
            f"{sys.executable} -m pip install {' '.join(lacking)}",
        )
    return ok(f"osgbatch {VERSION}, whole", version=VERSION)


def _packages_lacking() -> list[str]:
    """Of what its own metadata require, without extras; none where it runs from a checkout."""
    try:
        required = importlib.metadata.requires("osgbatch") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = []
    for line in required:
        name, _, condition = line.partition(";")
        if condition:  # an extra, or another machine
            continue
        name = re.split(r"[^A-Za-z0-9._-]", name.strip())[0]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found.append(name)
    return found


def settings(here: Here) -> Found:
    """The user's own, a class's, and which profile they come to."""
    if here.fault:
        return failure(here.fault.splitlines()[0], "\n".join(here.fault.splitlines()[1:]))
    return ok(f"profile {here.profile.facts.name}, by {here.chosen}",
              profile=here.profile.facts.name)  # fmt: skip


def access_point(here: Here) -> Found:
    """Whether this machine is one of a pool that osgbatch knows."""
    if here.known_host:
        return ok(
            f"{here.known_host}: many share it, so computing belongs into jobs, and --pool local "
            "wants --on-access-point there"
        )
    return skipped("no profile knows this machine as an access point")


def account(here: Here) -> Found:
    """Whose jobs they would be."""
    if os.getuid() == 0 and here.condor:
        return warning("you are root, and HTCondor refuses jobs of root", "Log in as yourself.")
    return ok(f"uid {os.getuid()}")


def umask(here: Here) -> Found:
    """What new files are allowed."""
    found = os.umask(0)
    os.umask(found)
    text = f"umask {found:03o}"
    if found & 0o700:
        return failure(f"{text} forbids you your own new files", "Type `umask 022`.")
    if not found & 0o002:
        return warning(f"{text}: others may change your new files", "Type `umask 022`.")
    return ok(text)


def encoding(here: Here) -> Found:
    """Whether names and output beyond ASCII are shown."""
    try:
        locale.setlocale(locale.LC_ALL, "")
    except locale.Error:
        wanted = os.environ.get("LC_ALL") or os.environ.get("LANG", "")
        return warning(f"this machine does not have the locale {wanted}",
                       "Type `export LC_ALL=C.UTF-8`.")  # fmt: skip
    found = sys.getfilesystemencoding()
    told = locale.getpreferredencoding(do_setlocale=False)
    if codecs.lookup(found).name != "utf-8" or codecs.lookup(told).name != "utf-8":
        return warning(
            f"text is {told}, names of files are {found}: other characters are shown escaped",
            "Type `export LC_ALL=C.UTF-8`.",
        )
    return ok("UTF-8")


def limits(here: Here) -> Found:
    """How large a file may be, and how many may be open."""
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if largest != resource.RLIM_INFINITY and largest < _SMALL_FILE:
        return warning(
            f"no file may be larger than {size(largest)} (ulimit -f)",
            "Type `ulimit -f unlimited`, or ask the administrator.",
        )
    if files != resource.RLIM_INFINITY and files < _FEW_FILES:
        return warning(f"only {files} files may be open at once (ulimit -n)",
                       "Type `ulimit -n 1024`.")  # fmt: skip
    many = "any number of" if files == resource.RLIM_INFINITY else f"{files:,}"
    if largest != resource.RLIM_INFINITY:
        return ok(f"files of up to {size(largest)} (ulimit -f), {many} open at once")
    return ok(f"files of any size, {many} open at once")


CHECKS = (
    Check("python", MACHINE, "Python is new enough", python),
    Check("osgbatch", MACHINE, "osgbatch itself is whole: its templates, the packages that it "
          "needs", install),
    Check("settings", MACHINE, "your settings can be read, and which profile holds", settings),
    Check("access point", MACHINE, "whether this machine is an access point that many share, where "
          "nothing should be computed", access_point),
    Check("account", MACHINE, "you are not root, of whom HTCondor takes no jobs", account),
    Check("umask", MACHINE, "new files are yours to read, and not for others to change", umask),
    Check("locale", MACHINE, "text and names of files are UTF-8", encoding),
    Check("limits", MACHINE, "files may be large, and enough of them open at once", limits),
)  # fmt: skip
