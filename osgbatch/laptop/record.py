"""What was brought to a host and from it: so that nobody else's file is removed or overwritten."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from osgbatch.errors import OsgbatchError
from osgbatch.names import slug
from osgbatch.places import state_folder

_TABLES = """
create table if not exists sent (path blob primary key) without rowid;
create table if not exists named (spec blob, path blob, primary key (spec, path)) without rowid;
create table if not exists specs (path blob, settings text, primary key (path, settings))
    without rowid;
create table if not exists got (path blob primary key, size int, time int, own int) without rowid;
"""


@dataclass(frozen=True)
class Got:
    """A file that was brought from the host.

    size, time: bytes, and ns since 1970, as the host had it; own: the time that it has here.
    """

    size: int
    time: int
    own: int


def laptop_name() -> str:
    """What this machine's folder on hosts is called: its name, and what makes it the only one.

    The name of a laptop changes with the network that it is in, so it is kept once it is made.
    """
    path = state_folder() / "laptop"
    with suppress(OSError):
        name = path.read_text().strip()
        if name and name == slug(name):
            return name
    name = f"{slug(socket.gethostname().split('.')[0])[:30]}-{secrets.token_hex(4)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x") as stream:
            stream.write(name + "\n")
    except FileExistsError:
        return path.read_text().strip() or name
    except OSError as error:
        raise OsgbatchError(
            f"what is on hosts cannot be noted: {error.strerror}", where=str(path)
        ) from None
    return name


class Record:
    """The record of one host: of its ssh name and folder; in $XDG_STATE_HOME/osgbatch/hosts/."""

    def __init__(self, host: str, folder: str) -> None:
        digest = hashlib.sha256(os.fsencode(f"{host}\0{folder}")).hexdigest()[:12]
        path = state_folder() / "hosts" / f"{slug(host)[:40]}-{digest}.db"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._db.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            raise OsgbatchError(
                f"what was brought to {host} cannot be noted: {error}",
                where=str(path),
                fix="Make room or remove that file; then what is changed here and there is told.",
            ) from None

    def close(self) -> None:
        """No more of it."""
        self._db.close()

    def add_sent(self, paths: Iterable[Path]) -> None:
        """Note, before they are sent, files that are."""
        rows = [(os.fsencode(path),) for path in paths]
        with self._db:
            self._db.execute("begin")
            self._db.executemany("insert or ignore into sent values (?)", rows)

    def sent_below(self, folder: Path) -> list[Path]:
        """What was sent of a folder."""
        start = os.fsencode(folder).rstrip(b"/") + b"/"
        found = self._db.execute(
            "select path from sent where path >= ? and path < ?", (start, start[:-1] + b"0")
        )
        return [Path(os.fsdecode(path)) for (path,) in found]

    def drop_sent(self, paths: Iterable[Path]) -> None:
        """These are on the host no more."""
        with self._db:
            self._db.execute("begin")
            self._db.executemany(
                "delete from sent where path = ?", [(os.fsencode(path),) for path in paths]
            )

    def add_named(self, spec: Path, paths: Iterable[Path]) -> None:
        """Note that a spec names files, which are sent."""
        rows = [(os.fsencode(spec), os.fsencode(path)) for path in paths]
        with self._db:
            self._db.execute("begin")
            self._db.executemany("insert or ignore into named values (?, ?)", rows)

    def sent_for(self, specs: Iterable[Path]) -> list[Path]:
        """What was sent of that which specs have named, each file once."""
        found: dict[Path, None] = {}
        for spec in specs:
            rows = self._db.execute(
                "select path from named join sent using (path) where spec = ?", (os.fsencode(spec),)
            )
            found.update((Path(os.fsdecode(path)), None) for (path,) in rows)
        return list(found)

    def add_spec(self, path: Path, settings: str) -> None:
        """A spec that was brought with all that it names."""
        self._db.execute("insert or ignore into specs values (?, ?)", (os.fsencode(path), settings))

    def specs_below(self, folder: Path) -> list[tuple[Path, str]]:
        """The specs of a folder, each with its settings (JSON)."""
        start = os.fsencode(folder).rstrip(b"/") + b"/"
        found = self._db.execute(
            "select path, settings from specs where path >= ? and path < ?",
            (start, start[:-1] + b"0"),
        )
        return [(Path(os.fsdecode(path)), settings) for path, settings in found]

    def add_got(self, files: Mapping[Path, Got]) -> None:
        """Files that were brought from the host, and are in their places."""
        rows = [(os.fsencode(p), g.size, g.time, g.own) for p, g in files.items()]
        with self._db:
            self._db.execute("begin")
            self._db.executemany("insert or replace into got values (?, ?, ?, ?)", rows)

    def got_below(self, folder: Path) -> dict[Path, Got]:
        """What was brought from the host into a folder."""
        start = os.fsencode(folder).rstrip(b"/") + b"/"
        found = self._db.execute(
            "select * from got where path >= ? and path < ?", (start, start[:-1] + b"0")
        )
        return {Path(os.fsdecode(row[0])): Got(*row[1:]) for row in found}
