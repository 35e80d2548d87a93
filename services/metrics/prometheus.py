"""Prometheus, and what speaks its HTTP API (Thanos, Mimir, VictoriaMetrics), over our own client."""

import math
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from quantum_suite.core.errors import CallerError, EngineError, NotFound, SuiteError
from quantum_suite.services.metrics.answers import (
    WRONG_SHAPE,
    alert_of,
    exemplars_of,
    listed,
    metadata_of,
    rule_group_of,
    series_of,
    target_of,
)
from quantum_suite.services.metrics.http_api import Ask, HttpApi
from quantum_suite.services.metrics.interface import (
    ActiveAlert,
    Exemplar,
    MetricMetadata,
    Notes,
    RuleGroup,
    Series,
    SourceStatus,
    Target,
    Window,
)
from quantum_suite.services.metrics.limits import check_amount, check_window
from quantum_suite.services.metrics.promql import check_query, place_of_refusal

Read = TypeVar("Read")
Item = TypeVar("Item")

_FORM = "application/x-www-form-urlencoded"
_MARGIN_SECONDS = 2.0
"""By so much earlier the server gives a query up than we stop waiting: its words say more."""
_FEW_SERIES = 300_000
"""Counted one by one in a source that holds no more; in a larger one its own statistics have to do."""


class PrometheusSource:
    """A source by our own client. Queries are checked before they are sent."""

    def __init__(self, api: HttpApi) -> None:
        self._api = api
        self._limits = api.limits

    @property
    def name(self) -> str:
        """Return what it is called in the settings."""
        return self._api.address.name

    async def instant(self, query: str, at: float, notes: Notes | None = None) -> list[Series]:
        """Return the value of `query` at a time."""
        check_query(query, notes)
        if not math.isfinite(at):
            raise CallerError("The time is no finite number.", "Use Unix seconds.", argument="at")
        return await self._query("query", query, {"time": _number(at)}, notes)

    async def range(self, query: str, window: Window, notes: Notes | None = None) -> list[Series]:
        """Return the values of `query` over a window."""
        check_query(query, notes)
        check_window(window)
        times = {"start": _number(window.start), "end": _number(window.end), "step": _number(window.step)}
        return await self._query("query_range", query, times, notes)

    async def series(
        self, matchers: Sequence[str], window: Window, limit: int, notes: Notes | None = None
    ) -> list[Mapping[str, str]]:
        """Return the label sets that match one of the selectors."""
        if not matchers:
            raise CallerError("There is no selector.", 'Name one, e.g. up{job="api"}.', argument="matchers")
        fields = [
            *(("match[]", each) for each in checked_selectors(matchers)),
            *_times(window),
            ("limit", str(self._most(limit) + 1)),
        ]
        data = await self._get("POST", "/api/v1/series", fields, "matchers", notes)
        found = self._read(
            lambda: [{str(k): str(v) for k, v in each.items()} for each in listed(data)], "label sets"
        )
        return cut(found, self._most(limit), "series", notes)

    async def label_values(
        self, label: str, matchers: Sequence[str], window: Window, limit: int, notes: Notes | None = None
    ) -> list[str]:
        """Return the values of a label, sorted."""
        path = f"/api/v1/label/{urllib.parse.quote(label, safe='')}/values"
        fields = [
            *(("match[]", each) for each in checked_selectors(matchers)),
            *_times(window),
            ("limit", str(self._most(limit) + 1)),
        ]
        data = await self._get("GET", path, fields, "label", notes)
        found = self._read(lambda: sorted(str(each) for each in data or ()), "label values")
        return cut(found, self._most(limit), f"values of {label}", notes)

    async def metadata(self, metric: str | None = None) -> Mapping[str, MetricMetadata]:
        """Return what exporters say of a metric, or of all."""
        fields = [("metric", metric)] if metric else []
        fields.append(("limit", str(self._limits.max_labels)))
        data = await self._get("GET", "/api/v1/metadata", fields, "metric")
        return self._read(lambda: metadata_of(data), "metadata")

    async def rules(self) -> list[RuleGroup]:
        """Return the rules."""
        data = await self._get("GET", "/api/v1/rules", [], "source")
        return self._read(lambda: [rule_group_of(each) for each in listed(data["groups"])], "rules")

    async def alerts(self) -> list[ActiveAlert]:
        """Return the alerts that are pending or firing."""
        data = await self._get("GET", "/api/v1/alerts", [], "source")
        return self._read(lambda: [alert_of(each) for each in listed(data["alerts"])], "alerts")

    async def exemplars(self, query: str, window: Window) -> list[Exemplar]:
        """Return the exemplars of the series that `query` reads, by time."""
        check_query(query, None)
        fields = [("query", query), *_times(window)]
        data = await self._get("POST", "/api/v1/query_exemplars", fields, "query")
        return self._read(lambda: exemplars_of(data or ()), "exemplars")

    async def targets(self) -> list[Target]:
        """Return what is scraped; empty for a source that does not scrape."""
        try:
            data = await self._get("GET", "/api/v1/targets", [("state", "active")], "source")
        except (NotFound, EngineError):
            if await self._answers():
                return []
            raise
        found = self._read(lambda: [target_of(each) for each in listed(data["activeTargets"])], "targets")
        return sorted(found, key=lambda target: (target.job, target.instance))

    async def status(self) -> SourceStatus:
        """Return what the source is; what it does not say stays open."""
        build = await self._said("/api/v1/status/buildinfo")
        head = (await self._said("/api/v1/status/tsdb")).get("headStats") or {}
        if not build and not head:
            await self._query("query", "1", {}, None)
        oldest = head.get("minTime")
        return SourceStatus(
            "Prometheus"
            if "goVersion" in build and "application" not in build
            else build.get("application", "unknown"),
            build.get("version"),
            head.get("numSeries"),
            # Before its first sample the head says the largest number there is.
            oldest / 1000 if isinstance(oldest, int) and 0 <= oldest / 1000 < time.time() else None,
        )

    async def series_counts(self, most_series: int = _FEW_SERIES) -> Mapping[str, int]:
        """Return how many series each metric has now; in a source with more than `most_series`, of the largest."""
        statistics = await self._said("/api/v1/status/tsdb")
        held = (statistics.get("headStats") or {}).get("numSeries", 0)
        if held <= most_series:
            found = await self._query("query", 'count by (__name__) ({__name__!=""})', {}, None, bounded=False)
            return {each.labels.get("__name__", ""): int(each.values[0]) for each in found}
        largest = statistics.get("seriesCountByMetricName") or []
        return self._read(lambda: {str(each["name"]): int(each["value"]) for each in largest}, "statistics")

    async def _query(
        self, what: str, query: str, times: Mapping[str, str], notes: Notes | None, *, bounded: bool = True
    ) -> list[Series]:
        most = self._limits.max_series if bounded else self._limits.max_labels
        patience = max(1.0, self._limits.deadline_seconds - _MARGIN_SECONDS)
        fields = [("query", query), *times.items(), ("timeout", f"{patience:g}s"), ("limit", str(most + 1))]
        data = await self._get("POST", f"/api/v1/{what}", fields, "query", notes, query)
        found = await anyio.to_thread.run_sync(self._read, lambda: series_of(data, notes), "series")
        check_amount(found, self._limits.model_copy(update={"max_series": most}))
        return found

    async def _get(
        self,
        method: str,
        path: str,
        fields: Sequence[tuple[str, str]],
        argument: str,
        notes: Notes | None = None,
        query: str = "",
    ) -> Any:
        """Return `data` of an answer; what it warns of goes into `notes`."""
        encoded = urllib.parse.urlencode(fields)
        if method == "POST":
            ask = Ask("POST", path, encoded.encode(), _FORM, argument=argument)
        else:
            ask = Ask("GET", f"{path}?{encoded}" if encoded else path, argument=argument)
        status, answer = await self._api.ask(ask, notes)
        if not isinstance(answer, Mapping) or answer.get("status") not in ("success", "error"):
            raise self._api.garbled("a status")
        if answer["status"] == "error":
            raise refusal(self._api, status, answer, argument, query)
        if notes is not None:
            notes += warnings_in(self._api, answer)
        return answer.get("data")

    async def _said(self, path: str) -> Mapping[str, Any]:
        """Return what the source says of itself; empty where it does not know the question."""
        try:
            data = await self._get("GET", path, [], "source")
        except (CallerError, EngineError):
            return {}
        return data if isinstance(data, Mapping) else {}

    async def _answers(self) -> bool:
        try:
            await self._query("query", "1", {}, None)
        except SuiteError:
            return False
        return True

    def _read(self, read: Callable[[], Read], what: str) -> Read:
        try:
            return read()
        except WRONG_SHAPE as error:
            raise self._api.garbled(what) from error

    def _most(self, limit: int) -> int:
        return max(1, min(limit, self._limits.max_labels))


