"""How pytest is called for the project: its own settings, without what splits, reorders or measures its tests."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any

_WITHOUT = {
    "xdist": ("-n0",),
    "pytest_cov": ("--no-cov",),
    "pytest_randomly": ("-p", "no:randomly"),
    "pytest_random_order": ("-p", "no:random_order"),
    "pytest_benchmark": ("--benchmark-disable",),
    "pytest_sugar": ("-p", "no:sugar"),
    "pytest_rerunfailures": ("--reruns", "0"),
}


def use_project(root: str, folder: str | None) -> None:
    """Make the copy at `root` what is imported, here and in processes that tests start, whatever is installed.

    Bytecode goes below `folder`, or nowhere.
    """
    os.chdir(root)
    sources = os.path.join(root, "src")  # noqa: PTH118 - strings go to sys.path
    ahead = [sources, root] if os.path.isdir(sources) else [root]  # noqa: PTH112 - the same
    sys.path[:] = ahead + [entry for entry in sys.path if entry not in ahead]
    _forget_installed(ahead, root)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*ahead, *([before] if before else [])])
    sys.dont_write_bytecode = folder is None
    if folder is not None:
        sys.pycache_prefix = os.path.join(folder, "pycache")  # noqa: PTH118 - the same


def _forget_installed(ahead: Sequence[str], root: str) -> None:
    """Have what the project provides imported anew, where pytest brought an installed one along: its own
    dependencies are projects too."""
    provided = {name.partition(".")[0] for folder in ahead for name in os.listdir(folder)}  # noqa: PTH208 - strings
    # What runs here goes on with what it has.
    provided.discard(__name__.partition(".")[0])
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] in provided and file and not os.path.realpath(file).startswith(root + os.sep):
            del sys.modules[name]


def arguments(folder: str, extra: Sequence[str], tests: Sequence[str]) -> list[str]:
    """Return what pytest is called with."""
    words = ["-q", "--color=no", "-o", f"cache_dir={folder}/pytest-cache"]
    for module, flags in _WITHOUT.items():
        if importlib.util.find_spec(module) is not None:
            words += flags
    return [*words, *extra, *tests]


def describe_exit(code: Any) -> str:
    """Return in words why pytest ended without running tests."""
    return {
        2: "pytest was interrupted: a test file could not be imported",
        3: "pytest met an internal error",
        4: "pytest did not understand its settings",
        5: "no tests were found",
    }.get(int(code), f"pytest ended with {int(code)}")
