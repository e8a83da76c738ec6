"""The whole command line, or the part of it that a command needs, and how it runs."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from osgbatch import exits, ui
from osgbatch.cli import completing
from osgbatch.errors import OsgbatchError, SpecError, SpecErrors
from osgbatch.version import VERSION

MODULES = {
    "init_commands": ("init",),
    "plan_commands": ("check", "plan", "render"),
    "spec_commands": ("config", "schema"),
    "submit_commands": ("submit",),
    "run_commands": ("run",),
    "foreach_commands": ("foreach",),
    "watch_commands": ("status", "watch"),
    "logs_commands": ("logs",),
    "why_commands": ("why",),
    "repair_commands": ("resubmit",),
    "act_commands": ("cancel", "release", "prioritize"),
    "collect_commands": ("collect",),
    "report_commands": ("report",),
    "provenance_commands": ("verify", "provenance"),
    "house_commands": ("ls", "tasks", "tag", "rm", "archive"),
    "pack_commands": ("pack",),
    "stage_commands": ("stage",),
    "lint_commands": ("lint",),
    "explain_commands": ("explain",),
    "import_commands": ("import",),
    "profile_commands": ("profile",),
    "doctor_commands": ("doctor",),
    "pool_commands": ("pool",),
    "workflow_commands": ("node",),
    "host_commands": ("host-side",),
}
"""The modules of `osgbatch/cli/` with the commands that each adds, in the order of the help."""
EXAMPLES = {
    **dict.fromkeys(("check", "plan", "render", "config"), "sweep.yaml"),
    **dict.fromkeys(("lint", "import"), "job.submit"),
    "tag": "find-peaks paper-2",
    "prioritize": "5",
    "foreach": "squares.py 5",
    "pack env": "environment.yml",
    "stage put": "data/",
}
"""What may stand behind a command that was typed without what it needs."""
OPTION_EXAMPLES = {
    "--canary": "1",
    "--set": "'KEY=VALUE'",
    "--pool": "local",
    "--task": "0",
    "--tasks": "2-5",
    "--memory": "4GB",
    "--disk": "10GB",
    "--time": "20min",
    "--cpus": "2",
    "--gpus": "1",
    "--name": "my-sweep",
    "--out": "my-results",
    "--env": "environment.yml",
    "--batch-size": "10",
}
"""What may stand behind an option that was typed without its value."""
INSTEAD = {
    "pool start": "`osgbatch pool up`",
    "pool stop": "`osgbatch pool down`",
    "help": "`osgbatch --help`, or `osgbatch COMMAND --help`",
    "list": "`osgbatch ls`",
    "results": "`osgbatch collect`, which brings them",
    "pool restart": "`osgbatch pool down`, then `osgbatch pool up`",
}
"""Commands that people know from elsewhere, and ours."""


def run() -> int:
    """Run the command line and give its exit code; the one place where errors are caught."""
    # A reader that goes away (`osgbatch logs | head`) ends us quietly, as it does other tools.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    asked: Sequence[str] = ()
    try:
        asked = completing.words(os.environ) or sys.argv[1:]
        args = None
        if completing.VARIABLE not in os.environ and _names_a_host(asked):
            from osgbatch.cli.host import elsewhere

            code, args = elsewhere(asked, os.environ.get("OSGBATCH_HOST", ""), _group)
            if code is not None:
                return code
            asked = args
        result = command_line(modules_for(asked))(args, standalone_mode=False, prog_name="osgbatch")
    except OsgbatchError as error:
        # What points at a file begins with it, as editors expect it.
        show = ui.say if isinstance(error, (SpecError, SpecErrors)) else ui.error
        show(ui.printable(str(error)))
        if meant := _option_meant(error, asked):
            ui.say(f"  Did you mean `{meant}`?")
        return error.exit_code
    except (KeyboardInterrupt, InterruptedInACommand):
        ui.error("interrupted; `osgbatch status` shows what is there")
        return exits.INTERRUPTED
    except OSError as error:
        if error.errno == errno.ENOENT and _is_nowhere():
            ui.error("the folder that you are in was removed\n  Go to another one: `cd`.")
            return exits.BAD_INPUT
        where = f"{error.filename}: " if error.filename else ""
        shut = error.errno in (errno.EACCES, errno.EPERM)
        fix = (
            "\n  `ls -ld` shows the rights of a path; a ticket of a network folder may have ended."
        )
        ui.error(ui.printable(f"{where}{error.strerror or error}") + fix * shut)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
        return exits.SOME_FAILED if full else exits.BAD_INPUT
    except Exception as error:
        if type(error).__module__.startswith(("typer", "click")):
            return _usage(error, asked)
        raise
    return result if isinstance(result, int) else exits.OK


def _is_nowhere() -> bool:
    """Whether the current folder was removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _option_meant(error: OsgbatchError, asked: Sequence[str]) -> str:
    """The command line with the word that names no batch as an option: `resubmit failed`."""
    import shlex

    for place, word in enumerate(asked[1:], 1):
        if error.what == f'there is no batch "{word}"':
            command = _group(asked).commands.get(asked[0])
            if any(f"--{word}" in parameter.opts for parameter in getattr(command, "params", ())):
                return shlex.join(["osgbatch", *asked[:place], f"--{word}", *asked[place + 1 :]])
    return ""


