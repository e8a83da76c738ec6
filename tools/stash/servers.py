#!/usr/bin/env python3
"""S3, an OSDF-like origin and its cache on this machine: servers.py provide|run [-- COMMAND]."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "htcondor"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import programs
import stashes
from common import ToolError, refuse_access_point
from namespaces import run_passing
from registered import ENVIRONMENT


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code (of the command, for run)."""
    top = argparse.ArgumentParser(prog="servers.py", description=__doc__)
    actions = top.add_subparsers(dest="action", required=True, metavar="provide|run")
    provider = actions.add_parser("provide", help="get the programs if there are none; say where")
    provider.add_argument("--rclone", action="store_true", help="rclone instead of the servers")
    runner = actions.add_parser("run", help="run CMD, else a shell, with a stash of its own")
    runner.add_argument("--folder", type=Path, help="keep the stash's files in this new folder")
    runner.add_argument("command", nargs=argparse.REMAINDER, metavar="[--] CMD…")
    options = top.parse_args(argv)
    try:
        if options.action == "provide":
            print(programs.rclone() if options.rclone else programs.provide())
            return 0
        refuse_access_point("no stash")
        words: list[str] = options.command
        return run(words[1:] if words[:1] == ["--"] else words, options.folder)
    except ToolError as error:
        print(f"stash: {error}", file=sys.stderr)
        return 2


def run(command: list[str], kept: Path | None) -> int:
    """Run a command, or a shell, with OSGBATCH_STASH set; the servers end with it."""
    # Both come to this process as well as to the command; what follows the command is to be done.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)
    with stashes.running(kept) as made:
        if not command:
            command = [os.environ.get("SHELL") or "/bin/sh"]
            print(overview(made), file=sys.stderr)
        env = {**os.environ, ENVIRONMENT: str(made.description)}
        return run_passing(command, env)


def overview(made: stashes.Stash) -> str:
    """What is where, for the person at the terminal."""
    s3, osdf = made.about["s3"], made.about["osdf"]
    return f"""\
S3       {s3["url"]}   ({s3["endpoint"]}, region {s3["region"]})
         export AWS_CA_BUNDLE={s3["ca_file"]}
         export AWS_SHARED_CREDENTIALS_FILE={s3["credentials_file"]}
         aws_access_key_id_file = {s3["access_key_file"]}
         aws_secret_access_key_file = {s3["secret_key_file"]}
stash    {osdf["folder"]}
         {osdf["url"]}
origin   {made.about["origin"]["url"]}   log {made.about["origin"]["log"]}
cache    {made.about["cache"]["url"]}   log {made.about["cache"]["log"]}
S3's log {s3["log"]}
all      {made.description}   ({ENVIRONMENT})
A shell follows; exit ends the servers."""


if __name__ == "__main__":
    sys.exit(main())
