"""The ports to metrics: a source that is queried in PromQL, and what sends its alerts on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

Notes = list[str]
"""What was said beside an answer: warnings of the source, clocks that disagree, answers it cut short. A list that
is handed in is appended to; each note is one sentence."""

MetricType = Literal["counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown"]
RuleHealth = Literal["ok", "err", "unknown"]
AlertState = Literal["inactive", "pending", "firing"]


@dataclass(frozen=True, slots=True)
class Series:
    """One time series."""

    labels: Mapping[str, str]
    """With `__name__` where it has one."""
    times: Sequence[float]
    """Unix seconds, ascending."""
    values: Sequence[float]
    """As many as `times`; NaN and infinities where the source says so. A gap is a time that is left out."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time and the distance of points in it."""

    start: float
    """Unix seconds, included."""
    end: float
    """Unix seconds, included."""
    step: float
    """Seconds."""

    @property
    def points(self) -> int:
        """Return how many points a series without gaps has in it."""
        return int((self.end - self.start) / self.step) + 1


@dataclass(frozen=True, slots=True)
class MetricMetadata:
    """What exporters say of a metric (OpenMetrics `TYPE`, `UNIT`, `HELP`)."""

    type: MetricType = "unknown"
    help: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """An alert that a rule of the source raises now."""

    labels: Mapping[str, str]
    """With `alertname`."""
    annotations: Mapping[str, str]
    state: AlertState
    """`pending` until it has held for the rule's `for`."""
    active_at: float
    """Unix seconds since when the expression has held."""
    value: float


@dataclass(frozen=True, slots=True)
class Rule:
    """One recording or alerting rule."""

    name: str
    kind: Literal["recording", "alerting"]
    query: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    for_seconds: float = 0
    """How long the expression has to hold before an alert fires."""
    health: RuleHealth = "unknown"
    last_error: str = ""
    state: AlertState = "inactive"
    """The worst of its alerts."""
    alerts: Sequence[ActiveAlert] = ()


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated one after another."""

    name: str
    file: str
    interval_seconds: float
    rules: Sequence[Rule]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation behind a series, with what led to it (a trace id, as a rule)."""

    series: Mapping[str, str]
    labels: Mapping[str, str]
    value: float
    time: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is scraped."""

    job: str
    instance: str
    up: bool
    last_error: str
    """Why it is not up; empty where it is."""
    last_scrape: float
    """Unix seconds; 0 for never."""
    interval_seconds: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """What a source is and how much it holds; None where it does not say."""

    product: str
    """`Prometheus`, or what else said that it speaks its API."""
    version: str | None = None
    series: int | None = None
    """In memory now."""
    oldest: float | None = None
    """Unix seconds of the oldest sample in memory; blocks on disk may be older."""


class MetricSource(Protocol):
    """A time series database that answers PromQL. Nothing that is asked changes it.

    Every method is bounded in time, bytes, series and points, and may be cancelled at any time. Errors:

    - CallerError: the query, the window or a matcher is wrong, or asks for more than one answer may hold.
      `argument` names it; a syntax error shows the query with a caret at its place.
    - Unavailable: the source is away, overloaded or slow; asking again may help.
    - EngineError: it answers what cannot be understood, refuses the credentials, lacks the API, or failed.
    """

    @property
    def name(self) -> str:
        """Return what it is called in the settings."""
        ...

    async def instant(self, query: str, at: float, notes: Notes | None = None) -> list[Series]:
        """Return the value of `query` at a time: one point a series, sorted as the source sorts.

        A scalar comes as one series without labels, a range selector with the points that it selects.
        """
        ...

    async def range(self, query: str, window: Window, notes: Notes | None = None) -> list[Series]:
        """Return the values of `query` at `window.start`, one step later, and so on to `window.end`."""
        ...

    async def series(
        self, matchers: Sequence[str], window: Window, limit: int, notes: Notes | None = None
    ) -> list[Mapping[str, str]]:
        """Return the label sets that match one of the selectors in the window, `limit` of them at most.

        A note says when there were more. `window.step` has no meaning here.
        """
        ...

    async def label_values(
        self, label: str, matchers: Sequence[str], window: Window, limit: int, notes: Notes | None = None
    ) -> list[str]:
        """Return the values of a label, sorted, in series that match one of the selectors; without any, in all."""
        ...

    async def metadata(self, metric: str | None = None) -> Mapping[str, MetricMetadata]:
        """Return what exporters say of a metric, or of all. Where they disagree, the first statement counts."""
        ...

    async def rules(self) -> list[RuleGroup]:
        """Return the rules in the source's order."""
        ...

    async def alerts(self) -> list[ActiveAlert]:
        """Return the alerts that are pending or firing."""
        ...

    async def exemplars(self, query: str, window: Window) -> list[Exemplar]:
        """Return the exemplars of the series that `query` reads, by time."""
        ...

    async def targets(self) -> list[Target]:
        """Return what is scraped, by job and instance; empty for a source that scrapes nothing itself."""
        ...

    async def status(self) -> SourceStatus:
        """Return what the source is."""
        ...

    async def series_counts(self) -> Mapping[str, int]:
        """Return how many series each metric has now; in a very large source, of the largest metrics alone."""
        ...


