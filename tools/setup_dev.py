"""Sets up .venv and the programs that tests need; at once finished when that is done already.

Standard library only, any Python >= 3.10; started by setup.sh, which exports OSGBATCH_DEV_CACHE.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import aptget

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
DONE = VENV / "osgbatch-setup.json"
BEGUN = VENV / "osgbatch-setup.begun"
LOCK = CHECKOUT / ".cache" / "setup.lock"
LOG = CHECKOUT / ".cache" / "setup.log"
WHEELS = Path("/usr/share/python-wheels")
AUTHORITIES = Path("etc/ssl/certs/ca-certificates.crt")


def say(text: str) -> None:
    """One line about the step that begins."""
    print(f"setup: {text}", flush=True)


def base_python() -> str:
    """The interpreter behind this one, also when this one is a virtual environment's."""
    named = getattr(sys, "_base_executable", None) or sys.executable
    return str(Path(named).resolve())


def wanted() -> dict[str, str]:
    """What the stamp of a finished set-up says: a change in any of it means to set up again."""
    sources = (CHECKOUT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes()
    return {
        "checkout": str(CHECKOUT),
        "python": base_python(),
        "version": sys.version,
        "sources": hashlib.sha256(sources).hexdigest(),
    }


def stamp() -> dict[str, str]:
    """What the last finished set-up wrote down; empty when there is none."""
    try:
        read = json.loads(DONE.read_text())
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def finished() -> bool:
    """Whether .venv is what this checkout and this Python need."""
    return stamp() == wanted() and not BEGUN.exists() and VENV_PYTHON.exists()


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Only one set-up of a checkout at a time; the lock goes with its process."""
    LOCK.parent.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):
        (LOCK.parent / ".gitignore").write_text("*\n")
    with LOCK.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up of this checkout")
            fcntl.flock(held, fcntl.LOCK_EX)
        except OSError as error:  # a file system without locks
            say(f"no lock here ({error}); do not run two at once")
        yield


def reusable() -> bool:
    """Whether packages can be installed into the .venv that is there, instead of making another.

    Not one that an interrupted set-up left, that was moved here, or that has another Python.
    """
    if BEGUN.exists() or not VENV_PYTHON.exists():
        return False
    try:
        if str(VENV) not in (VENV / "bin" / "activate").read_text():
            return False
        asked = "import sys, pip; print(sys._base_executable); print(sys.version)"
        told = subprocess.run(
            [VENV_PYTHON, "-c", asked], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    executable, _, version = told.partition("\n")
    return str(Path(executable).resolve()) == base_python() and version.strip() == sys.version


def make_venv() -> None:
    """A new .venv with pip in it, whatever Debian has split off from this Python."""
    say(f"making .venv with {base_python()} ({sys.version.split()[0]})")
    if VENV.is_symlink():
        VENV.unlink()
    elif VENV.exists():
        shutil.rmtree(VENV)
    VENV.mkdir()
    BEGUN.touch()
    (VENV / ".gitignore").write_text("*\n")
    subprocess.run([base_python(), "-m", "venv", "--without-pip", VENV], check=True)
    ensured = subprocess.run(
        [VENV_PYTHON, "-m", "ensurepip", "--default-pip"], capture_output=True, text=True
    )
    if ensured.returncode != 0:
        install_pip(ensured.stderr)


def install_pip(why: str) -> None:
    """Pip from Debian's own wheel, for a Python without ensurepip (package python3-venv)."""
    with tempfile.TemporaryDirectory(dir=CHECKOUT / ".cache") as name:
        folder = Path(name)
        try:
            wheel = str(debian_pip(folder))
            path = [wheel]
            if not pip_starts(path):
                path.append(str(debian_distutils(folder)))
        except (SystemExit, OSError, subprocess.SubprocessError) as error:
            raise SystemExit(
                f"{why}{error}\nsetup: this Python has neither ensurepip nor pip, and Debian's pip"
                " cannot be had;\nsetup: install the package python3-venv"
            ) from None
        pip(["install", "--no-index", "--no-deps", wheel], path)
        if not pip_starts([]):
            pip(["install", "--upgrade", "pip"], path)


def pip_starts(path: list[str]) -> bool:
    """Whether .venv's Python finds a pip that starts, with these entries on PYTHONPATH."""
    command = [str(VENV_PYTHON), "-m", "pip", "--version"]
    return subprocess.run(command, env=with_path(path), capture_output=True).returncode == 0


def with_path(path: list[str]) -> dict[str, str]:
    """The environment as it is, with entries put before PYTHONPATH."""
    entries = [*path, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **({"PYTHONPATH": os.pathsep.join(entries)} if entries else {})}


def debian_pip(folder: Path) -> Path:
    """Debian's wheel of pip, from the machine or from the package; may use the folder."""
    wheels = sorted(WHEELS.glob("pip-*.whl"))
    if not wheels:
        say("this Python has no ensurepip: taking pip from a Debian package, without root")
        aptget.extract(download(["python3-pip-whl"], folder), folder / "root")
        wheels = sorted((folder / "root" / WHEELS.relative_to("/")).glob("pip-*.whl"))
    if not wheels:
        raise SystemExit("the package python3-pip-whl holds no wheel of pip")
    return wheels[-1]


def debian_distutils(folder: Path) -> Path:
    """A folder with all of distutils; may use the folder.

    Before Python 3.12 Debian and Ubuntu keep most of it in a package of its own; pip 22 imports it.
    """
    aptget.extract(download(["python3-distutils"], folder), folder / "root")
    library = f"usr/lib/python3.{sys.version_info.minor}/distutils"
    for part in (Path("/"), folder / "root"):
        if (part / library).is_dir():
            shutil.copytree(part / library, folder / "merged/distutils", dirs_exist_ok=True)
    return folder / "merged"


def download(names: list[str], folder: Path) -> list[Path]:
    """Just these packages of this machine's own suite."""
    return aptget.download(names, aptget.codename(), folder / "apt", follow=False)


def pip(arguments: list[str], path: Sequence[str] = (), **more: str) -> None:
    """Run .venv's pip, with the settings of this machine (pip.conf, PIP_*) as they are.

    path: entries to put before PYTHONPATH; more: variables to set.
    Its words go to a log; they are shown when it fails.
    """
    environment = {**with_path(list(path)), **more}
    command = [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments]
    with LOG.open("w") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            code = process.wait()
        except BaseException:  # Ctrl-C or TERM: pip goes, and what it has started
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if code != 0:
        tail = LOG.read_text(errors="replace").splitlines()[-25:]
        told = [*tail, f"setup: pip failed with exit code {code}; all of its words are in {LOG}"]
        raise SystemExit("\n".join(told))


def certificates() -> dict[str, str]:
    """Settings for a machine without ca-certificates: Debian's pip has no list of its own."""
    named = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    if (Path("/") / AUTHORITIES).exists() or any(os.environ.get(name) for name in named):
        return {}
    bundle = aptget.cache_folder() / "ca-certificates.crt"
    if not bundle.exists():
        say("fetching the list of certificate authorities (package ca-certificates)")
        with tempfile.TemporaryDirectory(dir=CHECKOUT / ".cache") as name:
            folder = Path(name)
            try:
                aptget.extract(download(["ca-certificates"], folder), folder / "root")
            except SystemExit as error:
                say(f"cannot get it: {error}")
                return {}
            found = sorted((folder / "root/usr/share/ca-certificates").rglob("*.crt"))
            part = folder / "bundle"
            part.write_bytes(b"".join(path.read_bytes() for path in found))
            bundle.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(part, bundle)
    return {"PIP_CERT": str(bundle)}


def set_up() -> None:
    """Bring .venv to what pyproject.toml asks for; a run that is interrupted counts as not done."""
    if reusable():
        DONE.unlink(missing_ok=True)
        BEGUN.touch()
        say("bringing .venv up to date")
    else:
        make_venv()
        say("installing osgbatch and what its tests need into .venv (a minute or two)")
    # --no-user: a pip.conf that says `user = true` does not go together with a virtual environment.
    pip(["install", "--no-user", "--editable", f"{CHECKOUT}[dev]"], **certificates())
    part = DONE.with_suffix(".part")
    part.write_text(json.dumps(wanted(), indent=1) + "\n")
    part.replace(DONE)
    BEGUN.unlink()


def provide_busybox() -> None:
    """Debian's busybox where the machine has none: the shim's tests run under it.

    Not the static one: its shell runs applets that have no link, so that no tool is ever missing.
    """
    cache = aptget.cache_folder()
    program = cache / "bin" / "busybox"
    if shutil.which("busybox") or program.exists():
        return
    say("fetching busybox (package busybox, by apt, without root)")
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as name:
        folder = Path(name)
        try:
            aptget.extract(download(["busybox"], folder), folder / "root")
            found = [
                *(folder / "root").glob("bin/busybox"),
                *(folder / "root").glob("usr/bin/busybox"),
            ]
            found[0].replace(program)
        except (SystemExit, OSError, IndexError, subprocess.SubprocessError) as error:
            say(f"no busybox, so the tests that need it will be listed as not run: {error}")


class Tool(NamedTuple):
    """What a script of ours provides for the tests; it is run by .venv's Python."""

    script: str
    """Below the checkout; with the words that make it provide."""
    made: str
    """A file of the cache that is there when it was provided before."""
    what: str
    without: str


APPTAINER = "tools/apptainer.py provide"  # which the machine itself may have
TOOLS = (
    Tool(
        APPTAINER,
        "apptainer/prefix/complete.json",
        "apptainer (package apptainer, by apt, without root)",
        "the pool tests of containers will fail",
    ),
    Tool(
        "tools/stash/servers.py provide",
        "stash/servers/complete.json",
        "radosgw, xrootd and nginx (75 MB, by apt, without root)",
        "the tests of staging will fail",
    ),
    Tool(
        "tools/r.py provide",
        "r/*/prefixed.json",
        "R (package r-base-core of Debian 11, by apt, without root)",
        "the tests of R will fail",
    ),
    Tool(
        "tools/chromium.py provide",
        "chromium/prefix/complete.json",
        "Chromium (package chromium-headless-shell, by apt, without root)",
        "the tests of reports in it will be listed as not run",
    ),
    Tool(
        "tools/sshd.py provide",
        "stash/ssh/complete.json",
        "OpenSSH and rsync (package openssh-server, by apt, without root)",
        "the tests of --host will fail",
    ),
    Tool(
        "tests/faults/clock.py",
        "faketime/libfaketimeMT.so.1",
        "a clock that can be set (package libfaketime, by apt, without root)",
        "the tests of clocks that are off will be listed as not run",
    ),
)


def provide(tool: Tool) -> None:
    """Have it ready in the cache; where it cannot be had, say what does not run without it."""
    if not any(aptget.cache_folder().glob(tool.made)):
        say(f"fetching {tool.what}")
    script, *words = tool.script.split()
    command = [str(VENV_PYTHON), str(CHECKOUT / script), *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-10:])
        say(f"it cannot be had, so {tool.without}:\n{tail}")


def main(arguments: list[str]) -> int:
    """`setup_dev.py [--tools] [-- WORD...]`: then becomes .venv's Python with these words."""
    os.chdir(CHECKOUT)
    # TERM ends it as Ctrl-C does, and it comes also when make itself is killed (PR_SET_PDEATHSIG).
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options, command = arguments[:cut], arguments[cut + 1 :]
    try:
        if not finished():
            with lock():
                if not finished():
                    set_up()
        if "--tools" in options:
            provide_busybox()
            for tool in TOOLS:
                if tool.script != APPTAINER or not shutil.which("apptainer"):
                    provide(tool)
    except subprocess.CalledProcessError as error:
        told = " ".join(str(word) for word in error.cmd)
        print(f"setup: failed with exit code {error.returncode}: {told}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"setup: {CHECKOUT} must be writable: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; the next run starts again", file=sys.stderr)
        return 130
    if command:
        sys.stdout.flush()
        os.execv(VENV_PYTHON, [str(VENV_PYTHON), *command])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
