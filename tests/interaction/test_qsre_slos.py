"""SLOs over MCP, through the real hub, over a real Prometheus with a real Alertmanager behind it."""

import base64
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from mcp import MCPError
from mcp.types import ImageContent, TextContent
from reference.answers import text_of, told
from reference.prometheus import Watched, until, watched_shop
from reference.qsre import call, connected

from quantum_suite.services.metrics.opening import open_metrics

pytestmark = pytest.mark.anyio

TOTAL = "sum(rate(shop_requests_total[{{.window}}]))"
BAD = '(sum(rate(shop_requests_total{code="500"}[{{.window}}])) or vector(0))'
# An hour whose alerts look at seconds: the same rules, fast enough for a test.
FAST = """\
apiVersion: sloth.slok.dev/v1
kind: AlertWindows
spec:
  sloPeriod: 1h
  page:
    quick: {errorBudgetPercent: 2, shortWindow: 3s, longWindow: 5s}
    slow: {errorBudgetPercent: 5, shortWindow: 10s, longWindow: 30s}
  ticket:
    quick: {errorBudgetPercent: 5, shortWindow: 20s, longWindow: 1m}
    slow: {errorBudgetPercent: 5, shortWindow: 30s, longWindow: 2m}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: availability}
spec:
  service: shop
  description: Requests are answered.
  timeWindow: [{duration: 1h, isRolling: true}]
  indicator:
    metadata: {name: availability}
    spec:
      ratioMetric:
        bad: {metricSource: {type: Prometheus, spec: {query: 'BAD'}}}
        total: {metricSource: {type: Prometheus, spec: {query: 'TOTAL'}}}
  objectives: [{target: 0.99}]
""".replace("BAD", BAD).replace("TOTAL", TOTAL)


@contextmanager
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Listen where Alertmanager can send; what it sent is in the list."""
    received: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the parent's
            """Say nothing of single requests."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", received
    finally:
        server.shutdown()
        server.server_close()


def paged(received: list[dict[str, Any]]) -> dict[str, Any] | None:
    alerts = [alert for message in received for alert in message["alerts"] if alert["status"] == "firing"]
    return next((alert for alert in alerts if alert["labels"]["sloth_severity"] == "page"), None)


def awaited_page(received: list[dict[str, Any]], watched: Watched) -> dict[str, Any]:
    """Wait for it, and say how far the alert came where it does not come."""

    def seen() -> object:
        return {
            "received": received,
            "alertmanager": watched.alertmanager.alerts(),
            "prometheus": watched.prometheus.ask("alerts"),
            "rules": watched.prometheus.ask("rules"),
        }

    return until(lambda: paged(received), "a page at the webhook", 120, seen)


async def test_a_real_burn_pages_and_the_page_is_explained(tmp_path: Path) -> None:
    with webhook() as (url, received), watched_shop(tmp_path / "watch", url) as watched:
        async with (
            open_metrics(f"live={watched.prometheus.url}", None, environ={}) as sources,
            connected(tmp_path / "home", sources) as client,
        ):
            dry = told(await call(client, "define_slo", document=FAST, path="slos/shop.yaml"))
            assert (dry["written"], dry["digest"], dry["promtool"]) == (False, None, "accepted")
            assert not (tmp_path / "home/slos").exists()
            assert "+++ shop.rules.yaml" in dry["diff"]
            written = told(await call(client, "define_slo", document=FAST, path="slos/shop.yaml", dry_run=False))
            assert written["written"]
            (row,) = written["slos"]
            assert row["measured_percent"] == 100
            assert row["events"] > 20
            rules = (tmp_path / "home/slos/shop.rules.yaml").read_text()
            watched.prometheus.write_rules("slo", rules)
            await anyio.to_thread.run_sync(watched.prometheus.reload)
            await anyio.to_thread.run_sync(watched.prometheus.wait_until, "slo:sli_error:ratio_rate5s == 0")

            (calm,) = told(await call(client, "slo_status"))["slos"]
            assert (calm["slo"], calm["state"], calm["alerts"]) == ("shop-availability", "ok", [])
            assert calm["budget_left_percent"] == pytest.approx(100)
            quiet = told(await call(client, "explain_alert", alert="ShopAvailabilityBudgetBurn"))
            assert (quiet["state"], quiet["since"]) == ("inactive", None)
            assert "No pair of its windows holds now." in quiet["explanation"]

            onset = time.time()
            watched.shop.behave(error_ratio=0.5)
            page = await anyio.to_thread.run_sync(awaited_page, received, watched)
            assert page["labels"]["alertname"] == "ShopAvailabilityBudgetBurn"
            assert page["labels"]["sloth_id"] == "shop-availability"
            assert datetime.fromisoformat(page["startsAt"]).timestamp() > onset

            labels = {"sloth_id": page["labels"]["sloth_id"], "sloth_severity": "page"}
            result = await call(client, "explain_alert", alert=page["labels"]["alertname"], labels=labels)
            found = told(result)
            assert (found["state"], found["slo"]) == ("firing", "shop-availability")
            assert found["since"] is not None
            (holding, *_) = [pair for pair in found["pairs"] if pair["holds"]]
            assert {pair["severity"] for pair in found["pairs"]} == {"page"}
            assert found["burn_rate"] > holding["threshold"]
            assert "times as fast as it may (page)" in found["explanation"]
            assert found["look_at"][-1] == 'error_budget(slo="shop-availability")'

            (burning,) = told(await call(client, "slo_status"))["slos"]
            assert burning["state"] in ("burning", "exhausted")
            assert any(alert.startswith("page") for alert in burning["alerts"])

            result = await call(client, "error_budget", slo="shop-availability")
            budget = told(result)
            assert budget["bad"] > 0
            assert budget["events"] > budget["bad"]
            assert budget["forecast"]["outlook"] in ("exhausted", "not enough data")
            (picture,) = [block for block in result.content if isinstance(block, ImageContent)]
            assert base64.b64decode(picture.data).startswith(b"\x89PNG")


