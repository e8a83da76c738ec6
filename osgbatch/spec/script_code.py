"""Which words of a bash command bash, or another shell, would run, or take for a name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
ASSIGNMENT = re.compile(rf"({NAME})(?:\[.*)?\+?=", re.ASCII | re.DOTALL)
DECLARE = frozenset(["declare", "typeset", "local", "readonly", "export"])

_SHELLS = frozenset(["sh", "bash", "dash", "ash", "ksh", "zsh", "rbash"])
_BEFORE = frozenset(["builtin", "command", "coproc", "exec", "--", "-p"])
"""What may stand before a command, which is run all the same."""
_WRAPPERS = frozenset(
    ["apptainer", "busybox", "env", "nice", "nohup", "setsid", "singularity", "stdbuf", "sudo",
     "timeout"]
)  # fmt: skip
"""Programs that run the command among their arguments, handing their input on."""
_STDIN = frozenset(["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
_CODE_VARIABLES = frozenset(["PS4", "BASH_ENV", "PROMPT_COMMAND"])

_IN_VARIABLE = 'Keep it in a variable, value={}, and write "$value" in single quotes.'
_AS_ARGUMENT = "Hand it over as an argument: bash -c 'echo \"$1\"' bash {}."
_QUOTED_TEXT = (
    "Write the here-document's word in quotes, <<'EOF', and hand the value over as an argument: "
    "bash -s -- {} <<'EOF', where it is \"$1\"."
)
_ARGUMENT_OF_S = "Hand it over as an argument: bash -s -- {} <<< 'echo \"$1\"'."
_IN_MAP = "Keep values by their names: declare -A all; all[{}]=1."
_OTHERWISE = "Give the variable a name of its own, and the value to it: value={}."
_IN_PARENTHESES = "Write the value in parentheses: declare -a values=({})."


@dataclass(frozen=True)
class Danger:
    """Who would make something else than data of a value, and what to write instead.

    what, fix: with {} for the placeholder.
    """

    what: str
    fix: str

    def of(self, name: str) -> Danger:
        """The same with a column's name."""
        return Danger(self.what.replace("{}", f"{{{name}}}"), self.fix.replace("{}", f"{{{name}}}"))


def _code(program: str, fix: str) -> Danger:
    return Danger(program + " would read the value of {} as code", fix)


def _named(program: str, fix: str = _IN_MAP) -> Danger:
    what = program + " would take the value of {} for a variable's name"
    return Danger(what + ", and bash runs what it finds in its index", fix)


def unquoted(raw: str) -> str:
    """The text of a word without its quotes and backslashes: \\eval and "ev"al are eval."""
    found = []
    for match in re.finditer(r"\\(.)|\$?'([^']*)'?|\$?\"|(.)", raw.lstrip(" \t\n;&|<>()"), re.S):
        found.append("".join(part or "" for part in match.groups()))
    return "".join(found)


def danger(words: Sequence[str], word: str, in_test: bool, arrays: frozenset[str]) -> Danger | None:
    """What would become of a value in a command, when it is not data there.

    words: of the command before it, without their quotes; word: its own one up to it; in_test: in
    [[ ]]; arrays: the script's variables that are arrays.
    """
    assigned = ASSIGNMENT.match(word)
    if assigned and assigned[1] in _CODE_VARIABLES:
        return _code(assigned[1], "Give the variable a text that is the same for all tasks.")
    last = words[-1] if words else ""
    if in_test:
        return _named("[[ -v") if last == "-v" else None
    if shell := _reads_option_c(words):
        return _code(shell, _AS_ARGUMENT)
    command = _command(words)
    if not command:
        return None
    program = command[0]
    if program in ("eval", "trap", "alias", "compgen", "complete"):
        return _code(program, _IN_VARIABLE)
    if program in ("test", "["):
        return _named(f"{program} -v") if last == "-v" else None
    if program == "printf":
        of_v = (last == "-v" and len(command) == 2) or (len(command) == 1 and word.startswith("-v"))
        return _named("printf -v", _OTHERWISE) if of_v else None
    if program == "unset":
        return _named("unset")
    if program in ("read", "mapfile", "readarray"):
        return _read(program, last, word)
    if program in DECLARE:
        return _declared(program, command[1:], word, arrays)
    return None


def _command(words: Sequence[str]) -> Sequence[str]:
    """The words from the command on: without `builtin` and the like."""
    start = next((i for i, word in enumerate(words) if word not in _BEFORE), len(words))
    return words[start:]


def _reads_option_c(words: Sequence[str]) -> str:
    """`bash -c`, when the word after these is its text; else empty."""
    found = re.search(
        r"(?:^|[ /])((?:ba|da|a|k|z|rba|)sh(?: [-+][oO] \w+| [-+][^ ]+)* -\w*c)$", " ".join(words)
    )
    return found[1] if found else ""


def _read(program: str, last: str, word: str) -> Danger | None:
    """`read` and `mapfile`: names, but for the values of options."""
    if re.fullmatch(r"-\w*C", last):
        return _code(f"{program} -C", _IN_VARIABLE)
    values = "dinNptu" if program == "read" else "cdnOsu"
    if re.fullmatch(rf"-\w*[{values}]", last) or re.match(rf"-\w*[{values}]", word):
        return None
    return _named(program, "Write read -r value <<< {}.")


def _declared(
    program: str, words: Sequence[str], word: str, arrays: frozenset[str]
) -> Danger | None:
    """`declare` and its like: NAME=value is data, but not to what makes an array of it."""
    options = "".join(w[1:] for w in words if re.match(r"-[A-Za-z]", w))
    assigned = ASSIGNMENT.match(word)
    if "n" in options and program != "export":
        return _named(f"{program} -n")
    if not assigned or "[" in assigned[0]:
        return None if re.match(r"-", word) and not assigned else _named(program, _OTHERWISE)
    if program != "export" and (set(options) & {"a", "A"} or assigned[1] in arrays):
        return _code(f"{program} of an array", _IN_PARENTHESES)
    return None


def shell_of_input(words: Sequence[str]) -> str:
    """The shell that reads its standard input as code, when a command starts one; else empty."""
    command = _command(words)
    if not command:
        return ""
    if command[0] in ("source", ".") and len(command) > 1 and command[1] in _STDIN:
        return command[0]
    last = len(command) if command[0] in _WRAPPERS else 1
    for i, word in enumerate(command[:last]):
        shell = word.rpartition("/")[2]
        if shell in _SHELLS:
            return "" if _has_program(command[i + 1 :]) else shell
    return ""


def _has_program(arguments: Sequence[str]) -> bool:
    """Whether a shell is given its code otherwise: by -c, or in a file."""
    left = iter(arguments)
    for argument in left:
        if re.fullmatch(r"[-+][oO]|--(rcfile|init-file)", argument):
            next(left, "")
        elif re.fullmatch(r"-\w*s\w*", argument) and not argument.startswith("--"):
            return False
        elif re.fullmatch(r"-\w*c\w*", argument):
            return True
        elif argument[:1] not in ("-", "+") and argument not in _STDIN:
            return True  # a file
    return False


def of_input(shell: str, here_string: bool) -> Danger:
    """What is wrong with a value in the text that a shell reads from its standard input."""
    return _code(shell, _ARGUMENT_OF_S if here_string else _QUOTED_TEXT)
