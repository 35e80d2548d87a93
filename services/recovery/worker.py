"""Runs one drill, or looks at one server, in a process of its own: a request in, lines of JSON out.

`drill`: stdin has the request, the scratch folder and the key; each line of stdout is progress, the last one the
report or the error. SIGTERM ends the drill in order; a kill leaves what `leftovers` finds.
"""

import contextlib
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import anyio

from quantum_suite.core.errors import SuiteError
from quantum_suite.core.masking import mask_text
from quantum_suite.services.encryption.interface import DataKey
from quantum_suite.services.recovery.course import Course
from quantum_suite.services.recovery.failover import STEPS as FAILOVER_STEPS
from quantum_suite.services.recovery.failover import drill_failover
from quantum_suite.services.recovery.interface import DrillReport, DrillRequest, RowCount, Verdict, judge
from quantum_suite.services.recovery.live_source import copied_primary
from quantum_suite.services.recovery.point_in_time import STEPS as POINT_STEPS
from quantum_suite.services.recovery.point_in_time import drill_point_in_time
from quantum_suite.services.recovery.programs import Programs


async def drill(course: Course) -> DrillReport:
    """Run a drill to its end, well or not; returns its report. Nothing of it runs any more then."""
    began = datetime.now(UTC).isoformat()
    request = course.request
    counted: RowCount | None = None
    problem: SuiteError | None = None
    cancelled = True
    try:
        with anyio.fail_after(request.timeout_seconds):
            counted = await _run(course)
        cancelled = False
    except TimeoutError:
        cancelled = False
        problem = SuiteError(
            f"The drill did not end within {request.timeout_seconds:g} seconds.",
            "Give it more time, or fewer rows.",
        )
    except SuiteError as error:
        cancelled, problem = False, error
    except OSError as error:
        cancelled = False
        problem = SuiteError(
            f"The scratch folder cannot be used: {error.strerror}.", "Mend its room or its rights."
        )
    finally:
        with anyio.CancelScope(shield=True):
            for cluster in course.clusters:
                await cluster.end()
        if cancelled:
            course.note("cancelled")
    rto = sum(phase.seconds for phase in course.phases)
    state: Literal["met", "missed", "measured", "failed"] = "failed"
    verdicts: tuple[Verdict, ...] = ()
    if counted is not None and problem is None:
        state, verdicts = judge(request.objectives, rto, counted)
    return DrillReport(
        id=course.drill,
        request=request,
        state=state,
        began=began,
        seconds=round(time.monotonic() - course.began, 3),
        phases=tuple(course.phases),
        rto_seconds=round(rto, 6) if counted is not None else None,
        rows=counted,
        verdicts=verdicts,
        timeline=tuple(course.timeline),
        facts=course.facts,
        logs=course.logs(),
        problem=mask_text(str(problem)) if problem is not None else "",
    )


async def _run(course: Course) -> RowCount:
    course.facts["postgresql"] = course.programs.version
    await course.step("Making a primary" if course.request.source is None else "Copying the live system")
    primary = course.cluster("primary")
    if course.request.source is None:
        await primary.initialise()
        primary.configure({})
    else:
        await copied_primary(course, primary, course.request.source)
    if course.request.kind == "point_in_time":
        return await drill_point_in_time(course, primary)
    await primary.start()
    return await drill_failover(course, primary)


async def main(asked: dict[str, Any]) -> None:
    """Run the drill that stdin asks for, and print how it goes."""

    async def said(done: float, total: float, words: str) -> None:
        _print({"progress": [done, total, words]})

    request = DrillRequest.model_validate(asked["request"])
    programs = asked["programs"]
    course = Course(
        request,
        Path(asked["folder"]),
        Programs(Path(programs["folder"]), programs["version"], programs["major"]),
        DataKey(asked["key"]["id"], bytes.fromhex(asked["key"]["secret"])),
        asked["drill"],
        said,
        FAILOVER_STEPS if request.kind == "failover" else POINT_STEPS,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stopped, tasks.cancel_scope)
        report = await drill(course)
        _print({"report": report.model_dump(mode="json")})
        tasks.cancel_scope.cancel()


async def _stopped(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


def _print(line: dict[str, Any]) -> None:
    # Whoever listened may be gone: the drill then ends by its signal.
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    anyio.run(main, json.load(sys.stdin))
