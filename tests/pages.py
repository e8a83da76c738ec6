"""Runs the commands of a page of the docs, in order, in one fresh folder, as a reader would.

A page is Markdown. What counts in it:

* a fence `console`: lines that begin with `$ ` are commands (a line that ends with a backslash
  goes on), what follows one is what it prints, stdout and stderr as they come. A line `...` stands
  for any lines, `…` for anything within a line. Ids, times and sizes may be others (`CHANGING`).
* a fence `sh`: commands whose output the page does not show; each line must end with 0.
* another fence with a second word that looks like a file's name, such as `yaml sweep.yaml`: the
  file is written when the page comes to it.
* `<!-- run … -->`: commands that a reader does not see, such as the copying of an example.
* `<!-- exit 1 -->` before a fence: with what its last command ends, where that is not 0.
* `<!-- not run: why -->` before a fence: it is left out (`left_out` lists these).
* `<!-- in a pool -->` anywhere: the page needs HTCondor.

All commands of a page run in one bash, so `cd` and variables hold. Nothing is read from a terminal.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import started
from started import CHECKOUT

PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("**/*.md"))]
CHANGING = {
    r"-\d{8}-\d{6}-[0-9a-f]{4}\b": "-DATE-TIME-ID",
    r"\b\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2})?": "DATE TIME",
    r"\b\d{2}:\d{2}(:\d{2})?\b": "TIME",
    r"\b(\d+ (h|min) )?\d+(\.\d+)? (ms|s|min|h)\b": "SECONDS",
    r"\b\d+(\.\d+)? (B|KB|MB|GB)\b": "SIZE",
    r"\bcluster \d+": "cluster N",
    r"\b[0-9a-f]{12}\b": "ID",
    r"\b(batch|osgbatch [a-z]+) [0-9a-f]{6}\b": r"\1 ID",
}
"""What is never the same twice (regular expressions), and the word that is compared instead."""

_PIECE = re.compile(
    r"^<!--\s*(?P<told>run|exit|not run:|in a pool)(?P<rest>.*?)-->[ \t]*$"
    r"|^```(?P<language>\w+)[ \t]*(?P<name>[^\n]*)\n(?P<text>.*?)^```[ \t]*$",
    re.M | re.S,
)
_MARK = "@@osgbatch-page"


@dataclass(frozen=True)
class Step:
    """A command, or a file to write. line: on the page; shown: what it prints, None: not shown."""

    line: int
    command: str = ""
    shown: str | None = None
    exit_code: int = 0
    file: str = ""
    content: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A fence of commands that is not run. line: on the page."""

    line: int
    why: str


@dataclass(frozen=True)
class Different:
    """A step that did other than its page says. code: -1 where it never ended, or began."""

    page: Path
    step: Step
    printed: str
    code: int

    def __str__(self) -> str:
        where = f"{self.page.relative_to(CHECKOUT)}:{self.step.line}"
        said = f"{where}: {self.step.command or self.step.file}\n"
        if self.code != self.step.exit_code:
            ended = f"ended with {self.code}, not {self.step.exit_code}; it printed"
            return (
                f"{said}{ended if self.code >= 0 else 'was not reached; the end:'}\n{self.printed}"
            )
        return f"{said}the page shows\n{self.step.shown}\nand it printed\n{self.printed}"


def steps(page: Path) -> list[Step | LeftOut]:
    """What a page lets a reader do, in order."""
    return list(_steps(page.read_text(encoding="utf-8")))


def needs_pool(page: Path) -> bool:
    """Whether its commands are for HTCondor."""
    return any(match["told"] == "in a pool" for match in _PIECE.finditer(page.read_text("utf-8")))


def stray_commands(page: Path) -> list[int]:
    """Lines of commands that stand outside of the fences that are run."""
    text = page.read_text(encoding="utf-8")
    text = _PIECE.sub(lambda m: m[0] if _unknown(m) else "\n" * m[0].count("\n"), text)
    return [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if re.match(r" {4,}(\$ |osgbatch |make |cd |python |pip |condor_)", line)
        or re.match(r" +```| *```(bash|shell|sh|console) +\w+ *$| *```(bash|shell)", line)
    ]


def _unknown(match: re.Match[str]) -> bool:
    """Whether it is a fence of commands that is not run, for how it is called."""
    name = (match["name"] or "").strip()
    if match["language"] in ("sh", "console"):
        return name != "" and not re.search(r"[./]", name)
    return match["language"] in ("bash", "shell") and not re.search(r"[./]", name)


