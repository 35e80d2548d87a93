"""SLO files in every form: what is read, and what is wrong with its place and what would be right."""

import random
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from quantum_suite.services.slo.interface import AlertText, ConditionAlert, InvalidSlo
from quantum_suite.services.slo.loading import load_slos
from quantum_suite.services.slo.rule_file import write_rules

SLOTH = """\
version: prometheus/v1
service: shop
labels: {team: a, tier: 2}
slos:
  - name: availability
    objective: 99.9
    labels: {tier: 3}
    sli:
      events:
        error_query: sum(rate(requests_total{code="500"}[{{.window}}]))
        total_query: sum(rate(requests_total[{{ .window }}]))
    alerting:
      name: ShopErrors
      labels: {category: errors}
      annotations: {runbook: here}
      page_alert: {labels: {severity: page}}
      ticket_alert: {disable: true}
"""
SERVICE_LEVEL = """\
apiVersion: sloth.slok.dev/v1
kind: PrometheusServiceLevel
metadata: {name: shop}
spec:
  service: shop
  labels: {team: a, tier: 2}
  slos:
    - name: availability
      objective: 99.9
      labels: {tier: 3}
      sli:
        events:
          errorQuery: sum(rate(requests_total{code="500"}[{{.window}}]))
          totalQuery: sum(rate(requests_total[{{ .window }}]))
      alerting:
        name: ShopErrors
        labels: {category: errors}
        annotations: {runbook: here}
        pageAlert: {labels: {severity: page}}
        ticketAlert: {disable: true}
"""


def openslo(spec: str, *, annotations: str = "") -> str:
    return (
        "apiVersion: openslo/v1\nkind: SLO\n"
        f"metadata: {{name: availability, labels: {{team.org/name: [a, b]}}{annotations}}}\n"
        f"spec:\n  service: shop\n  budgetingMethod: Occurrences\n{spec}"
    )


def metric(query: str) -> str:
    return f"{{metricSource: {{type: Prometheus, spec: {{query: '{query}'}}}}}}"


GOOD = metric('sum(rate(requests_total{code!="500"}[{{.window}}]))')
BAD = metric('sum(rate(requests_total{code="500"}[{{.window}}]))')
TOTAL = metric("sum(rate(requests_total[{{.window}}]))")
RATIO = f"  indicator: {{spec: {{ratioMetric: {{bad: {BAD}, total: {TOTAL}}}}}}}\n"
ONE_OBJECTIVE = "  objectives: [{target: 0.999}]\n"


def problems_of(text: str) -> list[str]:
    with pytest.raises(InvalidSlo) as caught:
        load_slos(text, "slo.yaml")
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("text", [SLOTH, SERVICE_LEVEL])
def test_both_forms_of_sloth_say_the_same(text: str) -> None:
    (slo,) = load_slos(text, "slo.yaml")
    assert (slo.id, slo.objective_percent, slo.period_seconds) == ("shop-availability", 99.9, 30 * 86400)
    assert slo.labels == {"team": "a", "tier": "3"}
    assert slo.indicator.error == 'sum(rate(requests_total{code="500"}[{{.window}}]))'
    assert slo.page == AlertText("ShopErrors", {"category": "errors", "severity": "page"}, {"runbook": "here"})
    assert slo.ticket is None


def test_a_raw_ratio_of_sloth_is_taken_as_it_is() -> None:
    text = (
        SLOTH.partition("      events:")[0]
        + "      raw: {error_ratio_query: 'a:errors:ratio{w=\"{{.window}}\"}'}\n"
    )
    (slo,) = load_slos(text + "    alerting: {name: Errors}\n", "slo.yaml")
    assert slo.indicator.error_ratio == 'a:errors:ratio{w="{{.window}}"}'


