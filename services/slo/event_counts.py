"""How many events a window holds, where the indicator counts events."""

from quantum_suite.services.slo.durations import prometheus_duration
from quantum_suite.services.slo.fields import put_window
from quantum_suite.services.slo.interface import Slo

_RATES = frozenset({"rate", "irate"})
_COUNTS = frozenset({"increase", "count_over_time", "sum_over_time"})


def count_query(slo: Slo, seconds: float, query: str | None = None) -> str | None:
    """Return PromQL for the number of events in a window; None where the indicator does not say.

    A rate is multiplied by the length of its window; a query that mixes rates and counts, or has neither, is not
    guessed at. `query` is another query of the same kind, e.g. the bad events.
    """
    template = query if query is not None else slo.indicator.total
    if template is None:
        return None
    text = put_window(template, prometheus_duration(seconds))
    functions = _functions(text)
    if functions & _RATES and not functions & _COUNTS:
        return f"sum({text}) * {seconds:.12g}"
    if functions & _COUNTS and not functions & _RATES:
        return f"sum({text})"
    return None


def _functions(query: str) -> frozenset[str]:
    from quantum_suite.services.metrics.promql import parse_query

    parsed = parse_query(query)
    if parsed is None:
        return frozenset()
    return frozenset(node.func.name for node, _ in parsed.nodes() if type(node).__name__ == "Call")
