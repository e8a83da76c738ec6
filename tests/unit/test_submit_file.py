"""The submit file says what the spec says, key by key."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from judges import classad2, htcondor2

from osgbatch.errors import OsgbatchError
from osgbatch.model import Round
from osgbatch.plan_model import InputFile, Payload, Plan, Resolved
from osgbatch.rendering.requirements import requirements_expression
from osgbatch.rendering.submit import submit_text
from osgbatch.spec_model import Gpus, Notify, Requirements, Resources, Retries, Spec
from osgbatch.submit_language import classad_problems, custom_attribute, known_command
from osgbatch.version import VERSION

SPEC = Spec(Path("/home/ada/sweep/sweep.yaml"), b"", "peaks")
HOME = Path("/home/ada/sweep")
HOUR = 3600
SMALL = Resources()


def render(
    spec: Spec = SPEC,
    extra_names: tuple[str, ...] = (),
    resources: Resources = SMALL,
    max_idle: int = 0,
    jobs: tuple[tuple[int, ...], ...] = ((0, 1), (2,)),
    home: Path = HOME,
    shared: tuple[InputFile, ...] = (),
    microarch: str = "",
) -> str:
    """The submit file of a small sweep; resources: of the largest job, time summed."""
    batch = home / "batches/b1"
    plan = Plan(
        spec=spec,
        table=cast(Any, None),
        tasks=cast(Any, SimpleNamespace(shared=shared)),
        jobs=jobs,
        initialdir=home,
        archived_inputs=(),
        input_bytes=0,
        demand=resources,
    )
    payload = (Payload("files", batch / "payload/files-1.tar.gz", "00", 1, 1),)
    resolved = Resolved(plan, payload, resources, max_idle=max_idle, microarch=microarch)
    round_ = Round(batch / "rounds/001", "0123456789ab", "peaks", 1, len(jobs), home)
    return submit_text(resolved, round_, ("tasks", "rows", *extra_names))


def commands(text: str) -> dict[str, str]:
    """The commands of a submit file, by their names as written; the last of a name wins."""
    found = re.findall(r"^(\S+) *= *(.*)$", text, re.M)
    return {key: value for key, value in found if not key.startswith("#")}


GOLDEN = f"""\
# What condor_submit is given for round 1 of batch 0123456789ab (peaks).
# 3 tasks in 2 jobs. Made by osgbatch {VERSION}; readable, and usable, without it.

universe   = vanilla
batch_name = peaks
+OSGBatchID = "0123456789ab"
+OSGBatchRound = 1
+OSGBatchTags = "spring,trial 2"
+ProjectName = "Brain"
notify_user  = ada@example.org
notification = Error

# The jobs' initial directory: input paths start here.
initialdir = /home/ada/sweep
executable = /home/ada/sweep/batches/b1/rounds/001/shim.sh
arguments  = "$(ClusterId) $(ProcId) $(tasks) $(rows)"

# One event log for the whole round. What the tasks print is in the archives. While they run the
# shim copies it to its stdout, for condor_tail, and empties that at the end: so that no job brings
# a file for it, all bring the same. On stderr the shim prints only when something is wrong.
folder = $(ProcId)/1000
log    = /home/ada/sweep/batches/b1/rounds/001/events.log
# osgbatch: ignore=output-shared
output = /home/ada/sweep/batches/b1/rounds/001/returned/echo.out
error  = /home/ada/sweep/batches/b1/rounds/001/returned/$INT(folder)/$(ClusterId)_$(ProcId).err

should_transfer_files   = YES
when_to_transfer_output = ON_EXIT
# Keeps the tree, so that equal names in different folders do not meet.
preserve_relative_paths = true
transfer_input_files    = batches/b1/payload/files-1.tar.gz, $(inputs)
# The shim always makes this archive, also when a task fails; each attempt gets a name of its own.
transfer_output_files   = osgbatch-out.tar.gz
transfer_output_remaps  = "osgbatch-out.tar.gz = batches/b1/rounds/001/returned/$INT(folder)/\
$(ClusterId)_$(ProcId)_$$([NumJobStarts]).tar.gz"

request_cpus   = 2
request_memory = $(memory_mb)MB
request_disk   = 2097152KB
request_gpus   = 1
gpus_minimum_memory = 8192MB
gpus_minimum_capability = 7.5

