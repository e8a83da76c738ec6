"""What `osgbatch foreach` is asked for, checked against the script; nothing is run or written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from osgbatch.errors import OsgbatchError
from osgbatch.names import slug

PHASES = ("scatter", "foreach", "gather")
GATHER = ("pool", "here", "none")
_NAME = {"python": re.compile(r"[^\W\d]\w*"), "r": re.compile(r"[^\W\d_][\w.]*|\.[^\W\d][\w.]*")}


@dataclass(frozen=True)
class Functions:
    """The names of the script's functions."""

    scatter: str = "get_foreach_args"
    foreach: str = "foreach"
    gather: str = "gather"

    def items(self) -> Iterator[tuple[str, str]]:
        """Phase and name."""
        return iter(zip(PHASES, (self.scatter, self.foreach, self.gather), strict=True))


@dataclass(frozen=True)
class Asked:
    """One use of `osgbatch foreach`.

    script: of Python, or of R where its name ends in `.R`; args: what its scatter function is
    given. name: of the work; empty for the script's. batch_size: elements of a task; 0 for as many
    as scatter works out. gather: where it runs, pool or here, or none. partial: gather although
    some elements have failed. start_at: the first phase to run; what is before it is taken from the
    last foreach of this name. pickle: auto (where a value needs it, and gather does not run here),
    always, never. pushed: paths with their names in the task, empty where that is the path. shared:
    other keys of a spec that hold for all phases (libraries, environment, resources; the time of
    these is that of an element).
    """

    script: Path
    args: Sequence[str] = ()
    name: str = ""
    functions: Functions = Functions()
    batch_size: int = 0
    gather: str = "pool"
    partial: bool = False
    start_at: str = "scatter"
    pickle: str = "auto"
    pushed: Sequence[tuple[str, str]] = ()
    shared: Mapping[str, Any] = field(default_factory=dict)

    @property
    def resources(self) -> Mapping[str, Any]:
        """What a task asks for, by the keys of a spec."""
        found: Mapping[str, Any] = self.shared.get("resources", {})
        return found

    @property
    def of_r(self) -> bool:
        """Whether R runs the script."""
        return self.script.suffix in (".R", ".r")

    @property
    def title(self) -> str:
        """The name that the work goes by."""
        return slug(self.name or self.script.stem)

    @property
    def gathered(self) -> str:
        """What is pickled of what gather reads: nothing where it runs here, unless asked for."""
        return "never" if self.pickle == "auto" and self.gather == "here" else self.pickle


def check(asked: Asked) -> None:
    """Raises OsgbatchError, naming the option, for what can be told without running the script."""
    for option, value, known in (
        ("--gather", asked.gather, GATHER),
        ("--start-at", asked.start_at, PHASES),
    ):
        if value not in known:
            near = get_close_matches(value, known, 1)
            raise OsgbatchError(
                f'unknown {option.strip("-").replace("-", " ")} "{value}"'
                + (f'; did you mean "{near[0]}"?' if near else ""),
                where=option,
                fix=f"Known are {', '.join(known)}.",
            )
    if asked.start_at == "gather" and asked.gather == "none":
        raise OsgbatchError("there is nothing to run", where="--start-at gather --gather none")
    _check_script(asked.script)
    if asked.of_r and asked.gathered == "never":
        raise OsgbatchError(
            "R has no other form for values than its own (RDS), and reading that can run code",
            where="--gather here" if asked.pickle == "auto" else "--no-pickle",
            fix="--pickle allows it; with --gather pool it is read by jobs alone.",
        )
    pattern = _NAME["r" if asked.of_r else "python"]
    known_names = _defined(asked.script, asked.of_r)
    for phase, name in asked.functions.items():
        option = f"--{'get-foreach-args' if phase == 'scatter' else phase}-name"
        if not pattern.fullmatch(name):
            raise OsgbatchError(f'"{name}" can name no function', where=option)
        needed = not (phase == "gather" and asked.gather == "none")
        if known_names is not None and needed and name not in known_names:
            near = get_close_matches(name, known_names, 1)
            raise OsgbatchError(
                f"it has no function {name}" + (f"; did you mean {near[0]}?" if near else ""),
                where=str(asked.script),
                fix=f"Define {name}, or say how yours is called: {option}."
                + (" --gather none does without." if phase == "gather" else ""),
            )


def _check_script(script: Path) -> None:
    try:
        with script.open("rb") as stream:
            stream.read(1)
    except OSError as error:
        said = "it is a folder" if script.is_dir() else str(error.strerror)
        raise OsgbatchError(
            f"the script cannot be read: {said}",
            where=str(script),
            fix="Write `osgbatch foreach SCRIPT ARGS...`, options before SCRIPT.",
        ) from None
    if script.suffix not in (".py", ".R", ".r"):
        raise OsgbatchError(
            "whether Python or R runs a script is told by its name, and this one ends in neither "
            ".py nor .R",
            where=str(script),
            fix="Rename it.",
        )


def _defined(script: Path, of_r: bool) -> set[str] | None:
    """The names that a script defines for sure; None when they cannot be told."""
    if of_r:
        text = script.read_text(encoding="utf-8", errors="replace")
        if re.search(r"\b(source|load|attach|library|require|assign)\s*\(", text):
            return None
        return set(re.findall(r"([A-Za-z.][\w.]*)\s*(?:<<?-|=)", text)) | set(
            re.findall(r"->>?\s*([A-Za-z.][\w.]*)", text)
        )
    try:
        tree = ast.parse(script.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        # it may be written for another Python than that of osgbatch
        told = str(error.msg) if isinstance(error, SyntaxError) else str(error)
        raise OsgbatchError(f"it is no Python script: {told}", where=f"{script}{line}") from None
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            if any(alias.name == "*" for alias in node.names):
                return None
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("globals", "exec"):
            return None
    return names
