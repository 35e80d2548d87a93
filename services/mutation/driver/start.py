"""Run by the project's interpreter, by path: `python start.py`, the request as JSON on standard input."""

from __future__ import annotations

import json
import os
import sys
import types

_OLDEST = (3, 10)
_PACKAGE = "quantum_suite.services.mutation.driver"


def _lend_names(folder: str) -> None:
    """Let the modules beside this one be imported under the names they know each other by."""
    parts = _PACKAGE.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        module = types.ModuleType(name)
        module.__path__ = [folder] if length == len(parts) else []
        sys.modules[name] = module


def _take_back_names() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "quantum_suite"]:
        del sys.modules[name]


def _say(descriptor: int, **line: object) -> None:
    os.write(descriptor, json.dumps(line).encode() + b"\n")


def main() -> None:
    """Do what the request says, telling it line by line on what was standard output."""
    folder = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - goes to sys.path
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != folder]
    request = json.load(sys.stdin)
    descriptor = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1):
        os.dup2(null, number)
    if sys.version_info < _OLDEST:
        _say(descriptor, event="too old", python=sys.executable, version=sys.version.split()[0], oldest=_OLDEST)
        return
    try:
        import pytest  # noqa: F401 - asked for before anything else needs it
    except ImportError:
        _say(descriptor, event="missing", engine="pytest", python=sys.executable)
        return
    _lend_names(folder)
    from quantum_suite.services.mutation.driver.fresh import run_fresh
    from quantum_suite.services.mutation.driver.supervisor import Supervisor
    from quantum_suite.services.mutation.driver.wire import Wire

    _take_back_names()
    if request["mode"] == "fresh":
        run_fresh(request, Wire(descriptor))
    else:
        Supervisor(request, Wire(descriptor)).run()


if __name__ == "__main__":
    main()