def checked_selectors(matchers: Sequence[str]) -> list[str]:
    """Return selectors that may be sent; raises CallerError."""
    for matcher in matchers:
        check_query(matcher, None, argument="matchers")
    return list(matchers)


def warnings_in(api: HttpApi, answer: Any) -> list[str]:
    """Return what an answer warns of."""
    said = [*(answer.get("warnings") or ()), *(answer.get("infos") or ())] if isinstance(answer, Mapping) else []
    return [f"{api.address.name} says: {api.masked(str(each))}" for each in said]


def refusal(api: HttpApi, status: int, answer: Mapping[str, Any], argument: str, query: str) -> SuiteError:
    """Return what an answer that says `error` means; a syntax error with its place in the query."""
    said, kind = str(answer.get("error", "")), str(answer.get("errorType", ""))
    if kind in ("bad_data", "execution") and status < 500 and query:
        told = place_of_refusal(query, api.masked(said))
        return CallerError(f"{api.address.name} refuses the query: {told}", argument="query")
    return api.refused(status, said, kind, argument)


def _times(window: Window) -> list[tuple[str, str]]:
    if not (math.isfinite(window.start) and math.isfinite(window.end)) or window.end < window.start:
        raise CallerError("The window ends before it begins.", "Exchange start and end.", argument="end")
    return [("start", _number(window.start)), ("end", _number(window.end))]


def _number(seconds: float) -> str:
    return f"{seconds:.3f}"


def cut(found: Sequence[Item], limit: int, what: str, notes: Notes | None) -> list[Item]:
    """Return the first `limit`, and note that there were more."""
    if len(found) > limit and notes is not None:
        notes.append(f"There are more {what} than the {limit} shown.")
    return list(found[:limit])
