"""Following the log, whatever store it lies in."""

import logging

import anyio
import pytest
from reference.counting import Cleared, counted, registry

from quantum_suite.core.errors import Unavailable
from quantum_suite.core.events import Event, EventFilter, NewEvent, Position
from quantum_suite.services.events.memory import MemoryEventStore
from quantum_suite.services.events.news import News
from quantum_suite.services.events.subscription import Page, following

pytestmark = pytest.mark.anyio


async def some_events(number: int) -> list[Event]:
    return await MemoryEventStore(registry()).append("tests.counter/one", 0, counted(*range(number)))


async def test_an_absent_store_is_waited_for_with_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    events = await some_events(1)
    answers = [Unavailable("Away."), Unavailable("Away."), Unavailable("Still away."), Page(events, Position("1"))]

    async def look(after: Position | None, where: EventFilter | None) -> Page:
        answer = answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    with caplog.at_level(logging.INFO), anyio.fail_after(25):
        async with following(look, News(), None, None, 0.001) as batches:
            assert await anext(batches) == events
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_what_is_looked_through_in_vain_is_not_looked_at_again() -> None:
    events, looked = await some_events(1), []
    answers = [
        Page([], Position("50"), more=True),
        Page([], Position("90"), pending=True),
        Page([], Position("90")),
        Page(events, Position("120")),
    ]

    async def look(after: Position | None, where: EventFilter | None) -> Page:
        looked.append(after)
        return answers.pop(0)

    with anyio.fail_after(25):
        async with following(look, News(), Position("7"), None, 0.001) as batches:
            assert await anext(batches) == events
    assert looked == ["7", "50", "90", "90"]


async def test_news_that_comes_while_one_looks_is_not_missed() -> None:
    news, events, looks = News(), await some_events(1), 0

    async def look(after: Position | None, where: EventFilter | None) -> Page:
        nonlocal looks
        looks += 1
        if looks == 1:
            news.wake()
            return Page([], None)
        return Page(events, Position("1"))

    with anyio.fail_after(25):
        async with following(look, news, None, None, 3600) as batches:
            assert await anext(batches) == events


def test_waking_those_whose_loop_is_closed_does_no_harm() -> None:
    news = News()
    listening = news.listen()

    async def begin() -> None:
        listening.__enter__()

    anyio.run(begin)
    news.wake()
    listening.__exit__(None, None, None)
    news.wake()


async def test_errors_other_than_absence_reach_the_subscriber() -> None:
    store = MemoryEventStore(registry())
    await store.append("tests.counter/one", 0, [NewEvent(Cleared())])
    store._rows[0] = (*store._rows[0][:7], b"{", b"")
    async with store.subscribe() as batches:
        with pytest.raises(Exception, match="not what was written"):
            await anext(batches)
