"""The page on SLOs: its calls are made against a real Prometheus, and its figures are those of the code."""

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
from quantum_suite.services.metrics.opening import open_metrics
from quantum_suite.services.slo.documents import MAX_CHARACTERS, MAX_DEPTH, MAX_VALUES
from quantum_suite.services.slo.files import MAX_FILES
from quantum_suite.services.slo.forecast import LEAST_SLICES, RUNS
from quantum_suite.services.slo.loading import MAX_SLOS
from quantum_suite.services.slo.windows import windows_of
from quantum_suite.tools.qsre.slo_status import MOST_SLOS

PAGE = (ROOT / "docs" / "slos.md").read_text(encoding="utf-8")
CALLS = re.findall(r"<!-- call -->\n```json\n(.*?)```\n<!-- answer -->\n```text\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.anyio
async def test_the_calls_on_slos_are_answered_as_the_page_says(tmp_path: Path, watched: Watched) -> None:
    assert len(CALLS) == 3
    async with open_metrics(f"live={watched.prometheus.url}", None, environ={}) as sources:
        module = build(dataclasses.replace(services(tmp_path, tmp_path), metrics=sources))
        extra = [Extra("qsre-page", module.server, "page")]
        async with running_hub(tmp_path, {}, extra=extra) as hub, Client(hub.url) as client:
            for call, expected in CALLS:
                made: dict[str, Any] = json.loads(call)
                result = await client.call_tool(f"page_{made['tool']}", made["arguments"])
                printed = text_of(result)
                assert fits(expected, printed), printed


def test_the_windows_and_bounds_of_slos_are_those_of_the_code() -> None:
    rates = [f"{pair.factor:g}" for pair in windows_of(30 * 86400.0).pairs]
    assert re.findall(r"^\| (?:page|ticket) \| ([\d.]+) \|", PAGE, re.MULTILINE) == rates
    for shown in (
        f"{MAX_CHARACTERS // 1024} Ki characters, {MAX_VALUES:,} values with",
        f"aliases written out, {MAX_DEPTH} levels, ",
        f"{MAX_SLOS} SLOs |",
        f"| files of a folder | {MAX_FILES} |",
        f"| SLOs of one `slo_status` | {MOST_SLOS} |",
        f"draws {RUNS} futures",
        f"fewer than {LEAST_SLICES} slices",
    ):
        assert shown in PAGE
