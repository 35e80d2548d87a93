"""Judges series as a program of its own: reads what to judge as JSON from standard input, writes what it found.

In: `series` (each with `times`, `values`, null for no number, and `state` or null), `sensitivity`, `kind` and
`keep` (whether to return states). Out: a list with one object a series, see `judging_apart`.
"""

import math
import sys
from dataclasses import asdict
from typing import Any

import orjson

from quantum_suite.core.errors import Damaged
from quantum_suite.services.anomalies.judging import judge


def work(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was found in each series. One whose state cannot be read is learned anew."""
    return [_judged(one, request) for one in request["series"]]


def _judged(series: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    values = [math.nan if value is None else value for value in series["values"]]
    relearned = False
    try:
        verdict, detector = judge(
            series["times"],
            values,
            sensitivity=request["sensitivity"],
            kind=request["kind"],
            state=series["state"],
        )
    except Damaged:
        relearned = True
        verdict, detector = judge(
            series["times"], values, sensitivity=request["sensitivity"], kind=request["kind"]
        )
    return {
        "verdict": asdict(verdict),
        "state": detector.state() if request["keep"] else None,
        "relearned": relearned,
    }


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(work(orjson.loads(sys.stdin.buffer.read()))))
