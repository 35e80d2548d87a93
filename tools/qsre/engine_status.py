"""Which programs and libraries the operations side has here."""

from collections.abc import Sequence

from quantum_suite.core.engines import EngineStatus
from quantum_suite.services.installed_engines import package_status, program_status
from quantum_suite.services.metrics.promql import INSTALL_COMMAND

_PROXIES = "sources behind proxies (prometheus-api-client+http://)"


def metric_engines() -> Sequence[EngineStatus]:
    """Return what metrics stand on. Starts nothing."""
    return (
        package_status("promql-parser", "checking PromQL before it is sent", INSTALL_COMMAND),
        package_status("matplotlib", "pictures of metrics", INSTALL_COMMAND),
        package_status("prometheus-api-client", _PROXIES, INSTALL_COMMAND),
        program_status("promtool", "checking rule files", "apt-get install prometheus"),
    )
