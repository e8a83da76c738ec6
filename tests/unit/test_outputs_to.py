"""Outputs that go elsewhere: the shim's two archives, what is believed of them, fetching."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import shim_harness
import stashes
from shim_harness import Slot, only, read_record, sh

from osgbatch.batches.folder import Batch
from osgbatch.batches.states import Attempt, task_state
from osgbatch.cli.plans import plan_text
from osgbatch.collecting.collect import Collected, collect
from osgbatch.errors import ResultError, StagingError
from osgbatch.model import JobState, TaskState
from osgbatch.plan_model import Delivery, Plan
from osgbatch.returned import Expected, Returned, read_records
from osgbatch.spec_model import Stash
from osgbatch.staging.fetch import PART, FolderSource, Source, fetch, open_source
from osgbatch.submission.delivering import Data, delivery_of, fault_of
from osgbatch.submission.planned import Choices, plan_sweep
from osgbatch.submission.staged import Silent
from osgbatch.submission.steps import render_sweep

slot = shim_harness.slot

AWAY = {"data_elsewhere": True, "outputs": [{"pattern": "outputs", "optional": False}]}


def names_in(path: Path) -> set[str]:
    """The files in an archive."""
    with tarfile.open(path) as tar:
        return {one.name for one in tar if not one.isdir()}


def job_of(path: Path) -> dict[str, str]:
    """The record of an archive's job."""
    with tempfile.TemporaryDirectory() as folder, tarfile.open(path) as tar:
        tar.extract("job", folder)
        return read_record(Path(folder) / "job")


# --- the shim ---------------------------------------------------------------------------------


