"""Compares one job of a submit file, as condor_submit would make it, with a task of the sweep."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from osgbatch.importing import words
from osgbatch.importing.convert import RUN_SCRIPT
from osgbatch.importing.jobs import DRY_CLUSTER, SHELL_CLUSTER, Sweep
from osgbatch.importing.made import Converted
from osgbatch.importing.text import places, spread_word, told_first
from osgbatch.plan_model import Plan


def string_of(ad: Mapping[str, str], name: str) -> str:
    """The text of an attribute; empty when there is none."""
    value = ad.get(name, "")
    if not value.startswith('"'):
        return ""
    return re.sub(r"\\(.)", r"\1", value[1:-1])


def _argv(ad: Mapping[str, str]) -> list[str]:
    new = string_of(ad, "Arguments")
    if new:
        return _texts(words.arguments(('"' + new.replace('"', '""') + '"',)))
    return _texts(words.arguments((string_of(ad, "Args").replace('"', '\\"'),)))


def _texts(found: Sequence[words.Word]) -> list[str]:
    return ["".join(map(str, word)) for word in found]


def _environment(ad: Mapping[str, str]) -> dict[str, str]:
    new, old = string_of(ad, "Environment"), string_of(ad, "Env")
    parts = ('"' + new.replace('"', '""') + '"',) if new else (old,) if old else ()
    return {name: "".join(map(str, word)) for name, word in words.environment(parts)}


def job_differs(
    ad: Mapping[str, str], plan: Plan, number: int, made: Converted, sweep: Sweep
) -> Iterator[str]:
    """What of a job is not as the task has it."""
    task = plan.tasks[number]
    row = {**dict(task.params), "index": number}
    row |= dict(
        zip((c.name for c in plan.table.columns), map(str, _cells(plan, number)), strict=False)
    )
    ours = list(task.argv) if plan.spec.command else _filled(made, sweep, row)
    if not made.program and not made.shell:
        if _argv(ad) or string_of(ad, "Cmd"):
            yield f"the program was {string_of(ad, 'Cmd')}, and is now the image's run script"
    elif not made.shell:
        cmd = string_of(ad, "Cmd")
        own = ours[0] == RUN_SCRIPT and not cmd
        if not own and os.path.basename(cmd) != os.path.basename(ours[0]):
            yield f"the program was {cmd}, and is now {ours[0]}"
        if _argv(ad) != ours[1:]:
            yield f"arguments were {_argv(ad)}, and are now {ours[1:]}"
    theirs = _environment(ad)
    texts = {name: str(value) for name, value in row.items()}
    variables = {name: value.fill(texts) for name, value in plan.spec.environment_variables}
    known = {**texts, SHELL_CLUSTER: DRY_CLUSTER}
    variables |= {
        name: "".join(known.get(part, "") if place % 2 else part
                      for place, part in enumerate(value.split("\0")))
        for name, value in _exported(plan)
    }  # fmt: skip
    if theirs != variables:
        yield f"environment was {theirs}, and is now {variables}"
    outputs = _outputs(ad, plan, texts)
    if outputs:
        yield outputs
    yield from _asks(ad, plan, number)
    iwd = string_of(ad, "Iwd")
    brought = {
        real_path(iwd, name) for name in string_of(ad, "TransferInput").split(",") if name.strip()
    }
    found = {one.url or os.path.realpath(one.source) for one in task.inputs}
    found |= {os.path.realpath(plan.spec.folder / file.text) for file in plan.spec.files}
    for both in (found, brought):  # some name the program among the inputs, too
        both.discard(os.path.realpath(string_of(ad, "Cmd")))
    stdin = string_of(ad, "In")
    brought |= {real_path(iwd, stdin)} if stdin not in ("", "/dev/null") else set()
    image = plan.spec.environment.path
    brought -= {image_file(plan), image.text if image else ""}
    if brought != found:
        yield f"inputs were {sorted(brought)}, and are now {sorted(found)}"


def _asks(ad: Mapping[str, str], plan: Plan, number: int) -> Iterator[str]:
    """What a job asks for otherwise than the task, of what differs between jobs."""
    each = plan.each
    for name, ours in (
        ("RequestCpus", each.cpus), ("RequestMemory", each.memory_mb),
        ("RequestDisk", each.disk_kb),
    ):  # fmt: skip
        theirs = ad.get(name, "")
        if not ours or (theirs.isdigit() and int(theirs) == ours[number]):
            continue
        more = name == "RequestDisk" and theirs.isdigit() and int(theirs) < ours[number]
        if not more:
            yield f"{name} was {theirs}, and is now {ours[number]}"


def _outputs(ad: Mapping[str, str], plan: Plan, texts: Mapping[str, str]) -> str:
    """What is wrong with what comes back; empty when nothing is."""
    ours = [one.pattern.fill(texts) for one in plan.spec.outputs]
    if "TransferOutput" not in ad:
        return "" if plan.spec.changed_only and not ours else f"all files came back, and now {ours}"
    named = [name.strip() for name in string_of(ad, "TransferOutput").split(",")]
    theirs = [re.sub(r"^(\./+)+", "", name).rstrip("/") for name in named if name]
    # Of a name that holds the cluster's number the sweep knows a pattern.
    same = len(theirs) == len(ours) and all(map(_matches, theirs, ours))
    wrong = not same or plan.spec.changed_only
    return f"outputs were {theirs}, and are now {ours}" if wrong else ""


def _matches(theirs: str, ours: str) -> bool:
    return theirs == ours or ("*" in ours and fnmatchcase(theirs, ours))


def _filled(made: Converted, sweep: Sweep, row: Mapping[str, object]) -> list[str]:
    found: list[str] = []
    for place, word in enumerate(made.program):
        text = sweep.filled(word, row)
        found += text.split() if place in made.spread else [text]
    return found


def script_differs(plan: Plan, made: Converted, sweep: Sweep) -> str:
    """What is wrong with the script; empty when nothing is."""
    if plan.spec.script is None:
        return ""
    own = any(not one.whole for one in made.inputs)
    if own and places(made, sweep) not in plan.spec.script.written:
        return "the script does not bring the inputs to where the program starts"
    lines = plan.spec.script.written.split("\n")
    for line in told_first(made, sweep):
        if line.strip() not in lines:
            return f"the script does not say {line.strip()}"
    exports = [line for line in lines if line.startswith("export ")]
    if len(_exported(plan)) != len(exports):
        return f"a shell would not read one variable of each of {exports}"
    if made.shell:
        return ""
    line = plan.spec.script.written.rstrip("\n").split("\n")[-1]
    found = _shell_words(line)
    wanted = [
        f"\0{spread_word(sweep, word)[1:-1]}\0" if place in made.spread else _marked(sweep, word)
        for place, word in enumerate(made.program)
    ]
    wanted += ["<", _marked(sweep, made.stdin)] if made.stdin else []
    return "" if found == wanted else f"the script runs {found}, and not {wanted}"


_PIECE = re.compile(
    r"""(?P<blank>[ ]+)|'(?P<quoted>[^'\0]*)'|"(?P<quote>')"
    |"(?P<filled>\$cluster|\$\{\w+_words\[@\]\})"|\{(?P<name>[^\W\d]\w*)\}
    |(?P<text>[A-Za-z0-9_@%+=:,./-]+|(?<=[ ])<(?=[ ]))""",
    re.VERBOSE,
)
"""What a line of a script may be made of, as shlex.quote writes it, with placeholders."""


def _shell_words(line: str) -> list[str] | None:
    """The words of a line of a script, what is filled in between NULs; None for a line in which a
    shell reads more than words."""
    found: list[str] = []
    at, inside = 0, False
    while at < len(line):
        piece = _PIECE.match(line, at)
        if piece is None:
            return None
        kind, text = str(piece.lastgroup), piece[str(piece.lastgroup)]
        at = piece.end()
        if kind == "blank":
            inside = False
            continue
        if kind == "quoted":
            text = re.sub(r"\{\{(\w+)\}\}", r"{\1}", text)
        elif kind in ("filled", "name"):
            text = f"\0{text}\0"
        if not inside:
            found.append("")
        found[-1] += text
        inside = True
    return found


def _exported(plan: Plan) -> list[tuple[str, str]]:
    """The variables that the written script sets, with what is filled in between NULs; without the
    lines of which a shell would make anything else."""
    lines = plan.spec.script.written.split("\n") if plan.spec.script else []
    found = []
    for line in lines:
        said = _shell_words(line) if line.startswith("export ") else None
        one = re.fullmatch(r"([A-Za-z_]\w*)=(.*)", said[1], re.ASCII | re.DOTALL) \
            if said and len(said) == 2 else None  # fmt: skip
        found += [(one[1], one[2])] if one else []
    return found


def _marked(sweep: Sweep, word: words.Word) -> str:
    parts = enumerate(sweep.template(word))
    return "".join(f"\0{part}\0" if number % 2 else part for number, part in parts)


def _cells(plan: Plan, number: int) -> list[object]:
    return [cell.text if hasattr(cell, "text") else cell for cell in plan.tasks[number].row]


def real_path(folder: str, name: str) -> str:
    """Where a name leads from a folder; a URL as it is."""
    name = name.strip()
    return name if "://" in name else os.path.realpath(os.path.join(folder, name))


def image_of(ad: Mapping[str, str], folder: Path) -> str:
    """A job's image, a URL or a real path; empty when it has none. folder: where paths start."""
    docker = string_of(ad, "DockerImage")
    if docker:
        return docker if "://" in docker else f"docker://{docker}"
    image = string_of(ad, "ContainerImage") or string_of(ad, "SingularityImage")
    for one in string_of(ad, "TransferInput").split(","):
        if image and "://" in one and one.strip().rpartition("/")[2] == image:
            return one.strip()  # HTCondor brings it, and names what it brings
    return real_path(str(folder), image) if image else ""


def image_file(plan: Plan) -> str:
    """The real path of the plan's image, of which a batch has a copy; empty for a URL, or none."""
    image = plan.spec.environment
    if image.kind != "container" or image.path is None or "://" in image.path.text:
        return ""
    return os.path.realpath(plan.spec.folder / image.path.text)
