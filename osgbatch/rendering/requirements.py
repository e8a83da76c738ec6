"""What an execution point must be like, as one ClassAd expression."""

from __future__ import annotations

import re
from collections.abc import Iterable

from osgbatch.errors import OsgbatchError
from osgbatch.spec_model import Requirements
from osgbatch.submit_language import classad_problems

_ARCH = {"x86_64": "X86_64"}
"""How HTCondor spells architectures, where it is not as uname does."""

# HTCondor's own names (OpSysName) for what the OSPool calls RHEL.
_RHEL = ("RedHat", "CentOS", "Rocky", "AlmaLinux", "SL", "SLCern", "SLFermi")
_OTHER = {"debian": "Debian", "ubuntu": "Ubuntu", "fedora": "Fedora"}


def classad_string(text: str) -> str:
    """`text` as a string literal of the ClassAd language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def requirements_expression(wanted: Requirements, needed: str = "") -> str:
    """All that is wanted, joined by `&&`; empty when nothing is.

    needed: the CPU level that the packed environment needs; empty when any will do.
    Raises OsgbatchError for an `expr` whose brackets or quotes do not match, since it would take
    in, or shut out, the other parts.
    """
    parts = [
        _any_of(_os(name) for name in wanted.os),
        _any_of(f"TARGET.Arch == {classad_string(_arch(name))}" for name in wanted.arch),
        _microarch(wanted),
        _needed_level(wanted, needed),
        *(f"TARGET.{cvmfs_attribute(name)} =?= true" for name in wanted.cvmfs),
        *_sites(wanted),
        _own(wanted.expr),
    ]
    return " && ".join(part for part in parts if part)


def desired_sites(wanted: Requirements) -> str:
    """The value of DESIRED_Sites: names with commas between, no blanks; empty for any site."""
    return ",".join(site for site in wanted.only_sites if site not in wanted.avoid_sites)


def undesired_sites(wanted: Requirements) -> str:
    """The value of UNDESIRED_Sites; empty beside DESIRED_Sites, since no job may have both."""
    return "" if wanted.only_sites else ",".join(wanted.avoid_sites)


def cvmfs_attribute(repository: str) -> str:
    """The attribute by which an execution point of the OSPool says that it mounts a repository."""
    return "HAS_CVMFS_" + re.sub(r"\W", "_", repository)


def _any_of(alternatives: Iterable[str]) -> str:
    found = list(alternatives)
    return f"({' || '.join(found)})" if found else ""


def _arch(name: str) -> str:
    return _ARCH.get(name.lower(), name)


def _os(name: str) -> str:
    """Pilots of the OSPool say OSGVO_OS_STRING, of where the job will run, be it a container.

    Elsewhere that attribute is missing, and HTCondor's own have to do.
    """
    found = re.fullmatch(r"([A-Za-z]+)[ _-]?([0-9]*)", name.strip())
    family, version = (found[1].lower(), found[2]) if found else (name, "")
    if family in ("el", "rhel"):
        plain, label = f"member(TARGET.OpSysName, {_list(_RHEL)})", "RHEL"
    else:
        label = _OTHER.get(family, family)
        plain = f"TARGET.OpSysName == {classad_string(label)}"
    if version:
        plain += f" && TARGET.OpSysMajorVer == {version}"
        pilot = f"TARGET.OSGVO_OS_STRING == {classad_string(f'{label} {version}')}"
    else:
        pilot = f"TARGET.OSGVO_OS_NAME == {classad_string(label)}"
    return f"ifThenElse(isUndefined(TARGET.OSGVO_OS_STRING), {plain}, {pilot})"


def _microarch(wanted: Requirements) -> str:
    """The least level; where another architecture than x86_64 will do, it has no such levels."""
    if not wanted.microarch:
        return ""
    least = f"TARGET.Microarch >= {classad_string(wanted.microarch)}"
    if all(name == "x86_64" for name in wanted.arch):
        return least
    return f'(TARGET.Arch != "X86_64" || {least})'


def _needed_level(wanted: Requirements, level: str) -> str:
    """The level that an environment needs, wherever an execution point says what it has.

    Levels compare as texts do: there are x86_64-v1 to x86_64-v4.
    """
    if not level or wanted.microarch >= level:
        return ""
    return f"(isUndefined(TARGET.Microarch) || TARGET.Microarch >= {classad_string(level)})"


def _sites(wanted: Requirements) -> list[str]:
    """The sites, for the negotiator.

    DESIRED_Sites and UNDESIRED_Sites are known to the OSPool's factories, which then send no pilots
    in vain; pilots of other pools may not look at them, so that the requirement says it again.
    Where an execution point names no site, it is none of those to avoid, and none of the wanted.
    """
    parts = []
    if wanted.only_sites:
        parts.append(f"member(TARGET.GLIDEIN_Site, {_list(wanted.only_sites)})")
    if wanted.avoid_sites:
        avoided = _list(wanted.avoid_sites)
        parts.append(
            f"(isUndefined(TARGET.GLIDEIN_Site) || !member(TARGET.GLIDEIN_Site, {avoided}))"
        )
    return parts


def _list(texts: Iterable[str]) -> str:
    return "{" + ", ".join(classad_string(text) for text in texts) + "}"


def _own(expr: str) -> str:
    """The user's own expression, in one line and in parentheses."""
    text = re.sub(r"\s*[\r\n]\s*", " ", expr.strip())
    if not text:
        return ""
    for offset, _, what, fix in classad_problems(text):
        raise OsgbatchError(f"{what}: {text[offset:]}", where="requirements.expr", fix=fix)
    return f"({text})"
