"""Rules about what a job's requirements ask of machines, on any pool."""

from __future__ import annotations

import re
from collections.abc import Iterator

from osgbatch.linting.job import Job
from osgbatch.linting.rules import ADVICE, WARNING, Found, renamed, rule
from osgbatch.linting.rules_classads import own
from osgbatch.linting.rules_values import STRING

_SAME = r"(?:==|=\?=)"


@rule(
    "opsys", WARNING, "a system or kind of processor that no machine calls itself",
    "OpSys is LINUX, WINDOWS or macOS, and Arch is X86_64, aarch64 or ppc64le. A comparison with "
    "another word is false everywhere, and the job matches no machine.",
)  # fmt: skip
def opsys(job: Job) -> Iterator[Found]:
    for statement in job.all("requirements"):
        value = re.sub(r"!\s*\([^()]*\)", lambda found: " " * len(found[0]), statement.value)
        for name, known, fix in (
            ("OpSys", r"LINUX|WINDOWS|OSX|macOS|FREEBSD\w*|SOLARIS\w*",
             'Write OpSys == "LINUX"; the kind of Linux is in OpSysAndVer and OpSysMajorVer.'),
            ("Arch", r"X86_64|aarch64|arm64|ppc64(?:le)?|INTEL|PPC\w*|IA64|SUN4\w+|riscv64|s390x",
             'Write Arch == "X86_64".'),
        ):  # fmt: skip
            other = rf'(?<![\w])(?:TARGET\.)?{name}\s*{_SAME}\s*"(?!(?:{known})")([^"$]+)"'
            found = re.search(other, value, re.IGNORECASE)
            right = re.search(rf'\b{name}\s*{_SAME}\s*"(?:{known})"', value, re.IGNORECASE)
            if found and not (right and "||" in value):  # one of several, for old machines
                windows = found[1].upper().startswith("WIN")
                yield Found(statement.at, f'no machine has {name} "{found[1]}"',
                            'Write OpSys == "WINDOWS".' if windows else fix)  # fmt: skip
        found = re.search(rf'\bArch\s*{_SAME}\s*"INTEL"', value, re.IGNORECASE)
        if found and not re.search(r"\|\||!=", value):
            yield Found(
                statement.at, "INTEL is a processor of 32 bits, which no pool has any more",
                'Write Arch == "X86_64".',
            )  # fmt: skip


@rule(
    "opsys-old", ADVICE, "requirements on an old Linux",
    "Support of Enterprise Linux 6 ended in 2020 and of 7 in June 2024: few machines run them any "
    "more, and the job may stay idle.",
)  # fmt: skip
def opsys_old(job: Job) -> Iterator[Found]:
    linux = "SL|SLC|SLCern|SLFermi|CentOS|RedHat|RHEL|ScientificLinux"
    version = rf'OpSysAndVer\s*{_SAME}\s*"(?:{linux})\s*[4-7]"'
    major = rf'OpSysMajorVer\s*(?:{_SAME})\s*"?[4-7]\b"?'
    for statement in job.all("requirements"):
        found = re.search(rf"{version}|{major}", statement.value, re.IGNORECASE)
        if found and "||" not in statement.value:
            yield Found(
                statement.at, f"{found[0]}: few machines run that any more",
                "Leave it out, or write OpSysMajorVer >= 8. What needs the old system runs in a "
                "container of it (container_image).",
            )  # fmt: skip


