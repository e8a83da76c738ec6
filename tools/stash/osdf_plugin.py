"""A transfer plugin of the developers' pool: osdf:// of a stash's origin and cache.

Called by HTCondor's starter: DESCRIPTION -infile ADS -outfile ADS [-upload]. As on the OSDF, reads
go through the cache, unless the URL asks for ?directread; writes go to the origin, which refuses a
name that is there already. Source of the protocol: HTCondor manual, "Custom File Transfer Plugins".
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

TRIES = 3
PAUSE = 1.0  # seconds
SECONDS = 60  # without a byte
PIECE = 1 << 20
AD = re.compile(r"\[(.*?)\](?=\s*(?:\[|\Z))", re.DOTALL)
WORD = re.compile(r'(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)


class Refused(Exception):
    """The transfer cannot be done; trying again is of no use."""


@dataclass(frozen=True)
class Transfer:
    """One file to be moved."""

    url: str
    local: Path


def transfers(text: str) -> list[Transfer]:
    """The ads of an -infile: [ Url = "…"; LocalFileName = "…" ][…]."""
    found = []
    for ad in AD.findall(text):
        words = {name.lower(): _plain(value) for name, value in WORD.findall(ad)}
        found.append(Transfer(words["url"], Path(words["localfilename"])))
    return found


def _plain(value: str) -> str:
    """A string of a ClassAd without its escapes."""
    known = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda m: known.get(m[1], m[1]), value, flags=re.DOTALL)


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def place(about: dict[str, dict[str, str]], url: str, upload: bool) -> tuple[str, str]:
    """(host, path with quoting) of the server for an osdf:// URL. Raises Refused."""
    parts = urllib.parse.urlsplit(url)
    if parts.netloc:
        raise Refused(f"only osdf:/// is known here, with no host: {url}")
    path = urllib.parse.quote(urllib.parse.unquote(parts.path))
    if not path.startswith(about["osdf"]["namespace"] + "/"):
        raise Refused(f"no namespace of the OSDF holds {path}")
    direct = upload or "directread" in parts.query
    base = about["origin" if direct else "cache"]["url"]
    return urllib.parse.urlsplit(base).netloc, path


def download(host: str, path: str, local: Path) -> int:
    """Fetch one object; returns its bytes. Raises Refused, OSError."""
    connection = http.client.HTTPConnection(host, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        _refuse(answer.status, path, 200)
        expected = int(answer.headers.get("Content-Length", -1))
        count = 0
        with local.open("wb") as out:
            while piece := answer.read(PIECE):
                count += out.write(piece)
        if count != expected >= 0:
            raise OSError(f"{count} of {expected} bytes came")
        return count
    finally:
        connection.close()


def upload(host: str, path: str, local: Path) -> int:
    """Put one object under a name that is free; returns its bytes. Raises Refused, OSError."""
    connection = http.client.HTTPConnection(host, timeout=SECONDS)
    try:
        connection.request("HEAD", path)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            raise Refused(f"{path} exists already, and objects of the OSDF are never overwritten")
        connection.close()
        with local.open("rb") as body:
            connection.request("PUT", path, body, {"Content-Length": str(local.stat().st_size)})
            answer = connection.getresponse()
            answer.read()
        _refuse(answer.status, path, 200, 201)
        return local.stat().st_size
    finally:
        connection.close()


def _refuse(status: int, path: str, *good: int) -> None:
    if status >= 500:
        raise OSError(f"{path}: HTTP {status}")
    if status not in good:
        raise Refused(f"{path}: HTTP {status}")


def move(about: dict[str, dict[str, str]], transfer: Transfer, up: bool) -> dict[str, object]:
    """Move one file; returns its ad for -outfile."""
    began = time.time()
    result: dict[str, object] = {
        "TransferUrl": transfer.url,
        "TransferProtocol": "osdf",
        "TransferType": "upload" if up else "download",
        "TransferFileName": str(transfer.local),
        "TransferStartTime": int(began),
        "TransferSuccess": False,
        "TransferError": "",
    }
    for attempt in range(1, TRIES + 1):
        result["TransferTries"] = attempt
        try:
            host, path = place(about, transfer.url, up)
            result["TransferHostName"] = host
            count = (upload if up else download)(host, path, transfer.local)
        except Refused as error:
            result["TransferError"] = str(error)
            break
        except (OSError, http.client.HTTPException) as error:
            result["TransferError"] = f"{transfer.url}: {error}"
            if attempt < TRIES:
                time.sleep(PAUSE)
        else:
            result.update(TransferSuccess=True, TransferError="")
            result.update(TransferFileBytes=count, TransferTotalBytes=count)
            break
    result["TransferEndTime"] = int(time.time())
    result["ConnectionTimeSeconds"] = round(time.time() - began, 3)
    return result


def main(arguments: list[str]) -> int:
    """Move all; the exit code is not 0 when one could not be moved."""
    description, *rest = arguments
    words = dict(zip(rest, rest[1:]))  # noqa: B905, RUF007 (Python 3.9 of an old pool's machine)
    asked = transfers(Path(words["-infile"]).read_text())
    try:
        about = json.loads(Path(description).read_text())
    except OSError:
        about = None
    good = True
    with open(words["-outfile"], "w") as out:
        for transfer in asked:
            if about is None:
                told = "this pool knows no stash: start one with tools/stash/servers.py run"
                result: dict[str, object] = {
                    "TransferUrl": transfer.url,
                    "TransferSuccess": False,
                    "TransferError": told,
                }
            else:
                result = move(about, transfer, "-upload" in rest)
            good = good and bool(result["TransferSuccess"])
            text = " ".join(f"{name} = {_quoted(value)};" for name, value in result.items())
            out.write(f"[ {text} ]\n")
            out.flush()
            os.fsync(out.fileno())
            if not good:
                break
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
