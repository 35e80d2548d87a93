#!/bin/sh
# Finds a Python that is new enough (or has apt install one) and hands over to set_up.py.
# Usage: deploy/set_up.sh runtime|test
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)

find_python() {
    for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
        [ -n "$candidate" ] || continue
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$candidate" && return
    done
    return 1
}

if ! python=$(find_python); then
    if command -v apt-get >/dev/null; then
        sudo=""
        [ "$(id -u)" = 0 ] || sudo="sudo -n"
        echo "No Python 3.11 or newer found; installing python3 and python3-venv with apt." >&2
        $sudo apt-get update -qq >&2 && $sudo apt-get install -y -qq python3 python3-venv >&2 || true
    fi
    if ! python=$(find_python); then
        echo "Error: Python 3.11 or newer is needed. Install it, or name it: make PYTHON=/path/to/python3" >&2
        exit 2
    fi
fi
exec "$python" "$here/set_up.py" "$@"
