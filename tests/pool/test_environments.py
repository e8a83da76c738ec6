"""The example runs in every kind of environment, on whichever kind of execution point is there."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import osgbatch
from test_find_peaks import ROOT, check_ends, check_results, copy_example
from test_templates import begin, end

sys.path.insert(0, str(ROOT / "tests/unit"))
sys.path.insert(0, str(ROOT / "tools"))

import apptainer
import conda_channel
import conda_channel_installed as installed

pytestmark = [pytest.mark.pool, pytest.mark.environments]

KINDS = {
    "pyproject.toml": "requirements",
    "environment.yml": "conda",
    "virtual environment": "prefix",
    "conda environment": "prefix",
    "archive": "archive",
    "archive of conda-pack": "archive",
    "image": "container",
}
"""Each with its key in a spec. The example's own requirements.txt is in test_find_peaks.py."""
SAME = {"pyproject.toml": "requirements.txt", "archive": "virtual environment"}
"""What jobs unpack is made, and put right, as for another: one kind of execution point tells."""
TRIED = ("archive of conda-pack",)
"""What is tried before it is sent, as requirements.txt is in test_find_peaks.py; the others are
not, since a trial costs as much as a job (tests/unit/test_packing_*.py try each kind)."""

DEFINITION = """\
Bootstrap: localimage
From: {bare}
%files
  {environment} /opt/environment
%environment
  export PATH=/opt/environment/bin:$PATH
"""


