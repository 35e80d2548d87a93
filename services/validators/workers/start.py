"""Run by the interpreter that is to answer, by path: `python -I -B start.py WORKER`, asked on standard input."""

from __future__ import annotations

import importlib
import os
import sys
import types
from typing import Any

_PACKAGE = "quantum_suite.services.validators.workers"


def _lend_names(folder: str) -> None:
    """Let the modules beside this one be imported under the names they know each other by.

    No folder goes to `sys.path`: what lies here is nothing that the code under judgement could import.
    """
    parts = _PACKAGE.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[:length])
        module = types.ModuleType(name)
        module.__path__ = [folder] if length == len(parts) else []
        sys.modules[name] = module


def _take_back_names() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "quantum_suite"]:
        del sys.modules[name]


def _worker(name: str) -> Any:
    _lend_names(os.path.dirname(os.path.realpath(__file__)))
    try:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    finally:
        _take_back_names()


if __name__ == "__main__":
    _worker(sys.argv[1]).main()
