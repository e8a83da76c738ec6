"""The entry point: answers `--version` before anything else is loaded."""

from __future__ import annotations

import os
import sys


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
    sys.exit(code)


if __name__ == "__main__":
    main()
