"""The environment of a plan: what is warned of, and what is kept of it in the batch folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_packing_given import STARTED, tarball

from osgbatch import packed, steps
from osgbatch.model import Spec
from osgbatch.packed import environment_warnings
from osgbatch.packing.environment import EnvironmentArchive
from osgbatch.spec.load import load_spec


def sweep(folder: Path, more: str = "") -> Spec:
    (folder / "job.py").write_text("import numpy, torch\n")
    (folder / "sweep.yaml").write_text(f"command: python job.py\nfiles: job.py\n{more}")
    return load_spec(folder / "sweep.yaml")


def archive(folder: Path, **facts: object) -> EnvironmentArchive:
    tarball(folder / "e.tar.gz", {"bin/Rscript": STARTED})
    usual = {"sha256": "0" * 64, "size": 1, "unpacked_size": 1, "python": "", "packages": ()}
    return EnvironmentArchive(folder / "e.tar.gz", **usual | facts)  # type: ignore[arg-type]


def test_imports_that_the_environment_lacks_are_warned_of(tmp_path: Path) -> None:
    said = environment_warnings(sweep(tmp_path), archive(tmp_path, modules=("numpy",)))
    assert len(said) == 1 and said[0].startswith("torch is imported by your scripts")
    assert environment_warnings(sweep(tmp_path), archive(tmp_path)) == []
    assert environment_warnings(sweep(tmp_path), None) == []


@pytest.mark.parametrize(
    ("needed", "told"),
    [("", None), ("2.9", None), ("2.17", None), ("2.28", None), ("2.29", "EL 9"),
     ("2.36", "Debian 12"), ("2.99", "execution points")],
)  # fmt: skip
def test_a_glibc_that_not_all_have_is_warned_of(
    tmp_path: Path, needed: str, told: str | None
) -> None:
    said = environment_warnings(sweep(tmp_path), archive(tmp_path, glibc_needed=needed))
    assert bool(said) == (told is not None)
    assert told is None or (f"glibc {needed} or newer" in said[0] and told in said[0])
    chosen = sweep(tmp_path, "requirements: {os: el9}\n")
    assert environment_warnings(chosen, archive(tmp_path, glibc_needed=needed)) == []


def test_a_batch_has_the_lock_and_the_level_of_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = archive(
        tmp_path, lock="@EXPLICIT\n", microarch="x86_64-v3", glibc_needed="2.38", modules=("numpy",)
    )
    monkeypatch.setattr(packed, "packed_environment", lambda *given: made)
    said: list[str] = []
    sweep(tmp_path, "environment: e.tar.gz\n")
    batch = steps.render_sweep(tmp_path / "sweep.yaml", tmp_path / "b", said.append)
    assert (batch.folder / "environment.lock").read_text() == "@EXPLICIT\n"
    assert sum(1 for path in batch.folder.rglob("*") if path.is_file()) <= 20
    text = (batch.folder / "rounds/001/job.submit").read_text()
    assert 'isUndefined(TARGET.Microarch) || TARGET.Microarch >= "x86_64-v3"' in text
    assert [line.partition(" ")[0] for line in said] == ["warning:", "warning:"]
    assert "torch" in said[0] and "glibc 2.38" in said[1]
