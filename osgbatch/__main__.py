"""The entry point: answers `--version` before anything else is loaded."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the command line."""
    # Where one is closed, as services may have it, a file that is opened takes its place.
    for name, mode in (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, mode), "w" if mode else "r"))
    if sys.argv[1:] == ["--version"]:
        from osgbatch.version import VERSION

        sys.stdout.write(f"osgbatch {VERSION}\n")
        return
    import gc

    from osgbatch.cli.app import run

    # A large sweep is millions of small objects that live to the end; to look through them for
    # cycles again and again takes as long as the work itself.
    gc.set_threshold(100_000, 20, 20)
    code = run()
    gc.freeze()  # nor does the interpreter look through what is left, when it ends
    if "rattler" in sys.modules:
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> None:
    """End without taking the interpreter down.

    Threads of py-rattler (0.28) go on where one of its packages has failed. One that then tells
    Python so while that ends crashes the process: exit code 139, in place of our own.
    """
    import atexit

    atexit._run_exitfuncs()  # temporary folders
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