NO_BUDGET = """\
version: prometheus/v1
service: shop
slos:
  - name: perfect
    objective: 100
    sli: {events: {error_query: 'BAD', total_query: 'TOTAL'}}
    alerting: {name: ShopIsNotPerfect}
""".replace("BAD", BAD).replace("TOTAL", TOTAL)
FIELDS = {"service": "shop", "name": "requests", "objective": 99.5, "bad_query": BAD, "total_query": TOTAL}


async def test_an_slo_of_fields_is_shown_written_and_replaced_only_when_seen(
    tmp_path: Path, watched: Watched
) -> None:
    home = tmp_path / "home"
    async with (
        open_metrics(watched.prometheus.url, None, environ={}) as sources,
        connected(home, sources) as client,
    ):
        result = await call(client, "define_slo", **FIELDS)
        dry = told(result)
        assert dry["path"] == str(home / "slos/requests.yaml")
        assert "To write it, call again with dry_run=false." in text_of(result)
        assert not (home / "slos").exists()
        written = told(await call(client, "define_slo", **FIELDS, dry_run=False))
        assert (home / "slos/requests.yaml").read_text().startswith("apiVersion: openslo/v1\n")
        assert written["digest"] is not None
        assert written["slos"][0]["alerts"][0] == "page: 14.4x over 1h and 5m"

        (home / "slos/requests.yaml").write_text("# mine\n" + (home / "slos/requests.yaml").read_text())
        changed = {**FIELDS, "objective": 99}
        unseen = await call(client, "define_slo", **changed, dry_run=False)
        assert unseen.is_error
        assert "expected: requests.yaml or its rules are there already" in text_of(unseen)
        old = await call(client, "define_slo", **changed, dry_run=False, expected=written["digest"])
        assert "which is not what you have seen" in text_of(old)
        seen = told(await call(client, "define_slo", **changed))
        assert "-# mine" in seen["diff"]
        assert "+    - targetPercent: 99\n" in seen["diff"]
        told(await call(client, "define_slo", **changed, dry_run=False, expected=seen["digest"]))
        again = told(await call(client, "define_slo", path="slos/requests.yaml"))
        assert again["diff"] == ""


async def test_what_is_odd_about_an_slo_is_said_before_it_is_written(tmp_path: Path, watched: Watched) -> None:
    async with (
        open_metrics(f"live={watched.prometheus.url}", None, environ={}) as sources,
        connected(tmp_path / "home", sources) as client,
    ):
        low = told(await call(client, "define_slo", **{**FIELDS, "objective": 80}))
        assert any("can never fire" in note and "page quick (288 %)" in note for note in low["notes"])
        gaps = "end the bad query in 'or vector(0)'"
        assert not any(gaps in note for note in told(await call(client, "define_slo", **FIELDS))["notes"])
        bare = {**FIELDS, "bad_query": 'sum(rate(shop_requests_total{code="500"}[{{.window}}]))'}
        assert any(gaps in note for note in told(await call(client, "define_slo", **bare))["notes"])
        absent = {**FIELDS, "total_query": "sum(rate(nothing_total[{{.window}}]))"}
        nothing = told(await call(client, "define_slo", **absent))
        assert nothing["slos"][0]["measured_percent"] is None
        assert any("live has no data for it in the last 1h" in note for note in nothing["notes"])
        whole = told(await call(client, "define_slo", document=NO_BUDGET))
        assert any("100 % leaves no budget" in note for note in whole["notes"])


