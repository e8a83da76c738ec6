"""Reads bash as far as it takes to know how a placeholder in it must be quoted."""

from __future__ import annotations

import re

from osgbatch.errors import SpecError
from osgbatch.spec.document import at_line
from osgbatch.spec.script_code import (
    ASSIGNMENT,
    DECLARE,
    NAME,
    Danger,
    danger,
    of_input,
    shell_of_input,
    unquoted,
)
from osgbatch.spec.script_words import Frame, Reference
from osgbatch.spec_model import Place

_PLACEHOLDER = re.compile(
    rf"\{{\{{\{{({NAME})\}}\}}\}}|\{{\{{({NAME})\}}\}}|\{{({NAME})\}}", re.ASCII
)
_HEREDOC = re.compile(
    r"<<(-?)[ \t]*((?:\\.|\$?'[^'\n]*'|\$?\"[^\"\n]*\"|[^\s;&|<>()'\"\\])+)", re.ASCII
)
_DECLARED = re.compile(
    r"\b(?:declare|typeset|local|readonly|export)((?:[ \t]+-[A-Za-z]+)+)([^\n;&|]*)", re.ASCII
)
_ARRAY = re.compile(rf"(?<![\w$])({NAME})\+?=\(", re.ASCII)
_PARAMETER = re.compile(rf"\$\{{[!#]?({NAME}|[0-9]+|[@*#?$!-])?", re.ASCII)
_REDIRECTION = re.compile(r"(?:<>|>>|>\||[<>]&|[<>])(?!\()")
_SERIES = re.compile(r"(?<!\$)\{(?:([\w+-]+)\.\.)?[\w+-]*(?:\.\.)?$", re.ASCII)
_REST_OF_SERIES = re.compile(r"(\.\.)?[\w+.{}-]*\}", re.ASCII)


