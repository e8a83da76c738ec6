"""A disk that is full while packing: one clear error, nothing left behind, the cache as it was."""

from __future__ import annotations

import errno
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from private_channel import small_channel
from small_disk import on_small_disk
from test_packing_given import STARTED, tarball, wanted

from osgbatch.errors import PackingError
from osgbatch.packing import disk_full
from osgbatch.packing.environment import given, packed_environment
from osgbatch.packing.environment.cleaning import kept_things

SHOW = 'echo "code $?"; echo "left:"; (cd "$disk" && find . -type f | LC_ALL=C sort)'
"""How the last command ended, and every file on the disk."""


def left(said: str) -> list[str]:
    """Every file that SHOW shows; locks, and what uv keeps of its own, aside."""
    files = said.partition("left:\n")[2].split()
    return [one for one in files if not one.endswith(".lock") and not one.startswith("./uv/")]


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stderr and "code 3\n" in done.stdout, done
    lines = [line for line in done.stderr.splitlines() if line.startswith("osgbatch: ")]
    assert len(lines) == 1, done.stderr
    return done.stderr[done.stderr.index(lines[0]) :]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tarball(tmp_path / "small.tar.gz", {"bin/Rscript": STARTED})
    tarball(tmp_path / "big.tar.gz", {"bin/Rscript": STARTED, "x": os.urandom(1 << 20).hex()})
    return tmp_path


def run(folder: Path, kilobytes: int, script: str) -> subprocess.CompletedProcess[str]:
    disk = folder / "disk"
    return on_small_disk(disk, kilobytes, script, {"XDG_CACHE_HOME": str(disk)})


def test_a_given_archive_that_does_not_fit(folder: Path) -> None:
    script = f"osgbatch pack env small.tar.gz --json >before; osgbatch pack env big.tar.gz\n{SHOW}"
    script += "\nosgbatch pack env small.tar.gz --json >after; cmp before after && echo same"
    script += "\nmake_room; osgbatch pack env big.tar.gz >/dev/null && echo packed"
    done = run(folder, 700, script)
    error = one_error(done)
    assert "this needs about 2 MB, and 0 MB are free there" in error
    assert "XDG_CACHE_HOME" in error and "`osgbatch pack clean`" in error
    files = left(done.stdout.partition("same")[0])
    assert len(files) == 2 and not any(".build-" in name for name in files)
    assert "same\npacked\n" in done.stdout


def test_a_given_archive_that_fits_but_not_unpacked(folder: Path) -> None:
    done = run(folder, 2500, f"osgbatch pack env big.tar.gz\n{SHOW}")
    assert "this needs about 3 MB" in one_error(done) and left(done.stdout) == []


QUOTA = """
import sys
from pathlib import Path
from osgbatch.packing import disk_full
from test_packing_given import take
disk_full.free_bytes = lambda folder: 1 << 62
try:
    take(Path(sys.argv[1]).absolute(), Path(sys.argv[2]))
except disk_full.FullDiskError as error:
    print(error)
"""


def test_a_disk_that_is_full_though_it_says_otherwise(folder: Path) -> None:
    """As with a quota, or when others write, too."""
    (folder / "q.py").write_text(QUOTA)
    for kilobytes in (700, 2500):  # while copying, while unpacking
        done = run(folder, kilobytes, f'"$python" q.py big.tar.gz "$disk/c"\n{SHOW}')
        assert "no space is left there; this needs" in done.stdout, done
        assert "code 0" in done.stdout and left(done.stdout) == []


