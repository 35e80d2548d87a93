"""What every source of metrics does: ours, the library's, and the twin in memory, over the same past."""

import math
from collections.abc import AsyncIterator

import anyio
import pytest
from reference.prometheus import Watched

from quantum_suite.core.errors import CallerError
from quantum_suite.services.metrics.interface import MetricSource, Series, Window
from quantum_suite.services.metrics.memory import MemorySource
from quantum_suite.services.metrics.opening import open_metrics

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "prometheus", "prometheus-api-client"])
async def source(request: pytest.FixtureRequest, watched: Watched) -> AsyncIterator[MetricSource]:
    if request.param == "memory":
        yield MemorySource("memory", held(watched))
        return
    scheme = "prometheus-api-client+http" if request.param == "prometheus-api-client" else "http"
    url = f"{scheme}://127.0.0.1:{watched.prometheus.port}"
    async with open_metrics(f"live={url}", None, environ={}) as sources:
        yield sources.get("live")


def held(watched: Watched) -> list[Series]:
    past = watched.past
    return [
        Series(
            labels,
            [float(at) for minute, at in enumerate(past.times) if not past.missing(labels["__name__"], minute)],
            [value for minute, value in enumerate(values) if not past.missing(labels["__name__"], minute)],
        )
        for labels, values in past.series()
    ]


def whole(watched: Watched, step: float = 60) -> Window:
    return Window(watched.past.start, watched.past.times[-1], step)


async def test_a_moment_is_answered_with_one_point_a_series(source: MetricSource, watched: Watched) -> None:
    at = watched.past.start + 600.25
    found = await source.instant("past_orders_total", at)
    by_instance = {series.labels["instance"]: series for series in found}
    assert sorted(by_instance) == ["a:1", "b:1"]
    assert by_instance["a:1"].labels == {"__name__": "past_orders_total", "instance": "a:1", "job": "past"}
    assert list(by_instance["b:1"].values) == [20.0]
    assert list(by_instance["b:1"].times) == pytest.approx([at], abs=0.01)


async def test_a_number_is_a_series_without_labels(source: MetricSource) -> None:
    (series,) = await source.instant("42", 1_700_000_000)
    assert (series.labels, list(series.times), list(series.values)) == ({}, [1_700_000_000], [42.0])


async def test_a_range_selector_brings_the_points_as_they_were_measured(
    source: MetricSource, watched: Watched
) -> None:
    at = watched.past.start + 300
    (series,) = await source.instant('past_orders_total{instance="b:1"}[119s]', at)
    assert list(zip(series.times, series.values, strict=True)) == [(at - 60, 8.0), (at, 10.0)]


async def test_a_window_is_answered_with_a_point_a_step(source: MetricSource, watched: Watched) -> None:
    (series,) = await source.range('past_orders_total{instance="b:1"}', whole(watched))
    assert list(series.times) == watched.past.times
    assert list(series.values) == [2.0 * minute for minute in range(120)]


async def test_a_fraction_of_a_second_is_kept(source: MetricSource, watched: Watched) -> None:
    start = watched.past.start + 60.5
    (series,) = await source.range('past_orders_total{instance="b:1"}', Window(start, start + 1, 0.5))
    assert list(series.times) == [start, start + 0.5, start + 1]


async def test_a_gap_is_a_time_left_out(source: MetricSource, watched: Watched) -> None:
    # A second after each point was measured: versions differ on one that is five minutes old to the second.
    first, last = watched.past.start + 1, watched.past.times[-1] + 1
    (series,) = await source.range("past_temperature_celsius", Window(first, last, 60))
    missing = {at + 1 for at in watched.past.times} - set(series.times)
    # A sample is good for five minutes; the gap of thirty begins to be one then.
    assert sorted(missing) == [first + 60 * minute for minute in range(54, 80)]


