"""How tasks fail: the shim's exit codes, reasons, signals and what stderr shows, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FAILED = "osgbatch resubmit {batch} --failed"
MISSING = "osgbatch resubmit {batch} --missing"
MEMORY = 'osgbatch resubmit {batch} --failed --set "resources.memory={memory}"'
DISK = 'osgbatch resubmit {batch} --failed --set "resources.disk={disk}"'
TIME = 'osgbatch resubmit {batch} --failed --set "resources.time={time}"'
VERIFY = "osgbatch stage verify"
LOGS = "osgbatch logs {batch} --task {task}"


@dataclass(frozen=True)
class Ending:
    """A way in which a task or a job ends badly.

    cause, todo: in a sentence or two; commands: to type, where {batch}, {task}, {memory}, {disk}
    and {time} stand for what fits the batch.
    """

    cause: str
    todo: str
    commands: tuple[str, ...] = (FAILED,)


@dataclass(frozen=True)
class ShimCode(Ending):
    """An exit code that the shim keeps for itself. retried: HTCondor starts such a job again."""

    code: int = 0
    retried: bool = True


_ELSEWHERE = "The machine is at fault: run the tasks again; they come to others."


def _code(
    code: int, cause: str, todo: str, commands: tuple[str, ...] = (FAILED,), *, retried: bool = True
) -> ShimCode:
    return ShimCode(cause, todo, commands, code, retried)


SHIM_CODES: Mapping[int, ShimCode] = {
    row.code: row
    for row in (
        _code(101, "scratch folder cannot be used", _ELSEWHERE),
        _code(102, "not enough free disk", "Ask for more disk; run the tasks again.", (DISK,)),
        _code(103, "an archive did not arrive or is damaged",
              "Run the tasks again. When it comes again, is what was staged still whole?",
              (FAILED, VERIFY)),
        _code(104, "an archive cannot be unpacked",
              "Most often the disk is too small for it: ask for more.", (DISK,)),
        _code(105, "the environment's interpreter does not start here",
              "The machine's system or CPU is too old for the environment. Ask for newer ones "
              "(`requirements: {os: RHEL 9, microarch: x86_64-v3}`), or use a container."),
        _code(106, "a tool is missing on the execution point",
              "An image needs sh, tar, gzip, base64 and sha256sum; busybox has them all. "
              "Without a container the machine is at fault: run the tasks again."),
        _code(107, "an input file did not arrive",
              "Is it still where the sweep says? Run the tasks again."),
        _code(108, "the output archive cannot be written",
              "The disk was full: ask for more, or keep less (`outputs:`).", (DISK,)),
        _code(109, "the rows of the tasks cannot be read",
              "What arrived was damaged: run the tasks again."),
        _code(110, "a required output is missing",
              "The command ended with 0, but made no file that `outputs:` names. Correct the "
              "program or the name, or add `optional: true`.", (LOGS, FAILED), retried=False),
        _code(111, "a task ran over its time",
              "Give it more time, if it is not stuck: see how far it came.", (LOGS, TIME),
              retried=False),
        _code(112, "the command does not exist or cannot be executed",
              "Name the program in `files:`, or bring it with the environment; a script needs "
              "`#!` and an interpreter that is there.", (LOGS, FAILED), retried=False),
        _code(113, "the job was told to stop (TERM)",
              "It was evicted, cancelled or over its time: run the tasks again.", retried=False),
        _code(114, "an input from the stash or a listing is not what it should be",
              "It was changed where it lies, or a cache holds a damaged copy. If a task changes "
              "its own inputs: `tasks_per_job: 1`.", (VERIFY, FAILED)),
        _code(120, "a task exited with a code between 100 and 119, or with 137 "
              "(the record has it)", "See what it wrote.", (LOGS, FAILED), retried=False),
        _code(137, "the shim itself was killed, inside a container; outside HTCondor tells of "
              "signal 9", "Most often for want of memory: ask for more.", (MEMORY,)),
    )
}  # fmt: skip
"""Codes 100 to 119 are the shim's; 120 and 137 stand for what could be taken for one of them."""

RETRIED_CODES = tuple(row.code for row in SHIM_CODES.values() if row.retried)
"""After these the job itself is started again, on another slot where possible."""

_OWN = "See what it wrote, correct the program or its parameters, and run the tasks again."
REASONS: Mapping[str, Ending] = {
    "exit": Ending("the command itself ended with this exit code", _OWN, (LOGS, FAILED)),
    "signal": Ending("the command was killed by this signal", _OWN, (LOGS, FAILED)),
    "shim-killed": Ending(
        "the whole job was killed; what its tasks did is not known",
        "Signal 9 is most often want of memory: ask for more. Else run the tasks again.",
        (MEMORY, FAILED),
    ),
    "no-archive": Ending(
        "the job ended, but its archive did not come back",
        "Are the returned files still in the batch folder, is there room? Run the tasks again.",
        (MISSING,),
    ),
    "damaged": Ending(
        "what came back is damaged, or is not what the execution point had listed",
        "Run the tasks again.",
        (MISSING,),
    ),
    "dropped": Ending(
        "its archive was deleted after collecting (`--drop-archives`), and not all of its result "
        "is in `results/` any more",
        "Bring back what is gone from `results/`, if you have a copy. Else run the tasks again.",
        (MISSING,),
    ),
    "archive-gone": Ending(
        "its archive had come back, and is gone from the batch folder; not all of its result is "
        "in `results/`",
        "Bring back the archive or the result, if you have a copy. Else run the tasks again.",
        (MISSING,),
    ),
    "no-record": Ending(
        "the job ended before it came to this task", "Run the tasks again.", (MISSING,)
    ),
    "gone": Ending(
        "neither the queue nor the history of this access point knows the job any more",
        "Run the tasks again.",
        (MISSING,),
    ),
    "reused-gone": Ending(
        "its result was reused from an earlier batch, and is not in `results/` any more",
        "`osgbatch collect` copies it anew where that batch is still there. Else run it again.",
        ("osgbatch collect {batch}", MISSING),
    ),
    "runner-died": Ending(
        "the local runner has died, or this machine was started anew",
        "Run again what it left.",
        (MISSING,),
    ),
    "removed": Ending(
        "the job was removed from the queue before the task was done",
        "If that was not meant, run the tasks again.",
        (MISSING,),
    ),
}
"""Other endings, by the reason that a task's state tells."""
_SAME_AS = {"missing-output": 110, "time": 111, "command-not-found": 112, "stopped": 113}

