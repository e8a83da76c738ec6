"""A machine without HTCondor's bindings and commands, as a laptop with macOS is: all is there.

Nothing needs them but what asks an HTCondor; that says what to do instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_disk import on_small_disk

HIDDEN = ("htcondor2", "classad2", "htcondor", "classad")
EVERY_MODULE = """
import importlib, pkgutil, sys
import osgbatch
for module in pkgutil.walk_packages(osgbatch.__path__, "osgbatch."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print([name for name in %r if name in sys.modules])
"""


@pytest.fixture
def laptop(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that finds neither the bindings nor a condor command."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in HIDDEN:
        text = f"raise ModuleNotFoundError({name!r} ' is hidden', name={name!r})\n"
        (hidden / f"{name}.py").write_text(text)
    kept = {name: value for name, value in os.environ.items() if name != "CONDOR_CONFIG"}
    path = "/usr/local/bin:/usr/bin:/bin"
    state = str(tmp_path / "state")
    return {**kept, "PYTHONPATH": str(hidden), "PATH": path, "XDG_STATE_HOME": state}


def run(words: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


def test_every_module_loads(tmp_path: Path, laptop: dict[str, str]) -> None:
    root = str(Path(__file__).resolve().parents[2])
    laptop["PYTHONPATH"] += os.pathsep + root
    done = run(["-c", EVERY_MODULE % (HIDDEN,)], tmp_path, laptop)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_first_sweep_runs_here_and_htcondor_is_told_of_when_it_is_asked_for(
    tmp_path: Path, laptop: dict[str, str]
) -> None:
    osgbatch = ["-m", "osgbatch"]
    made = run([*osgbatch, "init", "hello"], tmp_path, laptop)
    assert made.returncode == 0, made.stderr
    folder = tmp_path / "hello"
    done = run([*osgbatch, "submit", "--watch", "sweep.yaml"], folder, laptop)
    assert done.returncode == 0, done.stderr
    assert "to the local runner" in done.stdout and "3 succeeded" in done.stdout
    (submit_file,) = folder.glob("batches/*/rounds/001/job.submit")
    assert run([*osgbatch, "lint", str(submit_file)], folder, laptop).returncode == 0
    done = run([*osgbatch, "submit", "--pool", "condor", "sweep.yaml"], folder, laptop)
    assert done.returncode == 5
    assert "there is no condor_q on PATH: this machine has no HTCondor" in done.stderr
    assert "Or run locally: --pool local." in done.stderr


def test_a_first_sweep_runs_where_only_what_macos_has_is_there(tmp_path: Path) -> None:
    """No /proc: processes are told by other means, and ended when their time is over."""
    (tmp_path / "sweep.yaml").write_text(
        "script: if [ {x} = 1 ]; then sleep 60; fi\nsweep: {x: [1, 2]}\nresources: {time: 1 s}\n"
    )
    like_macos = Path(__file__).parent / "like_macos"
    script = f"export PYTHONPATH='{like_macos}':$PYTHONPATH && mount -t tmpfs none /proc && "
    script += '! "$python" -c "import signal; signal.sigtimedwait" 2>/dev/null && '
    script += "osgbatch submit --pool local --watch sweep.yaml"
    done = on_small_disk(tmp_path / "disk", 100, script, {"XDG_STATE_HOME": str(tmp_path / "s")})
    assert done.returncode == 1, done.stderr
    assert "2 tasks: 1 succeeded, 1 failed" in done.stdout, done.stderr
    assert "over its time limit of 1 s" in done.stdout
