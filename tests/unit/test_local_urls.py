"""The local runner fetches inputs that are URLs, and says which it cannot fetch."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_local_harness import (
    last,
    make_round,
    no_runner_left,
    numbers,
    processes_of,
    read_events,
    record_of,
    returned,
    run,
    wait_for_end,
    wait_until,
)

from osgbatch import names, urls
from osgbatch.errors import OsgbatchError
from osgbatch.local import backend, fetch

BODY = bytes(range(256)) * 5000


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the last part of the path; `asked` keeps what was asked for."""

    asked: list[str]
    release: threading.Event

    def do_GET(self) -> None:
        self.asked.append(self.path)
        word = self.path.partition("?")[0].rpartition("/")[2]
        if word.isdigit():
            self.send_error(int(word))
        elif word == "moved":
            self.send_response(302)
            self.send_header("Location", "/data/model.h5")
            self.end_headers()
        elif word == "silent":
            self.release.wait(20)
        elif word == "short" or (word == "short-once" and len(self.asked) == 1):
            self._body(BODY[:1000])
        else:
            self._body(BODY)

    def _body(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    Handler.asked = []
    Handler.release = threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        try:
            yield found
        finally:
            Handler.release.set()
            found.shutdown()
            thread.join()


@pytest.fixture
def web(server: http.server.ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OSGBATCH_LOCAL_GRACE", "0.3")
    monkeypatch.setenv("OSGBATCH_LOCAL_SLOTS", "2")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("OSGBATCH_LOCAL_DIR", str(tmp_path / "scratch"))


def test_urls_arrive_under_the_names_that_htcondor_gives_them(tmp_path: Path, web: str) -> None:
    (tmp_path / "here.txt").write_text("here")
    (tmp_path / "a b.txt").write_bytes(b"a file")
    urls = [
        f"{web}/data/model.h5?version=3&of=a/b",
        f"{web}/data/x%20y.txt",
        f"{web}/moved",
        "here.txt",
        (tmp_path / "a b.txt").as_uri(),
    ]
    job = "ls; cat here.txt a%20b.txt; cmp model.h5 moved && wc -c < model.h5"
    round_ = make_round(tmp_path, [job], inputs=[urls])
    events = run(round_)
    assert numbers(events) == [0, 1, 5]
    assert last(events)["ReturnValue"] == 0
    size = 3 * len(BODY) + len("here") + len("a file")
    assert last(events)["ReceivedBytes"] > size
    assert returned(round_)["0/1_0.out"].split() == [
        "_condor_stderr", "_condor_stdout", "a%20b.txt", "condor_exec.exe", "here.txt", "model.h5",
        "moved", "osgbatch-out.tar.gz", "x%20y.txt", "herea", f"file{len(BODY)}",
    ]  # fmt: skip
    assert "/data/model.h5?version=3&of=a/b" in Handler.asked


def test_every_job_is_brought_what_is_shared(tmp_path: Path, web: str) -> None:
    for name in ("model", "a", "b"):
        (tmp_path / name).write_text(name)
    job = 'wc -c < ref.fa; cat model "$(ls a b 2> /dev/null)"'
    round_ = make_round(
        tmp_path, [job, job], inputs=[["a"], ["b"]], shared=["model", f"{web}/v1/ref.fa"]
    )
    events = run(round_)
    assert [last(events, proc)["ReturnValue"] for proc in range(2)] == [0, 0]
    assert returned(round_)["0/1_0.out"] == f"{len(BODY)}\nmodela"
    assert returned(round_)["0/1_1.out"] == f"{len(BODY)}\nmodelb"


def test_a_refused_url_holds_only_its_job(tmp_path: Path, web: str) -> None:
    gone = tmp_path / "gone"
    inputs = [[f"{web}/404"], [f"{web}/x", f"{web}/403"], [gone.as_uri()], [f"{web}/x"]]
    round_ = make_round(tmp_path, ["true"] * 4, inputs=inputs)
    events = run(round_)
    for proc, what in [
        (0, f"The requested URL returned error: 404 ( URL file = {web}/404 )"),
        (1, f"The requested URL returned error: 403 ( URL file = {web}/403 )"),
        (2, f"No such file or directory: {gone} ( URL file = {gone.as_uri()} )"),
    ]:
        assert numbers(events, proc) == [0, 12]
        assert last(events, proc)["HoldReasonCode"] == 13
        assert last(events, proc)["HoldReasonSubCode"] == 256
        assert what in last(events, proc)["HoldReason"]
    assert numbers(events, 3) == [0, 1, 5]
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not backend.interrupted(round_, 1)


@pytest.mark.parametrize("scheme", ["osdf", "s3", "pelican", "stash", "ftp", "HTTPSX"])
def test_what_only_htcondor_fetches_is_refused_before_anything_runs(
    tmp_path: Path, scheme: str
) -> None:
    url = f"{scheme}:///ospool/ap40/data/alice/ref.fa"
    round_ = make_round(tmp_path, ["true", "true"], inputs=[[], [url]])
    with pytest.raises(OsgbatchError) as caught:
        backend.submit(round_)
    assert caught.value.what == f"this machine's local runner cannot fetch {url}"
    assert "--pool condor" in caught.value.fix
    shared = make_round(tmp_path / "shared", ["true"], shared=[url])
    with pytest.raises(OsgbatchError, match="cannot fetch"):
        backend.submit(shared)
    assert sorted(p.name for p in round_.folder.iterdir()) == [names.ITEMS, names.SHIM]


def test_a_server_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/x"
        with pytest.raises(fetch.FetchError, match=r"^Connection refused$"):
            fetch.fetch(url, tmp_path / "x", pause_s=0)


def test_a_url_without_a_file_name_is_refused(tmp_path: Path, web: str) -> None:
    round_ = make_round(tmp_path, ["true"], inputs=[[f"{web}/data/"]])
    with pytest.raises(OsgbatchError, match="ends in no file name"):
        backend.submit(round_)


def test_a_silent_server_holds_up_neither_other_jobs_nor_cancel(tmp_path: Path, web: str) -> None:
    inputs: list[list[str]] = [[f"{web}/silent"], []]
    round_ = make_round(tmp_path, ["true", "true"], inputs=inputs)
    backend.submit(round_)
    with no_runner_left(round_):
        wait_until(lambda: numbers(read_events(round_), 1) == [0, 1, 5], "the other job's end")
        wait_until(lambda: "/silent" in Handler.asked, "the request")
        assert len(processes_of(round_)) == 1
        backend.cancel(round_, 1)
    assert numbers(read_events(round_)) == [0, 9]
    assert not Path(record_of(round_).scratch).exists()


def test_a_job_that_is_tried_again_is_brought_its_urls_again(tmp_path: Path, web: str) -> None:
    mark = tmp_path / "mark"
    job = (
        f"cat x > /dev/null || exit 3; if [ -e '{mark}' ]; then exit 0; fi; : > '{mark}'; exit 101"
    )
    events = run(make_round(tmp_path, [job], inputs=[[f"{web}/x"]]))
    assert numbers(events) == [0, 1, 4, 1, 5]
    assert Handler.asked == ["/x", "/x"]


def test_a_runner_that_is_stopped_while_it_fetches_leaves_the_job_waiting(
    tmp_path: Path, web: str
) -> None:
    round_ = make_round(tmp_path, ["true"], inputs=[[f"{web}/silent"]])
    backend.submit(round_)
    with no_runner_left(round_):
        wait_until(lambda: "/silent" in Handler.asked, "the request")
        os.kill(record_of(round_).pid, signal.SIGTERM)
        wait_for_end(round_)
    assert numbers(read_events(round_)) == [0]
    assert backend.interrupted(round_, 1)


def test_a_broken_off_transfer_is_tried_again_and_then_told(tmp_path: Path, web: str) -> None:
    target = tmp_path / "x"
    assert fetch.fetch(f"{web}/short-once", target, pause_s=0) == len(BODY)
    assert target.read_bytes() == BODY
    Handler.asked.clear()
    with pytest.raises(fetch.FetchError, match="more expected"):
        fetch.fetch(f"{web}/short", target, pause_s=0)
    assert len(Handler.asked) == fetch.TRIES


@pytest.mark.parametrize(("path", "tries"), [("404", 1), ("503", fetch.TRIES)])
def test_only_trouble_of_the_server_is_tried_again(
    tmp_path: Path, web: str, path: str, tries: int
) -> None:
    with pytest.raises(fetch.FetchError, match=path):
        fetch.fetch(f"{web}/{path}", tmp_path / "x", pause_s=0)
    assert len(Handler.asked) == tries


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path, web: str) -> None:
    with pytest.raises(fetch.FetchError, match="timed out"):
        fetch.fetch(f"{web}/silent", tmp_path / "x", silence_s=0.05, pause_s=0)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("file:///", "is no file"),
        ("file://elsewhere/etc/passwd", "three slashes"),
        ("http://127.0.0.1:none/x", "cannot be read"),
        ("http://[::1/x", "cannot be read"),
    ],
)
def test_urls_that_lead_nowhere_are_told_as_such(tmp_path: Path, url: str, what: str) -> None:
    with pytest.raises(fetch.FetchError, match=what):
        fetch.fetch(url, tmp_path / "x", pause_s=0)


