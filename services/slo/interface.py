"""What a service level objective is, whatever file it was written in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from quantum_suite.core.errors import CallerError

Severity = Literal["page", "ticket"]
Speed = Literal["quick", "slow"]
Budgeting = Literal["Occurrences", "Timeslices", "RatioTimeslices"]

DEFAULT_PERIOD_SECONDS = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file, where, and what would be right."""

    file: str
    line: int
    """From 1."""
    key: str
    """Path of the value, e.g. `slos[0].objective`; empty for the whole file."""
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Write it as compilers do."""
        key = f" {self.key}:" if self.key else ""
        return f"{self.file}:{self.line}:{key} {self.message} {self.hint}".rstrip()


class InvalidSlo(CallerError):
    """A file holds no SLO that could be used; `problems` says each reason with its place."""

    code = "invalid_slo"

    def __init__(self, problems: list[Problem], argument: str = "document") -> None:
        super().__init__("\n".join(str(problem) for problem in problems), argument=argument)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Indicator:
    """What is measured, as PromQL in which `{{.window}}` stands for a range.

    `error_ratio` or both `error` and `total` are there; with `error_ratio`, `total` may be there to count events.
    """

    error: str | None = None
    """Bad events in a window."""
    total: str | None = None
    """All events in a window."""
    error_ratio: str | None = None
    """Share of bad events in a window, 0 to 1."""


@dataclass(frozen=True, slots=True)
class AlertText:
    """How an alert of one severity is called and labelled."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """Two windows in which the budget burns too fast: the long one says that it matters, the short that it lasts.

    Source: The Site Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
    """

    severity: Severity
    speed: Speed
    short_seconds: float
    long_seconds: float
    factor: float
    """Burn rate above which it holds; 1 spends the budget in exactly one period."""
    budget_percent: float
    """Share of the period's budget that is gone when it holds over the whole long window."""


@dataclass(frozen=True, slots=True)
class AlertWindows:
    """The four pairs of windows of a period."""

    period_seconds: float
    page_quick: BurnAlert
    page_slow: BurnAlert
    ticket_quick: BurnAlert
    ticket_slow: BurnAlert

    @property
    def pairs(self) -> tuple[BurnAlert, BurnAlert, BurnAlert, BurnAlert]:
        """Return them, the most urgent first."""
        return (self.page_quick, self.page_slow, self.ticket_quick, self.ticket_slow)

    @property
    def seconds(self) -> list[float]:
        """Return each window once, shortest first."""
        return sorted({window for pair in self.pairs for window in (pair.short_seconds, pair.long_seconds)})


@dataclass(frozen=True, slots=True)
class CalendarWindow:
    """A period that begins at fixed times: `start`, and every `count` `unit`s after it."""

    start: datetime
    """With its zone."""
    count: int
    unit: Literal["m", "h", "d", "w", "M", "Q", "Y"]


@dataclass(frozen=True, slots=True)
class ConditionAlert:
    """An alert that an OpenSLO `AlertCondition` asks for: a burn rate over one window."""

    name: str
    severity: str
    operator: Literal[">", ">="]
    threshold: float
    """Burn rate from which it holds."""
    lookback_seconds: float
    after_seconds: float
    """How long it has to hold."""
    when_breaching: bool = True
    when_no_data: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective of one service."""

    service: str
    name: str
    objective_percent: float
    """Share of good events that is promised, above 0 and up to 100."""
    indicator: Indicator
    windows: AlertWindows
    spec: str
    """The form it was written in, e.g. `openslo/v1`."""
    description: str = ""
    period_seconds: float = DEFAULT_PERIOD_SECONDS
    calendar: CalendarWindow | None = None
    budgeting: Budgeting = "Occurrences"
    labels: Mapping[str, str] = field(default_factory=dict)
    page: AlertText | None = None
    """None: nobody is paged."""
    ticket: AlertText | None = None
    conditions: tuple[ConditionAlert, ...] = ()
    minimum_events: int | None = None
    """Events a long window has to hold before an alert of it fires; None for any number."""
    file: str = ""
    line: int = 1

    @property
    def id(self) -> str:
        """Return what it is known as in rules: service and name."""
        return f"{self.service}-{self.name}"

    @property
    def budget_ratio(self) -> float:
        """Return the share of events that may be bad, 0 to 1."""
        return (100 - self.objective_percent) / 100
