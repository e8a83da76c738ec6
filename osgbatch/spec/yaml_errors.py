"""What is wrong with text that is not YAML, in plain words and at the place where it began."""

from __future__ import annotations

import re

import yaml

from osgbatch.errors import SpecError
from osgbatch.spec_model import Place

_KEY = re.compile(r"\s*(?:- +)?[^\s'\"#{}\[\],&*!|>%@`][^:{}\[\]'\"]*$")
_REST_OF_TEXT = re.compile(r"(?:\{\w+\}|[^\s,\]{}])*")
_CLOSING = {"'": "single quote", '"': "double quote", "}": "brace", "]": "bracket"}


def syntax_error(error: yaml.MarkedYAMLError, file: str, lines: list[str]) -> SpecError:
    """The error for what PyYAML complains of.

    lines: of the file. What is opened and never closed is shown where it is opened.
    """
    return _Reader(error, file, lines).error()


def character_error(text: str, file: str, lines: list[str]) -> SpecError:
    """The error for text with a character that no YAML may hold."""
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    position = found.start() if found else 0
    before = f"{text[:position]}.".splitlines()
    line, column = len(before) - 1, len(before[-1])
    source = lines[line] if line < len(lines) else ""
    name = f"the control character 0x{ord(text[position]):02x}" if found else "control characters"
    place = Place(file, line + 1, column, source)
    return SpecError(f"not YAML: {name} cannot stand here", place, fix="Take it out.")


