"""A real R of conda packages: packed, put right at another path, tried, and started by the shim."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import conda_channel
import pytest
import r_channel
import shim_harness
from conda_channel import install_prefix, spec
from shim_harness import Slot, row, sh, tarball

from osgbatch.collecting.gather import run_gather
from osgbatch.errors import PackingError
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.conda import conda_archive, put_right
from osgbatch.packing.environment.given import given_archive
from osgbatch.packing.environment.prefix_conda import conda_entry
from osgbatch.packing.environment.trial import unpack
from osgbatch.packing.environment.trial_r import try_languages
from osgbatch.spec_model import Environment

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("apt-get"), reason="R is taken from Debian"
)
slot = shim_harness.slot
FIT = """\
library(greet)
arguments <- commandArgs(TRUE)
fit <- lm(y ~ x, data.frame(x = 1:5, y = 2 * (1:5) + as.numeric(arguments[1])))
cat(greet(arguments[2]), round(coef(fit), 6), R.home(), .libPaths(), sep = "\\n")
"""


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channel")
    r_channel.add_r(folder / "local")
    conda_channel.write_package(folder / "local", conda_channel.python_package(folder))
    conda_channel.index_channel(folder / "local")
    return folder / "local"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def packed(
    channel: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> EnvironmentArchive:
    file = spec(tmp_path_factory.mktemp("spec"), channel, "r-base", "r-greet")
    return conda_archive(Environment("conda", imports=("greet",)), file, cache, lambda line: None)


def test_r_alone_is_packed_and_tried(packed: EnvironmentArchive) -> None:
    assert packed.python == ""
    assert {"r-base==4.0.4", "r-greet==1.0"} <= set(packed.packages)
    assert {"R:greet", "R:base", "R:stats"} <= set(packed.modules)
    assert not [note for note in packed.notes if "nowhere" in note]


@pytest.fixture(scope="module")
def unpacked(packed: EnvironmentArchive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In a folder with blanks, as `trial.unpack` has it."""
    root = unpack(packed.path, tmp_path_factory.mktemp("else"))
    assert put_right(root) == ""
    return root


def test_it_is_at_home_where_it_was_put(unpacked: Path, tmp_path: Path) -> None:
    trial = try_languages(unpacked, ["greet", "R:stats", "nothing"], tmp_path)
    assert trial.broken == ""
    assert list(trial.failed) == ["nothing"] and "no package called" in trial.failed["nothing"]
    assert not [path for path in trial.outside if not path.name.startswith(("lib", "ld-"))]
    for name in ("libR.so", "libblas.so.3", "libicuuc.so.67", "libreadline.so.8"):
        assert name not in {path.name for path in trial.outside}


def test_an_r_that_is_elsewhere_at_home_is_no_good(unpacked: Path, tmp_path: Path) -> None:
    moved = tmp_path / "again"
    shutil.copytree(unpacked, moved, symlinks=True)  # and not put right
    trial = try_languages(moved, [], tmp_path)
    assert "for its own" in trial.broken


def test_r_packages_that_do_not_load_are_told(channel: Path, cache: Path, tmp_path: Path) -> None:
    file = spec(tmp_path, channel, "r-broken")
    with pytest.raises(PackingError, match=r"r-broken cannot be imported: .*broken"):
        conda_archive(Environment("conda"), file, cache, lambda line: None)
    prefix = install_prefix(channel, tmp_path / "prefix", tmp_path / "packages", "r-broken")
    shop = tmp_path / "shop"
    shop.mkdir()
    wanted = Environment("prefix")
    name = "f" * 32
    entry = conda_entry(wanted, prefix, shop, cache, name, lambda line: None, (), lambda: None)
    assert "R:broken cannot be imported, before packing neither" in entry.notes


