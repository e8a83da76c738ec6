"""Identity and clean-up: run a command as an ordinary account, in namespaces that end with us.

HTCondor refuses root's jobs, and its daemons outlive whoever started them. So a process enters
once, as the outermost of three:

    outer       waits, passes signals on; when it dies, for whatever reason, everything below dies
    supervisor  the first process of its PID namespace (where there is none: a subreaper that
                watches the outer one); reaps; kills what is left when the command has ended
    command     what was asked for, as an ordinary account

The command sees a few disks that are soon full, for tests of full disks.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from common import ToolError, short_temp

MARK = "OSGBATCH_INSIDE"
SMALL_DISKS = "OSGBATCH_SMALL_DISKS"
"""Names a folder whose folders 0, 1, ... are small disks, where this machine allows that."""
DISKS, DISK_MB = 8, 4
FORCE = "OSGBATCH_NAMESPACES"  # for tests: "user", "pid", "none" leave out what is not named

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SI_KERNEL = 0x80
PASSED_ON = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
GRACE = 5.0  # seconds between a request to end and KILL

_libc = ctypes.CDLL(None, use_errno=True)


Mask = Iterable[int]  # signals that were blocked before


@dataclass(frozen=True)
class Way:
    """How to become an ordinary account (uid, gid) and how to see to the end of everything."""

    uid: int
    gid: int
    user_namespace: bool
    pid_namespace: bool

    def words(self) -> str:
        identity = "mapped" if self.user_namespace else "plain"
        return f"{identity} uid {self.uid}, {'PID namespace' if self.pid_namespace else 'watched'}"


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def ordinary_account() -> pwd.struct_passwd:
    """An existing account that HTCondor lets own jobs: uid from 1000 on, else nobody.

    Raises ToolError when there is neither.
    """
    accounts = pwd.getpwall()
    for account in sorted(accounts, key=lambda a: a.pw_uid):
        if 1000 <= account.pw_uid < 60000:
            return account
    for account in accounts:
        if account.pw_name == "nobody" and account.pw_uid != 0:
            return account
    raise ToolError(
        "HTCondor refuses root's jobs, and this machine has no ordinary account: "
        "create one, for instance with: useradd --uid 1000 dev"
    )


def _known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _enter(way: Way) -> None:
    """Make the namespaces; the next child is the first process of the PID namespace."""
    uid, gid = os.getuid(), os.getgid()
    flags = CLONE_NEWUSER if way.user_namespace else 0
    flags |= CLONE_NEWPID | CLONE_NEWNS if way.pid_namespace else 0
    if flags:
        _check(_libc.unshare(flags), "unshare")
    if way.user_namespace:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{way.uid} {uid} 1\n")
        Path("/proc/self/gid_map").write_text(f"{way.gid} {gid} 1\n")


def _mount_proc() -> None:
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount /")
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    _check(_libc.mount(b"proc", b"/proc", b"proc", flags, None), "mount /proc")


def _mount_small_disks(way: Way, folder: Path) -> None:
    """Disks that nobody else sees; they and what is on them are gone with the namespace."""
    here, whose = os.fsencode(folder), f"mode=700,uid={way.uid},gid={way.gid}"
    _check(
        _libc.mount(b"disks", here, b"tmpfs", 0, f"{whose},size={DISK_MB}m".encode()),
        "mount a tmpfs",
    )
    for number in range(DISKS):
        disk = folder / str(number)
        disk.mkdir()
        size = f"{whose},size={DISK_MB}m".encode()
        _check(_libc.mount(b"disk", os.fsencode(disk), b"tmpfs", 0, size), "mount a small disk")


def _possible(way: Way) -> bool:
    """Try the namespaces in a child and say whether they work here."""
    trial = os.fork()
    if trial == 0:
        code = 1
        try:
            _enter(way)
            if way.pid_namespace:
                first = os.fork()
                if first == 0:
                    _mount_proc()
                    os._exit(0)
                code = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
            else:
                code = 0
        except OSError:
            pass
        finally:
            os._exit(code)
    return os.waitpid(trial, 0)[1] == 0


def best_way() -> Way:
    """The best that this machine allows: namespaces, else plain accounts and a watching process."""
    uid, gid = os.getuid(), os.getgid()
    allowed = os.environ.get(FORCE, "user pid").split()
    other = uid == 0 or not _known(uid)
    account = ordinary_account() if other else None
    target = (account.pw_uid, account.pw_gid) if account else (uid, gid)
    for user, pid in ((True, True), (False, True), (True, False)):
        if (user and "user" not in allowed) or (pid and "pid" not in allowed):
            continue
        if not user and uid != 0:
            continue
        way = Way(*target, user_namespace=user, pid_namespace=pid)
        if _possible(way):
            return way
    if other and uid != 0:
        raise ToolError(
            f"User {uid} is not in the passwd database, HTCondor needs a name for it, and user "
            "namespaces, which would lend it one, are not allowed here."
        )
    return Way(*target, user_namespace=False, pid_namespace=False)


def _become(way: Way) -> None:
    """Without a user namespace root really becomes the account: it then sees only its files."""
    if not way.user_namespace and os.getuid() != way.uid:
        os.setgroups([])
        os.setresgid(way.gid, way.gid, way.gid)
        os.setresuid(way.uid, way.uid, way.uid)


def environment(way: Way, base: Mapping[str, str]) -> dict[str, str]:
    """The command's environment: the mark, the account's name, and a HOME that can be written."""
    env = {**base, MARK: way.words()}
    account = pwd.getpwuid(way.uid)
    env["USER"] = env["LOGNAME"] = account.pw_name
    home = env.get("HOME", "")
    if not home or not os.access(home, os.W_OK | os.X_OK):
        env.pop("HOME", None)
        if os.access(account.pw_dir, os.W_OK | os.X_OK):
            env["HOME"] = account.pw_dir
    return env


def inside() -> bool:
    """True in a command that was started by run_inside."""
    return bool(os.environ.get(MARK))


def run_inside(command: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """Run a command inside and return its exit code (128 + n when signal n ended it).

    Everything that the command starts, daemons included, has ended when this returns, and ends
    when the calling process is killed, even by KILL. Raises ToolError.
    """
    way = best_way()
    env = dict(env or os.environ)
    env.pop(SMALL_DISKS, None)
    disks = Path(tempfile.mkdtemp(prefix="osgd-", dir=short_temp())) if way.pid_namespace else None
    if disks:
        env[SMALL_DISKS] = str(disks)
    alive, hold = os.pipe()  # nobody but the outer process holds the writing end
    sys.stdout.flush()
    sys.stderr.flush()
    old = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})
    # unshare(CLONE_NEWUSER) changes the caller for good, so a child of ours does it.
    middle = os.fork()
    if middle == 0:
        os.close(hold)
        _guarded(lambda: _middle(way, command, env, alive, old))
    os.close(alive)
    try:
        return wait_passing(middle)
    finally:
        os.close(hold)
        if disks:
            disks.rmdir()
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _guarded(action: Callable[[], int]) -> NoReturn:
    """Run the rest of a forked child; it never returns into the caller's code."""
    code = 127
    try:
        code = action()
    except (OSError, ToolError) as error:
        print(f"htcondor: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def _die_with_parent(alive: int) -> None:
    """Have KILL sent when the parent dies; mind that it may be dead already."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if select.select([alive], [], [], 0)[0]:
        os._exit(137)


def _middle(way: Way, command: Sequence[str], env: Mapping[str, str], alive: int, old: Mask) -> int:
    """Enter the namespaces, then be the supervisor, or the parent of one in a PID namespace."""
    if way.pid_namespace:
        _die_with_parent(alive)
    _enter(way)
    if not way.pid_namespace:
        _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
        return _supervise(way, command, env, alive, old)
    first = os.fork()
    if first == 0:

        def supervisor() -> int:
            _die_with_parent(alive)
            _mount_proc()
            with contextlib.suppress(OSError):  # then there are none
                _mount_small_disks(way, Path(env[SMALL_DISKS]))
            return _supervise(way, command, env, alive, old)

        _guarded(supervisor)
    return wait_passing(first)


def _supervise(
    way: Way, command: Sequence[str], env: Mapping[str, str], alive: int, old: Mask
) -> int:
    """Start the command, reap, pass signals on; kill what is left when it or the outer one ends."""
    child = os.fork()
    if child == 0:

        def start() -> int:
            os.close(alive)
            _become(way)
            return _execute(command, environment(way, env), old)

        _guarded(start)
    code = wait_passing(child, alive)
    _kill_descendants()
    return code


def wait_passing(child: int, alive: int | None = None) -> int:
    """Wait for a child and pass on the signals sent to us; they must be blocked by the caller.

    alive: becomes readable (end of file) when the outer process is dead; then this kills all.
    What the terminal sends goes to its whole foreground group, so the child has it already.
    """
    deadline: float | None = None
    while True:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return 127
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid == 0:
                break
        if alive is not None and select.select([alive], [], [], 0)[0]:
            _kill_descendants()
            os._exit(137)
        if deadline is not None and time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        got = signal.sigtimedwait(PASSED_ON | {signal.SIGCHLD}, 0.5)
        if got is None or got.si_signo == signal.SIGCHLD:
            continue
        if got.si_code != SI_KERNEL:
            os.kill(child, got.si_signo)
        if got.si_signo in (signal.SIGTERM, signal.SIGHUP):
            deadline = deadline or time.monotonic() + GRACE


def _children() -> dict[int, list[int]]:
    """Parent → children, of all processes that /proc shows."""
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if after_name[0] != "Z":
                found.setdefault(int(after_name[1]), []).append(int(entry.name))
    return found


def run_passing(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command and pass on the signals sent to us; returns its code, 128 + n for signal n."""
    sys.stdout.flush()
    sys.stderr.flush()
    old = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})
    try:
        child = os.fork()
        if child == 0:
            _guarded(lambda: _execute(command, env, old))
        return wait_passing(child)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _execute(command: Sequence[str], env: Mapping[str, str], old: Mask) -> int:
    """Become the command; returns the code that a shell would give when that is not possible."""
    for number in PASSED_ON | {signal.SIGCHLD}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, old)
    try:
        os.execvpe(command[0], list(command), dict(env))
    except OSError as error:
        print(f"htcondor: {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 126 if isinstance(error, PermissionError) else 127


def _kill_descendants() -> None:
    """Kill everything below this process: orphans come to it, as it is init or a subreaper."""
    if os.getpid() == 1:
        return  # the kernel kills the rest of a PID namespace when its first process ends
    for _ in range(200):
        tree = _children()
        waiting, below = [os.getpid()], []
        while waiting:
            children = tree.get(waiting.pop(), [])
            below += children
            waiting += children
        if not below:
            return
        for pid in below:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)
