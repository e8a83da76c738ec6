"""Rules about values that HTCondor refuses or reads otherwise than meant.

What is refused was seen on condor_submit 25.14.1 with -dry-run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches

from osgbatch.linting.job import Job, canonical
from osgbatch.linting.lines import Statement
from osgbatch.linting.rules import ADVICE, ERROR, WARNING, Edit, Found, moved_up, replaced, rule

CURLY = re.compile("[“”„‟‘’‚‛«»]")
_WORDS = {
    "should_transfer_files": ("YES", "NO", "IF_NEEDED", "TRUE", "FALSE", "AUTO", "ALWAYS", "NEVER"),
    "when_to_transfer_output": (
        "ON_EXIT", "ON_EXIT_OR_EVICT", "ON_SUCCESS", "NEVER", "ALWAYS",
    ),
    "notification": ("Never", "Always", "Complete", "Start", "Error"),
    "universe": (
        "vanilla", "docker", "container", "parallel", "scheduler", "local", "grid", "java", "vm",
        "mpi",
    ),
}  # fmt: skip
UNIVERSES = {
    5: "vanilla", 7: "scheduler", 8: "mpi", 9: "grid", 10: "java", 11: "parallel", 12: "local",
    13: "vm",
}  # fmt: skip
"""The numbers that condor_submit takes for the names of universes, too."""
_GONE = {
    "standard": "HTCondor 9 and later have no standard universe: write vanilla, and let the job "
    "checkpoint itself (checkpoint_exit_code).",
    "pvm": "The pvm universe is gone: write vanilla or parallel.",
    "globus": "The globus universe is gone: write grid, with grid_resource.",
}
INTEGERS = """max_retries success_exit_code checkpoint_exit_code priority max_idle max_materialize
    machine_count core_size job_lease_duration max_transfer_input_mb max_transfer_output_mb"""
BOOLEANS = """hold stream_output stream_error preserve_relative_paths nice_user manifest
    stream_input log_xml encrypt_execute_directory want_io_proxy run_as_owner transfer_output
    transfer_error skip_filechecks allow_arguments_v1 allow_environment_v1 load_profile
    skip_if_dataflow container_is_common transfer_container want_job_networking use_x509userproxy
    erase_output_and_error_on_restart docker_override_entrypoint"""
SIZES = "request_memory request_disk image_size"
COUNTS = "request_cpus request_gpus"
EXPRESSIONS = """requirements rank periodic_hold periodic_release periodic_remove on_exit_hold
    on_exit_remove leave_in_queue periodic_vacate next_job_start_delay retry_until
    allowed_execute_duration allowed_job_duration periodic_hold_reason periodic_hold_subcode
    job_max_vacate_time job_lease_duration keep_claim_idle stack_size noop_job_exit_code
    on_exit_hold_reason on_exit_hold_subcode require_gpus gpus_minimum_capability
    gpus_maximum_capability max_job_retirement_time"""
STRICT = f"{INTEGERS} {BOOLEANS} {SIZES} {COUNTS} {EXPRESSIONS} {' '.join(_WORDS)}"
"""Commands whose value cannot hold a #, but in a string."""
_COMMENT = re.compile(r"\s(#.*)\Z", re.DOTALL)
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def _hash(value: str) -> int:
    """Where a comment begins behind a value, outside of strings; -1 for none."""
    bare = STRING.sub(lambda found: "_" * len(found[0]), value)
    found = _COMMENT.search(bare)
    return found.start(1) if found else -1


@rule(
    "value-comment", ERROR, "a comment behind a value that HTCondor computes with",
    "A # begins a comment only at the start of a line. Behind a value it is a part of the value, "
    "and condor_submit refuses the file.", mends=True,
)  # fmt: skip
def value_comment(job: Job) -> Iterator[Found]:
    strict = {id(s) for s in job.all(*STRICT.split())}
    for statement in job.settings:
        own = statement.key.startswith("+") or statement.key.lower().startswith("my.")
        if id(statement) not in strict and not own:
            continue
        at = _hash(statement.value)
        if at > 0:
            yield Found(
                statement.at, f"the comment is taken for a part of the value of {statement.key}",
                "Put it on a line of its own, above.",
                moved_up(statement, statement.value[:at].rstrip(), statement.value[at:]),
            )  # fmt: skip


