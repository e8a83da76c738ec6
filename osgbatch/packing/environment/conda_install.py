"""Solves and installs conda packages with py-rattler: no conda is needed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import re
import tempfile
import warnings
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from osgbatch.errors import OsgbatchError, PackingError, SpecError
from osgbatch.packing.archive import printable
from osgbatch.packing.disk_full import full_disk, is_full
from osgbatch.packing.environment.cache import file_sha256
from osgbatch.packing.environment.conda_access import login_advice, secret_addresses, with_secrets
from osgbatch.packing.environment.conda_lock import Lock, Package
from osgbatch.packing.environment.conda_spec import CondaSpec
from osgbatch.packing.environment.interpreter import glibc
from osgbatch.spec_model import Place
from osgbatch.urls import without_login

if TYPE_CHECKING:
    from rattler import RepoDataRecord

Say = Callable[[str], None]
T = TypeVar("T")

FOLDER = "conda"
"""In osgbatch's cache: packages and channels' lists, so that a second time needs no network."""
OLDEST_GLIBC = "2.28"
"""What packages are chosen for first, where this machine's is newer: EL8's, the oldest there is."""
PORTABLE_CPU = "x86_64"
TIMES_PACKED = 9
"""What packing takes, in sizes of the packages: they are kept unpacked, then the environment is
packed, and unpacked for a trial. Packages of scientific Python are some 3.5 times as large
unpacked."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9][\w.-]*?)(?:\s*\[.*\])?\s*(?:[=<>!~].*|;.*)?")


class _ChannelError(PackingError):
    """A channel's list of packages cannot be had."""


def solve_and_install(
    spec: CondaSpec, prefix: Path, cache: Path, say: Say
) -> tuple[list[Package], list[str]]:
    """Choose the packages of an environment and install them into a new folder.

    cache: osgbatch's. Returns the packages by name, and notes for the user.
    Raises PackingError with the solver's explanation, or with what cannot be read.
    """
    say(f"solving {spec.file.name}")
    records, notes = _run(_solve(spec, _own_folder(cache)))
    return _installed(records, prefix, spec.file, cache, say), notes


def install_locked(
    lock: Lock, spec: CondaSpec, prefix: Path, cache: Path, say: Say
) -> list[Package]:
    """Install what a lock file lists; with the logins of the channels that the spec names.

    Raises PackingError when a package cannot be had, SpecError when one is not as the spec wants.
    """
    try:
        records = _run(_locked_records(lock, spec, _own_folder(cache)))
    except Exception as error:
        if is_full(error):
            raise full_disk(error, cache) from error
        said = _said(error)
        raise PackingError(
            f"a package of the lock file cannot be had: {said}",
            where=printable(str(lock.file)),
            fix=login_advice(said)
            or "Pack without --locked, which chooses among the packages that there are now.",
        ) from error
    _check_versions(records, spec, lock)
    return _installed(records, prefix, lock.file, cache, say)


def check_lock(lock: Lock, spec: CondaSpec) -> None:
    """Raise SpecError when a spec asks for what a lock file lacks."""
    pip = {_plain(line.partition("==")[0]) for line in lock.pip}
    asked = [(name, place, name in lock.names) for name, place in spec.named]
    for line in spec.pip:
        match = _REQUIREMENT.fullmatch(line.text)
        if match:
            place = Place(printable(str(line.file)), line.number, 1)
            asked.append((match[1], place, _plain(match[1]) in pip))
    for name, place, is_there in asked:
        if not is_there and not name.startswith("__"):  # what a machine has, `__glibc`
            raise SpecError(
                f"the lock file, {printable(lock.file.name)}, lacks {name}",
                place,
                fix="Pack once without --locked: that writes a lock file with it.",
            )


def _check_versions(records: list[RepoDataRecord], spec: CondaSpec, lock: Lock) -> None:
    from rattler import MatchSpec, NamelessMatchSpec

    by_name = {record.name.normalized: record for record in records}
    for text, (name, place) in zip(spec.specs, spec.named, strict=True):
        wish = NamelessMatchSpec.from_match_spec(MatchSpec(text.rpartition("::")[2], strict=False))
        if not wish.matches(by_name[name]):
            raise SpecError(
                f"the lock file, {printable(lock.file.name)}, has {name} {by_name[name].version}",
                place,
                fix="Pack once without --locked: that writes a lock file with what you want.",
            )


