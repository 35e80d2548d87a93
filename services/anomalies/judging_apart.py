"""Judges series in a process of its own, so that nobody else waits for it."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import anyio.to_thread
import orjson

from quantum_suite.core.errors import CallerError, EngineError, EngineMissing
from quantum_suite.services.anomalies.interface import Alarm, Kind, Reason, Sensitivity, Verdict
from quantum_suite.services.process import run

MAX_POINTS = 200_000
"""Points of all series of one call together: about half a minute of work."""
_SECONDS = 300.0
_MOST_BYTES = 128 * 1024 * 1024
_INSTALL = "pip install 'quantum-suite[sre]'"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A series' points, and the detector's state before them; None to learn it anew."""

    times: Sequence[float]
    values: Sequence[float]
    state: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found in a series."""

    verdict: Verdict
    state: Mapping[str, Any] | None
    """JSON to go on from; None where it was not asked for."""
    relearned: bool
    """Whether the state that was given could not be read."""


async def judge_apart(
    stretches: Sequence[Stretch],
    *,
    sensitivity: Sensitivity = "normal",
    kind: Kind | None = None,
    keep_states: bool = False,
) -> list[Judged]:
    """Judge each series by itself; returns what was found, in order. Cancelling ends the process.

    Raises CallerError for too many points, EngineMissing without numpy, EngineError where the process failed.
    """
    if find_spec("numpy") is None:
        raise EngineMissing(
            "numpy is not installed, so nothing was judged.", f"Install it: {_INSTALL}", engine="numpy"
        )
    points = sum(len(one.times) for one in stretches)
    if points > MAX_POINTS:
        raise CallerError(
            f"{points} points are too many; {MAX_POINTS} are judged at once.",
            "Ask for fewer series, a shorter window or a longer step.",
            argument="query",
        )
    request = {
        "series": [_series(one) for one in stretches],
        "sensitivity": sensitivity,
        "kind": kind,
        "keep": keep_states,
    }
    payload = await anyio.to_thread.run_sync(orjson.dumps, request)
    done = await run(
        [sys.executable, "-I", "-m", "quantum_suite.services.anomalies.worker"],
        env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        stdin=payload,
        timeout_seconds=_SECONDS,
        max_output_bytes=_MOST_BYTES,
    )
    if done.returncode != 0:
        last = (done.stderr_tail.strip().splitlines() or [""])[-1][:300]
        raise EngineError(
            "The series were not judged.", last or None, engine="anomalies", printed=done.stderr_tail
        )
    answer = await anyio.to_thread.run_sync(orjson.loads, done.stdout)
    return [_judged(one) for one in answer]


def _series(stretch: Stretch) -> dict[str, Any]:
    return {
        "times": list(stretch.times),
        "values": [value if math.isfinite(value) else None for value in stretch.values],
        "state": stretch.state,
    }


def _judged(told: dict[str, Any]) -> Judged:
    verdict = told["verdict"]
    alarms = [
        Alarm(
            **{
                **alarm,
                "expected": tuple(alarm["expected"]),
                "reasons": tuple(Reason(**reason) for reason in alarm["reasons"]),
            }
        )
        for alarm in verdict["alarms"]
    ]
    return Judged(Verdict(**{**verdict, "alarms": alarms}), told["state"], told["relearned"])
