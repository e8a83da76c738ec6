"""What a command or a function names, against what its tasks are brought."""

from __future__ import annotations

import os
import posixpath
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatch
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from osgbatch.errors import SpecError
from osgbatch.plan_model import InputFile
from osgbatch.spec_model import Place, Spec, Template, UserPath
from osgbatch.tables import Table

if TYPE_CHECKING:
    import ast

_SCRIPTS = re.compile(r"\.(py|r|sh|bash|jl|m|pl|rb|js|lua|exe|jar)")
_DATA = re.compile(
    r"\.([ct]sv|txt|jsonl?|ya?ml|toml|ini|cfg|np[yz]|h5|hdf5|dat|parquet|pkl|nc|mat|fits|fa|fast[aq]"
    r"|xml|root|pth?|onnx|png|tiff?|gz|zip)"
)
_INLINE = frozenset(["-c", "-e", "-m"])
"""What follows these is code, or the name of a module."""
_OUTPUT = re.compile(r"-o$|--?(out|save|result|log|dest)|(out|save|result|log|dest)\w*=", re.I)
_MADE_BY_RUNS = re.compile(r"(outputs?|out|results?|logs?|fig\w*|plots?|tmp|batches)(/|$)", re.I)
_GLOB = re.compile(r"\*|[\w./-]*[./][\w./-]*\*[\w./*-]*|\*[\w./*-]*[./][\w./*-]*", re.ASCII)
_VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})", re.ASCII)
_MAX_LISTED = 2000
"""Of the files in folders that are brought, so many are looked at for a near name."""


# --- what is brought ------------------------------------------------------------------------------


class _Things:
    """Where a task finds what it is brought, by its place there."""

    def __init__(self, spec: Spec, inputs: Iterable[InputFile]) -> None:
        self.by_place: dict[str, Path | None] = {}
        for entry in spec.files:
            for path in _found([entry], spec.folder):
                inside = path.is_relative_to(spec.folder)
                there = path.relative_to(spec.folder).as_posix() if inside else path.name
                self.by_place["" if there == "." else entry.target or there] = path
        for file in inputs:
            self.by_place[file.task_path] = None if file.url else file.source

    def has(self, path: str) -> bool:
        """Whether a task finds something at this path."""
        if any(place.startswith(f"{path}/") for place in self.by_place):
            return True
        for place, source in self.by_place.items():
            if path == place:
                return True
            if source is not None and (not place or path.startswith(f"{place}/")):
                rest = path[len(place) :].lstrip("/")
                if (source / rest).exists():
                    return True
        return False

    def places(self) -> list[tuple[str, str]]:
        """Where things are in the task, and where they lie; those in folders too, some."""
        found: list[tuple[str, str]] = []
        for place, source in self.by_place.items():
            if place:
                found.append((place, str(source or place)))
            if source is None or not source.is_dir():
                continue
            for folder, folders, names in os.walk(source):
                folders[:] = [name for name in folders if not name.startswith(".")]
                below = os.path.relpath(folder, source)
                for name in names:
                    there = posixpath.normpath(posixpath.join(place, below, name))
                    found.append((there, os.path.join(folder, name)))
                if len(found) > _MAX_LISTED:
                    break
        return found


def _found(paths: Iterable[UserPath], folder: Path) -> Iterator[Path]:
    """The files and folders that entries name, patterns spread out."""
    for entry in paths:
        path = Path(os.path.normpath(folder / entry.text))
        if path.exists():
            yield path
        else:
            for name in glob(entry.text, root_dir=folder, recursive=True):
                yield Path(os.path.normpath(folder / name))


# --- commands -------------------------------------------------------------------------------------


def command_slips(spec: Spec, inputs: Sequence[InputFile], argv: Sequence[str]) -> Iterator[str]:
    """What the words of a command name that no task is brought, and what no shell expands.

    inputs, argv: of the first task.
    """
    things = _Things(spec, inputs)
    after = ""
    for number, (template, filled) in enumerate(zip(spec.command, argv, strict=True)):
        before, after = after, filled
        word = template.fill(dict.fromkeys(template.names, ""))
        if before in _INLINE or "://" in filled or _OUTPUT.match(filled):
            continue
        said = _unexpanded(template.parts[0] if template.names else word)
        if not said and not (before.startswith("-") and _OUTPUT.match(before)):
            said = _not_brought(spec, things, template, filled, number, Path(before).name)
        if said:
            yield _placed(template.place, word if not template.names else "", spec) + said


def _placed(place: Place | None, word: str, spec: Spec) -> str:
    where = place.at(word) if place and word else place or Place(str(spec.path), 1, 1)
    return f"{where.file}:{where.line}:{where.column}: "