@rule(
    "requirements-amounts", ADVICE, "memory, disk or cores in the requirements",
    "A slot is made as large as the job asks by request_memory, request_disk and request_cpus; "
    "requirements only look at what a machine has left. condor_submit calls this obsolete.",
)  # fmt: skip
def requirements_amounts(job: Job) -> Iterator[Found]:
    for statement in job.all("requirements"):
        bare = STRING.sub('""', statement.value)
        found = re.search(
            r"(?<![\w.])(?:TARGET\.)?(Memory|Disk|Cpus)\s*(>=?)\s*\(?\s*(\d[\d.]*)", bare,
            re.IGNORECASE,
        )  # fmt: skip
        if found and float(found[3].rstrip(".")) > 1:
            command = f"request_{found[1].lower()}"
            unit = {"memory": "MB", "disk": "KB"}.get(found[1].lower(), "")
            set_ = job.sets(command)
            yield Found(
                statement.at, f"{found[0]} asks for no {found[1].lower()}",
                f"Leave it out: {command} says it." if set_
                else f"Write {command} = {found[3]}{unit} instead.",
            )  # fmt: skip


_GPU = (
    ("GlobalMemoryMb", "gpus_minimum_memory = {} MB", ">"),
    ("Capability", "gpus_minimum_capability = {}", (">", "=")),
    ("DriverVersion|RuntimeVersion|MaxSupportedVersion", "gpus_minimum_runtime = {}", ">"),
    ("DeviceName", 'require_gpus = DeviceName == "{}"', "="),
)


@rule(
    "requirements-gpu", ADVICE, "the kind of GPU in the requirements",
    "On a machine with GPUs of several kinds such attributes are of one of them, or are not there. "
    "HTCondor's own commands (since 23.5) look at each GPU, and give the job one that fits.",
)  # fmt: skip
def requirements_gpu(job: Job) -> Iterator[Found]:
    zero = job.value("request_gpus") == "0"
    for statement in job.all("requirements"):
        names = "|".join(name for name, _, _ in _GPU)
        found = re.search(rf"\b(?:CUDA|GPUs_)\d*({names})\b", statement.value, re.IGNORECASE)
        if not found:
            continue
        advice = []
        turned = re.sub(
            r"([\d.]+)\s*(<=?)\s*((?:TARGET\.)?(?:CUDA|GPUs_)\w+)",
            lambda m: f"{m[3]} {m[2].replace('<', '>')} {m[1]}", statement.value,
            flags=re.IGNORECASE,
        )  # fmt: skip
        for name, command, sign in _GPU:
            attribute = rf"\b(?:CUDA|GPUs_)\d*(?:{name})\b"
            one = re.search(
                rf'{attribute}\s*([><=!?]+)\s*(?:"([^"]*)"|([\d.]+|\$\(\w+\)))',
                turned, re.IGNORECASE,
            )  # fmt: skip
            if not re.search(attribute, statement.value, re.IGNORECASE):
                continue
            plain = one is not None and one[1].startswith(sign) and "||" not in statement.value
            value = (one[2] or one[3]) if one is not None and plain else "..."
            text = command.format(value).replace("... MB", "...")
            if name == "Capability" and one is not None and plain and "=" in one[1][:1]:
                text += f", gpus_maximum_capability = {value}"
            if value == "..." and name == "DeviceName":
                text = "a condition on DeviceName as require_gpus"
            advice.append(text)
        yield Found(
            statement.at,
            f"{found[0]} in the requirements" + " of a job that asks for no GPU" * zero,
            ("Leave it out, or write " if zero else "Write ")
            + ", and ".join(advice).removesuffix(".")
            + ("" if job.sets("request_gpus") and not zero else ", with request_gpus = 1") + ".",
        )  # fmt: skip


@rule(
    "requirements-plus", WARNING, "+Requirements",
    "It takes the place of all that condor_submit adds to requirements: slots are not asked for "
    "the memory, disk, cores and GPUs of the job any more.", mends=True,
)  # fmt: skip
def requirements_plus(job: Job) -> Iterator[Found]:
    for statement in job.settings:
        if own(statement.key).lower() == "requirements":
            free = not job.sets("requirements")
            yield Found(
                statement.where, f"{statement.key} replaces the whole requirements",
                "Write requirements." if free else "Join it to requirements by &&.",
                renamed(statement, "requirements") if free else (),
            )  # fmt: skip
