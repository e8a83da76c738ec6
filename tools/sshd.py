"""A real sshd on loopback for tests: Debian's OpenSSH and rsync, with keys of its own."""

from __future__ import annotations

import argparse
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "stash"))

import programs
from common import ToolError
from daemons import free_port
from process import Server

BUNDLE = programs.Bundle(
    "ssh",
    ("openssh-server", "openssh-client", "rsync", "libnss-wrapper"),
    ("sbin/sshd", "bin/ssh", "bin/ssh-keygen", "bin/rsync"),
    ("lib/*-linux-gnu*/libnss_wrapper.so",),
    (("rsync", "--version"),),  # OpenSSH's programs want an account, which not every user has
    # From 9.8 on sshd looks for parts of itself at a path that is compiled in.
    ("bookworm", "trixie"),
    r"(lib)?(python|perl).*|adduser|debconf|cdebconf|ucf|procps|runit-helper|lsb-base|passwd"
    r"|libpam-(modules|runtime).*|openssh-sftp-server|init-system-helpers|libsemanage.*|login",
)
CHROOT = b"/run/sshd\0"
"""Where sshd of root puts what looks at a key: not there, and not for tests to make."""
PLAIN = b"/\0\0\0\0sshd\0"
"""The root instead. The end stays: the linker has put the name of sshd's user there, too."""


@dataclass(frozen=True)
class Host:
    """A machine that can be reached by ssh, on this one.

    name: what ssh calls it. home: its user's. bin: a folder with an `ssh` that knows it, and an
    rsync, for the PATH of who calls it; there_bin: the folder on the host's own PATH.
    """

    name: str
    folder: Path
    home: Path
    bin: Path
    there_bin: Path
    server: Server

    @property
    def known_hosts(self) -> Path:
        """Whom the caller's ssh knows."""
        return self.folder / "known_hosts"


def provide() -> Path:
    """The folder with sshd, ssh, ssh-keygen and rsync, made when missing. Raises ToolError."""
    found = programs.provide(BUNDLE)
    sshd, data = found / "sshd", (found / "sshd").read_bytes()
    if CHROOT in data:
        plain = sshd.with_suffix(f".{os.getpid()}")
        plain.write_bytes(data.replace(CHROOT, PLAIN))
        plain.chmod(0o755)
        plain.rename(sshd)
    return found


@contextmanager
def running(name: str = "ap40", variables: Mapping[str, str] | None = None) -> Iterator[Host]:
    """A host that runs, with a home folder of its own. variables: of every session on it.

    Raises ToolError where there is no sshd, or it does not start.
    """
    programs_folder = provide()
    with tempfile.TemporaryDirectory(prefix="osgbatch-sshd-") as text:
        host = _prepared(Path(text), name, programs_folder, variables or {})
        try:
            host.server.start()
            yield host
        finally:
            host.server.stop()


def _prepared(folder: Path, name: str, found: Path, variables: Mapping[str, str]) -> Host:
    folder.chmod(0o755)
    home, caller, there = folder / "home", folder / "caller", folder / "there"
    for one in (home, caller, there):
        one.mkdir()
    user = pwd.getpwuid(os.getuid()).pw_name if _has_account() else "user"
    _write_accounts(folder, user, home)
    accounts = (
        "/usr/bin/env",
        f"LD_PRELOAD={found.parent}/lib/libnss_wrapper.so",
        f"NSS_WRAPPER_PASSWD={folder}/passwd",
        f"NSS_WRAPPER_GROUP={folder}/group",
    )
    for key in ("host_key", "user_key"):
        words = ("-q", "-t", "ed25519", "-N", "", "-C", key, "-f", folder / key)
        subprocess.run(
            [*accounts, found / "ssh-keygen", *words], check=True, stdin=subprocess.DEVNULL
        )
    (there / "rsync").symlink_to(found / "rsync")
    port = free_port()
    told = {"PATH": f"{there}:/usr/local/bin:/usr/bin:/bin", **variables}
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/user_key.pub\nStrictModes no\nUsePAM no\n"
        "PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PrintMotd no\nSetEnv {' '.join(f'{key}={value}' for key, value in told.items())}\n"
    )
    (folder / "ssh_config").write_text(
        f"Host {name}\n HostName 127.0.0.1\n Port {port}\n User {user}\n"
        f" IdentityFile {folder}/user_key\n IdentitiesOnly yes\n"
        f" UserKnownHostsFile {folder}/known_hosts\n"
    )
    key = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    (caller / "rsync").symlink_to(found / "rsync")
    ssh = " ".join((*accounts, f"{found}/ssh", "-F", f"{folder}/ssh_config"))
    (caller / "ssh").write_text(f'#!/bin/sh\nexec {ssh} "$@"\n')
    (caller / "ssh").chmod(0o755)
    command = [*accounts, str(found / "sshd"), "-D", "-e", "-f", f"{folder}/sshd_config"]
    server = Server("sshd", folder, port, command)
    return Host(name, folder, home, caller, there, server)


def _has_account() -> bool:
    try:
        return bool(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:  # a user without an account, as in a container
        return False


def _write_accounts(folder: Path, user: str, home: Path) -> None:
    """The accounts that sshd knows, by nss_wrapper: whose home is another, and its own."""
    uid, gid = os.getuid(), os.getgid()
    (folder / "passwd").write_text(
        f"{user}:x:{uid}:{gid}::{home}:/bin/sh\nsshd:x:65533:65533::/:/usr/sbin/nologin\n"
    )
    # Who is not root cannot give a terminal to another group than it has.
    ends = os.openpty()
    terminals = os.fstat(ends[1]).st_gid
    for end in ends:
        os.close(end)
    (folder / "group").write_text(f"tty:x:{terminals}:\n{user}:x:{gid}:\nsshd:x:65533:\n")


def main(arguments: list[str]) -> int:
    """`sshd.py provide` prints where the programs are."""
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("provide", help="get OpenSSH and rsync; print the folder")
    parser.parse_args(arguments)
    try:
        print(provide())
    except ToolError as error:
        print(f"sshd: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