def _plain(name: str) -> str:
    """A package's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _own_folder(cache: Path) -> Path:
    """The folder for packages, which only the user reads: it has channels' addresses in full."""
    folder = cache / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
    return folder


def _installed(
    records: list[RepoDataRecord], prefix: Path, file: Path, cache: Path, say: Say
) -> list[Package]:
    say(f"installing {len(records)} conda package{'s' * (len(records) != 1)}")
    try:
        _run(_install(records, prefix, _own_folder(cache)))
    except Exception as error:
        if is_full(error):
            packed = sum(record.size or 0 for record in records)
            raise full_disk(error, cache, needs=TIMES_PACKED * packed) from error
        raise PackingError(
            f"the packages cannot be installed: {_said(error)}",
            where=printable(str(file)),
            fix="Try again; should it stay so, a channel is damaged or cannot be reached.",
        ) from error
    return sorted((_package(record) for record in records), key=lambda one: one.name)


def subdir() -> str:
    """conda's word for this machine: `linux-64`, `linux-aarch64`."""
    from rattler.platform import Subdir

    return str(Subdir.current())


def _run(work: Coroutine[Any, Any, T]) -> T:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of channels' metadata: nothing a user can do about
        return asyncio.run(work)


async def _solve(spec: CondaSpec, cache: Path) -> tuple[list[RepoDataRecord], list[str]]:
    """The records to install; where channels are not reached, by the lists fetched before."""
    from rattler import Client
    from rattler.repo_data import Gateway, SourceConfig

    lists, client = cache / "channels", Client.default_client()
    try:
        return await _solve_with_python(spec, Gateway(cache_dir=lists, client=client))
    except _ChannelError as error:
        if is_full(error):
            raise full_disk(error, cache.parent) from error
        old = SourceConfig(cache_action="force-cache-only")
        try:
            records, notes = await _solve_with_python(
                spec, Gateway(cache_dir=lists, default_config=old, client=client)
            )
        except OsgbatchError:
            raise error from None
        said = error.what.splitlines()[0]
        return records, [*notes, f"chosen from lists fetched before: {said}"]


async def _solve_with_python(
    spec: CondaSpec, gateway: Any
) -> tuple[list[RepoDataRecord], list[str]]:
    """Python or R is there in any case: beside R alone, sh puts the environment right."""
    specs, notes = list(spec.specs), list(spec.notes)
    if spec.pip and "python" not in spec.names:
        specs.append("python")
    records = await _solve_either(spec, specs, gateway)
    if not any(record.name.normalized in ("python", "r-base") for record in records):
        records = await _solve_either(spec, [*specs, "python"], gateway)
        notes.append("Python was added, which puts the environment right where it is unpacked")
    return records, notes


async def _solve_either(spec: CondaSpec, specs: list[str], gateway: Any) -> list[RepoDataRecord]:
    from rattler.exceptions import SolverError

    portable, here = _machines()
    try:
        return await _solve_once(spec, specs, gateway, portable)
    except SolverError:
        pass
    try:
        return await _solve_once(spec, specs, gateway, here)
    except SolverError as error:
        raise _unsolvable(spec, _said(error)) from error


async def _solve_once(
    spec: CondaSpec, specs: list[str], gateway: Any, machine: Sequence[Any]
) -> list[RepoDataRecord]:
    from rattler import Channel, solve
    from rattler.exceptions import FetchRepoDataError, GatewayError

    known = secret_addresses(spec.channels)
    try:
        return await solve(
            sources=[Channel(with_secrets(name, known)) for name in spec.channels],
            specs=specs,
            gateway=gateway,
            virtual_packages=machine,
        )
    except (GatewayError, FetchRepoDataError) as error:
        said = _said(error)
        raise _ChannelError(
            f"a channel cannot be read: {said}",
            where=printable(str(spec.file)),
            fix=login_advice(said)
            or f"Channels: {', '.join(map(without_login, spec.channels))}. Check their names, "
            "and that this machine reaches them.",
        ) from error


