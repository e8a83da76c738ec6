"""Ceph's object gateway, alone on SQLite, with TLS: a real S3 server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "htcondor"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from certificates import Certificates
from common import ToolError
from process import Server

LOG = "operations.log"
ADMIN_SECONDS = 60  # it takes 0.1


@dataclass(frozen=True)
class Keys:
    """An S3 user's keys."""

    access: str
    secret: str


def _options(folder: Path) -> list[str]:
    """What radosgw and radosgw-admin share. Seen with 20.2.4."""
    data = folder / "data"
    return [
        *("-c", "/dev/null", "--no-mon-config", "-n", "client.rgw"),
        *("--rgw_backend_store=dbstore", "--rgw_config_store=dbstore"),
        *(f"--dbstore_db_dir={data}", f"--dbstore_config_uri=file:{data}/config.db"),
        f"--rgw_data={data}",
    ]


def server(programs: Path, folder: Path, port: int, certificates: Certificates) -> Server:
    """The gateway on a port; its folder is made. Its log of operations is folder/LOG."""
    (folder / "data").mkdir(parents=True, mode=0o700, exist_ok=True)
    tls = f"ssl_certificate={certificates.server} ssl_private_key={certificates.key}"
    command = [
        *(str(programs / "radosgw"), "-f", *_options(folder)),
        f"--rgw_frontends=beast ssl_endpoint=127.0.0.1:{port} {tls}",
        *("--rgw_enable_apis=s3", "--rgw_thread_pool_size=32", "--admin_socket="),
        *("--rgw_enable_ops_log=true", f"--rgw_ops_log_file_path={folder / LOG}"),
        *("--log_to_stderr=true", "--log_to_file=false", "--debug_rgw=0"),
    ]
    return Server("radosgw", folder, port, command)


def make_user(programs: Path, folder: Path, name: str) -> Keys:
    """Make an S3 user; the gateway may be running. Raises ToolError.

    The gateway writes into the same SQLite file, and neither waits for the other.
    """
    for _ in range(4):
        with suppress(ToolError):
            return _made_user(programs, folder, name)
        time.sleep(0.5)
    return _made_user(programs, folder, name)


def _made_user(programs: Path, folder: Path, name: str) -> Keys:
    answer, errors = folder / f"user-{name}.json", folder / f"user-{name}.err"
    words = ["user", "create", f"--uid={name}", f"--display-name={name}"]
    answer.touch(mode=0o600)
    with answer.open("w") as out, errors.open("w") as err:
        process = subprocess.Popen(
            [programs / "radosgw-admin", *_options(folder), *words],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
        )  # fmt: skip
        # 20.2.4 often never ends once it has done its work and said so: it is not waited for.
        deadline = time.monotonic() + ADMIN_SECONDS
        ended = False
        try:
            while True:
                with suppress(ValueError, LookupError):
                    key = json.loads(answer.read_text())["keys"][0]
                    return Keys(key["access_key"], key["secret_key"])
                if ended or time.monotonic() > deadline:
                    break
                time.sleep(0.02)
                ended = process.poll() is not None
        finally:
            process.kill()
            process.wait()
            answer.unlink()
    raise ToolError(f"radosgw-admin made no user {name}: {errors.read_text().strip()}")