EXIT_CODES: Mapping[int, str] = {
    126: "a shell found a program that it could not execute",
    127: "a shell did not find a program",
    134: "a shell's word for signal 6 (ABRT)",
    137: "a shell's word for signal 9 (KILL), most often for want of memory",
    139: "a shell's word for signal 11 (SEGV)",
    143: "a shell's word for signal 15 (TERM)",
}
"""Exit codes of commands that mean the same nearly everywhere."""

SIGNALS: Mapping[int, tuple[str, str]] = {
    4: ("ILL", "this CPU lacks instructions that it uses: `requirements: {microarch: x86_64-v3}`"),
    6: ("ABRT", "it gave up by itself; stderr says why"),
    7: ("BUS", "a file was cut short while it was read, or the disk was full"),
    8: ("FPE", "a division by zero, or the like"),
    9: ("KILL", "most often for want of memory; else the machine was shut down"),
    11: ("SEGV", "a fault in the program or a library; also with too small a stack"),
    15: ("TERM", "it was told to stop"),
    24: ("XCPU", "it used more CPU time than the machine allows"),
    25: ("XFSZ", "it wrote a larger file than the machine allows"),
    31: ("SYS", "the machine does not let it make this system call"),
}  # fmt: skip
"""Signals by their numbers on Linux: name, and what it most often means."""


@dataclass(frozen=True)
class Sign(Ending):
    """What is found in stderr. words: that must stand there."""

    words: str = ""


def _sign(words: str, cause: str, todo: str, command: str = FAILED) -> Sign:
    return Sign(cause, todo, (LOGS, command), words)


_MORE_MEMORY = "Ask for more memory."
_WHERE = "Inputs lie in `inputs/`, and a task starts in its own folder."
STDERR_SIGNS: tuple[Sign, ...] = (
    _sign("GLIBC_", "the machine's system is older than the program",
          "Ask for a newer one (`requirements: {os: RHEL 9}`), or use a container."),
    _sign("GLIBCXX_", "the machine's C++ library is older than the program",
          "Bring libstdc++ with the environment, or use a container."),
    _sign("CUDA out of memory", "the memory of the GPU was full",
          "Ask for a GPU with more (`gpus.min_memory`), or work in smaller parts."),
    _sign("MemoryError", "the program ran out of memory", _MORE_MEMORY, MEMORY),
    _sign("std::bad_alloc", "the program ran out of memory", _MORE_MEMORY, MEMORY),
    _sign("annot allocate memory", "the program ran out of memory", _MORE_MEMORY, MEMORY),
    _sign("No space left on device", "the disk was full", "Ask for more disk.", DISK),
    _sign("ModuleNotFoundError", "a Python module is not in the environment",
          "Add it to `environment:`, `libraries:` or `files:`."),
    _sign("ImportError", "a Python module, or a library that it needs, cannot be loaded",
          "Add it to `environment:` or `libraries:`."),
    _sign("there is no package called", "an R package is not in the environment",
          "Add it to `environment:`."),
    _sign("error while loading shared libraries", "a library is not there",
          "Bring it with the environment, or use a container."),
    _sign("Illegal instruction", "the program uses instructions that this CPU does not have",
          "Ask for a newer one: `requirements: {microarch: x86_64-v3}`."),
    _sign("Exec format error", "a program is none that this machine can run",
          "Is it made for this CPU, and does a script begin with `#!`?"),
    _sign("Read-only file system", "it writes where a task must not write",
          "Let it write below its own folder, into `outputs/`."),
    _sign("FileNotFoundError", "a file is not where the program looks for it", _WHERE),
    _sign("No such file or directory", "a file is not where the program looks for it", _WHERE),
    _sign("Permission denied", "it opens what it may not",
          "Let it write below its own folder. Is the x bit of programs set?"),
)  # fmt: skip
"""What stderr shows, what it suggests and what helps; the first that is there counts."""


def ending(reason: str, exit_code: int | None) -> Ending | None:
    """What is known of a failed task's reason, with its code where that is the shim's."""
    if reason == "infrastructure":
        return SHIM_CODES.get(exit_code or 0)
    return REASONS.get(reason) or SHIM_CODES.get(_SAME_AS.get(reason, 0))


def sign(stderr: str) -> Sign | None:
    """What the end of a task's stderr suggests."""
    return next((known for known in STDERR_SIGNS if known.words in stderr), None)
