#!/bin/sh
# `setup.sh [--tools] [-- WORD...]`: finds a Python that is new enough and becomes setup_dev.py, which
# sets up .venv and becomes .venv's Python with the words; --tools also provides the programs that
# tests need. PYTHON=/path/to/python3 chooses another Python.
set -eu
cd "$(dirname "$0")/.."
. tools/setup_env.sh

usable() {
    "$1" -c 'import sys; sys.version_info >= (3, 10) or sys.exit(1); import venv, ssl, zlib, sqlite3' \
        >/dev/null 2>&1
}

choose() {
    if [ -n "${PYTHON:-}" ]; then
        usable "$PYTHON" && printf '%s\n' "$PYTHON" && return
        echo "setup: PYTHON=$PYTHON is not a complete Python 3.10 or newer" >&2
        return 1
    fi
    # The one that set up .venv stays, so that `PYTHON=... make test` holds for what is typed next.
    for candidate in .venv/bin/python python3 python3.14 python3.13 python3.12 python3.11 python3.10 \
        /usr/bin/python3; do
        if command -v "$candidate" >/dev/null 2>&1 && usable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    echo "setup: no Python 3.10 or newer here (python3 is $(python3 -V 2>&1 || echo absent))." >&2
    echo "setup: install one, for example with 'apt-get install python3' on Debian 12 or Ubuntu 22.04" >&2
    echo "setup: and newer, or name it: PYTHON=/path/to/python3 make test" >&2
    return 1
}

python=$(choose)
exec "$python" tools/setup_dev.py "$@"
