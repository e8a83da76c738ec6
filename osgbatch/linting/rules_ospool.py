"""Rules about what the OSPool had once, or has under another name now."""

from __future__ import annotations

import re
from collections.abc import Iterator

from osgbatch.linting.job import Job, canonical
from osgbatch.linting.lines import Statement
from osgbatch.linting.rules import ADVICE, WARNING, Found, replaced, rule
from osgbatch.linting.rules_classads import own

_OLD_PLACES = (
    (r"stash:/{1,3}", "stash:// is the old name of the OSDF", "osdf:///ospool/apXX/data/USER/..."),
    (r"(?:https?|osdf|stash)?:?/*osgconnect/(?:public|protected)/\S*|/osgconnect/public\b",
     "osgconnect is gone", "osdf:///ospool/apXX/data/USER/..."),
    (r"(?<![\w/.~)}])/public/", "/public is gone from the OSPool's access points",
     "osdf:///ospool/apXX/data/USER/..."),
    (r"(?<![\w/.~)}])/(?:protected|stash)/", "this folder is gone from the OSPool's access points",
     "osdf:///ospool/apXX/data/USER/..."),
    (r"/ospool/ap2[01](?:/|\b)", "ap20 and ap21 are gone", "osdf:///ospool/ap41/data/USER/..."),
    (r"/ospool/(?:PUBLIC|PROTECTED|protected)\b", "this folder is gone from the OSPool",
     "osdf:///ospool/apXX/data/USER/..."),
    (r"stash\.osgconnect\.net|login\.osgconnect\.net|stash2?\.osgstorage\.org",
     "this server is gone", "osdf:///ospool/apXX/data/USER/..."),
    (r"/cvmfs/stash\.osgstorage\.org", "this file system is gone",
     "osdf:///ospool/apXX/data/USER/..."),
)  # fmt: skip


_LOCAL = frozenset(["initialdir", "log", "output", "error", "executable", "input"])
"""What names a place on this side."""


def _values(job: Job) -> Iterator[Statement]:
    for statement in job.settings:
        if job.known(statement) or statement.key.lower() in job.macros:
            yield statement


@rule(
    "old-place", WARNING, "a folder, server or URL of the OSPool that is gone",
    "OSG Connect and its stash are gone. Large files are in /ospool/apXX/data now, and jobs read "
    "them by osdf:// URLs.",
)  # fmt: skip
def old_place(job: Job) -> Iterator[Found]:
    for statement in _values(job):
        for pattern, what, write in _OLD_PLACES:
            if re.search(pattern, statement.value):
                fix = f"Write {write}, your own folder there."
                if canonical(statement.key) in _LOCAL:  # a URL is of no use there
                    fix = "Write a path in your home folder."
                yield Found(statement.at, what, fix)
                break


@rule(
    "stashcache", ADVICE, "a wish for StashCache",
    "All of the OSPool reads the OSDF; such wishes only keep jobs from slots.",
)  # fmt: skip
def stashcache(job: Job) -> Iterator[Found]:
    for statement in job.settings:
        if own(statement.key).lower() in ("wantsstashcache", "wantscvmfsstash", "wantstashcache"):
            yield Found(statement.where, f"{statement.key} is of no use any more",
                        "Leave the line out.")  # fmt: skip


_OLD_ATTRIBUTES = (
    (r"HAS_MODULES", WARNING, "the OSPool has no software modules any more: no slot matches",
     "Bring the software in a container (container_image) or a conda environment."),
    (r"HAS_CVMFS_oasis_opensciencegrid_org", ADVICE, "oasis holds the modules that are gone",
     "Leave it out, unless the job reads other things from there."),
    (r"HAS_CVMFS_(?:connect|stash)\w*", WARNING, "this file system is gone: no slot matches",
     "Leave it out."),
    (r"HAS_AVX2?|HAS_AVX512\w*", ADVICE, "deprecated on the OSPool",
     'Write Microarch >= "x86_64-v3".'),
    (r"OSGVO_OS_(?:STRING|VERSION)\s*(?:==|=\?=)\s*\"(?:RHEL )?[67]\"", WARNING,
     "no slot of the OSPool runs RHEL 6 or 7 any more",
     'Write OSGVO_OS_STRING == "RHEL 9", or use a container.'),
)  # fmt: skip


@rule(
    "old-attribute", WARNING, "requirements on attributes that slots have no more",
    "A comparison with an attribute that no slot has is undefined, and the job stays idle. (What "
    "is said here is of the OSPool; your pool may have it still.)",
)  # fmt: skip
def old_attribute(job: Job) -> Iterator[Found]:
    for statement in job.all("requirements", "rank"):
        for pattern, severity, what, fix in _OLD_ATTRIBUTES:
            found = re.search(rf"\b(?:{pattern})", statement.value, re.IGNORECASE)
            if found:
                yield Found(statement.at, f"{found[0]}: {what}", fix, severity=severity)


