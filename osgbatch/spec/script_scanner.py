"""Reads bash as far as it takes to know how a placeholder in it must be quoted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from osgbatch.errors import SpecError
from osgbatch.model import Place
from osgbatch.spec.document import at_line

VARIABLE = "OSGBATCH_PARAM_"
"""With a column's name after it: the variable that holds the column's value."""

INTEGER = "OSGBATCHINTEGER_"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PLACEHOLDER = re.compile(
    rf"\{{\{{\{{({_NAME})\}}\}}\}}|\{{\{{({_NAME})\}}\}}|\{{({_NAME})\}}", re.ASCII
)
_HEREDOC = re.compile(
    r"<<(-?)[ \t]*((?:\\.|\$?'[^'\n]*'|\$?\"[^\"\n]*\"|[^\s;&|<>()'\"\\])+)", re.ASCII
)
_DECLARED = re.compile(
    r"\b(?:declare|typeset|local|readonly|export)((?:[ \t]+-[A-Za-z]+)+)([^\n;&|]*)", re.ASCII
)
_PARAMETER = re.compile(rf"\$\{{[!#]?({_NAME}|[0-9]+|[@*#?$!-])?", re.ASCII)
_ASSIGNMENT = re.compile(rf"({_NAME})(?:\[.*)?\+?=", re.ASCII | re.DOTALL)
_TRANSPARENT = {"if", "then", "elif", "else", "while", "until", "do", "!", "time", "{", "}"}
_COMPARE = {"-eq", "-ne", "-lt", "-le", "-gt", "-ge"}
_DECLARE = {"declare", "typeset", "local", "readonly", "export"}
_READS_CODE = {"eval", "trap"}


@dataclass
class Reference:
    """One placeholder in the text: around it what quotes it in its place."""

    name: str
    before: str
    after: str
    integer: bool

    def text(self) -> str:
        if not self.integer:
            return f"{self.before}${{{VARIABLE}{self.name}}}{self.after}"
        why = f"bash calculates with {self.name}, so it must be a whole number"
        return f"{self.before}${{{INTEGER}{self.name}:?{why}}}{self.after}"


@dataclass
class _Frame:
    """One level of nesting: what ends it, and what is known inside it.

    kind: "code", "double" (quotes), "heredoc", "parameter" (${...}), "arithmetic", "subscript".
    close: the text that ends it. quoted: bash splits no words here. integer: bash calculates here.
    operator: of a parameter: "" until it is seen, "word" (:-), "pattern" (#, /) or "number" (:).
    word: what was read of the current word; words: those of the command before it.
    """

    kind: str
    close: str = ""
    quoted: bool = False
    integer: bool = False
    operator: str = ""
    word: str = ""
    words: list[str] = field(default_factory=list)
    cases: int = 0
    depth: int = 0
    array: bool = False
    in_test: bool = False
    compares: bool = False
    references: list[Reference] = field(default_factory=list)
    last_references: list[Reference] = field(default_factory=list)

    def end_word(self) -> None:
        if not self.word:
            return
        if self.in_test and self.word in _COMPARE:
            for reference in self.last_references:
                reference.integer = True
            self.compares = True
        else:
            self.compares = False
            self.last_references = self.references
        self.references = []
        first = not self.words
        if first and self.word == "case":
            self.cases += 1
        elif first and self.word == "esac":
            self.cases -= 1
        elif first and self.word == "[[":
            self.in_test = True
        elif self.word == "]]":
            self.in_test = False
        if not (first and (self.word in _TRANSPARENT or _ASSIGNMENT.match(self.word))):
            self.words.append(self.word)
        self.word = ""

    def end_command(self) -> None:
        self.end_word()
        self.words = []


class Scanner:
    """Reads bash once, left to right; where it is mistaken, a value may be split, but not run."""

    def __init__(self, text: str, place: Place) -> None:
        self.place = place
        self.whole = text
        self.pieces: list[str | Reference] = []
        self.names: dict[str, None] = {}
        self.associative: set[str] = set()
        self.integers: set[str] = set()
        for match in _DECLARED.finditer(text):
            found = re.findall(rf"(?:^|\s)({_NAME})", re.split(r"[(#]", match[2])[0])
            if "A" in match[1]:
                self.associative.update(found)
            if "i" in match[1]:
                self.integers.update(found)

    def scan(self, text: str, kind: str) -> None:
        """Read a whole text: the script, or the body of a here-document."""
        self.text, self.at = text, 0
        self.stack = [_Frame(kind, quoted=kind == "heredoc")]
        self.heredocs: list[tuple[str, bool, bool]] = []
        while self.at < len(text):
            self._step(self.stack[-1], text[self.at])

    # --- one step ---------------------------------------------------------------------------

    def _step(self, frame: _Frame, char: str) -> None:
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
            self._push(_Frame("code", close="`"), 1)
        elif char == '"' and frame.kind in ("code", "parameter", "subscript"):
            self._push(_Frame("double", close='"', quoted=True), 1)
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

    def _inside(self, frame: _Frame, char: str) -> None:
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

    def _code(self, frame: _Frame, char: str) -> None:
        if char == "#" and not frame.word:
            end = self.text.find("\n", self.at)
            self._take((end if end >= 0 else len(self.text)) - self.at)
        elif char == "\n":
            if frame.array:
                frame.end_word()
            else:
                frame.end_command()
            self._take(1)
            self._read_heredocs()
        elif char in " \t":
            frame.end_word()
            self._take(1)
        elif self.text.startswith("<<<", self.at):
            frame.end_word()
            self._take(3)
        elif char == "<" and (match := _HEREDOC.match(self.text, self.at)):
            frame.end_word()
            word = match[2]
            quoted = any(mark in word for mark in "'\"\\")
            self.heredocs.append((re.sub(r"\$?['\"]|\\", "", word), bool(match[1]), quoted))
            self._take(len(match[0]))
        elif char in "<>":
            frame.end_word()
            self._take(1)
        elif char in ";&|":
            frame.end_command()
            self._take(1)
        elif char == "(":
            self._parenthesis(frame)
        elif char == ")":  # of a case's pattern
            frame.end_command()
            self._take(1)
        elif char == "[" and self._begins_subscript(frame):
            name = frame.word
            self._grow(frame, "[")
            self._push(self._subscript(name, False), 1)
        else:
            self._take(1)
            self._grow(frame, char)

    def _begins_subscript(self, frame: _Frame) -> bool:
        if frame.array:
            return not frame.word
        at_start = not frame.words or frame.words[0] in _DECLARE
        return at_start and re.fullmatch(_NAME, frame.word) is not None

    def _subscript(self, name: str, quoted: bool) -> _Frame:
        integer = name not in self.associative and bool(name or not self.associative)
        return _Frame("subscript", close="]", quoted=quoted, integer=integer)

    def _parenthesis(self, frame: _Frame) -> None:
        array = _ASSIGNMENT.fullmatch(frame.word) is not None
        if self.text.startswith("((", self.at) and not frame.word and not frame.in_test:
            self._push(_Frame("arithmetic", close="))", integer=True), 2)
            return
        if array:
            self._grow(frame, "(")
        else:
            frame.end_word()
        in_test = frame.in_test
        integer = array and frame.word.split("+")[0].split("=")[0] in self.integers
        self._push(_Frame("code", close=")", array=array, in_test=in_test, integer=integer), 1)

    def _close(self, frame: _Frame) -> None:
        frame.end_word()
        if frame.kind == "code" and frame.close == ")" and frame.cases > 0:
            frame.end_command()  # of a case's pattern
            self._take(1)
            return
        self._take(len(frame.close))
        self.stack.pop()
        if frame.kind == "code" and frame.close == ")" and not self.stack[-1].word:
            self.stack[-1].end_command()  # after ( ) a command begins: f() { ...

    def _dollar(self, frame: _Frame) -> None:
        text, at = self.text, self.at
        self._grow(frame, "$")
        if text.startswith("$((", at):
            self._push(_Frame("arithmetic", close="))", integer=True), 3)
        elif text.startswith("$(", at):
            self._push(_Frame("code", close=")"), 2)
        elif text.startswith("$[", at):
            self._push(_Frame("arithmetic", close="]", integer=True), 2)
        elif match := _PARAMETER.match(text, at):
            quoted = frame.quoted
            new = _Frame("parameter", close="}", quoted=quoted, word=match[1] or "")
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
        for word, tabs, quoted in waiting:
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
                kept = self.text, self.stack, self.heredocs
                self.scan(body, "heredoc")
                self.text, self.stack, self.heredocs = kept
            self.pieces.append(self.text[end:after])
            self.at = after

    # --- placeholders -----------------------------------------------------------------------

    def _placeholder(self) -> re.Match[str] | None:
        if self.at and self.text[self.at - 1] == "$":
            return None
        return _PLACEHOLDER.match(self.text, self.at)

    def _brace(self, frame: _Frame) -> None:
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
            self._refuse_code(code, name)
            if code:
                code.references.append(reference)
            self.names[name] = None
            self.pieces += ["{", reference, "}"] if in_braces else [reference]
        self.at = match.end()

    def _command_of(self) -> _Frame | None:
        return next((frame for frame in reversed(self.stack) if frame.kind == "code"), None)

    def _calculates(self, code: _Frame | None) -> bool:
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
        if first in _DECLARE and any(re.match(r"-[A-Za-z]*i", word) for word in code.words):
            return True
        assigned = _ASSIGNMENT.match(code.word)
        return bool(assigned and assigned[1] in self.integers)

    def _refuse_code(self, code: _Frame | None, name: str) -> None:
        words = code.words if code and not code.array else []
        heads = [word for word in words[:2] if word not in ("builtin", "command")]
        options = re.search(
            r"(?:^|[ /])((?:ba|da|k|z|a|)sh(?: -o \w+| -[^ ]+)* -\w*c)$", " ".join(words)
        )
        if heads and heads[0] in _READS_CODE:
            program = heads[0]
            fix = f'Keep it in a variable, value={{{name}}}, and write "$value" in single quotes.'
        elif options:
            program = options[1]
            fix = f"Hand it over as an argument: bash -c 'echo \"$1\"' bash {{{name}}}."
        else:
            return
        at = self.at if self.text is self.whole else self.whole.find(self.text) + self.at
        line = self.whole.count("\n", 0, at) + 1
        raise SpecError(
            f"{program} would read the value of {{{name}}} as code, in line {line} of the script",
            at_line(self.place, line, f"{{{name}}}"),
            fix=fix,
        )

    # --- small moves ------------------------------------------------------------------------

    def _take(self, count: int) -> None:
        self.pieces.append(self.text[self.at : self.at + count])
        self.at += count

    def _grow(self, frame: _Frame, char: str) -> None:
        if frame.kind == "code":
            frame.word += char

    def _push(self, frame: _Frame, count: int) -> None:
        top = self.stack[-1]
        if frame.close in ('"', "`"):
            self._grow(top, frame.close)
        self._take(count)
        self.stack.append(frame)
