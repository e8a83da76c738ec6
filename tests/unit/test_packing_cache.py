"""The cache while several use it: packing, linking, cleaning, and being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from test_packing_given import STARTED, tarball, wanted

from osgbatch.errors import PackingError
from osgbatch.packing.environment import (
    EnvironmentArchive,
    cleaning,
    environment_archive,
    environment_fingerprint,
    packed_environment,
)
from osgbatch.packing.environment.cache import (
    FOLDER,
    locked,
    packing,
    read_entry,
    workshop,
    write_entry,
)
from osgbatch.packing.environment.cleaning import clean, kept_things

ROOT = Path(__file__).parents[2]
NAME = "a" * 32


def build(cache: Path, content: bytes, name: str = NAME) -> EnvironmentArchive:
    with locked(cache, name), workshop(cache) as shop:
        (shop / "built").mkdir()
        path = shop / "built/image.sif"
        path.write_bytes(content)
        entry = EnvironmentArchive(path, content.hex()[:64], len(content), 0, "3.11", ())
        return write_entry(cache, path.parent, replace(entry, fingerprint=name))


def start(code: str, *arguments: Path | str) -> subprocess.Popen[str]:
    """A Python of its own that runs `code` once a line was read from it and says `ready`."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def hear(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == word


def ended(process: subprocess.Popen[str]) -> int:
    process.communicate(timeout=180)
    return process.returncode


USES = """
import sys
from pathlib import Path
from osgbatch.packing.environment.cache import read_entry
found = read_entry(Path(sys.argv[1]), sys.argv[2])
print("ready", flush=True)
input()
found.path.read_bytes()
"""


def test_what_is_brought_to_a_batch_folder_is_not_cleaned_away(tmp_path: Path) -> None:
    path = build(tmp_path, b"first").path
    user = start(USES, tmp_path, NAME)
    hear(user, "ready")
    done = clean(tmp_path, 0, everything=True)
    assert [one.name for one in done.busy] == [NAME] and path.is_file()
    assert user.stdin is not None
    user.stdin.write("\n")
    assert ended(user) == 0
    assert [one.name for one in clean(tmp_path, 0, everything=True).removed] == [NAME]
    assert read_entry(tmp_path, NAME) is None


def test_an_entry_in_our_own_hands_is_not_cleaned_away(tmp_path: Path) -> None:
    made = build(tmp_path, b"first")
    kept = replace(made, path=made.path)  # as it travels from packing to linking
    del made
    assert clean(tmp_path, 0, everything=True).removed == [] and kept.path.is_file()
    del kept
    assert len(clean(tmp_path, 0, everything=True).removed) == 1


def test_an_archive_in_use_stays_when_it_is_made_anew(tmp_path: Path) -> None:
    first = build(tmp_path, b"first")
    second = build(tmp_path, b"second")
    assert first.path.read_bytes() == b"first" and second.path.read_bytes() == b"second"
    assert read_entry(tmp_path, NAME) == second
    old = first.path
    del first, second
    third = build(tmp_path, b"third")
    assert [path.name for path in third.path.parent.iterdir() if path.suffix == ".sif"] == [
        third.path.name
    ]
    assert not old.exists()


def test_what_was_used_after_it_was_looked_at_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build(tmp_path, b"first").path
    manifest = path.with_name("manifest.json")
    os.utime(manifest, (1, 1))
    things = kept_things(tmp_path)

    def then_used(cache: Path) -> list[cleaning.Kept]:
        assert read_entry(tmp_path, NAME) is not None
        return things

    monkeypatch.setattr(cleaning, "kept_things", then_used)
    assert clean(tmp_path, older_s=1000).removed == [] and path.is_file()
    os.utime(manifest, (1, 1))
    monkeypatch.setattr(cleaning, "kept_things", lambda cache: things)
    assert len(clean(tmp_path, older_s=1000).removed) == 1


