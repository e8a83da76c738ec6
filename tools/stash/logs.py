"""What the servers of a stash were asked for, read from their own logs."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WRITING = 0x303  # SFS_O_WRONLY, SFS_O_RDWR, SFS_O_CREAT, SFS_O_TRUNC of XRootD's XrdSfsInterface.hh
OPEN = re.compile(r" (\S+) ofs_open: ([0-9a-f]+)-\S+ \(\S+\) fn=(.*)$")
REFUSED = re.compile(r" ofs_open: (\S+) Unable to open (.*); ")


@dataclass(frozen=True)
class Request:
    """One request, as its server logged it.

    path: not quoted, without the query. size: bytes of the body, -1 where the log does not say.
    cache: nginx's word for it (HIT, MISS); "" elsewhere.
    """

    method: str
    path: str
    status: int
    size: int = -1
    cache: str = ""
    query: str = ""


def of_gateway(log: Path) -> list[Request]:
    """Requests in the operations log of Ceph's gateway (one JSON object a line)."""
    found = []
    for entry in _objects(log):
        method, _, rest = str(entry.get("uri", "")).partition(" ")
        target, _, query = rest.rpartition(" ")[0].partition("?")
        size = int(entry.get("bytes_sent" if method == "GET" else "bytes_received", -1))
        path = urllib.parse.unquote(target)
        found.append(Request(method, path, int(entry["http_status"]), size, query=query))
    return found


def of_cache(log: Path) -> list[Request]:
    """Requests in the access log that cache.py gives nginx (one JSON object a line)."""
    return [
        Request(
            str(entry["method"]),
            urllib.parse.unquote(str(entry["uri"]).partition("?")[0]),
            int(entry["status"]),
            int(entry["size"]),
            str(entry["cache"]),
            str(entry["uri"]).partition("?")[2],
        )
        for entry in _objects(log)
    ]


def of_origin(log: Path) -> list[Request]:
    """Files that XRootD opened, in the order of its log: GET, or PUT where it was to write.

    A HEAD opens nothing and is not here. Seen with XRootD 6.2.0 and `ofs.trace open`.
    """
    found: list[tuple[str, Request]] = []
    for line in _lines(log):
        refused = REFUSED.search(line)
        opened = OPEN.search(line)
        if refused:
            for index in range(len(found) - 1, -1, -1):
                who, request = found[index]
                if (who, request.path) == refused.groups():
                    found[index] = (who, Request(request.method, request.path, 404))
                    break
        elif opened:
            method = "PUT" if int(opened[2], 16) & WRITING else "GET"
            found.append((opened[1], Request(method, opened[3], 201 if method == "PUT" else 200)))
    return [request for _, request in found]


def _lines(log: Path) -> list[str]:
    """The whole lines so far."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return []
    return text[: text.rfind("\n") + 1].splitlines()


def _objects(log: Path) -> Iterator[dict[str, str]]:
    decoder = json.JSONDecoder()
    for line in _lines(log):
        while line.startswith("{"):  # at times two stand on a line
            entry, end = decoder.raw_decode(line)
            yield entry
            line = line[end:].strip()
