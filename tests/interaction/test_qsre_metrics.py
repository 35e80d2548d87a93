"""QSRE's metrics over MCP, through the real hub, over a real Prometheus."""

import base64
import csv
import io
import json
from pathlib import Path

import pytest
from mcp import Client, MCPError
from mcp.types import ImageContent, ResourceLink, TextContent
from reference.answers import read, text_of, told
from reference.hub import running_hub
from reference.prometheus import Watched
from reference.qsre import call, connected

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.services.metrics.opening import open_metrics

pytestmark = pytest.mark.anyio


async def test_a_query_is_answered_in_words_numbers_a_picture_and_pages(tmp_path: Path, watched: Watched) -> None:
    past = watched.past
    window = {"start": str(past.start), "end": str(past.times[-1]), "step": "60"}
    async with (
        open_metrics(f"live={watched.prometheus.url}", None, environ={}) as sources,
        connected(tmp_path / "home", sources) as client,
    ):
        result = await call(client, "query_metrics", query="past_orders_total", **window)
        answer = told(result)
        assert (answer["source"], answer["kind"], answer["series"], answer["points"]) == ("live", "window", 2, 240)
        assert answer["shared_labels"] == {"__name__": "past_orders_total", "job": "past"}
        first, second = answer["rows"]
        assert (first["series"], first["minimum"], first["mean"], first["maximum"]) == (
            '{instance="b:1"}',
            0,
            119,
            238,
        )
        assert (first["trend"], first["remarks"]) == ("rising", [])
        assert second["remarks"] == ["1 restart of the counter"]
        assert any("is a counter" in advice for advice in answer["advice"])
        assert "2 series, 240 points from live" in text_of(result)
        assert '| {instance="b:1"} | 0 | 119 | 238 | 238 | rising (+180) |' in text_of(result)

        (picture,) = [block for block in result.content if isinstance(block, ImageContent)]
        assert picture.mime_type == "image/png"
        assert base64.b64decode(picture.data).startswith(b"\x89PNG")

        as_json, as_csv = [block.uri for block in result.content if isinstance(block, ResourceLink)]
        page = json.loads(await read(client, as_json))
        assert (page["page"], page["pages"]) == (1, 1)
        assert page["series"][0]["points"][:2] == [[past.start, 0.0], [past.start + 60, 2.0]]
        rows = list(csv.DictReader(io.StringIO(await read(client, as_csv))))
        assert len(rows) == 240
        assert rows[1]["value"] == "2.0"
        assert rows[1]["instance"] == "b:1"

        listed = json.loads(await read(client, "quantum://qsre/queries/latest"))
        assert listed["queries"][0]["query"] == "past_orders_total"
        assert listed["queries"][0]["data"]["json"] == as_json
        with pytest.raises(MCPError):
            await read(client, f"{as_json}-2")


async def test_long_data_comes_in_pages_that_hold_every_point_once(tmp_path: Path, watched: Watched) -> None:
    past = watched.past
    async with (
        open_metrics(watched.prometheus.url, None, environ={}) as sources,
        connected(tmp_path / "home", sources) as client,
    ):
        asked = {"start": str(past.start), "end": str(past.start + 7000), "step": "1", "plot": False}
        answer = told(await call(client, "query_metrics", query="past_orders_total", **asked))
        assert answer["points"] == 14_002
        assert answer["pages"] == 4
        assert not answer["plotted"]
        pages = [answer["data_json"], *(f"{answer['data_json']}-{number}" for number in (2, 3, 4))]
        times: dict[str, list[float]] = {}
        for uri in pages:
            for series in json.loads(await read(client, uri))["series"]:
                times.setdefault(series["labels"]["instance"], []).extend(at for at, _ in series["points"])
        assert all(found == [float(past.start + second) for second in range(7001)] for found in times.values())


async def test_the_sources_of_the_settings_are_the_servers_sources(tmp_path: Path, watched: Watched) -> None:
    servers = {"qsre": {"command": "quantum", "args": ["serve", "qsre", "--stdio"]}}
    settings = {"metrics": f"live={watched.prometheus.url}", "alertmanager": watched.alertmanager.url}
    async with running_hub(tmp_path, servers, modules=True, **settings) as hub, Client(hub.url) as client:
        found = told(await client.call_tool("qsre_explore_metrics", {"about": "queue"}))
        assert (found["sources"], found["silences"]) == (["live"], 0)
        assert [family["name"] for family in found["families"]] == ["shop_queue_depth"]