def test_several_documents_of_several_forms_make_one_list() -> None:
    second = SERVICE_LEVEL.replace("service: shop", "service: cart")
    third = openslo(RATIO + ONE_OBJECTIVE).replace("service: shop", "service: bank")
    found = load_slos(f"---\n{SLOTH}---\n{second}\n---\n{third}", "slo.yaml")
    assert [slo.id for slo in found] == ["shop-availability", "cart-availability", "bank-availability"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "objective: 99.9",
            "objective: 100.1",
            "slo.yaml:6: slos[0].objective: 100.1 is no objective. Give percent",
        ),
        (
            "objective: 99.9",
            "objective: '99.9'",
            "slo.yaml:6: slos[0].objective: This is text. Give a number without",
        ),
        ("objective: 99.9", "objective: true", "slos[0].objective: This is true or false."),
        ("    objective: 99.9\n", "", "slo.yaml:5: slos[0].objective: This is missing. Give a percentage"),
        ("service: shop", "service: 'shop ; drop'", "slo.yaml:2: service: 'shop ; drop' is no name. Use letters"),
        ("name: availability", "nme: availability", "slo.yaml:5: slos[0].nme: The key 'nme' is not known here."),
        (
            "    labels: {tier: 3}",
            "    labels: {te-am: 3}",
            "slos[0].labels.te-am: 'te-am' is no name of a label.",
        ),
        ("    labels: {tier: 3}", "    labels: [a]", "slo.yaml:7: slos[0].labels: This is a list. Give a mapping"),
        ("[{{.window}}]", "[5m]", "sli.events.error_query: The query has no window. Write {{.window}}"),
        ("[{{.window}}]", "[{{.window}}{{.x}}]", "error_query: '{{.x}}' cannot be replaced."),
        (
            "[{{.window}}]))",
            "[{{.window}}])",
            "slo.yaml:10: slos[0].sli.events.error_query: This is no PromQL: Unclosed",
        ),
        ('{code="500"}', "", "slo.yaml:10: slos[0].sli.events: Both queries are the same."),
        ("name: ShopErrors", "labels2: {}", "slos[0].alerting.name: This is missing. Name the alerts"),
        ("disable: true", "disable: maybe", "ticket_alert.disable: This is text. Give true or false."),
        ("version: prometheus/v1", "version: prometheus/v2", "slo.yaml:1: This is no form of SLOs that is known."),
        ("slos:", "slos: 3\nx:", "slo.yaml:4: slos: This is a number. Give a list."),
        ("    sli:\n", "    sli:\n      plugin: {id: a}\n", "slos[0].sli.plugin: Plugins of sloth are programs"),
    ],
)
def test_what_is_wrong_in_sloths_form_is_told_with_its_place(old: str, new: str, said: str) -> None:
    assert old in SLOTH
    found = problems_of(SLOTH.replace(old, new, 1))
    assert any(said in problem for problem in found), found


def test_every_problem_of_a_file_is_told_at_once() -> None:
    text = SLOTH.replace("99.9", "0").replace("name: availability", "name: '?'").replace("disable", "off")
    assert [problem.split(": ")[1] for problem in problems_of(text)] == [
        "slos[0].alerting.ticket_alert.off",
        "slos[0].name",
        "slos[0].objective",
    ]


def test_plugins_that_change_nothing_are_passed_over_and_others_refused() -> None:
    harmless = "slo_plugins: {chain: [{id: sloth.dev/core/debug/v1, priority: 1, config: {msg: a}}]}\n"
    assert len(load_slos(SLOTH + harmless, "slo.yaml")) == 1
    (said,) = problems_of(SLOTH + "slo_plugins: {chain: [{id: sloth.dev/contrib/info_labels/v1}]}\n")
    assert "slo_plugins.chain[0]: The plugin sloth.dev/contrib/info_labels/v1 is a program of sloth" in said


