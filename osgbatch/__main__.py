"""The entry point: answers `--version` before anything else is loaded."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
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
