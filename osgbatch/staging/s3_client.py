"""The client of boto3 that a stash in a bucket is asked with."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from osgbatch.errors import StagingError
from osgbatch.spec_model import Stash
from osgbatch.staging.keys import Keys, find_keys

WORKERS = 4
"""Small files are brought so many at a time: the wait is for the network."""
AWS = ".amazonaws.com"
"""Hosts whose names HTCondor reads the bucket and the region from; not those of AWS in China."""


class S3RefusedError(StagingError):
    """The server refuses. code: the server's own word for why."""

    def __init__(self, what: str, *, where: str, fix: str, code: str) -> None:
        super().__init__(what, where=where, fix=fix)
        self.code = code


def client(stash: Stash, region: str = "") -> tuple[Any, Keys, bool]:
    """boto3's client for the server of a stash, its keys, and whether it knows the right region.

    region: of the bucket, when it was asked for. The region of AWS's own settings is that of
    machines, and often not that of a bucket. Raises StagingError.
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
        region = region or stash.region
        made = session.client(
            "s3",
            endpoint_url=stash.endpoint or None,
            aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret,
            aws_session_token=keys.token or None,
            region_name=region or session.region_name or "us-east-1",
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise StagingError(f"S3 cannot be used: {error}", where=stash.url) from None
    is_aws = aws_host(made).endswith(AWS)
    return made, keys, bool(region) or not is_aws


def aws_host(client: Any) -> str:
    """The host that a client asks, with its port if one is named, and never with a user."""
    return str(urlsplit(client.meta.endpoint_url).netloc.rpartition("@")[2])


def region_of(client: Any, bucket: str) -> str:
    """The region of a bucket of AWS, which names it even to those who may not look; else empty.

    Raises botocore's errors. Source: S3 API reference, HeadBucket, x-amz-bucket-region.
    """
    from botocore.exceptions import ClientError

    name = "x-amz-bucket-region"
    try:
        answer = client.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
        if name not in answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}):
            raise
    return str(answer["ResponseMetadata"]["HTTPHeaders"].get(name, ""))


def refused(where: str, code: str, message: str) -> S3RefusedError:
    """What a refusal means. where: bucket and key; code, message: as the server has them."""
    fix = {
        "403": "The keys are not those of this server, or may not do this.",
        "AccessDenied": "These keys may not do this in this bucket.",
        "InvalidAccessKeyId": "The server does not know this access key.",
        "SignatureDoesNotMatch": "The secret key is wrong.",
        "404": "Is the name of the bucket right?",
        "NoSuchBucket": "Make the bucket, or write the name of another.",
        "QuotaExceeded": "The quota is reached: `osgbatch stage gc` tells what can go.",
    }.get(code, "")
    said = message if message and message != code else ""
    what = f"the server refuses: {code}{f', {said}' if said else ''}"
    return S3RefusedError(what, where=where, fix=fix, code=code)