def _unexpanded(word: str) -> str:
    """What a shell would have expanded in a word; empty when there is nothing."""
    if any(blank in word for blank in " \t\n"):
        return ""
    value = _value(word)
    token = _VARIABLE.search(word)
    what = "~/" if value.startswith("~/") else token[0] if token else ""
    if not what and _GLOB.fullmatch(value):
        what = value
    if not what:
        return ""
    return (
        f"no shell runs the command: {what} would reach the program as text; write `script:` for "
        "lines that a shell runs"
    )


def _value(word: str) -> str:
    """The value of `--option=value` and `key=value`; else the word."""
    option = re.match(r"(?:--?)?[A-Za-z][\w-]*=", word)
    return word[option.end() :] if option else "" if word.startswith("-") else word


def _not_brought(
    spec: Spec, things: _Things, template: Template, filled: str, number: int, before: str
) -> str:
    """What is wrong with a word that looks like a path; empty when nothing is."""
    path = _value(filled)
    suffix = Path(path).suffix.lower()
    known = _SCRIPTS.fullmatch(suffix) or _DATA.fullmatch(suffix)
    if not path or not ("/" in path or known) or any(c in path for c in "\n\t\0"):
        return ""
    if path.startswith("/"):
        own = Path(path).is_relative_to(spec.folder)
        if own or path.startswith("/home/"):
            fix = f"; bring it, and write {os.path.relpath(path, spec.folder)}" if own else ""
            return f"the command names {path}, which execution points do not have{fix}"
        return ""
    path = posixpath.normpath(path)
    outputs = [
        output.pattern.fill(dict.fromkeys(output.pattern.names, "*")) for output in spec.outputs
    ]
    made = _MADE_BY_RUNS.match(path) or path == "params.json"
    if made or any(fnmatch(path, o) or path.startswith(f"{o}/") for o in outputs):
        return ""
    if things.has(path):
        return ""
    places = things.places()
    what = f"the command names {path}, which no task is brought"
    for place, source in places:
        if source == str(spec.folder / path) or source.endswith(f"/{path}"):
            if template.names:
                inside = place == f"inputs/{path}"
                return f"{what}: write inputs/{_source(template)}" if inside else ""
            return f"{what}: write {place}"
    beside = spec.folder / path
    if beside.exists():
        if template.names:
            source = _source(template)
            return f'{what}: add inputs: "{source}", and write inputs/{source}'
        if _DATA.fullmatch(suffix) and number:
            return f"{what}: add it to inputs: [{path}], and write inputs/{path}"
        return f"{what}: add it to files: [{path}]"
    if template.names:
        return ""
    return _near(spec, path, [place for place, _ in places], what, before)


def _source(template: Template) -> str:
    """A template as the spec has it, without the option in front."""
    text = "".join(f"{{{part}}}" if i % 2 else part for i, part in enumerate(template.parts))
    return _value(text)


def _near(spec: Spec, path: str, places: Sequence[str], what: str, before: str) -> str:
    """A path that does not exist: what was meant; empty when the program may well make it."""
    suffix = Path(path).suffix.lower()
    certain = bool(_SCRIPTS.fullmatch(suffix)) or path.startswith("inputs/")
    folder = (spec.folder / path).parent
    above = posixpath.dirname(path)
    try:
        beside = [posixpath.join(above, name) for name in os.listdir(folder)[:_MAX_LISTED]]
    except OSError:
        beside = []
    for names in (places, beside):
        for near in get_close_matches(path, names, n=3, cutoff=0.75 if certain else 0.9):
            # a1.csv and a2.csv are two files, and no slip
            if re.sub(r"\d+", "0", near) != re.sub(r"\d+", "0", path):
                return f"{what}; did you mean {near}?"
    if re.fullmatch(r"python[\d.]*|Rscript|julia|bash|sh|perl|ruby", before) and _SCRIPTS.fullmatch(
        suffix
    ):
        return f"{what}, and it is not beside the spec"
    return ""


# --- functions ------------------------------------------------------------------------------------