_LOOSE = """executable log output error input initialdir transfer_input_files getenv
    transfer_output_files transfer_executable container_image docker_image batch_name
    accounting_group accounting_group_user notify_user x509userproxy use_x509userproxy
    transfer_output_remaps concurrency_limits gpus_minimum_memory"""


@rule(
    "name-comment", WARNING, "a comment behind a name or a list",
    "A # begins a comment only at the start of a line. Here it becomes a part of the value: of a "
    "file's name, for instance.", mends=True,
)  # fmt: skip
def name_comment(job: Job) -> Iterator[Found]:
    for statement in job.all(*_LOOSE.split()):
        at = _hash(statement.value)
        if at >= 0:
            yield Found(
                statement.at, f"the comment is taken for a part of the value of {statement.key}",
                "Put it on a line of its own, above.",
                moved_up(statement, statement.value[:at].rstrip(), statement.value[at:]),
            )  # fmt: skip
    for statement in job.all("arguments", "environment"):
        found = re.search(r"(?:\"\s*|\s)(#\s.*)\Z", statement.value)
        if found and statement.value.count('"', found.start(1)) == 0:
            yield Found(
                statement.at, f"what stands behind # is given to the job with {statement.key}",
                "Put a comment on a line of its own.", severity=ADVICE,
            )  # fmt: skip


@rule(
    "word", ERROR, "a word that the command does not know",
    "The command takes one of a few words, and condor_submit refuses any other.",
)  # fmt: skip
def word(job: Job) -> Iterator[Found]:
    for name, known in _WORDS.items():
        for statement, value in job.words(name):
            if not value or _hash(value) > 0:
                continue
            if name == "universe" and value.isdigit():
                if int(value) not in UNIVERSES:
                    yield Found(
                        statement.at, f"there is no universe of the number {value} (any more)",
                        "Write universe = vanilla.",
                    )  # fmt: skip
                continue
            gone = _GONE.get(value.lower()) if name == "universe" else ""
            if gone:
                yield Found(statement.at, f"there is no {value} universe any more", gone)
            elif value.upper() not in [k.upper() for k in known]:
                near = get_close_matches(value.upper(), [k.upper() for k in known], n=1)
                yield Found(
                    statement.at, f"{name} cannot be {value}",
                    f"Did you mean {near[0]}?" if near else f"Write one of {', '.join(known)}.",
                )  # fmt: skip


@rule(
    "whole-number", ERROR, "a word where a whole number must stand",
    "The command takes a whole number, and condor_submit refuses anything else.",
)  # fmt: skip
def whole_number(job: Job) -> Iterator[Found]:
    for statement, value in job.words("max_retries success_exit_code checkpoint_exit_code "
                                      "priority max_idle max_materialize core_size"):  # fmt: skip
        if value.lower() in ("true", "false", "") or _hash(value) > 0:
            continue
        word = re.fullmatch(r'[A-Za-z_]\w*|\d+[A-Za-z]\w*|".*"', value) is not None
        if (word and not re.fullmatch(r"\d+[eE]\d+", value)) or job.refused(value):
            yield Found(
                statement.at, f"{statement.key} must be a whole number, not {value}",
                "Write a number.",
            )  # fmt: skip


@rule(
    "truth-value", ERROR, "a word where true or false must stand",
    "The command takes true or false, and condor_submit refuses anything else, yes and no, too.",
    mends=True,
)  # fmt: skip
def truth_value(job: Job) -> Iterator[Found]:
    for statement, value in job.words(BOOLEANS):
        text = value.strip("\"'").lower()
        if re.fullmatch(r"[A-Za-z]+|([\"'])\w+\1", value) and value.lower() not in (
            "true", "false",
        ):  # fmt: skip
            right = "True" if text in ("true", "yes", "y", "t", "on") else ""
            right = "False" if text in ("false", "no", "n", "f", "off") else right
            sure = right and value == statement.value
            yield Found(
                statement.at, f"{statement.key} must be true or false, not {value}",
                f"Write {right or 'True or False'}.",
                replaced(statement, right) if sure else (),
            )  # fmt: skip


