"""How long PostgreSQL takes to recover, and whether every acknowledged row is accounted for, in drill after drill.

    python bench/recovery.py                                  # 20 failover and 10 point-in-time drills
    python bench/recovery.py --failover 4 --point-in-time 4   # fewer
    python bench/recovery.py --smoke                          # one of each, small

Real servers (PostgreSQL's programs on this machine), writers on several connections, a primary that is killed or
frozen in the middle of writes. Failover drills take turns: synchronous and killed, asynchronous and killed,
synchronous and frozen, asynchronous and frozen. Point-in-time drills take turns: a named point, an LSN, a time,
and the end of the archive. A row is accounted for when it is there as it was written, or counted as lost; a
synchronous failover and a restore to a named moment may lose none.

Times of failover begin with the disaster, and hold its detection (three failed looks, 0.1 s apart). Times of
restores begin when the restore does. With `--json` the last line is `{"figures": {...}}`.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import anyio

from quantum_suite.core.ids import new_id
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.recovery.interface import DrillReport, DrillRequest
from quantum_suite.services.recovery.runner import DrillRunner

FAILOVERS = (
    {"synchronous": True, "disaster": "kill"},
    {"synchronous": False, "disaster": "kill"},
    {"synchronous": True, "disaster": "freeze"},
    {"synchronous": False, "disaster": "freeze"},
)
POINTS = ("name", "lsn", "time", "latest")


async def drill(scratch: Path, request: DrillRequest) -> DrillReport:
    """Run one drill."""

    async def said(done: float, total: float | None, words: str) -> None:
        """Listen to no progress."""

    return await DrillRunner(scratch, MemoryKeyProvider(), {}).run(new_id("drill"), request, said)


def explained(report: DrillReport) -> bool:
    """Whether each row is accounted for, and none is lost where none may be."""
    if report.rows is None or not report.rows.accounted:
        return False
    request = report.request
    may_lose = not request.synchronous if request.kind == "failover" else request.point == "latest"
    return may_lose or report.rows.lost == 0


def show(report: DrillReport) -> None:
    """Print a drill in a line."""
    request, rows = report.request, report.rows
    how = f"{'sync' if request.synchronous else 'async'} {request.disaster}"
    words = how if request.kind == "failover" else f"to {request.point}"
    if rows is None:
        print(f"{request.kind:14} {words:14} FAILED: {report.problem}")
        return
    unexplained = rows.altered + rows.unexpected + rows.after_lost
    phases = " ".join(f"{phase.name} {phase.seconds:.2f}" for phase in report.phases)
    print(
        f"{request.kind:14} {words:14} {report.rto_seconds:6.2f} s ({phases}); {rows.acknowledged} acknowledged, "
        f"{rows.lost} lost, {rows.in_doubt} in doubt, {unexplained} unexplained"
    )


def figures_of(kind: str, reports: Sequence[DrillReport]) -> dict[str, float]:
    """Return the figures of one kind of drill."""
    whole = [report for report in reports if report.rows is not None and report.rto_seconds is not None]
    figures: dict[str, float] = {
        f"{kind}_drills": len(reports),
        f"{kind}_accounted_for": sum(map(explained, reports)),
        f"{kind}_acknowledged_rows": sum(report.rows.acknowledged for report in whole if report.rows),
        f"{kind}_lost_rows": sum(report.rows.lost for report in whole if report.rows),
        f"{kind}_in_doubt_rows": sum(report.rows.in_doubt for report in whole if report.rows),
    }
    times = [report.rto_seconds for report in whole if report.rto_seconds is not None]
    if times:
        figures |= {f"{kind}_rto_median_s": statistics.median(times), f"{kind}_rto_worst_s": max(times)}
        for number, phase in enumerate(whole[0].phases):
            seconds = [report.phases[number].seconds for report in whole]
            figures[f"{kind}_{phase.name}_median_s"] = statistics.median(seconds)
            figures[f"{kind}_{phase.name}_worst_s"] = max(seconds)
    return {name: round(value, 4) for name, value in figures.items()}


def main() -> int:
    """Run the drills; the exit status says whether every row was accounted for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--failover", type=int, default=20, help="failover drills")
    parser.add_argument("--point-in-time", type=int, default=10, help="point-in-time drills")
    parser.add_argument("--rows", type=int, default=1_000, help="rows acknowledged before the disaster")
    parser.add_argument("--scratch", type=Path, help="where to drill; a folder that everybody may pass")
    parser.add_argument("--smoke", action="store_true", help="one drill of each kind, with few rows")
    parser.add_argument("--json", action="store_true", help="end in one line of figures")
    options = parser.parse_args()
    if options.smoke:
        options.failover, options.point_in_time, options.rows = 1, 1, 50
    requests = [
        DrillRequest.model_validate({"kind": "failover", "rows": options.rows, **FAILOVERS[number % 4]})
        for number in range(options.failover)
    ] + [
        DrillRequest.model_validate({"kind": "point_in_time", "rows": options.rows, "point": POINTS[number % 4]})
        for number in range(options.point_in_time)
    ]
    reports: list[DrillReport] = []
    with tempfile.TemporaryDirectory(prefix="recovery-") as home:
        Path(home).chmod(0o711)
        for request in requests:
            reports.append(anyio.run(drill, options.scratch or Path(home) / "drills", request))
            show(reports[-1])
    figures: dict[str, float] = {}
    for kind in ("failover", "point_in_time"):
        of_kind = [report for report in reports if report.request.kind == kind]
        if of_kind:
            figures |= figures_of(kind, of_kind)
    for name, value in figures.items():
        print(f"{name:40} {value:g}")
    if options.json:
        print(json.dumps({"figures": figures}))
    return 0 if all(map(explained, reports)) else 1


if __name__ == "__main__":
    sys.exit(main())