def test_openslo_counts_good_or_bad_events() -> None:
    (bad,) = load_slos(openslo(RATIO + ONE_OBJECTIVE), "slo.yaml")
    assert (bad.objective_percent, bad.labels) == (99.9, {"team_org_name": "a,b"})
    assert bad.page == AlertText("ShopAvailabilityBudgetBurn", {"severity": "page"})
    assert (bad.indicator.error, bad.indicator.error_ratio) == (
        'sum(rate(requests_total{code="500"}[{{.window}}]))',
        None,
    )
    good = RATIO.replace(f"bad: {BAD}", f"good: {GOOD}")
    (slo,) = load_slos(openslo(good + ONE_OBJECTIVE), "slo.yaml")
    assert slo.indicator.error_ratio is not None
    assert slo.indicator.error_ratio.startswith('1 - ((sum(rate(requests_total{code!="500"}[{{.window}}]))) / (')
    assert slo.indicator.total == "sum(rate(requests_total[{{.window}}]))"


def test_counters_and_gauges_without_a_window_get_one() -> None:
    bad, total = metric("errors_total"), metric("requests_total")
    ratio = f"  indicator: {{spec: {{ratioMetric: {{counter: true, bad: {bad}, total: {total}}}}}}}\n"
    (slo,) = load_slos(openslo(ratio + ONE_OBJECTIVE), "slo.yaml")
    assert slo.indicator.error == "sum(increase(errors_total[{{.window}}]))"
    (slo,) = load_slos(openslo(ratio.replace("counter: true", "counter: false") + ONE_OBJECTIVE), "slo.yaml")
    assert slo.indicator.total == "sum(sum_over_time((requests_total)[{{.window}}:]))"
    (said,) = problems_of(openslo(ratio.replace("errors_total", "sum(errors_total)") + ONE_OBJECTIVE))
    assert "This counter is more than a selector" in said


def test_a_threshold_is_the_share_of_samples_that_keep_it() -> None:
    query = "histogram_quantile(0.9, rate(latency_bucket[1m]))"
    threshold = f"  indicator: {{spec: {{thresholdMetric: {metric(query)}}}}}\n"
    objective = "  objectives: [{target: 0.95, op: lte, value: 0.4}]\n"
    (slo,) = load_slos(openslo(threshold + objective), "slo.yaml")
    assert slo.indicator.error_ratio == f"1 - avg(avg_over_time((({query}) <= bool 0.4)[{{{{.window}}}}:]))"
    (said,) = problems_of(openslo(threshold + ONE_OBJECTIVE))
    assert "A thresholdMetric is compared with a value. Give op and value in the objective." in said
    said = " ".join(problems_of(openslo(threshold + objective.replace("lte", "eq"))))
    assert "objectives[0].op: 'eq' is not known here. Give one of gt, gte, lt, lte." in said


def test_a_raw_ratio_of_success_is_turned_round() -> None:
    raw = f"  indicator: {{spec: {{ratioMetric: {{rawType: success, raw: {metric('good:ratio')}}}}}}}\n"
    (slo,) = load_slos(openslo(raw + ONE_OBJECTIVE), "slo.yaml")
    assert slo.indicator.error_ratio == "1 - (avg(avg_over_time((good:ratio)[{{.window}}:])))"
    (slo,) = load_slos(openslo(raw.replace("success", "failure") + ONE_OBJECTIVE), "slo.yaml")
    assert slo.indicator.error_ratio == "avg(avg_over_time((good:ratio)[{{.window}}:]))"


def test_slices_of_time_are_judged_one_by_one() -> None:
    slices = "  objectives: [{target: 0.99, timeSliceTarget: 0.95, timeSliceWindow: 1m}]\n"
    text = openslo(RATIO + slices).replace("Occurrences", "Timeslices")
    (slo,) = load_slos(text, "slo.yaml")
    assert slo.budgeting == "Timeslices"
    assert slo.indicator.error_ratio is not None
    assert slo.indicator.error_ratio.startswith("avg_over_time((((sum(rate(")
    assert slo.indicator.error_ratio.endswith(" > bool 0.05)[{{.window}}:1m])")
    (mean,) = load_slos(text.replace("Timeslices", "RatioTimeslices").replace("1m}", "2}"), "slo.yaml")
    assert mean.indicator.error_ratio is not None
    assert mean.indicator.error_ratio.endswith(" >= 0)[{{.window}}:2m])")
    (said,) = problems_of(text.replace("1m}", "10m}"))
    assert "A slice of 10m does not fit the shortest alert window, 5m." in said
    (said,) = problems_of(text.replace("timeSliceTarget: 0.95, ", ""))
    assert "objectives[0].timeSliceTarget: This is missing." in said