class Scanner:
    """Reads bash once, left to right.

    Every placeholder becomes a quoted variable, so that where the reading is mistaken a value may
    be split, but is not run by the shell that reads the script.
    """

    def __init__(self, text: str, place: Place) -> None:
        self.place = place
        self.whole = text
        self.shell = ""  # that reads the here-document which is being scanned
        self.pieces: list[str | Reference] = []
        self.names: dict[str, None] = {}
        self.associative: set[str] = set()
        self.integers: set[str] = set()
        self.arrays: set[str] = set(_ARRAY.findall(text))
        for match in _DECLARED.finditer(text):
            found = re.findall(rf"(?:^|\s)({NAME})", re.split(r"[(#]", match[2])[0])
            if "A" in match[1]:
                self.associative.update(found)
            if "i" in match[1]:
                self.integers.update(found)
            if "a" in match[1]:
                self.arrays.update(found)
        self.arrays |= self.associative

    def scan(self, text: str, kind: str) -> None:
        """Read a whole text: the script, or the body of a here-document."""
        self.text, self.at = text, 0
        self.stack = [Frame(kind, quoted=kind == "heredoc")]
        self.heredocs: list[tuple[str, bool, bool, list[str]]] = []
        while self.at < len(text):
            self._step(self.stack[-1], text[self.at])
        for frame in self.stack:
            self._end_command(frame)

    # --- words and commands -------------------------------------------------------------------

    def _end_word(self, frame: Frame) -> None:
        start, frame.begin = frame.begin, self.at
        frame.end_word(self.text[start : self.at])

    def _end_command(self, frame: Frame) -> None:
        self._end_word(frame)
        shell = shell_of_input(frame.plain) if frame.given else ""
        if shell:
            name, line = frame.given[0]
            self._refuse(of_input(shell, here_string=True), name, line)
        # New lists, since a here-document is read after its command has ended.
        frame.words, frame.plain, frame.given = [], [], []

    # --- one step ---------------------------------------------------------------------------

    def _step(self, frame: Frame, char: str) -> None:
        if char == "\\":
            if not self.text.startswith("\n", self.at + 1):
                self._grow(frame, char)
            self._take(2)
        elif frame.close and self.text.startswith(frame.close, self.at) and not frame.depth:
            self._close(frame)
        elif char == "{":
            self._brace(frame)
        elif char == "$":
            self._dollar(frame)
        elif char == "`":
            self._push(Frame("code", close="`"), 1)
        elif char == '"' and frame.kind in ("code", "parameter", "subscript"):
            self._push(Frame("double", close='"', quoted=True), 1)
        elif char == "'" and (
            frame.kind in ("code", "subscript")
            or (frame.kind == "parameter" and not (frame.quoted and frame.operator == "word"))
        ):
            self._take(1)
            self._single("'", "'\"", "\"'")
        elif frame.kind == "code":
            self._code(frame, char)
        else:
            self._inside(frame, char)

    def _inside(self, frame: Frame, char: str) -> None:
        """A plain character between the delimiters of something that is not code."""
        if frame.kind == "parameter" and not frame.operator:
            if char == "[":
                name = frame.word
                self._push(self._subscript(name, frame.quoted), 1)
                return
            if char == ":":
                word = self.text[self.at + 1 : self.at + 2] in ("-", "=", "?", "+")
                frame.operator, frame.integer = ("word", False) if word else ("number", True)
                self._take(2 if word else 1)
                return
            frame.operator = "word" if char in "-=?+" else "pattern"
        elif frame.kind == "arithmetic" and char == "(":
            frame.depth += 1
        elif frame.kind == "arithmetic" and char == ")":
            if frame.depth:
                frame.depth -= 1
            else:  # it was $( (a); b ) without its blank
                frame.kind, frame.close, frame.integer = "code", ")", False
        self._take(1)

    def _code(self, frame: Frame, char: str) -> None:
        if char == "#" and not frame.word:
            end = self.text.find("\n", self.at)
            self._take((end if end >= 0 else len(self.text)) - self.at)
            frame.begin = self.at
        elif char == "\n":
            if frame.array:
                self._end_word(frame)
            else:
                self._end_command(frame)
            self._take(1)
            self._read_heredocs()
        elif char in " \t":
            self._end_word(frame)
            self._take(1)
        elif self.text.startswith("<<<", self.at):
            self._begin_redirection(frame, 3, "text")
        elif char == "<" and (match := _HEREDOC.match(self.text, self.at)):
            self._begin_redirection(frame, len(match[0]), "")
            word = match[2]
            quoted = any(mark in word for mark in "'\"\\")
            stop = re.sub(r"\$?['\"]|\\", "", word)
            self.heredocs.append((stop, bool(match[1]), quoted, frame.plain))
        elif char in "<>" and (match := _REDIRECTION.match(self.text, self.at)):
            self._begin_redirection(frame, len(match[0]), "" if frame.in_test else "file")
        elif char in "<>":  # <( and >(
            self._grow(frame, char)
            self._push(Frame("code", close=")"), 2)
        elif char in ";&|":
            self._end_command(frame)
            self._take(1)
        elif char == "(":
            self._parenthesis(frame)
        elif char == ")":  # of a case's pattern
            self._end_command(frame)
            self._take(1)
        elif char == "[" and self._begins_subscript(frame):
            name = frame.word
            self._grow(frame, "[")
            self._push(self._subscript(name, False), 1)
        else:
            self._take(1)
            self._grow(frame, char)

    def _begin_redirection(self, frame: Frame, count: int, kind: str) -> None:
        if frame.word.isdigit():  # 2>
            frame.word = ""
        self._end_word(frame)
        self._take(count)
        frame.begin, frame.redirection = self.at, kind

    def _begins_subscript(self, frame: Frame) -> bool:
        if frame.array:
            return not frame.word
        at_start = not frame.words or frame.words[0] in DECLARE
        return at_start and re.fullmatch(NAME, frame.word) is not None

    def _subscript(self, name: str, quoted: bool) -> Frame:
        integer = name not in self.associative and bool(name or not self.associative)
        return Frame("subscript", close="]", quoted=quoted, integer=integer)

    def _parenthesis(self, frame: Frame) -> None:
        array = ASSIGNMENT.fullmatch(frame.word) is not None
        if self.text.startswith("((", self.at) and not frame.word and not frame.in_test:
            self._push(Frame("arithmetic", close="))", integer=True), 2)
            return
        if array:
            self._grow(frame, "(")
        else:
            self._end_word(frame)
        in_test = frame.in_test
        integer = array and frame.word.split("+")[0].split("=")[0] in self.integers
        self._push(Frame("code", close=")", array=array, in_test=in_test, integer=integer), 1)

    def _close(self, frame: Frame) -> None:
        self._end_word(frame)
        if frame.kind == "code" and frame.close == ")" and frame.cases > 0:
            self._end_command(frame)  # of a case's pattern
            self._take(1)
            return
        self._take(len(frame.close))
        self.stack.pop()
        if frame.kind == "code" and frame.close == ")" and not self.stack[-1].word:
            self._end_command(self.stack[-1])  # after ( ) a command begins: f() { ...

    def _dollar(self, frame: Frame) -> None:
        text, at = self.text, self.at
        self._grow(frame, "$")
        if text.startswith("$((", at):
            self._push(Frame("arithmetic", close="))", integer=True), 3)
        elif text.startswith("$(", at):
            self._push(Frame("code", close=")"), 2)
        elif text.startswith("$[", at):
            self._push(Frame("arithmetic", close="]", integer=True), 2)
        elif match := _PARAMETER.match(text, at):
            quoted = frame.quoted
            new = Frame("parameter", close="}", quoted=quoted, word=match[1] or "")
            self._push(new, len(match[0]))
        elif text.startswith("$'", at) and frame.kind in ("code", "parameter", "subscript"):
            self._take(2)
            self._single("'", "'\"", "\"$'", escapes=True)
        else:
            self._take(1)
            if text[at + 1 : at + 2] in ("$", "#"):
                self._take(1)

    def _single(self, close: str, before: str, after: str, escapes: bool = False) -> None:
        """What is between single quotes, after the first one."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\\" and (escapes or self.text[self.at + 1 : self.at + 2] in ("\\", "{")):
                self._take(2)
            elif char == "{" and (match := self._placeholder()):
                self._replace(match, before, after)
            else:
                self._take(1)
                if char == close:
                    break
        self._grow(self.stack[-1], "'")

    def _read_heredocs(self) -> None:
        waiting, self.heredocs = self.heredocs, []
        for word, tabs, quoted, command in waiting:
            start = self.at
            end = after = len(self.text)
            while self.at < len(self.text):
                stop = self.text.find("\n", self.at)
                stop = stop if stop >= 0 else len(self.text)
                line = self.text[self.at : stop]
                if (line.lstrip("\t") if tabs else line) == word:
                    end, after = self.at, min(stop + 1, len(self.text))
                    break
                self.at = min(stop + 1, len(self.text))
            body = self.text[start:end]
            if quoted:
                self.pieces.append(body)
            else:
                kept = self.text, self.stack, self.heredocs, self.shell
                self.shell = shell_of_input(command)
                self.scan(body, "heredoc")
                self.text, self.stack, self.heredocs, self.shell = kept
            self.pieces.append(self.text[end:after])
            self.at = after
        self.stack[-1].begin = self.at

    # --- placeholders -----------------------------------------------------------------------

    def _placeholder(self) -> re.Match[str] | None:
        if self.at and self.text[self.at - 1] == "$":
            return None
        return _PLACEHOLDER.match(self.text, self.at)

    def _brace(self, frame: Frame) -> None:
        match = self._placeholder()
        if match:
            plain = frame.integer or (frame.quoted and frame.operator != "pattern")
            mark = "" if plain else '"'
            self._replace(match, mark, mark)
        else:
            self._take(1)
        if not match and frame.kind == "parameter":
            frame.operator = frame.operator or "word"
        self._grow(frame, "{" if not match else '"')

    def _replace(self, match: re.Match[str], before: str, after: str) -> None:
        """Put a reference, or a brace that was doubled, where the placeholder stands."""
        in_braces, literal, name = match.groups()
        if literal:
            self.pieces.append(f"{{{literal}}}")
        else:
            name = name or in_braces
            code = self._command_of()
            reference = Reference(name, before, after, self._calculates(code))
            self._check(code, match, name)
            if code:
                code.references.append(reference)
            self.names[name] = None
            self.pieces += ["{", reference, "}"] if in_braces else [reference]
        self.at = match.end()

    def _command_of(self) -> Frame | None:
        return next((frame for frame in reversed(self.stack) if frame.kind == "code"), None)

    def _calculates(self, code: Frame | None) -> bool:
        """Whether bash would evaluate what stands here as a number, and run what it finds in it."""
        for frame in reversed(self.stack):
            if frame.integer:
                return True
            if frame is code:
                break
        if code is None or code.array:
            return False
        first = code.words[0] if code.words else ""
        if first == "let" or code.compares:
            return True
        if first in DECLARE and any(re.match(r"-[A-Za-z]*i", word) for word in code.words):
            return True
        assigned = ASSIGNMENT.match(code.word)
        return bool(assigned and assigned[1] in self.integers)

    def _check(self, code: Frame | None, match: re.Match[str], name: str) -> None:
        """Refuse a placeholder whose value would be something else than data."""
        found: Danger | None = None
        if code is None:
            found = of_input(self.shell, here_string=False) if self.shell else None
        elif not code.array:
            if code.redirection == "text":
                code.given.append((name, self._line()))
            raw = self.text[code.begin : self.at]
            calculated = any(f.integer for f in self.stack[self.stack.index(code) + 1 :])
            if not code.redirection and not calculated:
                found = danger(code.plain, unquoted(raw), code.in_test, frozenset(self.arrays))
            if not found and self.stack[-1] is code:
                found = self._series(raw, match)
        if found:
            self._refuse(found, name, self._line())

    def _series(self, raw: str, match: re.Match[str]) -> Danger | None:
        """{1..{n}}: bash reads the braces before the value, and finds no series in them."""
        before, rest = _SERIES.search(raw), _REST_OF_SERIES.match(self.text, match.end())
        if not before or not rest or not (before[0].endswith("..") or rest[1]):
            return None
        first = before[1] if before[1] and before[0] == f"{{{before[1]}.." else "1"
        return Danger(
            "bash makes no series with {}: it reads the braces before the value",
            f"Write $(seq {first} {{}}).",
        )

    def _line(self) -> int:
        """The line of the script that is being read."""
        at = self.at if self.text is self.whole else self.whole.find(self.text) + self.at
        return self.whole.count("\n", 0, at) + 1

    def _refuse(self, found: Danger, name: str, line: int) -> None:
        said = found.of(name)
        raise SpecError(
            f"{said.what}, in line {line} of the script",
            at_line(self.place, line, f"{{{name}}}"),
            fix=said.fix,
        )

    # --- small moves ------------------------------------------------------------------------

    def _take(self, count: int) -> None:
        self.pieces.append(self.text[self.at : self.at + count])
        self.at += count

    def _grow(self, frame: Frame, char: str) -> None:
        if frame.kind == "code":
            frame.word += char

    def _push(self, frame: Frame, count: int) -> None:
        top = self.stack[-1]
        if frame.close in ('"', "`"):
            self._grow(top, frame.close)
        self._take(count)
        frame.begin = self.at
        self.stack.append(frame)
