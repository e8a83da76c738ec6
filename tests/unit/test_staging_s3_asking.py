"""How a bucket is asked: what is asked again, how much is asked, and how it is ended."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
import stashes
from botocore import exceptions
from botocore.stub import Stubber
from s3_place import MB, files_in, place_of, use_keys

from osgbatch.errors import StagingError
from osgbatch.spec_model import Stash
from osgbatch.staging import s3, s3_asking, s3_client
from osgbatch.staging.objects import Object

ROOT = Path(__file__).parents[2]


def refusal(status: int, code: str) -> exceptions.ClientError:
    """What boto3 raises for an answer of the server."""
    answer: Any = {
        "Error": {"Code": code},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return exceptions.ClientError(answer, "PutObject")


def tls(text: str) -> exceptions.SSLError:
    return exceptions.SSLError(endpoint_url="https://x", error=text)


PASSES = [
    refusal(429, "429"),
    refusal(503, "SlowDownWrite"),
    refusal(503, "XMinioServerNotInitialized"),
    refusal(502, "502"),
    refusal(400, "ThrottlingException"),
    refusal(400, "RequestTimeout"),
    refusal(409, "OperationAborted"),
    tls("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol"),
    exceptions.EndpointConnectionError(endpoint_url="https://x"),
    exceptions.ReadTimeoutError(endpoint_url="https://x"),
]
STAYS = [
    refusal(403, "AccessDenied"),
    refusal(501, "NotImplemented"),
    refusal(507, "XMinioStorageFull"),
    refusal(400, "EntityTooSmall"),
    tls("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate"),
    exceptions.ParamValidationError(report='Invalid bucket name "Bad Bucket"'),
    exceptions.NoCredentialsError(),
]


@pytest.mark.parametrize("error", PASSES, ids=str)
def test_what_may_pass_is_asked_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_asking, "FIRST_WAIT_S", 0.0)
    answers = iter([error, error, None])

    def question() -> str:
        answer = next(answers)
        if answer:
            raise answer
        return "answer"

    assert s3_asking.Asking("bucket", "https://x").ask(question, "key") == "answer"


@pytest.mark.parametrize("error", STAYS, ids=str)
def test_what_stays_is_asked_once(error: Exception) -> None:
    asked: list[int] = []

    def question() -> str:
        asked.append(1)
        raise error

    with pytest.raises(StagingError):
        s3_asking.Asking("bucket", "https://x").ask(question, "key")
    assert len(asked) == 1


@pytest.fixture
def place(stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stash:
    """A prefix of the test's own in the bucket of the real server."""
    use_keys(stash, tmp_path, monkeypatch)
    return place_of(stash, tmp_path)


def test_a_bucket_that_can_have_no_such_name_is_told_at_once(place: Stash) -> None:
    store = s3.S3Store(Stash("s3", "s3://Bad Bucket/p", endpoint=place.endpoint))
    began = time.monotonic()
    with pytest.raises(StagingError, match="Invalid bucket name"):
        store.sizes(["3f/3f"])
    assert time.monotonic() - began < 20