def test_several_objectives_are_several_slos() -> None:
    two = "  objectives: [{target: 0.99}, {targetPercent: 99.9}]\n"
    found = load_slos(openslo(RATIO + two), "slo.yaml")
    assert [(slo.name, slo.objective_percent) for slo in found] == [
        ("availability-0", 99),
        ("availability-1", 99.9),
    ]


def test_a_period_rolls_or_follows_a_calendar() -> None:
    rolling = "  timeWindow: [{duration: 4w, isRolling: true}]\n"
    (slo,) = load_slos(openslo(RATIO + ONE_OBJECTIVE + rolling), "slo.yaml")
    assert (slo.period_seconds, slo.calendar) == (28 * 86400, None)
    calendar = (
        "  timeWindow: [{duration: 1M, calendar: {startTime: 2026-01-01 12:30:00, timeZone: Europe/Berlin}}]\n"
    )
    (slo,) = load_slos(openslo(RATIO + ONE_OBJECTIVE + calendar), "slo.yaml")
    assert slo.calendar is not None
    assert slo.calendar.start == datetime(2026, 1, 1, 12, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    for old, new, said in (
        ("1M", "1x", "'1x' is no duration."),
        ("Europe/Berlin", "Europe/Nowhere", "'Europe/Nowhere' is no zone."),
        ("Europe/Berlin", "../../etc/passwd", "is no zone."),
        ("12:30:00", "late", "is no time."),
        ("1M", "30m", "A period is an hour at least."),
    ):
        assert any(
            said in one for one in problems_of(openslo(RATIO + ONE_OBJECTIVE + calendar.replace(old, new, 1)))
        )


def test_alert_policies_decide_alerts() -> None:
    policy = """\
  alertPolicies:
    - alertPolicyRef: burn
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: burn}
spec:
  alertWhenBreaching: true
  alertWhenNoData: true
  conditions: [{conditionRef: fast}]
  notificationTargets:
    - targetRef: phone
    - {kind: AlertNotificationTarget, metadata: {name: mail}, spec: {target: email}}
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: fast-burn}
spec:
  severity: sev1
  condition: {kind: burnrate, op: lte, threshold: 2, lookbackWindow: 1h, alertAfter: 5m}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: phone}
spec: {target: pager}
"""
    text = openslo(RATIO + ONE_OBJECTIVE + policy)
    (said,) = problems_of(text)
    assert (
        "conditions[0].conditionRef: There is no AlertCondition named 'fast' in this file. There is: fast-burn."
        in said
    )
    (slo,) = load_slos(text.replace("conditionRef: fast}", "conditionRef: fast-burn}"), "slo.yaml")
    assert (slo.page, slo.ticket) == (None, None)
    assert slo.conditions == (
        ConditionAlert(
            "fast-burn",
            "sev1",
            ">=",
            2,
            3600,
            300,
            when_no_data=True,
            labels={"notification_target": "phone,mail"},
        ),
    )
    (none,) = load_slos(openslo(RATIO + ONE_OBJECTIVE + "  alertPolicies: []\n"), "slo.yaml")
    assert (none.page, none.conditions) == (None, ())


def test_what_an_indicator_refers_to_is_looked_up() -> None:
    named = "---\napiVersion: openslo/v1\nkind: SLI\nmetadata: {name: ok}\n"
    sli = f"{named}spec: {{ratioMetric: {{bad: {BAD}, total: {TOTAL}}}}}\n"
    (slo,) = load_slos(openslo("  indicatorRef: ok\n" + ONE_OBJECTIVE + sli), "slo.yaml")
    assert slo.indicator.total is not None
    (said,) = problems_of(openslo("  indicatorRef: nok\n" + ONE_OBJECTIVE + sli))
    assert "spec.indicatorRef: There is no SLI named 'nok' in this file. There is: ok." in said
    source = (
        "---\napiVersion: openslo/v1\nkind: DataSource\nmetadata: {name: db}\n"
        "spec: {type: KIND, connectionDetails: {}}\n"
    )
    refers = RATIO.replace("type: Prometheus", "metricSourceRef: db")
    load_slos(openslo(refers + ONE_OBJECTIVE + source.replace("KIND", "prometheus")), "slo.yaml")
    said = problems_of(openslo(refers + ONE_OBJECTIVE + source.replace("KIND", "Redshift")))[0]
    assert "'Redshift' is not asked in PromQL." in said


def test_annotations_name_alerts_and_guard_low_traffic() -> None:
    given = ", annotations: {quantum/alert-name: TooManyErrors, quantum/minimum-events: '20'}"
    (slo,) = load_slos(openslo(RATIO + ONE_OBJECTIVE, annotations=given), "slo.yaml")
    assert slo.page is not None
    assert (slo.page.name, slo.minimum_events) == ("TooManyErrors", 20)
    (said,) = problems_of(openslo(RATIO + ONE_OBJECTIVE, annotations=given.replace("'20'", "few")))
    assert "metadata.annotations.quantum/minimum-events: 'few' is no number of events." in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("target: 0.999", "target: 99.9", "99.9 is no target. Give more than 0, less than 1."),
        ("target: 0.999", "target: 0.999, targetPercent: 99", "One of target and targetPercent has to be there"),
        (
            "target: 0.999",
            "target: 0.999, compositeWeight: 2",
            "compositeWeight: Objectives are judged one by one",
        ),
        ("  objectives: [{target: 0.999}]\n", "", "spec.objectives: This is missing."),
        ("bad: ", "worse: ", "ratioMetric.worse: The key 'worse' is not known here."),
        ("total: ", "good: ", "ratioMetric.total: This is missing."),
        ("ratioMetric", "ratioMetrics", "One of ratioMetric and thresholdMetric has to be there"),
        ("kind: SLO", "kind: SLOT", "slo.yaml:2: kind: 'SLOT' is not known here. Give one of SLO, SLI"),
        ("Occurrences", "Sometimes", "spec.budgetingMethod: 'Sometimes' is not known here."),
        ("type: Prometheus", "type: Datadog", "'Datadog' is not asked in PromQL."),
        ("name: availability, ", "", "metadata.name: This is missing."),
    ],
)
def test_what_is_wrong_in_openslo_is_told_with_its_place(old: str, new: str, said: str) -> None:
    text = openslo(RATIO + ONE_OBJECTIVE)
    assert old in text
    found = problems_of(text.replace(old, new, 1))
    assert any(said in problem for problem in found), found


