"""Pages of the HTCondor manual, and where on them something stands; how tables are read."""

from __future__ import annotations

MANUAL = "https://htcondor.readthedocs.io/en/latest/"
"""Source: docs/ of github.com/htcondor/htcondor; `subcom-def` makes an anchor of each command."""
JDL = "man-pages/htcondor-jdl.html"
"""Where all submit commands stand; until 25 they stood in the page of condor_submit."""
SUBMIT = "man-pages/condor_submit.html"
SUBMITTING = "users-manual/submitting-a-job.html"
MANAGING = "users-manual/managing-a-job.html"
FILES = "users-manual/file-transfer.html"
CHECKPOINTS = "users-manual/self-checkpointing-applications.html"
ATTRIBUTES = "classad-attributes/job-classad-attributes.html"
HOLDS = "codes-other-values/hold-reason-codes.html"
STATUSES = "codes-other-values/job-status-codes.html"
EVENTS = "codes-other-values/job-event-log-codes.html"
DAGS = "automated-workflows/index.html"
GLOSSARY = "codes-other-values/glossary.html"
OSPOOL = "https://portal.osg-htc.org/documentation/"

NAMES = {
    JDL: "the submit commands (htcondor-jdl)",
    SUBMIT: "condor_submit",
    SUBMITTING: "Submitting a Job",
    MANAGING: "Managing a Job",
    FILES: "Submitting Jobs Without a Shared File System",
    CHECKPOINTS: "Self-Checkpointing Applications",
    ATTRIBUTES: "Job ClassAd Attributes",
    HOLDS: "Hold Reason Codes",
    STATUSES: "Job Status Codes",
    EVENTS: "Job Event Log Codes",
    DAGS: "Automated Workflows",
    GLOSSARY: "Glossary",
}
"""What the pages are called."""


def url(page: str, anchor: str = "") -> str:
    """The address of a page; empty for none. anchor: a place on it."""
    if not page:
        return ""
    start = page if "://" in page else MANUAL + page
    return f"{start}#{anchor}" if anchor else start


def cited(page: str, anchor: str = "") -> str:
    """A page in words: `the HTCondor manual, Hold Reason Codes`."""
    if not page:
        return ""
    if "://" in page:
        return "the OSPool's documentation"
    name = NAMES.get(page, page)
    return f"HTCondor manual, {name}" + (f": {anchor}" if anchor else "")


def whole_lines(table: str) -> list[str]:
    """The lines of a table; one that begins with blanks continues the one above it."""
    return table.strip().replace("\n  ", " ").splitlines()