def test_many_names_are_not_looked_for_one_by_one_nor_in_all_of_a_stash(
    place: Stash, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the stash has 16 pages."""
    monkeypatch.setattr(s3, "FEW", 4)
    monkeypatch.setattr(s3, "FIRST_PAGES", 1)
    store = s3.S3Store(place)
    wanted = [f"{folder}/{folder}{index:062x}" for folder in ("0a", "f0") for index in range(8)]
    others = [f"77/77{index:062x}" for index in range(65)]
    for name in [*wanted[:-1], *others]:
        store.client.put_object(Bucket=store.bucket, Key=store.key(name), Body=b"12")
    asked: list[str] = []

    def small_pages(params: dict[str, Any], **_: object) -> None:
        params["MaxKeys"] = 5

    def count(model: Any, **_: object) -> None:
        asked.append(model.name)

    events = store.client.meta.events
    events.register("provide-client-params.s3.ListObjectsV2", small_pages)
    events.register("before-call.s3", count)
    absent = f"ff/ff{1:062x}"
    assert store.sizes([*wanted, absent]) == dict.fromkeys(wanted[:-1], 2)
    assert asked.count("ListObjectsV2") <= 5, asked
    assert asked.count("HeadObject") == 1, asked


# --- regions of AWS, which no test has ---------------------------------------------------------


def of_aws(
    monkeypatch: pytest.MonkeyPatch, bucket: str, where: str, **more: Any
) -> tuple[s3.S3Store, list[str]]:
    """A stash in a bucket of AWS that says it is in this region; and what AWS was asked."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    asked: list[str] = []
    made = s3_client.client

    def client(stash: Stash, region: str = "") -> Any:
        found = made(stash, region)
        stubber = Stubber(found[0])
        # Forbidden, which tells the region all the same.
        stubber.add_client_error(
            "head_bucket",
            "403",
            "",
            403,
            response_meta={"HTTPHeaders": {"x-amz-bucket-region": where}},
        )
        stubber.activate()
        found[0].meta.events.register(
            "before-parameter-build.s3", lambda **_: asked.append("asked")
        )
        return found

    monkeypatch.setattr(s3, "client", client)
    return s3.S3Store(Stash("s3", f"s3://{bucket}/p", **more)), asked


def test_the_url_names_the_region_of_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = of_aws(monkeypatch, "mine", "eu-north-1")
    assert store.url == "s3://mine.s3.eu-north-1.amazonaws.com/p"
    assert store.client.meta.region_name == "eu-north-1"
    assert asked == ["asked"]
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")  # of machines, not of the bucket
    assert s3.S3Store(store.stash).url == store.url
    store, asked = of_aws(monkeypatch, "mine", "", region="eu-west-2")
    assert store.url == "s3://mine.s3.eu-west-2.amazonaws.com/p"
    assert asked == []


def test_in_china_the_region_is_told_beside_the_url(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    store, _ = of_aws(monkeypatch, "my.data", "", region="cn-north-1")
    assert store.url == "s3://s3.cn-north-1.amazonaws.com.cn/my.data/p"
    assert dict(store.commands())["aws_region"] == "cn-north-1"
    assert "aws_region" not in dict(of_aws(monkeypatch, "mine", "eu-west-2")[0].commands())


def test_a_bucket_of_aws_with_dots_is_refused_before_anything_is_brought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(StagingError, match="dots in its name"):
        of_aws(monkeypatch, "my.data", "eu-north-1")
    of_aws(monkeypatch, "my.data", "eu-north-1", presigned_s=60)  # boto3 names it otherwise


# --- ended early -------------------------------------------------------------------------------


@contextlib.contextmanager
def slow_line(port: int, enough: Callable[[int], None]) -> Iterator[int]:
    """A port that leads to another, with 2 MB/s to there; enough: is told how much has passed."""
    ends: list[socket.socket] = []
    passed = [0]

    def forward(source: socket.socket, target: socket.socket, wait: float) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(64 * 1024):
                target.sendall(data)
                if wait:
                    passed[0] += len(data)
                    enough(passed[0])
                    time.sleep(wait * len(data))
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", port))
                ends.extend((here, there))
                for words in ((here, there, 0.5 / MB), (there, here, 0.0)):
                    threading.Thread(target=forward, args=words, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for end in ends:
        end.close()


@pytest.mark.parametrize("whole", [256 * MB, 5 * MB], ids=["whole", "in parts"])
def test_ctrl_c_ends_an_upload_at_once(
    stash: stashes.Stash, place: Stash, tmp_path: Path, whole: int
) -> None:
    (path,), _ = files_in(tmp_path, random.Random(4).randbytes(64 * MB))
    moving = threading.Event()
    with slow_line(
        stash.about["s3"]["port"], lambda count: moving.set() if count > MB else None
    ) as port:
        spec = tmp_path / "sweep.yaml"
        spec.write_text(
            f"command: 'true'\nstash: {{s3: '{place.url}', endpoint: 'https://127.0.0.1:{port}'}}\n"
        )
        code = (
            "import runpy, sys\nfrom osgbatch.staging import s3\n"
            f"s3.WHOLE = {whole}\nsys.argv[0] = 'osgbatch'\n"
            "runpy.run_module('osgbatch', run_name='__main__')\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, "stage", "put", "--spec", spec, path],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert moving.wait(30), process.stderr and process.stderr.read()
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
        assert time.monotonic() - began < 15
        assert process.returncode == 130, said
        assert "Traceback" not in said
    found = s3.S3Store(place).listing()
    assert list(found) == []


def test_one_that_fails_ends_the_others_and_leaves_behind_one_that_hangs() -> None:
    asking = s3_asking.Asking("bucket", "https://x")
    begun = threading.Barrier(4)
    ended = [threading.Event(), threading.Event()]
    released = threading.Event()

    def fails() -> None:
        begun.wait(10)
        raise StagingError("no")

    def waits() -> None:
        begun.wait(10)
        asking.pause(60)
        with pytest.raises(CancelledError):
            asking.look()
        ended[0].set()

    def sends() -> None:
        body = s3_asking.Sending(io.BytesIO(b"12"), 2, Path("x"), asking.look)
        begun.wait(10)
        with pytest.raises(CancelledError):
            while body.read(1):
                body.seek(0)
                time.sleep(0.01)
        ended[1].set()

    def hangs() -> None:
        begun.wait(10)
        released.wait(60)

    began = time.monotonic()
    with pytest.raises(StagingError, match="no"):
        list(asking.each([fails, waits, sends, hangs]))
    assert time.monotonic() - began < 40  # not the minute that one of them hangs
    assert all(event.wait(20) for event in ended)
    released.set()


def test_a_file_that_becomes_shorter_while_it_is_sent_is_told(place: Stash, tmp_path: Path) -> None:
    (path,), (one,) = files_in(tmp_path, bytes(3 * MB))
    store = s3.S3Store(place)

    def shorten(**_: object) -> None:
        os.truncate(path, MB)

    store.client.meta.events.register("before-call.s3.PutObject", shorten)
    with pytest.raises(StagingError, match="changes while it is being staged"):
        store.put(path, Object(one.sha256, one.size, ".bin"), lambda count: None)
    assert list(store.listing()) == []


@pytest.mark.parametrize("where", ["", "/", "below/"])
def test_a_refusal_without_words_names_the_place_and_no_none(where: str) -> None:
    answer = {"Error": {"Code": "NoSuchBucket", "Message": None}}

    def question() -> str:
        raise exceptions.ClientError(answer, "ListObjectsV2")  # type: ignore[arg-type]

    with pytest.raises(StagingError) as caught:
        s3_asking.Asking("nosuch", "https://x").ask(question, where)
    assert caught.value.what == "the server refuses: NoSuchBucket"
    assert caught.value.where == f"s3://nosuch/{where}".rstrip("/")
