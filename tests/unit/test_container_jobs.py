"""A sweep in a container: the spec, the submit file, the shim and the local runner."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import shim_harness
import test_submit_file
from shim_harness import Slot, only, row, sh, tarball
from test_local_harness import make_round, numbers, returned, run

from osgbatch import names
from osgbatch.errors import OsgbatchError, SpecErrors
from osgbatch.local import backend
from osgbatch.model import Round
from osgbatch.plan_model import Payload, Plan, Resolved
from osgbatch.rendering import program
from osgbatch.rendering.rows import RowWriter
from osgbatch.rendering.submit import submit_text
from osgbatch.spec.load import load_spec
from osgbatch.spec_model import Environment, Place, Spec, UserPath

slot = shim_harness.slot
DOCKER = "docker://ghcr.io/ada/tool:1.2"


def in_image(text: str) -> Environment:
    return Environment("container", UserPath(text, Place("sweep.yaml", 1, 1)))


def submit_file(image: str, sent: Path | None = None, max_idle: int = 0) -> dict[str, str]:
    """The commands of the submit file of a sweep in a container; sent: the file of its image."""
    held: list[Resolved] = []

    def caught(resolved: Resolved, round_: Round, items: tuple[str, ...]) -> str:
        extra = (Payload("container", sent, "00", 1, 0),) if sent else ()
        held.append(replace(resolved, payload=(*resolved.payload, *extra)))
        return submit_text(held[0], round_, items)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_submit_file, "submit_text", caught)
        spec = replace(test_submit_file.SPEC, environment=in_image(image))
        text = test_submit_file.render(spec, max_idle=max_idle)
    return test_submit_file.commands(text)


def test_a_url_stands_in_the_submit_file_as_it_is() -> None:
    found = submit_file(DOCKER)
    assert found["container_image"] == DOCKER
    assert found["+MountUnderScratch"] == '"/inputs,/related,/outputs"'


def test_an_image_file_is_named_by_its_whole_path_and_brought_by_htcondor_alone() -> None:
    sent = test_submit_file.HOME / "batches/b1/payload/container-12.sif"
    found = submit_file("x.sif", sent)
    assert found["container_image"] == str(sent)
    assert found["transfer_input_files"] == "batches/b1/payload/files-1.tar.gz"


def test_with_max_idle_the_image_is_named_among_the_inputs_too() -> None:
    sent = test_submit_file.HOME / "batches/b1/payload/container-12.sif"
    found = submit_file("x.sif", sent, max_idle=100)
    assert found["transfer_input_files"].split(", ") == [
        "batches/b1/payload/files-1.tar.gz",
        str(sent),
    ]
    assert "container" not in submit_file(DOCKER, max_idle=100)["transfer_input_files"]


def test_a_dollar_in_the_path_of_an_image_starts_no_macro() -> None:
    assert submit_file("x.sif", Path("/home/a $b/x.sif"))["container_image"] == (
        "/home/a $(DOLLAR)b/x.sif"
    )


def test_a_path_that_htcondor_would_split_is_refused() -> None:
    with pytest.raises(OsgbatchError, match="cannot be given an image with this path"):
        submit_file("x.sif", Path("/home/a,b/x.sif"))


def test_without_a_container_nothing_is_said_of_one() -> None:
    found = test_submit_file.commands(test_submit_file.render())
    assert not {"container_image", "+MountUnderScratch"} & set(found)


def load(folder: Path, text: str) -> Spec:
    (folder / "sweep.yaml").write_text(text)
    return load_spec(folder / "sweep.yaml")


@pytest.mark.parametrize("environment", ["x.sif", DOCKER, "{container: x.sif}"])
def test_a_container_needs_no_command(tmp_path: Path, environment: str) -> None:
    spec = load(tmp_path, f"environment: {environment}\nsweep: {{x: [1, 2]}}\n")
    assert spec.command == ()
    assert spec.environment.kind == "container"


@pytest.mark.parametrize("environment", ["none", "requirements.txt"])
def test_what_is_no_container_needs_a_command(tmp_path: Path, environment: str) -> None:
    with pytest.raises(SpecErrors, match='"command" is missing'):
        load(tmp_path, f"environment: {environment}\nsweep: {{x: [1, 2]}}\n")


def test_without_a_command_the_images_own_run_script_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from osgbatch.planning.plan import make_plan
    from osgbatch.sweep.expand import expand

    def body(text: str) -> str:
        spec = load(tmp_path, text)
        plan: Plan = make_plan(spec, expand(spec), None, None)
        return program.row_body(plan, RowWriter(plan.table, plan.tasks)).splitlines()[-1]

    spec = f"environment: {DOCKER}\nsweep: {{x: [1, 2]}}\n"
    assert body(spec) == "run /.singularity.d/runscript"
    assert body(f"command: ls {{x}}\n{spec}") == "run 'ls' \"${1}\""


@pytest.mark.parametrize(("inside", "seen"), [(True, "/opt/image"), (False, "")])
def test_an_image_keeps_the_python_path_that_it_sets(slot: Slot, inside: bool, seen: str) -> None:
    slot.environ["PYTHONPATH"] = "/opt/image"
    done = slot.run({0: sh('echo "$PYTHONPATH"')}, in_container=inside)
    assert done.text(0, "stdout") == f"{seen}\n"


def test_libraries_come_before_what_the_image_sets(slot: Slot) -> None:
    slot.environ["PYTHONPATH"] = "/opt/image"
    item = {"kind": "library", **tarball(slot.scratch / "l.tar.gz", {"m.py": "x = 1\n"})}
    done = slot.run({0: sh('echo "$PYTHONPATH"')}, in_container=True, payload=[item])
    assert done.text(0, "stdout").endswith("/.osgbatch/lib:/opt/image\n")


def test_a_run_script_that_is_not_there_is_told(slot: Slot) -> None:
    done = slot.run({0: row("/.singularity.d/runscript")}, in_container=True)
    assert only(done) == ("command-not-found", "112")
    assert done.tasks[0]["detail"] == "there is no /.singularity.d/runscript here"


def test_the_time_to_the_first_command_is_recorded(slot: Slot) -> None:
    done = slot.run({0: sh("sleep 1"), 1: sh("sleep 1")})
    spent = float(done.job["end"]) - float(done.job["start"])
    assert 0 < float(done.job["first_command_s"]) < spent - 1.9


# --- the local runner -----------------------------------------------------------------------------

APPTAINER = """\
#!/bin/sh
# Notes how it was called and starts the job in its scratch folder.
printf '%s\\n' "$@" >"{log}"
env | grep ^APPTAINERENV_ | sort >>"{log}"
while [ "$1" != --home ]; do shift; done
scratch=${{2%:/srv}}
while [ "${{1%.sif}}" = "$1" ]; do shift; done
shift 2
cd "$scratch" && exec ./condor_exec.exe "$@"
"""


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSGBATCH_LOCAL_GRACE", "0.3")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("OSGBATCH_LOCAL_DIR", str(tmp_path / "scratch"))


def container_round(folder: Path, *, image: bool = True) -> Round:
    """A round of one job in a container, whose image is in the batch's payload folder, or a URL."""
    round_ = make_round(folder, ["pwd; ls"])
    path = round_.folder.parent.parent / names.RESOLVED
    found = json.loads(path.read_text())
    found["environment"] = "container"
    if image:
        file = "payload/container-1.sif"
        found["payload"].append({"kind": "container", "file": file, "carried": f"b/{file}"})
        (path.parent / file).write_bytes(b"image")
    path.write_text(json.dumps(found))
    return round_