@rule(
    "size", ERROR, "a size or a number with a unit that HTCondor does not know",
    "Sizes are a number and B, KB, MB, GB or TB (or the letter alone), in powers of 1024; counts "
    "are bare numbers. condor_submit refuses the rest.", mends=True,
)  # fmt: skip
def size(job: Job) -> Iterator[Found]:
    for statement, value in job.words(SIZES):
        found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([A-Za-z]+)([;,.]?)", value)
        if not found:
            yield from _size_refused(job, statement, value)
            continue
        if re.fullmatch("[kmgt]?b?", found[2], re.IGNORECASE) and not found[3]:
            continue
        unit = re.match(r"([kmgt])(?:i?b(?:ytes?)?|ig|iga|eg|ega|)s?(?:bytes?)?", found[2].lower())
        right = f"{found[1]}{found[2][0].upper()}B" if unit and found[2] else "2GB"
        yield Found(
            statement.at, f"{value} is no size that HTCondor knows", f"Write {right}.",
            replaced(statement, right) if unit and value == statement.value else (),
        )  # fmt: skip
    for statement, value in job.words(COUNTS):
        found = re.fullmatch(r"(\d+)\s*([A-Za-z]+|[;,])", value)
        if not found:
            yield from _size_refused(job, statement, value)
        else:
            yield Found(
                statement.at, f"{statement.key} is a bare number, not {value}",
                f"Write {found[1]}.",
                replaced(statement, found[1]) if value == statement.value else (),
            )  # fmt: skip


def _size_refused(job: Job, statement: Statement, value: str) -> Iterator[Found]:
    """What is neither a size nor an expression: 1 G B, 10 000 MB, 2GB * 2."""
    bare = STRING.sub("", value)
    plain = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([kmgt]?b?)", value, re.IGNORECASE)
    if plain or _hash(value) >= 0 or "$$" in value or CURLY.search(value) or not value:
        return
    if re.match(r"[\d.]+,", value):  # 25.14 reads a size up to the comma, 23.9 refuses the file
        thousands = re.match(r"\d{1,3}(?:,\d{3})+(?!\d)", value)
        if thousands or re.match(r"\d+,\d\d?(?!\d)", value):
            right = value.replace(",", "" if thousands else ".")
            what = "no comma parts thousands" if thousands else "a decimal point is no comma"
            yield Found(
                statement.at, f"HTCondor reads {value} up to the comma, or refuses it: {what}",
                f"Write {right}.",
                replaced(statement, right) if value == statement.value else (),
            )  # fmt: skip
        return
    shell = re.fullmatch(r"\$\{?(\w+)\}?", value)  # no ClassAd has a $, which needs no judge
    if shell or job.refused(value):
        unit = re.search(r"\d\s*[kmgt]b?\b", bare, re.IGNORECASE)
        fix = "Write a number and a unit: 2GB."
        if shell:
            fix = f"Write $({shell[1]}): no shell fills {value} in."
        elif unit is not None and re.search(r"[-+*/(]", bare):
            fix = "In an expression sizes have no unit: MB for memory, KB for disk."
        elif statement in job.all(*COUNTS.split()):
            fix = "Write a whole number."
        yield Found(statement.at, f"HTCondor cannot read {value} as {statement.key}", fix)


@rule(
    "quoted-number", WARNING, "a number in quotes",
    "In quotes it is a text, which is no amount of anything: such a job matches no slot.",
    mends=True,
)  # fmt: skip
def quoted_number(job: Job) -> Iterator[Found]:
    for statement, value in job.words(f"{SIZES} {COUNTS}"):
        found = re.fullmatch(r'["\'](.*)["\']', value)
        if found:
            yield Found(
                statement.at, f"{statement.key} is in quotes: a text, no number",
                f"Write {found[1]}.",
                replaced(statement, found[1]) if value == statement.value else (),
            )  # fmt: skip


@rule(
    "curly-quotes", WARNING, "curly quotes",
    "Text copied from a document has curly quotes (“ ”). HTCondor knows straight ones only: an "
    "expression with curly ones is refused, elsewhere they become part of the value.", mends=True,
)  # fmt: skip
def curly_quotes(job: Job) -> Iterator[Found]:
    expressions = {id(s) for s in job.all(*EXPRESSIONS.split())}
    for statement in job.settings:
        start, end = statement.whole
        text = job.text.text[start:end]
        marks = list(CURLY.finditer(text))
        apostrophe = all(m[0] == "’" for m in marks)
        if not marks or (apostrophe and statement.key.lower() == "description"):
            continue
        own = statement.key.startswith("+") or statement.key.lower().startswith("my.")
        edits = tuple(
            Edit(start + m.start(), start + m.end(), "'" if m[0] in "‘’‚‛" else '"')
            for m in marks
        )  # fmt: skip
        bare = CURLY.search(STRING.sub("", statement.value)) is not None
        yield Found(
            statement.at, f"curly quotes in the value of {statement.key}",
            'Type them anew: ".', edits,
            ERROR if bare and (own or id(statement) in expressions) else "",
        )  # fmt: skip


