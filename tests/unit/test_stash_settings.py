"""What a spec says of its stash: merged from several places, checked, and told of in a plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from osgbatch import exits
from osgbatch.cli.app import command_line
from osgbatch.cli.plan_data import staged_json
from osgbatch.cli.settings import effective_settings
from osgbatch.errors import OsgbatchError, ResultError, StagingError
from osgbatch.spec import profiles
from osgbatch.spec.layers import read_layers
from osgbatch.spec.load import load_spec
from osgbatch.spec_model import Stash
from osgbatch.staging.fetch import fetch, open_source
from osgbatch.submission import stashing
from osgbatch.submission.planned import Choices, plan_sweep
from osgbatch.submission.staged import Silent
from osgbatch.submission.steps import render_sweep
from osgbatch.ui import amounts

MB = 1024**2


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep's folder to work in, with a stash beside it and without anybody's defaults."""
    for name in ("home", "work", "stash"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    names = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "OSGBATCH_DEFAULTS")
    for name in (*names, "OSGBATCH_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(profiles, "host_names", lambda: ("laptop",))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def write(text: str, name: str = "sweep.yaml") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def config(text: str) -> None:
    """The user's own defaults."""
    write(text, f"{os.environ['HOME']}/.config/osgbatch/config.yaml")


def stash(spec: str, *settings: str) -> Any:
    """The `stash:` that holds, as it was written."""
    document = read_layers(write(f"command: echo\n{spec}\n"), settings).document
    return document.data.get("stash")


def told(spec: str, *settings: str) -> str:
    """What is wrong with a spec."""
    with pytest.raises(OsgbatchError) as caught:
        load_spec(write(f"command: echo\n{spec}\n"), settings)
    return str(caught.value)


# --- from several places ------------------------------------------------------------------------

FOLDER = {"folder": "/data", "url": "https://host/data"}
BUCKET = {"s3": "s3://bucket/x", "endpoint": "https://minio"}


@pytest.mark.parametrize("own", [BUCKET, {"pelican": "osdf:///ns/x"}, "none", "s3://bucket/x"])
def test_a_stash_replaces_that_of_weaker_layers_whole(own: Any) -> None:
    config(f"stash: {json.dumps(FOLDER)}\n")
    assert stash("") == FOLDER
    assert stash(f"stash: {json.dumps(own)}") == own
    load_spec(write(f"command: echo\nstash: {json.dumps(own)}\n"))


def test_half_a_stash_is_not_filled_up_from_weaker_layers() -> None:
    config(f"stash: {json.dumps(FOLDER)}\n")
    assert "jobs need a URL that serves the folder" in told("stash: {folder: /other}")
    wrong = told("stash: {folder: /other, ulr: 'https://host/other'}")
    assert 'did you mean "url"?' in wrong
    config(f"stash: {json.dumps(BUCKET)}\n")
    spec = load_spec(write("command: echo\nstash: {s3: 's3://other'}\n"))
    assert spec.stash is not None
    assert (spec.stash.url, spec.stash.endpoint) == ("s3://other", "")


@pytest.mark.parametrize(
    ("own", "settings", "expected"),
    [
        (BUCKET, ["stash.endpoint=https://b"], {**BUCKET, "endpoint": "https://b"}),
        (BUCKET, ["stash.s3=s3://b"], {**BUCKET, "s3": "s3://b"}),
        (BUCKET, ["stash.endpoint=null"], {"s3": "s3://bucket/x"}),
        ("s3://b", ["stash.endpoint=https://b"], {"s3": "s3://b", "endpoint": "https://b"}),
        (FOLDER, ["stash.url=https://b"], {**FOLDER, "url": "https://b"}),
        (FOLDER, ["stash.s3=s3://b"], {"s3": "s3://b"}),
        (FOLDER, ["stash=s3://b"], "s3://b"),
        (FOLDER, ["stash={pelican: 'osdf:///a'}"], {"pelican": "osdf:///a"}),
        (BUCKET, ["stash.folder=/d", "stash.url=https://b"], {"folder": "/d", "url": "https://b"}),
        ("none", ["stash.folder=/d", "stash.url=https://b"], {"folder": "/d", "url": "https://b"}),
    ],
)
def test_a_setting_changes_one_key_of_a_stash(own: Any, settings: list[str], expected: Any) -> None:
    assert stash(f"stash: {json.dumps(own)}", *settings) == expected
    config(f"stash: {json.dumps(own)}\n")
    assert stash("", *settings) == expected


def test_a_setting_of_a_stash_leaves_the_places_of_the_rest() -> None:
    document = read_layers(
        write("command: e\nstash: s3://b\n"), ["stash.endpoint=https://c"]
    ).document
    assert document.place(("stash", "s3")).line == 2
    assert document.place(("stash", "endpoint")).file == "--set"


def test_config_shows_where_each_key_of_a_stash_comes_from() -> None:
    layered = read_layers(
        write("command: e\nstash: {s3: s3://b, region: r}\n"), ["stash.endpoint=https://c"]
    )
    shown = {one.name: one.file for one in effective_settings(layered, None)}
    assert {name: file for name, file in shown.items() if name.startswith("stash")} == {
        "stash.s3": "sweep.yaml", "stash.region": "sweep.yaml", "stash.endpoint": "--set",
    }  # fmt: skip


# --- what is wrong with a stash -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "what", "fix"),
    [
        ("folder: /d, url: osdf://ospool/d", "needs a third slash", "osdf:///namespace/folder"),
        ("folder: /d, url: 'file://d'", "needs a third slash", "file:///folder"),
        ("folder: /d, url: 'osdf:///'", "it ends too soon", "osdf:///namespace/folder"),
        ("folder: /d, url: 'https:///d'", "it has no host", "https://host/folder"),
        ("pelican: osdf://ns/d", "needs a third slash", "osdf:///namespace/folder"),
        ("folder: /d, url: 'file://{foldr}'", "cannot hold '{'", "Known is {folder}"),
    ],
)
def test_a_url_that_names_no_place_is_refused(keys: str, what: str, fix: str) -> None:
    wrong = told(f"stash: {{{keys}}}")
    assert what in wrong
    assert fix in wrong
    assert wrong.startswith("sweep.yaml:2:")
    assert wrong.count("sweep.yaml:") == 1