async def test_a_setting_that_cannot_be_used_keeps_the_hub_from_starting(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with running_hub(tmp_path, {}, metrics="live=http://ann:secret@prometheus"):
            pass
    assert caught.group_contains(ConfigurationError, match="QUANTUM_METRICS")


async def test_what_was_measured_is_told_as_it_was_measured(tmp_path: Path, watched: Watched) -> None:
    async with (
        open_metrics(watched.prometheus.url, None, environ={}) as sources,
        connected(tmp_path / "home", sources) as client,
    ):
        end = str(watched.past.times[-1])
        result = await call(client, "query_metrics", query="past_temperature_celsius[2h]", end=end, plot=False)
        answer = told(result)
        assert (answer["kind"], answer["points"]) == ("moment", 90)
        assert "as measured before" in text_of(result)


async def test_a_mistake_in_a_query_is_shown_at_its_place(tmp_path: Path, watched: Watched) -> None:
    async with (
        open_metrics(watched.prometheus.url, None, environ={}) as sources,
        connected(tmp_path / "home", sources) as client,
    ):
        result = await call(client, "query_metrics", query="sum(rate(up[5m])")
        assert result.is_error
        assert text_of(result).splitlines() == [
            "query: Unclosed left parenthesis, at line 1, column 4:",
            "  sum(rate(up[5m])",
            "     ^",
        ]
        refused = await call(client, "query_metrics", query="up", last="30d", step="1s")
        assert refused.is_error
        assert text_of(refused).startswith("step: A step of 1 s gives 2592001 points a series")
        misspelt = await call(client, "query_metrics", query="up", source="life")
        assert text_of(misspelt) == "source: There is no source of metrics named 'life'. There is default."


async def test_what_there_is_is_told_in_words(tmp_path: Path, watched: Watched) -> None:
    async with (
        open_metrics(watched.prometheus.url, f"main={watched.alertmanager.url}", environ={}) as sources,
        connected(tmp_path / "home", sources) as client,
    ):
        everything = told(await call(client, "explore_metrics"))
        assert everything["product"].startswith("Prometheus 2.")
        assert [(job["job"], job["up"], job["down"]) for job in everything["jobs"]] == [("shop", 1, 0)]
        assert everything["silences"] == 0
        assert "shop" in [group["prefix"] for group in everything["groups"]]

        result = await call(client, "explore_metrics", about="how long do requests take")
        found = told(result)
        first = found["families"][0]
        assert first["name"] == "shop_request_duration_seconds"
        assert (first["type"], first["help"]) == ("histogram", "How long requests took.")
        assert "shop_request_duration_seconds_bucket" in first["metrics"]
        (buckets,) = [label for label in first["labels"] if label["name"] == "le"]
        assert buckets["values"] == 7
        assert "How long requests took." in text_of(result)

        nothing = told(await call(client, "explore_metrics", about="zebra"))
        assert nothing["families"] == []
        assert "zebra" in nothing["notes"][0]


async def test_an_empty_answer_says_what_to_look_at(tmp_path: Path, watched: Watched) -> None:
    async with (
        open_metrics(watched.prometheus.url, None, environ={}) as sources,
        connected(tmp_path / "home", sources) as client,
    ):
        unknown = told(await call(client, "query_metrics", query="rate(shop_request_total[1m])"))
        assert (unknown["series"], unknown["data_json"], unknown["plotted"]) == (0, None, False)
        assert "no exporter declares shop_request_total" in unknown["notes"][0]
        known = told(await call(client, "query_metrics", query='rate(shop_requests_total{code="418"}[1m])'))
        assert "check labels and times" in known["notes"][0]


async def test_without_a_source_the_answer_is_how_to_name_one(tmp_path: Path) -> None:
    async with connected(tmp_path / "home", None) as client:
        for result in (await call(client, "query_metrics", query="up"), await call(client, "explore_metrics")):
            assert result.is_error
            assert "QUANTUM_METRICS" in text_of(result)


async def test_an_investigation_begins_with_a_source_that_there_is(tmp_path: Path, watched: Watched) -> None:
    async with (
        open_metrics(f"live={watched.prometheus.url}", None, environ={}) as sources,
        connected(tmp_path / "home", sources) as client,
    ):
        prompt = await client.get_prompt("watch_investigate_alert", {"alert": 'Errors{job="shop"}'})
        content = prompt.messages[0].content
        assert isinstance(content, TextContent)
        assert 'Investigate the alert Errors{job="shop"}, in the source of metrics live.' in content.text
        with pytest.raises(MCPError, match="There is live"):
            await client.get_prompt("watch_investigate_alert", {"alert": "Errors", "source": "dead"})