@pytest.mark.parametrize(
    ("text", "scheme"),
    [("HTTP://x/y", "http"), ("osdf:///x", "osdf"), ("data/a:b", ""), ("c:/x", ""), ("a b://", "")],
)
def test_a_url_is_told_from_a_path(text: str, scheme: str) -> None:
    assert urls.scheme(text) == scheme


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a/x.txt?v=1&w=a/b", "x.txt"),
        ("http://h/a/x.txt#part", "x.txt#part"),
        ("http://h/x%20y.txt", "x%20y.txt"),
        ("http://h/a/", ""),
    ],
)
def test_names_of_urls_are_those_seen_on_htcondor(url: str, name: str) -> None:
    assert urls.file_name(url) == name


@pytest.mark.parametrize(
    "url",
    [
        "https://h/a?sig=abc", "https://h/a?sv=1&sig=abc", "https://h/a?access_key=x",
        "https://b.s3.amazonaws.com/a?AWSAccessKeyId=A&Expires=1", "https://h/a?X-Amz-Signature=f",
        "https://h/a?X-Amz-Credential=f", "https://h/a?X-Goog-Signature=f", "https://h/a?key=AIza",
        "https://h/a?Signature=x&Key-Pair-Id=K", "https://h/a?token=t", "https://h/a?private_token=t",
        "https://h/a?authz=Bearer%20x", "osdf:///a?authz=x", "https://me:pw@h/a", "https://h/a?jwt=e",
        "https://h/a?api-key=1", "https://h/a?password=p",
    ],
)  # fmt: skip
def test_a_url_with_a_key_is_known(url: str) -> None:
    assert urls.holds_key(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://h/a", "https://h/design=1/monkey?x=1", "https://h/a?design=1&monkey=2",
        "https://h/token=1/a.txt", "https://me@h/a", "https://h:8080/a@b", "https://h/a?keyword=x",
        "osdf:///ospool/ap40/data/alice/secret/a", "https://h/a?download=1&author=x",
    ],
)  # fmt: skip
def test_a_url_without_a_key_is_not_mistaken(url: str) -> None:
    assert not urls.holds_key(url)
