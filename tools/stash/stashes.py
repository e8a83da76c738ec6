"""A stash for tests and trials: S3, an OSDF-like origin and its cache, in one folder."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "htcondor"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import cache
import certificates
import gateway
import logs
import origin
import programs
import registered
from common import ToolError, short_temp
from daemons import free_port
from process import PortTakenError, Server
from s3 import REGION, Client

DESCRIPTION = "stash.json"
PREFIX = "osgb-stash-"
USER = "user"
NAMESPACE = "/ospool"
PLACE = f"{NAMESPACE}/ap40/data/{USER}"
BUCKET = "stash"
NAMES = ("s3", "origin", "cache")
TRIES = 3  # with other ports


@dataclass(frozen=True)
class Stash:
    """A stash in its folder. about: what DESCRIPTION holds, see describe()."""

    folder: Path
    about: dict[str, Any]
    servers: dict[str, Server]

    @property
    def description(self) -> Path:
        """The file that tells other processes of this stash."""
        return self.folder / DESCRIPTION

    @property
    def posix(self) -> Path:
        """The user's folder in the stash; its URL is `osdf_url`."""
        return Path(self.about["osdf"]["folder"])

    @property
    def osdf_url(self) -> str:
        return str(self.about["osdf"]["url"])

    @property
    def bucket_url(self) -> str:
        """s3://host:port/bucket, as HTCondor wants it."""
        return str(self.about["s3"]["url"])

    def client(self, user: str = USER) -> Client:
        """An S3 client with a user's keys."""
        keys = self.keys(user)
        about = self.about["s3"]
        return Client(about["host"], keys.access, keys.secret, Path(about["ca_file"]))

    def keys(self, user: str = USER) -> gateway.Keys:
        """The keys of a user made before."""
        files = (self.folder / f"keys/{user}.access", self.folder / f"keys/{user}.secret")
        return gateway.Keys(*(path.read_text().strip() for path in files))

    def make_user(self, name: str) -> gateway.Keys:
        """Make another S3 user, who sees none of the first one's objects. Raises ToolError."""
        keys = gateway.make_user(programs.provide(), self.servers["s3"].folder, name)
        _write_keys(self.folder / "keys", name, keys)
        return keys

    def start(self, name: str) -> None:
        """Start one server of NAMES, when it does not run. Raises ToolError."""
        self.servers[name].start()

    def stop(self, name: str, kill: bool = False) -> None:
        """Stop one server of NAMES; what it stores stays. kill: without a chance to end well."""
        self.servers[name].stop(kill)

    @contextmanager
    def gone(self, name: str) -> Iterator[None]:
        """One server is gone for as long as the block lasts."""
        self.stop(name)
        try:
            yield
        finally:
            self.start(name)

    def requests(self, name: str) -> list[logs.Request]:
        """What one server was asked for since it was first started, oldest first."""
        read = {"s3": logs.of_gateway, "origin": logs.of_origin, "cache": logs.of_cache}[name]
        return read(Path(self.about[name]["log"]))

    def count(self, name: str, method: str = "", ending: str = "", status: int = 0) -> int:
        """How many requests of one server have this method, path's ending and status (if given)."""
        return sum(
            1
            for request in self.requests(name)
            if (not method or request.method == method)
            and request.path.endswith(ending)
            and (not status or request.status == status)
        )

    def wait(self, look: Callable[[], bool], seconds: float = 5.0) -> bool:
        """Wait until look() is true: servers write their logs after they have answered."""
        deadline = time.monotonic() + seconds
        while not look() and time.monotonic() < deadline:
            time.sleep(0.02)
        return look()


@contextmanager
def running(folder: Path | None = None) -> Iterator[Stash]:
    """A stash; all its servers end with the block.

    folder: empty or absent, and kept; without one it is a temporary folder. Inside a pool
    (OSGBATCH_POOL) the pool's transfer plugins know the stash. Raises ToolError.
    """
    with contextlib.ExitStack() as stack:
        stash = make(folder or stack.enter_context(_temporary()))
        for server in stash.servers.values():
            stack.callback(server.stop)
        pool = registered.of_environment()
        if pool:
            stack.enter_context(registered.known(pool, stash.description))
        yield stash


