"""Indicators, budgets and low traffic, measured by a real Prometheus with a known past."""

import dataclasses
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from reference.prometheus import Prometheus, nobody_listens
from reference.slo_past import ALL, GOOD, draft_of, slo_past

from quantum_suite.core.errors import Unavailable
from quantum_suite.services.metrics.interface import MetricSource, Notes
from quantum_suite.services.metrics.limits import SourceLimits
from quantum_suite.services.metrics.opening import open_metrics
from quantum_suite.services.slo.breakdown import breakdown_queries
from quantum_suite.services.slo.event_counts import count_query
from quantum_suite.services.slo.forecast import burned_share, forecast
from quantum_suite.services.slo.history import read_history
from quantum_suite.services.slo.interface import Slo
from quantum_suite.services.slo.loading import load_slos
from quantum_suite.services.slo.measuring import read_slo
from quantum_suite.services.slo.writing import SloDraft, write_openslo

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with slo_past(tmp_path_factory.mktemp("slo-past")) as server:
        yield server


@pytest.fixture
async def source(prometheus: Prometheus) -> AsyncIterator[MetricSource]:
    async with open_metrics(prometheus.url, None, environ={}) as sources:
        yield sources.get()


def slo(job: str, objective: float = 98, minimum_events: int | None = None) -> Slo:
    return load_slos(write_openslo(draft_of(job, objective, minimum_events)), "slo.yaml")[0]


async def test_windows_tell_ratio_burn_and_events(source: MetricSource) -> None:
    notes: Notes = []
    reading = await read_slo(source, slo("steady"), time.time(), notes)
    assert notes == []
    assert reading.state == "ok"
    hour = reading.windows[max(reading.windows)]
    assert hour.error_ratio == pytest.approx(0.01, rel=0.02)
    assert hour.burn_rate(reading.slo) == pytest.approx(0.5, rel=0.02)
    assert hour.events == pytest.approx(10 * hour.seconds, rel=0.05)
    assert reading.burned == pytest.approx(0.5, rel=0.02)
    assert not reading.low_traffic
    assert not hour.recorded


async def test_a_burn_holds_the_pairs_whose_windows_both_burn(source: MetricSource) -> None:
    reading = await read_slo(source, slo("late", 99.5), time.time(), [])
    assert [pair.factor for pair in reading.alerts] == pytest.approx([14.4, 6, 3, 1])
    assert reading.state == "exhausted"
    calmer = await read_slo(source, slo("late", 98), time.time(), [])
    assert [pair.severity for pair in calmer.alerts] == ["ticket", "ticket"]
    assert calmer.state == "burning"


async def test_few_events_are_told_and_a_minimum_keeps_quiet(source: MetricSource) -> None:
    reading = await read_slo(source, slo("quiet"), time.time(), [])
    assert reading.low_traffic
    longest = reading.windows[max(reading.windows)]
    assert longest.one_failure is not None
    assert longest.one_failure > 0.05
    assert reading.alerts
    guarded = await read_slo(source, slo("quiet", minimum_events=50), time.time(), [])
    assert guarded.alerts == []


async def test_no_failure_yet_is_no_failure_and_no_series_is_no_data(source: MetricSource) -> None:
    fresh = await read_slo(source, slo("fresh"), time.time(), [])
    assert (fresh.state, fresh.burned) == ("ok", 0)
    nothing = await read_slo(source, slo("absent"), time.time(), [])
    assert (nothing.state, nothing.burned) == ("no data", None)
    history = await read_history(source, slo("absent"), time.time(), [])
    assert history.slices == ()


async def test_an_objective_without_a_budget_is_exhausted_by_any_failure(source: MetricSource) -> None:
    steady, fresh = (dataclasses.replace(slo(job), objective_percent=100.0) for job in ("steady", "fresh"))
    assert (await read_slo(source, steady, time.time(), [])).state == "exhausted"
    calm = await read_slo(source, fresh, time.time(), [])
    assert (calm.state, calm.burned) == ("ok", 0)