class _Reader:
    def __init__(self, error: yaml.MarkedYAMLError, file: str, lines: list[str]) -> None:
        self.file, self.lines = file, lines
        self.problem = error.problem or ""
        self.context = error.context or ""
        mark, start = error.problem_mark, error.context_mark
        self.at = (mark.line, mark.column) if mark else (0, 0)
        self.start = (start.line, start.column) if start else self.at

    def error(self) -> SpecError:
        """What the complaint means."""
        line, column = self.at
        source = self._line(line)
        char = source[column : column + 1]
        problem = self.problem
        if "\t" in source[: column + 1] and not source[: column + 1].strip():
            return self._wrong("a tab cannot indent YAML", self.at, 1, "Use blanks.")
        if "cannot start any token" in problem:
            return self._needs_quotes(self.at)
        if self.context in ("while scanning an alias", "while scanning an anchor"):
            return self._needs_quotes(self.start)
        if "undefined alias" in problem:
            return self._needs_quotes(self.at)
        if "end of stream" in problem and "quoted scalar" in self.context:
            return self._wrong("a quote is opened and never closed", self.start)
        if "unknown escape" in problem:
            what = f"{source[column : column + 2]} is not known in double quotes"
            fix = "In single quotes a backslash stands for itself."
            return self._wrong(what, self.at, 2, fix)
        if "mapping values are not allowed" in problem:
            return self._second_colon()
        if "could not find expected ':'" in problem:
            return self._no_colon(self.start[0])
        if "found unexpected ':'" in problem:
            return self._tight_colon()
        if "expected ',' or" in problem:
            return self._bracket(char)
        if "did not find expected key" in problem:
            return self._no_key()
        if "block sequence entries are not allowed" in problem:
            fix = "Begin it in the next line, or write [a, b]."
            return self._wrong("a list cannot begin in the line of its key", self.at, 1, fix)
        if "expected '-' indicator" in problem:
            what = f"this is no entry of the list that begins in line {self.start[0] + 1}"
            fix = "An entry begins with a dash; a key is indented as the key of the list is."
            return self._wrong(what, self.at, len(source.strip()), fix)
        if "expected node content" in problem:
            what = f'"{char}" closes nothing' if char in ("]", "}") else "a value is missing here"
            return self._wrong(what, self.at)
        if "another document" in problem:
            return self._wrong("a second document begins here", self.at, 3, "Leave --- out.")
        if "comment or line break" in problem:
            fix = "The text of a block begins in the next line."
            return self._wrong("text follows the | or >", self.at, len(source) - column, fix)
        return self._wrong(problem or "something is wrong", self.at)

    def _line(self, line: int) -> str:
        return self.lines[line] if line < len(self.lines) else ""

    def _wrong(self, what: str, at: tuple[int, int], width: int = 1, fix: str = "") -> SpecError:
        line, column = at
        place = Place(self.file, line + 1, column + 1, self._line(line), max(1, width))
        return SpecError(f"not YAML: {what}", place, fix=fix)

    def _needs_quotes(self, at: tuple[int, int]) -> SpecError:
        """Text without quotes that begins with what has a meaning in YAML."""
        text = re.match(r"\S*", self._line(at[0])[at[1] :])
        word = text[0].rstrip(",]}") if text else ""
        what = f'text cannot begin with "{word[:1]}" without quotes'
        return self._wrong(what, at, len(word), f'Write "{word}".')

    def _second_colon(self) -> SpecError:
        """A colon where no key can stand: the line has one already, or does not fit in."""
        line, column = self.at
        source = self._line(line)
        if not _KEY.fullmatch(source[:column]):
            fix = "Text with a colon and a blank in it needs quotes; a key, a line of its own."
            return self._wrong('a second ": " in one line', self.at, 1, fix)
        above = line - 1
        while above > 0 and not self._line(above).split("#")[0].strip():
            above -= 1
        before = self._line(above)
        if not re.search(r":(\s|$)", before) and not before.strip().startswith("- "):
            return self._no_colon(above)
        start = len(source) - len(source.lstrip())
        what = f"this is indented further than line {above + 1}, which has its value already"
        fix = "Keys that belong together begin in the same column."
        return self._wrong(what, (line, start), column - start, fix)

    def _no_colon(self, line: int) -> SpecError:
        source = self._line(line)
        start = len(source) - len(source.lstrip())
        fix = "Write `key: value`." if ":" not in source else "Write a blank after the colon."
        what = "a key is followed by a colon and a blank"
        return self._wrong(what, (line, start), len(source.strip()), fix)

    def _tight_colon(self) -> SpecError:
        """A key in braces whose value follows the colon at once: `{linspace:[0, 1, 3]}`."""
        what = "a key is followed by a colon and a blank"
        return self._wrong(what, self.at, 1, "Write a blank after the colon.")

    def _bracket(self, char: str) -> SpecError:
        """A list or a mapping in brackets that does not go on as it should."""
        opened = self._line(self.start[0])[self.start[1] : self.start[1] + 1]
        if self.at[0] != self.start[0] or not char:
            close = "]" if opened == "[" else "}"
            what = f'"{opened}" is opened and never closed'
            return self._wrong(what, self.start, 1, f"Close it with {close}.")
        line, column = self.at
        source = self._line(line)
        if char in "]}":
            close = "]" if opened == "[" else "}"
            fix = f"Write {close} for the {opened} in column {self.start[1] + 1}."
            return self._wrong(f"a {close} is missing before this", self.at, 1, fix)
        text = re.search(r"\{\w+\}$", source[:column])
        if text:
            rest = _REST_OF_TEXT.match(source, column)
            word = text[0] + (rest[0] if rest else "")
            what = f'text cannot begin with "{{" without quotes: {word}'
            return self._wrong(what, (line, text.start()), len(word), f'Write "{word}".')
        return self._wrong("a comma is missing before this", self.at)

    def _no_key(self) -> SpecError:
        """Text where a key should begin."""
        line, column = self.at
        source = self._line(line)
        before = source[:column].rstrip()
        rest = source[column:].rstrip()
        if not before:
            what = "this line is indented otherwise than the keys around it"
            fix = "Keys that belong together begin in the same column."
            return self._wrong(what, self.at, len(rest), fix)
        value = re.match(r"[^:]*:\s+(.*)", source)
        fix = "Put the whole text in quotes."
        if value and before[-1] == "}" and '"' not in value[1]:
            fix = f'Text that begins with a brace needs quotes: "{value[1].rstrip()}".'
        elif before[-1] == "'":
            fix = "In single quotes, a quote is written twice: 'it''s'."
        closing = _CLOSING.get(before[-1], "")
        what = f"text follows the closing {closing}" if closing else "this is no key"
        return self._wrong(what, self.at, len(rest), fix)
