"""Runs the shim under each shell that an execution point may have, for test_shim*.py."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pytest

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
SHELLS = ("dash", "bash", "busybox")
ODD_NAME = "odd 'folder' \"with\"\n$(touch x) `b` * ;&"
"""What a scratch folder may be called; only the colon is missing, which no PATH can hold."""


def quote(word: str | bytes) -> bytes:
    """A word as the rows hold it: single-quoted bytes."""
    raw = word.encode() if isinstance(word, str) else word
    return b"'" + raw.replace(b"'", b"'\\''") + b"'"


def render(**changes: Any) -> str:
    """The shim with the template's variables, plain ones where nothing is said."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["sh"] = lambda text: quote(str(text)).decode()
    variables: dict[str, Any] = {
        "batch_id": "0123456789ab",
        "round": 1,
        "payload": [],
        "outputs": [],
        "time_limit": 0,
        "disk_needed_kb": 1,
        "has_environment": False,
        "environment_variables": [],
        "retry_codes": [],
        "retry_times": 0,
        "row_body": '[ -n "$row_has_params" ] || params "$1"\nescape_pattern "$1"\n'
        'output "$escaped" required\nrun_with 1 A="$1" "$program_file"',
    }
    return environment.get_template("shim.sh.j2").render(variables | changes)


def row(*command: str | bytes, before: Sequence[Sequence[str | bytes]] = ()) -> list[bytes]:
    """The lines of one task: input, output, params, time_limit; then run COMMAND."""
    lines = [[*line] for line in before] + [["run", *command]]
    return [
        str(words[0]).encode() + b"".join(b" " + quote(w) for w in words[1:]) for words in lines
    ]


def sh(script: str, *before: Sequence[str | bytes]) -> list[bytes]:
    """A task that runs a script of the shell."""
    return row("sh", "-c", script, before=before)


def encode(rows: Mapping[int, list[bytes]]) -> str:
    """The fragment as the item file carries it."""
    text = b"".join(b"row_%d() {\n%s\n}\n" % (i, b"\n".join(rows[i])) for i in rows)
    return base64.b64encode(gzip.compress(text)).decode()


def tarball(path: Path, files: Mapping[str, str | bytes], mode: int = 0o755) -> dict[str, str]:
    """Write an archive; returns what the payload says of it, but for the kind."""
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            raw = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(raw), mode
            tar.addfile(info, io.BytesIO(raw))
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


@dataclass(frozen=True)
class Outcome:
    """What one run of the shim left."""

    code: int
    stderr: str
    job: dict[str, str]
    tasks: dict[int, dict[str, str]]
    home: Path
    """The unpacked archive."""

    def text(self, task: int, name: str) -> str:
        return (self.home / "tasks" / str(task) / name).read_text(errors="surrogateescape")

    def data(self, task: int) -> Path:
        return self.home / "tasks" / str(task) / "data"

    def names(self, task: int) -> set[str]:
        root = self.data(task)
        return {str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir()}


def read_record(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().split("\n") if line)


@dataclass
class Slot:
    """A scratch folder of an execution point that has one certain shell as /bin/sh."""

    shell: str
    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    echo: Path | None = None
    """The file that is the shim's stdout, as with HTCondor; else a pipe, where nothing comes."""

    def __post_init__(self) -> None:
        self.scratch = self.root / ODD_NAME
        self.scratch.mkdir(parents=True)
        self.bin = self.root / "bin"
        self.bin.mkdir()
        program = shutil.which(self.shell)
        assert program, f"{self.shell} is needed: apt-get install {self.shell}"
        if self.shell == "busybox":  # an alpine: nothing but applets
            subprocess.run([program, "--install", "-s", str(self.bin)], check=True)
            self.path = str(self.bin)
        else:
            (self.bin / "sh").symlink_to(program)
            self.path = f"{self.bin}:/usr/bin:/bin"

    def file(self, name: str | bytes, content: str | bytes = "x\n") -> Path:
        path = self.scratch / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def start(
        self,
        rows: Mapping[int, list[bytes]] | str,
        tasks: str | None = None,
        limit_kb: int = 0,
        edit: Callable[[str], str] = str,
        **variables: Any,
    ) -> subprocess.Popen[str]:
        """Start the shim as HTCondor does; TASKS is `0+1+...` unless given, rows may be encoded.

        edit: changes the text of the shim.
        """
        shim = self.root / "condor_exec.exe"
        shim.write_text(edit(render(**variables)))
        word = rows if isinstance(rows, str) else encode(rows)
        names = tasks if tasks is not None else "+".join(map(str, rows))
        command = [str(self.bin / "sh"), str(shim), "12", "3", names, word]
        if limit_kb:
            command = [
                shutil.which("bash") or "bash",
                "-c",
                f'ulimit -f {limit_kb}; exec "$@"',
                "bash",
                *command,
            ]
        environ = {"PATH": self.path, "_CONDOR_SCRATCH_DIR": str(self.scratch)} | self.environ
        with ExitStack() as opened:
            return subprocess.Popen(
                command,
                cwd=self.root,
                env={k: v for k, v in environ.items() if v != "-"},
                stdin=subprocess.DEVNULL,
                stdout=opened.enter_context(self.echo.open("wb")) if self.echo else subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="surrogateescape",
            )

    def finish(self, process: subprocess.Popen[str]) -> Outcome:
        stdout, stderr = process.communicate(timeout=120)
        assert not stdout, stdout
        return self.outcome(process.returncode, stderr)

    def outcome(self, code: int, stderr: str = "") -> Outcome:
        home = Path(tempfile.mkdtemp(dir=self.root))
        archive = self.scratch / "osgbatch-out.tar.gz"
        if archive.exists() and archive.stat().st_size:
            subprocess.run(["tar", "-xzf", str(archive), "-C", str(home)], check=True)
        job = read_record(home / "job") if (home / "job").exists() else {}
        tasks = {int(p.parent.name): read_record(p) for p in home.glob("tasks/*/status")}
        return Outcome(code, stderr, job, tasks, home)

    def run(self, rows: Mapping[int, list[bytes]] | str, **options: Any) -> Outcome:
        return self.finish(self.start(rows, **options))


@pytest.fixture(params=SHELLS)
def slot(request: pytest.FixtureRequest, tmp_path: Path) -> Slot:
    """A slot under each of the shells."""
    return Slot(request.param, tmp_path)


def wait_for(condition: Callable[[], object], limit: float = 60) -> None:
    """Wait, with a limit, for something that nothing announces."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def only(outcome: Outcome) -> tuple[str, str]:
    """Reason and exit code of the only task."""
    (task,) = outcome.tasks.values()
    return task["reason"], task["exit_code"]


def alive(pid: int) -> bool:
    """Whether the process lives; a dead one that nobody has collected does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
