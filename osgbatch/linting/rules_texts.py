"""Rules about what in a value is taken as it stands, though a shell or another tool would not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from osgbatch.linting.job import Job, canonical
from osgbatch.linting.rules import ADVICE, WARNING, Found, replaced, rule
from osgbatch.linting.rules_values import FORM, keeps_its_quotes
from osgbatch.submit_language import custom_attribute, known_command

_PATHS = """executable log output error input initialdir transfer_input_files
    transfer_output_files container_image x509userproxy transfer_output_remaps notify_user"""


@rule(
    "shell-variable", WARNING, "a variable of the shell, or ~, in a path or the environment",
    "No shell reads a submit file: $HOME and ~ stay as they are.",
)  # fmt: skip
def shell_variable(job: Job) -> Iterator[Found]:
    for statement in job.all("arguments"):
        value = statement.value
        array = re.search(r"(?<!\$)\$\{?((?:SLURM_ARRAY|SGE|LSB|PBS_ARRAY)\w+)", value)
        found = re.search(r"(?:^|[\s=])(~/|(?<!\$)\$\{?[A-Za-z_]\w*\}?(?![\w(]))", value)
        if array:
            yield Found(statement.at, f"HTCondor sets no {array[1]}",
                        "Write $(Process): 0, 1, 2, ... for the jobs of a queue.")  # fmt: skip
        elif found and not re.search(r"(?:^|\s)-\w*c\s|[\"'\\]", value):
            yield Found(
                statement.at, f"the program is given {found[1]} as it stands",
                f"Write {_for_macro(found[1])}, or let a script of yours that is the executable "
                "fill it in.", severity=ADVICE,
            )  # fmt: skip
    for statement in job.settings:
        inside = re.search(r"(?<!\$)\(\$([A-Za-z_]\w*)\)", statement.value)
        if inside and inside[1].lower() in job.named:
            yield Found(statement.at, f"{inside[0]} is no macro", f"Write $({inside[1]}).")
    for statement in job.all(*_PATHS.split(), "environment"):
        value = statement.value
        found = re.search(r"(?<!\$)\$(\{\w+\}|\d|[A-Za-z_]\w*)(?![\w(])", value)
        tilde = re.search(r"(?:^|[,\s=])~(?:[\w/]|\Z)", value)
        if found:
            yield Found(
                statement.at, f"{found[0]} is not filled in: no shell reads this",
                f"Write {_for_macro(found[0])}.",
            )  # fmt: skip
        elif tilde and "://" not in value and canonical(statement.key) != "environment":
            yield Found(statement.at, "~ is not filled in: no shell reads this",
                        "Write $ENV(HOME) instead of ~.")  # fmt: skip


def _for_macro(text: str) -> str:
    """What to write instead of a variable of the shell."""
    if text.startswith("~"):
        return "$ENV(HOME) instead of ~"
    name = text.strip("${}")
    if name.isdigit():
        return "a macro, $(name): `condor_submit name=value` sets it, or queue"
    return f"$({name}) for a macro of this file, $ENV({name}) for a variable of the shell"


@rule(
    "shell-command", WARNING, "a command of the shell in a value",
    "No shell reads a submit file: $(wc -l x) and `date` run nothing. $(name) is the macro of that "
    "name.",
)  # fmt: skip
def shell_command(job: Job) -> Iterator[Found]:
    for statement in job.settings:
        key = canonical(statement.key)
        if key in ("arguments", "environment", "shell") or statement.key.startswith("+"):
            continue
        found = re.search(r"(?<!\$)\$\(\s*[A-Za-z_][\w.-]*\s+[^()]*\)|`[^`]+`", statement.value)
        if found:
            yield Found(
                statement.at, f"{found[0]} runs no command",
                "Let a script write this file, or give the value with condor_submit name=value.",
            )  # fmt: skip


_NAMES = """executable log output error input initialdir x509userproxy notify_user accounting_group
    accounting_group_user project_name transfer_output_files"""


@rule(
    "name-quotes", WARNING, "the name of a file, group or address in quotes",
    "The quotes become a part of the name: the executable or folder is not found, and the output "
    "goes into a file that has them in its name.", mends=True,
)  # fmt: skip
def name_quotes(job: Job) -> Iterator[Found]:
    for statement in job.all(*_NAMES.split(), "transfer_input_files"):
        found = re.fullmatch(r"([\"'])([^\"']+)\1", statement.value)
        if not found:
            continue
        files = canonical(statement.key)
        if found[1] == '"' and files == "transferinputfiles":
            continue  # there HTCondor takes them off
        older = found[1] == '"' and files == "transferoutputfiles"
        yield Found(
            statement.at, f"the quotes are taken for a part of {statement.key}"
            + (" by older versions (23.9; 25.14 takes them off)" if older else ""),
            f"Write {found[2]}.", replaced(statement, found[2]),
        )  # fmt: skip


@rule(
    "remaps-quotes", WARNING, "transfer_output_remaps without quotes",
    "HTCondor 25.14 takes it, 23.9 refuses the file: the manual asks for double quotes around the "
    "whole.", mends=True,
)  # fmt: skip
def remaps_quotes(job: Job) -> Iterator[Found]:
    for statement in job.all("transfer_output_remaps"):
        value = statement.value
        if not value or (value.startswith('"') and value.endswith('"')):
            continue
        right = f'"{value.strip(chr(34) + chr(39))}"'
        sound = '"' not in right[1:-1] and "#" not in value
        yield Found(
            statement.at, f"{statement.key} is not in quotes", f"Write {right}."
            if len(right) < 200 else "Put double quotes around the whole.",
            replaced(statement, right) if sound else (),
        )  # fmt: skip


_TEXTS = """arguments output error log environment transfer_input_files transfer_output_files
    transfer_output_remaps batch_name"""
_COUNTED = r"\$\((?:process|procid|step|row|itemindex|cluster(?:id)?)\)"


@rule(
    "sum-text", WARNING, "a sum where none is done",
    "HTCondor puts the text in as it stands: with $(Process) + 1 the first job is given 0 + 1. "
    "$INT(name), $REAL(name) and $EVAL(name) do the sum.",
)  # fmt: skip
def sum_text(job: Job) -> Iterator[Found]:
    sums = {
        s.key.lower(): s for s in job.settings
        if re.fullmatch(rf"\(?\s*(?:\d+\s*[-+*]\s*)?{_COUNTED}\s*[-+*/%]\s*[\d\s*+()-]+",
                        s.value, re.IGNORECASE)
        and not re.fullmatch(rf"{_COUNTED}-\d+", s.value, re.IGNORECASE)
    }  # fmt: skip
    for statement in job.all(*_TEXTS.split()):
        value = re.sub(r"\$\w+\([^()]*(?:\([^()]*\)[^()]*)*\)|\$\$\(\[.*?\]\)", "", statement.value)
        used = [n for n in re.findall(r"\$\((\w+)\)", value) if n.lower() in sums]
        here = re.search(rf"{_COUNTED}\s*[+*]\s*\d+|(?<![\w.])\d+\s*[+*]\s*{_COUNTED}",
                         value, re.IGNORECASE)  # fmt: skip
        if used:
            made = sums[used[0].lower()].value
            yield Found(statement.at, f"$({used[0]}) is the text {made}, and no number",
                        f"Write $INT({used[0]}) instead of $({used[0]}).")  # fmt: skip
        elif here:
            yield Found(
                statement.at, f"{here[0]} is text: no sum is done here",
                f"Write number = {here[0]} on a line above, and $INT(number) here.",
            )  # fmt: skip


@rule(
    "double-equals", WARNING, "a comparison where a value is set",
    "A line name == value sets the name to `= value`: HTCondor compares nothing here.", mends=True,
)  # fmt: skip
def double_equals(job: Job) -> Iterator[Found]:
    for statement in job.settings:
        found = re.match(r"([?!]?=)(?!=)\s*(?=\S)", statement.value)
        if not found:
            continue
        key, right = statement.key, statement.value[found.end() :]
        if found[1] == "=" and (known_command(key) or custom_attribute(key)):
            yield Found(statement.at, f"{key} is set to {statement.value}",
                        f"Write {key} = {right}.", replaced(statement, right))  # fmt: skip
        else:
            whole = f"{key} ={found[1]} {right}"
            yield Found(
                statement.where, f"{whole} is a comparison, and no command",
                f"Put it into the requirements: requirements = {whole}.",
            )  # fmt: skip


@rule(
    "single-quotes", WARNING, "arguments in single quotes only",
    "Without \" around the whole, ' has no meaning: it is given to the job, and the words in it "
    "are split at blanks.", mends=True,
)  # fmt: skip
def single_quotes(job: Job) -> Iterator[Found]:
    for statement in job.all("arguments"):
        value = statement.value
        kept = re.search(r"(?:^|\s|=)('[^'\s]+')(?=\s|$)", value)
        if re.search(r"(?:^|\s|=)'[^']*\s[^']*'(?:\s|$)", value) and '"' not in value:
            sound = value.count("'") % 2 == 0 and "\\" not in value
            sound = sound and keeps_its_quotes(job, value)
            yield Found(
                statement.at, "single quotes hold nothing together here",
                f'Write {statement.key} = "{value[:40]}{"..." * (len(value) > 40)}".' if sound
                else FORM,
                replaced(statement, f'"{value}"') if sound else (),
            )  # fmt: skip
        elif kept and '"' not in value:
            yield Found(
                statement.at, f"the program is given {kept[1]} with its quotes",
                "Leave them out, if a shell was to take them off.", severity=ADVICE,
            )  # fmt: skip
