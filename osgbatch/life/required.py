"""What a batch requires of execution points now, as a resubmission would: spec and settings."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.batches.moved import as_moved
from osgbatch.batches.notes import read_note
from osgbatch.errors import OsgbatchError

if TYPE_CHECKING:
    from osgbatch.spec_model import Requirements

_NOT_BARE = re.compile(r": |:$| #|[^ -~]|^[^\w(]")
"""Of a text in YAML that it must stand in quotes."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")


def required_now(batch: Batch) -> Requirements | None:
    """The requirements that `osgbatch resubmit` would start from; None when that cannot be told.

    The spec as it is now, the batch's copy where it is gone, and the settings of the newest round.
    """
    note = read_note(batch.rounds()[-1].folder)
    folder = as_moved(batch, Path(str(batch.data["spec_folder"])))
    path = as_moved(batch, Path(str(batch.data.get("spec") or folder / names.SPEC)))
    from osgbatch.spec.load import load_spec  # takes long to load

    copies = [one.folder / names.SPEC for one in reversed(batch.rounds())]
    copy = next((one for one in copies if one.is_file()), batch.folder / names.SPEC)
    try:
        settings = note.settings if note else ()
        return load_spec(path, settings, None if path.is_file() else copy).requirements
    except (OsgbatchError, OSError):
        return None


def avoiding(kind: str, where: str, required: Requirements | None) -> str:
    """The setting, as a word of a shell, by which tasks avoid a place, and require all else still.

    kind: site or host. Empty where there is none: the requirements are not known, no site would be
    left, or the place has a name that it should not have: it comes from there.
    """
    if required is None or not _PLAIN.fullmatch(where):
        return ""
    if kind == "host":
        other = f'TARGET.Machine =!= "{where}"'
        text = f"({required.expr}) && {other}" if required.expr else other
        text = json.dumps(text) if _NOT_BARE.search(text) else text
        return shlex.quote(f"requirements.expr={text}")
    if required.only_sites:
        left = [site for site in required.only_sites if site != where]
        return shlex.quote(f"requirements.sites.only={_listed(left)}") if left else ""
    sites = dict.fromkeys((*required.avoid_sites, where))
    return shlex.quote(f"requirements.sites.avoid={_listed([*sites])}")


def _listed(sites: Sequence[str]) -> str:
    return f"[{', '.join(s if _PLAIN.fullmatch(s) else json.dumps(s) for s in sites)}]"
