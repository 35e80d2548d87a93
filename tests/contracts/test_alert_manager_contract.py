"""What every alert manager does."""

import json
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from reference.backends import running
from reference.prometheus import Alertmanager, until

from quantum_suite.core.errors import CallerError, NotFound
from quantum_suite.services.metrics.interface import AlertManager, Matcher, ReceivedAlert
from quantum_suite.services.metrics.memory_alerts import MemoryAlertManager
from quantum_suite.services.metrics.opening import open_metrics

pytestmark = pytest.mark.anyio

LABELS = {"alertname": "Errors", "job": "shop", "severity": "page"}
HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "alertmanager"])
async def manager(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AlertManager]:
    """One that holds a single alert."""
    now = datetime.now(UTC)
    if request.param == "memory":
        alert = ReceivedAlert("f00", LABELS, {"summary": "Many."}, "active", now, now + HOUR, ("on-call",))
        yield MemoryAlertManager("main", [alert])
        return
    server = Alertmanager(tmp_path / "alertmanager")
    with running(server):
        alerts = [{"labels": LABELS, "annotations": {"summary": "Many."}, "startsAt": now.isoformat()}]
        post(f"{server.url}/api/v2/alerts", alerts)
        until(lambda: get(f"{server.url}/api/v2/alerts?active=true"), "the alert")
        async with open_metrics(None, f"main={server.url}", environ={}) as sources:
            yield sources.alert_manager()


def post(url: str, body: object) -> None:
    request = urllib.request.Request(
        url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    urllib.request.urlopen(request, timeout=5).close()


def get(url: str) -> object:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return json.load(reply)


async def test_alerts_are_found_by_matchers(manager: AlertManager) -> None:
    (alert,) = await manager.alerts()
    assert alert.labels == LABELS
    assert alert.annotations == {"summary": "Many."}
    assert alert.receivers == ("on-call",)
    assert alert.starts_at.tzinfo is not None
    assert len(await manager.alerts(['severity="page"', 'job=~"sh.*"'])) == 1
    assert await manager.alerts(['severity="page"', 'job!="shop"']) == []


async def test_a_matcher_that_is_none_is_refused(manager: AlertManager) -> None:
    with pytest.raises(CallerError) as caught:
        await manager.alerts(["page"])
    assert caught.value.argument == "matchers"


async def test_a_silence_holds_until_it_is_ended(manager: AlertManager) -> None:
    now = datetime.now(UTC)
    name = await manager.create_silence([Matcher("job", "shop")], now, now + HOUR, "ann", "Being mended.")
    (silence,) = await manager.silences()
    assert (silence.id, silence.state, silence.created_by) == (name, "active", "ann")
    assert [str(matcher) for matcher in silence.matchers] == ['job="shop"']
    await settled(manager, "suppressed")
    (alert,) = await manager.alerts()
    assert alert.silenced_by == (name,)

    await manager.expire_silence(name)
    await manager.expire_silence(name)
    assert [one.state for one in await manager.silences()] == ["expired"]
    await settled(manager, "active")


async def settled(manager: AlertManager, state: str) -> None:
    for _ in range(200):
        if [alert.state for alert in await manager.alerts()] == [state]:
            return
    pytest.fail(f"the alert is not {state}")


async def test_a_silence_that_fits_nothing_leaves_alerts_alone(manager: AlertManager) -> None:
    now = datetime.now(UTC)
    await manager.create_silence([Matcher("job", "shop", is_equal=False)], now, now + HOUR, "ann", "Others.")
    assert [alert.state for alert in await manager.alerts()] == ["active"]


@pytest.mark.parametrize(
    ("matchers", "hours", "argument"),
    [
        ([], 1, "matchers"),
        ([Matcher("job", ".*", is_regex=True)], 1, "matchers"),
        ([Matcher("job", "shop")], 0, "ends_at"),
        ([Matcher("job", "shop")], -1, "ends_at"),
    ],
)
async def test_a_silence_of_everything_or_of_no_time_is_refused(
    manager: AlertManager, matchers: list[Matcher], hours: int, argument: str
) -> None:
    now = datetime.now(UTC)
    with pytest.raises(CallerError) as caught:
        await manager.create_silence(matchers, now, now + hours * HOUR, "ann", "No.")
    assert caught.value.argument == argument
    assert await manager.silences() == []


async def test_a_silence_needs_to_know_the_zone(manager: AlertManager) -> None:
    with pytest.raises(CallerError, match="time zone"):
        await manager.create_silence([Matcher("a", "b")], datetime(2026, 1, 1), datetime(2027, 1, 1), "ann", "")


@pytest.mark.parametrize("name", ["f0c11d7e-0000-4000-8000-000000000000", "no id", "../status"])
async def test_a_silence_that_is_not_there_cannot_be_ended(manager: AlertManager, name: str) -> None:
    with pytest.raises(NotFound) as caught:
        await manager.expire_silence(name)
    assert caught.value.argument == "silence"


async def test_it_says_who_is_told_and_what_it_is(manager: AlertManager) -> None:
    assert await manager.receivers() == ["on-call"]
    status = await manager.status()
    assert (status.cluster, status.peers) == ("disabled", 0)
    assert status.version
