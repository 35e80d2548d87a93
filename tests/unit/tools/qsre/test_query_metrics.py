"""Answers to queries, over series that are known."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from quantum_suite.core.errors import CallerError
from quantum_suite.core.principals import LOCAL
from quantum_suite.resources.qsre.queries import data_uri
from quantum_suite.services.capacity.memory import MemoryCapacity
from quantum_suite.services.metrics import plotting, promql
from quantum_suite.services.metrics.interface import MetricMetadata, Series, Target
from quantum_suite.services.metrics.memory import MemorySource
from quantum_suite.services.metrics.result_store import ResultStore
from quantum_suite.services.metrics.sources import MetricSources
from quantum_suite.tools.qsre.query_metrics import SHOWN, MetricQuerier, MetricQuestion, MetricReply

pytestmark = pytest.mark.anyio

START = 1_700_000_000.0


def line(values: Sequence[float], **labels: str) -> Series:
    return Series({"__name__": "m", **labels}, [START + 60 * index for index in range(len(values))], list(values))


async def ask(
    home: Path,
    held: Sequence[Series],
    query: str = "m",
    known: Mapping[str, MetricMetadata] | None = None,
    source: MemorySource | None = None,
    plot: bool = False,
) -> MetricReply:
    sources = MetricSources({"x": source or MemorySource("x", held, known or {})})
    querier = MetricQuerier(sources, ResultStore(home / "queries"), MemoryCapacity(1), home / "cache", data_uri)
    window = (f"{START:.0f}", f"{START + 60 * 59:.0f}")
    return await querier.ask(MetricQuestion(query, None, *window, None, "60", plot), LOCAL)


async def test_the_largest_series_are_told_and_the_others_kept(tmp_path: Path) -> None:
    held = [line([float(number)] * 60, n=str(number)) for number in range(30)]
    answer = (await ask(tmp_path, held)).answer
    assert answer.series == 30
    assert len(answer.rows) == SHOWN
    assert [row.series for row in answer.rows[:2]] == ['{n="29"}', '{n="28"}']
    assert answer.points == 1800


async def test_a_series_without_a_number_comes_last_and_has_none(tmp_path: Path) -> None:
    held = [line([math.nan] * 60, n="nan"), line([-5.0] * 60, n="low")]
    answer = (await ask(tmp_path, held)).answer
    assert [row.series for row in answer.rows] == ['{n="low"}', '{n="nan"}']
    assert answer.rows[1].mean is None
    assert answer.rows[1].remarks == ("60 points are NaN or infinite",)
    answer.model_dump_json()


async def test_a_series_that_ended_is_told_to_have_ended(tmp_path: Path) -> None:
    answer = (await ask(tmp_path, [line([1.0] * 30)])).answer
    # The last point is good for five minutes in which nothing new comes.
    assert answer.rows[0].remarks == ("ends 26m before the window",)


async def test_a_fall_is_a_restart_where_the_exporter_says_counter(tmp_path: Path) -> None:
    values = [float(index % 20) for index in range(60)]
    counter = (await ask(tmp_path, [line(values)], known={"m": MetricMetadata("counter")})).answer
    gauge = (await ask(tmp_path, [line(values)], known={"m": MetricMetadata("gauge")})).answer
    assert counter.rows[0].remarks == ("2 restarts of the counter",)
    assert gauge.rows[0].remarks == ()


async def test_without_matplotlib_the_answer_comes_without_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plotting, "find_spec", lambda _: None)
    reply = await ask(tmp_path, [line([1.0] * 60)], plot=True)
    assert reply.picture is None
    assert not reply.answer.plotted
    assert any("pip install" in note for note in reply.answer.notes)
    assert reply.answer.rows[0].mean == 1


async def test_of_many_series_the_picture_says_how_many_it_shows(tmp_path: Path) -> None:
    held = [line([float(number)] * 3, n=str(number)) for number in range(12)]
    reply = await ask(tmp_path, held, plot=True)
    assert reply.picture is not None
    assert "The picture shows 10 of 12 series, those with the largest means." in reply.answer.notes


async def test_without_the_parser_the_answer_says_that_nothing_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(slots=True)
    class Unchecked(MemorySource):
        async def range(self, query: str, window: object, notes: list[str] | None = None) -> list[Series]:  # type: ignore[override]  # takes any window
            promql.check_query(query, notes)
            return list(self.held)

    monkeypatch.setattr(promql, "find_spec", lambda _: None)
    answer = (await ask(tmp_path, [], "sum(m", source=Unchecked("x", [line([1.0])]))).answer
    assert any("not checked" in note for note in answer.notes)
    assert answer.series == 1


async def test_a_range_shorter_than_two_scrapes_is_advised_on_by_the_targets_interval(tmp_path: Path) -> None:
    @dataclass(slots=True)
    class Rates(MemorySource):
        async def range(self, query: str, window: object, notes: list[str] | None = None) -> list[Series]:  # type: ignore[override]  # takes any window
            return []

    source = Rates("x", scraped=[Target("a", "1", True, "", time.time(), 30)])
    answer = (await ask(tmp_path, [], 'rate(m_total{job="a"}[45s])', source=source)).answer
    assert any("scraped every 30 s" in advice for advice in answer.advice)


async def test_a_secret_in_a_label_is_masked(tmp_path: Path) -> None:
    token = "ghp_" + "c" * 36
    answer = (await ask(tmp_path, [line([1.0] * 3, key=token), line([2.0] * 3, key=f"x{token}")])).answer
    assert token not in answer.model_dump_json()


async def test_a_query_that_is_wrong_asks_nobody(tmp_path: Path) -> None:
    with pytest.raises(CallerError, match="Unclosed"):
        await ask(tmp_path, [], "sum(m")
