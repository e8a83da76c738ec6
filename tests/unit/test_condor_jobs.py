"""What the queue and the history are asked about a job."""

from __future__ import annotations

from typing import Any

import pytest

from osgbatch.condor import jobs
from osgbatch.model import JobState


class Noted(dict[str, Any]):
    """Some attributes of a job, and which of all were wanted."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(attributes)
        self.wanted: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.wanted.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.wanted.add(name)
        return super().get(name, default)


@pytest.mark.parametrize("status", range(1, 8))
def test_what_is_read_of_a_job_is_asked_for(status: int) -> None:
    queued, ended = Noted(ProcId=1, JobStatus=status), Noted(JobStatus=status)
    jobs._of_queue(queued)
    jobs._of_ended(1, ended)
    assert queued.wanted <= set(jobs._QUEUE)
    assert ended.wanted <= set(jobs._HISTORY)


def test_a_job_that_is_leaving_was_removed_when_and_why_the_queue_says() -> None:
    ad = Noted(ProcId=1, JobStatus=3, EnteredCurrentStatus=70, RemoveReason="via condor_rm")
    told = JobState(1, "removed", reason="via condor_rm", ended=70.0, changed=70.0)
    assert jobs._of_queue(ad) == told