@pytest.mark.parametrize(
    "url",
    ["osdf://{folder}", "file://$HOME/d", "file://${HOME}", "osdf:///ns/$USER", "https://host",
     "pelican://host/ns"],
)  # fmt: skip
def test_a_url_that_names_a_place_is_taken(url: str) -> None:
    load_spec(write(f"command: echo\nstash: {{folder: /d, url: '{url}'}}\n"))


# --- what comes to nothing ------------------------------------------------------------------------


def warnings(spec: str, *settings: str) -> list[str]:
    """What a plan warns of."""
    path = write(f"command: echo\n{spec}\n")
    return list(plan_sweep(path, choices=Choices(settings=settings)).warnings)


HERE = "stash: {folder: ../stash, url: 'https://host/data'}"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ([], "there is no stash (`stash:` names one)"),
        (["stash=none"], "the settings say `stash: none`"),
        (["profile=ospool"], "you have no folder /ospool/*/data/$USER here"),
    ],
)
def test_shared_without_a_stash_is_told(settings: list[str], why: str) -> None:
    write("x", "a")
    write("x", "b")
    inputs = "inputs: [{path: a, shared: true}, {path: b, shared: true}]"
    (warning,) = (w for w in warnings(inputs, *settings) if "to nothing" in w)
    assert warning.startswith("`shared: true` of a (and 1 more) comes to nothing: ")
    assert why in warning
    assert not warnings(f"{inputs}\n{HERE}")
    assert not warnings(inputs, "profile=local")
    assert not warnings("inputs: [{path: a, shared: false}]")


def test_a_tree_of_a_plain_file_is_told() -> None:
    write("x", "a")
    write("x", "folder/b")
    (warning,) = warnings(f"inputs: [{{path: a, tree: true}}]\n{HERE}")
    assert warning.startswith("`tree: true` of a comes to nothing: it is for folders")
    assert not warnings(f"inputs: [{{path: folder, tree: true}}]\n{HERE}")


