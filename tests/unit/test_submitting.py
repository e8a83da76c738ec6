"""What becomes of a round that is given to a backend, when that fails; and telling of the end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches import registry
from osgbatch.batches.folder import Batch
from osgbatch.errors import CondorError, OsgbatchError, RefusedError
from osgbatch.model import Round
from osgbatch.spec import profiles
from osgbatch.submission import steps
from osgbatch.submission.submitting import choose_backend, give


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    (tmp_path / "sweep.yaml").write_text("command: echo {x}\nsweep: {x: [0]}\n")
    return steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)


def given(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, error: CondorError, queued: int
) -> list[str]:
    """Give its round to an HTCondor that fails so, and has this cluster of it; what is said."""
    said: list[str] = []

    def submit(round_: object, lock: int) -> None:
        raise error

    monkeypatch.setattr("osgbatch.condor.submit", submit)
    monkeypatch.setattr("osgbatch.condor.find_cluster", lambda round_: queued or None)

    def say(text: str) -> None:
        said.append(text)
        # Whoever comes after a kill at this moment must find that it was given.
        assert (batch.rounds()[0].folder / names.SUBMITTED).exists()

    give("condor", batch.rounds()[0], 0, say)
    return said


def test_what_is_queued_though_condor_submit_failed_is_submitted(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    (said,) = given(batch, monkeypatch, CondorError("condor_submit failed"), 17)
    assert "condor_submit failed; it is queued all the same, as cluster 17" in said
    noted = folders.read_submitted(batch.rounds()[0])
    assert noted is not None
    assert (noted.cluster, noted.backend) == (17, "condor")


@pytest.mark.parametrize(
    ("error", "queued"), [(CondorError("failed"), 0), (RefusedError("complained"), 17)]
)
def test_what_was_refused_is_not_submitted(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, error: CondorError, queued: int
) -> None:
    with pytest.raises(CondorError, match=error.what):
        given(batch, monkeypatch, error, queued)
    assert not (batch.rounds()[0].folder / names.SUBMITTED).exists()


def test_what_is_not_known_to_be_queued_is_looked_for_later(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(round_: object) -> int:
        raise CondorError("no answer")

    monkeypatch.setattr("osgbatch.condor.submit", lambda round_, lock: silent(round_))
    monkeypatch.setattr("osgbatch.condor.find_cluster", silent)
    with pytest.raises(CondorError, match="whether it is queued is not known"):
        give("condor", batch.rounds()[0], 0, print)
    noted = folders.read_submitted(batch.rounds()[0])
    assert noted is not None
    assert noted.cluster == 0


# --- telling of the end --------------------------------------------------------------------------

NOTIFY = """
import signal, sys
from pathlib import Path
from osgbatch.batches.folder import Batch
from osgbatch.life.following import Status
from osgbatch.life.notifying import notify_end
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as the command line has it
now = Status(Batch(Path("b"), {"name": "n"}), {"succeeded": 1}, [], "local", 1)
notify_end(sys.argv[1], now, "1 succeeded" + " " * 200_000, print)
print("told")
"""


@pytest.mark.parametrize(
    ("command", "told"),
    [("true", "told\n"), ("exit 4", "note: --notify exit 4: exit code 4\ntold\n"),
     ("head -c 21; echo", "osgbatch: n has ended\ntold\n")],
)  # fmt: skip
def test_a_command_that_does_not_read_its_stdin_does_not_end_us(command: str, told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOTIFY, command], capture_output=True, text=True, check=False
    )
    assert done.returncode != -signal.SIGPIPE
    assert sorted(done.stdout.splitlines()) == sorted(told.splitlines())


def test_a_batch_that_was_refused_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sweep.yaml").write_text("command: echo {x}\nsweep: {x: [0]}\n")
    entered: list[str] = []

    def refuse(backend: str, round_: Round, lock: int, say: object) -> None:
        entered.extend(entry.id for entry in registry.entries() if entry.folders)
        raise RefusedError("no such image")

    monkeypatch.setattr(steps, "give", refuse)
    with pytest.raises(RefusedError):
        steps.submit_sweep(tmp_path / "sweep.yaml", "local", lambda text: None)
    newest = entered[0]  # entered before anybody was asked to run it
    assert not any(entry.folders for entry in registry.entries() if entry.id == newest)
    assert not list((tmp_path / "batches").glob("*-*"))


def test_ctrl_c_is_told_wherever_it_comes(tmp_path: Path) -> None:
    """Outside the loop of watch, too: typer takes it, and gives an exit code."""
    program = (
        "import osgbatch.cli.app as app, osgbatch.cli.spec_commands as commands, sys\n"
        "def interrupted(*given, **more): raise KeyboardInterrupt\n"
        "import osgbatch.spec.jsonschema\n"
        "sys.argv = ['osgbatch', 'schema']\n"
        "import osgbatch.ui as ui\n"
        "ui.out = ui.out_json = interrupted\n"
        "sys.exit(app.run())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr


def test_an_access_point_runs_jobs_itself_only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osgbatch.condor.configured", lambda: False)
    monkeypatch.setattr(profiles, "host_names", lambda: ("ap40.uw.osg-htc.org",))
    for pool in ("local", "auto"):
        with pytest.raises(OsgbatchError, match="access point of Open Science Pool"):
            choose_backend(pool)
    monkeypatch.setenv(names.ON_ACCESS_POINT, "1")
    assert choose_backend("local") == "local"


def test_told_so_they_run_one_at_a_time_also_where_no_profile_knows_the_host(
    tmp_path: Path,
) -> None:
    task = f"mkdir {tmp_path}/one || exit 3; sleep 0.3; rmdir {tmp_path}/one"
    (tmp_path / "sweep.yaml").write_text(f"command: [sh, -c, '{task}']\nsweep: {{repeat: 4}}\n")
    command = [sys.executable, "-m", "osgbatch", "submit", "--pool", "local", "--on-access-point"]
    done = subprocess.run(
        [*command, "--watch", "sweep.yaml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
