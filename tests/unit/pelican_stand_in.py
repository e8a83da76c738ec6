"""Stands in for the `pelican` command in tests: the same words, over HTTP to a real XRootD origin.

Of the real client it has the arguments, the exit codes and the form of what is printed (from its
source, cmd/object_*.go). It knows no director, no caches and no tokens. $STAND_IN_ORIGIN: the
origin's URL; $STAND_IN_LOG: a file that gets a line per call; $STAND_IN_CUT: bytes after which an
upload is cut off; $STAND_IN_STALL: a folder in which a file of the process's number is made when
so many bytes have been sent: the upload goes no further; $STAND_IN_SAYS: a complaint, and no more.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
import xml.etree.ElementTree as ElementTree
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

DAV = "{DAV:}"


def ask(method: str, url: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Ask the origin about an osdf:// URL."""
    connection = http.client.HTTPConnection(urlsplit(os.environ["STAND_IN_ORIGIN"]).netloc)
    try:
        connection.request(method, urlsplit(url).path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError as error:
        sys.stderr.write(f"ERROR Failure: {error}\nERROR Errors are retryable\n")
        raise SystemExit(11) from None
    finally:
        connection.close()


def fail(what: str) -> None:
    sys.stderr.write(f"ERROR {what}\n")
    raise SystemExit(1)


def entries(url: str, depth: int) -> list[dict[str, object]]:
    """What PROPFIND tells, as the client prints it."""
    status, body = ask("PROPFIND", url, Depth=str(depth))
    if status != 207:
        fail(f"Failure getting {url}: server returned {status} Not Found")
    found = []
    for one in ElementTree.fromstring(body):
        kind = one.find(f".//{DAV}resourcetype/{DAV}collection")
        size = one.findtext(f".//{DAV}getcontentlength") or "0"
        changed = one.findtext(f".//{DAV}getlastmodified") or ""
        try:
            when = parsedate_to_datetime(changed).strftime("%Y-%m-%dT%H:%M:%SZ")
        except (TypeError, ValueError):
            when = "0001-01-01T00:00:00Z"
        path = (one.findtext(f"{DAV}href") or "").rstrip("/")
        found.append(
            {"Name": path, "Size": int(size), "ModTime": when, "IsCollection": kind is not None}
        )
    return found


def put(source: str, url: str) -> None:
    if ask("HEAD", url)[0] == 200:
        fail("Failure putting: remote object already exists, upload aborted")
    data = Path(source).read_bytes()[: int(os.environ.get("STAND_IN_CUT", "-1")) % (1 << 40)]
    status, _ = ask("PUT", url, data)
    if status not in (200, 201):
        fail(f"Failure putting {source}: server returned {status}")
    if "STAND_IN_STALL" in os.environ:
        Path(os.environ["STAND_IN_STALL"], str(os.getpid())).touch()
        time.sleep(40)  # longer than any test waits
        fail("Failure putting: no progress")


def main(words: list[str]) -> None:
    with open(os.environ["STAND_IN_LOG"], "a") as log:
        log.write(" ".join(words) + "\n")
    if "STAND_IN_SAYS" in os.environ:
        fail(os.environ["STAND_IN_SAYS"])
    verb, rest = words[1], [word for word in words[2:] if not word.startswith("--")]
    if verb == "put":
        put(*rest)
    elif verb == "get":
        status, body = ask("GET", rest[0])
        if status != 200:
            fail(f"Failure getting {rest[0]}: server returned {status}")
        Path(rest[1]).write_bytes(body)
    elif verb == "stat":
        print("Querying the director")
        print(json.dumps(entries(rest[0], 0)[0]))
    elif verb == "ls":
        path = urlsplit(rest[0]).path.rstrip("/")
        print(json.dumps([one for one in entries(rest[0], 1) if one["Name"] != path]))
    elif verb == "delete":
        status, _ = ask("DELETE", rest[0])
        if status not in (200, 204):
            fail(f"Failure deleting {rest[0]}: {status}")


main(sys.argv[1:])