async def test_what_nothing_fits_is_empty_and_no_error(source: MetricSource, watched: Watched) -> None:
    assert await source.instant("no_such_metric", watched.past.start) == []
    assert await source.range("no_such_metric", whole(watched)) == []
    assert await source.series(["no_such_metric"], whole(watched), 10) == []


async def test_label_sets_are_found_by_any_of_the_selectors(source: MetricSource, watched: Watched) -> None:
    matchers = ['past_orders_total{instance=~"a.*"}', "past_temperature_celsius"]
    found = await source.series(matchers, whole(watched), 10)
    assert sorted(each["__name__"] for each in found) == ["past_orders_total", "past_temperature_celsius"]


async def test_more_than_the_limit_is_noted(source: MetricSource, watched: Watched) -> None:
    notes: list[str] = []
    assert len(await source.series(['{job="past"}'], whole(watched), 2, notes)) == 2
    assert notes == ["There are more series than the 2 shown."]
    assert len(await source.label_values("instance", ['{job="past"}'], whole(watched), 1, notes)) == 1
    assert notes[1:] == ["There are more values of instance than the 1 shown."]


async def test_values_of_a_label_come_sorted(source: MetricSource, watched: Watched) -> None:
    found = await source.label_values("instance", ["past_orders_total"], whole(watched), 10)
    assert found == ["a:1", "b:1"]


@pytest.mark.parametrize(
    ("window", "argument"),
    [
        (Window(100, 50, 1), "end"),
        (Window(0, 100, 0), "step"),
        (Window(0, 100, -1), "step"),
        (Window(math.nan, 100, 1), "start"),
        (Window(0, 11_000, 1), "step"),
    ],
)
async def test_a_window_that_cannot_be_asked_for_is_refused(
    source: MetricSource, window: Window, argument: str
) -> None:
    with pytest.raises(CallerError) as caught:
        await source.range("up", window)
    assert caught.value.argument == argument


async def test_a_syntax_error_is_shown_at_its_place(source: MetricSource, watched: Watched) -> None:
    with pytest.raises(CallerError, match=r"line 1, column 4") as caught:
        await source.instant("sum(up", watched.past.start)
    assert caught.value.argument == "query"
    assert str(caught.value).splitlines()[1:] == ["  sum(up", "     ^"]


@pytest.mark.parametrize("query", ['{__name__=~".+"}', 'count({__name__!=""})', '{job=~".*",instance=~"(.|:)+"}'])
async def test_a_selector_that_fits_everything_is_refused(source: MetricSource, query: str) -> None:
    with pytest.raises(CallerError, match=r"fits every series|must contain"):
        await source.instant(query, 1_700_000_000)
    with pytest.raises(CallerError):
        await source.series([query], Window(0, 1, 1), 10)


async def test_what_a_selector_must_not_be_is_told_of_the_selector(source: MetricSource) -> None:
    with pytest.raises(CallerError) as caught:
        await source.series([], Window(0, 1, 1), 10)
    assert caught.value.argument == "matchers"


async def test_many_may_ask_at_once(source: MetricSource, watched: Watched) -> None:
    found: list[float] = []

    async def ask(minute: int) -> None:
        at = watched.past.start + 60 * minute
        (series,) = await source.instant('past_orders_total{instance="b:1"}', at)
        found.append(series.values[0])

    async with anyio.create_task_group() as tasks:
        for minute in range(20):
            tasks.start_soon(ask, minute)
    assert sorted(found) == [2.0 * minute for minute in range(20)]


async def test_a_cancelled_question_leaves_the_source_usable(source: MetricSource, watched: Watched) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await source.range("past_orders_total", whole(watched))
    assert len(await source.instant("past_orders_total", watched.past.start)) == 2


async def test_how_many_series_a_metric_has_is_counted(source: MetricSource) -> None:
    counts = await source.series_counts()
    expected = {"past_orders_total": 2} if isinstance(source, MemorySource) else {"shop_queue_depth": 1, "up": 1}
    assert {name: counts.get(name) for name in expected} == expected