def test_openslo_v1alpha_is_read_as_sloth_reads_it() -> None:
    good, total = 'sum(rate(r{code!="500"}[{{.window}}]))', "sum(rate(r[{{.window}}]))"
    text = (
        "apiVersion: openslo/v1alpha\nkind: SLO\nmetadata: {name: ok}\nspec:\n  service: shop\n"
        "  objectives:\n    - target: 0.99\n      ratioMetrics:\n"
        f"        good: {{source: prometheus, queryType: promql, query: '{good}'}}\n"
        f"        total: {{source: prometheus, queryType: promql, query: '{total}'}}\n"
        "  timeWindows: [{count: 28, unit: Day}]\n"
    )
    (slo,) = load_slos(text, "slo.yaml")
    assert (slo.id, slo.objective_percent, slo.page, slo.period_seconds) == ("shop-ok-0", 99, None, 28 * 86400)
    for old, new, said in (
        ("unit: Day", "unit: Month", "timeWindows[0].unit: Only days can be counted."),
        ("count: 28", "count: 0.5", "timeWindows[0].count: This is no number of days."),
        ("target: 0.99", "target: 2", "2 is no target."),
        ("source: prometheus", "source: datadog", "'datadog' is not known here."),
    ):
        assert any(said in one for one in problems_of(text.replace(old, new, 1)))


