"""Rules about ClassAd expressions: requirements, policies, and attributes of the user's own."""

from __future__ import annotations

import re
from collections.abc import Iterator

from osgbatch.linting.job import Job
from osgbatch.linting.rules import ADVICE, ERROR, WARNING, Found, replaced, rule
from osgbatch.linting.rules_values import CURLY, EXPRESSIONS
from osgbatch.submit_language import KNOWN_COMMANDS, classad_problems, custom_attribute

TEXTS = frozenset(
    ["projectname", "jobdurationcategory", "singularityimage", "desired_sites", "undesired_sites",
     "accountinggroup", "jobflavour", "jobbatchname", "gpujoblength", "singularitybind",
     "acctgroup", "acctgroupuser", "apptainerimage", "desiredos", "wantos", "required_os",
     "maxwalltimemins_string", "jobcategory", "project_name"]
)  # fmt: skip
"""Attributes of OSPool, CHTC and CERN pools whose value is a text, in lower case."""
_VALUES = frozenset(["true", "false", "undefined", "error"])


def own(key: str) -> str:
    """The name of the attribute that `+Name` or `MY.Name` sets; empty for other keys."""
    return re.sub(r"^(\+|my\.)", "", key, flags=re.IGNORECASE) if custom_attribute(key) else ""


@rule(
    "text-quotes", WARNING, "a text without quotes in an attribute of the job's own",
    "What stands behind +Name is an expression: a word without quotes is the name of another "
    "attribute, which most often does not exist, and the value is undefined.", mends=True,
)  # fmt: skip
def text_quotes(job: Job) -> Iterator[Found]:
    for statement in job.settings:
        name, value = own(statement.key).lower(), statement.value.strip()
        if not name or not value or "$" in value or "#" in value or CURLY.search(value):
            continue
        if re.fullmatch(r"'[^'\"]*'", value):
            right = f'"{value[1:-1]}"'
            yield Found(
                statement.at, "single quotes name an attribute, they hold no text",
                f"Write {right}.", replaced(statement, right),
            )  # fmt: skip
            continue
        word = re.fullmatch(r"[A-Za-z_][\w.:/@-]*", value) and value.lower() not in _VALUES
        if not word or '"' in value:
            continue
        if has_attribute(job, value):
            continue
        text = name in TEXTS or bool(re.search(r"[/:@]", value))
        if not text and (value.replace("_", "").lower() in KNOWN_COMMANDS or "." in value):
            continue
        yield Found(
            statement.at, f"{value} without quotes is the name of an attribute",
            f'Write "{value}".', replaced(statement, f'"{value}"') if text else (),
            "" if text else ADVICE,
        )  # fmt: skip


_ATTRIBUTES = frozenset(
    ["clusterid", "procid", "owner", "qdate", "jobstatus", "memoryusage", "diskusage", "imagesize",
     "numjobstarts", "requestmemory", "requestcpus", "requestdisk", "jobuniverse", "iwd", "cmd",
     "residentsetsize", "jobstartdate", "exitcode", "user"]
)  # fmt: skip


_OF_MATCHES = re.compile("Last|Remote|MachineAttr|JobMachine|Previous|My[A-Z]", re.IGNORECASE)
"""How the names of attributes begin that a job has of the machines it was on."""


def has_attribute(job: Job, word: str) -> bool:
    """Whether a word names an attribute that the job has."""
    names = {own(statement.key).lower() for statement in job.settings}
    return word.lower() in names | _ATTRIBUTES


@rule(
    "expression", ERROR, "an expression that HTCondor cannot read",
    "condor_submit refuses a file with such an expression.", mends=True,
)  # fmt: skip
def expression(job: Job) -> Iterator[Found]:
    wanted = {id(s) for s in job.all(*EXPRESSIONS.split())}
    for statement in job.settings:
        if id(statement) not in wanted and not own(statement.key):
            continue
        value = job.plain(statement)
        if not value or CURLY.search(value) or re.search(r"\s#|\\|//|/\*|\n|\$", value):
            continue
        problem = next(classad_problems(value), None)
        refused = job.refused(value)
        doubled = re.fullmatch(r'""([^"]+)""', value)
        if doubled and own(statement.key):
            right = f'"{doubled[1]}"'
            yield Found(
                statement.at, f"{statement.key}: the quotes are doubled", f"Write {right}.",
                replaced(statement, right) if value == statement.value else (),
            )  # fmt: skip
            continue
        if refused is False or (refused is None and not problem):
            continue
        right = _meant(own(statement.key).lower(), value)
        if right:
            yield Found(
                statement.at, f"{statement.key}: HTCondor cannot read {value[:40]}",
                f"Write {right}.", replaced(statement, right) if value == statement.value else (),
                "" if refused else WARNING,
            )  # fmt: skip
            continue
        what = problem[2] if problem else "HTCondor cannot read this expression"
        fix = problem[3] if problem else "Look for a missing quote, bracket or operator."
        unread = statement.key.lower() == "require_gpus" and not job.sets("request_gpus")
        yield Found(
            statement.at,
            f"{statement.key}: {what}",
            fix,
            severity="" if refused and not unread else WARNING,
        )


