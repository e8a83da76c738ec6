"""Results in a folder of the user's choice, too (`results_to`): whose it is, and what lies there.

The folder is one batch's alone. What lies in it are other names (hard links, or copies) of what is
in the batch's `results/`; what is not ours is never written over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from osgbatch import names
from osgbatch.collecting.files import listed, read_status
from osgbatch.collecting.placing import Placer, is_content, is_same
from osgbatch.errors import OsgbatchError
from osgbatch.model import TaskState

FAILED = "failed"
STREAMS = {"stdout": "stdout.txt", "stderr": "stderr.txt"}
"""What a task has printed, by its name in `results/`."""
KEY = "results_to"


class TakenError(OsgbatchError):
    """The folder has something in it that is not of this batch."""


def owner_of(folder: Path) -> tuple[str, str]:
    """The batch whose results lie in a folder: its id and its own folder; empty when there is none.

    Raises OSError when that cannot be read.
    """
    try:
        text = (folder / names.RESULTS_OF).read_text()
        if not text:  # whoever wrote it was stopped
            return "", ""
        told = json.loads(text)
        return str(told["batch"]), str(told["folder"])
    except (FileNotFoundError, NotADirectoryError):
        return "", ""
    except (ValueError, KeyError, TypeError):
        return "?", ""


def check_free(folder: Path, ours: str = "") -> None:
    """Raise TakenError when a folder is not there for a batch. ours: the id of one that may be."""
    try:
        owner, batch = owner_of(folder)
        if ours and owner == ours:
            return
        if owner:
            raise _taken(folder, f"it has the results of batch {owner[:6]} ({Path(batch).name})")
        if not folder.exists() and not folder.is_symlink():
            return
        if not folder.is_dir():
            raise _taken(folder, "it is there, and is no folder")
        if not all(entry.name.startswith(names.RESULTS_OF) for entry in folder.iterdir()):
            raise _taken(folder, "it is there, and not empty")
    except OSError as error:
        raise _taken(folder, f"it cannot be read: {error.strerror}") from None


def _taken(folder: Path, what: str) -> TakenError:
    return TakenError(
        f"results cannot go to this folder: {what}",
        where=str(folder),
        fix="Nothing is written over: name another folder (-n or --out; in a spec `results_to`), "
        "or rename or remove this one.",
    )


def claim(folder: Path, batch_id: str, batch: Path) -> None:
    """Make a folder that of one batch. Raises TakenError when another one or the user has it."""
    check_free(folder, batch_id)
    mark = folder / names.RESULTS_OF
    fresh = folder / f"{names.RESULTS_OF}.{batch_id}"
    told = json.dumps({"batch": batch_id, "folder": str(batch)})
    try:
        if owner_of(folder)[0] == batch_id:
            return
        folder.mkdir(parents=True, exist_ok=True)
        try:
            fresh.write_text(told)  # whole before it has its name: half a mark would be nobody's
            _take(fresh, mark, told)
        finally:
            fresh.unlink(missing_ok=True)
    except FileExistsError:
        check_free(folder, batch_id)  # another took it just now
    except OSError as error:
        raise _taken(folder, f"it cannot be made: {error.strerror}") from None


def _take(fresh: Path, mark: Path, told: str) -> None:
    """Give a whole mark its name. Raises FileExistsError when there is one."""
    try:
        os.link(fresh, mark)
    except FileExistsError:
        if mark.stat().st_size:
            raise
        fresh.replace(mark)
    except OSError:  # a file system without hard links
        with mark.open("x") as stream:
            stream.write(told)


def release(folder: Path, batch_id: str) -> None:
    """Undo a claim of a batch that was never submitted."""
    with suppress(OSError):
        if owner_of(folder)[0] == batch_id:
            (folder / names.RESULTS_OF).unlink()
            folder.rmdir()


class Outside(Placer):
    """Gives all that tasks brought its other names: `<index>/`, `failed/<index>/`.

    folder: a claimed one.
    """

    def __init__(self, results: Path, folder: Path) -> None:
        super().__init__(results, lambda state: ())
        self._root = folder

    def place(self, state: TaskState) -> None:
        """See that the results of a task that has ended are there. Raises OSError."""
        if state.state not in ("succeeded", "failed"):
            return
        above = "" if state.state == "succeeded" else FAILED
        for source, name, place, sha256 in self._all(above, state.index):
            problem = self._put(source, name, place, sha256)
            if problem:
                self.problems.setdefault(state.index, problem)

    def withdraw(self, state: TaskState, folder: Path) -> None:
        """Take away what is still as it was placed, before a task's result is made anew."""
        del folder
        for above in ("", FAILED):
            for source, name, place, sha256 in self._all(above, state.index):
                path = f"{self._root}/{place}"
                with suppress(OSError):
                    if is_same(path, f"{source}/{name}") or is_content(path, sha256):
                        os.unlink(path)
                with suppress(OSError):  # a folder that holds something else stays
                    while (path := os.path.dirname(path)) != str(self._root):
                        os.rmdir(path)
        self._folders.clear()

    def _all(self, above: str, index: int) -> Iterator[tuple[Path, str, str, str]]:
        """Folder, name, place and checksum of each file that a task has in `results/`."""
        folder = self._results / above / str(index)
        told = read_status(folder)
        files, links = listed(told, "files"), listed(told, "links")
        start = f"{above}/{index}" if above else str(index)
        for name in (*files, *links):
            # A file of this very name, which the task itself has made, keeps it.
            other = STREAMS.get(name, name)
            other = name if other != name and (other in files or other in links) else other
            yield folder, name, f"{start}/{other}", files.get(name, "")
