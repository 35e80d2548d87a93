"""What is derived from events in this process: analytics tables, and telling people and programs."""

from contextlib import AsyncExitStack

from quantum_suite.core.errors import EngineMissing
from quantum_suite.hub.settings import HubSettings
from quantum_suite.services.analytics.duckdb import DuckdbAnalytics
from quantum_suite.services.cache.interface import Cache
from quantum_suite.services.notifications.loading import load_rules
from quantum_suite.services.notifications.notifier import notifiers
from quantum_suite.services.outbound import open_outbound
from quantum_suite.services.projections.runner import ProjectionRunner


def add_analytics(settings: HubSettings, projections: ProjectionRunner) -> DuckdbAnalytics | None:
    """Have events kept in tables; None where DuckDB is not installed, or the settings say no.

    The tables are not encrypted: who names a place for encryption keys has to want them expressly.
    """
    wanted = settings.encryption_keys is None if settings.analytics is None else settings.analytics
    if not wanted:
        return None
    try:
        analytics = DuckdbAnalytics(settings.data_dir / "analytics")
    except EngineMissing:
        return None
    projections.add_projection(analytics, instance=analytics.instance)
    return analytics


async def add_notifications(
    stack: AsyncExitStack, settings: HubSettings, projections: ProjectionRunner, cache: Cache
) -> None:
    """Have events told of as the operator's file says; raises ConfigurationError for a file that cannot be used.

    A channel that is new is told of what comes, not of what was.
    """
    if settings.notifications is None:
        return
    rules = load_rules(settings.notifications)
    outbound = await stack.enter_async_context(open_outbound())
    for notifier in notifiers(rules, outbound, cache):
        projections.add_consumer(notifier, begin="now")
