"""`script:` for bash: placeholders become references to variables, quoted as they must be."""

from __future__ import annotations

from osgbatch.errors import SpecError
from osgbatch.names import SCRIPT_VARIABLE
from osgbatch.spec.script_scanner import Scanner
from osgbatch.spec.script_words import INTEGER, Reference
from osgbatch.spec_model import Place, Script


def parse_script(text: str, place: Place) -> Script:
    """Make the text of `script:` ready for bash; no value is ever part of it.

    text: bash, run by `bash -eo pipefail`: it ends at the first command that fails. `{name}` is
    the column's value as one word, whatever it holds, also inside quotes and in an unquoted
    here-document; `{{name}}` is `{name}`, `{{{name}}}` the value in braces. Every other brace is
    bash's. Comments, here-documents with a quoted word (<<'EOF') and `\\{name}` are left alone.
    Where bash calculates (`$(( ))`, `[[ {n} -lt 3 ]]`, indices, `let`, `declare -i`) a value must
    be a whole number, because bash runs commands that it finds in others; the script stops with
    a message if it is none. This holds for the placeholder itself: what the script does with a
    variable that it gave the value to is not looked at (after n={n}, `$(( n ))` and
    `[[ $n -gt 3 ]]` run commands in it), nor is what is piped into a shell. Programs that read an
    argument as code of their own (awk, python -c, ssh) get the value as that code: give it as a
    further argument.
    place: of the key, for errors.
    Raises SpecError for an empty script, a NUL, a placeholder that a shell would read as code
    (`eval`, `trap`, `bash -c`, `bash <<EOF`) or take for a variable's name (`read`, `[[ -v`), and
    one in a series, {1..{n}}, where bash would find none.
    """
    text = text.replace("\r\n", "\n")
    if not text.strip():
        raise SpecError(
            "the script is empty",
            place,
            fix="Write its lines below `script: |`, indented, or leave the key out.",
        )
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise SpecError(
            f"the script holds a NUL character, in its line {line}",
            place,
            fix="Take it out; printf '\\0' makes one where the script needs it.",
        )
    scanner = Scanner(text, place)
    scanner.scan(text, "code")
    whole = _whole(scanner.pieces)
    code = _checks(whole) + _text(scanner.pieces)
    return Script(code, tuple(scanner.names), place, whole, text)


def _text(pieces: list[str | Reference]) -> str:
    return "".join(piece if isinstance(piece, str) else piece.text() for piece in pieces)


def _whole(pieces: list[str | Reference]) -> tuple[str, ...]:
    """The columns with which bash calculates, each once."""
    calculated = (p.name for p in pieces if isinstance(p, Reference) and p.integer)
    return tuple(dict.fromkeys(calculated))


def _checks(names: tuple[str, ...]) -> str:
    """What makes the variables for the places where bash calculates: empty if not a number.

    On the first line, so that the numbers of lines in bash's messages stay right.
    """
    return "".join(
        f"[[ ${SCRIPT_VARIABLE}{name} =~ ^[-+]?(0[xX][0-9a-fA-F]+|[0-9]+)$ ]]"
        f" && {INTEGER}{name}=${SCRIPT_VARIABLE}{name} || {INTEGER}{name}=; "
        for name in names
    )