WRONG_CALLS: list[tuple[dict[str, Any], str]] = [
    ({}, "document: There is nothing to define."),
    ({**FIELDS, "document": "a"}, "document: document and fields say the same thing twice."),
    ({"service": "shop"}, "name: An SLO needs service, name and objective."),
    ({**FIELDS, "bad_query": None}, "bad_query: An indicator is total_query with bad_query or good_query"),
    ({**FIELDS, "objective": 101}, "targetPercent: 101 is no target."),
    ({**FIELDS, "period": "a month"}, "'a month' is no duration."),
    ({**FIELDS, "bad_query": "sum(rate(a[{{.window}}])"}, "This is no PromQL: Unclosed left parenthesis"),
    ({**FIELDS, "path": "../slos/a.yaml"}, "path: The path leads upwards"),
    ({**FIELDS, "path": "/etc/a.yaml"}, "is outside the granted workspaces"),
    ({**FIELDS, "source": "dead"}, "source: There is no source of metrics named 'dead'."),
    ({"document": "a: &a [*a]"}, "document: document:1: a[0]: The alias *a stands for nothing above it."),
    ({"document": "x"}, "document: document:1: This is no form of SLOs that is known."),
    ({"path": "slos/none.yaml"}, "does not exist"),
]


async def test_a_wrong_call_is_told_what_would_be_right(tmp_path: Path, watched: Watched) -> None:
    async with (
        open_metrics(watched.prometheus.url, None, environ={}) as sources,
        connected(tmp_path / "home", sources) as client,
    ):
        for arguments, said in WRONG_CALLS:
            result = await call(client, "define_slo", **arguments, dry_run=False)
            assert result.is_error, arguments
            assert said in text_of(result)
        assert not (tmp_path / "home/slos").exists()


async def test_unknown_slos_and_alerts_are_told_what_there_is(tmp_path: Path, watched: Watched) -> None:
    home = tmp_path / "home"
    async with (
        open_metrics(watched.prometheus.url, None, environ={}) as sources,
        connected(home, sources) as client,
    ):
        assert "There are no SLOs here." in text_of(await call(client, "slo_status"))
        told(await call(client, "define_slo", **FIELDS, dry_run=False))
        (home / "slos/broken.yaml").write_text("slos: [")
        status = told(await call(client, "slo_status"))
        assert [row["slo"] for row in status["slos"]] == ["shop-requests"]
        assert status["problems"][0].startswith("slos/broken.yaml:1: This is no YAML")
        unknown = await call(client, "error_budget", slo="cart")
        assert "slo: There is no SLO named 'cart'. There is: shop-requests." in text_of(unknown)
        alert = await call(client, "explain_alert", alert="ShopIsWatched")
        assert "alert: No SLO has an alert named 'ShopIsWatched'. There is: ShopRequestsBudgetBurn." in text_of(
            alert
        )
        budget = told(await call(client, "error_budget", slo="requests", plot=False))
        assert (budget["forecast"]["outlook"], budget["plotted"]) == ("not enough data", False)
        assert any("% of the period so far has data" in note for note in budget["notes"])


async def test_without_a_source_an_slo_is_defined_and_only_measuring_is_refused(tmp_path: Path) -> None:
    async with connected(tmp_path / "home", None) as client:
        defined = told(await call(client, "define_slo", **FIELDS, dry_run=False))
        assert defined["written"]
        assert any("was not checked" in note and "QUANTUM_METRICS" in note for note in defined["notes"])
        for tool, arguments in (
            ("slo_status", {}),
            ("error_budget", {"slo": "requests"}),
            ("explain_alert", {"alert": "ShopRequestsBudgetBurn"}),
        ):
            result = await call(client, tool, **arguments)
            assert result.is_error
            assert "QUANTUM_METRICS" in text_of(result)
        with pytest.raises(MCPError, match="QUANTUM_METRICS"):
            await client.get_prompt("watch_define_slos", {"service": "shop"})


async def test_defining_begins_with_a_prompt_that_names_service_and_source(
    tmp_path: Path, watched: Watched
) -> None:
    async with (
        open_metrics(f"live={watched.prometheus.url}", None, environ={}) as sources,
        connected(tmp_path / "home", sources) as client,
    ):
        prompt = await client.get_prompt("watch_define_slos", {"service": "the shop"})
        content = prompt.messages[0].content
        assert isinstance(content, TextContent)
        assert "for the service the shop, on the source of metrics live." in content.text
