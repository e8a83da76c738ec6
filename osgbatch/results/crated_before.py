"""What the crate that is there tells of results: of those that are gone, it is all that is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from osgbatch.batches.gathered import read_gathered
from osgbatch.errors import OsgbatchError
from osgbatch.provenance.layout import ADDED, FOLDER, LINKS, MANIFEST, METADATA
from osgbatch.provenance.verify import described, read_pairs
from osgbatch.sums import file_sum

KEPT = f"{FOLDER}.old-"
"""So the names of crates begin that are kept."""


@dataclass(frozen=True)
class Before:
    """What an earlier crate tells. manifest: None where there is none, or it was changed since.

    links: name to target. added: what did not come back from a task, and by whom it was made; None
    where the crate does not say so (older versions). gathered_since: results were gathered after it
    was written, and that ended well. notes: for the user.
    """

    manifest: Path | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[str, str] | None = None
    gathered_since: bool = False
    notes: Sequence[str] = ()


def told_before(batch: Path) -> Before:
    """What the crate of a batch tells, or the newest that is kept, where there is none.

    (Killed after it was set aside, a process has not written the next one.)
    """
    crates = [batch / FOLDER, *sorted(batch.glob(f"{KEPT}*"), key=_number, reverse=True)]
    crate = next((one for one in crates if (one / METADATA).exists()), None)
    if crate is None:
        return Before()
    try:
        sums = described(crate)
        for name in (MANIFEST, LINKS, ADDED):
            if name in sums and file_sum(crate / name)[0] != sums[name]:
                return Before(notes=[_changed(crate, name)])
        links = dict(read_pairs(crate / LINKS))
        added = dict(read_pairs(crate / ADDED)) if ADDED in sums else None
    except (OsgbatchError, OSError):
        return Before(notes=[_changed(crate, "")])
    known, written = read_gathered(batch), _written(crate / MANIFEST)
    since = known is not None and any(began > written for began, _ in known.runs)
    return Before(crate / MANIFEST, links, added, since and bool(known and known.key))


def _written(path: Path) -> int:
    """When a file was written (ns); 0 when it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _number(kept: Path) -> int:
    number = kept.name.removeprefix(KEPT)
    return int(number) if number.isdecimal() else -1


def _changed(crate: Path, name: str) -> str:
    return (
        f"{crate.name}/{name} was changed or damaged since it was written: what it tells of "
        "results that are gone is not in the new manifest"
    )
