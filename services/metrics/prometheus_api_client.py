"""A source by the library `prometheus-api-client`, for networks that only `requests` gets out of.

`requests` goes through the proxies that the environment names and takes passwords from `.netrc`; our own client
does neither. The library blocks, so it runs in threads. It has no rules, alerts, exemplars or statistics: our own
client asks for those. It drops warnings: those are read beside it.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from quantum_suite.core.errors import EngineMissing, SuiteError
from quantum_suite.services.metrics.answers import WRONG_SHAPE, metadata_of, series_of, target_of
from quantum_suite.services.metrics.http_api import HttpApi
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
from quantum_suite.services.metrics.prometheus import (
    PrometheusSource,
    checked_selectors,
    cut,
    refusal,
    warnings_in,
)
from quantum_suite.services.metrics.promql import check_query

if TYPE_CHECKING:
    from prometheus_api_client import PrometheusConnect

    from quantum_suite.services.metrics.bounded_requests import Exchange

Read = TypeVar("Read")

ENGINE = "prometheus-api-client"
INSTALL_COMMAND = f"{sys.executable} -m pip install {ENGINE}"


class ApiClientSource:
    """A source by the library; what it lacks is asked for by `own`, at the same address."""

    def __init__(self, api: HttpApi, own: PrometheusSource) -> None:
        self._api = api
        self._own = own
        self._limits = api.limits

    @property
    def name(self) -> str:
        """Return what it is called in the settings."""
        return self._api.address.name

    async def instant(self, query: str, at: float, notes: Notes | None = None) -> list[Series]:
        """Return the value of `query` at a time."""
        check_query(query, notes)

        def ask(client: "PrometheusConnect") -> Any:
            return client.custom_query(query, params={"time": f"{at:.3f}", **self._bounds()})

        return await self._query(ask, query, notes)

    async def range(self, query: str, window: Window, notes: Notes | None = None) -> list[Series]:
        """Return the values of `query` over a window."""
        check_query(query, notes)
        check_window(window)
        start, end = _moment(window.start), _moment(window.end)
        # The library rounds to whole seconds; parameters of ours come after its own.
        exact = {"start": f"{window.start:.3f}", "end": f"{window.end:.3f}", **self._bounds()}

        def ask(client: "PrometheusConnect") -> Any:
            return client.custom_query_range(query, start, end, f"{window.step:.3f}", params=exact)

        return await self._query(ask, query, notes)

    async def series(
        self, matchers: Sequence[str], window: Window, limit: int, notes: Notes | None = None
    ) -> list[Mapping[str, str]]:
        """Return the label sets that match one of the selectors."""
        chosen = checked_selectors(matchers)
        most = min(max(1, limit), self._limits.max_labels)

        def ask(client: "PrometheusConnect") -> list[Mapping[str, str]]:
            parameters = {"match[]": chosen, "limit": str(most + 1)}
            found = client.get_series(_moment(window.start), _moment(window.end), params=parameters)
            return [{str(name): str(value) for name, value in each.items()} for each in found]

        return cut(await self._call(ask, "matchers", notes), most, "series", notes)

    async def label_values(
        self, label: str, matchers: Sequence[str], window: Window, limit: int, notes: Notes | None = None
    ) -> list[str]:
        """Return the values of a label, sorted. Asked for by our own client: the library escapes no names."""
        return await self._own.label_values(label, matchers, window, limit, notes)

    async def metadata(self, metric: str | None = None) -> Mapping[str, MetricMetadata]:
        """Return what exporters say of a metric, or of all."""

        def ask(client: "PrometheusConnect") -> Mapping[str, MetricMetadata]:
            said: dict[str, list[Any]] = {}
            for each in client.get_metric_metadata(metric or "", limit=self._limits.max_labels):
                said.setdefault(each["metric_name"], []).append(each)
            return metadata_of(said)

        return await self._call(ask, "metric", None)

    async def targets(self) -> list[Target]:
        """Return what is scraped, by job and instance."""

        def ask(client: "PrometheusConnect") -> list[Target]:
            found = [target_of(each) for each in client.get_targets(state="active")["activeTargets"]]
            return sorted(found, key=lambda target: (target.job, target.instance))

        return await self._call(ask, "source", None)

    async def rules(self) -> list[RuleGroup]:
        """Return the rules."""
        return await self._own.rules()

    async def alerts(self) -> list[ActiveAlert]:
        """Return the alerts that are pending or firing."""
        return await self._own.alerts()

    async def exemplars(self, query: str, window: Window) -> list[Exemplar]:
        """Return the exemplars of the series that `query` reads, by time."""
        return await self._own.exemplars(query, window)

    async def status(self) -> SourceStatus:
        """Return what the source is."""
        return await self._own.status()

    async def series_counts(self) -> Mapping[str, int]:
        """Return how many series each metric has now."""
        return await self._own.series_counts()

    def _bounds(self) -> dict[str, str]:
        return {"timeout": f"{self._limits.deadline_seconds:g}s", "limit": str(self._limits.max_series + 1)}

    async def _query(
        self, ask: "Callable[[PrometheusConnect], Any]", query: str, notes: Notes | None
    ) -> list[Series]:
        def read(client: "PrometheusConnect") -> list[Series]:
            return series_of(_with_type(ask(client)), notes)

        found = await self._call(read, "query", notes, query)
        check_amount(found, self._limits)
        return found

    async def _call(
        self, ask: "Callable[[PrometheusConnect], Read]", argument: str, notes: Notes | None, query: str = ""
    ) -> Read:
        """Run `ask` in a thread, which ends by itself soon after nobody waits for it any more."""
        if find_spec("prometheus_api_client") is None:
            raise EngineMissing(f"{ENGINE} is not installed.", f"Install it: {INSTALL_COMMAND}", engine=ENGINE)
        try:
            with anyio.fail_after(self._limits.deadline_seconds):
                return await anyio.to_thread.run_sync(
                    self._work, ask, argument, notes, query, abandon_on_cancel=True
                )
        except TimeoutError:
            raise self._api.too_slow() from None

    def _work(
        self, ask: "Callable[[PrometheusConnect], Read]", argument: str, notes: Notes | None, query: str
    ) -> Read:
        from prometheus_api_client import PrometheusConnect
        from prometheus_api_client.exceptions import PrometheusApiClientException
        from requests.exceptions import RequestException

        from quantum_suite.services.metrics.bounded_requests import Exchange, TooSlow, open_session

        exchange = Exchange(self._limits, argument)
        before = time.time()
        with open_session(self._api.address.headers) as session:
            url = self._api.address.url
            client = PrometheusConnect(url, session=session, timeout=self._limits.deadline_seconds)
            # A longer prefix than the one the library has just put its own adapter under.
            session.mount(f"{url}/", exchange)
            try:
                found = ask(client)
            except TooSlow:
                raise self._api.too_slow() from None
            except (PrometheusApiClientException, RequestException, *WRONG_SHAPE) as error:
                raise self._problem(error, exchange, argument, query) from error
        if notes is not None:
            self._pass_on(exchange, before, notes)
        return found

    def _problem(self, error: Exception, exchange: "Exchange", argument: str, query: str) -> SuiteError:
        if not exchange.status:
            return self._api.away("cannot be reached")
        try:
            said = self._api.parsed(exchange.status, exchange.headers, bytes(exchange.body))
        except SuiteError as found:
            return found
        if not isinstance(said, Mapping) or said.get("status") != "error":
            return self._api.garbled("what was asked for")
        return refusal(self._api, exchange.status, said, argument, query)

    def _pass_on(self, exchange: "Exchange", before: float, notes: Notes) -> None:
        self._api.compare_clocks(exchange.headers, before, notes)
        if b'"warnings"' in exchange.body or b'"infos"' in exchange.body:
            said = self._api.parsed(exchange.status, exchange.headers, bytes(exchange.body))
            notes += warnings_in(self._api, said)


def _with_type(result: Any) -> dict[str, Any]:
    """Return a result with its type, which the library drops."""
    if isinstance(result, list) and result and not isinstance(result[0], Mapping):
        return {"resultType": "scalar", "result": result}
    matrix = any("values" in each or "histograms" in each for each in result)
    return {"resultType": "matrix" if matrix else "vector", "result": result}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
