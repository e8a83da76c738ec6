"""Logins in addresses: told apart from folders, shown nowhere, and kept out of a batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from osgbatch.cli.app import command_line
from osgbatch.errors import SpecErrors
from osgbatch.submission.steps import render_sweep
from osgbatch.urls import without_login

LOGINS = {
    "https://a:b@host/t/tk-1/chan/x.conda": "https://host/chan/x.conda",
    "https://u:p@s@host/c": "https://host/c",
    "https://u:pa/ss@host/c": "https://host/c",
    "https://u:pa/s@s@host/c": "https://host/c",
    "https://name@host/c": "https://host/c",
    "git+ssh://git@host/x.git": "git+ssh://host/x.git",
    "https://host/t/short/c": "https://host/c",
    "https://host/conda/t/tk-12-34/c": "https://host/conda/c",
    "https://host/t/tk-12-34": "https://host",
    "https://host/c?token=12": "https://host/c",
    "osdf:///a/b?authz=12": "osdf:///a/b",
    "s3://host/b?X-Amz-Signature=12&v=1": "s3://host/b?v=1",
    "https://proxy/https://host/c?sig=12": "https://proxy/https://host/c",
    "https://host/c?a=1&X-Amz-Signature=12&b=2": "https://host/c?a=1&b=2",
    "--index-url https://me:secret@host/x": "--index-url https://host/x",
    "see https://a:b@h/c, https://d:e@i/t/tk-1/c.": "see https://h/c, https://i/c.",
    "no 'https://a:b@h:8080/c' or \"https://h/c?auth=1\"": "no 'https://h:8080/c' or \"https://h/c\"",
}
OTHERS = (
    "file:///tmp/x/t/ch/noarch",
    "file:///tmp/me@home/t/ch",
    "/tmp/x/t/ch",
    "https://host/x/t/ch/noarch",
    "https://host:8080/x/a@b",
    "https://host/x@y/t",
    "http://[::1]:80/a@b",
    "https://host/c?name=x",
    "a ratio of 1/t/2 and a@b",
    "conda-forge/label/dev",
)


@pytest.mark.parametrize("text", [*LOGINS, *OTHERS])
def test_a_login_is_told_apart(text: str) -> None:
    assert without_login(text) == LOGINS.get(text, text)


SPEC = """\
command: echo
environment: {conda: environment.yml, channels: ["http://alice:WORD@host/c"]}
"""


def test_a_login_of_the_spec_is_in_no_batch_and_in_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "sweep.yaml").write_text(SPEC)
    (tmp_path / "environment.yml").write_text("dependencies: [python]\n")
    with pytest.raises(SpecErrors, match="a channel has its login in it"):
        render_sweep(Path("sweep.yaml"), Path("batch"), lambda text: None)
    holding = [
        path.name for path in tmp_path.rglob("*") if path.is_file() and "WORD" in path.read_text()
    ]
    assert holding == ["sweep.yaml"] and not (tmp_path / "batch").exists()
    for options in ((), ("--json",)):
        done = CliRunner().invoke(command_line(), ["config", "sweep.yaml", *options])
        assert "WORD" not in done.stdout and "http://host/c" in done.stdout
    found = [one["value"] for one in json.loads(done.stdout)["settings"]]
    assert {"conda": "environment.yml", "channels": ["http://host/c"]} in found
