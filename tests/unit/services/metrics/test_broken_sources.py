"""Sources that are away, slow, endless, wrong or rude: one clear error, in bounded time and memory."""

import email.utils
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from reference.broken_metrics import Answer, a_million_series, broken, endlessly_slow, says
from reference.prometheus import nobody_listens

from quantum_suite.core.errors import CallerError, EngineError, SuiteError, Unavailable
from quantum_suite.services.metrics.interface import Matcher, MetricSource, Window
from quantum_suite.services.metrics.limits import SourceLimits
from quantum_suite.services.metrics.opening import open_metrics

pytestmark = pytest.mark.anyio

SMALL = SourceLimits(max_bytes=1024 * 1024, max_series=50, max_points=200, max_labels=20, deadline_seconds=5)
WINDOW = Window(0, 60, 1)
NOTHING = b'{"status":"success","data":{"resultType":"vector","result":[]}}'


@pytest.fixture(params=["", "prometheus-api-client+"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def source_at(url: str, limits: SourceLimits = SMALL, **environ: str) -> AsyncIterator[MetricSource]:
    async with open_metrics(f"far={url}", None, environ=environ, limits=limits) as sources:
        yield sources.get()


async def refused(answer: Answer, scheme: str, limits: SourceLimits = SMALL, **environ: str) -> SuiteError:
    with broken(answer) as url:
        async with source_at(scheme + url, limits, **environ) as source:
            with pytest.raises(SuiteError) as caught:
                await source.instant("up", 1_700_000_000)
            return caught.value


def error(kind: str, said: str, status: int) -> Answer:
    return says(json.dumps({"status": "error", "errorType": kind, "error": said}).encode(), status)


def vector(count: int) -> bytes:
    result = [{"metric": {"n": str(number)}, "value": [1, "1"]} for number in range(count)]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


async def test_a_source_that_is_away_is_unavailable(scheme: str) -> None:
    async with source_at(scheme + nobody_listens()) as source:
        with pytest.raises(Unavailable, match=r"'far'.*cannot be reached"):
            await source.instant("up", 1_700_000_000)


async def test_an_answer_that_never_ends_is_given_up_at_the_deadline(scheme: str) -> None:
    began = anyio.current_time()
    problem = await refused(endlessly_slow, scheme, SMALL.model_copy(update={"deadline_seconds": 0.5}))
    assert isinstance(problem, Unavailable)
    assert "did not answer within 0.5 seconds" in str(problem)
    assert anyio.current_time() - began < 30


async def test_a_million_series_are_cut_off_unread(scheme: str) -> None:
    problem = await refused(a_million_series, scheme)
    assert isinstance(problem, CallerError)
    assert problem.argument == "query"
    assert "longer than 1 MiB" in str(problem)
    assert "topk" in str(problem)


async def test_more_series_than_an_answer_may_hold_are_refused(scheme: str) -> None:
    problem = await refused(says(vector(51)), scheme)
    assert "more than 50 series" in str(problem)
    with broken(says(vector(50))) as url:
        async with source_at(scheme + url) as source:
            assert len(await source.instant("up", 1_700_000_000)) == 50


async def test_more_points_than_an_answer_may_hold_are_refused_with_what_fits(scheme: str) -> None:
    values = [[number, "1"] for number in range(450)]
    data = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
    body = json.dumps({"status": "success", "data": data}).encode()
    with broken(says(body)) as url:
        async with source_at(scheme + url) as source:
            with pytest.raises(CallerError, match=r"450 points.*step at least 3 times as long"):
                await source.range("up", WINDOW)


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"<html>Hello</html>", 200, "did not answer in JSON"),
        (b"", 200, "without"),
        (b"[]", 200, "without"),
        (b"{}", 200, "without"),
        (b'{"status":"success"}', 200, "without"),
        (
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{}',
            200,
            "did not answer in JSON",
        ),
        (
            b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1]]}]}}',
            200,
            "without",
        ),
        (
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":7,"value":[1,"1"]}]}}',
            200,
            "without",
        ),
        (b'{"status":"success","data":{"resultType":"vector","result":{"a":1}}}', 200, "without"),
        (b"[" * 100_000, 200, "did not answer in JSON"),
        (b"<html>nginx</html>", 404, "does not have this API"),
        (b"go away", 403, "does not accept the credentials"),
        (b"moved", 302, "answers from elsewhere"),
    ],
)
async def test_what_is_no_answer_of_the_api_is_named(scheme: str, body: bytes, status: int, told: str) -> None:
    problem = await refused(says(body, status), scheme)
    assert isinstance(problem, EngineError)
    assert told in str(problem)
    assert "QUANTUM_METRICS" in str(problem)