def _steps(text: str) -> Iterator[Step | LeftOut]:
    exit_code, why = 0, ""
    for match in _PIECE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["told"]:
            if match["told"] == "run":
                yield Step(line, match["rest"].strip())
            elif match["told"] == "exit":
                exit_code = int(match["rest"])
            elif match["told"] == "not run:":
                why = match["rest"].strip()
            continue
        language, name, content = match["language"], match["name"].strip(), match["text"]
        if language in ("console", "sh") and not name:
            if why:
                yield LeftOut(line, why)
            elif language == "console":
                yield from _typed(content, line, exit_code)
            else:
                yield Step(line, content.strip(), None, exit_code)
            exit_code, why = 0, ""
        elif re.fullmatch(r"[\w./-]*\.\w+|[\w./-]*/[\w./-]+", name):
            yield Step(line, file=name, content=content)


def _typed(block: str, line: int, exit_code: int) -> Iterator[Step]:
    """The commands of a console, each with what it prints."""
    parts = re.split(r"^\$ ", block, flags=re.M)
    assert not parts[0].strip(), f"line {line}: the block begins with what no command prints"
    for place, part in enumerate(parts[1:], 1):
        command, printed = re.fullmatch(r"((?:[^\n]*\\\n)*[^\n]*)\n?(.*)", part, re.S).groups()  # type: ignore[union-attr]
        yield Step(line, command, printed, exit_code if place == len(parts) - 1 else 0)


def follow(page: Path, folder: Path, environment: Mapping[str, str]) -> list[Different]:
    """Run a page in a folder, and give what differs from it.

    environment: for the commands; PATH begins with our `osgbatch`, HOME is `folder`.
    """
    todo = [step for step in steps(page) if isinstance(step, Step)]
    bin_folder = folder / ".bin"
    bin_folder.mkdir()
    started.program(bin_folder / "osgbatch")
    python = bin_folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    script = [f"cd '{folder}'", "trap 'failed=$?' ERR"]
    for number, step in enumerate(todo):
        script.append(f"echo '{_MARK} {number}'; failed=0")
        if step.file:
            script += [f"mkdir -p \"$(dirname '{step.file}')\"", f"cat > '{step.file}' <<'{_MARK}'"]
            script += [step.content.rstrip("\n"), _MARK]
        else:
            script += [f"{{ {step.command}\n}} </dev/null"]
        script.append("ended=$?; [ $ended != 0 ] || ended=$failed; echo")
        script.append(f"echo '{_MARK} {number} ended' $ended")
    variables = {
        **environment,
        "PATH": f"{bin_folder}:{environment.get('PATH', os.defpath)}",
        "HOME": str(folder),
        "COLUMNS": "80",
        "PYTHONPATH": str(CHECKOUT),
        "CHECKOUT": str(CHECKOUT),
    }
    done = subprocess.run(
        ["bash", "-s"], input="\n".join(script) + "\n", env=variables, cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
    )  # fmt: skip
    return list(_compared(page, todo, done.stdout.replace(str(folder), "~")))


def _compared(page: Path, todo: list[Step], said: str) -> Iterator[Different]:
    for number, step in enumerate(todo):
        found = re.search(
            rf"^{_MARK} {number}\n(.*?)\n?^{_MARK} {number} ended (\d+)$", said, re.M | re.S
        )
        printed, code = (found[1], int(found[2])) if found else (said[-2000:], -1)
        same = step.shown is None or _alike(step.shown, printed)
        if code != step.exit_code or not same:
            yield Different(page, step, printed, code)
        if not found:
            return


def _alike(shown: str, printed: str) -> bool:
    pattern = ""
    for line in _stable(shown).rstrip("\n").split("\n"):
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.rstrip().split("…")) + r"\n"
    lines = [line.rstrip() for line in _stable(printed).rstrip("\n").split("\n")]
    return re.fullmatch(pattern, "\n".join(lines) + "\n") is not None


def _stable(text: str) -> str:
    for changing, word in CHANGING.items():
        text = re.sub(changing, word, text)
    return text


def main(arguments: list[str]) -> int:
    """`[--write] PAGE...`: what its commands print other than it shows; or write that there."""
    import tempfile

    wrong: list[str] = []
    for argument in arguments:
        if argument == "--write":
            continue
        page = Path(argument).resolve()
        with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as name:
            cache = os.environ.get("XDG_CACHE_HOME") or f"{Path.home()}/.cache"
            own = {"XDG_STATE_HOME": f"{name}/.state", "XDG_CACHE_HOME": cache}
            environment = {**os.environ, **own}
            found = list(follow(page, Path(name), environment))
        if "--write" in arguments:
            text = page.read_text(encoding="utf-8")
            for one in found:
                if one.step.shown is not None and one.code == one.step.exit_code:
                    old = f"$ {one.step.command}\n{one.step.shown}"
                    new = f"$ {one.step.command}\n{one.printed}".rstrip("\n") + "\n"
                    text = text.replace(old, new, 1)
            page.write_text(text, encoding="utf-8")
        wrong += [str(one) for one in found]
    print(*wrong, sep="\n\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