@rule(
    "ospool-offers", ADVICE, "a universe, system or file system that no slot of the OSPool offers",
    "The pilots of the OSPool run plain jobs and Apptainer images on Linux: no Docker, no machines "
    "of a user's, no jobs over several machines, no folders of the access point. There such a job "
    "stays idle.",
)  # fmt: skip
def ospool_offers(job: Job) -> Iterator[Found]:
    fixes = {
        "docker": "Write universe = container, and container_image = docker://"
        f"{(job.value('docker_image') or 'NAME').strip(chr(34)).removeprefix('docker://')}.",
        "parallel": "Ask for the cores of one machine: vanilla, with request_cpus = 8, say.",
        "vm": "Put what the machine does into a container image.",
    }
    for statement, value in job.words("universe"):
        if value.lower() in fixes:
            yield Found(statement.at, f"on the OSPool no slot runs the {value.lower()} universe",
                        fixes[value.lower()])  # fmt: skip
    if (job.value("universe") or "").lower() in ("local", "scheduler", "grid", *fixes):
        return
    for statement, value in job.words("should_transfer_files"):
        if value.upper() in ("NO", "NEVER", "FALSE"):
            yield Found(
                statement.at, "on the OSPool no slot shares a file system with the access point",
                "Write should_transfer_files = YES, and name in transfer_input_files what the job "
                "reads.",
            )  # fmt: skip
    for statement in job.all("requirements"):
        found = re.search(r"\bOpSys\s*(?:==|=\?=)\s*\"WINDOWS\"", statement.value, re.IGNORECASE)
        if found and "||" not in statement.value:
            yield Found(statement.at, "on the OSPool no slot runs Windows",
                        "Build the program for Linux, and leave this out.")  # fmt: skip


@rule(
    "has-singularity", ADVICE, "HAS_SINGULARITY with a container image",
    "With container_image HTCondor asks for it by itself.",
)  # fmt: skip
def has_singularity(job: Job) -> Iterator[Found]:
    if not job.sets("container_image"):
        return
    for statement in job.all("requirements"):
        if re.search(r"\bHAS_SINGULARITY\b", statement.value, re.IGNORECASE):
            yield Found(statement.at, "HAS_SINGULARITY is not needed with container_image",
                        "Leave it out.")  # fmt: skip


@rule(
    "old-image", ADVICE, "+SingularityImage",
    "container_image is HTCondor's own command for it, and works on other pools, too.",
)  # fmt: skip
def old_image(job: Job) -> Iterator[Found]:
    for statement in job.settings:
        if own(statement.key).lower() in ("singularityimage", "apptainerimage"):
            both = job.sets("container_image")
            if both and (statement.depth or any(s.depth for s in job.all("container_image"))):
                continue  # one of them for each version of HTCondor
            yield Found(
                statement.where,
                f"{statement.key} beside container_image: only one of them can hold" if both
                else f"{statement.key} is the old way to ask for a container",
                "Leave the line out." if both else _new_image(job, statement.value.strip('"')),
                severity=WARNING if both else ADVICE,
            )  # fmt: skip


def _new_image(job: Job, image: str) -> str:
    """What to write instead of +SingularityImage; seen on condor_submit 25.14.1."""
    scheme = re.match(r"(?:shub|library)://", image)
    if scheme:  # condor_submit refuses these
        return (f"container_image takes no {scheme[0]}: make a .sif file of the image, and write "
                "container_image = NAME.sif.")  # fmt: skip
    write = f"Write container_image = {image}, no quotes"
    if image in _transferred(job):  # which +SingularityImage needs, and container_image does itself
        return f"{write}, and leave it out of transfer_input_files."
    if image.startswith("/") and not image.startswith("/cvmfs/"):  # HTCondor would send it along
        return f"{write}; with transfer_container = false, if the execution points see that path."
    return f"{write}."


def _transferred(job: Job) -> list[str]:
    """The entries of transfer_input_files, as far as they are known."""
    values = [job.filled(s.value) for s in job.all("transfer_input_files")]
    return [part.strip() for value in values for part in value.strip('"').split(",")]


@rule(
    "image-quotes", WARNING, "container_image in quotes",
    "The quotes become a part of the image's name, which then is not found.", mends=True,
)  # fmt: skip
def image_quotes(job: Job) -> Iterator[Found]:
    for statement in job.all("container_image"):  # of docker_image HTCondor takes them off
        value = statement.value
        if re.fullmatch(r"\"[^\"]*\"|'[^']*'", value):
            yield Found(
                statement.at, f"the quotes are taken for a part of {statement.key}",
                f"Write {value[1:-1]}.", replaced(statement, value[1:-1]),
            )  # fmt: skip