def test_a_lock_that_was_removed_while_we_waited_is_taken_anew(tmp_path: Path) -> None:
    lock = tmp_path / FOLDER / f".{NAME}.lock"
    inside: list[str] = []

    def other() -> None:
        with locked(tmp_path, NAME) as waited:
            inside.append(f"waited {waited}")
            assert os.path.samefile(lock, lock)

    with locked(tmp_path, NAME):
        thread = threading.Thread(target=other)
        thread.start()
        wait_until(lambda: waits_for_lock(os.getpid()))
        lock.unlink()
    thread.join(60)
    assert inside == ["waited True"] and lock.exists()
    with locked(tmp_path, NAME):
        assert {one.name for one in clean(tmp_path, 0, everything=True).removed} == set()


def waits_for_lock(pid: int) -> bool:
    return any(
        line.split()[1] == "->" and f" {pid} " in line
        for line in Path("/proc/locks").read_text().splitlines()
    )


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


PACKS = """
import sys
from pathlib import Path
from test_packing_given import wanted
from osgbatch.packing.environment import packed_environment
def say(line):
    if line.startswith(sys.argv[3]):
        print("ready", flush=True)
        input()
made = packed_environment(wanted("archive", Path(sys.argv[2])), Path("/"), Path(sys.argv[1]), say)
print(made.path.read_bytes() == Path(sys.argv[2]).read_bytes(), flush=True)
"""


def test_two_pack_at_once(tmp_path: Path) -> None:
    """The same: the second waits and takes what the first has made. Another one does not wait."""
    one = tarball(tmp_path / "one.tar.gz", {"bin/Rscript": STARTED})
    two = tarball(tmp_path / "two.tar.gz", {"bin/Rscript": STARTED, "x": "x"})
    cache = tmp_path / "c"
    first = start(PACKS, cache, one, "trying")
    hear(first, "ready")
    same = start(PACKS, cache, one, "checking")  # would say so if it began itself
    made = packed_environment(wanted("archive", two), Path("/"), cache, lambda line: None)
    assert made is not None and made.path.is_file()
    assert {one.kind for one in clean(cache, 0, everything=True).busy} >= {"leftover", "archive"}
    wait_until(lambda: waits_for_lock(same.pid))
    assert first.stdin is not None
    first.stdin.write("\n")
    first.stdin.close()
    hear(first, "True")
    hear(same, "True")
    first.stdin = None
    assert ended(first) == 0 and ended(same) == 0
    assert sorted(one.kind for one in kept_things(cache)) == ["archive", "archive"]


@pytest.mark.parametrize("at", ["checking", "trying"])
def test_a_killed_packing_leaves_a_cache_that_works_and_is_cleaned(tmp_path: Path, at: str) -> None:
    path = tarball(tmp_path / "e.tar.gz", {"bin/Rscript": STARTED})
    killed = start(PACKS, tmp_path / "c", path, at)
    hear(killed, "ready")
    killed.send_signal(signal.SIGKILL)
    assert ended(killed) == -signal.SIGKILL
    assert [one.kind for one in kept_things(tmp_path / "c")] == ["leftover"]
    made = packed_environment(wanted("archive", path), Path("/"), tmp_path / "c", lambda line: None)
    assert made is not None and made.path.read_bytes() == path.read_bytes()
    done = clean(tmp_path / "c", 1000)
    assert [one.kind for one in done.removed] == ["leftover"] and done.busy == []
    assert [one.kind for one in kept_things(tmp_path / "c")] == ["archive"]


def test_requirements_packed_once_need_no_index(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("--index-url http://127.0.0.1:9/simple\nno-such-package-anywhere\n")
    made = build(tmp_path / "c", b"packed when there was a network", environment_fingerprint(file))
    said: list[str] = []
    assert environment_archive(file, tmp_path / "c", said.append) == made and said == []


def test_what_is_being_tried_stays(tmp_path: Path) -> None:
    with workshop(tmp_path) as shop:
        assert [one.kind for one in clean(tmp_path, 0, everything=True).busy] == ["leftover"]
        assert shop.is_dir()
    assert kept_things(tmp_path) == []


def test_what_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, b"first")

    def refuse(path: Path, ignore_errors: bool) -> None:
        assert ignore_errors

    monkeypatch.setattr(cleaning.shutil, "rmtree", refuse)
    done = clean(tmp_path, 0, everything=True)
    assert [one.name for one in done.failed] == [NAME] and done.removed == []


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(PackingError, match="the cache cannot be written"),
        packing(tmp_path / "file"),
    ):
        pass
