"""HTCondor as a backend: submit a round, ask for its jobs, cancel them."""

from __future__ import annotations

import re
import socket
import time

from osgbatch import names
from osgbatch.condor.act import cancel
from osgbatch.condor.commands import run
from osgbatch.condor.home import check_home
from osgbatch.condor.schedd import call_schedd, constraint_of, name_here
from osgbatch.errors import CondorError, RefusedError
from osgbatch.model import Round, Submitted

_TERSE = re.compile(r"^(\d+)\.(\d+) - (\d+)\.(\d+)$", re.M)

_ABOUT_THE_FILE = re.compile(
    r"parse error|^ERROR: (?!.*(?:connect|authenti|address|schedd))", re.I | re.M
)
_FIX_THE_FILE = (
    "It does not understand the submit file: what of it comes from the spec stands under "
    "`submit:` and `requirements:`. See all of it with `osgbatch render`."
)


def submit(round_: Round, lock: int) -> Submitted:
    """Give `job.submit` to condor_submit, which inherits the batch's lock.

    The lock outlives a killed osgbatch for as long as condor_submit works, so that whoever comes
    next cannot submit the round a second time. Raises CondorError when condor_submit refuses.
    """
    path = round_.folder / names.SUBMIT_FILE
    # No limit: condor_submit has its own, and to stop it half-way would leave us not knowing.
    try:
        said, complained = run(
            ["condor_submit", "-terse", str(path.relative_to(round_.initialdir))],
            cwd=round_.initialdir,
            limit=None,
            keep=[lock],
        )
    except CondorError as error:
        if _ABOUT_THE_FILE.search(error.what):
            error.fix = _FIX_THE_FILE
        raise
    match = _TERSE.search(said)
    if match is None:
        raise CondorError(f"condor_submit gave no cluster: {said.strip()}")
    cluster = int(match[1])
    if re.search(r"^ERROR", complained, re.M):
        # Seen on 25.14.1: a macro that cannot be expanded is an ERROR on stderr, exit code 0, and
        # jobs with wrong paths in the queue.
        cancel(round_, cluster)
        raise RefusedError(f"condor_submit complained, its jobs were removed: {complained.strip()}")
    host, schedd = socket.gethostname(), name_here()
    return Submitted("condor", cluster, round_.jobs, time.time(), host, schedd)


def find_cluster(round_: Round) -> int | None:
    """The cluster of a round in the queue, by the id that its jobs carry; None when not there.

    Factories that have no procs yet are found by their cluster ad. Raises CondorError when the
    schedd does not answer, or another one was given the round.
    """
    found = call_schedd(
        lambda htcondor: htcondor.Schedd().query(
            constraint=constraint_of(round_),
            projection=["ClusterId"],
            opts=htcondor.QueryOpt.IncludeClusterAd,
        )
    )
    clusters = sorted({int(ad["ClusterId"]) for ad in found})
    if not clusters:
        check_home(round_)
    return clusters[0] if clusters else None
