"""`osgbatch import` beside condor_submit: ads by dry run, and both submitted to the same pool."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Pool
from sweeps import osgbatch, run_sweep

from osgbatch.submission import imported
from osgbatch.submission.imported import import_file
from osgbatch.submission.planned import plan_sweep

pytestmark = [pytest.mark.pool, pytest.mark.once]

CORPUS = Path(__file__).parents[1] / "unit" / "submit_files"
REFUSED = {
    "cern_flavour": "proxy",  # a file of another machine
    "cms_proxy": "x509up",  # a file of another machine
    "dag_node_vars": "$(state) is set nowhere",
    "dag_node_without_queue": "no queue statement",
    "manual_container_sif": "container_target_dir",
    "manual_cron": "would not leave the queue",
    "manual_dollar_dollar": "by the slot",
    "manual_functions": "random",
    "manual_grid": "grid universe",
    "manual_include_command": "includes",
    "manual_include_ifexist": "includes",
    "manual_include_output": "includes",
    "manual_java": "java universe",
    "manual_local": "local universe",
    "manual_memory_expression": "but an expression",
    "manual_multiline": "several lines",
    "manual_oauth": "condor_submit refuses",  # without a server of tokens
    "manual_parallel": "parallel universe",
    "manual_queue_from_command": "made by a program",
    "manual_queue_from_csv": "sweep: {table: FILE}",
    "manual_retries": "retry_until",
    "manual_scheduler": "scheduler universe",
    "manual_transfer_all": "a URL with ?",
    "manual_transfer_off": "all machines share",
    "manual_vm": "vm universe",
    "ospool_many": "a URL with ?",
    "queue_on_env": "$(n) is set nowhere",
}
"""Files that no sweep gives the same jobs of, and what is said of each."""
PROGRAMS = """foo FOO shim.sh hello_world.sh run_gpu.sh run.sh analyze.sh job.sh hello mathematica
    hello-ospool.sh wordcount.py analyze script.sh openmpiscript daemon.sh Hello.class vm1"""
DATA = """a.dat b.dat c.dat d.dat a dir/x other foo.in test.data run_0/test.data run_1/test.data
    run_a/x test_b/x code-89ef.tar.gz files/1.txt files/2.txt books/one books/two image.sif a.tgz
    in1 in2"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The submit files of the linter's tests, beside all that they name."""
    folder = tmp_path_factory.mktemp("corpus")
    for name in (*PROGRAMS.split(), *DATA.split(), *(f"in.{n}" for n in range(150))):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    (folder / "table.txt").write_text("".join(f"{n} v{n}\n" for n in range(12)))
    (folder / "items.txt").write_text("one in1\ntwo in2\n")
    (folder / "books.txt").write_text("one\ntwo\n")
    for path in CORPUS.glob("*.submit"):
        shutil.copy(path, folder)
    return folder


