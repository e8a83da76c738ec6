"""A real browser without a window, spoken to over a pipe: what a page shows, and what it complains.

The protocol is the DevTools' (chromedevtools.github.io/devtools-protocol), over the file
descriptors 3 and 4 (`--remote-debugging-pipe`), each message ended by a zero byte.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path[:0] = [str(_TOOLS), str(_TOOLS / "htcondor")]

import chromium  # noqa: E402
from common import ToolError as ToolError  # noqa: E402

SECONDS = 60.0


class Browser:
    """One tab. complaints: what the console and the page's policy said, and scripts' errors."""

    def __init__(self, program: Path, folder: str) -> None:
        here, there = os.pipe(), os.pipe()

        def as_3_and_4() -> None:
            high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (here[0], there[1])]
            for source, target in zip(high, (3, 4), strict=True):
                os.dup2(source, target)
                os.close(source)

        self._process = subprocess.Popen(
            [
                str(program), "--headless", "--no-sandbox", "--disable-gpu",
                "--disable-dev-shm-usage", "--no-zygote", "--no-first-run",
                "--disable-background-networking", "--force-color-profile=srgb",
                f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank",
            ],
            preexec_fn=as_3_and_4,
            close_fds=False,  # what Python opens is closed by exec, but for these two
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": folder, "XDG_CONFIG_HOME": folder},
        )  # fmt: skip
        os.close(here[0])
        os.close(there[1])
        self._out, self._in = here[1], there[0]
        self._left = b""
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self._session = ""
        self.complaints: list[str] = []

    def start(self) -> None:
        """Attach to its tab."""
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        told = self._call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = told["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            told = self._read()
            if told.get("id") == self._number:
                assert "error" not in told, f"{method}: {told['error']}"
                result: dict[str, Any] = told["result"]
                return result

    def _read(self) -> dict[str, Any]:
        """The next message; events are kept."""
        until = time.monotonic() + SECONDS
        while b"\0" not in self._left:
            wait = max(0.0, until - time.monotonic())
            if not select.select([self._in], [], [], wait)[0]:
                raise AssertionError("the browser does not answer")
            block = os.read(self._in, 1 << 20)
            assert block, "the browser has ended"
            self._left += block
        text, _, self._left = self._left.partition(b"\0")
        told: dict[str, Any] = json.loads(text)
        if "method" in told:
            self._heed(told["method"], told["params"])
            self._events.append(told)
        return told

    def _heed(self, method: str, told: dict[str, Any]) -> None:
        if method == "Log.entryAdded":
            self.complaints.append(f"{told['entry']['level']}: {told['entry']['text']}")
        elif method == "Runtime.consoleAPICalled":
            texts = [str(arg.get("value", arg.get("description"))) for arg in told["args"]]
            self.complaints.append(f"console.{told['type']}: {' '.join(texts)}")
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            said = details.get("exception", {}).get("description", details["text"])
            self.complaints.append(f"exception: {said}")
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {told['message']}")
        elif method == "Network.requestWillBeSent":
            url = told["request"]["url"]
            if not url.startswith(("file:", "data:", "about:")):
                self.complaints.append(f"request: {url}")

    def open(
        self, page: Path, width: int = 1000, *, dark: bool = False, script: bool = True
    ) -> None:
        """Show a page, as wide as is said."""
        scheme = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", media="", features=features)
        self._call("Emulation.setScriptExecutionDisabled", value=not script)
        phone = width < 600
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=800, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        self._events.clear()
        self._call("Page.navigate", url=page.as_uri())
        until = time.monotonic() + SECONDS
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            assert time.monotonic() < until, "the page does not load"
            self._read()

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        told = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def picture(self, path: Path, height: int = 0) -> None:
        """The page as PNG: the whole of it, or its top, so many pixels high."""
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        height = min(height, size["height"]) or size["height"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1}
        told = self._call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(told["data"]))

    def print(self, path: Path) -> None:
        """The page as PDF, as it would be printed."""
        told = self._call("Page.printToPDF", printBackground=True, preferCSSPageSize=False)
        path.write_bytes(base64.b64decode(told["data"]))

    def close(self) -> None:
        """End it."""
        os.close(self._out)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser that ends with the block. Raises ToolError where there is none to be had."""
    program = chromium.provide()
    with tempfile.TemporaryDirectory(prefix="osgb-web-", ignore_cleanup_errors=True) as folder:
        made = Browser(program, folder)
        try:
            made.start()
            yield made
        finally:
            made.close()