@dataclass(frozen=True, slots=True)
class Matcher:
    """What a label of an alert must be for a silence to hold (Alertmanager API v2)."""

    name: str
    value: str
    is_equal: bool = True
    is_regex: bool = False

    def __str__(self) -> str:
        """Write it as Alertmanager's filters do."""
        operator = {(True, False): "=", (False, False): "!=", (True, True): "=~", (False, True): "!~"}
        return f'{self.name}{operator[self.is_equal, self.is_regex]}"{self.value}"'


@dataclass(frozen=True, slots=True)
class ReceivedAlert:
    """An alert as Alertmanager holds it."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: Literal["unprocessed", "active", "suppressed"]
    starts_at: datetime
    ends_at: datetime
    receivers: Sequence[str]
    silenced_by: Sequence[str] = ()
    inhibited_by: Sequence[str] = ()
    generator_url: str = ""


SilenceState = Literal["expired", "active", "pending"]


@dataclass(frozen=True, slots=True)
class Silence:
    """A time in which matching alerts notify nobody."""

    id: str
    matchers: Sequence[Matcher]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    state: SilenceState


@dataclass(frozen=True, slots=True)
class AlertManagerStatus:
    """What an Alertmanager says of itself."""

    version: str
    cluster: str
    """`ready`, `settling` or `disabled`."""
    peers: int
    up_since: datetime | None


class AlertManager(Protocol):
    """What groups, silences and sends alerts. Errors are those of `MetricSource`."""

    @property
    def name(self) -> str:
        """Return what it is called in the settings."""
        ...

    async def alerts(self, matchers: Sequence[str] = ()) -> list[ReceivedAlert]:
        """Return the alerts that all matchers fit (`severity="page"`), silenced and inhibited ones included."""
        ...

    async def silences(self) -> list[Silence]:
        """Return silences that are active or pending, and expired ones as long as they are kept."""
        ...

    async def create_silence(
        self, matchers: Sequence[Matcher], starts_at: datetime, ends_at: datetime, created_by: str, comment: str
    ) -> str:
        """Silence alerts that all matchers fit, and return the silence's id.

        Never sent twice by itself: where it is not known whether it was done, EngineError says so.
        """
        ...

    async def expire_silence(self, silence: str) -> None:
        """End a silence; raises NotFound. Ending one that has ended changes nothing."""
        ...

    async def receivers(self) -> list[str]:
        """Return who may be told."""
        ...

    async def status(self) -> AlertManagerStatus:
        """Return what it says of itself."""
        ...
