"""When HTCondor starts a job again or holds it, as its own ClassAds evaluate the submit file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judges import classad2, htcondor2
from test_submit_file import HOUR, SPEC, commands, render

from osgbatch.errors import SpecErrors
from osgbatch.rendering.again import AVOID_S, avoidance
from osgbatch.spec.profiles import known_profile, profile_file
from osgbatch.spec_model import Checkpoint, Ladder, Profile, Requirements, Resources, Retries

DOUBLE = Ladder(2.0, (4096,))
TWO_SIZES = Ladder(0.0, (2048, 4096))


def parts(text: str, *, old: bool) -> dict[str, str]:
    """The commands as one version of condor_submit sees them, macros expanded."""
    kept: list[str] = []
    taken = True
    for line in text.splitlines():
        if line.startswith("if version"):
            taken = not old
        elif line == "else":
            taken = not taken
        elif line == "endif":
            taken = True
        elif taken:
            kept.append(line)
    found = commands("\n".join(kept))
    while any(f"$({name})" in value for value in found.values() for name in found):
        for name in found:
            for key, value in found.items():
                found[key] = value.replace(f"$({name})", found[name])
    return found


def value(expression: str, **attributes: Any) -> Any:
    """What an expression of a job with these attributes is."""
    ad = classad2.ClassAd()
    for name, attribute in attributes.items():
        ad[name] = classad2.ClassAd(attribute) if isinstance(attribute, dict) else attribute
    ad["Asked"] = classad2.ExprTree(expression)
    return ad.eval("Asked")


def with_ladders(memory: Ladder | None = None, disk: Ladder | None = None) -> str:
    return render(replace(SPEC, retries=Retries(memory=memory, disk=disk)))


# --- more memory, more disk ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ladder", "requests"),
    [
        (DOUBLE, [1024, 2048, 4096, 4096]),
        (Ladder(1.5, (2000,)), [1024, 1536, 2000, 2000]),
        (TWO_SIZES, [1024, 2048, 4096, 4096]),
        (TWO_SIZES, [3000, 4096]),
        (TWO_SIZES, [8192, 8192]),
        (DOUBLE, [8192, 8192]),
    ],
)
def test_each_step_asks_for_more_and_none_for_less(ladder: Ladder, requests: list[int]) -> None:
    found = parts(with_ladders(ladder), old=False)
    now = requests[0]
    for expected in requests[1:]:
        now = value(found["retry_request_memory_increase"], RequestMemory=now)
        assert now == expected
    assert found["request_memory"] == "1024MB"
    assert found["retry_request_memory_max"] == f"{ladder.most}MB"


def test_the_most_is_never_less_than_what_some_job_asks_for_at_first() -> None:
    spec = replace(SPEC, retries=Retries(memory=DOUBLE))
    text = render(spec, ("memory_mb",), Resources(memory_mb=9000))
    assert parts(text, old=False)["retry_request_memory_max"] == "9000MB"


@pytest.mark.parametrize("ladder", [DOUBLE, TWO_SIZES])
def test_an_older_htcondor_holds_and_releases_with_more_as_often_as_there_is_more(
    ladder: Ladder,
) -> None:
    found = parts(with_ladders(ladder), old=True)
    assert not any(name.startswith("retry_request") for name in found)
    asked, released = [], []
    for holds in range(4):
        about = {"NumHoldsByReason": {"StartdHeldJob": holds}} if holds else {}
        asked.append(value(found["request_memory"], **about))
        held = {"HoldReasonCode": 21, "HoldReasonSubCode": 102, "EnteredCurrentStatus": 0}
        released.append(value(found["periodic_release"], **held, **about))
    assert asked == [1024, 2048, 4096, 4096]
    assert released[1:] == [True, True, False]
    for other in ({"HoldReasonCode": 1}, {"HoldReasonSubCode": 104}):
        about = {"NumHoldsByReason": {"StartdHeldJob": 1}}
        assert value(found["periodic_release"], **{**held, **other}, **about) is False


def test_disk_has_a_list_that_begins_above_the_request() -> None:
    kb = 1024**2
    text = with_ladders(disk=Ladder(0.0, (kb, 4 * kb, 9 * kb)))  # a job asks for 2 GB
    assert parts(text, old=False)["retry_request_disk"] == f"{4 * kb}KB, {9 * kb}KB"
    old = parts(text, old=True)
    about = {"NumHoldsByReason": {"JobOutOfResources": 2}}
    assert value(old["request_disk"], **about) == 4 * kb
    held = {"HoldReasonCode": 34, "HoldReasonSubCode": 104, "EnteredCurrentStatus": 0}
    assert value(old["periodic_release"], **held, **about) is True
    doubled = parts(with_ladders(disk=Ladder(2.0, (7 * kb,))), old=False)
    assert doubled["retry_request_disk"] == f"{4 * kb}KB, {7 * kb}KB"


def test_condor_submit_takes_both_ladders() -> None:
    text = with_ladders(DOUBLE, Ladder(2.0, (8 * 1024**2,)))
    assert htcondor2.Submit(text).expand("retry_request_disk") == "4194304KB, 8388608KB"


# --- files that could not be brought -------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "subcode", "holds", "waited", "released"),
    [
        (13, 256, 1, 700, True),
        (13, 256, 1, 500, False),  # after 10 min, 20 min, 30 min
        (13, 256, 2, 700, False),
        (13, 256, 3, 1900, True),
        (13, 256, 4, 9999, False),
        (12, 0, 1, 700, True),
        (13, 2, 1, 700, False),  # the file is missing
        (12, 122, 1, 700, False),  # over quota
        (1, 0, 1, 700, False),  # held by a user
        (34, 102, 1, 700, False),
    ],
)
def test_transfer_holds_alone_are_released_a_few_times(
    code: int, subcode: int, holds: int, waited: int, released: bool
) -> None:
    expression = parts(render(), old=False)["periodic_release"].replace("time()", str(waited))
    held = {"HoldReasonCode": code, "HoldReasonSubCode": subcode, "EnteredCurrentStatus": 0}
    assert value(expression, **held, NumHoldsByReason={"TransferInputError": holds}) is released


def test_a_profile_says_how_often_and_when() -> None:
    some = replace(SPEC, profile=Profile(releases=1, release_after_s=5))
    found = parts(render(some), old=False)["periodic_release"]
    assert "<= 1 " in found and ">= 5 *" in found
    none = commands(render(replace(SPEC, profile=Profile(releases=0, bad_starts=0))))
    assert not any(name.startswith("periodic") for name in none)


# --- starts that come to nothing -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("about", "held"),
    [
        ({"VacateReasonCode": 45, "NumVacatesByReason": {"SingularityTestFailed": 20}}, True),
        ({"VacateReasonCode": 45, "NumVacatesByReason": {"SingularityTestFailed": 19}}, False),
        ({"VacateReasonCode": 1007}, True),  # an older version: 20 starts in all
        ({"VacateReasonCode": 1022, "NumVacatesByReason": {"UserVacateJob": 90}}, False),
        ({"VacateReasonCode": 1007, "NumHoldsByReason": {"JobPolicy": 1}}, False),  # released
        ({"VacateReasonCode": 45, "JobStatus": 2}, False),
        ({}, None),  # undefined, which HTCondor takes for false
    ],
)
def test_a_job_that_never_starts_is_held(about: dict[str, Any], held: bool | None) -> None:
    expression = parts(render(), old=False)["periodic_hold"]
    found = value(expression, **{"JobStatus": 1, "NumShadowStarts": 20, **about})
    assert found is bool(held)


def test_the_reason_of_the_hold_has_no_double_quotes() -> None:
    reason = parts(render(), old=False)["periodic_hold_reason"]
    assert value(reason, VacateReason='Get "https://x/" no').endswith("Get 'https://x/' no")
    assert value(reason).endswith("The last time: ?")


# --- places that have just failed a job ----------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "point", "matches"),
    [
        ({}, {"Site": "A"}, True),
        ({"MachineAttrSite0": "A"}, {"Site": "A"}, False),
        ({"MachineAttrSite0": "A"}, {"Site": "B"}, True),
        ({"MachineAttrSite0": "B", "MachineAttrSite1": "A"}, {"Site": "A"}, False),
        ({"MachineAttrSite0": "B", "MachineAttrSite1": "A"}, {"Site": "C"}, True),
        ({"MachineAttrSite0": "A"}, {}, True),  # slots that do not say where they are
        ({"MachineAttrSite0": "A", "JobCurrentStartDate": -AVOID_S}, {"Site": "A"}, True),
    ],
)
def test_where_a_job_has_just_failed_it_does_not_start_for_an_hour(
    job: dict[str, Any], point: dict[str, Any], matches: bool
) -> None:
    expression = avoidance("Site").replace("time()", "10")
    ad = classad2.ClassAd({"JobCurrentStartDate": 0, **job} if job else {})
    ad["Requirements"] = classad2.ExprTree(expression)
    place = classad2.ClassAd({**point, "Requirements": True})
    assert ad.symmetricMatch(place) is matches


def test_a_place_is_avoided_where_the_profile_knows_its_name_and_there_are_others() -> None:
    assert "job_machine_attrs" not in render()
    spec = replace(SPEC, profile=Profile(avoid="Site"), requirements=Requirements(os=("el9",)))
    found = commands(render(spec))
    assert found["job_machine_attrs"] == "Site"
    assert found["requirements"].endswith(f" && {avoidance('Site')}")
    few = replace(spec, requirements=Requirements(only_sites=("A", "B")))
    assert "job_machine_attrs" not in render(few)


# --- checkpoints ---------------------------------------------------------------------------------


def test_a_checkpoint_is_one_archive_and_the_time_between_two_is_limited() -> None:
    spec = replace(SPEC, checkpoint=Checkpoint(("state",), 2 * HOUR))
    found = commands(render(spec, jobs=((0,), (1,))))
    assert found["checkpoint_exit_code"] == "85"
    assert found["transfer_checkpoint_files"] == "osgbatch-checkpoint.tar.gz"
    assert found["allowed_execute_duration"] == str(2 * HOUR + 10 + 1800)
    assert found["+JobDurationCategory"] == '"Medium"'
    long = render(spec, resources=Resources(time_s=90 * HOUR), jobs=((0,), (1,)))
    assert commands(long)["allowed_execute_duration"] == str(2 * HOUR + 10 + 1800)
    own = replace(SPEC, checkpoint=Checkpoint(("state",)))
    assert "allowed_execute_duration" not in commands(render(own))


def test_what_stands_in_submit_comes_last() -> None:
    own = replace(SPEC, submit=(("periodic_release", "false"),))
    assert commands(render(own))["periodic_release"] == "false"
    assert re.search(r"^periodic_release = false$", render(own), re.M)


def test_a_profile_of_ones_own_names_the_place_and_the_bounds(tmp_path: Path) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text("avoid: Machine\nreleases: 0\nrelease_after: 2 min\nbad_starts: 7\n")
    facts = profile_file(path, "pool.yaml").facts
    assert (facts.avoid, facts.releases) == ("Machine", 0)
    assert (facts.release_after_s, facts.bad_starts) == (120, 7)
    path.write_text("avoid: my place\nreleases: -1\nrelease_after: 5\n")
    with pytest.raises(SpecErrors) as raised:
        profile_file(path, "pool.yaml")
    told = [(error.place.line, error.what) for error in raised.value.errors]
    assert [line for line, _ in told] == [1, 2, 3]
    assert told[0][1] == "avoid: should be none, or the name of an attribute"
    assert known_profile("ospool").facts.avoid == "GLIDEIN_ResourceName"
    assert not known_profile("generic").facts.avoid
