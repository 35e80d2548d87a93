"""Writes an SLO as an OpenSLO v1 file, from what a caller said of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from quantum_suite.core.errors import CallerError
from quantum_suite.services.slo.openslo_form import ALERT_NAME, MINIMUM_EVENTS
from quantum_suite.services.slo.rule_file import quoted

_QUERIES = ("bad_query", "good_query", "total_query", "error_ratio_query")


@dataclass(frozen=True, slots=True)
class SloDraft:
    """What an SLO is to be."""

    service: str
    name: str
    objective_percent: float
    bad_query: str | None = None
    """PromQL for bad events, with `{{.window}}`."""
    good_query: str | None = None
    total_query: str | None = None
    error_ratio_query: str | None = None
    """PromQL for the share of bad events, instead of two queries."""
    period: str = "30d"
    """An OpenSLO duration."""
    description: str = ""
    alert_name: str | None = None
    minimum_events: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def write_openslo(draft: SloDraft) -> str:
    """Return the file. Raises CallerError where the queries are not two, or one; reading it checks the rest."""
    _check_text(draft)
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", draft.name).strip("-.")
    annotations = {
        key: value
        for key, value in (
            (ALERT_NAME, draft.alert_name),
            (MINIMUM_EVENTS, str(draft.minimum_events) if draft.minimum_events is not None else None),
        )
        if value is not None
    }
    lines = ["apiVersion: openslo/v1", "kind: SLO", "metadata:", f"  name: {_text(name)}"]
    lines += _mapping("labels", draft.labels) + _mapping("annotations", annotations)
    lines += ["spec:"]
    if draft.description:
        lines.append(f"  description: {_text(draft.description)}")
    lines += [
        f"  service: {_text(draft.service)}",
        "  budgetingMethod: Occurrences",
        "  timeWindow:",
        f"    - duration: {_text(draft.period)}",
        "      isRolling: true",
        "  indicator:",
        "    metadata:",
        f"      name: {_text(name)}",
        "    spec:",
        "      ratioMetric:",
        *_indicator(draft),
        "  objectives:",
        f"    - targetPercent: {draft.objective_percent:.12g}",
    ]
    return "\n".join(lines) + "\n"


def _check_text(draft: SloDraft) -> None:
    for name in ("service", "name", "description", "alert_name", *_QUERIES):
        given = getattr(draft, name)
        if given is not None and any(0xD800 <= ord(character) <= 0xDFFF for character in given):
            raise CallerError("Half a character is in the text.", "Write whole Unicode.", argument=name)


def _indicator(draft: SloDraft) -> list[str]:
    given = {kind: query for kind, query in (("bad", draft.bad_query), ("good", draft.good_query)) if query}
    if draft.error_ratio_query is not None:
        if given or draft.total_query is not None:
            raise CallerError(
                "error_ratio_query is a ratio already.",
                "Leave the other queries out.",
                argument="error_ratio_query",
            )
        return ["        rawType: failure", *_metric("raw", draft.error_ratio_query)]
    if len(given) != 1 or not draft.total_query:
        raise CallerError(
            "An indicator is total_query with bad_query or good_query, or error_ratio_query alone.",
            "Give e.g. bad_query and total_query; each holds {{.window}} where its range stands.",
            argument="bad_query",
        )
    ((kind, query),) = given.items()
    return ["        counter: true", *_metric(kind, query), *_metric("total", draft.total_query)]


def _metric(key: str, query: str) -> list[str]:
    return [
        f"        {key}:",
        "          metricSource:",
        "            type: Prometheus",
        "            spec:",
        f"              query: {_text(query)}",
    ]


def _mapping(key: str, values: Mapping[str, str]) -> list[str]:
    if not values:
        return []
    return [f"  {key}:", *(f"    {_text(name)}: {_text(value)}" for name, value in values.items())]


def _text(text: str) -> str:
    """Return text as YAML: plain where that is safe to read, else in JSON's quotes."""
    return (
        text if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,60}", text) and text.lower() not in _WORDS else quoted(text)
    )


_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