def test_requirements_that_do_not_fit(folder: Path) -> None:
    info = "big-1.0.dist-info"
    with zipfile.ZipFile(folder / "big-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("big.py", "x = 1\n")
        wheel.writestr("big.bin", os.urandom(4 << 20))
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: big\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    (folder / "r.txt").write_text("--no-index\n./big-1.0-py3-none-any.whl\n")
    done = run(folder, 3000, f"osgbatch pack env r.txt\n{SHOW}")  # pip's words
    assert "no space is left there" in one_error(done) and left(done.stdout) == []
    done = run(folder, 9000, f"osgbatch pack env r.txt\n{SHOW}")  # writing the archive
    assert "no space is left there; this needs more than" in one_error(done)
    assert left(done.stdout) == []


def test_conda_packages_that_do_not_fit(folder: Path) -> None:
    channel = small_channel(folder / "channel", big=os.urandom(3 << 20))
    (folder / "environment.yml").write_text(
        f"channels: ['{channel.as_uri()}']\ndependencies: [python, big]\n"
    )
    done = run(folder, 2000, f"osgbatch pack env environment.yml --no-test\n{SHOW}")
    error = one_error(done)
    assert "no space is left there; this needs about 28 MB" in error and "channel" not in error
    assert not [name for name in left(done.stdout) if "/environments/" in name or "/big-" in name]
    script = "osgbatch pack env environment.yml --no-test\nmake_room\n"
    script += "osgbatch pack env environment.yml --no-test >/dev/null && echo packed"
    assert run(folder, 5000, script).stdout == "packed\n"


def test_a_batch_folder_that_does_not_fit(folder: Path) -> None:
    (folder / "sweep.yaml").write_text(
        "command: cat big\nfiles: [big]\nsweep: {x: [1]}\nenvironment: none\n"
    )
    (folder / "big").write_bytes(os.urandom(1 << 20))
    done = run(folder, 700, f'osgbatch render sweep.yaml --out "$disk/batch"\n{SHOW}')
    error = one_error(done)
    assert "the batch needs up to 1 MB, and the file system leaves 7" in error
    assert "nothing was written" in error and "XDG_CACHE_HOME" not in error
    assert left(done.stdout) == [] and not (folder / "batches").exists()


def test_a_folder_for_the_stash_that_does_not_fit(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "big").write_bytes(os.urandom(1 << 20))
    (folder / "st").mkdir()
    (folder / "sweep.yaml").write_text(
        f"command: echo\nstash: {{folder: '{folder}/st', url: 'osdf:///x'}}\n"
    )
    done = run(folder, 600, f"osgbatch stage put --spec sweep.yaml data\n{SHOW}")
    assert "cannot be written: No space left on device" in one_error(done)
    assert not [one for one in left(done.stdout) if "folder-" in one]
    assert not [one for one in (folder / "st").rglob("*") if one.is_file()]


def test_an_archive_that_does_not_fit_where_it_is_wanted(folder: Path) -> None:
    script = f'osgbatch pack env big.tar.gz --out "$disk/env.tar.gz"\n{SHOW}'
    done = on_small_disk(folder / "disk", 500, script, {"XDG_CACHE_HOME": str(folder / "xdg")})
    error = one_error(done)
    assert "no space is left there" in error and "write the archive elsewhere" in error
    assert left(done.stdout) == []
    assert [one.kind for one in kept_things(folder / "xdg/osgbatch")] == ["archive"]


def test_a_quota_that_is_used_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(path: Path, shop: Path) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(given, "_copied", copied)
    how = wanted("archive", folder / "small.tar.gz")
    with pytest.raises(PackingError, match="your quota is used up") as caught:
        packed_environment(how, Path("/"), folder / "c", lambda line: None)
    assert "XDG_CACHE_HOME" in caught.value.fix and kept_things(folder / "c") == []


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
        "failed to link: No space left on device (os error 28)",
        "tar: x: Cannot write: No space left on device",
        "write /tmp/x: no space left on device",
        "tar: x: Wrote only 2048 of 10240 bytes",
        "cp: error writing 'x': Disk quota exceeded",
    ],
)
def test_what_others_say_of_a_full_disk_is_understood(said: str, tmp_path: Path) -> None:
    with pytest.raises(disk_full.FullDiskError), disk_full.told_when_full(tmp_path):
        raise PackingError("pip failed", fix=f"pip says:\n  {said}")
    with pytest.raises(PackingError) as caught, disk_full.told_when_full(tmp_path):
        raise PackingError("pip failed", fix="pip says:\n  no space for it in this tuple")
    assert not isinstance(caught.value, disk_full.FullDiskError)


def test_a_full_tmp_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {tmp_path: 1 << 40, tmp_path / "tmp": 0}
    monkeypatch.setattr(disk_full.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    monkeypatch.setattr(disk_full, "free_bytes", free.__getitem__)
    with pytest.raises(disk_full.FullDiskError) as caught, disk_full.told_when_full(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.where == f"{tmp_path}/tmp" and "TMPDIR" in caught.value.fix


def test_a_quota_is_not_told_of_a_small_tmp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {tmp_path: 1 << 40, tmp_path / "tmp": 0}
    monkeypatch.setattr(disk_full.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    monkeypatch.setattr(disk_full, "free_bytes", free.__getitem__)
    with pytest.raises(disk_full.FullDiskError) as caught, disk_full.told_when_full(tmp_path):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    assert caught.value.where == str(tmp_path) and "XDG_CACHE_HOME" in caught.value.fix
