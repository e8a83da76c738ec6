"""Small conda channels, and a server on this machine that asks for a login or a token."""

from __future__ import annotations

import base64
import functools
import http.server
import sys
import threading
from pathlib import Path

from conda_channel import Package, index_channel, write_package

NAME, WORD, TOKEN = "alice", "open-sesame-7", "tk-4f1e2d3c4b5a"


def small_channel(channel: Path, big: bytes = b"x") -> Path:
    """A channel whose `python` starts this one, for what is packed without a trial, and `big`."""
    program = f'#!/bin/sh\nexec {sys.executable} "$@"\n'.encode()
    version = ".".join(map(str, sys.version_info[:3]))
    write_package(channel, Package("python", version, files={"bin/python": program}))
    for number in ("1.0", "2.0"):
        write_package(channel, Package("big", number, files={"share/big": big}))
    index_channel(channel)
    return channel


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *said: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.allowed():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self.allowed():
            super().do_HEAD()

    def allowed(self) -> bool:
        login = "Basic " + base64.b64encode(f"{NAME}:{WORD}".encode()).decode()
        start = f"/t/{TOKEN}/"
        if self.path.startswith(start):
            self.path = self.path[len(start) - 1 :]
        elif self.headers.get("Authorization") != login:
            self.send_error(401)
            return False
        return True


class Server(http.server.ThreadingHTTPServer):
    """A private channel; `with` starts it, and stops it."""

    daemon_threads = True

    def __init__(self, channel: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=str(channel)))
        self.thread = threading.Thread(target=self.serve_forever)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away early is no news."""

    def __enter__(self) -> Server:
        self.thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def with_login(self) -> str:
        return self.address.replace("//", f"//{NAME}:{WORD}@")

    @property
    def with_token(self) -> str:
        return f"{self.address}/t/{TOKEN}/"