@contextmanager
def _temporary() -> Iterator[Path]:
    """A temporary folder; those whose process was killed, and holds their lock no more, go too."""
    for old in short_temp().glob(PREFIX + "????????"):
        with contextlib.suppress(OSError):
            if old.stat().st_uid == os.getuid():
                with (old / "in-use").open() as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=short_temp()))
    try:
        with (folder / "in-use").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder / "stash"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make(folder: Path) -> Stash:
    """Make a stash and start its servers. Raises ToolError, and leaves none running then."""
    folder = folder.resolve()
    if any(c.isspace() for c in str(folder)):
        raise ToolError(f"radosgw takes no path with blanks: {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ToolError(f"{folder} is not empty; name a new folder")
    found = programs.provide()
    papers = certificates.make(found / "openssl", folder / "certificates")
    (folder / "ca").mkdir()
    (folder / "ca" / papers.hash).symlink_to(papers.authority)
    (folder / f"files{PLACE}").mkdir(parents=True)
    stash = _on_free_ports(folder, found, papers)
    try:
        keys = gateway.make_user(found, stash.servers["s3"].folder, USER)
        _write_keys(folder / "keys", USER, keys)
        for left in reversed(range(TRIES)):
            try:
                for name in NAMES:
                    stash.start(name)
                break
            except PortTakenError:  # by one that was started since: others run beside us
                if not left:
                    raise
                for server in stash.servers.values():
                    server.stop()
                stash = _on_free_ports(folder, found, papers)
        answer = stash.client().request("PUT", f"/{BUCKET}")
        if answer.status != 200:
            raise ToolError(f"no bucket could be made: {answer.status} {answer.body!r}")
    except BaseException:
        for server in stash.servers.values():
            server.stop()
        raise
    stash.description.write_text(json.dumps(stash.about, indent=1) + "\n")
    return stash


def _on_free_ports(folder: Path, found: Path, papers: certificates.Certificates) -> Stash:
    ports = {name: _another_port() for name in NAMES}
    return _described(folder, ports, papers.authority, found, papers)


def load(description: Path) -> Stash:
    """The stash of another process, from its description (OSGBATCH_STASH)."""
    about = json.loads(description.read_text())
    folder = Path(about["folder"])
    ports = {name: int(about[name]["port"]) for name in NAMES}
    kept = folder / "certificates"
    papers = certificates.Certificates(
        kept / "authority.pem", kept / "server.pem", kept / "server.key", ""
    )
    return _described(folder, ports, papers.authority, programs.provide(), papers)


def _another_port(_given: set[int] = set()) -> int:  # noqa: B006 (what was given is to be kept)
    """A free port that was not given before: none of them listens yet."""
    port = free_port()
    while port in _given:
        port = free_port()
    _given.add(port)
    return port


def _described(
    folder: Path,
    ports: dict[str, int],
    authority: Path,
    found: Path,
    papers: certificates.Certificates,
) -> Stash:
    hosts = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    about: dict[str, Any] = {
        "folder": str(folder),
        "s3": {
            "endpoint": f"https://{hosts['s3']}",
            "host": hosts["s3"],
            "port": ports["s3"],
            "region": REGION,
            "bucket": BUCKET,
            "url": f"s3://{hosts['s3']}/{BUCKET}",
            "access_key_file": str(folder / f"keys/{USER}.access"),
            "secret_key_file": str(folder / f"keys/{USER}.secret"),
            "credentials_file": str(folder / f"keys/{USER}.ini"),
            "ca_file": str(authority),
            "ca_folder": str(folder / "ca"),
            "log": str(folder / "s3" / gateway.LOG),
        },
        "origin": {
            "url": f"http://{hosts['origin']}",
            "port": ports["origin"],
            "folder": str(folder / "files"),
            "log": str(folder / "origin" / origin.LOG),
        },
        "cache": {
            "url": f"http://{hosts['cache']}",
            "port": ports["cache"],
            "folder": str(folder / "cache/store"),
            "log": str(folder / "cache" / cache.LOG),
        },
        "osdf": {
            "namespace": NAMESPACE,
            "folder": str(folder / f"files{PLACE}"),
            "url": f"osdf://{PLACE}",
        },
    }
    servers = {
        "s3": gateway.server(found, folder / "s3", ports["s3"], papers),
        "origin": origin.server(
            found, folder / "origin", ports["origin"], folder / "files", NAMESPACE
        ),
        "cache": cache.server(found, folder / "cache", ports["cache"], ports["origin"]),
    }
    return Stash(folder, about, servers)


def _write_keys(folder: Path, name: str, keys: gateway.Keys) -> None:
    """One file each, as HTCondor wants them, and both as the AWS tools do; for the owner alone."""
    folder.mkdir(mode=0o700, exist_ok=True)
    ini = f"[default]\naws_access_key_id = {keys.access}\naws_secret_access_key = {keys.secret}\n"
    for ending, text in (("access", keys.access), ("secret", keys.secret), ("ini", ini)):
        path = folder / f"{name}.{ending}"
        path.touch(mode=0o600)
        path.write_text(text if ending == "ini" else f"{text}\n")