@pytest.mark.parametrize("entry", ["path: a, shared: false", "path: 'https://host/a'"])
def test_a_tree_that_is_kept_out_of_the_stash_is_refused(entry: str) -> None:
    write("x", "a")
    wrong = told(f"inputs: [{{{entry}, tree: true}}]")
    assert "`tree: true` is for folders in the stash" in wrong
    assert "sweep.yaml:2:" in wrong


# --- what cannot be read --------------------------------------------------------------------------


def as_nobody_special(*words: str) -> subprocess.CompletedProcess[str]:
    """Run osgbatch as somebody who may not read everything, as root may."""
    own: list[str] = []
    if os.geteuid() == 0:
        less = "-dac_override,-dac_read_search"
        own = ["setpriv", "--bounding-set", less, "--inh-caps", less]
    command = [*own, sys.executable, "-m", "osgbatch", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_check_tells_what_in_a_folder_cannot_be_read(here: Path) -> None:
    for name in ("a/sub/f", "a/sub/g", "a/h", "b/c/d"):
        write("x", name)
    for name in ("a/sub/f", "a/sub/g", "b/c"):
        Path(name).chmod(0)
    try:
        entries = ["{path: a, shared: true}", "{path: a, shared: true, tree: true, as: t}", "b"]
        write(f"command: echo\n{HERE}\ninputs:\n" + "".join(f"- {one}\n" for one in entries))
        for command in (["check"], ["submit", "--pool", "local"]):
            done = as_nobody_special(*command, "sweep.yaml")
            assert done.returncode == exits.BAD_INPUT, done.stderr
            wrong = 'input "a" holds sub/f and 1 more, which cannot be read: permission denied'
            assert done.stderr.count(wrong) == 2
            assert 'input "b" holds c, which cannot be read: permission denied' in done.stderr
        assert not (here / "batches").exists()
    finally:
        for name in ("a/sub/f", "a/sub/g", "b/c"):
            Path(name).chmod(0o755)


# --- for programs ---------------------------------------------------------------------------------


def test_plan_json_says_what_is_staged_and_the_disk_that_the_page_says() -> None:
    write("x" * 5000, "a")
    write("x", "folder/b")
    inputs = "[{path: a, shared: true}, {path: folder, shared: true, tree: true}]"
    write(f"command: echo\ninputs: {inputs}\nresources: {{disk: 1 MB}}\n{HERE}\n")
    done = CliRunner().invoke(command_line(), ["plan", "sweep.yaml", "--json"])
    data = json.loads(done.stdout)
    assert data["stash"] == "https://host/data"
    here = Path.cwd()
    assert data["staged"] == [
        {
            "kind": "inputs", "path": str(here / name), "bytes": count, "why": "shared: true",
            "tree": name == "folder",
        }
        for name, count in (("a", 5000), ("folder", 1))
    ]  # fmt: skip
    assert data["resources"]["disk_kb"] == 1024
    assert data["job_resources"]["disk_kb"] == 1024 + 5
    data = json.loads(CliRunner().invoke(command_line(), ["plan", "sweep.yaml", "--json", "--set",
                                               "stash=none"]).stdout)  # fmt: skip
    assert (data["stash"], data["staged"]) == (None, [])


def test_a_submission_says_what_it_has_staged() -> None:
    write("x", "a")
    write("x", "folder/b")
    write("x", "folder/c,d")
    inputs = "[{path: a, shared: true}, {path: folder, shared: true, tree: true}]"
    batch = render_sweep(write(f"command: echo\ninputs: {inputs}\n{HERE}\n"), None, print)
    told = staged_json(batch.folder)
    assert (told["stash"], told["objects"]) == ("https://host/data", 1)
    assert [Path(one["path"]).name for one in told["staged"]] == ["a", "folder"]
    plan = json.loads((batch.folder / "plan.json").read_text())
    submit = (batch.folder / "rounds/001/job.submit").read_text()
    assert f" = {plan['job_resources']['disk_kb']}KB\n" in submit
    write("command: echo\n")
    done = CliRunner().invoke(command_line(), ["submit", "sweep.yaml", "--pool", "local",
                                               "--no-watch", "--json"])  # fmt: skip
    data = json.loads(done.stdout)
    assert (data["stash"], data["objects"], data["staged"]) == (None, 0, [])


# --- room -----------------------------------------------------------------------------------------


def test_room_is_looked_at_before_an_upload_is_told_and_in_one_unit() -> None:
    write("x" * 3 * MB, "a")
    write("quotas: {stash: 'echo 1 MB'}\nhosts: []\n", "pool.yaml")
    write(f"profile: ./pool.yaml\ncommand: e\ninputs: [{{path: a, shared: true}}]\n{HERE}\n")
    said: list[str] = []
    with pytest.raises(StagingError) as caught:
        render_sweep(Path("sweep.yaml"), None, said.append)
    assert caught.value.what == "3 MB are to be staged, and the quota leaves room for 1 MB"
    assert not [line for line in said if line.startswith("stage:")]


def test_the_bar_counts_as_the_lines_do() -> None:
    assert amounts(MB, 3.5 * MB, None) == "1.0/3.5 MB"
    assert amounts(0, 3.5 * MB, 2048) == "0.0/3.5 MB, 2.0 KB/s"
    assert amounts(650_000_000, 650_000_000, None) == "619.9/619.9 MB"


def test_a_wrong_kind_of_stash_and_a_wrong_quota_are_told_with_a_way_out() -> None:
    wrong = told("stash: false")
    assert "Write `stash: none`" in wrong
    assert "quotes" not in wrong
    write("quotas: {stsh: echo}\n", "pool.yaml")
    assert 'quotas: unknown name "stsh"; did you mean "stash"?' in told("profile: ./pool.yaml")
    write("quotas: {x: echo}\n", "pool.yaml")
    assert "Known are home and stash." in told("profile: ./pool.yaml")


# --- exit codes -----------------------------------------------------------------------------------


def test_a_wrong_argument_of_stage_put_is_bad_input() -> None:
    write(f"command: echo\n{HERE}\n")
    with pytest.raises(OsgbatchError, match="there is no such file") as caught:
        stashing.put([Path("nothere")], stashing.stash_store(Path("sweep.yaml")), print, Silent())
    assert caught.value.exit_code == exits.BAD_INPUT


def test_an_unknown_variable_is_told_at_its_place() -> None:
    for text in ("folder: /d/$NOPE, url: 'https://h'", "s3: s3://b, key_folder: '${NOPE}'"):
        with pytest.raises(OsgbatchError, match=r"the variable \$NOPE is not known") as caught:
            load_spec(write(f"command: echo\nstash: {{{text}}}\n"))
        assert caught.value.exit_code == exits.BAD_INPUT
        assert str(caught.value).startswith("sweep.yaml:2:")
    write("command: e\nstash: {folder: $HOME/x, url: 'https://h'}\n")
    load_spec(Path("sweep.yaml"))


# --- what is listed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("osdf:///ns/sub/", "Write a pattern: osdf:///ns/sub/*."),
        ("osdf:///ns/sub", "Write a pattern: osdf:///ns/sub/*."),
        ("osdf:///ns/*.csv", "**/ is any depth"),
    ],
)
def test_a_folder_in_place_of_a_pattern_is_told(url: str, fix: str) -> None:
    write("x", "../stash/sub/a")
    served = "stash: {folder: ../stash, url: 'osdf:///ns'}"
    wrong = f"command: echo {{x}}\nsweep: {{x: {{files: '{url}'}}}}\n{served}\n"
    with pytest.raises(OsgbatchError, match="nothing matches") as caught:
        plan_sweep(write(wrong))
    assert fix in str(caught.value)


def test_data_that_is_gone_or_damaged_is_named_by_its_whole_url(tmp_path: Path) -> None:
    url = "https://host/out/batch-1"
    source = open_source(url, Stash("folder", url, str(tmp_path / "stash")))
    (tmp_path / "stash/b").write_bytes(b"12345")
    for name, told in (("a", "is not there"), ("b", "is damaged")):
        with pytest.raises(ResultError, match=f"its data {told}: {url}/{name}"):
            fetch(source, name, tmp_path / "target", "0" * 64, 5, Silent())
