"""Opens the sources that the settings name."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.services.metrics.alertmanager import HttpAlertManager
from quantum_suite.services.metrics.configuration import Address, read_addresses
from quantum_suite.services.metrics.http_api import HttpApi
from quantum_suite.services.metrics.interface import AlertManager, MetricSource
from quantum_suite.services.metrics.limits import SourceLimits
from quantum_suite.services.metrics.prometheus import PrometheusSource
from quantum_suite.services.metrics.prometheus_api_client import ApiClientSource
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.services.outbound import OutboundClient, open_outbound

METRICS = "QUANTUM_METRICS"
ALERTMANAGER = "QUANTUM_ALERTMANAGER"
_ATTEMPTS = 3
_FIRST_RETRY_SECONDS = 0.2


@asynccontextmanager
async def open_metrics(
    metrics: str | None,
    alertmanager: str | None,
    *,
    environ: Mapping[str, str] = os.environ,
    limits: SourceLimits | None = None,
) -> AsyncIterator[MetricSources]:
    """Open the sources and alert managers of two settings of the form `name=url,...`. Nobody is called yet.

    Raises ConfigurationError.
    """
    bounds = limits or SourceLimits()
    sources = read_addresses(METRICS, metrics or "", environ)
    managers = read_addresses(ALERTMANAGER, alertmanager or "", environ)
    for address in managers:
        if address.client:
            raise ConfigurationError(f"{ALERTMANAGER}: {address.name} has to be an http:// or https:// address.")
    if not sources and not managers:
        yield MetricSources()
        return
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            open_outbound(
                attempts=_ATTEMPTS,
                first_retry_seconds=_FIRST_RETRY_SECONDS,
                timeout_seconds=bounds.deadline_seconds,
                patience_seconds=bounds.deadline_seconds,
            )
        )
        found: dict[str, MetricSource] = {each.name: _source(each, client, bounds) for each in sources}
        told: dict[str, AlertManager] = {
            each.name: HttpAlertManager(HttpApi(each, client, bounds, "Alertmanager", ALERTMANAGER))
            for each in managers
        }
        yield MetricSources(found, told)


def _source(address: Address, client: OutboundClient, limits: SourceLimits) -> MetricSource:
    api = HttpApi(address, client, limits, "Prometheus", METRICS)
    return ApiClientSource(api, PrometheusSource(api)) if address.client else PrometheusSource(api)