requirements = (TARGET.Arch == "X86_64") && TARGET.Microarch >= "x86_64-v3" && \
TARGET.HAS_CVMFS_oasis_opensciencegrid_org =?= true && \
member(TARGET.GLIDEIN_Site, {{"UW-Madison", "SU ITS"}}) && (HasThing && Speed > 2)
+DESIRED_Sites = "UW-Madison,SU ITS"

# On failures of the execution point (the shim's own codes, or a shim killed by a signal)
# HTCondor starts the job again; a task's own failure is final.
max_retries = 2
retry_until = (ExitCode =!= undefined) && !member(ExitCode, \
{{101, 102, 103, 104, 105, 106, 107, 108, 109, 114, 137}})

# Held jobs that are tried again, a few times: files that could not be brought, after longer and
# longer pauses.
transfer_holds = ((NumHoldsByReason.TransferInputError ?: 0) + \
(NumHoldsByReason.TransferOutputError ?: 0))
periodic_release = (member(HoldReasonCode, {{12, 13}}) && \
!member(HoldReasonSubCode, {{1, 2, 13, 20, 21, 28, 36, 122}}) && $(transfer_holds) <= 3 && \
time() - EnteredCurrentStatus >= 600 * $(transfer_holds))

# An image that cannot be had, or an input, must not be asked for without end. (A reason with double
# quotes in it would be lost.)
periodic_hold = JobStatus == 1 && (VacateReasonCode =?= 13 || VacateReasonCode =?= 45 || \
VacateReasonCode =?= 1007) && ifThenElse(isUndefined(NumVacatesByReason), NumShadowStarts, \
(NumVacatesByReason.SingularityTestFailed ?: 0) + (NumVacatesByReason.TransferInputError ?: 0) + \
(NumVacatesByReason.StarterError ?: 0)) >= 20 * (1 + (NumHoldsByReason.JobPolicy ?: 0))
periodic_hold_subcode = 1
periodic_hold_reason = strcat("osgbatch: the job was started too often in vain. The last time: ", \
join("'", split(VacateReason ?: "?", "\\"")))

# The back-stop: the shim keeps each task's own time.
allowed_execute_duration = 9020
+JobDurationCategory = "Medium"

# Late materialization: the queue holds only this many waiting jobs at a time.
max_idle = 2000

# max_running: at most this many jobs are in the queue, waiting, running or held.
max_materialize = 50

# From submit: in the sweep.
Priority = 5
+WantIt = "$(memory_mb)"

queue tasks, rows, memory_mb, inputs from /home/ada/sweep/batches/b1/rounds/001/jobs.items
"""


def test_a_submit_file_with_every_key() -> None:
    spec = replace(
        SPEC,
        gpus=Gpus(8192, "7.5"),
        requirements=Requirements(
            arch=("x86_64",),
            microarch="x86_64-v3",
            cvmfs=("oasis.opensciencegrid.org",),
            only_sites=("UW-Madison", "SU ITS"),
            expr="HasThing && Speed > 2",
        ),
        project="Brain",
        max_running=50,
        tags=("spring", "trial 2"),
        notify=Notify("ada@example.org", "error"),
        submit=(("Priority", "5"), ("+WantIt", '"$(memory_mb)"')),
    )
    text = render(
        spec, ("memory_mb", "inputs"), Resources(cpus=2, gpus=1, time_s=2 * HOUR), max_idle=2000
    )
    assert text == GOLDEN
    parsed = htcondor2.Submit(text)
    assert parsed["request_gpus"] == "1"
    assert parsed["max_materialize"] == "50"
    assert parsed["Priority"] == "5"


def test_a_plain_sweep_has_none_of_it() -> None:
    found = {key.lower() for key in commands(render())}
    assert found == {
        "universe", "batch_name", "+osgbatchid", "+osgbatchround", "initialdir", "executable",
        "arguments", "folder", "log", "output", "error", "should_transfer_files",
        "when_to_transfer_output", "preserve_relative_paths", "transfer_input_files",
        "transfer_output_files", "transfer_output_remaps", "request_cpus", "request_memory",
        "request_disk", "max_retries", "retry_until",
        "transfer_holds", "periodic_release", "periodic_hold", "periodic_hold_subcode",
        "periodic_hold_reason",
    }  # fmt: skip


def test_what_all_tasks_are_brought_stands_in_the_submit_file_once() -> None:
    shared = (
        InputFile(HOME / "ref", "inputs/ref", "ref", archived=False),
        InputFile(HOME / "ref", "inputs/again", "ref", archived=False),
        InputFile(HOME / "a,b", "inputs/a,b", "a,b", archived=True),
        InputFile(HOME / "$(x)", "inputs/$(x)", "$(x)", archived=False),
        InputFile(Path(), "inputs/g", "g", archived=False, url="osdf:///ospool/g"),
    )
    text = render(extra_names=("inputs",), shared=shared)
    payload = "batches/b1/payload/files-1.tar.gz"
    assert commands(text)["transfer_input_files"] == (
        f"{payload}, ref, $(DOLLAR)(x), osdf:///ospool/g, $(inputs)"
    )


def test_which_gpus_is_said_only_where_gpus_are_asked_for() -> None:
    assert "gpus" not in render(replace(SPEC, gpus=Gpus(8192, "7.5")))


@pytest.mark.parametrize(
    ("name", "command", "value"),
    [
        ("cpus", "request_cpus", "$(cpus)"),
        ("memory_mb", "request_memory", "$(memory_mb)MB"),
        ("disk_kb", "request_disk", "$(disk_kb)KB"),
        ("gpus", "request_gpus", "$(gpus)"),
        ("execute_s", "allowed_execute_duration", "$(execute_s)"),
    ],
)
def test_what_differs_between_jobs_comes_from_the_item_file(
    name: str, command: str, value: str
) -> None:
    text = render(extra_names=(name,), resources=Resources(time_s=HOUR, gpus=1))
    assert commands(text)[command] == value
    assert text.endswith(
        f"queue tasks, rows, {name} from /home/ada/sweep/batches/b1/rounds/001/jobs.items\n"
    )


# --- time -------------------------------------------------------------------------------------


def test_a_jobs_time_is_its_tasks_and_a_margin() -> None:
    assert "allowed_execute_duration" not in render()
    hour = Resources(time_s=HOUR)
    assert commands(render(resources=hour))["allowed_execute_duration"] == str(HOUR + 20 + 1800)
    by_code = replace(SPEC, retries=Retries(2, "codes", (3,)))
    found = commands(render(by_code, resources=hour))
    assert found["allowed_execute_duration"] == str(3 * (HOUR + 20) + 1800)


@pytest.mark.parametrize(("hours", "category"), [(9, "Medium"), (10, "Long")])
def test_the_duration_category_follows_from_the_time(hours: int, category: str) -> None:
    text = render(resources=Resources(time_s=hours * HOUR))
    assert commands(text)["+JobDurationCategory"] == f'"{category}"'


def test_where_jobs_differ_in_time_each_has_its_own_category() -> None:
    text = render(extra_names=("execute_s",), resources=Resources(time_s=15 * HOUR))
    assert commands(text)["+JobDurationCategory"] == '"$STRING(duration_category)"'
    text = render(extra_names=("execute_s",), resources=Resources(time_s=5 * HOUR))
    assert commands(text)["+JobDurationCategory"] == '"Medium"'


@pytest.mark.parametrize("key", ["+JobDurationCategory", "MY.jobdurationcategory"])
def test_a_category_of_the_users_own_is_the_only_one(key: str) -> None:
    own = replace(SPEC, submit=((key, '"Long"'),))
    for names in ((), ("execute_s",)):
        text = render(own, names, Resources(time_s=15 * HOUR))
        assert text.lower().count("jobdurationcategory") == 1
        assert f'{key} = "Long"\n' in text


# --- requirements -----------------------------------------------------------------------------

DEBIAN = {"OpSysName": "Debian", "OpSysMajorVer": 12, "Arch": "X86_64", "Microarch": "x86_64-v3"}
ROCKY = {"OpSysName": "Rocky", "OpSysMajorVer": 9, "Arch": "X86_64", "Microarch": "x86_64-v2"}
ARM = {"OpSysName": "AlmaLinux", "OpSysMajorVer": 9, "Arch": "aarch64"}
PILOT = {
    **DEBIAN,  # the host's; the job runs in a container
    "OSGVO_OS_STRING": "RHEL 9",
    "GLIDEIN_Site": "SU ITS",
    "HAS_CVMFS_oasis_opensciencegrid_org": True,
}
POINTS = {"debian": DEBIAN, "rocky": ROCKY, "arm": ARM, "pilot": PILOT}


def matching(wanted: Requirements, needed: str = "") -> set[str]:
    """The execution points that a job with these requirements matches, as ClassAds say."""
    job = classad2.ClassAd()
    job["Requirements"] = classad2.ExprTree(requirements_expression(wanted, needed))
    found = set()
    for name, attributes in POINTS.items():
        point = classad2.ClassAd(attributes)
        point["Requirements"] = True
        if job.symmetricMatch(point):
            found.add(name)
    return found


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Requirements(os=("el9",)), {"rocky", "arm", "pilot"}),
        (Requirements(os=("el8",)), set()),
        (Requirements(os=("el8", "el9")), {"rocky", "arm", "pilot"}),
        (Requirements(os=("debian12",)), {"debian"}),
        (Requirements(os=("debian13",)), set()),
        (Requirements(arch=("x86_64",)), {"debian", "rocky", "pilot"}),
        (Requirements(arch=("aarch64",)), {"arm"}),
        (Requirements(arch=("x86_64", "aarch64")), {"debian", "rocky", "arm", "pilot"}),
        (Requirements(microarch="x86_64-v3"), {"debian", "pilot"}),
        (Requirements(microarch="x86_64-v4"), set()),
        (
            Requirements(arch=("x86_64", "aarch64"), microarch="x86_64-v3"),
            {"debian", "arm", "pilot"},
        ),
        (Requirements(cvmfs=("oasis.opensciencegrid.org",)), {"pilot"}),
        (Requirements(only_sites=("SU ITS",)), {"pilot"}),
        (Requirements(only_sites=("UW-Madison",)), set()),
        (Requirements(avoid_sites=("SU ITS",)), {"debian", "rocky", "arm"}),
        (Requirements(avoid_sites=("UW-Madison",)), {"debian", "rocky", "arm", "pilot"}),
        (
            Requirements(os=("el9",), expr='Arch == "aarch64" || OpSysMajorVer == 12'),
            {"arm", "pilot"},
        ),
    ],
)
def test_jobs_match_what_they_need(wanted: Requirements, expected: set[str]) -> None:
    assert matching(wanted) == expected


def test_the_level_that_an_environment_needs_is_asked_where_it_is_told() -> None:
    assert matching(Requirements(), "x86_64-v3") == {"debian", "arm", "pilot"}  # arm tells none
    assert matching(Requirements(), "x86_64-v2") == {"debian", "rocky", "arm", "pilot"}
    assert matching(Requirements(microarch="x86_64-v2"), "x86_64-v3") == {"debian", "pilot"}
    wanted = Requirements(microarch="x86_64-v3")
    assert requirements_expression(wanted, "x86_64-v2") == requirements_expression(wanted)


def test_the_level_of_an_environment_is_in_the_submit_file() -> None:
    expected = '(isUndefined(TARGET.Microarch) || TARGET.Microarch >= "x86_64-v3")'
    assert commands(render(microarch="x86_64-v3"))["requirements"] == expected


def test_the_ospools_own_words_for_sites() -> None:
    found = commands(render(replace(SPEC, requirements=Requirements(avoid_sites=("A", "B C")))))
    assert found["+UNDESIRED_Sites"] == '"A,B C"'
    # With both attributes a job of the OSPool would never run.
    both = Requirements(only_sites=("A", "B"), avoid_sites=("B",))
    found = commands(render(replace(SPEC, requirements=both)))
    assert found["+DESIRED_Sites"] == '"A"'
    assert "+UNDESIRED_Sites" not in found


def test_an_expression_of_several_lines_becomes_one() -> None:
    assert requirements_expression(Requirements(expr="A > 1\n  && B < 2\n")) == "(A > 1 && B < 2)"


def test_parentheses_in_strings_do_not_count() -> None:
    expr = 'regexp("^a(b$", Machine) && Name == "\\")"'
    assert requirements_expression(Requirements(expr=expr)) == f"({expr})"
    text = render(replace(SPEC, requirements=Requirements(expr=expr)))
    assert htcondor2.Submit(text).expand("requirements") == f"({expr})"


def test_requirements_in_two_places_are_refused() -> None:
    own = replace(SPEC, submit=(("Requirements", "true"),))
    assert commands(render(own))["Requirements"] == "true"
    with pytest.raises(OsgbatchError, match="both in `requirements:` and in `submit:`"):
        render(replace(own, requirements=Requirements(os=("el9",))))


# --- values -----------------------------------------------------------------------------------


def test_values_with_dollars_and_quotes_arrive_as_they_are() -> None:
    parsed = htcondor2.Submit(
        render(replace(SPEC, project='a"b$(HOME)\\', tags=("$(x)",)), home=Path("/tmp/$(HOME) x"))
    )
    assert parsed.expand("MY.ProjectName") == '"a\\"b$(HOME)\\\\"'
    assert parsed.expand("MY.OSGBatchTags") == '"$(x)"'
    assert parsed.expand("initialdir") == "/tmp/$(HOME) x"


def test_own_commands_come_last_in_their_order_as_written() -> None:
    own = (("request_memory", "4GB"), ("a", "$(b)"), ("b", " x # y "), ("MY.C", "{1, 2}"))
    lines = render(replace(SPEC, submit=own)).splitlines()
    start = lines.index("# From submit: in the sweep.")
    assert lines[start + 1 : start + 5] == [
        "request_memory = 4GB", "a = $(b)", "b = x # y", "MY.C = {1, 2}",
    ]  # fmt: skip
    assert lines[start + 6].startswith("queue ")
    parsed = htcondor2.Submit("\n".join(lines))
    assert parsed["request_memory"] == "4GB"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rank", "Memory \\"),
        ("rank", "Memory \\  "),
        ("rank", "Memory\nqueue 5"),
        ("rank", "Memory\rqueue 5"),
        ("queue", "5"),
        ("Queue", "5"),
        ("if", "true"),
        ("include", "x"),
        ("rank = 1\nfoo", "2"),
        ("rank @", "2"),
        ("# rank", "2"),
        ("two words", "2"),
        ("", "2"),
    ],
)
def test_own_commands_cannot_break_the_file(key: str, value: str) -> None:
    with pytest.raises(OsgbatchError):
        render(replace(SPEC, submit=((key, value),)))


def test_a_folder_whose_name_ends_in_a_backslash_is_refused() -> None:
    with pytest.raises(OsgbatchError, match="end in a backslash"):
        render(home=Path("/home/ada/odd\\"))


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, project="a\nqueue"),
        replace(SPEC, tags=("a\nqueue",)),
        replace(SPEC, notify=Notify("a@b.c\nqueue")),
    ],
)
def test_a_line_break_in_a_value_is_refused(spec: Spec) -> None:
    with pytest.raises(OsgbatchError, match="one line"):
        render(spec)


# --- the vocabulary ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["request_widgets", "Require_GPUs", "box_oauth_permissions_mine", "web_container_port",
     "ec2_tag_Owner", "MAX_RETRIES", "TransferInputFiles", "copy_to_spool"],
)  # fmt: skip
def test_commands_and_families_of_commands_are_known(key: str) -> None:
    assert known_command(key)


@pytest.mark.parametrize(
    "key", ["request_cpu", "request_gpu", "request_", "cpus", "retry", "max retries", "+x", ""]
)
def test_what_condor_submit_does_not_know_is_unknown(key: str) -> None:
    assert not known_command(key)


@pytest.mark.parametrize(
    ("key", "custom"),
    [("+Own", True), ("My.Own", True), ("MY._x", True), ("Own", False), ("+", False),
     ("my.", False), ("+1a", False), ("+a b", False), ("+é", False), ("+a\n", False)],
)  # fmt: skip
def test_attributes_of_the_users_own(key: str, custom: bool) -> None:
    assert custom_attribute(key) is custom


@pytest.mark.parametrize(
    "expr",
    [
        "A) || (true", "(A", 'B == "x', "B == 'x", 'A == "\\"', "A // B",
        "true } || { false", "TARGET.x == 1 ] [", "(a]", "{a)", "a) || (b", "member(x, {1, 2)",
        "x == 1 // all", "x /* y", 'a == "b', "[a = 1", "a, b", "a; b",
    ],
)  # fmt: skip
def test_an_expression_that_could_leave_its_parentheses_is_refused(expr: str) -> None:
    with pytest.raises(OsgbatchError):
        render(replace(SPEC, requirements=Requirements(os=("el9",), expr=expr)))
    assert list(classad_problems(expr))


@pytest.mark.parametrize(
    "expr",
    [
        'member(TARGET.x, {"a", "]"}) && y[0] == 1', '"}" != x && (a || b)',
        'regexp("//", x) && x =?= 1',
    ],
)  # fmt: skip
def test_a_sound_expression_is_taken_as_it_is(expr: str) -> None:
    assert requirements_expression(Requirements(expr=expr)) == f"({expr})"
