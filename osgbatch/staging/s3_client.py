"""The client of boto3 that a stash in a bucket is asked with."""

from __future__ import annotations

from typing import Any

from osgbatch.errors import StagingError
from osgbatch.model import Stash
from osgbatch.staging.keys import Keys, find_keys

WORKERS = 4
"""Small files are brought so many at a time: the wait is for the network."""


def client(stash: Stash) -> tuple[Any, Keys]:
    """boto3's client for the server of a stash, and the keys that it signs with.

    Raises StagingError.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise StagingError(
            "S3 needs the Python package boto3, which is not installed",
            where=stash.url,
            fix="pip install 'osgbatch[s3]', or pip install boto3.",
        ) from None
    try:
        session = boto3.session.Session(region_name=stash.region or None)
        keys = find_keys(stash, session)
        config = Config(
            retries={"max_attempts": 1, "mode": "standard"},  # our own patience is longer
            connect_timeout=10,
            read_timeout=60,
            signature_version="s3v4",  # else URLs for other servers than AWS are signed as of old
            # Ceph before 20 and others know no CRC trailers.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if stash.endpoint else "auto"},
            max_pool_connections=2 * WORKERS,
        )
        made = session.client(
            "s3",
            endpoint_url=stash.endpoint or None,
            aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret,
            aws_session_token=keys.token or None,
            region_name=stash.region or session.region_name or "us-east-1",
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise StagingError(f"S3 cannot be used: {error}", where=stash.url) from None
    return made, keys


def refused(where: str, code: str, message: str) -> StagingError:
    """What a refusal means. where: bucket and key; code, message: as the server has them."""
    fix = {
        "403": "The keys are not those of this server, or may not do this.",
        "AccessDenied": "These keys may not do this in this bucket.",
        "InvalidAccessKeyId": "The server does not know this access key.",
        "SignatureDoesNotMatch": "The secret key is wrong.",
        "NoSuchBucket": "Make the bucket, or write the name of another.",
        "QuotaExceeded": "The quota is reached: `osgbatch stage gc` tells what can go.",
    }.get(code, "")
    said = message if message and message != code else ""
    what = f"the server refuses: {code}{f', {said}' if said else ''}"
    return StagingError(what, where=where, fix=fix)