def test_each_file_gives_the_same_ads_or_is_refused_with_the_reason(
    corpus: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNT", "2")
    files = sorted(corpus.glob("*.submit"))
    refused, agree = {}, []
    for path in files:
        made = import_file(path, corpus / "sweep.yaml")
        if made.lost:
            assert made.text == ""
            refused[path.stem] = " ".join(made.lost)
        else:
            assert made.checked.startswith("compared by condor_submit -dry-run")
            agree.append(path.stem)
    assert sorted(refused) == sorted(REFUSED)
    for name, why in REFUSED.items():
        assert why in refused[name]
    assert len(agree) == len(files) - len(REFUSED) == 51


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("rank: Memory", "rank: Cpus"), ("memory: 60 MB", "memory: 70 MB"),
        ("'two words'", "two words"), ("LEVEL: 1.50", "LEVEL: 1.5"), ("[a, b]", "[a, c]"),
        ("files: [work.sh, ", "files: [work.sh, job.submit, "), ("{{x}}", "{{y}}"),
        ("< common.txt", ""), ('"made_{index}', '"mad_{index}'), ("/extra/*", "/extra"),
        ('JOB="$cluster"', "JOB=1"), ("cluster=$(", "x=$("),
    ],
)  # fmt: skip
def test_a_spec_that_gives_other_jobs_is_never_made(
    was: str, becomes: str, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = by_hand_in(tmp_path / "hand")
    right = imported.spec_text

    def wrong(*given: Any) -> str:
        text = right(*given)
        assert was in text
        return text.replace(was, becomes)

    monkeypatch.setattr(imported, "spec_text", wrong)
    made = import_file(path, path.with_name("sweep.yaml"))
    assert made.text == ""
    assert made.lost[0].startswith("the jobs would differ")


PROGRAM = """#!/bin/sh
printf '%s|' "$@" "$LEVEL" "$JOB" "$(cat more.txt)"
cat "$1.txt" common.txt > "made_$2.txt"
cat
"""
BY_HAND = """executable = work.sh
arguments = "$(name) $(Process) 'two words' {x}"
environment = "LEVEL=1.50 WHO='$(name) x' JOB=$(Cluster).$(Process)"
input = common.txt
transfer_input_files = in/$(name).txt, common.txt, extra/
transfer_output_files = made_$(Process).txt
should_transfer_files = YES
output = $(Process).out
error = $(Process).err
log = hand.log
request_cpus = 1
request_memory = 60MB
request_disk = 60MB
rank = Memory
priority = 3
+Mine = "y"
queue name in (a b)
"""
SAME = ("RequestCpus", "RequestMemory", "Rank", "JobPrio", "Mine", "JobStatus", "ExitCode")


def by_hand_in(folder: Path) -> Path:
    """A folder with a submit file and all that it names."""
    (folder / "in").mkdir(parents=True)
    (folder / "extra").mkdir()
    for name, text in (("work.sh", PROGRAM), ("common.txt", "common\n"), ("in/a.txt", "A\n"),
                       ("in/b.txt", "B\n"), ("extra/more.txt", "more\n")):  # fmt: skip
        (folder / name).write_text(text)
    (folder / "work.sh").chmod(0o755)
    (folder / "c.txt").write_text("")
    (folder / "in/c.txt").write_text("")
    (folder / "job.submit").write_text(BY_HAND)
    return folder / "job.submit"


def test_the_users_own_defaults_and_other_images_are_not_passed_over(
    corpus: Path, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = corpus / "own.submit"
    asks = "request_memory = 1GB\nrequest_disk = 1GB\n"

    def made_of(lines: str) -> imported.Imported:
        path.write_text(f"executable = foo\n{asks}{lines}queue\n")
        return import_file(path, corpus / "sweep.yaml")

    try:
        # valid, though nothing says how files are brought
        kept = made_of("transfer_input_files = dir/x\npreserve_relative_paths = true\n")
        assert kept.lost == ()
        # YAML ends lines at U+2028, and `gather:` would run a program here
        odd = "o\u2028gather: evil.py\u2028#=x/o"
        assert made_of(f'transfer_output_remaps = "{odd}"\n').lost == ()
        assert "U+2028" in made_of(f"arguments = $(Cluster) {odd}\n").lost[0]
        assert "no name of a variable" in made_of('environment = "A;B=$(Cluster)"\n').lost[0]
        tried = made_of("on_exit_remove = ExitCode =!= 75\n")
        assert "retries: {times: 10, on: [75]}" in tried.text
        assert tried.checked.endswith("1 job agrees")
        image = "universe = container\ncontainer_image = image.sif\n"
        assert made_of(image).lost == ()
        (corpus / "config" / "osgbatch").mkdir(parents=True)
        config = corpus / "config" / "osgbatch" / "config.yaml"
        monkeypatch.setenv("XDG_CONFIG_HOME", str(corpus / "config"))
        config.write_text("resources: {cpus: 4}\n")
        assert "RequestCpus was 1" in made_of("").lost[0]
        assert made_of("request_cpus = 1\n").lost == ()
        config.write_text("gpus: 1\n")
        told = made_of("")
        assert "but for what your own defaults add" in told.checked
        assert "adds gpus" in told.differences[-1]
        right = imported.spec_text
        (corpus / "other.sif").write_text("another")
        monkeypatch.setattr(imported, "spec_text", lambda *given: right(*given).replace(
            "image.sif", "other.sif"))  # fmt: skip
        assert "the image was" in " ".join(made_of(image).lost)
    finally:
        path.unlink()


def test_both_run_in_the_pool_and_make_the_same(pool: Pool, tmp_path: Path) -> None:
    folder = by_hand_in(tmp_path / "hand").parent
    cluster = pool.submit(BY_HAND, folder)
    said = json.loads(osgbatch("import", "job.submit", "--json", cwd=folder).stdout)
    assert said["checked"].endswith("2 jobs agree")
    osgbatch("import", "job.submit", cwd=folder)
    assert len(plan_sweep(folder / "sweep.yaml").jobs) == 2
    ran = run_sweep("condor", folder / "sweep.yaml")
    assert ran.status["counts"] == {"succeeded": 2}
    for proc in range(2):
        pool.terminate_event(folder / "hand.log", cluster, proc)
        by_hand = pool.history_ad(cluster, proc)
        ours = pool.history_ad(int(ran.submitted["cluster"]), proc)
        assert {key: str(by_hand[key]) for key in SAME} == {key: str(ours[key]) for key in SAME}
        name = f"made_{proc}.txt"
        assert (folder / name).read_bytes() == ran.result(proc, name)
        printed, mine = (folder / f"{proc}.out").read_bytes(), ran.result(proc, "stdout")
        own = f"|{ran.submitted['cluster']}.{proc}|".encode()
        assert f"two words|{{x}}|1.50|{cluster}.{proc}|more|common".encode() in printed
        assert mine == printed.replace(f"|{cluster}.{proc}|".encode(), own)
