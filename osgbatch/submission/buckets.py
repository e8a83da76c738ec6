"""The user's own files in buckets, `s3://bucket/key`: which server has them, and with which keys.

HTCondor reads one pair of keys for all s3:// URLs of a job, and takes what stands first in such a
URL for a bucket of AWS unless it has a dot; then it is a host, and the bucket comes next (seen on
25.14.1). Here a bucket is one of the server of `stash:`, where that is a bucket, too; else of AWS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from osgbatch.errors import SpecError, StagingError
from osgbatch.plan_model import Plan
from osgbatch.planning.placement import with_addresses
from osgbatch.spec_model import Stash
from osgbatch.staging.store import open_store
from osgbatch.urls import scheme, split_url

Commands = tuple[tuple[str, str], ...]
"""Of the submit language: names and values."""

_AWS = ".amazonaws.com"
_OF_AWS = re.compile(r"([^.]+)\.s3\.([a-z0-9-]+)\.amazonaws\.com")
"""Bucket and region, as HTCondor's plugin takes them."""
_OWN = "aws_access_key_id_file"
_NAME_FILES = (
    "`submit: {aws_access_key_id_file: FILE, aws_secret_access_key_file: FILE}` names other keys, "
    "for all s3:// URLs of the sweep"
)


def own_keys(plan: Plan) -> bool:
    """Whether the sweep itself names key files, under `submit:`: then they are the user's care."""
    return any(name.lower() == _OWN for name, _ in plan.spec.submit)


def key_errors(plan: Plan) -> Iterator[SpecError]:
    """Inputs and images that could not be fetched, for want of keys. No server is asked."""
    if own_keys(plan):
        return
    for url, place in plan.buckets:
        try:
            _look_for_keys(server_of(url, plan.stash))
        except StagingError as error:
            what = f'"{url}": {error.what}'
            fix = f"{error.fix} {_NAME_FILES}. What anyone may read has an address with https://."
            yield SpecError(what, place, fix=fix.strip())


def server_of(url: str, stash: Stash) -> Stash:
    """The bucket of a file, as if it were a stash. url: s3://bucket/key, or with a host first.

    stash: the sweep's. Raises StagingError when the URL names another server than the stash: then
    there would have to be two pairs of keys.
    """
    first, _, rest = split_url(url)[1].partition("/")
    has_server = stash.kind == "s3"
    bucket = replace(stash if has_server else Stash("s3"), presigned_s=0)
    if first.endswith(_AWS):
        if bucket.endpoint:
            raise _other_server(url, bucket.endpoint)
        found = _OF_AWS.fullmatch(first)
        if found is None:
            raise StagingError(
                "which bucket of AWS this is cannot be read from it",
                where=url,
                fix="Write s3://BUCKET/KEY, or s3://BUCKET.s3.REGION.amazonaws.com/KEY.",
            )
        return replace(bucket, url=f"s3://{found[1]}", region=found[2])
    if not _names_host(url, stash):
        return replace(bucket, url=f"s3://{first}")
    if first != _host(bucket):
        if has_server:
            raise _other_server(url, bucket.endpoint or "AWS")
        bucket = replace(bucket, endpoint=f"https://{first}")
    return replace(bucket, url=f"s3://{rest.partition('/')[0]}")


def _names_host(url: str, stash: Stash) -> bool:
    """Whether a host stands first in a URL, and not a bucket with a dot in its name."""
    first, _, rest = split_url(url)[1].partition("/")
    is_stash = stash.kind == "s3" and first == _first(stash.url)
    return ("." in first or ":" in first) and "/" in rest and not is_stash


def _host(stash: Stash) -> str:
    """The host of a server, with its port; empty for AWS."""
    return urlsplit(stash.endpoint).netloc.rpartition("@")[2]


def _first(url: str) -> str:
    return split_url(url)[1].partition("/")[0]


def _other_server(url: str, server: str) -> StagingError:
    return StagingError(
        f"it is at another server than the stash ({server}), and HTCondor has one pair of keys for "
        "both",
        where=url,
        fix="Write `stash: none`, or another stash.",
    )


def reached(plan: Plan) -> tuple[Plan, Commands]:
    """The plan with such URLs as HTCondor must have them, and the commands that fetching needs.

    AWS is asked for the region of a bucket. Raises StagingError.
    """
    stash, addresses, commands = plan.stash, dict[str, str](), dict[str, str]()
    for url, _ in plan.buckets:
        if not own_keys(plan):
            place = server_of(url, stash)
            store = open_store(place)
            commands.update(store.commands())
            if place.url == f"s3://{_first(url)}":
                addresses[_first(url)] = store.url
        elif _host(stash) and not _names_host(url, stash):
            addresses[_first(url)] = f"s3://{_host(stash)}/{_first(url)}"
    return _with_image(with_addresses(plan, addresses), addresses), tuple(commands.items())


def _with_image(plan: Plan, addresses: Mapping[str, str]) -> Plan:
    """The plan with the image of a bucket as HTCondor must have it."""
    spec, image = plan.spec, plan.spec.environment.path
    if spec.environment.kind != "container" or image is None or scheme(image.text) != "s3":
        return plan
    first, _, key = split_url(image.text)[1].partition("/")
    if first not in addresses:
        return plan
    image = replace(image, text=f"{addresses[first]}/{key}")
    return replace(plan, spec=replace(spec, environment=replace(spec.environment, path=image)))


# --- the stash's own keys ------------------------------------------------------------------------


def check_keys(plan: Plan, *, staged: bool) -> None:
    """See that there are keys that HTCondor can use, before anything is brought to a bucket.

    staged: whether the stash will be used. Inputs were looked at when the plan was made. Raises
    StagingError.
    """
    if staged and plan.stash.kind == "s3":
        _look_for_keys(plan.stash)
    if scheme(plan.spec.outputs_to) == "s3":
        of_stash = plan.stash if plan.stash.kind == "s3" else Stash("s3")
        _look_for_keys(replace(of_stash, url=plan.spec.outputs_to, presigned_s=0))


def key_warning(plan: Plan, *, staged: bool) -> str:
    """Why submit will refuse for want of keys; empty when it will not."""
    try:
        check_keys(plan, staged=staged)
    except StagingError as error:
        return f"submit will refuse: {error.what} ({error.where}). {error.fix}".rstrip()
    return ""


def _look_for_keys(stash: Stash) -> None:
    from osgbatch.staging.keys import refuse_temporary
    from osgbatch.staging.s3_client import client

    _, keys, _ = client(stash)
    if not stash.presigned_s and not stash.key_folder:
        refuse_temporary(stash, keys)
