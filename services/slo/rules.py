"""Makes Prometheus rules of an SLO.

Names of metrics, labels and groups are those of sloth, so that its dashboards and whatever reads them go on
working.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantum_suite import __version__
from quantum_suite.services.slo.durations import prometheus_duration
from quantum_suite.services.slo.event_counts import count_query
from quantum_suite.services.slo.fields import put_window
from quantum_suite.services.slo.interface import AlertText, BurnAlert, ConditionAlert, Slo
from quantum_suite.services.slo.openslo_indicators import ratio_of

SLI_METRIC = "slo:sli_error:ratio_rate"
_WINDOW_LABEL = "sloth_window"


@dataclass(frozen=True, slots=True)
class RuleOptions:
    """What goes into rules besides the SLO."""

    extra_labels: Mapping[str, str] = field(default_factory=dict)
    """Added to every recording rule."""
    version: str = f"quantum-suite-{__version__}"
    mode: str = "quantum-suite"


@dataclass(frozen=True, slots=True)
class MadeRule:
    """One rule, as it stands in a rule file."""

    kind: str
    """`record` or `alert`."""
    name: str
    expr: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    for_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class MadeGroup:
    """Rules that are evaluated together."""

    name: str
    rules: tuple[MadeRule, ...]


def id_labels(slo: Slo) -> dict[str, str]:
    """Return the labels that tell an SLO's series from others'."""
    return {"sloth_id": slo.id, "sloth_service": slo.service, "sloth_slo": slo.name}


def selector(slo: Slo, metric: str) -> str:
    """Return the selector of a recorded metric of an SLO."""
    inside = ", ".join(f'{name}="{value}"' for name, value in id_labels(slo).items())
    return f"{metric}{{{inside}}}"


def sli_metric(seconds: float) -> str:
    """Return the name under which the error ratio over a window is recorded."""
    return f"{SLI_METRIC}{prometheus_duration(seconds)}"


def error_ratio_query(slo: Slo, seconds: float) -> str:
    """Return PromQL for the share of bad events in a window, from what is measured."""
    ratio = put_window(ratio_of(slo.indicator), prometheus_duration(seconds))
    return f"({ratio})" if slo.indicator.error_ratio is not None else ratio


def make_groups(slo: Slo, options: RuleOptions | None = None) -> list[MadeGroup]:
    """Return the groups of rules of an SLO: indicators, metadata and alerts (left out where there are none)."""
    chosen = options or RuleOptions()
    labels = {**id_labels(slo), **slo.labels, **chosen.extra_labels}
    groups = [
        MadeGroup(f"sloth-slo-sli-recordings-{slo.id}", tuple(_indicator_rules(slo, labels))),
        MadeGroup(f"sloth-slo-meta-recordings-{slo.id}", tuple(_metadata_rules(slo, labels, chosen))),
        MadeGroup(f"sloth-slo-alerts-{slo.id}", tuple(_alert_rules(slo))),
    ]
    return [group for group in groups if group.rules]


def _indicator_rules(slo: Slo, labels: Mapping[str, str]) -> list[MadeRule]:
    windows = sorted({*slo.windows.seconds, *(condition.lookback_seconds for condition in slo.conditions)})
    shortest = selector(slo, sli_metric(slo.windows.page_quick.short_seconds))
    found: list[MadeRule] = []
    for seconds in windows:
        if seconds != slo.period_seconds:
            found.append(_indicator_rule(seconds, error_ratio_query(slo, seconds), labels))
    period = prometheus_duration(slo.period_seconds)
    # The mean of the shortest window's ratios: over a month of raw samples the ratio itself costs too much. Status
    # and budgets are computed from events where that can be afforded.
    ratios = f"{shortest}[{period}]"
    mean = f"sum_over_time({ratios})\n/ ignoring ({_WINDOW_LABEL})\ncount_over_time({ratios})\n"
    found.append(_indicator_rule(slo.period_seconds, mean, labels))
    return found


def _indicator_rule(seconds: float, expr: str, labels: Mapping[str, str]) -> MadeRule:
    return MadeRule("record", sli_metric(seconds), expr, {**labels, _WINDOW_LABEL: prometheus_duration(seconds)})


def _metadata_rules(slo: Slo, labels: Mapping[str, str], options: RuleOptions) -> list[MadeRule]:
    objective = slo.objective_percent / 100
    days = slo.period_seconds / 86400

    def burn(seconds: float) -> str:
        return (
            f"{selector(slo, sli_metric(seconds))}\n/ on(sloth_id, sloth_slo, sloth_service) group_left\n"
            f"{selector(slo, 'slo:error_budget:ratio')}\n"
        )

    about = {
        "sloth_version": options.version,
        "sloth_mode": options.mode,
        "sloth_spec": slo.spec,
        "sloth_objective": _plain(slo.objective_percent),
    }
    left = f"1 - {selector(slo, 'slo:period_burn_rate:ratio')}"
    made: list[tuple[str, str, Mapping[str, str]]] = [
        ("slo:objective:ratio", f"vector({_plain(objective)})", labels),
        ("slo:error_budget:ratio", f"vector(1-{_plain(objective)})", labels),
        ("slo:time_period:days", f"vector({_plain(days)})", labels),
        ("slo:current_burn_rate:ratio", burn(slo.windows.page_quick.short_seconds), labels),
        ("slo:period_burn_rate:ratio", burn(slo.period_seconds), labels),
        ("slo:period_error_budget_remaining:ratio", left, labels),
        ("sloth_slo_info", "vector(1)", {**labels, **about}),
    ]
    return [MadeRule("record", name, expr, own) for name, expr, own in made]


def _alert_rules(slo: Slo) -> list[MadeRule]:
    found: list[MadeRule] = []
    windows = slo.windows
    if slo.page is not None:
        found.append(_burn_rule(slo, slo.page, windows.page_quick, windows.page_slow))
    if slo.ticket is not None:
        found.append(_burn_rule(slo, slo.ticket, windows.ticket_quick, windows.ticket_slow))
    for condition in slo.conditions:
        found += _condition_rules(slo, condition)
    return found


def _burn_rule(slo: Slo, text: AlertText, quick: BurnAlert, slow: BurnAlert) -> MadeRule:
    subject = "{{$labels.sloth_service}} {{$labels.sloth_slo}}"
    annotations = {
        "title": f"({quick.severity}) {subject} SLO error budget burn rate is too fast.",
        "summary": f"{subject} SLO error budget burn rate is over expected.",
    }
    return MadeRule(
        "alert",
        text.name,
        f"{pair_expression(slo, quick)}\nor\n{pair_expression(slo, slow)}\n",
        {"sloth_severity": quick.severity, **text.labels},
        {**annotations, **text.annotations},
    )


def pair_expression(slo: Slo, pair: BurnAlert) -> str:
    """Return PromQL that holds while both windows of a pair burn too fast, and hold enough events."""
    above = f"> ({_plain(pair.factor)} * {_plain(slo.budget_ratio)})"
    short, long = (
        f"max({selector(slo, sli_metric(seconds))} {above}) without ({_WINDOW_LABEL})"
        for seconds in (pair.short_seconds, pair.long_seconds)
    )
    parts = [short, long]
    guard = _minimum_guard(slo, pair.long_seconds)
    text = "\n    and\n    ".join(parts)
    return f"(\n    {text}\n{guard})"


def _minimum_guard(slo: Slo, seconds: float) -> str:
    count = count_query(slo, seconds) if slo.minimum_events is not None else None
    return f"    and on()\n    ({count} >= {slo.minimum_events})\n" if count is not None else ""


def _condition_rules(slo: Slo, condition: ConditionAlert) -> list[MadeRule]:
    name = condition_alert_name(slo, condition)
    labels = {"severity": condition.severity, "sloth_severity": condition.severity, **condition.labels}
    metric = selector(slo, sli_metric(condition.lookback_seconds))
    window = prometheus_duration(condition.lookback_seconds)
    found: list[MadeRule] = []
    if condition.when_breaching:
        bound = f"({condition.threshold:.12g} * {_plain(slo.budget_ratio)})"
        summary = f"The error budget burns at {condition.threshold:g} or more, over {window}."
        guard = _minimum_guard(slo, condition.lookback_seconds)
        expr = f"max({metric} {condition.operator} {bound}) without ({_WINDOW_LABEL})\n{guard}"
        annotations = {"summary": summary, **condition.annotations}
        found.append(MadeRule("alert", name, expr, labels, annotations, condition.after_seconds))
    if condition.when_no_data:
        annotations = {"summary": f"Nothing is measured of {slo.id} over {window}."}
        own = {**labels, **id_labels(slo)}
        found.append(
            MadeRule("alert", f"{name}NoData", f"absent({metric})", own, annotations, condition.after_seconds)
        )
    return found


def condition_alert_name(slo: Slo, condition: ConditionAlert) -> str:
    """Return how the alert of a condition is called; the one for missing data has `NoData` behind it."""
    return _camel(f"{slo.service} {slo.name} {condition.name}")


def _camel(text: str) -> str:
    words = "".join(character if character.isalnum() else " " for character in text).split()
    return "".join(word[0].upper() + word[1:] for word in words)


def _plain(number: float) -> str:
    """Return a number in the fewest digits that name it, without a fraction where it has none."""
    return str(int(number)) if number == int(number) else repr(number)
