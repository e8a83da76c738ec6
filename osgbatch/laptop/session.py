"""A command on a host, from here: files there, the command, results back."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from osgbatch import exits
from osgbatch.batches.registry import BELOW
from osgbatch.errors import OsgbatchError
from osgbatch.laptop.arriving import (
    ARRIVING,
    Arrived,
    damaged,
    offered,
    place,
    remove_outdated,
    wanted,
)
from osgbatch.laptop.hosts import KnownHost
from osgbatch.laptop.named import Named, add_again, files_of
from osgbatch.laptop.outgoing import doubtful, theirs
from osgbatch.laptop.record import Record, laptop_name
from osgbatch.places import state_folder
from osgbatch.remote.connection import LOST, Connection, HostError, quoted
from osgbatch.remote.copying import check_rsync, fetch, send
from osgbatch.version import VERSION

Say = Callable[[str], None]
SIDE = "host-side"
"""The command of the host's osgbatch that serves us."""
BRINGS = ("submit", "run", "foreach", "collect", "report", "resubmit", "provenance")
"""Commands after which results are brought here."""
TELLS = ("submit", "resubmit", "foreach", "why")
"""Commands that name others to type."""
SUBMITS = ("submit", "run", "foreach", "resubmit")
"""Commands that make the files there what they are here; others remove nothing."""
AGAIN = ("resubmit",)
"""Commands that read the user's files again."""
_PLACES = "$HOME/.local/bin:$HOME/osgbatch/bin:$HOME/osgbatch/.venv/bin:$HOME/bin"
"""Where osgbatch is looked for after PATH: ssh runs commands without a login shell."""


@dataclass(frozen=True)
class Asked:
    """A command for a host. words: as they were typed; named: the files that it needs, or None.

    here: the working folder, a whole path. told: the command line names the host, no variable.
    """

    words: Sequence[str]
    named: Named | None
    here: Path
    told: bool = True


@dataclass(frozen=True)
class _There:
    """What was found on the host. tree: the folder that stands for `/` of this machine."""

    tree: str
    osgbatch: str

    def folder(self, path: Path) -> str:
        """Where a folder of this machine lies there."""
        return self.tree + os.path.normpath(path)


def run_there(host: KnownHost, asked: Asked, say: Say) -> int:
    """Run a command on a host and bring its results; gives the command's exit code.

    Raises HostError where the host cannot be reached or used, other OsgbatchErrors for what is
    wrong here.
    """
    check_rsync(host.name)
    with Connection(host.name, host.ssh) as connection:
        there = _reach(connection, host, asked.here)
        with closing(Record(host.ssh, host.folder)) as record:
            session = _Session(connection, host, there, record, asked, say)
            if asked.named is not None or asked.words[0] in AGAIN:
                session.send_files(asked.named or Named())
            code = session.run()
            if asked.told and (asked.words[0] in TELLS or code == exits.INTERRUPTED):
                say(
                    f"note: what to type next is typed with --host {host.name}; "
                    f"`export OSGBATCH_HOST={host.name}` says it for all that follows"
                )
            if asked.words[0] in BRINGS and code != exits.INTERRUPTED:
                return session.bring_results(code)
            return code


def _reach(connection: Connection, host: KnownHost, here: Path) -> _There:
    """Connect, look what is there, and make the folder. Raises HostError, saying what to type."""
    laptop = laptop_name()
    script = "\n".join(
        [
            f'export PATH="$PATH:{_PLACES}"',
            f"o={shlex.quote(host.osgbatch)}; f={shlex.quote(host.folder)}/{laptop}",
            'case $o in "~/"*) o=$HOME/${o#??} ;; "") o=$(command -v osgbatch) ;; esac',
            "case $f in /*) ;; *) f=$HOME/$f ;; esac",
            'if v=$("$o" --version 2>/dev/null </dev/null); then echo "version $v"; fi',
            'if command -v rsync >/dev/null; then echo "rsync"; fi',
            f'd="$f"{shlex.quote(str(here))}',
            'if [ "$v" ]; then umask 077 && mkdir -p -- "$d" || exit 7; fi',
            'printf "%s\\0%s\\0" "$o" "$f"',
        ]
    )
    code, told = connection.ask(script)
    if code == LOST and not told:
        raise HostError(
            "it cannot be reached",
            where=host.name,
            fix=f"ssh says why, above. Try `ssh {host.ssh}` alone; {_hint(host)}",
        )
    lines, _, rest = told.rpartition(b"\n")
    words = lines.decode("utf-8", "replace").split("\n")
    if code == 7:
        raise HostError(
            f"the folder {host.folder} cannot be made there",
            where=host.name,
            fix="Name another: hosts: {…: {ssh: …, folder: …}} in ~/.config/osgbatch/config.yaml.",
        )
    if code or rest.count(b"\0") != 2:
        raise HostError(
            f"commands cannot be run there (exit code {code})",
            where=host.name,
            fix=f"See what `ssh {host.ssh} true` says.",
        )
    version = next((one.split()[-1] for one in words if one.startswith("version osgbatch ")), "")
    _check_version(version, host)
    if "rsync" not in words:
        raise HostError(
            "there is no rsync there to bring files with",
            where=host.name,
            fix="Ask who runs it to install rsync; access points of the OSPool have it.",
        )
    program, tree = (os.fsdecode(part) for part in rest.split(b"\0")[:2])
    return _There(tree, program)


