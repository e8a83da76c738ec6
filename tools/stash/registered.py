"""How a pool's transfer plugins come to know a stash: files in the pool's folder."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ENVIRONMENT = "OSGBATCH_STASH"  # the path of a stash's description, for tests and pool.py
POOL = "OSGBATCH_POOL"
PLUGIN = "osdf_plugin"
DESCRIPTION = "stash.json"
CERTIFICATES = "certificates"

CONFIG = f"""\
# Those of HTCondor that run here: its others are Python with modules that are not there, and every
# starter tries them anew.
FILETRANSFER_PLUGINS = $(LIBEXEC)/curl_plugin, $(LIBEXEC)/data_plugin, $(LOCAL_DIR)/{PLUGIN}
# HTCondor's curl plugin looks there for authorities besides the machine's (libcurl's CAPATH).
STARTD_ENVIRONMENT = "X509_CERT_DIR=$(LOCAL_DIR)/{CERTIFICATES}"
"""
# A starter asks every plugin what it can do, for every job: no Python is started for that.
WRAPPER = """\
#!/bin/sh
if [ "$1" = -classad ]; then
    echo 'MultipleFileSupport = true'
    echo 'PluginVersion = "1.0"'
    echo 'PluginType = "FileTransfer"'
    echo 'SupportedMethods = "osdf"'
    exit 0
fi
exec {python} -I -S {program} {description} "$@"
"""


def config_lines() -> list[str]:
    """What every pool's condor_config needs so that a stash can be made known later."""
    return CONFIG.splitlines()


def install(pool: Path) -> None:
    """Put the plugin into a pool's folder, and make the stash of OSGBATCH_STASH known there."""
    (pool / CERTIFICATES).mkdir(exist_ok=True)
    plugin = pool / PLUGIN
    words = {
        "python": sys.executable,
        "program": Path(__file__).resolve().parent / "osdf_plugin.py",
        "description": pool / DESCRIPTION,
    }
    plugin.write_text(WRAPPER.format(**{k: shlex.quote(str(v)) for k, v in words.items()}))
    plugin.chmod(0o755)
    (pool / DESCRIPTION).unlink(missing_ok=True)
    described = os.environ.get(ENVIRONMENT)
    if described:
        make_known(pool, Path(described))


def of_environment() -> Path | None:
    """The folder of the pool that this process runs in, if it does."""
    folder = os.environ.get(POOL)
    return Path(folder) if folder else None


def make_known(pool: Path, description: Path) -> list[Path]:
    """Make a stash known to a pool's plugins; returns the files that say so."""
    made = []
    for certificate in sorted((description.parent / "ca").glob("*.0")):
        shutil.copyfile(certificate, pool / CERTIFICATES / certificate.name)
        made.append(pool / CERTIFICATES / certificate.name)
    temporary = pool / (DESCRIPTION + ".new")
    shutil.copyfile(description, temporary)
    temporary.rename(pool / DESCRIPTION)
    return [*made, pool / DESCRIPTION]


@contextmanager
def known(pool: Path, description: Path) -> Iterator[None]:
    """A pool's plugins know a stash for as long as the block lasts."""
    made = make_known(pool, description)
    try:
        yield
    finally:
        for path in made:
            with suppress(OSError):
                path.unlink()
