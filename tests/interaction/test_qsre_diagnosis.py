"""Diagnoses through the real hub, over a real Prometheus with a past in which one service broke."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from reference.answers import text_of, told
from reference.backends import running
from reference.hub import running_hub
from reference.prometheus import Prometheus

pytestmark = pytest.mark.anyio

STEP, BEFORE, SINCE = 60, 120, 15
LEVELS = {"front": 0.2, "cart": 0.08, "search": 0.05, "store": 0.01}
SYSTEM = """
signals:
  - {kind: latency, node: service, query: shop_latency_seconds}
  - {kind: traffic, node: service, query: shop_requests}
edges: [[front, cart], [front, search], [cart, store], [search, store]]
changes: [{at: %s, what: release 41 of cart, service: cart}]
"""


@pytest.fixture(scope="module")
def broken_cart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, float]]:
    """A Prometheus that remembers how cart, and with it front, became slow; and when."""
    onset = float(int(time.time()) // 60 * 60 - 2 * 3600)
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"))
    prometheus.backfill(past(onset))
    with running(prometheus):
        yield prometheus, onset


def past(onset: float) -> str:
    chance = random.Random(5)
    lines = ["# TYPE shop_latency_seconds gauge"]
    for service, level in LEVELS.items():
        for number in range(-BEFORE, SINCE):
            extra = 0.15 if number >= 0 and service in ("front", "cart") else 0.0
            value = level * chance.uniform(0.9, 1.1) + extra
            lines.append(f'shop_latency_seconds{{service="{service}"}} {value} {onset + number * STEP}')
    lines.append("# TYPE shop_requests gauge")
    for service in LEVELS:
        for number in range(-BEFORE, SINCE):
            value = 100 * chance.uniform(0.9, 1.1)
            lines.append(f'shop_requests{{service="{service}"}} {value} {onset + number * STEP}')
    return "\n".join([*lines, "# EOF", ""])


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    return told(await client.call_tool(f"qsre_{tool}", arguments))


async def test_an_incident_is_diagnosed_from_a_system_file_of_the_workspace(
    tmp_path: Path, broken_cart: tuple[Prometheus, float]
) -> None:
    prometheus, onset = broken_cart
    (tmp_path / "system.yaml").write_text(SYSTEM % (onset - 180))
    (tmp_path / "away.yaml").write_text("signals: [{kind: errors, node: service, query: shop_errors}]")
    settings: dict[str, Any] = {"metrics": f"live={prometheus.url}", "workspaces": (tmp_path,)}
    home = tmp_path / "home"
    home.mkdir()
    async with running_hub(home, {}, modules=True, **settings) as hub, Client(hub.url) as client:
        opened = await call(
            client, "manage_incident", action="open", text="Slow", service="front", began_at=str(onset)
        )
        asked = {"incident": opened["incident"], "baseline": "100m", "step": "60s"}
        found = await call(client, "diagnose_incident", **asked, system="system.yaml")
        assert (found["verdict"], found["service"], found["kind"]) == ("suspects", "front", "latency")
        first = found["suspects"][0]
        assert first["node"] == "cart"
        assert first["confidence"] >= 0.5
        assert any("release 41 of cart" in words for words in first["evidence"])
        assert any("front -> cart" in words for words in first["evidence"])
        assert found["changes"][0]["what"] == "release 41 of cart"
        assert found["signals"] == 8

        signals = [{"kind": "latency", "query": "shop_latency_seconds", "node": "service"}]
        calm = await call(
            client,
            "diagnose_incident",
            service="front",
            onset=str(onset - 2400),
            baseline="60m",
            step="60s",
            signals=signals,
        )
        assert calm["verdict"] == "not enough data"

        nothing = await call(client, "diagnose_incident", **asked, system="away.yaml")
        assert nothing["verdict"] == "not enough data"
        assert any("nothing was measured" in note for note in nothing["notes"])
        assert any("causes cannot be told from consequences" in note for note in nothing["notes"])

        for arguments, said in (
            ({**asked}, "signals: It is not known how the system is measured."),
            ({**asked, "system": "gone.yaml"}, "system: 'gone.yaml' does not exist"),
            ({**asked, "system": "/etc/passwd"}, "outside the granted workspaces"),
            ({"onset": str(onset), "signals": signals}, "service: What complains is not known."),
            ({"service": "front", "signals": signals}, "onset: It is not known when it began."),
            ({**asked, "signals": [{**signals[0], "query": "rate("}]}, "query"),
            ({**asked, "signals": signals, "step": "1s", "baseline": "7d"}, "step"),
            ({"service": "front", "onset": "2999-01-01T00:00:00Z", "signals": signals}, "onset: "),
        ):
            wrong = await client.call_tool("qsre_diagnose_incident", arguments)
            assert wrong.is_error, arguments
            assert said in text_of(wrong), text_of(wrong)