def test_the_shim_makes_an_archive_with_data_and_one_that_tells_of_it(slot: Slot) -> None:
    script = "echo out; echo x >outputs/a1; ln -s a1 outputs/a2; echo bad >&2; mkdir outputs/data"
    done = slot.run({0: sh(script), 1: sh("echo y >outputs/a; exit 3")}, **AWAY)
    light, data = slot.scratch / "osgbatch-out.tar.gz", slot.scratch / "osgbatch-data.tar.gz"
    records = {
        f"tasks/{i}/{name}" for i in (0, 1) for name in ("status", "stdout", "stderr", "sha256")
    }
    assert names_in(light) == {"job", *records, "tasks/0/links"}
    made = {f"tasks/0/data/outputs/{name}" for name in ("a1", "a2")} | {"tasks/1/data/outputs/a"}
    assert names_in(data) == names_in(light) | made
    told = job_of(light)
    assert told["data_sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert told["data_size"] == str(data.stat().st_size)
    assert told["data_name"] == data.name
    assert "data_sha256" not in job_of(data)
    assert done.text(0, "links") == "outputs/a2\n"
    assert done.tasks[1]["exit_code"] == "3"


def test_both_archives_are_there_from_the_first_step_on(slot: Slot) -> None:
    done = slot.run({0: sh("cp ../../osgbatch-*.tar.gz outputs/; touch outputs/a")}, **AWAY)
    assert only(done) == ("ok", "0")
    with tarfile.open(slot.scratch / "osgbatch-data.tar.gz") as tar:
        tar.extractall(slot.root / "seen")
    first = slot.root / "seen" / "tasks" / "0" / "data" / "outputs"
    for name in ("osgbatch-out.tar.gz", "osgbatch-data.tar.gz"):
        assert names_in(first / name) == {"job"}
        assert job_of(first / name)["state"] == "started"


def test_a_shim_that_can_do_nothing_leaves_both_archives(slot: Slot) -> None:
    done = slot.run({0: sh("true")}, disk_needed_kb=10**12, **AWAY)
    assert done.code == 102
    assert names_in(slot.scratch / "osgbatch-data.tar.gz") == {"job"}
    assert done.job["exit_code"] == "102"
    assert len(done.job["data_sha256"]) == 64


# --- what is believed -------------------------------------------------------------------------


def shim_made(folder: Path, script: str) -> Path:
    """The scratch folder of a shim that has run one task whose data goes elsewhere."""
    made = Slot("dash", folder)
    made.run({0: sh(script)}, **AWAY)
    return made.scratch


def read(path: Path, *required: str, light: bool = True) -> Returned:
    expected = Expected("0123456789ab", 1, 12, 3, [0], lambda _: required, light)
    return read_records(path, expected)


def changed(path: Path, script: str) -> Path:
    """An archive after a script has changed what is in it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "-xzf", path, "-C", folder], check=True)
        subprocess.run(["sh", "-ec", script], cwd=folder, check=True)
        target = path.with_name("7_0_0.tar.gz")
        subprocess.run(["tar", "-czf", target, "-C", folder, "job", "tasks"], check=True)
    return target


def test_required_outputs_are_looked_for_in_the_lists(tmp_path: Path) -> None:
    light = shim_made(tmp_path, "echo x >outputs/a; ln -s a outputs/b") / "osgbatch-out.tar.gz"
    assert read(light, "outputs/a", "outputs/b").problems == {}
    assert "required output 'outputs/c'" in read(light, "outputs/c").problems[0]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("rm tasks/0/sha256", "0 files are listed, its record says 1"),
        ("rm tasks/0/sha256; sed -i /outputs/d tasks/0/status", "no checksums"),
        ("true >tasks/0/sha256", "record says 1"),
        ("sed -i /data_sha256/d job", "does not tell the checksum"),
        ("sed -i s/data_sha256=./data_sha256=g/ job", "does not tell the checksum"),
        ("sed -i /data_size/d job", "does not tell the checksum"),
        ("mkdir -p tasks/0/data/outputs; echo x >tasks/0/data/outputs/a", "brought elsewhere"),
    ],
)
def test_a_light_archive_that_lacks_something_is_no_success(
    tmp_path: Path, script: str, said: str
) -> None:
    light = shim_made(tmp_path, "echo x >outputs/a") / "osgbatch-out.tar.gz"
    returned = read(changed(light, script))
    assert said in returned.problems[0]
    ended = JobState(0, "completed", exit_code=0, starts=1)
    state = task_state(0, ended, [Attempt(0, 0, returned)])
    assert (state.state, state.reason) == ("unknown", "damaged")


def test_a_light_archive_is_no_whole_one_and_the_other_way_round(tmp_path: Path) -> None:
    scratch = shim_made(tmp_path, "echo x >outputs/a")
    assert "0 files came back" in read(scratch / "osgbatch-out.tar.gz", light=False).problems[0]
    assert "elsewhere" in read(scratch / "osgbatch-data.tar.gz").problems[0]


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (JobState(0, "running", starts=1), "running"),
        (JobState(0, "held", starts=1), "held"),
        (JobState(0, "completed", exit_code=0, starts=1), "succeeded"),
        (JobState(0, "waiting", starts=1), "succeeded"),
        (JobState(0, "running", starts=2), "succeeded"),
    ],
)
def test_a_success_counts_when_the_data_has_arrived(
    tmp_path: Path, job: JobState, expected: str
) -> None:
    """HTCondor holds a job whose data it cannot bring, though the light archive may be here."""
    returned = read(shim_made(tmp_path, "echo x >outputs/a") / "osgbatch-out.tar.gz")
    state = task_state(0, job, [Attempt(0, 0, returned)])
    assert state.state == expected


# --- fetching ---------------------------------------------------------------------------------


class Cut(Source):
    """A source that is cut off again and again, and remembers from where it was read."""

    def __init__(self, content: bytes, piece: int) -> None:
        self.content, self.piece = content, piece
        self.starts: list[int] = []

    def size(self, name: str) -> int | None:
        return len(self.content)

    def read(self, name: str, start: int) -> Iterator[bytes]:
        self.starts.append(start)
        yield self.content[start : start + self.piece]
        if start + self.piece < len(self.content):
            raise ConnectionResetError("gone")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_transfer_that_is_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    source, target = Cut(b"0123456789", 6), tmp_path / "f" / "a"
    assert fetch(source, "a", target, sha256(b"0123456789"), 10, Silent()) == target
    assert source.starts == [0, 6]
    assert target.read_bytes() == b"0123456789"
    assert [path.name for path in target.parent.iterdir()] == ["a"]


def test_what_an_interruption_left_is_gone_on_with_or_made_anew(tmp_path: Path) -> None:
    for left, starts in ((b"01234", [5]), (b"wrong", [5, 0]), (b"much more than there is", [0])):
        source, target = Cut(b"0123456789", 10), tmp_path / sha256(left)
        target.with_name(f"{target.name}{PART}").write_bytes(left)
        fetch(source, "a", target, sha256(b"0123456789"), 10, Silent())
        assert source.starts == starts
        assert target.read_bytes() == b"0123456789"


def test_what_is_not_what_the_record_says_gets_no_final_name(tmp_path: Path) -> None:
    target = tmp_path / "a"
    for content, size in ((b"0123456780", 10), (b"012345678", 10)):
        with pytest.raises(ResultError, match="its data"):
            fetch(Cut(content, 10), "a", target, sha256(b"0123456789"), size, Silent())
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(ResultError, match="is not there"):
        fetch(FolderSource(tmp_path), "a", target, sha256(b""), 1, Silent())


# --- collecting -------------------------------------------------------------------------------


class Collection:
    """A batch of one task whose data is in a folder."""

    def __init__(self, folder: Path) -> None:
        scratch = shim_made(folder, "echo said; echo x >outputs/a; ln -s a outputs/b")
        self.away, self.results = folder / "away", folder / "batch" / "results"
        self.away.mkdir()
        self.results.parent.mkdir()
        self.file = self.away / "7_0_0.tar.gz"
        (scratch / "osgbatch-data.tar.gz").rename(self.file)
        home = (scratch / "osgbatch-out.tar.gz").rename(folder / "7_0_0.tar.gz")
        found = read(home)
        self.state = TaskState(
            0, "succeeded", archive=home, record=found.tasks[0], job_record=found.job
        )
        stash = {"kind": "folder", "url": "file:///away", "folder": str(self.away)}
        told = {"outputs_to": {"url": "file:///away", "stash": stash}}
        self.data = Data(Batch(self.results.parent, told), Silent())

    def collect(self, fetch: bool) -> Collected:
        return collect(self.results, [self.state], self.data, fetch=fetch)

    @property
    def status(self) -> dict[str, object]:
        found = json.loads((self.results / "0" / "status.json").read_text())
        assert isinstance(found, dict)
        return found


@pytest.fixture
def batch(tmp_path: Path) -> Collection:
    return Collection(tmp_path)


def test_collect_leaves_the_data_where_it_is_until_it_is_asked_for(batch: Collection) -> None:
    first = batch.collect(fetch=False)
    assert (first.unpacked, first.elsewhere) == (1, 1)
    assert batch.status["data_url"] == "file:///away/7_0_0.tar.gz"
    assert sorted(os.listdir(batch.results / "0")) == ["status.json", "stderr", "stdout"]
    assert batch.collect(fetch=False).unpacked == 0

    fetched = batch.collect(fetch=True)
    assert (fetched.unpacked, fetched.elsewhere) == (1, 0)
    assert (batch.results / "0" / "outputs" / "b").read_text() == "x\n"
    assert (batch.results / "0" / "stdout").read_text() == "said\n"
    for again in (True, False):
        assert (batch.collect(again).unpacked, batch.collect(again).elsewhere) == (0, 0)
    assert batch.file.exists()


def test_what_was_fetched_stays_though_a_file_of_it_is_gone(batch: Collection) -> None:
    batch.collect(fetch=True)
    (batch.results / "0" / "outputs" / "b").unlink()
    assert batch.collect(fetch=False).unpacked == 0
    assert (batch.results / "0" / "outputs" / "a").exists()
    assert batch.collect(fetch=True).unpacked == 1
    assert (batch.results / "0" / "outputs" / "b").exists()


@pytest.mark.parametrize("fault", ["gone", "flipped", "cut"])
def test_a_success_whose_data_is_not_there_is_none(batch: Collection, fault: str) -> None:
    content = batch.file.read_bytes()
    batch.file.write_bytes(
        {"gone": b"", "flipped": content[:-1] + b"?", "cut": content[:-1]}[fault]
    )
    if fault == "gone":
        batch.file.unlink()
    (state,) = batch.collect(fetch=True).states
    assert (state.state, state.reason) == ("unknown", "damaged")
    assert "its data" in state.detail
    assert not (batch.results / "0" / "outputs").exists()
    batch.file.write_bytes(content)
    (state,) = batch.collect(fetch=True).states
    assert state.state == "succeeded"


def test_a_bucket_is_read_though_its_server_cannot_go_on(
    tmp_path: Path, stash: stashes.Stash, monkeypatch: pytest.MonkeyPatch
) -> None:
    """radosgw 20.2 on SQLite answers a range with as many other bytes of the object."""
    place = in_bucket(stash, "outputs_to/b-1", monkeypatch)
    content = os.urandom(100_000)
    key = f"/{stashes.BUCKET}/outputs_to/b-1/a"
    assert stash.client().request("PUT", key, content).status == 200
    source = open_source("", place)
    (tmp_path / f"a{PART}").write_bytes(content[:70_000])
    fetch(source, "a", tmp_path / "a", sha256(content), len(content), Silent())
    assert (tmp_path / "a").read_bytes() == content
    assert source.size("b") is None


def in_bucket(stash: stashes.Stash, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Stash:
    """A prefix in the bucket of the server of the tests, whose keys are in the environment."""
    keys = stash.keys()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret)
    monkeypatch.setenv("AWS_CA_BUNDLE", stash.about["s3"]["ca_file"])
    url = f"s3://{stashes.BUCKET}/{prefix}"
    return Stash("s3", url, endpoint=stash.about["s3"]["endpoint"])


def test_what_cannot_be_read_from_here_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(StagingError, match="cannot be read from this machine"):
        open_source("osdf:///away", Stash())


# --- where it goes ----------------------------------------------------------------------------


def planned(folder: Path, url: str, more: str = "", staging: bool = True) -> Plan:
    folder.mkdir(exist_ok=True)
    path = folder / "sweep.yaml"
    path.write_text(f"name: n\ncommand: echo\nsweep: {{x: [1]}}\noutputs_to: {url}\n{more}")
    return plan_sweep(path, choices=Choices(staging=staging))


def test_the_local_runner_brings_everything_home_and_says_so(tmp_path: Path) -> None:
    plan = planned(tmp_path, "osdf:///away", staging=False)
    assert delivery_of(plan, "n-1") is None
    assert [w for w in plan.warnings if "outputs_to" in w] == [
        "outputs_to: is not used by the local runner; everything comes home"
    ]


def test_plan_says_where_the_data_goes(tmp_path: Path) -> None:
    assert "not here but to osdf:///away" in plan_text(planned(tmp_path, "osdf:///away"), None)
    at_home = planned(tmp_path, "osdf:///away", staging=False)
    assert "not here but" not in plan_text(at_home, None)


def test_a_url_of_the_stash_is_read_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "alice")
    (tmp_path / "s").mkdir()
    stash = f'stash: {{folder: {tmp_path / "s"}, url: "osdf:///o/$USER"}}\n'
    found = delivery_of(planned(tmp_path / "a", "osdf:///o/$USER/r/", stash), "n-1")
    assert found
    assert found.url == "osdf:///o/alice/r/n-1"
    assert found.stash == Stash("folder", found.url, f"{tmp_path}/s/r/n-1")
    other = delivery_of(planned(tmp_path / "a", "osdf:///o/alice2", stash), "n-1")
    assert other
    assert other.stash.kind == "none"


def test_a_bucket_has_the_keys_of_the_stash_and_must_be_there(
    tmp_path: Path, stash: stashes.Stash, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = in_bucket(stash, "staged", monkeypatch)
    more = f"stash: {{s3: {place.url}, endpoint: {place.endpoint}}}\n"
    found = delivery_of(planned(tmp_path, f"s3://{stashes.BUCKET}/r", more), "n-1")
    assert found
    assert found.url == f"{stash.bucket_url}/r/n-1"
    assert [key for key, _ in found.commands] == [
        "aws_access_key_id_file", "aws_secret_access_key_file"
    ]  # fmt: skip
    assert "https" in found.stash.endpoint
    prefixes = {"prefix=r/n-1/", "prefix=r%2Fn-1%2F"}
    assert stash.wait(  # once with its prefix, not behind it
        lambda: any(prefixes & set(r.query.split("&")) for r in stash.requests("s3"))
    )
    with pytest.raises(StagingError, match="NoSuchBucket"):
        delivery_of(planned(tmp_path, "s3://no-such-bucket/r", more), "n-1")


def test_who_may_put_need_not_be_allowed_to_list(
    tmp_path: Path, stash: stashes.Stash, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = {name: stash.make_user(name) for name in ("owns-outputs", "may-put", "may-not")}
    owner = stash.client("owns-outputs")
    assert owner.request("PUT", "/outputs-of-all").status == 200
    allowed = {
        "Effect": "Allow",
        "Principal": {"AWS": ["arn:aws:iam:::user/may-put"]},
        "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
        "Resource": ["arn:aws:s3:::outputs-of-all/*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]}).encode()
    assert owner.request("PUT", "/outputs-of-all", policy, query={"policy": ""}).status == 204
    about = stash.about["s3"]
    monkeypatch.setenv("AWS_CA_BUNDLE", about["ca_file"])
    more = f"stash: {{s3: s3://outputs-of-all/staged, endpoint: {about['endpoint']}}}\n"

    def delivery(user: str) -> Delivery | None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", users[user].access)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", users[user].secret)
        return delivery_of(planned(tmp_path, "s3://outputs-of-all/r", more), "n-1")

    found = delivery("may-put")
    assert found
    assert found.url.endswith("/outputs-of-all/r/n-1")
    assert b"<Key>" not in owner.request("GET", "/outputs-of-all", query={"uploads": ""}).body
    with pytest.raises(StagingError, match="AccessDenied"):
        delivery("may-not")


@pytest.mark.parametrize(
    ("url", "version", "fault"),
    [
        ("s3://h/b/x", (25, 14, 1), True),
        ("s3://h/b/x", (25, 0, 5), False),
        ("osdf:///x", (25, 14, 1), False),
    ],
)
def test_a_fault_of_htcondor_is_warned_of(url: str, version: tuple[int, ...], fault: bool) -> None:
    assert bool(fault_of(Delivery(url), version)) is fault


def test_a_submit_file_names_both_archives(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    planned(tmp_path / "s", f"file://{tmp_path}/away")
    batch = render_sweep(tmp_path / "s" / "sweep.yaml", None, print)
    text = (batch.folder / "rounds" / "001" / "job.submit").read_text()
    each = "$(ClusterId)_$(ProcId)_$$([NumJobStarts]).tar.gz"
    assert "transfer_output_files   = osgbatch-out.tar.gz, osgbatch-data.tar.gz\n" in text
    assert f'; osgbatch-data.tar.gz = file://{tmp_path}/away/n-{batch.id}/{each}"\n' in text
    assert (tmp_path / "away" / f"n-{batch.id}").is_dir()


def test_a_folder_that_is_not_there_is_told_before_anything_is_made(tmp_path: Path) -> None:
    planned(tmp_path / "s", f"file://{tmp_path}/nowhere")
    with pytest.raises(StagingError, match="no such folder"):
        render_sweep(tmp_path / "s" / "sweep.yaml", None, print)
    assert os.listdir(tmp_path / "s") == ["sweep.yaml"]
    assert os.listdir(tmp_path) == ["s"]


def test_nothing_of_this_is_in_a_batch_without_it(tmp_path: Path) -> None:
    planned(tmp_path, "file:///x")
    spec = tmp_path / "sweep.yaml"
    spec.write_text(spec.read_text().replace("outputs_to: file:///x\n", ""))
    batch = render_sweep(spec, None, print)
    text = (batch.folder / "rounds" / "001" / "job.submit").read_text()
    assert "transfer_output_files   = osgbatch-out.tar.gz\ntransfer_output_remaps" in text
    assert "osgbatch-data" not in text
    assert batch.data["outputs_to"] is None
