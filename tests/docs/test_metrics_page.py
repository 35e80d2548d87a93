"""The page on metrics: its calls are made against a real Prometheus, and its figures are those of the code."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from docs.pages import ROOT, fits
from mcp import Client
from reference.answers import text_of
from reference.hub import running_hub
from reference.prometheus import Watched
from reference.services import services

from quantum_suite.hub.mounts import Extra
from quantum_suite.servers.qsre import build
from quantum_suite.services.metrics.configuration import read_addresses
from quantum_suite.services.metrics.limits import MOST_POINTS_A_SERIES, SourceLimits
from quantum_suite.services.metrics.opening import open_metrics
from quantum_suite.services.metrics.promql import MOST_CHARACTERS, MOST_NESTING, MOST_SIGNS
from quantum_suite.services.metrics.result_store import KEEP_RESULTS, PAGE_POINTS

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
CALLS = re.findall(r"<!-- call -->\n```json\n(.*?)```\n<!-- answer -->\n```text\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.anyio
async def test_the_calls_are_answered_as_the_page_says(tmp_path: Path, watched: Watched) -> None:
    assert len(CALLS) == 3
    past = watched.past
    async with open_metrics(f"live={watched.prometheus.url}", None, environ={}) as sources:
        module = build(dataclasses.replace(services(tmp_path, tmp_path), metrics=sources))
        extra = [Extra("qsre-page", module.server, "page")]
        async with running_hub(tmp_path, {}, extra=extra) as hub, Client(hub.url) as client:
            for call, expected in CALLS:
                filled = call.replace("${start}", str(past.start)).replace("${end}", str(past.times[-1]))
                made: dict[str, Any] = json.loads(filled)
                result = await client.call_tool(f"page_{made['tool']}", made["arguments"])
                printed = text_of(result)
                assert fits(expected, printed), printed


def test_the_setting_that_is_shown_is_read() -> None:
    (shown,) = re.findall(r'export QUANTUM_METRICS="(.*)"', PAGE)
    assert [one.name for one in read_addresses("QUANTUM_METRICS", shown, {})] == ["live", "archive"]


def test_the_bounds_are_those_of_the_code() -> None:
    limits = SourceLimits()
    for shown in (
        f"| points of one series | {MOST_POINTS_A_SERIES:,} |",
        f"| series of an answer | {limits.max_series:,} |",
        f"| points of all series | {limits.max_points:,} |",
        f"| an answer | {limits.max_bytes // 1024**2} MiB, {limits.deadline_seconds:g} s |",
        f"| a query | {MOST_CHARACTERS:,} characters, {MOST_NESTING} brackets deep, {MOST_SIGNS} signs |",
        f"more than {limits.clock_seconds:g} seconds",
        f"The newest {KEEP_RESULTS} are kept",
    ):
        assert shown in PAGE
    assert f"of {PAGE_POINTS:,} points" in PAGE
