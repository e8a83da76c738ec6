"""Python's bytecode for an environment archive, so that a job's first imports need not compile.

What is there is taken where it fits its source, what is not is compiled. Compiled files hold paths
and times, and traces of what the compiler did before: all of them are written anew, in one form.

That form is marshal's version 2, which every Python reads: later versions also write which objects
were shared and which strings interned, and that is chance. Where version 2 does not do (Python 3.10
writes sets in an order of chance, 3.14 has constants of a newer kind) the code is rebuilt, slowly.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import MTIME, Member, printable
from osgbatch.packing.disk_full import is_full
from osgbatch.packing.environment.strip import TESTS

_WRITER = r"""
import gc, importlib.util, json, marshal, os, sys, warnings
gc.disable()  # nothing here is circular
warnings.simplefilter("ignore")
code_type = type(compile("", "", "exec"))
dumps, loads = marshal.dumps, marshal.loads
magic = importlib.util.MAGIC_NUMBER
target, stamp = sys.argv[1], int(sys.argv[2])

def named(code, name):
    consts = [named(one, name) if type(one) is code_type else one for one in code.co_consts]
    return code.replace(co_filename=name, co_consts=tuple(consts))

def written(code, name):
    if sys.version_info >= (3, 11):  # before, the order in a set was chance
        try:
            return dumps(named(code, name), 2)
        except ValueError:  # a constant of a kind that version 2 does not have
            pass
    for number in range(256):  # there is one of each: whether it is interned would be chance
        sys.intern(chr(number))
    # Twice: only then is nothing left of how often an object was referred to.
    return dumps(loads(dumps(tidy(code, name, {}))))

def same(value, known):
    # Equal constants become one object, and all strings interned ones: for those of the compiler it
    # is chance. Interned strings are always written as what may be referred to.
    kind = type(value)
    if kind is str:
        return sys.intern(value)
    if kind is bytes:
        return known.setdefault((kind, value), value)
    if kind is int:
        return known.setdefault((kind, value), value)
    if kind is tuple:
        value = tuple([same(one, known) for one in value])
        return known.setdefault((kind, *map(id, value)), value)
    if kind is frozenset:
        value = sorted([same(one, known) for one in value], key=lambda one: dumps(one, 2))
        return known.setdefault((kind, *map(id, value)), frozenset(value))
    if kind is float or kind is complex:  # 0.0 and -0.0 are equal
        return known.setdefault((kind, dumps(value, 2)), value)
    return value

def tidy(code, name, known):
    new = {"co_filename": name, "co_names": same(code.co_names, known)}
    new["co_consts"] = tuple([
        tidy(one, name, known) if type(one) is code_type else same(one, known)
        for one in code.co_consts
    ])
    for key in ("co_linetable", "co_exceptiontable"):
        if hasattr(code, key):
            new[key] = same(getattr(code, key), known)
    return code.replace(**new)

def compiled(source, status):
    try:
        with open(importlib.util.cache_from_source(source), "rb") as file:
            # An edit of the same size may have its time put back (`touch -r`), but not its ctime.
            # Making a hard link changes that, too: then it is compiled for nothing.
            if os.fstat(file.fileno()).st_ctime_ns < status.st_ctime_ns:
                raise ValueError("older than its source")
            data = file.read()
        facts = [int.from_bytes(data[start:start + 4], "little") for start in (4, 8, 12)]
        state = [0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF]
        if data[:4] == magic and facts == state:
            return loads(data[16:])
    except (OSError, ValueError, EOFError, TypeError):
        pass
    with open(source, "rb") as file:
        return compile(file.read(), source, "exec", dont_inherit=True, optimize=0)

made = []
every = open(target, "wb")  # making thousands of files takes longer than all the rest
for number, (source, name) in enumerate(json.load(sys.stdin)):
    try:
        status = os.stat(source)
        data = written(compiled(source, status), name)
    except (SyntaxError, ValueError, RecursionError, OSError, MemoryError):
        continue
    size = (status.st_size & 0xFFFFFFFF).to_bytes(4, "little")
    header = magic + bytes(4) + stamp.to_bytes(4, "little") + size
    every.write(header + data)
    made.append((number, len(header) + len(data)))
every.close()
json.dump({"tag": sys.implementation.cache_tag, "made": made}, sys.stdout)
"""


class NoBytecodeError(Exception):
    """The interpreter did not do it; says why."""


def bytecode_members(members: Iterable[Member], python: Path, folder: Path) -> list[Member]:
    """The bytecode of the modules among the members of an environment, test suites aside.

    members: of these, files below lib/python3.x. python: an interpreter of the same version, which
    compiles. folder: where they are written, into one file; it has to stay until they are packed.
    Equal sources give equal bytes, wherever they lie and whatever was compiled before. The files
    are valid for a source of the time that archives give to all their members, and of its size.
    Raises NoBytecodeError when the interpreter fails; that is no reason not to pack. Raises
    PackingError when it fails for a full disk.
    Source: PEP 552 for the header of 16 bytes; the rest is the marshal module's.
    """
    wanted = [
        (str(member.source), member.name)
        for member in members
        if member.source is not None and _is_module(member.name)
    ]
    if not wanted:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    # The order in which sets are written hangs on hashes (before Python 3.11).
    environment = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PATH": os.defpath}
    target = folder / "bytecode"
    command = [str(python), "-s", "-S", "-B", "-c", _WRITER, str(target), str(MTIME)]
    done = subprocess.run(
        command, input=json.dumps(wanted), capture_output=True, text=True,
        errors="replace", env=environment, cwd=folder, check=False,
    )  # fmt: skip
    try:
        said = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2]
        error = NoBytecodeError(last or f"it ended with {done.returncode}")
        if is_full(error):
            raise PackingError(last, where=printable(str(folder))) from None
        raise error from None
    found, start = [], 0
    for number, size in said["made"]:
        name = _place(wanted[number][1], said["tag"])
        found.append(Member(name, target, executable=False, part=(start, size)))
        start += size
    return found


def bytecode_or_note(
    members: Iterable[Member], python: Path, folder: Path, notes: list[str]
) -> list[Member]:
    """The same; where there is none, why is noted. python: may not exist, as beside R alone."""
    if not python.exists():
        return []
    try:
        return bytecode_members(members, python, folder)
    except NoBytecodeError as error:
        notes.append(f"packed without bytecode, so that first imports take longer: {error}")
        return []


def _is_module(name: str) -> bool:
    parts = name.split("/")
    is_python = name.endswith(".py") and parts[0] == "lib" and parts[1].startswith("python3")
    return is_python and TESTS.isdisjoint(parts)


def _place(name: str, tag: str) -> str:
    folder, _, base = name.rpartition("/")
    return f"{folder}/__pycache__/{base.removesuffix('.py')}.{tag}.pyc"
