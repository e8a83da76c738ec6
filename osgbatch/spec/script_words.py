"""What the scanner of a `script:` keeps in mind: nesting, the words of a command, references."""

from __future__ import annotations

from dataclasses import dataclass, field

from osgbatch.names import SCRIPT_VARIABLE
from osgbatch.spec.script_code import ASSIGNMENT, unquoted

INTEGER = "OSGBATCHINTEGER_"
"""With a column's name after it: the variable for places where bash calculates."""
_TRANSPARENT = {"if", "then", "elif", "else", "while", "until", "do", "!", "time", "{", "}"}
_COMPARE = {"-eq", "-ne", "-lt", "-le", "-gt", "-ge"}


@dataclass
class Reference:
    """One placeholder in the text: around it what quotes it in its place."""

    name: str
    before: str
    after: str
    integer: bool

    def text(self) -> str:
        if not self.integer:
            return f"{self.before}${{{SCRIPT_VARIABLE}{self.name}}}{self.after}"
        why = f"bash calculates with {self.name}, so it must be a whole number"
        return f"{self.before}${{{INTEGER}{self.name}:?{why}}}{self.after}"


@dataclass
class Frame:
    """One level of nesting: what ends it, and what is known inside it.

    kind: "code", "double" (quotes), "heredoc", "parameter" (${...}), "arithmetic", "subscript".
    close: the text that ends it. quoted: bash splits no words here. integer: bash calculates here.
    operator: of a parameter: "" until it is seen, "word" (:-), "pattern" (#, /) or "number" (:).
    word: what was read of the current word; begin: where it begins, in the text; words: those of
    the command before it, plain: the same without quotes. redirection: what the current word is
    of a command, "file" or "text" (<<<), when it is none of its words; given: the names of values
    in the text that the command reads, with their lines.
    """

    kind: str
    close: str = ""
    quoted: bool = False
    integer: bool = False
    operator: str = ""
    word: str = ""
    begin: int = 0
    words: list[str] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    redirection: str = ""
    given: list[tuple[str, int]] = field(default_factory=list)
    cases: int = 0
    depth: int = 0
    array: bool = False
    in_test: bool = False
    compares: bool = False
    references: list[Reference] = field(default_factory=list)
    last_references: list[Reference] = field(default_factory=list)

    def end_word(self, raw: str) -> None:
        """The current word ends. raw: as it stands in the text."""
        word, self.word = self.word, ""
        if not word:
            return
        redirection, self.redirection = self.redirection, ""
        if redirection:
            self.references = []
            return
        if self.in_test and word in _COMPARE:
            for reference in self.last_references:
                reference.integer = True
            self.compares = True
        else:
            self.compares = False
            self.last_references = self.references
        self.references = []
        first = not self.words
        if first and word == "case":
            self.cases += 1
        elif first and word == "esac":
            self.cases -= 1
        elif first and word == "[[":
            self.in_test = True
        elif word == "]]":
            self.in_test = False
        if word == "{" and self.words[:1] in (["function"], ["coproc"]):
            self.words, self.plain = [], []
        elif not (first and (word in _TRANSPARENT or ASSIGNMENT.match(word))):
            self.words.append(word)
            self.plain.append(unquoted(raw))
