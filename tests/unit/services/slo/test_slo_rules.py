"""Rules made of SLOs: the windows, what promtool says of them, and what they do when it plays time."""

import subprocess
from pathlib import Path

import pytest

from quantum_suite.core.errors import EngineMissing
from quantum_suite.services.slo.durations import (
    prometheus_duration,
    read_prometheus_duration,
    read_shorthand,
)
from quantum_suite.services.slo.interface import InvalidSlo
from quantum_suite.services.slo.loading import load_slos
from quantum_suite.services.slo.rule_file import check_rules, rules_as_data, write_rules
from quantum_suite.services.slo.rules import RuleOptions
from quantum_suite.services.slo.windows import windows_of
from quantum_suite.services.slo.writing import SloDraft, write_openslo

pytestmark = pytest.mark.anyio

DAY = 86400.0
BAD, TOTAL = 'sum(rate(r_total{code="500"}[{{.window}}]))', "sum(rate(r_total[{{.window}}]))"
DRAFT = SloDraft("shop", "availability", 99, bad_query=BAD, total_query=TOTAL)


def rules_of(draft: SloDraft) -> str:
    return write_rules(load_slos(write_openslo(draft), "slo.yaml"))


def play(directory: Path, rules: str, series: str, checks: str) -> subprocess.CompletedProcess[str]:
    """Have promtool evaluate rules over series of one value a minute."""
    (directory / "rules.yml").write_text(rules)
    head = "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n"
    (directory / "test.yml").write_text(f"{head}{series}{checks}")
    command = ["promtool", "test", "rules", "test.yml"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=60)


def one_series(name: str, values: str) -> str:
    return f"  - series: '{name}'\n    values: '{values}'\n"


def firing(minute: int, *severities: str) -> str:
    """Return the check that alerts of these severities, and no others, fire at a minute."""
    subject = "shop availability SLO error budget burn rate is"
    shared = "sloth_id: shop-availability, sloth_service: shop, sloth_slo: availability"
    expected = [
        f"{{exp_labels: {{{shared}, severity: {severity}, sloth_severity: {severity}}}, exp_annotations: "
        f"{{title: '({severity}) {subject} too fast.', summary: '{subject} over expected.'}}}}"
        for severity in severities
    ]
    name = "alertname: ShopAvailabilityBudgetBurn"
    return f"  - {{eval_time: {minute}m, {name}, exp_alerts: [{', '.join(expected)}]}}\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.5, "500ms"),
        (90, "1m30s"),
        (300, "5m"),
        (3600, "1h"),
        (DAY, "1d"),
        (1.5 * DAY, "1d12h"),
        (7 * DAY, "1w"),
        (28 * DAY, "4w"),
        (30 * DAY, "30d"),
        (365 * DAY, "1y"),
    ],
)
def test_durations_are_written_as_prometheus_writes_them(seconds: float, text: str) -> None:
    assert prometheus_duration(seconds) == text
    if seconds:
        assert read_prometheus_duration(text) == seconds


def test_durations_that_are_none_are_none() -> None:
    assert [read_prometheus_duration(text) for text in ("", "5", "m", "1 h", "-1h", "999999y")] == [None] * 6
    assert [read_shorthand(text) for text in ("", "0d", "1.5d", "1S", "99999Y")] == [None] * 5
    assert read_shorthand("2Q") == (2, "Q", 180 * DAY)


def test_a_month_has_the_windows_and_burn_rates_of_the_workbook() -> None:
    pairs = windows_of(30 * DAY).pairs
    assert [(pair.severity, pair.long_seconds, pair.short_seconds) for pair in pairs] == [
        ("page", 3600, 300),
        ("page", 21600, 1800),
        ("ticket", DAY, 7200),
        ("ticket", 3 * DAY, 21600),
    ]
    assert [pair.factor for pair in pairs] == [14.4, 6, 3, 1]
    assert [pair.factor for pair in windows_of(28 * DAY).pairs] == pytest.approx([13.44, 5.6, 2.8, 14 / 15])