_TAGGED = re.compile(r"[\w.-]+(?:/[\w.-]+)*:[\w][\w.-]*")


@rule(
    "image-docker", WARNING, "container_image with the name of a Docker image, without docker://",
    "Without docker:// it is the name of a file of yours, an image that HTCondor sends along: the "
    "job is held when there is none.", mends=True,
)  # fmt: skip
def image_docker(job: Job) -> Iterator[Found]:
    if (job.value("universe") or "").lower() == "docker":
        return  # `universe-needs` tells of it
    for statement, value in job.words("container_image"):
        file = re.search(r"\.(?:sif|simg|img|tar|tgz|gz)\b", value, re.IGNORECASE)
        here = job.look.kind(value) in ("file", "folder")
        if _TAGGED.fullmatch(value) and not value.startswith((".", "/")) and not file and not here:
            yield Found(
                statement.at, f"{value} is taken for a file", f"Write docker://{value}.",
                replaced(statement, f"docker://{value}") if value == statement.value else (),
            )  # fmt: skip


@rule(
    "image-twice", ADVICE, "the container image among the input files",
    "HTCondor brings the image by itself; so it is transferred twice.",
)  # fmt: skip
def image_twice(job: Job) -> Iterator[Found]:
    name, image = "container_image", job.value("container_image") or ""
    if not image:  # a file of yours that +SingularityImage names is not brought by itself
        name, image = "+SingularityImage", (job.value("+SingularityImage") or "").strip('"')
        image = image if "://" in image else ""
    if image and image in _transferred(job):
        for statement in job.all("transfer_input_files")[-1:]:
            yield Found(statement.at, f"{image} is transferred twice",
                        f"Leave it out here: {name} is enough.")  # fmt: skip


@rule(
    "osdf-path", ADVICE, "a large input that is read through the access point",
    "Files in /ospool/apXX/data reach jobs by the caches of the OSDF when they are named by URL; "
    "named by path they all go through the access point.",
)  # fmt: skip
def osdf_path(job: Job) -> Iterator[Found]:
    for statement in job.all("transfer_input_files", "container_image"):
        found = re.search(r"(?:^|[,\s])(/ospool/(?:ap\d\d|u[cw]-shared)/[^,\s]*)", statement.value)
        if found:
            yield Found(statement.at, f"{found[1]} is named by its path",
                        f"Write osdf://{found[1]}.")  # fmt: skip


@rule(
    "osdf-stream", WARNING, "the log, output or error in a folder of the OSDF",
    "The OSPool asks to keep them in /home: caches keep what such files once held, and jobs that "
    "write there are held.",
)  # fmt: skip
def osdf_stream(job: Job) -> Iterator[Found]:
    for statement in job.all("log", "output", "error", "initialdir"):
        value = job.filled(statement.value)
        if re.match(r"/ospool/(?:ap\d\d/data|u[cw]-shared)/", value):
            yield Found(statement.at, f"{statement.key} lies in the OSDF's folder",
                        "Write a path in your home folder.")  # fmt: skip


@rule(
    "osdf-output", WARNING, "an output for the OSDF whose name is used again",
    "The OSDF overwrites nothing: when the name exists already, from an earlier submission or "
    "another job, the job is held.",
)  # fmt: skip
def osdf_output(job: Job) -> Iterator[Found]:
    jobs = job.jobs()
    for statement in job.all("transfer_output_remaps"):
        for name in re.findall(r"=\s*((?:osdf|pelican)://[^;\"]+)", job.filled(statement.value)):
            each = re.search(r"\$\((?!cluster)|\$\$|\$\w+\(", name, re.IGNORECASE)
            if "$(" in name and (each or jobs == 1):
                continue
            yield Found(
                statement.at, f"{name.strip()} can be written once only",
                "Put $(Cluster)_$(Process) into the name.",
            )  # fmt: skip
            break


@rule(
    "sites-both", WARNING, "+DESIRED_Sites and +UNDESIRED_Sites",
    "The OSPool asks to use one of them at most: together they leave few sites, or none.",
)  # fmt: skip
def sites_both(job: Job) -> Iterator[Found]:
    if job.sets("+DESIRED_Sites") and job.sets("+UNDESIRED_Sites"):
        for statement in job.all("+UNDESIRED_Sites")[:1]:
            yield Found(statement.where, "both +DESIRED_Sites and +UNDESIRED_Sites",
                        "Leave one of them out.")  # fmt: skip