def _names_a_host(words: Sequence[str]) -> bool:
    """Whether a command line may be for another machine: then that is looked at closely."""
    return bool(os.environ.get("OSGBATCH_HOST")) or any(w.startswith("--host") for w in words)


def _group(words: Sequence[str]) -> Any:
    """The commands of which the first word of a command line names one."""
    return typer.main.get_command(command_line(modules_for(words)))


class InterruptedInACommand(Exception):
    """Ctrl-C in a command that does not see to it. Typer (0.29) would only give an exit code."""


class Commands(TyperGroup):
    """All commands."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptedInACommand from None


def modules_for(words: Sequence[str]) -> Iterable[str]:
    """The modules that a command line needs: one, where its first word names a command.

    To load them all, and let typer look at all their options, takes as long as a short command.
    """
    for module, names in MODULES.items():
        if words and words[0] in names:
            return (module,)
    return MODULES


def command_line(modules: Iterable[str] = tuple(MODULES)) -> typer.Typer:
    """The command line with the commands of these modules; all of them when none are named."""
    app = typer.Typer(
        name="osgbatch",
        cls=Commands,
        help="Parameter sweeps on HTCondor and the Open Science Pool, with checked results.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        add_completion=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for module in modules:
        import_module(f"osgbatch.cli.{module}").register(app)
    return app


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=lambda wanted: _version(wanted), is_eager=True,
                     help="Print the version."),
    ] = False,
    host: Annotated[
        str,
        typer.Option("--host", metavar="HOST", show_default=False, envvar="OSGBATCH_HOST",
                     autocompletion=completing.hosts,
                     help="Run the command on an access point, by ssh; files go there and back."),
    ] = "",
) -> None:  # fmt: skip
    del version, host  # the latter was looked at before (cli/host.py)


def _version(value: bool) -> None:
    if value:
        ui.out(f"osgbatch {VERSION}")
        raise typer.Exit


def _usage(error: Any, asked: Sequence[str]) -> int:
    """What typer says of wrong arguments, and what to write. asked: the words that were typed."""
    name = type(error).__name__
    if name == "Abort":
        ui.error("interrupted")
        return exits.INTERRUPTED
    if name == "Exit":
        return int(error.exit_code)
    if name == "NoArgsIsHelpError":
        ui.out(error.format_message())
        return exits.OK
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    words: list[str] = []
    context = getattr(error, "ctx", None)
    while context is not None and context.parent is not None:
        words.insert(0, context.info_name)
        context = context.parent
    if not words and asked and any(asked[0] in names for names in MODULES.values()):
        words = [asked[0]]  # an error of the parser's own does not know its command (typer 0.29)
    command = " ".join(["osgbatch", *words])
    if name == "NoSuchCommand" or message.startswith("No such command"):
        typed = " ".join(asked[: len(words) + 1])
        if ours := INSTEAD.get(typed):
            ui.error(f"there is no `osgbatch {typed}`\n  Write {ours}.")
            return exits.BAD_INPUT
    hint = _hint(error, name, message, command, " ".join(words), asked)
    shown = f"{hint} More: " if hint else "Try "
    ui.error(f"{message}\n  {shown}`{command} --help`.")
    return exits.BAD_INPUT


def _hint(
    error: Any, name: str, message: str, command: str, words: str, asked: Sequence[str]
) -> str:
    """What to write in place of wrong arguments; empty where that is not known."""
    if name == "MissingParameter" and words in EXAMPLES:
        return f"Write for example `{command} {EXAMPLES[words]}`."
    if name == "BadOptionUsage":
        option = str(getattr(error, "option_name", ""))
        return f"Write `{option} {OPTION_EXAMPLES[option]}`." if option in OPTION_EXAMPLES else ""
    if "unexpected extra argument" in message and "--set" in asked:
        return "Write --set 'KEY=VALUE', in quotes when it has blanks."
    return ""