def test_shorter_periods_have_shorter_windows_and_longer_ones_the_same() -> None:
    week = windows_of(7 * DAY).pairs
    assert [pair.factor for pair in week] == pytest.approx([14.4, 6, 3, 1])
    assert [(pair.long_seconds, pair.short_seconds) for pair in week] == [
        (15 * 60, 5 * 60),
        (85 * 60, 7 * 60),
        (20_100, 28 * 60),
        (60_600, 85 * 60),
    ]
    assert all(pair.short_seconds < pair.long_seconds <= 7 * DAY for pair in week)
    assert [pair.budget_percent for pair in week] == pytest.approx([2, 5, 10, 10], rel=0.1)
    quarter = windows_of(90 * DAY)
    assert [(pair.long_seconds, pair.factor) for pair in quarter.pairs] == [
        (pair.long_seconds, pytest.approx(pair.factor)) for pair in windows_of(30 * DAY).pairs
    ]
    assert all(pair.short_seconds <= pair.long_seconds <= 3600 for pair in windows_of(3600).pairs)


@pytest.mark.parametrize("period", ["1h", "7d", "28d", "30d", "1Q", "1Y"])
async def test_promtool_accepts_the_rules_of_every_period(period: str) -> None:
    await check_rules(rules_of(SloDraft("shop", "a", 99.95, bad_query=BAD, total_query=TOTAL, period=period)))


async def test_promtool_accepts_whatever_labels_and_texts_there_are() -> None:
    odd = 'it\'s "odd": {{ $labels.x }} \\ # ä\n - [x]'
    document = write_openslo(SloDraft("shop", "a", 99, bad_query=BAD, total_query=TOTAL, description=odd))
    (slo,) = load_slos(document.replace("name: a\n", "name: a\n  labels: {odd: \"x: '#'\"}\n", 1), "slo.yaml")
    assert slo.description == odd
    rules = write_rules([slo], RuleOptions({"extra": odd.replace("{{ $labels.x }}", "")}))
    await check_rules(rules)


@pytest.mark.parametrize("method", ["Timeslices", "RatioTimeslices"])
async def test_promtool_accepts_slices_guards_and_conditions(method: str) -> None:
    document = write_openslo(SloDraft("shop", "a", 99, good_query=BAD, total_query=TOTAL, minimum_events=10))
    document = document.replace("Occurrences", method).replace(
        "targetPercent: 99", "targetPercent: 99\n      timeSliceTarget: 0.9\n      timeSliceWindow: 1m"
    )
    document += """\
  alertPolicies:
    - metadata: {name: p}
      kind: AlertPolicy
      spec:
        alertWhenNoData: true
        alertWhenBreaching: true
        notificationTargets: []
        conditions:
          - metadata: {name: very-fast}
            kind: AlertCondition
            spec:
              severity: sev1
              condition: {kind: burnrate, op: gte, threshold: 10, lookbackWindow: 15m, alertAfter: 2m}
"""
    slos = load_slos(document, "slo.yaml")
    await check_rules(write_rules(slos))
    alerts = [rule for rule in rules_as_data(slos) if rule["kind"] == "alert"]
    assert [(rule["name"], rule["for"]) for rule in alerts] == [
        ("ShopAVeryFast", 120),
        ("ShopAVeryFastNoData", 120),
    ]
    assert "slo:sli_error:ratio_rate15m" in {rule["name"] for rule in rules_as_data(slos)}


async def test_what_promtool_refuses_is_told_in_its_words() -> None:
    with pytest.raises(InvalidSlo, match=r"promtool refuses the rules: .*could not parse expression"):
        await check_rules('groups: [{name: a, rules: [{record: a, expr: "sum("}]}]\n')


async def test_a_missing_promtool_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissing, match="apt-get install prometheus"):
        await check_rules("groups: []\n")