def _machines() -> tuple[list[Any], list[Any]]:
    """conda's virtual packages for what execution points have at least, and for this machine.

    CONDA_OVERRIDE_GLIBC, _CUDA and _ARCHSPEC say otherwise, as they do to conda.
    """
    from rattler import VirtualPackage
    from rattler.virtual_package import Override, VirtualPackageOverrides

    here = VirtualPackageOverrides.from_env()
    portable = VirtualPackageOverrides.from_env()
    if "CONDA_OVERRIDE_GLIBC" not in os.environ and _newer(glibc(), OLDEST_GLIBC):
        portable.libc = Override.string(OLDEST_GLIBC)
    if "CONDA_OVERRIDE_ARCHSPEC" not in os.environ and platform.machine() == "x86_64":
        portable.archspec = Override.string(PORTABLE_CPU)
    return (VirtualPackage.detect(overrides=portable), VirtualPackage.detect(overrides=here))


def _newer(one: str, other: str) -> bool:
    try:
        return [int(n) for n in one.split(".")] > [int(n) for n in other.split(".")]
    except ValueError:
        return False


def _unsolvable(spec: CondaSpec, said: str) -> OsgbatchError:
    """The solver's explanation; at the one dependency that it names, if it is one."""
    explanation = "\n  ".join(line for line in said.splitlines() if line.strip())
    fix = f"The solver says:\n  {explanation}"
    what = "there are no packages that fit together like this"
    guilty = [
        place
        for name, place in zip(spec.names, spec.places, strict=False)
        if f"No candidates were found for {name} " in said
    ]
    if len(guilty) == 1:
        return SpecError("no channel has a package like this", guilty[0], fix=fix)
    return PackingError(what, where=printable(str(spec.file)), fix=fix)


async def _install(records: list[RepoDataRecord], prefix: Path, cache: Path) -> None:
    from rattler import Client, install

    await install(
        records,
        target_prefix=prefix,
        cache_dir=cache / "packages",
        execute_link_scripts=True,  # as conda does
        show_progress=False,
        client=Client.default_client(),
    )


async def _locked_records(lock: Lock, spec: CondaSpec, cache: Path) -> list[RepoDataRecord]:
    """What the installer has to know of locked packages: from the packages themselves."""
    from rattler import Client, PackageRecord, RepoDataRecord
    from rattler.package_streaming import extract, fetch_raw_package_file_from_url

    client = Client.default_client()
    known = secret_addresses(spec.channels)
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for listed, sha256 in lock.packages:
            url = with_secrets(listed, known)
            name = url.rpartition("/")[2]
            stem = name.removesuffix(".conda").removesuffix(".tar.bz2")
            index = cache / "packages" / stem / "info" / "index.json"
            local = local_path(url)
            if local is not None and local.is_file() and file_sha256(local) != sha256:
                raise ValueError(f"{name} is another one than the lock file says")
            if not index.is_file() and local is not None:
                index = Path(scratch, name)
                extract(local, index)
                index = index / "info" / "index.json"
            elif not index.is_file():
                index = Path(scratch, "index.json")
                index.write_bytes(
                    await fetch_raw_package_file_from_url(client, url, "info/index.json")
                )
            record = PackageRecord.from_index_json(index, sha256=sha256)
            channel = url.rpartition("/")[0].rpartition("/")[0]
            found.append(RepoDataRecord(record, name, url, channel))
    return found


def local_path(url: str) -> Path | None:
    """The path that a file:// address means; None for others."""
    return Path(unquote(urlsplit(url).path)) if url.startswith("file://") else None


def _package(record: RepoDataRecord) -> Package:
    return Package(
        record.name.normalized,
        str(record.version),
        str(record.build),
        without_login(record.url),
        record.sha256.hex() if record.sha256 else "",
    )


def _said(error: Exception) -> str:
    return without_login(str(error).strip().removeprefix("Cannot solve the request because of: "))