def test_two_slos_of_one_name_and_files_without_any_are_refused() -> None:
    assert problems_of(f"{SLOTH}---\n{SLOTH}") == [
        "slo.yaml:23: There are two SLOs 'shop-availability'. The first is in line 5: rename one."
    ]
    assert "There is no SLO in this file." in problems_of("# nothing\n")[0]
    assert "This is no form of SLOs that is known." in problems_of("groups: []\n")[0]
    assert "This is no form of SLOs that is known." in problems_of("- 1\n")[0]
    two = openslo(RATIO + ONE_OBJECTIVE)
    assert "There are two SLOs 'shop-availability'." in problems_of(f"{two}---\n{two}")[0]


def test_given_alert_windows_hold_for_slos_of_their_period() -> None:
    pair = "{errorBudgetPercent: 8, shortWindow: 5m, longWindow: 1h}"
    windows = (
        "---\napiVersion: sloth.slok.dev/v1\nkind: AlertWindows\nspec:\n  sloPeriod: 7d\n"
        f"  page: {{quick: {pair}, slow: {pair}}}\n  ticket: {{quick: {pair}, slow: {pair}}}\n"
    )
    week = "  timeWindow: [{duration: 7d, isRolling: true}]\n"
    (slo,) = load_slos(openslo(RATIO + ONE_OBJECTIVE + week + windows), "slo.yaml")
    assert slo.windows.page_quick.factor == pytest.approx(13.44)
    for old, new, said in (
        ("shortWindow: 5m", "shortWindow: 2h", "2h, 1h and 1w do not rise."),
        ("errorBudgetPercent: 8", "errorBudgetPercent: 800", "800 % is no share of a budget."),
        ("longWindow: 1h", "longWindow: long", "'long' is no duration."),
        ("sloPeriod: 7d", "period: 7d", "spec.sloPeriod: This is missing."),
    ):
        found = problems_of(openslo(RATIO + ONE_OBJECTIVE + week + windows.replace(old, new, 1)))
        assert any(said in one for one in found), found