@pytest.mark.usefixtures("scratch")
def test_the_local_runner_starts_a_job_in_its_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/apptainer"
    program.write_text(APPTAINER.format(log=tmp_path / "log"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    round_ = container_round(tmp_path)
    assert numbers(run(round_)) == [0, 1, 5]
    words = (tmp_path / "log").read_text().splitlines()
    image = round_.folder.parent.parent / "payload/container-1.sif"
    cut = words.index(str(image))
    assert words[cut + 1 : cut + 4] == ["/srv/condor_exec.exe", "1", "0"]
    assert "--containall" in words[:cut]
    assert words[words.index("--pwd") + 1] == "/srv"
    assert [words[i + 1] for i, word in enumerate(words) if word == "--scratch"] == [
        "/inputs",
        "/related",
        "/outputs",
    ]
    assert "APPTAINERENV__CONDOR_SCRATCH_DIR=/srv" in words
    assert not any(word.startswith("APPTAINERENV_PATH=") for word in words)
    said = returned(round_)["0/1_0.out"]
    assert "container-1.sif" not in said, "the image is not copied into the scratch folder"


@pytest.mark.usefixtures("scratch")
def test_the_local_runner_refuses_a_container_without_apptainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    round_ = container_round(tmp_path)
    with pytest.raises(OsgbatchError, match="there is no apptainer on this machine") as caught:
        backend.submit(round_)
    assert caught.value.fix == "Use --pool condor, or install apptainer."
    assert not (round_.folder / names.EVENTS).exists()


@pytest.mark.usefixtures("scratch")
def test_the_local_runner_refuses_an_image_that_it_would_have_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(OsgbatchError, match=r"runs images that are files \(\.sif\)"):
        backend.submit(container_round(tmp_path, image=False))