def test_a_fast_burn_pages_a_slow_one_opens_a_ticket_and_a_calm_hour_ends_it(tmp_path: Path) -> None:
    # 100 requests a minute; a fifth of them fails in the third hour, none before and after.
    good = one_series('r_total{code="200"}', "0+100x120 12080+80x59 16900+100x200")
    bad = one_series('r_total{code="500"}', "0+0x120 20+20x59 1200+0x200")
    # Over an hour that is 14.4 % after 43 minutes, and 6 % of all since the start after 51.
    checks = firing(115) + firing(135, "ticket") + firing(160, "ticket") + firing(168, "page", "ticket")
    checks += firing(245, "ticket")
    done = play(tmp_path, rules_of(DRAFT), good + bad, f"  alert_rule_test:\n{checks}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_recorded_ratios_burn_rates_and_budgets_are_what_was_played(tmp_path: Path) -> None:
    series = one_series('r_total{code="200"}', "0+98x400") + one_series('r_total{code="500"}', "0+2x400")
    labels = '{sloth_id="shop-availability", sloth_service="shop", sloth_slo="availability"'
    expected = {
        "slo:sli_error:ratio_rate5m": (f'{labels}, sloth_window="5m"}}', 0.02),
        "slo:sli_error:ratio_rate6h": (f'{labels}, sloth_window="6h"}}', 0.02),
        "slo:sli_error:ratio_rate30d": (f'{labels}, sloth_window="30d"}}', 0.02),
        "slo:objective:ratio": (f"{labels}}}", 0.99),
        "slo:time_period:days": (f"{labels}}}", 30),
        "slo:current_burn_rate:ratio": (f'{labels}, sloth_window="5m"}}', 2),
        "slo:period_error_budget_remaining:ratio": (f'{labels}, sloth_window="30d"}}', -1),
    }
    checks = "  promql_expr_test:\n"
    for name, (given, value) in expected.items():
        checks += f"  - expr: round({name}, 0.0001)\n    eval_time: 390m\n    exp_samples:\n"
        checks += f"    - {{labels: '{given}', value: {value}}}\n"
    done = play(tmp_path, rules_of(DRAFT), series, checks)
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_failure_of_few_events_pages_unless_a_number_is_asked_for(tmp_path: Path) -> None:
    # One request in ten minutes; the one in minute 130 fails.
    good = one_series(
        'r_total{code="200"}', "0 " + " ".join(str(minute // 10) for minute in range(1, 126)) + " 12x60"
    )
    bad = one_series('r_total{code="500"}', "0x125 0x5 1x60")
    plain = play(tmp_path, rules_of(DRAFT), good + bad, "  alert_rule_test:\n" + firing(133))
    assert plain.returncode != 0
    assert 'severity="page"' in plain.stdout + plain.stderr
    guarded = SloDraft("shop", "availability", 99, bad_query=BAD, total_query=TOTAL, minimum_events=100)
    done = play(tmp_path, rules_of(guarded), good + bad, "  alert_rule_test:\n" + firing(133))
    assert done.returncode == 0, done.stdout + done.stderr


def test_slices_without_events_are_good_and_a_bad_slice_is_bad_whatever_its_traffic(tmp_path: Path) -> None:
    document = write_openslo(SloDraft("shop", "availability", 99, bad_query=BAD, total_query=TOTAL))
    document = document.replace("Occurrences", "Timeslices").replace(
        "targetPercent: 99", "targetPercent: 99\n      timeSliceTarget: 0.9\n      timeSliceWindow: 2m"
    )
    rules = write_rules(load_slos(document, "slo.yaml"))
    # Requests in the first half hour only, half of them failing in its last ten minutes.
    good = one_series('r_total{code="200"}', "0+100x20 2050+50x9 2500x40")
    bad = one_series('r_total{code="500"}', "0x20 50+50x9 500x40")
    labels = 'sloth_id="shop-availability", sloth_service="shop", sloth_slo="availability", sloth_window="1h"'
    # Five of the 31 slices that begin and end in the hour.
    checks = "  promql_expr_test:\n  - expr: round(slo:sli_error:ratio_rate1h, 0.01)\n    eval_time: 62m\n"
    checks += f"    exp_samples:\n    - {{labels: '{{{labels}}}', value: 0.16}}\n"
    done = play(tmp_path, rules, good + bad, checks)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_slo_gives_the_same_file() -> None:
    assert rules_of(DRAFT) == rules_of(DRAFT)
