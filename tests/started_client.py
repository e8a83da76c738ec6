"""`started_client.py SOCKET PYTHON WORD...`: has the server of started.py run `osgbatch WORD...`.

With our standard streams, folder and environment. Where the last asks for a Python that starts, we
become one. Loads nothing but what is in Python itself, since it
runs for each command.
"""

import _signal
import _socket
import posix
import sys
from array import array

SOL_SOCKET, SCM_RIGHTS = _socket.SOL_SOCKET, _socket.SCM_RIGHTS


def main() -> None:
    address, python, *words = map(_bytes, sys.argv[1:])
    mask = posix.umask(0)
    posix.umask(mask)
    env = [name + b"=" + value for name, value in posix.environ.items()]
    fields = [b"%d" % mask, b"%d" % len(words), posix.getcwdb(), *words, *env]
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.connect(address)
    for number in (_signal.SIGINT, _signal.SIGHUP, _signal.SIGTERM):
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, lambda given, _: connection.send(bytes([given])))
    asked = b"\0".join(fields)
    connection.sendmsg([b"%020d" % len(asked)], [(SOL_SOCKET, SCM_RIGHTS, array("i", [0, 1, 2]))])
    connection.sendall(asked)
    answer = b""
    while not answer.endswith(b"\n"):
        more = connection.recv(64)
        if not more:
            raise RuntimeError("the server of tests/started.py has died")
        answer += more
    if answer.startswith(b"a"):
        posix.execv(python, [python, b"-m", b"osgbatch", *words])
    code = int(answer)
    if code < 0:
        if code != -_signal.SIGKILL:
            _signal.signal(-code, _signal.SIG_DFL)
        posix.kill(posix.getpid(), -code)
    posix._exit(code & 0xFF)


def _bytes(word: str) -> bytes:
    return word.encode(sys.getfilesystemencoding(), "surrogateescape")


main()
