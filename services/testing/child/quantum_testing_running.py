"""What every runner's program does around its tests: set up, measure, tell, end."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from quantum_testing_coverage import Measure
from quantum_testing_stream import Stream


def run_measured(run: Callable[[Stream, Measure, dict[str, Any]], int]) -> int:
    """Read the configuration that the first argument names, run the tests, keep what was measured."""
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    stream = Stream(config["token"])
    _prepare(config["root"])
    measure = Measure(config)
    measure.start()
    if config["coverage"]:
        _keep_before_exit(measure)
    started = time.monotonic()
    status = run(stream, measure, config)
    measure.save()
    stream.tell("done", status=status, seconds=time.monotonic() - started, coverage_problem=measure.problem)
    # Threads and exit handlers that tests left behind must not hold up the end, nor change it.
    sys.stderr.flush()
    sys.stdout.flush()
    return int(_exit(status))


def greet(stream: Stream, measure: Measure, version: str) -> None:
    """Say what runs."""
    stream.tell(
        "hello",
        version=version,
        python=".".join(map(str, sys.version_info[:3])),
        coverage=measure.version,
        coverage_problem=measure.problem,
    )


def _prepare(root: str) -> None:
    """Put the project's own sources before anything installed, an editable install of the origin too."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != here]
    for folder in ("src", "."):
        path = os.path.normpath(os.path.join(root, folder))
        if os.path.isdir(path):
            sys.path.insert(0, path)
    os.chdir(root)


_exit: Any = os._exit


def _keep_before_exit(measure: Measure) -> None:
    """Keep what was measured when a test ends the process."""
    owner = os.getpid()

    def keep_and_exit(status: int) -> None:
        if os.getpid() == owner:
            measure.save()
        _exit(status)

    os._exit = keep_and_exit  # type: ignore[assignment]  # on purpose