def _meant(name: str, value: str) -> str:
    """What was surely meant by the value of an attribute of the job's own; empty if not known."""
    if name in TEXTS and re.fullmatch(r"[A-Za-z][\w.@/-]*(?:[ ,]+[\w.@/-]+)+", value):
        return f'"{value}"'
    time = re.fullmatch(r"(\d+)\s*([smhd])(?:ec\w*|in\w*|ours?|rs?|ays?)?", value.lower())
    if time and name in ("maxruntime", "requestruntime", "requestwalltime"):
        return str(int(time[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[time[2]])
    return ""


_COMPARED = re.compile(
    r"\b((?:TARGET\.)?(?:OpSys|Arch|Machine|OpSysAndVer|OSGVO_OS_\w+|GLIDEIN_\w+|Microarch|"
    r"OpSysName|UidDomain|FileSystemDomain|CUDADeviceName))\s*(==|=\?=|!=|=!=)\s*"
    r"([A-Za-z_][\w.-]*|'[^']*')(?!\w*\()",
    re.IGNORECASE,
)


@rule(
    "compared-word", WARNING, "a text without quotes in a comparison",
    "A word without double quotes is the name of an attribute: the comparison is undefined, and "
    "a job that requires it matches no machine.", mends=True,
)  # fmt: skip
def compared_word(job: Job) -> Iterator[Found]:
    for statement in job.all("requirements", "rank"):
        bare = re.sub(r'"[^"]*"', lambda m: "\0" * len(m[0]), statement.value)
        found = _COMPARED.search(bare)
        if not found or found[3].lower() in _VALUES or "." in found[3][:7]:
            continue
        if has_attribute(job, found[3]) or _OF_MATCHES.match(found[3]):
            continue
        word = found[3].strip("'")
        right = statement.value[: found.start(3)] + f'"{word}"' + statement.value[found.end(3) :]
        yield Found(
            statement.at, f"{found[3]} is taken for the name of an attribute",
            f'Write {found[1]} {found[2]} "{word}".', replaced(statement, right),
        )  # fmt: skip
    for statement in job.all("requirements"):
        bare = re.sub(r'"[^"]*"', "", statement.value)
        found = re.search(r"\bx86[_-]64-v[1-4]\b", bare)
        if found:
            yield Found(
                statement.at, f"{found[0]} without quotes is taken for a subtraction",
                f'Write Microarch >= "{found[0].replace("86-", "86_", 1)}".',
            )  # fmt: skip


_POOL_WORDS = {
    "jobflavour": ("espresso", "microcentury", "longlunch", "workday", "tomorrow", "testmatch",
                   "nextweek"),
    "jobdurationcategory": ("Medium", "Long"),
    "gpujoblength": ("short", "medium", "long"),
}  # fmt: skip
"""What CERN's, the OSPool's and CHTC's pages name for these attributes."""


@rule(
    "pool-word", ADVICE, "a kind of job that the pool does not name",
    "The attribute is of one pool, whose pages name a few words. Where none of them holds, the "
    "pool takes its default: at CERN 20 minutes, on the OSPool Medium.",
)  # fmt: skip
def pool_word(job: Job) -> Iterator[Found]:
    for statement in job.settings:
        words = _POOL_WORDS.get(own(statement.key).lower(), ())
        found = re.fullmatch(r'"(\w+)"', statement.value)
        if found and words and found[1].lower() not in [word.lower() for word in words]:
            yield Found(
                statement.at, f"{own(statement.key)} has no {found[1]}",
                f"Write one of {', '.join(words)}.",
            )  # fmt: skip
