"""The developers' pool does what other pool tests rely on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import ended_truly, run_sweep, write_sweep

pytestmark = pytest.mark.pool

SUBMIT = """\
executable = job.sh
arguments = $(ProcId)
log = events.log
output = $(ProcId).out
transfer_input_files = greeting
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
request_cpus = 1
request_memory = 64 MB
request_disk = 64 MB
queue 3
"""


def test_three_jobs_run_and_each_tells_its_own_exit_code(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "greeting").write_text("hello\n")
    (tmp_path / "job.sh").write_text('#!/bin/sh\ncat greeting\necho "$1"\nexit "$1"\n')
    (tmp_path / "job.sh").chmod(0o755)
    cluster = pool.submit(SUBMIT, tmp_path)
    ended = [pool.terminate_event(tmp_path / "events.log", cluster, proc) for proc in range(3)]
    assert [event.exit_code for event in ended] == [0, 1, 2]
    ads = [pool.history_ad(cluster, proc) for proc in range(3)]
    assert [ad["ExitCode"] for ad in ads] == [0, 1, 2]
    assert [ad["NumJobStarts"] for ad in ads] == [1, 1, 1]
    assert [(tmp_path / f"{n}.out").read_text() for n in range(3)] == [
        f"hello\n{n}\n" for n in range(3)
    ]


def test_the_slot_is_larger_than_the_machine(pool: Pool) -> None:
    answer = pool.run("condor_status", "-af", "TotalSlotCpus", "TotalSlotMemory").split()
    assert answer[:2] == ["64", "65536"]


def test_a_job_over_its_memory_is_held(pool: Pool, tmp_path: Path) -> None:
    """The policy HOLD_IF_MEMORY_EXCEEDED, hold code 34 (or 26): what memory ladders build on."""
    (tmp_path / "eat.sh").write_text(
        "#!/bin/sh\n"
        # 300 MB of zeros in the memory of tail, which waits for a newline
        "(dd if=/dev/zero bs=1M count=300 2>/dev/null; sleep 60) | tail -n 1 >/dev/null\n"
    )
    (tmp_path / "eat.sh").chmod(0o755)
    cluster = pool.submit(
        "executable = eat.sh\nlog = events.log\nshould_transfer_files = YES\n"
        "request_cpus = 1\nrequest_memory = 50 MB\nrequest_disk = 50 MB\n"
        # not in a larger slot that an earlier job had claimed: what it has is what counts
        "requirements = PartitionableSlot || Memory < 300\nqueue\n",
        tmp_path,
    )
    held = pool.event(12, tmp_path / "events.log", cluster, 0)
    assert "emory" in held.body
    pool.run("condor_rm", str(cluster))


HIDDEN = (Path.home() / ".cache", Path(__file__).parent)
"""Of the access point, besides the sweep's own folder: not to be seen in a job on the OSPool."""
LOOK = """\
command: [sh, look.sh]
files: [look.sh]
outputs: [outputs/seen]
resources: {memory: 100 MB, disk: 50 MB}
"""
LOOK_SH = """\
{ echo "$PWD $HOME $TZ $PATH $OSGBATCH_SCRATCH ${PYTHONPATH-none}"
command -v python3
ls -d "$1" "$2" "$3"; cat /etc/os-release; } >outputs/seen 2>&1
"""


def test_a_job_sees_what_this_kind_of_execution_point_shows_it(pool: Pool, tmp_path: Path) -> None:
    look = LOOK_SH
    for number, path in enumerate((tmp_path, *HIDDEN), 1):
        look = look.replace(f"${number}", str(path))
    ran = run_sweep("condor", write_sweep(tmp_path / "look", LOOK, {"look.sh": look}))
    assert ran.status["counts"] == {"succeeded": 1}
    ended_truly(ran, pool, 0)
    first, *rest = ran.result(0, "outputs/seen").decode().splitlines()
    record = json.loads(ran.result(0, "status.json"))["job"]
    if not pool.ospool:
        assert first.startswith(str(pool.folder / "execute"))
        assert str(tmp_path) in rest
        assert set(Path("/etc/os-release").read_text().splitlines()) <= set(rest)
        return
    assert first == (
        "/srv/tasks/0 /srv UTC /usr/local/bin:/usr/bin:/bin:/srv/.osgbatch/bin /srv none"
    )
    for path in (tmp_path, *HIDDEN):
        assert f"ls: cannot access '{path}': No such file or directory" in rest
    assert 'PRETTY_NAME="Debian GNU/Linux 11 (bullseye)"' in rest
    assert not any(line.endswith("/python3") for line in rest)
    assert record["site"] == "OSPool-like"