async def test_a_redirect_takes_no_credentials_along(scheme: str) -> None:
    seen: list[str] = []

    def elsewhere(handler: object) -> None:
        seen.append("called")
        says(NOTHING)(handler)  # type: ignore[arg-type]  # what is handed on

    with broken(elsewhere) as other:
        problem = await refused(says(b"", 307, Location=other), scheme, QUANTUM_METRICS_FAR_TOKEN="s3cr3t-token")
    assert isinstance(problem, EngineError)
    assert seen == []


async def test_a_query_that_takes_too_long_there_is_told_and_not_repeated(scheme: str) -> None:
    asked: list[str] = []

    def answer(handler: object) -> None:
        asked.append("asked")
        error("timeout", "query timed out in expression evaluation", 503)(handler)  # type: ignore[arg-type]  # as above

    problem = await refused(answer, scheme)
    assert isinstance(problem, Unavailable)
    assert "query timed out in expression evaluation" in str(problem)
    assert asked == ["asked"]


async def test_an_overloaded_source_is_asked_again() -> None:
    asked: list[str] = []

    def answer(handler: object) -> None:
        asked.append("asked")
        busy = len(asked) < 3
        says(b"busy" if busy else NOTHING, 503 if busy else 200)(handler)  # type: ignore[arg-type]  # as above

    with broken(answer) as url:
        async with source_at(url) as source:
            assert await source.instant("up", 1_700_000_000) == []
    assert len(asked) == 3


async def test_a_source_that_refuses_a_query_is_quoted_with_the_place(scheme: str) -> None:
    problem = await refused(error("bad_data", '1:2: parse error: unknown function "up"', 400), scheme)
    assert isinstance(problem, CallerError)
    assert str(problem).splitlines() == [
        'far refuses the query: parse error: unknown function "up", at line 1, column 2:',
        "  up",
        "   ^",
    ]


async def test_credentials_are_sent_and_never_shown(scheme: str) -> None:
    heard: list[str] = []

    def echo(handler: object) -> None:
        said = handler.headers["authorization"]  # type: ignore[attr-defined]  # a request handler
        heard.append(said)
        error("internal", f"I do not like {said} nor hunter2-password", 500)(handler)  # type: ignore[arg-type]  # as above

    problem = await refused(echo, scheme, QUANTUM_METRICS_FAR_TOKEN="s3cr3t-token")
    assert set(heard) == {"Bearer s3cr3t-token"}
    assert "s3cr3t" not in str(problem)
    assert "I do not like Bearer ***" in str(problem)

    heard.clear()
    named = {"QUANTUM_METRICS_FAR_USER": "ann", "QUANTUM_METRICS_FAR_PASSWORD": "hunter2-password"}
    problem = await refused(echo, scheme, **named)
    assert heard[0].startswith("Basic ")
    assert "hunter2" not in str(problem)
    assert heard[0].removeprefix("Basic ") not in str(problem)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-600, "10 min behind"), (900, "15 min ahead of"), (0, None), (3, None), (-3, None)],
)
async def test_clocks_that_disagree_are_noticed(scheme: str, seconds: float, told: str | None) -> None:
    date = email.utils.formatdate(time.time() + seconds, usegmt=True)
    notes: list[str] = []
    with broken(says(NOTHING, Date=date)) as url:
        async with source_at(scheme + url) as source:
            await source.instant("up", 1_700_000_000, notes)
    assert [note for note in notes if "clock" in note.lower()] == notes
    assert (told is None) == (notes == [])
    assert told is None or f"{told} this machine's" in notes[0]


