"""Why a job waits: its conditions, the slots that meet them, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from osgbatch.condor.conditions import conjuncts, scoped
from osgbatch.condor.idle import Condition, Factory, Idle, Place, match, refusing
from osgbatch.condor.idle_words import factory_words, idle_words

classad2 = pytest.importorskip("classad2")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a && b", ["a", "b"]),
        ("(a) && ((b && c) && d)", ["a", "b", "c", "d"]),
        ("((a))", ["a"]),
        ("a && b || c", ["a && b || c"]),
        ("(a && b) || c", ["(a && b) || c"]),
        ("x ? a && b : c", ["x ? a && b : c"]),
        ("f(a && b) && !(c && d)", ["f(a && b)", "!(c && d)"]),
        ('"a && (b" == y && (z)', ['"a && (b" == y', "z"]),
        ('MY.x =?= "a  b"\n && t && t', ['MY.x =?= "a  b"', "t"]),
        ('member(s, {\n   "A B",\n "C"\n }) && b', ['member(s, { "A B", "C" })', "b"]),
    ],
)
def test_conditions_are_told_apart_as_classads_read_them(text: str, found: list[str]) -> None:
    assert conjuncts(text) == found
    for part in found:
        classad2.ExprTree(part)


def test_a_name_without_a_scope_is_looked_for_in_the_slot_too() -> None:
    job = classad2.ClassAd("[ RequestMemory = 1; Site = 5 ]")
    text = 'Memory >= RequestMemory && Site == 5 && f(Arch) == "Memory" && TARGET.OS == Os(x.Y)'
    assert scoped(job, text) == (
        'TARGET.Memory >= RequestMemory && Site == 5 && f(TARGET.Arch) == "Memory" '
        "&& TARGET.OS == Os(x.Y)"
    )
    wanting = classad2.ClassAd("[ Start = RequestMemory < 2 && Site == 5; Requirements = Start ]")
    large = classad2.ClassAd("[ RequestMemory = 3; Site = 5 ]")
    silent = classad2.ClassAd("[ Memory = 5 ]")
    assert refusing(job, [wanting, silent]) == (1, 0)
    assert refusing(large, [wanting, silent, wanting]) == (2, 2)
    targeted = classad2.ClassAd("[ Requirements = TARGET.RequestMemory < 2 ]")
    assert [refusing(one, [targeted]) for one in (job, large)] == [(1, 0), (1, 1)]
    # of a partitionable slot all that it has counts, though something runs on it
    busy = "PartitionableSlot = true; Cpus = 0; TotalSlotCpus = 8; Requirements = Cpus >= 2"
    assert refusing(job, [classad2.ClassAd(f"[ {busy} ]")]) == (1, 0)


JOB = """[ ClusterId = 7; ProcId = 3; JobStatus = 1; RequestMemory = 4096; RequestCpus = 2;
          RequestDisk = 1024 * 1024; QDate = 1000; ServerTime = 1100; ]"""


def slot(**attributes: object) -> object:
    ad = classad2.ClassAd()
    for name, value in attributes.items():
        ad[name] = value
    return ad


def matched(requirements: str, *slots: object) -> Idle:
    return match(classad2.ClassAd(JOB), slots, conjuncts(requirements))


def test_a_slot_in_use_counts_as_one_that_could_run_the_job() -> None:
    text = "TARGET.Memory >= RequestMemory && TARGET.Cpus >= RequestCpus"
    room: Mapping[str, object] = {"Disk": 4 << 20}
    partitionable: Mapping[str, object] = {**room, "PartitionableSlot": True, "TotalSlotCpus": 8}
    found = matched(
        text,
        slot(**partitionable, TotalSlotMemory=8192, Memory=512, Cpus=1),
        slot(**partitionable, TotalSlotMemory=8192, Memory=8192, Cpus=8),
        slot(Memory=4096, Cpus=2, State="Claimed", **room),
        slot(Memory=4096, Cpus=1, State="Unclaimed", **room),
    )
    assert (found.slots, found.fitting, found.free) == (4, 3, 1)
    assert [c.slots for c in found.conditions] == [4, 3]
    assert [c.rest for c in found.conditions] == [3, 4]
    assert found.largest["Memory"] == 8192
    assert (found.job, found.asked_for["Disk"]) == ("7.3", 1024 * 1024)


def test_a_slot_without_a_core_left_has_no_room_though_no_condition_says_so() -> None:
    whole = {"PartitionableSlot": True, "TotalSlotCpus": 8, "TotalSlotMemory": 8192}
    left = {"Memory": 8192, "Disk": 4 << 20}
    found = matched("TARGET.Memory >= RequestMemory", slot(**whole, **left, Cpus=1))
    assert (found.fitting, found.free) == (1, 0)
    found = matched("TARGET.Memory >= RequestMemory", slot(**whole, **left, Cpus=2))
    assert (found.fitting, found.free) == (1, 1)


def test_what_no_slot_meets_is_named() -> None:
    found = matched(
        'HasGold == true && TARGET.Memory >= RequestMemory && OpSys == "LINUX"',
        slot(Memory=2048, OpSys="LINUX", State="Unclaimed"),
    )
    words = idle_words(found)
    assert "only slot could not run it" in words.cause
    assert words.details[:2] == (
        "`HasGold == true`: no slot has HasGold",
        "memory: it asks for 4.0 GB; the largest slot has 2.0 GB",
    )
    assert words.todo.startswith(
        "Change `requirements:` in the sweep and ask for less (resources.memory)"
    )
    assert words.commands == (
        "osgbatch cancel {batch} {waiting}",
        'osgbatch resubmit {batch} {removed} --set "resources.memory=2GB"',
        "condor_q -better-analyze 7.3",
    )


def test_conditions_that_only_together_exclude_all_are_told_by_what_they_cost() -> None:
    text = 'TARGET.Memory >= RequestMemory && GLIDEIN_Site == "A"'
    small, large = slot(Memory=1024, GLIDEIN_Site="A"), slot(Memory=8192, GLIDEIN_Site="B")
    words = idle_words(matched(text, small, large, large))
    assert words.details[:3] == (
        "Each of its conditions is met by some slots, but no slot meets all.",
        'Without this one 2 slots would do: the site (`sites:`): `GLIDEIN_Site == "A"`',
        "Without this one 1 slot would do: memory: it asks for 4.0 GB; the largest slot has 8.0 GB",
    )


FITS = Idle("7.3", "waiting", slots=10, fitting=8, free=2, queued=1000, now=1100)


@pytest.mark.parametrize(
    ("idle", "cause", "detail"),
    [
        (FITS, "It was not yet considered: it came into the queue just now, 100 s ago", ""),
        (replace(FITS, now=9200), "never considered since it was queued, 2 h ago", ""),
        (
            replace(FITS, free=0),
            "8 of the pool's 10 slots could run it, but none of them has room",
            "",
        ),
        (
            replace(FITS, rejected="submitter limit exceeded", rejected_at=1090),
            "8 of the pool's 10 slots could run it, 2 of them have room now",
            "your group's quota, was used up",
        ),
        (
            replace(FITS, asked=8, refusing=8),
            "8 of the pool's 10 slots would suit it, but do not want it: all 8 that were asked",
            "",
        ),
        (replace(FITS, slots=1, fitting=1, free=0), "only slot could run it, but it has no", ""),
        (
            replace(
                FITS, asked=8, refusing=8, asked_for={"Disk": 9 << 20}, largest={"Disk": 8 << 20}
            ),
            "None of the pool's 10 slots could run it",
            "disk: it asks for 9.0 GB; the largest slot has 8.0 GB",
        ),
        (replace(FITS, pilots=True), "", "It has no ProjectName."),
        (replace(FITS, pilots=True, project="p"), "", "Take it with caution"),
        (replace(FITS, starts=2, came_back="preempted"), "", "started 2 times already"),
        (replace(FITS, flocking="flock.example.org"), "", "also sends jobs to flock.example.org"),
        (replace(FITS, free=0, place=Place(500, 2, 9, 40)), "", "2 of 9 users before you"),
        (replace(FITS, free=0, place=Place(500, 2, 9, 1)), "", "You use 1 core now."),
        (replace(FITS, status="held", held=(34, 102, "x")), "more memory than it asked for", ""),
        (replace(FITS, status="running"), "is running; the event log does not yet", ""),
        (replace(FITS, slots=0, fitting=0), "no slots at all", ""),
    ],
)
def test_why_a_job_waits_is_told_in_plain_words(idle: Idle, cause: str, detail: str) -> None:
    words = idle_words(idle)
    assert cause in words.cause
    assert detail in " ".join(words.details)
    assert ("No slot" in words.cause) is False
    project = any("ProjectName" in text for text in words.details)
    assert project is (idle.pilots and not idle.project)


@pytest.mark.parametrize(
    ("factory", "held", "cause"),
    [
        (Factory(max_idle=100), 0, "it comes when others have started"),
        (Factory(max_idle=100), 100, "none will come: 100 jobs are held"),
        (Factory(1, "by hand", 100), 0, 'making of new jobs is held: "by hand"'),
        (None, 0, "HTCondor knows of none to come"),
        (Factory(2, max_idle=100), 0, "HTCondor knows of none to come"),
    ],
)
def test_a_task_that_is_not_in_the_queue_is_told_why(
    factory: Factory | None, held: int, cause: str
) -> None:
    assert cause in factory_words(factory, held).cause


@pytest.mark.parametrize(("paused", "verbs"), [(3, ["resubmit"]), (-1, ["cancel", "resubmit"])])
def test_a_factory_that_never_goes_on_is_not_to_be_released(paused: int, verbs: list[str]) -> None:
    words = factory_words(Factory(paused, "", 100), 0)
    assert [command.split()[1] for command in words.commands] == verbs
    assert "elease" not in words.todo


def test_a_condition_of_any_length_is_shown_short() -> None:
    idle = replace(FITS, fitting=0, conditions=[Condition("x" * 900, 0, 0)])
    assert max(map(len, idle_words(idle).details)) < 300


def test_slots_without_containers_are_not_blamed_on_requirements() -> None:
    idle = replace(FITS, fitting=0, conditions=[Condition("TARGET.HasContainer", 0, 0)])
    assert "run no containers: Apptainer" in idle_words(idle).todo
    assert "requirements" not in idle_words(idle).todo
