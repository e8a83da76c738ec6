"""What `osgbatch watch` shows on a terminal: every line fits, and says what matters most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from test_reports import status

from osgbatch.batches.measures import Measures
from osgbatch.cli.live import Lines, block_lines, cause_lines, progress_line
from osgbatch.life.following import Status
from osgbatch.model import TaskState

__all__ = ["status"]


@pytest.mark.parametrize(
    ("width", "start", "end"),
    [
        (120, "[" + "#" * 12 + "." * 18 + "] 400 of 1,000 ended, 12 tasks/min, ", "50 min left"),
        (80, "[", "] 400 of 1,000 ended, 12 tasks/min, about 50 min left"),
        (60, "[########............] 400 of 1,000 ended, ", "about 50 min left"),
    ],
)
def test_the_bar_gives_way_to_what_has_ended_and_what_is_left(
    status: Callable[..., Status], width: int, start: str, end: str
) -> None:
    states = [TaskState(n, "succeeded") for n in range(400)]
    states.append(TaskState(400, "running", round=1))
    now = replace(status(1000, *states), measures=Measures(rate=0.2, left_s=3000))
    line = progress_line(now, width)
    assert line.startswith(start)
    assert line.endswith(end)
    assert len(line) <= width


def test_of_jobs_that_run_several_tasks_it_is_said_when_these_are_counted(
    status: Callable[..., Status], capsys: pytest.CaptureFixture[str]
) -> None:
    alone = status(9, *(TaskState(n, "running", round=1) for n in range(3)))
    alone = replace(alone, measures=Measures(running_jobs=3))
    assert "counted" not in "".join(block_lines(alone, (), 80))
    several = replace(alone, measures=Measures(running_jobs=2))
    lines = list(block_lines(several, (), 80))
    assert lines[2:4] == [
        "  3 running in 2 jobs, 6 waiting",
        "  (a job runs its tasks in turn; they are counted when it ends)",
    ]
    plain = Lines()
    for now in (alone, several, several):
        plain.show(now, changed=True)
    told = capsys.readouterr().out
    assert told.count("counted when it ends") == 1 and told.count("in 2 jobs") == 2


def test_causes_are_cut_at_their_end_and_no_line_is_spent_on_one_that_would_fit(
    status: Callable[..., Status],
) -> None:
    told = [TaskState(n, "failed", "exit", "x " * 60, exit_code=n + 1) for n in range(6)]
    five = list(cause_lines(status(9, *told[:5]), 80))
    assert len(five) == 6
    assert five[0].startswith("  1 failed: exit code 1: x x")
    assert five[0].endswith("x ...")
    assert max(map(len, five[:-1])) <= 80  # the last one is a command
    six = list(cause_lines(status(9, *told), 80))
    assert six[4:5] == ["  and 2 more causes"]
    assert six[0] in list(block_lines(status(9, *told), (), 80))
