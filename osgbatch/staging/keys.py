"""The keys of an S3 stash: found where AWS's tools find them, handed to HTCondor as files."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osgbatch.errors import StagingError
from osgbatch.places import config_folder
from osgbatch.spec_model import Stash
from osgbatch.staging.store import expanded

ACCESS = "access_key"
SECRET = "secret_key"


@dataclass(frozen=True)
class KeyFiles:
    """The two files that HTCondor's transfer plugin reads the keys from."""

    access: Path
    secret: Path


@dataclass(frozen=True)
class Keys:
    """Keys of S3; never printed.

    token: of temporary ones, else empty; expires: when those end, in seconds since 1970; 0 when
    that is not known.
    """

    access: str
    secret: str
    token: str = ""
    expires: float = 0.0

    def __repr__(self) -> str:
        return "Keys(…)"


def find_keys(stash: Stash, session: Any) -> Keys:
    """The keys of a stash: of its key_folder, else of the environment or AWS's own files.

    session: of boto3. Raises StagingError when there are none, or others could read them.
    """
    if stash.key_folder:
        folder = Path(expanded(stash.key_folder))
        return Keys(_read(folder / ACCESS), _read(folder / SECRET))
    found = session.get_credentials()
    if found is None:
        raise StagingError(
            "there are no keys for S3",
            where=stash.url,
            fix="Put them into ~/.aws/credentials, into AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY, or into the files {ACCESS} and {SECRET} of `key_folder:`.",
        )
    frozen = found.get_frozen_credentials()
    # botocore keeps it for keys that it renews, and for those of AWS_CREDENTIAL_EXPIRATION.
    until = getattr(found, "_expiry_time", None)
    expires = until.timestamp() if until else 0.0
    return Keys(frozen.access_key, frozen.secret_key, frozen.token or "", expires)


def check_lifetime(stash: Stash, keys: Keys) -> None:
    """A URL that is signed in advance is of no use once its keys are not. Raises StagingError."""
    left = keys.expires - time.time()
    if stash.presigned_s and keys.expires and left < stash.presigned_s:
        raise StagingError(
            f"the keys for S3 expire in {max(0, int(left // 60)):,} min, and what they sign with "
            f"them: sooner than --allow-presigned wants",
            where=stash.url,
            fix="Get keys that last longer, or write a shorter time.",
        )


def _read(path: Path) -> str:
    """A key in a file of the user's own, which nobody else may read."""
    try:
        status = path.stat()
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise StagingError(f"the key cannot be read: {why}", where=str(path)) from None
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise StagingError(
            "others can read this key", where=str(path), fix=f"chmod 600 {path}; then try again."
        )
    if not text or any(c.isspace() for c in text):
        raise StagingError("this is no key: it should be one word", where=str(path))
    return text


def refuse_temporary(stash: Stash, keys: Keys) -> None:
    """Raise StagingError for temporary keys, of which HTCondor cannot use the token."""
    if keys.token:
        raise StagingError(
            "these keys are temporary ones with a session token, which HTCondor cannot use",
            where=stash.url,
            fix="Use permanent keys of a user who may do no more than this needs; or, for a batch "
            "that ends before they do, submit with --allow-presigned TIME (docs/stash.md).",
        )


def key_files(stash: Stash, keys: Keys) -> KeyFiles:
    """Files with the keys, for HTCondor: those of key_folder, or ones that are written here.

    They lie in the user's settings, mode 0600, and never in a batch folder. Raises StagingError
    for temporary keys, of which HTCondor's files have no place for the token.
    """
    if stash.key_folder:
        folder = Path(expanded(stash.key_folder))
        return KeyFiles((folder / ACCESS).absolute(), (folder / SECRET).absolute())
    refuse_temporary(stash, keys)
    folder = config_folder() / "s3" / hashlib.sha256(keys.access.encode()).hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        _write(folder / ACCESS, keys.access)
        _write(folder / SECRET, keys.secret)
    except OSError as error:
        raise StagingError(
            f"the key files for HTCondor cannot be written: {error.strerror}", where=str(folder)
        ) from None
    return KeyFiles(folder / ACCESS, folder / SECRET)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text + "\n")
    temporary.replace(path)
