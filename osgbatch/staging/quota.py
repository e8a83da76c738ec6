"""How much room is left: what a quota command of the pool says, and what the file system does."""

from __future__ import annotations

import math
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 10.0
"""A quota command that takes longer is done without."""
_POWERS = "KMGTP"
_LEFT = re.compile(r"(-?[0-9]+(?:\.[0-9]*)?)\s*(?:([KMGTP])(?:i?B)?|B|bytes)?", re.IGNORECASE)
_OPEN = ("none", "unlimited")


@dataclass(frozen=True)
class Room:
    """What is left somewhere.

    left: bytes; None when that cannot be known, or there is no limit. by: who says so. fault: why a
    quota command was of no use; empty when it was, or when there is none.
    """

    left: int | None
    by: str = ""
    fault: str = ""

    def fits(self, count: int) -> bool:
        """Whether there is room for so many bytes."""
        return self.left is None or count <= self.left

    def nearly_full(self, count: int) -> bool:
        """Whether so many bytes would take more than nine tenths of what is left."""
        return self.left is not None and count > 0 and self.left - count < self.left / 10


class QuotaCommandError(Exception):
    """A quota command is of no use; its text says why, with the command."""


def room_left(command: str, folder: Path | None) -> Room:
    """The room that is left by a quota command and by the file system, whichever leaves less.

    command: of the profile; empty when there is none. folder: on the file system in question; it
    need not be there yet. None when there is no file system here, as with a bucket.
    """
    left = _of_file_system(folder) if folder else None
    by = "the file system" if left is not None else ""
    fault = ""
    if command:
        try:
            told = ask(command)
        except QuotaCommandError as error:
            fault = str(error)
        else:
            if told is not None and (left is None or told < left):
                left, by = told, "the quota"
    return Room(left, by, fault)


def ask(command: str) -> int | None:
    """Bytes that a quota command says are left; None when it says that there is no limit.

    command: words as a shell reads them, run without one. It prints one line: a number of bytes, or
    a number and a unit, K to P (powers of 1024); or `none`. What is below zero counts as nothing.
    Raises QuotaCommandError.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise QuotaCommandError(f"{command}: {error}") from None
    if not words:
        return None
    code, printed, complaint = _run(command, words)
    text = printed.strip()
    if code != 0:
        last = complaint.strip().splitlines()[-1:]
        said = f": {last[0]}" if last else ""
        raise QuotaCommandError(f"{command}: it failed with exit code {code}{said}")
    if text.lower() in _OPEN:
        return None
    match = _LEFT.fullmatch(text)
    if match is None:
        shown = text[:60].replace("\n", " ") or "nothing"
        raise QuotaCommandError(f"{command}: it printed {shown}, and not one number")
    factor = 1024.0 ** (_POWERS.index(match[2].upper()) + 1 if match[2] else 0)
    return max(0, math.floor(float(match[1]) * factor))


def _run(command: str, words: list[str]) -> tuple[int, str, str]:
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        raise QuotaCommandError(f"{command}: cannot be run: {error.strerror}") from None
    try:
        printed, complaint = process.communicate(timeout=TIMEOUT_S)
    except BaseException as error:
        # What it has started ends with it, also after Ctrl-C.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise QuotaCommandError(f"{command}: no answer within {TIMEOUT_S:.0f} s") from None
    return process.returncode, printed, complaint


def _of_file_system(folder: Path) -> int | None:
    """Bytes that the user may still write there; None when the file system does not tell."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    # Some network file systems tell nothing: zero of zero blocks.
    return status.f_bavail * status.f_frsize if status.f_blocks else None


def warnings_of(room: Room, count: int, where: str, size: Callable[[float], str]) -> list[str]:
    """What is worth a word about bringing so many bytes somewhere, when they fit.

    where: "your home folder", "the stash".
    """
    found = []
    if room.fault:
        found.append(f"the quota command of {where} is of no use: {room.fault}")
    if room.left is not None and room.fits(count) and room.nearly_full(count):
        found.append(f"{where} will have {size(room.left - count)} left, by {room.by}")
    return found