async def test_a_budget_is_counted_slice_by_slice_and_forecast(source: MetricSource) -> None:
    at = time.time()
    steady = await read_history(source, slo("steady"), at, [])
    assert steady.counted
    assert (steady.slice_seconds, len(steady.slices)) == (600, 144)
    assert steady.events == pytest.approx(864_000, rel=0.01)
    assert burned_share(slo("steady"), steady) == pytest.approx(0.5, rel=0.02)
    assert forecast(slo("steady"), steady).outlook == "not within the window"
    late = await read_history(source, slo("late"), at, [])
    assert burned_share(slo("late"), late) == pytest.approx(3 * 0.1 / (24 * 0.02), rel=0.05)
    expected = forecast(slo("late"), late)
    assert expected.outlook == "within the window"
    assert expected.middle is not None
    assert at < expected.middle < at + 9 * 3600
    draft = SloDraft("late", "ok", 98, good_query=GOOD.replace("steady", "late"), period="1d")
    good = write_openslo(dataclasses.replace(draft, total_query=ALL.replace("steady", "late")))
    counted = await read_history(source, load_slos(good, "slo.yaml")[0], at, [])
    assert counted.bad == pytest.approx(late.bad, rel=0.02)


async def test_a_calendar_counts_from_its_begin(source: MetricSource) -> None:
    ratio = f"1 - {GOOD} / {ALL}"
    document = write_openslo(SloDraft("steady", "ok", 98, error_ratio_query=ratio, period="1d"))
    document = document.replace("isRolling: true", "calendar: {startTime: 2026-01-01 00:00:00}")
    (given,) = load_slos(document, "slo.yaml")
    at = time.time() // 86400 * 86400 - 6 * 3600 if time.time() % 86400 < 6 * 3600 else time.time()
    reading = await read_slo(source, given, at, [])
    passed = at % 86400 / 86400
    assert reading.passed == pytest.approx(passed)
    assert reading.burned == pytest.approx(0.5 * passed, rel=0.1)
    history = await read_history(source, given, at, [])
    assert not history.counted
    assert history.period_end == pytest.approx(at - at % 86400 + 86400)


async def test_a_source_that_cannot_be_read_is_noted_and_costs_no_more_than_its_windows() -> None:
    limits = SourceLimits(deadline_seconds=0.5)
    async with open_metrics(nobody_listens(), None, environ={}, limits=limits) as sources:
        notes: Notes = []
        reading = await read_slo(sources.get(), slo("steady"), time.time(), notes)
        assert reading.state == "no data"
        assert any("Recorded ratios could not be read" in note for note in notes)
        with pytest.raises(Unavailable):
            await read_history(sources.get(), slo("steady"), time.time(), [])


async def test_bad_events_are_split_by_labels_that_differ(source: MetricSource) -> None:
    found = await breakdown_queries(source, slo("steady"), time.time(), 300)
    assert len(found) == 1
    assert found[0].startswith("topk(10, sum by (instance) (rate(r_total{")
    assert await source.instant(found[0], time.time())
    assert await breakdown_queries(source, slo("quiet"), time.time(), 300) == []


@pytest.mark.parametrize(
    ("query", "counted"),
    [
        ("sum(rate(a[{{.window}}]))", "sum(sum(rate(a[5m]))) * 300"),
        ("sum(increase(a[{{.window}}]))", "sum(sum(increase(a[5m])))"),
        ("sum(increase(a[{{.window}}])) / sum(rate(b[{{.window}}]))", None),
        ('a:requests{w="{{.window}}"}', None),
    ],
)
def test_events_are_counted_where_the_query_says_how(query: str, counted: str | None) -> None:
    draft = SloDraft("shop", "a", 99, bad_query="sum(rate(bad[{{.window}}]))", total_query=query)
    (given,) = load_slos(write_openslo(draft), "slo.yaml")
    assert count_query(given, 300) == counted