def _hint(host: KnownHost) -> str:
    if "@" in host.ssh or "." in host.ssh:
        return "see that you have an account there, and its network is not cut off."
    return (
        f"if ssh does not know it, say who {host.name} is in ~/.config/osgbatch/config.yaml: "
        f"`hosts: {{{host.name}: you@{host.name}.uw.osg-htc.org}}`."
    )


def _check_version(version: str, host: KnownHost) -> None:
    if not version:
        what = f"{host.osgbatch} does not run there" if host.osgbatch else "osgbatch is not there"
        raise HostError(
            what,
            where=host.name,
            fix=f"Bring the folder of osgbatch there and install it, once:\n"
            f"    rsync -a --exclude .venv osgbatch/ {host.ssh}:osgbatch-source/\n"
            f"    ssh {host.ssh} 'python3 -m venv osgbatch && "
            "osgbatch/bin/pip install ./osgbatch-source'",
        )
    if version.split(".")[:2] != VERSION.split(".")[:2]:
        raise HostError(
            f"osgbatch is {version} there and {VERSION} here",
            where=host.name,
            fix="Install the same version in both places (README, Install).",
        )


class _Session:
    """The parts of one command."""

    def __init__(
        self,
        connection: Connection,
        host: KnownHost,
        there: _There,
        record: Record,
        asked: Asked,
        say: Say,
    ) -> None:
        self.connection = connection
        self.host = host
        self.there = there
        self.record = record
        self.asked = asked
        self.say = say
        self._pid = f"{there.tree}/.session-{secrets.token_hex(6)}"

    # --- files there ---

    def send_files(self, named: Named) -> None:
        """Bring what is named; before a submission, remove what it named and is here no more."""
        here, command = self.asked.here, self.asked.words[0]
        specs = {path for path, _ in named.specs} or {here / command}
        if command in AGAIN:
            specs = {path for path, _ in self.record.specs_below(here)}
            specs |= {here / one for one in SUBMITS}
            add_again(named, self.record.specs_below(here), self.record.sent_below(here))
        with _alone(self.host, here):
            files = files_of(named)
            gone = [one for one in self.record.sent_for(specs) if not os.path.lexists(one)]
            if gone and command in SUBMITS:
                self._remove(gone)
            elif gone:
                shown = _shown(gone[0], here) + " and others" * (len(gone) > 1)
                self.say(
                    f"note: {shown}, here no more, will be removed on {self.host.name} "
                    "by the next submission; until then it counts there"
                )
            base = Path(os.path.commonpath([here, *(path.parent for path in files)]))
            files = self._ours(files, base)
            if files:
                self.record.add_sent(files)
                if command not in AGAIN:
                    for spec in specs:
                        self.record.add_named(spec, files)
                listed = [os.path.relpath(path, base) for path in files]
                send(self.connection, base, listed, self.there.folder(base))
        for path, settings in named.specs:
            self.record.add_spec(path, json.dumps(list(settings)))

    def _ours(self, files: Sequence[Path], base: Path) -> list[Path]:
        """Those to be sent; of the others the host has what is used, which is told."""
        got = self.record.got_below(base)
        asked = doubtful(files, got, self.record.sent_below(base))
        if not asked:
            return list(files)
        given = b"".join(os.fsencode(os.path.relpath(path, base)) + b"\0" for path in asked)
        code, told = self.connection.ask(self._side("known", self.there.folder(base)), given)
        if code:
            raise HostError("it cannot say which files it has", where=self.host.name)
        kept, differ = theirs(offered(told, self.host.name), base, got)
        for path in differ:
            self.say(
                f"note: {_shown(path, self.asked.here)} is newer on {self.host.name}: it is used "
                "as it is there, and yours was not sent"
            )
        self.record.drop_sent(kept)
        not_sent = set(kept)
        return [path for path in files if path not in not_sent]

    def _remove(self, gone: Sequence[Path]) -> None:
        given = b"".join(os.fsencode(path).lstrip(b"/") + b"\0" for path in gone)
        code, _ = self.connection.ask(self._side("remove", self.there.tree), given)
        if code:
            raise HostError(
                "files that are no more here cannot be removed there",
                where=self.host.name,
                fix=f"Look at {self.there.tree} there.",
            )
        self.record.drop_sent(gone)

    def _side(self, *words: str) -> str:
        """A call of the host's osgbatch for us."""
        return f"OSGBATCH_HOST= exec {quoted([self.there.osgbatch, SIDE, *words])}"

    # --- the command ---

    def run(self) -> int:
        """Run the command; gives its exit code. Raises HostError when the connection is lost."""
        streams = (sys.stdin, sys.stdout, sys.stderr)
        on_terminal = all(stream and stream.isatty() for stream in streams)
        told = {key: os.environ[key] for key in ("NO_COLOR",) if key in os.environ}
        words = [self.there.osgbatch, *self.asked.words]
        script = "\n".join(
            [
                f"cd {shlex.quote(self.there.folder(self.asked.here))} || exit 2",
                f'PATH="$PATH:{_PLACES}"; export PATH',
                f"unset OSGBATCH_HOST; {BELOW}=1; : ${{LANG:=C.UTF-8}}; export {BELOW} LANG",
                *(f"export {key}={shlex.quote(value)}" for key, value in told.items()),
                # This shell stays to the end, so that a signal leaves an exit code; only the
                # command itself, of whose process the file tells, is to be ended by one.
                "trap : INT TERM HUP",
                f"p={shlex.quote(self._pid)}",
                f'sh -c \'echo $$ >"$1"; shift; exec "$@"\' sh "$p" {quoted(words)}',
                'c=$?; rm -f "$p"; exit $c',
            ]
        )
        code = self.connection.run(script, on_terminal, self._interrupt)
        if code != LOST or self.connection.alive():
            return code
        raise HostError(
            "the connection was lost; what is in the pool goes on",
            where=self.host.name,
            fix=f"To come back: `osgbatch --host {self.host.name} status`, or `watch`; `collect` "
            "brings the results.",
        )

    def _interrupt(self, number: int) -> None:
        """Pass a signal on to the command there."""
        name = signal.Signals(number).name.removeprefix("SIG")
        pid = shlex.quote(self._pid)
        self.connection.ask(f"kill -{name} $(cat {pid}) 2>/dev/null; true")

    # --- results back ---

    def bring_results(self, code: int) -> int:
        """Bring what was collected, and tell; gives the exit code."""
        folders = {self.asked.here} | (self.asked.named.folders if self.asked.named else set())
        top = [
            one for one in folders if not any(one != o and one.is_relative_to(o) for o in folders)
        ]
        arrived = Arrived()
        with _alone(self.host, self.asked.here):
            for folder in sorted(top):
                self._bring(folder, arrived)
        bad = list(damaged(arrived))
        if arrived.brought:
            count = f"{len(arrived.brought):,} file{'s' * (len(arrived.brought) != 1)}"
            self.say(f"brought {count} from {self.host.name}: {_places(arrived, self.asked.here)}")
        for path in arrived.kept[:10]:
            shown = _shown(path, self.asked.here)
            self.say(
                f"note: {shown} is yours, and not what {self.host.name} has: it was left as it is; "
                "move it away to be brought the other"
            )
        if len(arrived.kept) > 10:
            self.say(f"note: and {len(arrived.kept) - 10:,} more")
        if arrived.lacking:
            first = _shown(arrived.lacking[0], self.asked.here)
            self.say(
                f"warning: {len(arrived.lacking):,} files did not come, such as {first}; `collect` "
                "tries again"
            )
        for one in bad:
            self.say(f"warning: {one}")
        wrong = bad or arrived.kept or arrived.lacking
        return code or (exits.SOME_FAILED if wrong else exits.OK)

    def _bring(self, folder: Path, arrived: Arrived) -> None:
        there = self.there.folder(folder)
        code, told = self.connection.ask(self._side("list", there))
        if code:
            raise HostError(
                "it cannot say which results it has",
                where=self.host.name,
                fix="`collect` again brings them: nothing is lost.",
            )
        all_files = offered(told, self.host.name)
        files = wanted(all_files, folder, self.record)
        if not files:
            return
        try:
            if (folder / ARRIVING).is_symlink():
                (folder / ARRIVING).unlink()
            (folder / ARRIVING).mkdir(exist_ok=True)
        except OSError as error:
            raise OsgbatchError(
                f"results cannot be written: {error.strerror}", where=str(folder)
            ) from None
        plain = [one.name for one in files if one.target is None]
        lacking = fetch(self.connection, there, plain, folder / ARRIVING) if plain else []
        arrived.lacking += [folder / name for name in lacking]
        found = place(files, folder, self.record)
        remove_outdated(all_files, folder, self.record)
        arrived.brought += found.brought
        arrived.kept += found.kept
        arrived.size += found.size


def _places(arrived: Arrived, here: Path) -> str:
    """Where files are, in a few words: the folders that all of them are in."""
    tops: dict[str, None] = {}
    for path in arrived.brought:
        parts = Path(_shown(path, here)).parts
        depth = 2 if "batches" in parts[:-2] else 1
        index = parts.index("batches") if "batches" in parts else 0
        tops["/".join(parts[: index + depth]) + "/" * (len(parts) > index + depth)] = None
    shown = list(tops)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _shown(path: Path, here: Path) -> str:
    return os.path.relpath(path, here)


@contextmanager
def _alone(host: KnownHost, here: Path) -> Iterator[None]:
    """Files of a folder are brought by one at a time: two at once would meet in the same places."""
    digest = hashlib.sha256(os.fsencode(f"{host.ssh}\0{here}")).hexdigest()[:16]
    path = state_folder() / "hosts" / f"{digest}.lock"
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