@rule(
    "arguments-quotes", ERROR, "quotes in arguments or environment that do not pair",
    'In the new form the whole value stands in "…"; inside, \'…\' holds words together, and a '
    "quote itself is doubled. Without quotes around the whole, \\\" is a quote.", mends=True,
)  # fmt: skip
def arguments_quotes(job: Job) -> Iterator[Found]:
    for statement in job.all("arguments", "environment"):
        value = job.filled(statement.value).strip()
        if "$" in value and re.search(r"\$\$?\w*[(\[]", value):
            value = re.sub(r"\$\$?\w*\([^()]*\)|\$\$\(\[.*?\]\)", "_", value)
        old = canonical(statement.key) == "environment" and not value.startswith('"')
        what = "" if old else quotes_problem(value)  # the old environment takes any quote
        if what:
            sure = keeps_its_quotes(job, statement.value)
            right = _new_form(statement.value.strip()) if sure else ""
            yield Found(
                statement.at, f"{what} in {statement.key}",
                f"Write {statement.key} = {right}." if 0 < len(right) < 200
                else FORM,
                replaced(statement, right) if right else (),
            )  # fmt: skip
    for place, value in job.queued("arguments"):
        what = quotes_problem(value)
        if what:
            yield Found(
                place, f"{what} in this line of the list, which is taken for arguments",
                f"Write {_new_form(value) or 'it without quotes'}.",
            )  # fmt: skip


FORM = 'Write arguments = "first \'two words\' third", with "" for a quote.'
_NUMBERED = re.compile(r"\$\((?:process|procid|cluster|clusterid|step|itemindex|row)\)", re.I)


def keeps_its_quotes(job: Job, value: str) -> bool:
    """Whether what is filled into a value is known here, and brings no quotes: these may not pair
    with those that are written around it."""
    filled = _NUMBERED.sub("0", job.filled(value))
    known = not re.search(r"\$\$?\w*[(\[]", filled)
    return known and all(filled.count(one) == value.count(one) for one in "\"'\\")


def _new_form(value: str) -> str:
    """Arguments that hold words together by "…" as in a shell, in HTCondor's form; else empty."""
    pairs = re.findall(r'"[^"\\]*"', value)
    if not pairs or value.startswith('"') or "'" in value or "\\" in value:
        return ""
    if re.search(r'[^\s="]"[^"]*"|"[^"]*"[^\s"]', value) or value.count('"') != 2 * len(pairs):
        return ""
    return '"' + re.sub(r'"([^"]*)"', r"'\1'", value) + '"'


def quotes_problem(value: str) -> str:
    """What is wrong with the quotes of arguments or an environment; empty when nothing is."""
    if not value.startswith('"'):
        return 'a quote " without a \\ before it' if re.search(r'(?<!\\)"', value) else ""
    inside = value[1:]
    doubled = inside.replace('""', "\0")
    end = doubled.find('"')
    if end < 0:
        return "a quote that does not end"
    if doubled[end + 1 :].strip():
        return "text behind the closing quote"
    return "a ' that does not pair" if doubled[:end].count("'") % 2 else ""


@rule(
    "environment-form", WARNING, "an environment that is read otherwise than it looks",
    'environment = "A=1 B=2", in quotes, is split at blanks; without quotes (the old form) it is '
    "split at ; only.", mends=True,
)  # fmt: skip
def environment_form(job: Job) -> Iterator[Found]:
    for statement in job.all("environment"):
        value = job.filled(statement.value)
        if value.startswith('"') and value.endswith('"'):
            if re.fullmatch(r'"\s*\w+=[^\s\'";]*(;\s*\w+=[^\s\'";]*)+;?\s*"', value):
                right = re.sub(r";\s*(?=\w+=|\")", " ", value).rstrip(" ")
                yield Found(
                    statement.at, "inside of quotes ; separates nothing: this is one variable",
                   f"Write {right}.",
                    replaced(statement, right) if value == statement.value else (),
                )  # fmt: skip
        elif re.fullmatch(r"\w+=[^\s;\"']+(\s+\w+=[^\s;\"']+)+", value):
            yield Found(
                statement.at, "without quotes this is one variable, with blanks in its value",
                f'Write "{value}".',
                replaced(statement, f'"{value}"') if value == statement.value else (),
            )  # fmt: skip
