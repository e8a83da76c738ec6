"""The shim: what it brings home, and where it cannot do the job."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

import pytest
import shim_harness
from shim_harness import Slot, only, quote, render, sh, tarball

slot = shim_harness.slot

REQUIRED = {"pattern": "outputs/peaks.npy", "optional": False}
OPTIONAL = {"pattern": "outputs/debug.log", "optional": True}


ODD = [
    "a b",
    "-rf",
    "new\nline",
    "back\\slash",
    "cr\r",
    "\x01\x7f",
    "'q'\"",
    "*",
    ".hidden",
    "é",
    "$(x)",
]


def test_files_of_any_name_come_home_with_their_sums(slot: Slot) -> None:
    for number, name in enumerate(ODD):
        slot.file(f"in/sub/{name}", f"{number}")
    slot.file(b"in/\xff", "raw")
    done = slot.run({0: sh("cp -R ../../in/. outputs/")})
    assert done.code == 0, done.tasks
    assert done.names(0) == {f"outputs/sub/{name}" for name in ODD} | {os.fsdecode(b"outputs/\xff")}
    assert done.tasks[0]["outputs"] == str(len(ODD) + 1)
    raw = (done.home / "tasks/0/sha256").read_bytes()
    sums = {}
    for line in raw.removesuffix(b"\n").split(b"\n"):
        escaped = line.startswith(b"\\")
        digest, name_of = line.removeprefix(b"\\").split(b"  ", 1)
        if escaped:
            name_of = name_of.replace(b"\\\\", b"\0").replace(b"\\n", b"\n").replace(b"\\r", b"\r")
        sums[os.fsdecode(name_of.replace(b"\0", b"\\"))] = digest.decode()
    assert sums == {
        name: hashlib.sha256((done.data(0) / name).read_bytes()).hexdigest()
        for name in done.names(0)
    }


def test_only_what_is_asked_for_comes_home(slot: Slot) -> None:
    done = slot.run(
        {0: sh("echo x | tee outputs/peaks.npy outputs/other keep >/dev/null")},
        outputs=[REQUIRED, OPTIONAL],
    )
    assert done.code == 0 and done.names(0) == {"outputs/peaks.npy"}


@pytest.mark.parametrize(("code", "reason", "left"), [(0, "missing-output", 110), (4, "exit", 4)])
def test_a_missing_output_is_named_unless_the_command_failed(
    slot: Slot, code: int, reason: str, left: int
) -> None:
    done = slot.run(
        {0: sh(f"echo x >outputs/debug.log; exit {code}")}, outputs=[REQUIRED, OPTIONAL]
    )
    assert (done.code, done.tasks[0]["reason"]) == (left, reason)
    assert ("outputs/peaks.npy" in done.tasks[0]["detail"]) == (code == 0)
    assert done.names(0) == {"outputs/debug.log"}


def test_a_row_can_ask_for_other_outputs(slot: Slot) -> None:
    done = slot.run(
        {0: sh("echo x >here; echo y >outputs/no", ["output", "here", "required"])},
        outputs=[REQUIRED],
    )
    assert done.code == 0 and done.names(0) == {"here"}


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a b/*.npy", {"a b/1 x.npy", "a b/2.npy"}),
        ("a b", {"a b/1 x.npy", "a b/2.npy", "a b/deep/.h"}),
        ("a b/", {"a b/1 x.npy", "a b/2.npy", "a b/deep/.h"}),
        ("*/[0-9].npy", {"a b/2.npy"}),
        ("-x", {"-x"}),
        ("a[1].txt", {"a[1].txt"}),
    ],
)
def test_patterns_are_globs_and_folders_mean_all_below(
    slot: Slot, pattern: str, found: set[str]
) -> None:
    names = '"a b/1 x.npy" "a b/2.npy" "a b/deep/.h" -x "a[1].txt"'
    make = f'mkdir -p "a b/deep"; for f in {names}; do echo x >"./$f"; done'
    done = slot.run({0: sh(make)}, outputs=[{"pattern": pattern, "optional": False}])
    assert done.code == 0 and done.names(0) == found


def test_patterns_may_overlap(slot: Slot) -> None:
    make = "mkdir outputs/d; echo 1 >outputs/d/a; echo 2 >outputs/d/b; echo 3 >outputs/c"
    wanted = [{"pattern": p, "optional": False} for p in ("outputs/d/a", "outputs", "outputs/*")]
    done = slot.run({0: sh(make)}, outputs=wanted)
    assert done.code == 0 and done.names(0) == {"outputs/d/a", "outputs/d/b", "outputs/c"}


@pytest.mark.parametrize("pattern", ["empty", "dangling", "../../secret", "ref/x", "none*"])
def test_what_is_no_output_does_not_count_as_one(slot: Slot, pattern: str) -> None:
    slot.file("secret")
    slot.file("ref/x")
    done = slot.run(
        {0: sh("mkdir -p empty/er; ln -s nowhere dangling", ["input", "ref", "ref"])},
        outputs=[{"pattern": pattern, "optional": False}],
    )
    assert done.tasks[0]["reason"] == "missing-output" and not done.names(0)
    assert (slot.scratch / "ref/x").exists() and (slot.scratch / "secret").exists()


def test_links_travel_only_where_they_lead_home(slot: Slot) -> None:
    slot.file("big/in.npy", "input")
    make = """cd outputs; echo 1 >one; mkdir d; ln -s ../one d/up; ln -s "$PWD/one" absolute
    ln -s ../inputs/in.npy input; ln -s ../loose loose; echo L >../loose
    ln -s /etc/passwd passwd; ln -s ../../../.. outside; ln -s nowhere dead; mkfifo pipe"""
    done = slot.run({0: sh(make, ["input", "big/in.npy", "inputs/in.npy"])})
    assert done.code == 0, done.tasks
    root = done.data(0) / "outputs"
    assert {p.name for p in root.iterdir()} == {"one", "d", "absolute", "input", "loose"}
    assert (root / "d/up").readlink() == Path("../one")
    assert [(root / n).is_symlink() for n in ("absolute", "input", "loose")] == [False] * 3
    assert [(root / n).read_text() for n in ("absolute", "input", "loose")] == [
        "1\n",
        "input",
        "L\n",
    ]
    detail = done.tasks[0]["detail"]
    for name in ("passwd", "outside", "dead", "pipe"):
        assert f"outputs/{name}" in detail
    assert done.tasks[0]["outputs"] == "4" and len(done.text(0, "sha256").splitlines()) == 4


def test_outputs_that_the_task_locked_come_home(slot: Slot) -> None:
    make = "mkdir -p outputs/d; echo x >outputs/d/f; chmod 0 outputs/d/f; chmod 500 outputs/d"
    done = slot.run({0: sh(make)})
    assert done.code == 0 and done.names(0) == {"outputs/d/f"}


# ---- an execution point that cannot do the job --------------------------------------------------


def refused(slot: Slot, code: int, **variables: object) -> str:
    done = slot.run({0: sh("true")}, **variables)
    assert done.code == code, done.stderr
    assert done.stderr.startswith(f"osgbatch: {code}: ") and done.stderr.count("\n") == 1
    assert (done.job["state"], done.job["reason"]) == ("finished", "infrastructure")
    assert done.job["exit_code"] == str(code) and done.job["detail"] in done.stderr
    return done.job["detail"]


def test_no_scratch_folder_is_101(slot: Slot) -> None:
    slot.environ["_CONDOR_SCRATCH_DIR"] = str(slot.root / "nowhere")
    done = slot.run({0: sh("true")})
    assert done.code == 101 and "nowhere" in done.stderr and done.stderr.count("\n") == 1


def test_an_unusable_scratch_folder_is_101(slot: Slot) -> None:
    slot.file(".osgbatch", "in the way")
    done = slot.run({0: sh("true")})
    assert done.code == 101 and done.stderr.startswith("osgbatch: 101: ")


def test_too_little_disk_is_102(slot: Slot) -> None:
    assert "needed: 999999999999 KB" in refused(slot, 102, disk_needed_kb=999_999_999_999)


def test_a_missing_archive_is_103(slot: Slot) -> None:
    payload = [{"kind": "library", "file": "library-1.tar.gz", "sha256": "0" * 64}]
    assert refused(slot, 103, payload=payload) == "library-1.tar.gz did not arrive"


def test_a_damaged_archive_is_103(slot: Slot) -> None:
    archive = tarball(slot.scratch / "library-1.tar.gz", {"a": "x"})
    slot.file("library-1.tar.gz", "damaged")
    assert "damaged" in refused(slot, 103, payload=[{"kind": "library", **archive}])


def test_an_archive_that_cannot_be_unpacked_is_104(slot: Slot) -> None:
    slot.file("library-1.tar.gz", "no tarball")
    digest = hashlib.sha256(b"no tarball").hexdigest()
    payload = [{"kind": "library", "file": "library-1.tar.gz", "sha256": digest}]
    assert "library-1.tar.gz cannot be unpacked" in refused(slot, 104, payload=payload)


def environment(slot: Slot, python: str, **more: str) -> dict[str, object]:
    archive = tarball(slot.scratch / "environment-1.tar.gz", {"bin/python": python, **more})
    return {"payload": [{"kind": "environment", **archive}], "has_environment": True}


def test_an_environment_that_does_not_start_is_105_and_says_why(slot: Slot) -> None:
    python = "#!/bin/sh\necho 'version `GLIBC_2.38 not found' >&2\necho more >&2\nexit 1\n"
    detail = refused(slot, 105, **environment(slot, python))
    assert "env python said: version `GLIBC_2.38 not found (exit code 1" in detail


def test_an_environment_comes_first_on_path_and_is_activated(slot: Slot) -> None:
    activate = {"etc/conda/activate.d/gdal.sh": 'export GDAL="$CONDA_PREFIX/gdal"\n'}
    setup = environment(slot, "#!/bin/sh\necho env python\n", **activate)
    done = slot.run({0: sh("python; echo $GDAL")}, **setup)
    assert done.code == 0
    lines = done.text(0, "stdout").split("\n", 1)
    assert lines[0] == "env python"
    assert lines[1].endswith("/env/gdal\n") or slot.shell == "busybox"  # no bash there


def test_another_sha256_tool_will_do(slot: Slot) -> None:
    if slot.shell != "busybox":
        for program in os.listdir("/usr/bin"):
            if program not in ("sh", "openssl"):
                slot.bin.joinpath(program).symlink_to(f"/usr/bin/{program}")
    (slot.bin / "sha256sum").rename(slot.root / "sha256sum")
    (slot.bin / "shasum").unlink(missing_ok=True)
    (slot.bin / "shasum").write_text(f'#!/bin/sh\nshift 2\nexec "{slot.root}/sha256sum" "$@"\n')
    (slot.bin / "shasum").chmod(0o755)
    slot.path = str(slot.bin)
    archive = tarball(slot.scratch / "library-1.tar.gz", {"a": "x"})
    done = slot.run({0: sh("echo x >outputs/x")}, payload=[{"kind": "library", **archive}])
    assert done.code == 0 and done.text(0, "sha256").endswith("  outputs/x\n")


@pytest.mark.parametrize("tool", ["base64", "sha256sum", "gzip", "tar", "find"])
def test_a_missing_tool_is_106(slot: Slot, tool: str) -> None:
    if slot.shell != "busybox":
        for program in os.listdir("/usr/bin"):
            if program not in ("sh", "shasum", "openssl"):
                slot.bin.joinpath(program).symlink_to(f"/usr/bin/{program}")
    slot.path = str(slot.bin)
    (slot.bin / tool).unlink()
    if tool in ("tar", "gzip"):
        slot.environ["PATH"] = slot.path
        process = slot.start({0: sh("true")})
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 106 and stderr == f"osgbatch: 106: {tool} is missing here\n"
        assert (slot.scratch / "osgbatch-out.tar.gz").exists()
    else:
        assert tool in refused(slot, 106)


def test_a_disk_that_fills_up_is_108_and_the_archive_before_is_kept(slot: Slot) -> None:
    noise = slot.file("noise", os.urandom(150_000)).name
    script = f"for i in 1 2 3 4; do cp ../../{noise} outputs/$i; done"
    done = slot.run({0: sh(script)}, limit_kb=400)
    assert done.code == 108 and done.stderr.startswith("osgbatch: 108: ")
    assert done.job["state"] == "started"


def test_the_host_is_described(slot: Slot) -> None:
    ad = slot.root / "machine.ad"
    ad.write_text(
        'Arch = "X86_64"\nCpus = 4\nGLIDEIN_ResourceName = "R"\nGLIDEIN_Site = "Some Site"\n'
        'Machine = "node.edu"\nName = "slot1_2@node.edu"\nTotalCpus = 64\n'
    )
    slot.environ["_CONDOR_MACHINE_AD"] = str(ad)
    job = slot.run({0: sh("true")}).job
    assert (job["host"], job["slot"], job["site"], job["cores"]) == (
        "node.edu",
        "slot1_2@node.edu",
        "Some Site",
        "4",
    )
    assert job["os"] and job["cpu"]


def test_the_archive_holds_nothing_else(slot: Slot) -> None:
    slot.run({0: sh("echo x >outputs/x")})
    with tarfile.open(slot.scratch / "osgbatch-out.tar.gz") as tar:
        names = {member.name for member in tar.getmembers() if member.isfile()}
    below = {
        f"tasks/0/{name}" for name in ("status", "stdout", "stderr", "sha256", "data/outputs/x")
    }
    assert names == {"job"} | below
    assert "\n\n\n" not in render()


@pytest.mark.parametrize("value", ["a\\b", "a\\*b", "\\", "[x]", "a*", "x\\[y", "?", "plain"])
def test_a_value_in_an_output_is_no_pattern(slot: Slot, value: str) -> None:
    body = (
        'escape_pattern "$1"\noutput outputs/"$escaped".txt required\n'
        'run sh -c \'cd outputs && echo x >"$0.txt" && echo x >"z$0.txt"\' "$1"'
    )
    done = slot.run({0: [b"row " + quote(value)]}, row_body=body)
    assert only(done)[0] == "ok"
    assert done.names(0) == {f"outputs/{value}.txt"}
