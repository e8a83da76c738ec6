"""The entry point: answers `--version` before anything else is loaded."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["--version"]:
        from osgbatch.version import VERSION

        sys.stdout.write(f"osgbatch {VERSION}\n")
        return
    from osgbatch.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