@pytest.mark.parametrize(
    "text", ["1", "a", "[1, 2]", "{a: b}", "apiVersion: openslo/v1", "version: prometheus/v1"]
)
def test_no_wrong_file_raises_anything_else(text: str) -> None:
    assert problems_of(text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("op: gte", "op: eq", "condition.op: 'eq' is not known here."),
        ("threshold: 2", "threshold: 0", "condition.threshold: A burn rate of 0 is no threshold."),
        ("threshold: 2, ", "", "condition.threshold: This is missing."),
        ("lookbackWindow: 1h", "lookbackWindow: 1 hour", "lookbackWindow: '1 hour' is no duration."),
        ("severity: sev1, ", "", "spec.severity: This is missing."),
        ("condition: {kind", "conditions: {kind", "spec.condition: This is missing."),
        ("spec: {conditions: [", "spec: {conditions: [], other: [", "spec.conditions: This is missing."),
        ("- metadata: {name: p}", "- nothing", "alertPolicies[0]: There is no AlertPolicy named 'nothing"),
        ("- metadata: {name: p}", "- 3", "alertPolicies[0]: This is no AlertPolicy."),
    ],
)
def test_what_is_wrong_with_an_alert_policy_is_told(old: str, new: str, said: str) -> None:
    condition = "{kind: burnrate, op: gte, threshold: 2, lookbackWindow: 1h, alertAfter: 0m}"
    inline = f"{{metadata: {{name: fast}}, spec: {{severity: sev1, condition: {condition}}}}}"
    policy = f"  alertPolicies:\n    - metadata: {{name: p}}\n      spec: {{conditions: [{inline}]}}\n"
    text = openslo(RATIO + ONE_OBJECTIVE + policy)
    assert load_slos(text, "slo.yaml")[0].conditions[0].when_breaching
    changed = policy.replace(old, new, 1)
    if new.startswith("- "):
        changed = changed.partition("      spec:")[0]
    found = problems_of(openslo(RATIO + ONE_OBJECTIVE + changed))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ("[{duration: 7d}, {duration: 30d}]", "timeWindow[1]: There is more than one time window."),
        ("[{duration: 7d, isRolling: false}]", "timeWindow[0].calendar: This is missing."),
        (
            "[{duration: 7d, isRolling: true, calendar: {startTime: 2026-01-01 00:00:00}}]",
            "timeWindow[0].isRolling: A calendar does not roll.",
        ),
        ("[{isRolling: true}]", "timeWindow[0].duration: This is missing."),
        ("[{duration: 7d, calendar: {}}]", "calendar.startTime: This is missing."),
    ],
)
def test_what_is_wrong_with_a_time_window_is_told(window: str, said: str) -> None:
    found = problems_of(openslo(f"{RATIO}{ONE_OBJECTIVE}  timeWindow: {window}\n"))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("timeSliceWindow: 1m", "timeSliceWindow: soon", "timeSliceWindow: 'soon' is no duration."),
        ("timeSliceTarget: 0.95", "timeSliceTarget: 95", "timeSliceTarget: 95 is no share."),
        (", timeSliceWindow: 1m", "", "timeSliceWindow: This is missing. Timeslices needs the length"),
    ],
)
def test_what_is_wrong_with_slices_is_told(old: str, new: str, said: str) -> None:
    slices = "  objectives: [{target: 0.99, timeSliceTarget: 0.95, timeSliceWindow: 1m}]\n"
    text = openslo(RATIO + slices.replace(old, new)).replace("Occurrences", "Timeslices")
    found = problems_of(text)
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (f"{{rawType: failure, raw: {TOTAL}, good: {GOOD}}}", "ratioMetric.raw: raw is a ratio already."),
        (f"{{raw: {TOTAL}}}", "ratioMetric.rawType: This is missing."),
        (f"{{good: {GOOD}, bad: {BAD}, total: {TOTAL}}}", "One of good and bad has to be there, and one alone."),
        (f"{{bad: {TOTAL}, total: {TOTAL}}}", "ratioMetric.bad: Both queries are the same."),
        (f"{{bad: {{}}, total: {TOTAL}}}", "ratioMetric.bad.metricSource: This is missing."),
        (
            f"{{bad: {{metricSource: {{spec: {{query: a}}}}}}, total: {TOTAL}}}",
            "metricSource.type: This is missing.",
        ),
        (
            f"{{bad: {{metricSource: {{type: Prometheus}}}}, total: {TOTAL}}}",
            "metricSource.spec: This is missing.",
        ),
        (f"{{bad: 3, total: {TOTAL}}}", "ratioMetric.bad: This is a number. Give a mapping with metricSource."),
    ],
)
def test_what_is_wrong_with_a_ratio_is_told(ratio: str, said: str) -> None:
    found = problems_of(openslo(f"  indicator: {{spec: {{ratioMetric: {ratio}}}}}\n{ONE_OBJECTIVE}"))
    assert any(said in problem for problem in found), found


ODD_PIECES = (
    "3",
    "[]",
    "{}",
    "null",
    "-",
    '"',
    "*a",
    "&a ",
    "1e400",
    "\0",
    "\u2028",
    "{{.window}}",
    "\n",
    "!x ",
    ": ",
)


def test_files_damaged_at_random_are_read_or_refused_and_nothing_else() -> None:
    chance = random.Random(5)
    refused: list[InvalidSlo] = []
    for _ in range(250):
        text = chance.choice((SLOTH, SERVICE_LEVEL, openslo(RATIO + ONE_OBJECTIVE)))
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(text))
            kept = place + chance.choice((0, 0, 1, 4, 12))
            text = text[:place] + chance.choice(("", *ODD_PIECES)) + text[kept:]
        try:
            write_rules(load_slos(text, "slo.yaml"))
        except InvalidSlo as error:
            refused.append(error)
    assert len(refused) > 150
    assert all(problem.line >= 1 and problem.message for error in refused for problem in error.problems)