async def test_what_a_source_warns_of_is_passed_on(scheme: str) -> None:
    body = {
        "warnings": ["results may be incomplete"],
        "infos": ["metric might not be a counter"],
        **json.loads(NOTHING),
    }
    notes: list[str] = []
    with broken(says(json.dumps(body).encode())) as url:
        async with source_at(scheme + url) as source:
            await source.instant("up", 1_700_000_000, notes)
    assert notes == ["far says: results may be incomplete", "far says: metric might not be a counter"]


async def test_native_histograms_are_named(scheme: str) -> None:
    histogram = {"count": "3", "sum": "6", "buckets": []}
    result = [{"metric": {"a": "1"}, "histogram": [1, histogram]}, {"metric": {"a": "2"}, "value": [1, "NaN"]}]
    body = {"status": "success", "data": {"resultType": "vector", "result": result}}
    notes: list[str] = []
    with broken(says(json.dumps(body).encode())) as url:
        async with source_at(scheme + url) as source:
            (series,) = await source.instant("up", 1_700_000_000, notes)
    assert str(series.values[0]) == "nan"
    assert "histogram_quantile" in notes[0]


@pytest.mark.parametrize(
    "body", [b'{"status":"success","data":{"alerts":[{}],"groups":[{}]}}', b'{"status":"success"}']
)
async def test_every_question_says_when_the_answer_has_another_shape(scheme: str, body: bytes) -> None:
    with broken(says(body)) as url:
        async with source_at(scheme + url) as source:
            for ask in (source.rules, source.alerts, source.targets):
                with pytest.raises(EngineError, match="without"):
                    await ask()
            with pytest.raises(EngineError, match="without"):
                await source.series(["up"], WINDOW, 10)


async def test_a_source_that_only_answers_queries_is_used_as_such() -> None:
    def answer(handler: object) -> None:
        path = handler.path  # type: ignore[attr-defined]  # a request handler
        known = path.startswith("/api/v1/query")
        (says(NOTHING) if known else says(b"404 page not found", 404))(handler)  # type: ignore[arg-type]  # as above

    with broken(answer) as url:
        async with source_at(url) as source:
            assert await source.targets() == []
            status = await source.status()
            assert (status.product, status.version, status.series) == ("unknown", None, None)
            assert await source.series_counts() == {}


async def test_a_large_source_is_counted_by_its_own_statistics() -> None:
    asked: list[str] = []
    head = {"numSeries": 5_000_000, "minTime": 9223372036854775807}
    names = [{"name": "http_requests_total", "value": 900_000}]
    body = {"status": "success", "data": {"headStats": head, "seriesCountByMetricName": names}}

    def answer(handler: object) -> None:
        asked.append(handler.path)  # type: ignore[attr-defined]  # a request handler
        says(json.dumps(body).encode())(handler)  # type: ignore[arg-type]  # as above

    with broken(answer) as url:
        async with source_at(url) as source:
            assert await source.series_counts() == {"http_requests_total": 900_000}
            assert (await source.status()).oldest is None
    assert not [path for path in asked if "query" in path]


async def test_a_silence_is_not_made_twice_where_nobody_knows_whether_it_was_made() -> None:
    asked: list[str] = []

    def hang_up(handler: object) -> None:
        asked.append("asked")
        handler.connection.close()  # type: ignore[attr-defined]  # a request handler

    now = datetime.now(UTC)
    with broken(hang_up) as url:
        async with open_metrics(None, f"main={url}", environ={}, limits=SMALL) as sources:
            with pytest.raises(EngineError, match="not known"):
                await sources.alert_manager().create_silence(
                    [Matcher("job", "shop")], now, now + timedelta(hours=1), "ann", "Being mended."
                )
    assert asked == ["asked"]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"<html>", 200, "did not answer in JSON"),
        (b"{}", 200, "without"),
        (b"[{}]", 200, "without"),
        (b'"no"', 500, "answered 500"),
        (b"", 401, "QUANTUM_ALERTMANAGER_MAIN_TOKEN"),
    ],
)
async def test_what_is_no_answer_of_an_alertmanager_is_named(body: bytes, status: int, told: str) -> None:
    with broken(says(body, status)) as url:
        async with open_metrics(None, f"main={url}", environ={}, limits=SMALL) as sources:
            with pytest.raises(SuiteError, match=told):
                await sources.alert_manager().silences()
