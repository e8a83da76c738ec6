"""The servers that tests of staging use are real: they store, forget nothing, count, and end."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import origin
import osdf_plugin
import programs
import pytest
import stashes
from common import ToolError
from process import Server

COMMAND = [sys.executable, str(Path(stashes.__file__).parent / "servers.py"), "run", "--"]


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        text: str = answer.read().decode()
        return text


def put(url: str, body: bytes) -> int:
    request = urllib.request.Request(url, body, method="PUT")
    with urllib.request.urlopen(request, timeout=60) as answer:
        status: int = answer.status
        return status


def test_s3_stores_counts_and_comes_back(stash: stashes.Stash) -> None:
    name, client = f"/{stashes.BUCKET}/servers/ä b+c", stash.client()
    assert client.request("PUT", name, b"1 2").status == 200
    with stash.gone("s3"), pytest.raises(OSError):
        client.request("GET", name)
    assert client.request("GET", name).body == b"1 2"
    listed = client.request(
        "GET", f"/{stashes.BUCKET}", query={"list-type": "2", "prefix": "servers/"}
    )
    assert "servers/ä b+c" in listed.body.decode()
    assert stash.wait(lambda: stash.count("s3", "GET", name, 200) == 1)
    assert stash.wait(lambda: stash.count("s3", "PUT", name, 200) == 1)


def test_s3_knows_its_users(stash: stashes.Stash) -> None:
    name = f"/{stashes.BUCKET}/servers/mine"
    assert stash.client().request("PUT", name, b"x").status == 200
    stash.make_user("other")
    assert stash.client("other").request("GET", name).status == 403
    assert (stash.folder / "keys/other.secret").stat().st_mode & 0o777 == 0o600


def test_origin_and_cache_serve_the_folder_and_count(stash: stashes.Stash) -> None:
    (stash.posix / "served").write_text("first")
    path = f"{stashes.PLACE}/served"
    cached, direct = (stash.about[name]["url"] + path for name in ("cache", "origin"))
    assert [get(cached), get(direct)] == ["first", "first"]
    (stash.posix / "served").write_text("second")
    assert [get(cached), get(direct)] == ["first", "second"]
    with stash.gone("origin"):
        assert get(cached) == "first"
        with pytest.raises(OSError):
            get(direct)
    assert put(f"{direct}-put", b"third") == 201
    assert (stash.posix / "served-put").read_text() == "third"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(f"{direct}-none")
    assert stash.wait(lambda: stash.count("cache", "GET", "/served", 200) == 3)
    assert [r.cache for r in stash.requests("cache") if r.path == path] == ["MISS", "HIT", "HIT"]
    assert stash.wait(lambda: stash.count("origin", "GET", "/served", 200) == 3)
    assert stash.wait(lambda: stash.count("origin", "PUT", "/served-put") == 1)
    assert stash.wait(lambda: stash.count("origin", "GET", "/served-none", 404) == 1)


def test_a_port_that_is_taken_meanwhile_is_left_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another = stashes._another_port
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = [another(), other.getsockname()[1]]
        monkeypatch.setattr(stashes, "_another_port", lambda: ports.pop(0) if ports else another())
        with stashes.running() as own:
            assert own.client().request("GET", f"/{stashes.BUCKET}").status == 200
            assert all(server.pid() for server in own.servers.values())
    assert not ports


def test_what_keeps_a_server_from_starting_is_told(stash: stashes.Stash, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    server = origin.server(programs.provide(), folder, stashes._another_port(), folder, "/none")
    with pytest.raises(ToolError, match=r"admin path .* too long"):
        server.start()


def servers(folder: Path) -> list[Server]:
    return [Server(name, folder / name, 0, []) for name in stashes.NAMES]


def test_the_command_passes_the_code_and_leaves_nothing(tmp_path: Path) -> None:
    script = "cp $OSGBATCH_STASH told; kill -9 $(cut -d ' ' -f 1 ${OSGBATCH_STASH%/*}/cache/pid)"
    words = [*COMMAND, "sh", "-c", f"{script}; exit 7"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 7, done.stderr
    folder = Path(json.loads((tmp_path / "told").read_text())["folder"])
    assert not folder.parent.exists()


def test_killed_it_leaves_no_process() -> None:
    words = [*COMMAND, "sh", "-c", "echo $OSGBATCH_STASH; exec cat"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, text=True, stdin=pipe, stdout=pipe) as running:
        assert running.stdout is not None
        folder = Path(running.stdout.readline().strip()).parent
        began = {server.name: server.pid() for server in servers(folder)}
        running.kill()
    deadline = time.monotonic() + 10
    while any(server.pid() for server in servers(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    left = {server.name: server.pid() for server in servers(folder)}
    shutil.rmtree(folder.parent)
    assert None not in began.values()
    assert set(left.values()) == {None}


def test_the_plugin_reads_and_quotes_ads() -> None:
    first = '[ Url = "osdf:///a/b \\"c\\""; LocalFileName = "/x/[y]; z" ]'
    text = f'{first}\n[ LocalFileName = "/k"; Url = "osdf:///k" ]'
    assert osdf_plugin.transfers(text) == [
        osdf_plugin.Transfer('osdf:///a/b "c"', Path("/x/[y]; z")),
        osdf_plugin.Transfer("osdf:///k", Path("/k")),
    ]
