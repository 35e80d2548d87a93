"""A real Prometheus with a day of known failures in it, for tests of objectives and budgets."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reference.backends import running
from reference.prometheus import Prometheus

from quantum_suite.services.slo.writing import SloDraft

STEP = 60
HOURS = 26
ALL = 'sum(rate(r_total{job="steady"}[{{.window}}]))'
GOOD = 'sum(rate(r_total{job="steady",code="200"}[{{.window}}]))'


class Past:
    """A day of three services, measured once a minute up to now.

    steady: 10 requests a second, 1 % of them fail. late: the same, but a tenth fails in the last three hours.
    quiet: one request in twenty minutes, and the last of them fails. fresh: requests, no series of failures yet.
    """

    def __init__(self, end: int) -> None:
        self.end = end
        self.times = [end - HOURS * 3600 + STEP * index for index in range(HOURS * 60 + 1)]

    def openmetrics(self) -> str:
        lines = ["# TYPE r counter"]
        for service, instances in (("steady", ("a", "b")), ("late", ("a",)), ("quiet", ("a",)), ("fresh", ("a",))):
            for instance in instances:
                for code in ("200", "500"):
                    if (service, code) == ("fresh", "500"):
                        continue
                    labels = f'{{code="{code}",instance="{instance}",job="{service}"}}'
                    lines += [
                        f"r_total{labels} {self.count(service, code, at) / len(instances):.2f} {at}"
                        for at in self.times
                    ]
        return "\n".join([*lines, "# EOF", ""])

    def count(self, service: str, code: str, at: int) -> float:
        passed = at - self.times[0]
        if service == "quiet":
            return float(passed // 1200) if code == "200" else float(at > self.end - 600)
        bad = 0.1 * max(0, at - (self.end - 3 * 3600)) * 10 if service == "late" else 0.01 * 10 * passed
        return bad if code == "500" else 10 * passed - bad


@contextmanager
def slo_past(directory: Path) -> Iterator[Prometheus]:
    """Run it. Its last samples are of now, so a test that takes it uses it within minutes."""
    server = Prometheus(directory)
    server.backfill(Past(int(time.time()) // STEP * STEP).openmetrics())
    with running(server):
        yield server


def draft_of(job: str, objective: float = 98, minimum_events: int | None = None) -> SloDraft:
    """Return an SLO over a day of one of its services."""
    bad = f'sum(rate(r_total{{job="{job}",code="500"}}[{{{{.window}}}}]))'
    total = f'sum(rate(r_total{{job="{job}"}}[{{{{.window}}}}]))'
    return SloDraft(
        job, "ok", objective, bad_query=bad, total_query=total, period="1d", minimum_events=minimum_events
    )
