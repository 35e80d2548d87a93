"""Which windows and burn rates alert, for a period.

The four pairs and the share of the budget behind each are those that The Site Reliability Workbook recommends
(chapter 5): page at 2 % of a month's budget in 1 h and 5 % in 6 h, ticket at 10 % in 1 d and 10 % in 3 d.
"""

from collections.abc import Sequence

from quantum_suite.services.slo.durations import prometheus_duration, read_prometheus_duration
from quantum_suite.services.slo.fields import Fields, Problems
from quantum_suite.services.slo.interface import AlertWindows, BurnAlert, Severity, Speed
from quantum_suite.services.yaml_nodes import Node

_HOUR = 3600.0
_DAY = 86400.0
_MONTH = 30 * _DAY
_EXACT = (28 * _DAY, 30 * _DAY)
_LEAST_SHORT = 300.0
_LEAST_LONG = 900.0
_RECOMMENDED: tuple[tuple[Severity, Speed, float, float, float], ...] = (
    ("page", "quick", 2.0, _HOUR / 12, _HOUR),
    ("page", "slow", 5.0, _HOUR / 2, 6 * _HOUR),
    ("ticket", "quick", 10.0, 2 * _HOUR, _DAY),
    ("ticket", "slow", 10.0, 6 * _HOUR, 3 * _DAY),
)


def windows_of(period_seconds: float, given: Sequence[AlertWindows] = ()) -> AlertWindows:
    """Return the windows of a period: given ones, else the recommended ones, fitted to it.

    28 and 30 days take the recommended windows and shares, so that burn rates follow from the period (14.4, 6, 3
    and 1 for 30 days). A shorter period keeps these burn rates and has windows that are shorter in proportion, but
    5 and 15 minutes at least, in which targets are scraped often enough. A longer one keeps the burn rates and
    windows of 30 days: a fast burn is as urgent there.
    """
    for windows in given:
        if windows.period_seconds == period_seconds:
            return windows
    if period_seconds in _EXACT:
        pairs = [_pair(*one, period_seconds) for one in _RECOMMENDED]
    else:
        scale = min(1.0, period_seconds / _MONTH)
        pairs = []
        for severity, speed, percent, short, long in _RECOMMENDED:
            factor = percent / 100 * _MONTH / long
            fitted_long = min(max(_LEAST_LONG, _round(long * scale)), period_seconds)
            fitted_short = min(max(_LEAST_SHORT, _round(short * scale)), fitted_long)
            spent = factor * fitted_long / period_seconds * 100
            pairs.append(BurnAlert(severity, speed, fitted_short, fitted_long, factor, spent))
    return AlertWindows(period_seconds, *pairs)


def _pair(
    severity: Severity, speed: Speed, percent: float, short: float, long: float, period_seconds: float
) -> BurnAlert:
    factor = percent * (period_seconds / _HOUR) / 100 / (long / _HOUR)
    return BurnAlert(severity, speed, short, long, factor, percent)


def _round(seconds: float) -> float:
    """Return whole minutes below an hour, whole five minutes above."""
    step = 60.0 if seconds < _HOUR else 300.0
    return round(seconds / step) * step


def read_alert_windows(document: Node, problems: Problems) -> AlertWindows | None:
    """Read a document of kind `AlertWindows` (sloth's form); None where it is wrong, which is noted."""
    before = len(problems.found)
    root = Fields(document, problems, ("apiVersion", "kind", "metadata", "spec"))
    spec_node = root.require("spec", "Give sloPeriod, page and ticket.")
    if spec_node is None:
        return None
    spec = Fields(spec_node, problems, ("sloPeriod", "page", "ticket"))
    period = _duration(spec, "sloPeriod")
    pairs: list[BurnAlert] = []
    for severity in ("page", "ticket"):
        node = spec.require(severity, "Give quick and slow.")
        if node is None:
            continue
        fields = Fields(node, problems, ("quick", "slow"))
        for speed in ("quick", "slow"):
            pair = fields.require(speed, "Give errorBudgetPercent, shortWindow and longWindow.")
            if pair is not None:
                found = _read_pair(pair, problems, severity, speed, period)
                pairs += [found] if found is not None else []
    if len(problems.found) > before or len(pairs) != len(_RECOMMENDED):
        return None
    return AlertWindows(period, *pairs)


def _read_pair(
    node: Node, problems: Problems, severity: Severity, speed: Speed, period: float
) -> BurnAlert | None:
    fields = Fields(node, problems, ("errorBudgetPercent", "shortWindow", "longWindow"))
    short, long = _duration(fields, "shortWindow"), _duration(fields, "longWindow")
    fields.require("errorBudgetPercent", "Give a share of the budget in percent, e.g. 2.")
    percent = fields.number("errorBudgetPercent")
    if not short or not long or percent is None:
        return None
    if not 0 < percent <= 100:
        problems.add(node, f"{percent:g} % is no share of a budget.", "Give more than 0, at most 100.")
    if short > long or long > period:
        problems.add(
            node,
            f"{prometheus_duration(short)}, {prometheus_duration(long)} and {prometheus_duration(period)} do not "
            "rise.",
            "The short window is within the long one, and that within the period.",
        )
    return _pair(severity, speed, percent, short, long, period)


def _duration(fields: Fields, key: str) -> float:
    text = fields.text(key, "Give a duration, e.g. 5m.")
    seconds = read_prometheus_duration(text) if text else None
    if text and seconds is None:
        fields.problems.add(fields.values[key], f"'{text[:40]}' is no duration.", "Write e.g. 5m, 1h, 3d.")
    return seconds or 0.0