class Workshop:
    """Makes environments with what the example needs, each when it is first asked for.

    No network: all is taken from what is installed here. `variables`: of every osgbatch, so that
    what it keeps is gone with the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.variables: Mapping[str, str] = {
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": (folder / "wheels").as_uri(),
        }

    def environment(self, kind: str) -> Path:
        """What the spec names as its environment; another pool's tests may have made it."""
        name = re.sub(r"[ .-]", "_", kind)
        note = self.folder / f"{name}.made"
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not note.exists():
                made: Path = getattr(self, f"_{name}")()
                note.write_text(str(made))
        return Path(note.read_text())

    def _pyproject_toml(self) -> Path:
        wanted = installed.write_wheels(self.folder / "wheels")
        file = self.folder / "project/pyproject.toml"
        file.parent.mkdir()
        file.write_text(
            f'[project]\nname = "peaks"\nversion = "1.0"\ndependencies = {json.dumps(wanted)}\n'
        )
        return file

    def _channel(self) -> Path:
        (self.folder / "scratch").mkdir()
        return installed.make_channel(self.folder / "channel", self.folder / "scratch")

    def _environment_yml(self) -> Path:
        (self.folder / "spec").mkdir()
        names = ("python", *installed.SCIENTIFIC)
        return conda_channel.spec(self.folder / "spec", self.environment("channel"), *names)

    def _virtual_environment(self) -> Path:
        return installed.make_venv(self.folder / "my env")

    def _conda_environment(self) -> Path:
        channel, names = self.environment("channel"), ("python", *installed.SCIENTIFIC)
        packages = self.folder / "packages"
        return conda_channel.install_prefix(channel, self.folder / "conda", packages, *names)

    def _archive(self) -> Path:
        target = self.folder / "mine.tar.gz"
        source = self.environment("virtual environment")
        options = ("--no-test", "--out", target)  # so it is the one that was sent from there
        osgbatch("pack", "env", source, *options, cwd=self.folder, env=self.variables)
        return target

    def _archive_of_conda_pack(self) -> Path:
        target = self.folder / "theirs.tar.gz"
        prefix = self.environment("conda environment")
        command = [sys.executable, "-m", "conda_pack.cli", "-q", "-p", prefix, "-o", target]
        subprocess.run([*command, "--compress-level", "1"], check=True)
        return target

    def _image(self) -> Path:
        """Debian 11 and, unpacked in it, what was packed of the virtual environment."""
        unpacked, target = self.folder / "unpacked", self.folder / "image.sif"
        unpacked.mkdir()
        archive = self.environment("archive")
        subprocess.run(["tar", "-xzf", archive, "-C", unpacked], check=True)
        definition = self.folder / "image.def"
        definition.write_text(DEFINITION.format(bare=apptainer.image("bare"), environment=unpacked))
        quick = ["--mksquashfs-args", "-Xcompression-level 1"]
        # without root there may be a fakeroot that does not start in an image with an older glibc
        command = [apptainer.provide(), "build", "--ignore-fakeroot-command", *quick]
        done = subprocess.run([*command, target, definition], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return target


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Some 2 GB when all has been made. tools/run.py lets two pools share it, and removes it."""
    shared = os.environ.get("OSGBATCH_TEST_SHARED")
    if shared:
        yield Workshop(Path(shared) / "environments")
        return
    folder = tmp_path_factory.mktemp("environments")
    yield Workshop(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.once] * (kind in SAME)) for kind in KINDS]
)
def test_the_example_runs_in_every_kind_of_environment(
    pool: Pool, tmp_path: Path, workshop: Workshop, kind: str
) -> None:
    folder = copy_example(tmp_path)
    for path in (folder / "data").iterdir():
        if path.stem not in "01":
            path.unlink()
    environment = f'{{{KINDS[kind]}: "{workshop.environment(kind)}"}}'
    if kind not in TRIED and kind != "image":
        environment = environment.replace("}", ", test: false}")
    template = None
    if kind == "environment.yml" and not pool.ospool:
        words = ("--set", f"environment={environment}", "--set", "tasks_per_job=9")
        template = begin(tmp_path, "conda", *words, env=workshop.variables)
    # gather.py unpacks all of it again, here: where the jobs have run makes no difference to it,
    # and the archive is the very one of the virtual environment
    gathers = not pool.ospool and kind != "archive"
    more = () if gathers else ("--set", "gather=null")
    osgbatch(
        *("submit", "--pool", "condor", "--watch", "--set", f"environment={environment}"),
        *("--set", "tasks_per_job=2", *more, "sweep.yaml"),
        cwd=folder,
        env=workshop.variables,
    )
    (batch,) = (folder / "batches").iterdir()
    check_results(batch, 2, drawn=gathers)
    check_ends(pool, batch, 1)
    resolved = json.loads((batch / "resolved.json").read_text())
    brought = "container" if kind == "image" else "environment"
    assert brought in [one["kind"] for one in resolved["payload"]]
    record = json.loads((batch / "results/0/status.json").read_text())["job"]
    if pool.ospool or kind == "image":
        assert "Debian GNU/Linux 11" in record["os"]
    if template:
        fit = (end(pool, template, 1) / "results/8/outputs/fit.csv").read_text()
        assert fit.startswith("seed,degree,error\n3,5,0.")


@pytest.mark.once
def test_an_example_runs_in_a_ready_environment(pool: Pool, tmp_path: Path) -> None:
    for name in ("envs/scientific", "examples/epidemic"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("batches", "__pycache__")
        )
    folder = tmp_path / "examples/epidemic"
    said = osgbatch("submit", "--pool", "condor", "--watch", "sweep.yaml", cwd=folder)
    assert "20 succeeded" in said.stdout
    (batch,) = (folder / "batches").iterdir()
    check_ends(pool, batch, 2)
    with (batch / "results/table.csv").open(newline="") as stream:
        rows = {(row["r0"], row["vaccinated"]): row for row in csv.DictReader(stream)}
    assert len(rows) == 20
    # of people that nobody has vaccinated, 1 - x = exp(-2 x) fall ill when one infects two
    assert abs(float(rows["2.0", "0.0"]["ill"]) - 0.797) < 0.001
    assert float(rows["2.0", "0.6"]["ill"]) < 0.01  # too few are left to keep it going
    assert (batch / "results/map.png").read_bytes().startswith(b"\x89PNG")
