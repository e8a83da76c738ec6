"""What tasks print, on stdout and stderr: as it is, but harmless on a terminal."""

from __future__ import annotations

import codecs
from typing import TextIO

_STEERS_NOTHING = "\n\r\t\xa0\u3000"


def harmless(text: str) -> str:
    """A text from an execution point without what a terminal would obey."""
    return "".join(c if c.isprintable() or c in _STEERS_NOTHING else "?" for c in text)


class SafeOutput:
    """stdout or stderr for bytes that tasks have printed; None: nothing is shown.

    What comes from an execution point must not steer a terminal: there it is shown without its
    escapes. Elsewhere the bytes stay what they are.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._out = stream.buffer if stream else None
        self._on_terminal = bool(stream and stream.isatty())
        self._encoding = (stream and stream.encoding) or "utf-8"
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._last = b"\n"

    def write(self, data: bytes) -> int:
        """As of a file."""
        self._last = bytes(data[-1:]) or self._last
        if self._out and self._on_terminal:
            text = harmless(self._decoder.decode(data))
            self._out.write(text.encode(self._encoding, "replace"))
        elif self._out:
            return self._out.write(data)
        return len(data)

    def flush(self) -> None:
        """As of a file."""
        if self._out:
            self._out.flush()

    def end_line(self, *, everywhere: bool = False) -> None:
        """What is said next begins a line; unless everywhere, bytes for others stay as they are."""
        if (self._on_terminal or everywhere) and self._last != b"\n":
            self.write(b"\n")
            self.flush()
