"""The sources of metrics and the alert managers that the operator named."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from quantum_suite.core.errors import CallerError
from quantum_suite.services.metrics.interface import AlertManager, MetricSource

_HOW = "Set QUANTUM_METRICS to names and addresses, e.g. live=http://prometheus:9090, and start the hub again."
_HOW_ALERTS = "Set QUANTUM_ALERTMANAGER, e.g. main=http://alertmanager:9093, and start the hub again."

Named = TypeVar("Named")


class MetricSources:
    """Finds a source by its name. Holds what is handed to it; whoever opened the sources closes them."""

    def __init__(
        self,
        sources: Mapping[str, MetricSource] | None = None,
        alert_managers: Mapping[str, AlertManager] | None = None,
    ) -> None:
        self._sources = dict(sources or {})
        self._alert_managers = dict(alert_managers or {})

    @property
    def names(self) -> Sequence[str]:
        """Return the names of the sources, in the order of the setting."""
        return list(self._sources)

    @property
    def alert_manager_names(self) -> Sequence[str]:
        """Return the names of the alert managers, in the order of the setting."""
        return list(self._alert_managers)

    def get(self, name: str | None = None) -> MetricSource:
        """Return a source; None means the only one. Raises CallerError naming those there are."""
        return _named(self._sources, name, "source of metrics", "source", _HOW)

    def alert_manager(self, name: str | None = None) -> AlertManager:
        """Return an alert manager; None means the only one. Raises CallerError naming those there are."""
        return _named(self._alert_managers, name, "Alertmanager", "alert_manager", _HOW_ALERTS)


def _named(known: Mapping[str, Named], name: str | None, what: str, argument: str, how: str) -> Named:
    there = f"There are {', '.join(known)}." if len(known) > 1 else f"There is {next(iter(known), '')}."
    if not known:
        raise CallerError(f"No {what} is configured.", how, argument=argument)
    if name is None:
        if len(known) == 1:
            return next(iter(known.values()))
        raise CallerError(f"There is more than one {what}: say which.", there, argument=argument)
    if name not in known:
        raise CallerError(f"There is no {what} named '{name[:100]}'.", there, argument=argument)
    return known[name]
