"""A certificate authority of one's own for the loopback interface, and its server certificate."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "htcondor"))

from common import ToolError

DAYS = "30"
CONFIGURATION = """\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = IP:127.0.0.1, DNS:localhost
"""


@dataclass(frozen=True)
class Certificates:
    """Files: the authority's certificate, the server's and its key (0600).

    hash: the name under which OpenSSL looks for the authority in a folder (CApath).
    """

    authority: Path
    server: Path
    key: Path
    hash: str


def make(openssl: Path, folder: Path) -> Certificates:
    """Make an authority and a certificate for 127.0.0.1 and localhost. Raises ToolError."""
    folder.mkdir(mode=0o700)
    (folder / "openssl.cnf").write_text(CONFIGURATION)
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", DAYS]
    own = ["-config", "openssl.cnf", "-extensions"]

    def call(*arguments: str) -> str:
        done = subprocess.run(
            [openssl, *arguments],
            cwd=folder,
            env={**os.environ, "OPENSSL_CONF": "/dev/null"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ToolError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    call(*("req", "-x509", *new, *own, "authority", "-subj", "/CN=osgbatch developers' authority"),
         *("-keyout", "authority.key", "-out", "authority.pem"))  # fmt: skip
    call(*("req", "-x509", *new, *own, "server", "-subj", "/CN=127.0.0.1"),
         *("-CA", "authority.pem", "-CAkey", "authority.key"),
         *("-keyout", "server.key", "-out", "server.pem"))  # fmt: skip
    for key in folder.glob("*.key"):
        key.chmod(0o600)
    name = call("x509", "-subject_hash", "-noout", "-in", "authority.pem")
    paths = (folder / "authority.pem", folder / "server.pem", folder / "server.key")
    return Certificates(*paths, hash=f"{name}.0")
