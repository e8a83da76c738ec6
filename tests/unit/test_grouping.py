"""Tasks to jobs: `tasks_per_job: auto`, `--fit-pool`, and the arithmetic that plan prints."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osgbatch.condor.slots import count_fitting, over_the_slot
from osgbatch.planning.chunks import Chunks
from osgbatch.planning.grouping import AIM_S, Grouping, group
from osgbatch.spec_model import Profile
from osgbatch.texts import about, duration, size

MB = 1024**2
GENERIC = Profile()


def grouped(
    tasks: int,
    per_job: int = 0,
    *,
    task_s: int = 0,
    shared: int = 0,
    each: int = 0,
    profile: Profile = GENERIC,
    slots: int | None = None,
) -> Grouping:
    return group(
        tasks,
        per_job,
        task_s=task_s,
        shared_bytes=shared,
        task_bytes=each,
        profile=profile,
        slots=slots,
    )


@given(tasks=st.integers(1, 400), share=st.integers(1, 400))
@example(tasks=5000, share=26)
@example(tasks=54, share=26)
def test_chunks_cover_every_task_once_none_empty_sizes_within_one(tasks: int, share: int) -> None:
    jobs = min(tasks, share)
    chunks = [list(chunk) for chunk in Chunks(tasks, jobs)]
    assert [task for chunk in chunks for task in chunk] == list(range(tasks))
    sizes = [len(chunk) for chunk in chunks]
    assert len(sizes) == jobs
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


@given(
    tasks=st.integers(1, 3_000_000),
    per_job=st.integers(0, 5000),
    task_s=st.integers(0, 200_000),
    shared=st.integers(0, 2000 * MB),
    each=st.integers(0, 2000 * MB),
    slots=st.none() | st.integers(0, 200_000),
    limit=st.sampled_from([0, 1, 500 * MB]),
    many=st.sampled_from([0, 1, 10_000]),
)
def test_whatever_the_numbers_are_there_is_a_job_for_every_task_and_a_task_for_every_job(
    tasks: int,
    per_job: int,
    task_s: int,
    shared: int,
    each: int,
    slots: int | None,
    limit: int,
    many: int,
) -> None:
    profile = Profile(input_bytes=limit, many_jobs=many)
    made = grouped(
        tasks, per_job, task_s=task_s, shared=shared, each=each, profile=profile, slots=slots
    )
    assert 1 <= made.jobs <= tasks
    assert all(line.strip() for line in made.lines)
    largest = -(-tasks // made.jobs)
    if per_job and not slots:
        assert made.jobs == -(-tasks // per_job)
        return
    if task_s:
        assert largest == 1 or largest * task_s <= AIM_S
    if each and limit and shared < limit:
        assert largest == 1 or shared + largest * each <= limit
    if slots:
        assert made.jobs == tasks or made.jobs % slots == 0
    elif not task_s and many and not each:
        assert made.jobs <= many


@pytest.mark.parametrize(
    ("tasks", "task_s", "jobs", "lines"),
    [
        (
            1000,
            300,
            84,
            ("1,000 tasks; 1 h / 5 min = 12 tasks per job", "84 jobs of 11 or 12 tasks"),
        ),
        (10, 60, 1, ("10 tasks; 1 h / 1 min = 60 tasks per job", "1 job of 10 tasks")),
        (
            3,
            7200,
            3,
            ("3 tasks; one takes 2 h, over the 1 h aimed at: 1 per job", "3 jobs of 1 task"),
        ),
        (500, 0, 500, ("500 tasks; resources.time is not given: 1 per job", "500 jobs of 1 task")),
        (
            30_000,
            0,
            10_000,
            (
                "30,000 tasks; resources.time is not given: 3 per job keep the jobs within 10,000",
                "10,000 jobs of 3 tasks",
            ),
        ),
    ],
)
def test_auto_aims_at_an_hour_and_shows_its_arithmetic(
    tasks: int, task_s: int, jobs: int, lines: tuple[str, ...]
) -> None:
    assert grouped(tasks, task_s=task_s) == Grouping(jobs, lines)


def test_a_mean_is_called_one() -> None:
    def first(task_s: int) -> str:
        return group(
            8, 0, task_s=task_s, shared_bytes=0, task_bytes=0, profile=GENERIC, average=True
        ).lines[0]

    assert first(300) == "8 tasks; 1 h / 5 min on average = 12 tasks per job"
    assert first(7200) == "8 tasks; one takes 2 h on average, over the 1 h aimed at: 1 per job"


def test_the_input_of_a_job_wins_over_its_time() -> None:
    made = grouped(1000, task_s=60, shared=100 * MB, each=40 * MB)
    assert made.jobs == 100
    assert made.lines[1] == "input: (500 MB - 100 MB shared) / 40 MB = 10 tasks per job"


def test_what_is_shared_and_too_large_by_itself_makes_no_more_jobs() -> None:
    assert grouped(60, task_s=60, shared=2000 * MB).jobs == 1
    assert grouped(60, task_s=60, shared=2000 * MB, each=100 * MB).jobs == 12


def test_more_jobs_than_the_pool_takes_stay_and_max_idle_is_said() -> None:
    made = grouped(200_000, task_s=3600)
    assert made.jobs == 200_000
    assert made.lines[-1] == "over the 10,000 jobs that may wait at a time: max_idle is used"


def test_a_number_is_kept() -> None:
    assert grouped(10, 1) == Grouping(10, ("10 jobs of 1 task",))
    made = grouped(1000, 12, task_s=7200, each=1000 * MB)
    assert made == Grouping(84, ("1,000 tasks; tasks_per_job: 12", "84 jobs of 11 or 12 tasks"))


# --- --fit-pool: the mistakes of the coordinator that had this idea ----------------------------


@pytest.mark.parametrize(("tasks", "slots"), [(5000, 26), (54, 26), (26, 26), (10, 26), (1, 26)])
def test_fitted_jobs_neither_overlap_nor_leave_one_with_everything(tasks: int, slots: int) -> None:
    made = grouped(tasks, slots=slots)
    assert made.jobs == min(tasks, slots)
    chunks = list(Chunks(tasks, made.jobs))
    assert sum(map(len, chunks)) == len({task for chunk in chunks for task in chunk}) == tasks
    assert max(map(len, chunks)) <= -(-tasks // made.jobs)


def test_no_free_slot_is_no_division_by_zero_and_says_so() -> None:
    made = grouped(100, 5, slots=0)
    assert made.jobs == 20
    assert made.lines[0] == "--fit-pool is ignored: no slot is free for such a job now"


def test_no_job_grows_over_the_hour_to_fit() -> None:
    made = grouped(1000, task_s=300, slots=64)
    assert made.jobs == 128
    assert made.lines[1] == "--fit-pool: 64 slots free, 2 jobs for each"
    assert made.lines[2] == "128 jobs of 7 or 8 tasks"
    assert grouped(100, task_s=300, slots=64).jobs == 64


def test_a_number_in_the_spec_gives_way_to_the_command_line() -> None:
    made = grouped(128, 2, slots=32)
    assert made.jobs == 32
    assert made.lines[0] == "tasks_per_job: 2 gives way to --fit-pool"


def test_where_slots_follow_demand_they_are_not_counted() -> None:
    made = grouped(100, task_s=300, slots=3, profile=Profile(name="ospool", glideins=True))
    assert made.jobs == 9
    assert made.lines[0] == "--fit-pool is ignored: free slots of ospool follow demand"


def test_no_task_is_an_error_and_not_a_job_without_any() -> None:
    with pytest.raises(ValueError, match="without a task"):
        grouped(0)


# --- counting slots -------------------------------------------------------------------------------

NEEDS = {"Cpus": 2, "Memory": 1024, "Disk": 1024, "GPUs": 0}
FREE = {"PartitionableSlot": True, "Cpus": 9, "Memory": 8192, "Disk": 10**9, "GPUs": 0}


@pytest.mark.parametrize(
    ("slots", "jobs"),
    [
        ([], 0),
        ([FREE], 4),
        ([FREE, FREE], 8),
        ([FREE | {"Memory": 3000}], 2),
        ([FREE | {"Disk": 1023}], 0),
        ([FREE | {"Cpus": 1}, FREE], 4),
        ([FREE | {"PartitionableSlot": False}], 1),
        ([FREE | {"PartitionableSlot": False, "Memory": 512}], 0),
        ([{"PartitionableSlot": True}], 0),
        ([FREE | {"Memory": -4}], 0),
        ([FREE | {"Disk": None}], 0),
    ],
)
def test_slots_are_filled_one_by_one_and_not_their_total(
    slots: list[dict[str, object]], jobs: int
) -> None:
    assert count_fitting(slots, NEEDS) == jobs


def test_a_gpu_counts_only_when_one_is_asked_for() -> None:
    assert count_fitting([FREE], NEEDS | {"GPUs": 1}) == 0
    assert count_fitting([FREE | {"GPUs": 3}], NEEDS | {"GPUs": 1}) == 3


def test_requirements_are_read_with_the_slot_as_my() -> None:
    assert over_the_slot('(TARGET.Arch == "X86_64")') == '(MY.Arch == "X86_64")'
    assert over_the_slot('target . A && X == "TARGET.y \\" TARGET.z"') == (
        'MY. A && X == "TARGET.y \\" TARGET.z"'
    )


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (45, "45 s"), (60, "1 min"), (90, "1 min 30 s"), (3600, "1 h"),
        (5400, "1 h 30 min"), (86400, "1 day"), (200_000, "2 days 7 h"),
    ],
)  # fmt: skip
def test_durations_for_people(seconds: int, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59.7, "1 min"), (130, "2 min"), (8000, "2 h 13 min"), (40_000, "11 h"),
     (250_000, "3 days")],
)  # fmt: skip
def test_a_time_that_was_measured_is_rounded(seconds: float, text: str) -> None:
    assert about(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KB"), (1536, "1.5 KB"), (500 * MB, "500 MB"),
     (1024 * MB - 1, "1 GB"), (3 * 1024**4, "3 TB")],
)  # fmt: skip
def test_sizes_for_people(count: int, text: str) -> None:
    assert size(count) == text