def test_the_packages_of_an_archive_of_r_are_tried(
    packed: EnvironmentArchive, cache: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.tar.gz"
    shutil.copy(packed.path, mine)
    wanted = Environment("archive", imports=("greet",))
    assert "R:greet" in given_archive(wanted, mine, cache, lambda line: None).modules
    wanted = Environment("archive", imports=("greet", "jsonlite"))
    with pytest.raises(PackingError, match="jsonlite, named under imports, cannot be imported"):
        given_archive(wanted, mine, cache, lambda line: None)


def test_the_shim_runs_r_scripts(slot: Slot, packed: EnvironmentArchive) -> None:
    slot.scratch = slot.root / "with blanks"  # R's own scripts cannot do with quotes in its path
    slot.scratch.mkdir()
    shutil.copy(packed.path, slot.scratch / "environment-1.tar.gz")
    environment = {"file": "environment-1.tar.gz", "sha256": packed.sha256}
    own = {"fit.R": FIT, "sub/fit.r": FIT, ".Rprofile": "options(mine = 'yes')\n"}
    files = shim_harness.tarball(slot.scratch / "files-1.tar.gz", own)
    home = slot.root / "home"
    home.mkdir()
    (home / ".Rprofile").write_text("stop('not of the home folder')\n")
    (home / ".Renviron").write_text("R_LIBS=/nowhere\nFROM_HOME=yes\n")
    elsewhere = str(slot.root / "elsewhere")
    slot.environ = {
        **dict.fromkeys(("RHOME", "R_HOME", "R_LIBS", "R_LIBS_SITE", "R_PROFILE"), elsewhere),
        "HOME": str(home),
        **dict.fromkeys(("R_LIBS_USER", "R_ENVIRON", "R_PROFILE_USER"), elsewhere),
    }
    done = slot.run(
        {
            0: row("Rscript", "fit.R", "1", "a  b"),
            1: row("fit.R", "1", "a  b"),
            2: row("./sub/fit.r", "1", "a  b"),
            3: row("Rscript", "-e", 'cat(Sys.getenv("RSTUDIO_WHICH_R"))'),
            5: row("Rscript", "-e", 'cat(getOption("mine"), Sys.getenv("FROM_HOME"), "no")'),
            4: row("nothing.R"),
        },
        payload=[{"kind": "environment", **environment}, {"kind": "files", **files}],
        has_environment=True,
    )
    assert done.code == 112, done.stderr  # the first that failed, which is the only one
    r_home = f"{slot.scratch}/.osgbatch/env/lib/R"
    expected = f"hello a  b\n1\n2\n{r_home}\n{r_home}/library\n"
    for index in range(3):
        assert done.text(index, "stdout") == expected, done.text(index, "stderr")
    assert done.text(5, "stdout") == "yes  no"
    assert done.tasks[4]["reason"] == "command-not-found"
    assert done.tasks[4]["detail"].startswith("nothing.R was not found in PATH")
    if slot.shell != "busybox":  # no bash there
        assert done.text(3, "stdout").endswith("/.osgbatch/env/bin/R")


def test_an_r_script_that_names_its_interpreter_is_started_by_that(slot: Slot) -> None:
    rscript = tarball(
        slot.scratch / "environment-1.tar.gz", {"bin/Rscript": "#!/bin/sh\necho R $1\n"}
    )
    own = {
        "own.R": "#!/bin/sh\necho own $0 $1\n",
        "sub/own.r": "#!/bin/sh\necho own $0 $1\n",
        "dos.R": "#!/usr/bin/env Rscript\r\n",
        "none.R": "cat(1)\n",
        "empty.R": "",
    }
    files = tarball(slot.scratch / "files-1.tar.gz", own)
    plain = tarball(slot.scratch / "files-2.tar.gz", {"mode.R": own["own.R"]}, mode=0o644)
    names = ["own.R", "./own.R", "sub/own.r", "mode.R", "dos.R", "none.R", "empty.R"]
    payload = {"environment": rscript, "files": files}
    done = slot.run(
        {index: row(name, "a b") for index, name in enumerate(names)},
        payload=[
            *({"kind": kind, **one} for kind, one in payload.items()),
            {"kind": "files", **plain},
        ],
        has_environment=True,
    )
    said = [done.text(index, "stdout").strip() for index in range(len(names))]
    started = ["own ./own.R a b", "own ./own.R a b", "own sub/own.r a b"]
    assert said == [*started, *(f"R {name}" for name in names[3:])], done.tasks


@pytest.mark.parametrize("packed_r", [False, True])
def test_only_a_packed_r_forgets_where_the_one_of_the_execution_point_looks(
    slot: Slot, packed_r: bool
) -> None:
    names = ("R_LIBS", "R_LIBS_SITE", "R_LIBS_USER", "R_PROFILE_USER", "R_ENVIRON", "R_HOME")
    slot.environ = dict.fromkeys(names, "/of/the/point")
    archive = tarball(slot.scratch / "environment-1.tar.gz", {"bin/Rscript": "#!/bin/sh\n"})
    done = slot.run(
        {0: sh("env | sort | grep ^R_")},
        payload=[{"kind": "environment", **archive}] if packed_r else [],
        has_environment=packed_r,
    )
    seen = dict(line.split("=", 1) for line in done.text(0, "stdout").splitlines())
    ours = {"R_LIBS_USER": "NULL", "R_ENVIRON_USER": ".Renviron", "R_PROFILE_USER": ".Rprofile"}
    assert seen == (ours if packed_r else slot.environ), done.text(0, "stderr")


def test_a_script_of_r_gathers(
    packed: EnvironmentArchive, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "gather.R").write_text('library(greet)\ncat(greet("x"), basename(getwd()))\n')
    run_gather(
        tmp_path / "gather.R",
        tmp_path / "results",
        spec_folder=tmp_path,
        batch_folder=tmp_path,
        environment=packed.path,
        libraries=[],
    )
    assert capfd.readouterr().out == "hello x results"


def test_an_r_that_does_not_start_is_105(slot: Slot) -> None:
    files = {"bin/Rscript": "#!/bin/sh\necho no libR.so >&2\nexit 127\n"}
    archive = shim_harness.tarball(slot.scratch / "environment-1.tar.gz", files)
    payload = [{"kind": "environment", **archive}]
    done = slot.run({0: row("true")}, payload=payload, has_environment=True)
    assert done.code == 105 and "env Rscript said: no libR.so" in done.stderr


def test_python_and_r_together(channel: Path, cache: Path, tmp_path: Path) -> None:
    file = spec(tmp_path, channel, "python", "r-greet")
    wanted = Environment("conda", imports=("json", "greet"))
    packed = conda_archive(wanted, file, cache, lambda line: None)
    assert packed.python == conda_channel.VERSION and "R:greet" in packed.modules
    root = unpack(packed.path, tmp_path / "else")
    assert b"python" in (root / "bin/conda-unpack").read_bytes()[:200]
    assert put_right(root) == ""
    trial = try_languages(root, ["json", "greet"], tmp_path)
    assert (trial.failed, trial.broken) == ({}, "")