def function_errors(spec: Spec, table: Table) -> Iterator[SpecError]:
    """A function that is not in its module, or wants what is no column; a module's syntax error."""
    function = spec.function
    path = _module(spec)
    if function is None or path is None:
        return
    try:
        tree = _parsed(path)
    except SyntaxError as error:
        if spec.environment.kind == "requirements":  # the tasks get this very Python
            yield _no_python(error, path, spec)
        return
    except (OSError, ValueError, RecursionError, MemoryError):
        return
    names, definitions = _defined(tree.body)
    if "*" in names or "__getattr__" in names:
        return
    if function.name not in names:
        near = get_close_matches(function.name, names, n=1)
        did_you = f'; did you mean "{near[0]}"?' if near else ""
        known = ", ".join(sorted(definitions)) or "none"
        yield SpecError(
            f'{function.module} has no function "{function.name}"{did_you}',
            function.place.at(function.name),
            fix="" if near else f"Its functions are: {known}.",
        )
        return
    wanted = _required(definitions.get(function.name, []))
    columns = [*(column.name for column in table.columns), "index"]
    missing = [name for name in wanted if name not in columns]
    if missing:
        near = get_close_matches(missing[0], columns, n=1)
        did_you = f'; did you mean "{near[0]}"?' if near else ""
        yield SpecError(
            f"{function.name} wants {' and '.join(missing)}, and there is no such column{did_you}",
            function.place.at(function.name),
            fix=f"Known are {', '.join(columns)}. Add a column, or give it a default.",
        )


def _parsed(path: Path) -> ast.Module:
    import ast  # only a sweep with a function needs it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(path.read_bytes(), str(path))


def _no_python(error: SyntaxError, path: Path, spec: Spec) -> SpecError:
    name = os.path.relpath(path, spec.folder)
    source = (error.text or "").rstrip("\n")
    place = Place(name, error.lineno or 1, max(1, error.offset or 1), source)
    return SpecError(f"not Python: {error.msg}", place, fix="The function's module needs it.")


def function_slips(spec: Spec) -> Iterator[str]:
    """A module that nothing brings to the tasks, or that this machine's Python cannot read."""
    function = spec.function
    if function is None or spec.environment.kind == "requirements":
        return
    path = _module(spec)
    if path is not None:
        try:
            _parsed(path)
        except SyntaxError as error:
            found = _no_python(error, path, spec)
            yield f"{found.where}: {found.what}, as this machine's Python reads it"
        except (OSError, ValueError, RecursionError, MemoryError):
            pass
        return
    if spec.environment.kind != "none":
        return
    top = function.module.split(".")[0]
    opaque = any(Path(p.text).suffix in (".whl", ".so", ".zip") for p in spec.libraries)
    container = any("container" in key.lower() or "image" in key.lower() for key, _ in spec.submit)
    if top in sys.stdlib_module_names or opaque or container:
        return
    said = f"no files: or libraries: bring the module {function.module}"
    for name in (f"{top}.py", top):
        if (spec.folder / name).exists():
            said += f": add it to files: [{name}]"
            break
    yield _placed(function.place, function.module, spec) + said


def _module(spec: Spec) -> Path | None:
    """The file of the function's module, where files: or libraries: bring it."""
    if spec.function is None:
        return None
    parts = spec.function.module.split(".")
    below = ("/".join(parts) + ".py", "/".join(parts) + "/__init__.py")
    for place, source in _Things(spec, ()).by_place.items():
        for name in below:
            if source is not None and name == place:
                return source
            if source is not None and (not place or name.startswith(f"{place}/")):
                path = source / name[len(place) :].lstrip("/")
                if path.is_file():
                    return path
    for path in _found(spec.libraries, spec.folder):
        roots = [path / "src", path] if path.is_dir() else []
        if path.stem == parts[0]:
            roots.append(path.parent)
        for root in roots:
            for name in below:
                if (root / name).is_file():
                    return root / name
    return None


def _defined(body: Sequence[ast.stmt]) -> tuple[set[str], dict[str, list[ast.stmt]]]:
    """The names at the top of a module, and its functions and classes; "*" for any name."""
    import ast as tree

    names: set[str] = set()
    definitions: dict[str, list[tree.stmt]] = {}
    waiting: list[tree.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (tree.FunctionDef, tree.AsyncFunctionDef, tree.ClassDef)):
            names.add(node.name)
            definitions.setdefault(node.name, []).append(node)
        elif isinstance(node, (tree.Import, tree.ImportFrom)):
            names.update((a.asname or a.name).split(".")[0] for a in node.names)
        elif isinstance(node, tree.Name):
            if isinstance(node.ctx, tree.Store):
                names.add(node.id)
                definitions.setdefault(node.id, []).append(tree.Pass())
        else:
            waiting += tree.iter_child_nodes(node)
    return names, definitions


def _required(found: Sequence[ast.stmt]) -> list[str]:
    """The parameters that a function must be given; none where that is not sure."""
    import ast

    if len(found) != 1:
        return []
    node = found[0]
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or node.decorator_list:
        return []
    given = node.args
    if given.kwarg:
        return []
    plain = [*given.posonlyargs, *given.args]
    required = plain[: len(plain) - len(given.defaults)]
    keyword = [a for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d is None]
    return [argument.arg for argument in (*required, *keyword)]
